"""Has the model learned the images by heart? The nearest training images, and how near fresh images come to them."""

from dataclasses import dataclass

import torch
from scipy import stats

from course_utils.evaluate.estimate import Estimate, share_estimate

ENTRIES = 2**25  # numbers held at a time in one table: 128 MB
SPARE = 8  # more candidates than asked for, as they are found in single precision


def nearest_neighbours(
    samples: torch.Tensor, training: torch.Tensor, *, k: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """The training images that are nearest to each sample: look at them side by side.

    Distances are Euclidean, between pixels or between features, as given. Pixels find exact copies; features
    find pictures of the same thing as well. The work is done in parts, in memory of some hundred megabytes
    besides the samples as float32.

    Args:
        samples: [N, …], uint8 pixels or floating point.
        training: [M, …], of the same dtype and shape beyond the first dimension.
        k: how many neighbours, 1 … M.

    Returns:
        distances: float64 [N, k], from the nearest on.
        indices: int64 [N, k], which of the training images.

    Raises:
        ValueError: if the shapes or dtypes do not fit, a value is not finite, or k is out of range.
    """
    _check("samples", samples, "training", training)
    if not 1 <= k <= len(training):
        raise ValueError(
            f"k must lie in 1 … {len(training)}, the number of training images; got {k}."
        )
    samples, training = (z.detach().cpu().flatten(1) for z in (samples, training))
    # Around the mean the numbers are small, so that less is lost in the differences below.
    centre = training[: max(1, ENTRIES // training.shape[1])].float().mean(0)
    points = samples.float() - centre
    squares = points.square().sum(1, keepdim=True)
    keep = min(k + SPARE, len(training))
    near, which = torch.empty(len(points), 0), torch.empty(len(points), 0, dtype=torch.int64)
    size = max(1, ENTRIES // max(len(points), training.shape[1], 1))
    for start in range(0, len(training), size):
        others = training[start : start + size].float() - centre
        # ‖a − b‖² = ‖a‖² − 2 a·b + ‖b‖², for all pairs by one product of matrices.
        found = torch.addmm(squares + others.square().sum(1), points, others.T, alpha=-2)
        best, index = found.topk(min(keep, len(others)), largest=False)
        near, which = torch.cat([near, best], 1), torch.cat([which, index + start], 1)
        near, index = near.topk(min(keep, near.shape[1]), largest=False)
        which = which.gather(1, index)
    return _exact(samples, training, which, k)


def _exact(samples, training, which: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k nearest of each sample's candidates, by distances in double precision; of equals, the first."""
    which = which.sort(1).values
    columns = [
        torch.cat(
            [
                (a.double() - training[i].double()).square().sum(1)
                for a, i in zip(samples.split(512), column.split(512), strict=True)
            ]
        )
        for column in which.T
    ]
    distances, order = torch.stack(columns, 1).sort(dim=1, stable=True)
    return distances[:, :k].sqrt(), which.gather(1, order[:, :k])


@dataclass(frozen=True)
class Closeness:
    """What `closeness` found.

    Attributes:
        samples: the share of samples that lie nearer to a training image than `radius`.
        fresh: the share of fresh real images of which that is true.
        radius: a distance that few fresh images are below.
    """

    samples: Estimate
    fresh: Estimate
    radius: float

    @property
    def suspicious(self) -> bool:
        """Whether more of the samples lie within the radius than fresh images would, beyond both intervals."""
        return self.samples.low > self.fresh.high


def closeness(
    samples: torch.Tensor, held_out: torch.Tensor, training: torch.Tensor, *, share: float = 0.05
) -> Closeness:
    """How many samples lie suspiciously near to a training image, nearer than all but a few fresh images do.

    Real images that no model has seen lie at some distance from the nearest training image. The radius is the
    distance that the nearest 5 in 100 of them are within. A model that draws fresh pictures has about the same
    share of its samples within the radius, one that copies training images has more. Comparing the distances
    of samples with those of held-out images is the idea of Meehan, Chaudhuri and Dasgupta (2020).

    More is a reason to look at the pairs that `nearest_neighbours` finds, and no proof: a model whose pictures
    are all smooth, or all of the most common kind, lies near to many images without having copied one.

    The interval of `samples` is Wilson's, for this radius. That of `fresh` tells how well the held-out images
    determine the radius: it holds, 95 times in 100, the share of all fresh images that are within.

    Args:
        samples: [N, …], pixels or features, N ≥ 1.
        held_out: images that the model has not learned from, [M, …], with M · share ≥ 1.
        training: those that it has learned from, [K, …].
        share: of the held-out images that lie within the radius, between 0 and 1.

    Raises:
        ValueError: as for `nearest_neighbours`, or if share is out of range or there are too few images.
    """
    _check("samples", samples, "training", training)
    _check("held_out", held_out, "training", training)
    if not 0 < share < 1 or share * len(held_out) < 1 or not len(samples):
        raise ValueError(
            "need 0 < share < 1, one sample or more, and share · (held-out images) ≥ 1; got "
            f"share={share}, {len(samples)} samples and {len(held_out)} held-out images."
        )
    fresh = nearest_neighbours(held_out, training)[0].flatten().sort().values
    near, n = int(share * len(fresh)), len(fresh)
    radius = fresh[near - 1].item()
    hits = int((nearest_neighbours(samples, training)[0] <= radius).sum())
    # The share of a distribution below the k-th smallest of n draws follows Beta(k, n + 1 − k).
    low, high = stats.beta.interval(0.95, near, n + 1 - near)
    return Closeness(
        share_estimate(hits, len(samples)), Estimate(near / n, float(low), float(high)), radius
    )


def _check(name: str, images: torch.Tensor, other_name: str, others: torch.Tensor) -> None:
    for which, value in ((name, images), (other_name, others)):
        fits = isinstance(value, torch.Tensor) and value.ndim >= 2
        if not fits or not (value.dtype == torch.uint8 or value.is_floating_point()):
            got = (
                f"{value.dtype} {list(value.shape)}"
                if isinstance(value, torch.Tensor)
                else type(value).__name__
            )
            raise ValueError(f"{which} must be uint8 or floating point, [N, …]; got {got}.")
        if not bool(value.isfinite().all()):
            raise ValueError(f"{which} must be finite; some values are not.")
    if images.shape[1:] != others.shape[1:] or images.dtype != others.dtype:
        raise ValueError(
            f"{name} and {other_name} must be alike in dtype and in shape beyond the first dimension; got "
            f"{images.dtype} {list(images.shape)} and {others.dtype} {list(others.shape)}."
        )
    if not len(others):
        raise ValueError(f"{other_name} has no images.")
