"""The exercises of chapter 07, training, in order."""

from course_utils.checks.chapter_07 import (
    accumulated_gradients,
    clip_gradients,
    ema_update,
    learning_rate,
    resume,
    stratified_steps,
)

EXERCISES = tuple(
    module.EXERCISE
    for module in (
        learning_rate,
        ema_update,
        clip_gradients,
        accumulated_gradients,
        stratified_steps,
        resume,
    )
)
