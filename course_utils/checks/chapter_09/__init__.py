"""The exercises of chapter 09, the DDIM sampler and what one can do with it, in order."""

from course_utils.checks.chapter_09 import (
    ddim_walk,
    eta_step,
    inversion,
    spherical,
    which_steps,
)

EXERCISES = tuple(
    module.EXERCISE for module in (which_steps, eta_step, ddim_walk, spherical, inversion)
)
