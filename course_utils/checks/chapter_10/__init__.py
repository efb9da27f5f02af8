"""The exercises of chapter 10, the capstone, in order."""

from course_utils.checks.chapter_10 import (
    decayed_rate,
    ema_half_life,
    frechet,
    loss_scale,
    process_share,
    training_hours,
)

EXERCISES = tuple(
    module.EXERCISE
    for module in (
        training_hours,
        ema_half_life,
        decayed_rate,
        process_share,
        loss_scale,
        frechet,
    )
)
