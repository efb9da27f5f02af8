"""How good are the samples? Distances between sets of samples, each with its uncertainty."""

from course_utils.evaluate.coverage import Coverage, mode_coverage
from course_utils.evaluate.distance import energy_distance
from course_utils.evaluate.estimate import Estimate, mean_estimate, share_estimate
from course_utils.evaluate.features import butterfly_features, reference_features

__all__ = [
    "Coverage",
    "Estimate",
    "butterfly_features",
    "energy_distance",
    "mean_estimate",
    "mode_coverage",
    "reference_features",
    "share_estimate",
]
