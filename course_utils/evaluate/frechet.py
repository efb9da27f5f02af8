"""The Fréchet distance between sets of features, which for Inception's features is called FID.

It looks at the means and covariances of both sets and at nothing else, as if each were a Gaussian; two sets that differ
in all but those are at distance 0. It is biased: two sets of samples of one distribution are always a distance apart,
which falls like 1/n. So only distances from equally many samples can be compared, and only in the same features: none
of these numbers compares with a published FID.
"""

from collections.abc import Sequence

import torch

from course_utils.evaluate.distance import check_points
from course_utils.evaluate.estimate import Estimate, mean_estimate


def frechet_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """The Fréchet distance ‖μx − μy‖² + tr(Σx + Σy − 2 (Σx^½ Σy Σx^½)^½) (Heusel et al. 2017, equation 6).

    It is the squared 2-Wasserstein distance of the Gaussians that have the means μ and covariances Σ of the two
    sets (Dowson and Landau 1982). In float64; the square roots are those of symmetric matrices, from their
    eigenvalues, so it holds for fewer samples than features, too, where the covariances are singular.

    Biased upwards: samples of one distribution, n and m of them, are apart by about (1/n + 1/m) times a constant,
    which grows with the number of features. `frechet_by_size` shows it, `frechet_at_infinity` takes it off.

    Args:
        x: features of the one set, [N, D], N ≥ 2.
        y: features of the other, [M, D], M ≥ 2.

    Raises:
        ValueError: if a set is not floating point and finite, has fewer than two points, or the dimensions differ.
    """
    _check(x, y, 2)
    return _between(*_moments(_double(x)), *_moments(_double(y)))


def frechet_estimate(x: torch.Tensor, y: torch.Tensor, *, parts: int = 20) -> Estimate:
    """The Fréchet distance of two sets, and how much it would differ for other samples, equally many.

    The value is `frechet_distance(x, y)`, biased upwards as said there. The interval has the same bias: it is
    about the distance that N and M samples give on average, and not about the distance of the distributions,
    which may lie below it; that one is `frechet_at_infinity`'s. So two estimates can be compared if they come
    from equally many samples. It holds that average about 95 times in 100 where the distributions differ, and
    nearly always where they are alike: there it is some 1.4 times as wide as need be.

    The interval is the jackknife's: both sets are cut into parts, and the distance is measured again without each
    of them. Drawing samples with replacement instead, the bootstrap, would shift every distance upwards: a set in
    which some samples stand twice says less about the covariance than its size promises.

    Args:
        x: features of the one set, [N, D], N ≥ 2 · parts, independent of each other.
        y: features of the other, [M, D], M ≥ 2 · parts, independent of each other and of x.
        parts: into how many the sets are cut.

    Raises:
        ValueError: as for `frechet_distance`, if parts < 2, or there are too few points.
    """
    whole, without = _without_each_part(x, y, parts)
    spread = mean_estimate(parts * whole - (parts - 1) * without)
    reach = (spread.high - spread.low) / 2
    return Estimate(whole, whole - reach, whole + reach)


def frechet_at_infinity(x: torch.Tensor, y: torch.Tensor, *, parts: int = 20) -> Estimate:
    """The Fréchet distance of two distributions, from samples, with the bias that falls like 1/n taken off.

    Without one of p parts the bias is p/(p − 1) times as large, so the growth tells how large it is: the
    jackknife (Quenouille 1956). Chong and Forsyth (2020) fit a line through the distances of subsets over 1/n
    for the same purpose. What is left falls like 1/n², and is small once n is some ten times the number of
    features. Where the distributions are alike the value is negative about as often as positive.

    The interval is about the distance of the distributions' Gaussians, and holds it about 95 times in 100.

    Args and errors as for `frechet_estimate`.
    """
    whole, without = _without_each_part(x, y, parts)
    return mean_estimate(parts * whole - (parts - 1) * without)


def frechet_by_size(
    x: torch.Tensor, y: torch.Tensor, sizes: Sequence[int], *, seed: int = 0
) -> list[tuple[int, float]]:
    """How the Fréchet distance of two sets falls with their size: its bias, as about 1/n.

    Args:
        x: features of the one set, [N, D].
        y: features of the other, [M, D].
        sizes: how many samples to take of each; each size 2 … min(N, M).
        seed: of the order in which they are taken. The larger sizes hold the samples of the smaller ones.

    Returns:
        For each size n, the pair (n, distance of n samples of x to n of y).

    Raises:
        ValueError: as for `frechet_distance`, or if a size is out of range.
    """
    _check(x, y, 2)
    sizes, most = [int(n) for n in sizes], min(len(x), len(y))
    if not sizes or min(sizes) < 2 or max(sizes) > most:
        raise ValueError(
            f"sizes must lie in 2 … {most}, the number of points in the smaller set; got {sizes}."
        )
    generator = torch.Generator().manual_seed(seed)
    x, y = (_double(z)[torch.randperm(len(z), generator=generator)] for z in (x, y))
    return [(n, _between(*_moments(x[:n]), *_moments(y[:n]))) for n in sizes]


def _without_each_part(x, y, parts: int) -> tuple[float, torch.Tensor]:
    """The distance, and the distances without each of the parts of both sets, [parts]."""
    if parts < 2:
        raise ValueError(f"need two or more parts; got parts={parts}.")
    _check(x, y, 2 * parts)
    x, y = _double(x), _double(y)
    without = [
        _between(*_moments(_all_but(x, k, parts)), *_moments(_all_but(y, k, parts)))
        for k in range(parts)
    ]
    whole = _between(*_moments(x), *_moments(y))
    return whole, torch.tensor(without, dtype=torch.float64)


def _all_but(points: torch.Tensor, k: int, parts: int) -> torch.Tensor:
    """The points without part k; the parts differ in size by one at most."""
    start, end = k * len(points) // parts, (k + 1) * len(points) // parts
    return torch.cat([points[:start], points[end:]])


def _double(points: torch.Tensor) -> torch.Tensor:
    return points.detach().double().cpu()


def _moments(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [D] and covariance [D, D]."""
    mean = points.mean(0)
    centred = points - mean
    return mean, centred.T @ centred / (len(points) - 1)


def _between(mean_x, cov_x, mean_y, cov_y) -> float:
    """The distance of two Gaussians."""
    root = _root(cov_x)
    # The eigenvalues' roots have the trace of the root; those below 0 are rounding.
    across = torch.linalg.eigvalsh(root @ cov_y @ root).clamp(min=0).sqrt().sum()
    distance = (mean_x - mean_y).square().sum() + cov_x.trace() + cov_y.trace() - 2 * across
    return max(0.0, distance.item())


def _root(matrix: torch.Tensor) -> torch.Tensor:
    """The square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def _check(x: torch.Tensor, y: torch.Tensor, least: int) -> None:
    for name, value in (("x", x), ("y", y)):
        check_points(name, value)
        if len(value) < least:
            raise ValueError(f"{name} needs {least} points or more; got {len(value)}.")
    if x.shape[1] != y.shape[1] or x.shape[1] == 0:
        raise ValueError(
            f"x and y need features of one dimension; got {x.shape[1]} and {y.shape[1]}."
        )
