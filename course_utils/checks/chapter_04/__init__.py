"""The exercises of chapter 04, the objective, in order."""

from course_utils.checks.chapter_04 import (
    best_x0,
    kl_gaussians,
    noise_weight,
    reverse_mean,
    simple_losses,
    x0_and_score,
)

EXERCISES = tuple(
    module.EXERCISE
    for module in (kl_gaussians, reverse_mean, noise_weight, simple_losses, x0_and_score, best_x0)
)
