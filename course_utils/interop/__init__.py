"""Where the course meets diffusers: finding pipelines to load, and weights that go both ways."""

from course_utils.interop.hub import find_pipeline
from course_utils.interop.pipeline import save_pipeline, scheduler_to_diffusers
from course_utils.interop.weights import unet_from_diffusers, unet_to_diffusers

__all__ = [
    "find_pipeline",
    "save_pipeline",
    "scheduler_to_diffusers",
    "unet_from_diffusers",
    "unet_to_diffusers",
]
