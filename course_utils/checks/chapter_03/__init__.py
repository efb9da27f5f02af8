"""The exercises of chapter 03, the posterior, in order."""

from course_utils.checks.chapter_03 import (
    grid_bayes,
    joint_covariance,
    jump_posterior,
    posterior_mean,
    posterior_variance,
    two_gaussians,
)

EXERCISES = tuple(
    module.EXERCISE
    for module in (
        two_gaussians,
        posterior_variance,
        posterior_mean,
        jump_posterior,
        joint_covariance,
        grid_bayes,
    )
)
