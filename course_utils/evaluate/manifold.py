"""Precision and recall of samples: do they look like the data, and do they reach all of it?

A Fréchet distance says how far apart two sets are, and not why. A model that draws a few perfect pictures again and
again has high precision and low recall, one that draws everything and rubbish besides the opposite.
"""

from dataclasses import dataclass

import torch

from course_utils.evaluate.distance import check_points
from course_utils.evaluate.estimate import Estimate, share_estimate

CHUNK = 1024  # points whose distances to all others are held at a time


@dataclass(frozen=True)
class PrecisionRecall:
    """What `precision_recall` found.

    Attributes:
        precision: the share of samples that lie where the reference does.
        recall: the share of the reference that lies where the samples do.
    """

    precision: Estimate
    recall: Estimate


def precision_recall(
    samples: torch.Tensor, reference: torch.Tensor, *, k: int = 3
) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019, equations 1 to 3).

    Around each point of a set stands a ball that reaches to its k-th nearest neighbour in the same set; all balls
    together are where the set lies. Precision is the share of samples that lie in some ball of the reference,
    recall the share of the reference that lies in some ball of the samples.

    Neither is 1 for samples of the very same distribution, and both change with the number of points, with k
    and with the features: compare only what was measured with the same ones, and equally many of them. They
    compare with no published precision and recall, which use another network's features.

    The intervals are Wilson's for the points that were counted, with the balls as they are. That the balls
    come from a finite set as well is left out, so another set would scatter somewhat more than they say.

    Args:
        samples: their features, [N, D], N > k.
        reference: features of real pictures, [M, D], M > k.
        k: to which neighbour a ball reaches, at least 1.

    Raises:
        ValueError: if a set is not floating point and finite, the dimensions differ, or k is out of range.
    """
    for name, value in (("samples", samples), ("reference", reference)):
        check_points(name, value)
    if samples.shape[1] != reference.shape[1]:
        raise ValueError(
            f"samples and reference need features of one dimension; got {samples.shape[1]} and "
            f"{reference.shape[1]}."
        )
    least = min(len(samples), len(reference))
    if not 1 <= k < least:
        raise ValueError(
            f"k must be 1 or more and smaller than both sets, which have {len(samples)} and "
            f"{len(reference)} points; got k={k}."
        )
    samples, reference = (z.detach().double().cpu() for z in (samples, reference))
    inside, reached = _in_balls(samples, _radii(samples, k), reference, _radii(reference, k))
    return PrecisionRecall(
        precision=share_estimate(int(inside.sum()), len(samples)),
        recall=share_estimate(int(reached.sum()), len(reference)),
    )


def _distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """[N, M]; the fast way would find points that are the same a hair apart."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _radii(points: torch.Tensor, k: int) -> torch.Tensor:
    """The distance of each point to the k-th nearest of the others, [N]."""
    # Each point is the nearest to itself, so the k-th of the others is number k + 1.
    parts = [_distances(part, points).kthvalue(k + 1).values for part in points.split(CHUNK)]
    return torch.cat(parts)


def _in_balls(samples, sample_radii, reference, reference_radii):
    """Which samples lie in a ball of the reference, [N], and which of the reference in one of the samples, [M]."""
    inside, reached = [], torch.zeros(len(reference), dtype=torch.bool)
    for part, radii in zip(samples.split(CHUNK), sample_radii.split(CHUNK), strict=True):
        distances = _distances(part, reference)
        inside.append((distances <= reference_radii).any(1))
        reached |= (distances <= radii[:, None]).any(0)
    return torch.cat(inside), reached
