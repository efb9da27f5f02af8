"""All measures of a generative model's pictures at once, as a record keeps them."""

from collections.abc import Callable
from dataclasses import asdict

import torch

from course_utils.data.scaling import to_model
from course_utils.evaluate.frechet import frechet_by_size, frechet_estimate
from course_utils.evaluate.manifold import precision_recall
from course_utils.evaluate.neighbours import closeness, nearest_neighbours

PART = 1000  # pictures that become features at a time


def evaluate_samples(
    samples: torch.Tensor,
    training: torch.Tensor,
    held_out: torch.Tensor,
    features: Callable[[torch.Tensor], torch.Tensor],
) -> dict:
    """How good a model's samples are, beside what fresh real images would get.

    The held-out images are dealt into two halves of n. One is the reference; the other stands for a perfect
    model. n samples and the n real images of the other half are compared with the same reference, so both
    distances have the same bias, and a model is as good as the data if its interval meets the real one. The
    training images are no reference: a model that copies them would be better than perfect. They are searched
    for neighbours only.

    All is measured in the given features, and compares with no published FID, precision or recall. Where there
    are more samples than n, the first n are used, but for the neighbours all.

    Args:
        samples: the model's pictures, [N, 3, H, W] in [−1, 1], or uint8 pixels; on any device.
        training: images that the model has learned from, likewise, [K, 3, H, W].
        held_out: images that it has not learned from, likewise, [M, 3, H, W].
        features: from images [n, 3, H, W] in [−1, 1] to [n, D]: `butterfly_features` or `photo_features`.

    Returns:
        What JSON can hold; an estimate is {"value", "low", "high"}:
            frechet: of n samples to the reference, as `frechet_estimate` has it;
            frechet_real: of the other n real images to the same reference;
            by_size: [[n/8, distance], [n/4, …], [n/2, …], [n, …]] of the samples, its bias;
            precision, recall: as `precision_recall` has them, n samples and the reference;
            precision_real, recall_real: the same of the other n real images;
            neighbours: the median distance, between features, from a sample to the nearest training image or its
                mirror image ("to_training"), from a held-out image ("real_to_training"), and how many of both lie
                suspiciously near to one ("close"), as `closeness` has it: {"samples", "fresh", "radius"}.

    Raises:
        ValueError: if there are too few images for an interval, 80 held out and 40 samples, or as in `features`.
    """
    n = min(len(samples), len(held_out) // 2)
    if n < 40 or not len(training):
        raise ValueError(
            "need 40 samples, 80 held-out images and a training image or more; got "
            f"{len(samples)}, {len(held_out)} and {len(training)}."
        )
    ours, learned, mirrored, real = (
        _features(images, features) for images in (samples, training, training.flip(-1), held_out)
    )
    learned = torch.cat([learned, mirrored])  # a mirrored copy is a copy
    # Dealt, not cut: images often come in an order.
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))
    reference, other = real[order[:n]], real[order[n : 2 * n]]
    some = ours[:n]
    match, match_real = precision_recall(some, reference), precision_recall(other, reference)
    sizes = [n // 8, n // 4, n // 2, n]
    return {
        "frechet": asdict(frechet_estimate(some, reference)),
        "frechet_real": asdict(frechet_estimate(other, reference)),
        "by_size": [list(pair) for pair in frechet_by_size(some, reference, sizes)],
        "precision": asdict(match.precision),
        "recall": asdict(match.recall),
        "precision_real": asdict(match_real.precision),
        "recall_real": asdict(match_real.recall),
        "neighbours": {
            "to_training": _median_distance(ours, learned),
            "real_to_training": _median_distance(real, learned),
            "close": asdict(closeness(ours, real, learned)),
        },
    }


def _features(images: torch.Tensor, features: Callable) -> torch.Tensor:
    """The features of images or pixels, part by part, as float32 [N, D] on the CPU."""
    parts = [
        features(to_model(part) if part.dtype == torch.uint8 else part)
        for part in images.split(PART)
    ]
    return torch.cat(parts).float().cpu()


def _median_distance(points: torch.Tensor, training: torch.Tensor) -> float:
    return nearest_neighbours(points, training)[0].median().item()
