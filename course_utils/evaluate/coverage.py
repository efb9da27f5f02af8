"""Which modes of a mixture the samples reach."""

from dataclasses import dataclass

import torch

from course_utils.data.mixture import Mixture
from course_utils.evaluate.distance import check_points
from course_utils.evaluate.estimate import Estimate, share_estimate


@dataclass(frozen=True)
class Coverage:
    """What `mode_coverage` found.

    Attributes:
        modes: how many of the K modes are covered. Those that are covered at the low end of the interval of
            their share count for its low, those at the high end for its high.
        of: K.
        on_target: the share of samples that lie in some mode, with its interval.
        shares: of all samples, the share in each mode, float64 [K].
    """

    modes: Estimate
    of: int
    on_target: Estimate
    shares: torch.Tensor


def mode_coverage(
    samples: torch.Tensor, mixture: Mixture, *, radius: float = 3.0, least: float = 0.1
) -> Coverage:
    """Which modes of a mixture of Gaussians the samples cover, and how many samples lie in none.

    A sample lies in the nearest mode, if that is within `radius` standard deviations of it. A mode is covered
    if it has at least the share `least` of the samples that its weight promises.

    Args:
        samples: [N, D], independent of each other.
        mixture: the distribution that they should come from.
        radius: in standard deviations of the mode (the Mahalanobis distance). In two dimensions 98.9 % of a
            Gaussian lies within 3.
        least: above 0.

    Raises:
        ValueError: if samples are not points of the mixture's dimension, finite and at least one, or a number
            is not positive.
    """
    check_points("samples", samples)
    K, D = mixture.means.shape
    if samples.shape[1] != D or len(samples) == 0:
        raise ValueError(f"samples needs shape [N, {D}] with N ≥ 1; got {list(samples.shape)}.")
    if not (radius > 0 and least > 0):
        raise ValueError(f"radius and least must be positive; got {radius} and {least}.")
    distance, nearest = mixture.distances(samples.detach().double().cpu()).min(dim=1)
    hits = torch.bincount(nearest[distance <= radius], minlength=K)  # [K]
    shares = [share_estimate(h, len(samples)) for h in hits.tolist()]
    needed = (least * mixture.weights).tolist()

    def covered(end: str) -> int:
        return sum(getattr(s, end) >= need for s, need in zip(shares, needed, strict=True))

    return Coverage(
        modes=Estimate(covered("value"), covered("low"), covered("high")),
        of=K,
        on_target=share_estimate(int(hits.sum()), len(samples)),
        shares=hits.double() / len(samples),
    )
