"""How far two clouds of points are apart, as distributions."""

from collections.abc import Sequence

import torch

from course_utils.evaluate.estimate import Estimate, mean_estimate


def energy_distance(x: torch.Tensor, y: torch.Tensor, *, parts: int = 10) -> Estimate:
    """The energy distance of two distributions, from samples: 2 E‖X−Y‖ − E‖X−X'‖ − E‖Y−Y'‖.

    It is 0 when the distributions are the same and positive otherwise (Székely and Rizzo 2013). The estimate
    is unbiased, so where the distributions are alike it is negative about as often as positive.

    The interval is the jackknife's: the points are cut into parts, and the estimate is made again without
    each of them. It holds the truth about 95 times in 100, and about 90 times where two distributions are
    nearly alike.

    Args:
        x: samples of the one, [N, D], N ≥ 2 · parts.
        y: samples of the other, [M, D], M ≥ 2 · parts.
        parts: into how many the points are cut. Points beyond a multiple of it are left out.

    Raises:
        ValueError: if a sample is not floating point and finite, the dimensions differ, parts < 2, or there
            are too few points.
    """
    for name, value in (("x", x), ("y", y)):
        check_points(name, value)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x and y need points of one dimension; got {x.shape[1]} and {y.shape[1]}."
        )
    if parts < 2 or min(len(x), len(y)) < 2 * parts:
        raise ValueError(
            f"need parts ≥ 2 and two points for each part; got parts={parts}, {len(x)} and {len(y)} points."
        )
    xs, ys = _cut(x, parts), _cut(y, parts)
    # Which parts an estimate uses: all of them, then all but each one. [parts + 1, parts]
    used = torch.cat([torch.ones(1, parts), 1 - torch.eye(parts)]).double()
    n, m = used.sum(1) * len(xs[0]), used.sum(1) * len(ys[0])
    across, within_x, within_y = (
        torch.einsum("kp,pq,kq->k", used, _distances(a, b), used)
        for a, b in ((xs, ys), (xs, xs), (ys, ys))
    )
    # No point is a pair with itself, so there are n (n − 1) distances within x.
    whole, *without = 2 * across / (n * m) - within_x / (n * (n - 1)) - within_y / (m * (m - 1))
    return mean_estimate(parts * whole - (parts - 1) * torch.stack(without))


def _cut(points: torch.Tensor, parts: int) -> tuple[torch.Tensor, ...]:
    size = len(points) // parts
    return points[: size * parts].detach().double().cpu().split(size)


def _distances(xs: Sequence[torch.Tensor], ys: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of the distances between each part of x and each of y, [parts, parts]."""
    exact = "donot_use_mm_for_euclid_dist"  # the fast way loses half of the digits
    sums = [torch.cdist(a, b, compute_mode=exact).sum() for a in xs for b in ys]
    return torch.stack(sums).reshape(len(xs), len(ys))


def check_points(name: str, value: torch.Tensor) -> None:
    """Raises a ValueError unless the value is a floating-point tensor of finite points, [N, D]."""
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.ndim != 2:
        got = (
            f"{value.dtype} {list(value.shape)}"
            if isinstance(value, torch.Tensor)
            else type(value).__name__
        )
        raise ValueError(f"{name} must be a floating-point tensor of points, [N, D]; got {got}.")
    if not bool(value.isfinite().all()):
        bad = int((~value.isfinite()).any(1).sum())
        raise ValueError(f"{name} must be finite; {bad} of its {len(value)} points are not.")
