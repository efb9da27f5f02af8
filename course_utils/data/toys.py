"""Data sets in the plane that can be seen at a glance, and whose density and score are exact.

Each is a mixture of Gaussians, the curves too: many small ones along the curve, so near each other that the
eye sees none of them. Their mean is 0 and their variance about 1, the scale of the noise that diffusion adds.
"""

import math
from collections.abc import Callable

import torch

from course_utils.data.mixture import Mixture, mixture


def two_gaussians(distance: float = 1.8, std: float = 0.3) -> Mixture:
    """Two round Gaussians side by side, the simplest data with a choice to make. Errors as in `mixture`."""
    return mixture([[-distance / 2, 0.0], [distance / 2, 0.0]], std)


def ring_of_gaussians(modes: int = 8, radius: float = 1.4, std: float = 0.1) -> Mixture:
    """Round Gaussians, evenly spaced on a circle: the classic test for modes that a model forgets.

    Raises:
        ValueError: if modes is not a whole number of at least 1, or as in `mixture`.
    """
    _check_count("modes", modes)
    angle = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
    return mixture(radius * torch.stack([angle.cos(), angle.sin()], dim=-1), std)


def grid_of_gaussians(side: int = 5, spacing: float = 0.7, std: float = 0.07) -> Mixture:
    """side × side round Gaussians on a square grid.

    Raises:
        ValueError: if side is not a whole number of at least 1, or as in `mixture`.
    """
    _check_count("side", side)
    line = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * spacing
    return mixture(torch.cartesian_prod(line, line), std)


def spiral(turns: float = 2.0, std: float = 0.05) -> Mixture:
    """An Archimedean spiral from its centre outwards, blurred by std. Mean 0, average variance 1.

    Raises:
        ValueError: if turns is not positive, or std is not in (0, 1).
    """
    _check_curve(std=std, turns=turns)
    end = torch.tensor(2 * math.pi * turns, dtype=torch.float64)

    def length(theta: torch.Tensor) -> torch.Tensor:  # of r = θ, from the centre to θ
        return (theta * (1 + theta**2).sqrt() + theta.asinh()) / 2

    def curve(u: torch.Tensor) -> torch.Tensor:
        target = u * length(end)
        theta = (2 * target).sqrt()
        for _ in range(8):  # Newton's method for length(θ) = target; it closes in from above
            theta = theta - (length(theta) - target) / (1 + theta**2).sqrt()
        return torch.stack([theta * theta.cos(), theta * theta.sin()], dim=-1)

    return _along(curve, float(length(end)), std)


def moons(std: float = 0.1) -> Mixture:
    """Two half circles that reach into each other, blurred by std. Mean 0, average variance 1.

    Raises:
        ValueError: if std is not in (0, 1).
    """
    _check_curve(std=std)

    def curves(u: torch.Tensor) -> torch.Tensor:
        cos, sin = (math.pi * u).cos(), (math.pi * u).sin()
        return torch.cat(
            [torch.stack([cos, sin], dim=-1), torch.stack([1 - cos, 0.5 - sin], dim=-1)]
        )

    return _along(curves, math.pi, std)


def _along(curve: Callable[[torch.Tensor], torch.Tensor], length: float, std: float) -> Mixture:
    """Equal Gaussians along a curve, scaled so that the whole has mean 0 and average variance 1.

    Neighbours are one std apart, so the ripples they leave in the density along a straight stretch are below
    one part in ten million: 2 exp(−2π²), by Poisson's summation formula.

    Args:
        curve: from fractions of its length, [N] in (0, 1), to its points, [N, 2]; or M curves, to [M · N, 2].
        length: of one of them.
    """

    def scale(points: torch.Tensor) -> torch.Tensor:
        return ((1 - std**2) / (points - points.mean(dim=0)).square().mean()).sqrt()

    rough = curve(_midpoints(1000))
    points = curve(_midpoints(math.ceil(length * float(scale(rough)) / std)))
    return mixture((points - points.mean(dim=0)) * scale(points), std)


def _midpoints(n: int) -> torch.Tensor:
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def _check_count(name: str, count: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; got {count!r}.")


def _check_curve(*, std: float, turns: float = 1.0) -> None:
    if not (0 < std < 1 and 0 < turns < math.inf):
        raise ValueError(
            f"need 0 < std < 1 and a positive number of turns; got std={std}, turns={turns}."
        )
