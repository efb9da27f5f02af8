"""How good are the samples? Distances between sets of samples, each with its uncertainty."""

from course_utils.evaluate.coverage import Coverage, mode_coverage
from course_utils.evaluate.distance import energy_distance
from course_utils.evaluate.estimate import Estimate, mean_estimate, share_estimate
from course_utils.evaluate.features import butterfly_features, reference_features
from course_utils.evaluate.frechet import (
    frechet_at_infinity,
    frechet_by_size,
    frechet_distance,
    frechet_estimate,
)
from course_utils.evaluate.manifold import PrecisionRecall, precision_recall
from course_utils.evaluate.neighbours import Closeness, closeness, nearest_neighbours
from course_utils.evaluate.photographs import photo_features, photo_reference_features
from course_utils.evaluate.report import evaluate_samples

__all__ = [
    "Closeness",
    "Coverage",
    "Estimate",
    "PrecisionRecall",
    "butterfly_features",
    "closeness",
    "energy_distance",
    "evaluate_samples",
    "frechet_at_infinity",
    "frechet_by_size",
    "frechet_distance",
    "frechet_estimate",
    "mean_estimate",
    "mode_coverage",
    "nearest_neighbours",
    "photo_features",
    "photo_reference_features",
    "precision_recall",
    "reference_features",
    "share_estimate",
]
