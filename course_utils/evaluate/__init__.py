"""How good are the samples? Distances between sets of samples, each with its uncertainty."""

from course_utils.evaluate.coverage import Coverage, mode_coverage
from course_utils.evaluate.distance import energy_distance
from course_utils.evaluate.estimate import Estimate, mean_estimate, share_estimate

__all__ = [
    "Coverage",
    "Estimate",
    "energy_distance",
    "mean_estimate",
    "mode_coverage",
    "share_estimate",
]
