"""The exercises of chapter 05, a first diffusion model in two dimensions, in order."""

from course_utils.checks.chapter_05 import (
    ancestral_step,
    loss_by_step,
    sampling_loop,
    time_embedding,
    training_loss,
)

EXERCISES = tuple(
    module.EXERCISE
    for module in (time_embedding, training_loss, ancestral_step, sampling_loop, loss_by_step)
)
