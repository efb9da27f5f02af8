"""A stand-in for a trained network, and points for it."""

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
        if isinstance(x, Step):
            raise TypeError("the model takes points; this is a Step, and its points are its .x")
        x, t = torch.as_tensor(x), torch.as_tensor(t)
        if x.ndim != 2 or x.shape[1] != 2:
            raise ValueError(f"the model takes points of shape [B, 2]; got shape {list(x.shape)}.")
        if t.ndim > 1 or t.numel() not in (1, len(x)):
            raise ValueError(
                f"the model takes t as one int or of shape [{len(x)}]; got shape {list(t.shape)}."
            )
        angle = x.flip(1) + (4 * t / self.T).reshape(-1, 1)
        return (x + torch.cos(angle)) / 2


def points(seed: int, *shape: int) -> torch.Tensor:
    """Standard normal numbers in double precision, as everything in this chapter's exercises is."""
    return normal(seed, *shape).double()
