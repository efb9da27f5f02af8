"""The exercises of chapter 08, the DDPM sampler over any list of steps, in order."""

from course_utils.checks.chapter_08 import (
    clipped_guess,
    jump_numbers,
    jump_step,
    walk_down,
    walk_variance,
)

EXERCISES = tuple(
    module.EXERCISE for module in (clipped_guess, jump_numbers, jump_step, walk_down, walk_variance)
)
