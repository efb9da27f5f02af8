"""The exercises of chapter 02, forward noising, in order."""

from course_utils.checks.chapter_02 import (
    alpha_bar,
    cosine_schedule,
    draw_noise,
    kl_to_noise,
    noisy_batch,
    one_step,
)

EXERCISES = tuple(
    module.EXERCISE
    for module in (one_step, alpha_bar, noisy_batch, draw_noise, cosine_schedule, kl_to_noise)
)
