"""Where the course meets diffusers: finding pipelines to load."""

from course_utils.interop.hub import find_pipeline

__all__ = ["find_pipeline"]
