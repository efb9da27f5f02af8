"""The exercises of chapter 06, the UNet, in order."""

from course_utils.checks.chapter_06 import (
    attention,
    group_norm,
    receptive_field,
    residual_block,
    time_embedding,
    way_back_up,
)

EXERCISES = tuple(
    module.EXERCISE
    for module in (
        time_embedding,
        receptive_field,
        group_norm,
        attention,
        residual_block,
        way_back_up,
    )
)
