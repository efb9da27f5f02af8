"""A stand-in for a trained network, what any stand-in asks of its input, and points."""

from dataclasses import dataclass

import torch

from course_utils.checks.chapter_02.material import normal
from course_utils.diffusion.samplers import Step


@dataclass(frozen=True)
class Network:
    """model(x, t) for points [B, 2]. Each number of its answer depends on both coordinates and on t.

    It is smooth and its slopes are below 1, so rounding does not grow. Like a real network it takes any t
    and any dtype, and complains about shapes, and about a Step of the library in place of its points.
    """

    T: int

    def __call__(self, x: torch.Tensor, t: int | torch.Tensor) -> torch.Tensor:
        x = not_a_step(x, "points")
        if x.ndim != 2 or x.shape[1] != 2:
            raise ValueError(f"the model takes points of shape [B, 2]; got shape {list(x.shape)}.")
        t = one_or_each(t, len(x))
        angle = x.flip(1) + (4 * t / self.T).reshape(-1, 1)
        return (x + torch.cos(angle)) / 2


def not_a_step(x: torch.Tensor, name: str) -> torch.Tensor:
    """What a stand-in is shown, as a tensor; a TypeError if it is a Step of the library, with its .x not taken."""
    if isinstance(x, Step):
        raise TypeError(f"the model takes {name}; this is a Step, and its {name} are its .x")
    return torch.as_tensor(x)


def one_or_each(t: int | torch.Tensor, samples: int) -> torch.Tensor:
    """The step that a stand-in is told, as a tensor; a ValueError if there is neither one nor one for each sample."""
    t = torch.as_tensor(t)
    if t.ndim > 1 or t.numel() not in (1, samples):
        raise ValueError(
            f"the model takes t as one int or of shape [{samples}]; got shape {list(t.shape)}."
        )
    return t


def points(seed: int, *shape: int) -> torch.Tensor:
    """Standard normal numbers in double precision, as everything in this chapter's exercises is."""
    return normal(seed, *shape).double()
