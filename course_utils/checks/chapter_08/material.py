"""What the exercises on samplers share: a stand-in for a trained network, the jumps of a walk, and recipes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import torch

from course_utils.checks.chapter_05.material import not_a_step, one_or_each
from course_utils.checks.exercise import Misconception
from course_utils.diffusion.schedule import Schedule


@dataclass(frozen=True)
class Network:
    """model(x, t) for images [B, C, H, W]. Each number of its answer depends on two pixels and on t.

    It is smooth, so rounding does not grow. Like a real network it takes any t and any dtype, and complains
    about shapes, and about a Step of the library in place of its images.
    """

    T: int

    def __call__(self, x: torch.Tensor, t: int | torch.Tensor) -> torch.Tensor:
        x = not_a_step(x, "images")
        if x.ndim != 4:
            raise ValueError(f"the model takes images [B, C, H, W]; got shape {list(x.shape)}.")
        t = one_or_each(t, len(x))
        angle = x.flip(3) + (5 * t / self.T).reshape(-1, 1, 1, 1)
        return 0.8 * x + 0.4 * torch.cos(angle)


def share(schedule: Schedule, s: int) -> float:
    """ᾱ_s as a product of its factors; 1 before step 0."""
    return math.prod(1 - beta for beta in schedule.beta[: s + 1].tolist())


def pairs(ts: Sequence[int]) -> list[tuple[int, int]]:
    """From where to where each jump of a walk through ts goes, ending at −1, the clean image."""
    return list(pairwise([*ts, -1]))


def root(x: float | torch.Tensor) -> torch.Tensor:
    """√x as torch takes it: NaN below 0."""
    return torch.as_tensor(x, dtype=torch.float64).sqrt()


Line = Callable[[SimpleNamespace], object]


def follow(recipe: dict[str, Line], given: dict, slips: dict[str, Line]) -> SimpleNamespace:
    """The recipe's lines worked out in order, each from what is given and from the lines before it.

    Args:
        recipe: from a name to how it is computed.
        slips: other ways to compute some of these names.
    """
    assert slips.keys() <= recipe.keys(), f"the recipe has no {slips.keys() - recipe.keys()}"
    seen = SimpleNamespace(**given)
    for name, line in (recipe | slips).items():
        setattr(seen, name, line(seen))
    return seen


def told_another_step(walk: Callable[..., Callable]) -> tuple[Misconception, ...]:
    """The mistakes of a walk that tells the model another step than t, for `walk(told=…)` of its exercise."""
    named = "The model learned what t means in training, out of all T steps. Tell it the step whose noise is in x: "
    return (
        Misconception(
            "the model is told k, the number of the jump",
            named + "ts[k].",
            walk(told=lambda k, t, s, K: k),
        ),
        Misconception(
            "the model is told K−1−k, a count of the jumps that are left",
            named + "ts[k].",
            walk(told=lambda k, t, s, K: K - 1 - k),
        ),
        Misconception(
            "the model is told t_prev, where the jump goes",
            "x still has the noise of step t. The model must hear that.",
            walk(told=lambda k, t, s, K: s),
        ),
        Misconception(
            "the model is told t + 1",
            "The papers' t is ours plus one, and so is the step that they tell their model. This one heard ours.",
            walk(told=lambda k, t, s, K: t + 1),
        ),
    )
