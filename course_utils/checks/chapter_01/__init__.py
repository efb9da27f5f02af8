"""The exercises of chapter 01, why diffusion, in order."""

from course_utils.checks.chapter_01 import (
    best_discriminator,
    discriminator_loss,
    generator_losses,
    modes_reached,
    slopes,
)

EXERCISES = tuple(
    module.EXERCISE
    for module in (best_discriminator, discriminator_loss, generator_losses, slopes, modes_reached)
)
