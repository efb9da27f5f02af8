"""What the course learns from: toys with exact densities, drawn butterflies, real digits, your own images.

Whatever needs more than torch, NumPy and Pillow is imported only once it is used.
"""

from course_utils.data.batching import batches
from course_utils.data.butterflies import butterflies
from course_utils.data.digits import digits
from course_utils.data.images import ImageSet, load_images
from course_utils.data.mixture import Mixture, mixture
from course_utils.data.scaling import to_model, to_pixels
from course_utils.data.toys import (
    grid_of_gaussians,
    moons,
    ring_of_gaussians,
    spiral,
    two_gaussians,
)

__all__ = [
    "ImageSet",
    "Mixture",
    "batches",
    "butterflies",
    "digits",
    "grid_of_gaussians",
    "load_images",
    "mixture",
    "moons",
    "ring_of_gaussians",
    "spiral",
    "to_model",
    "to_pixels",
    "two_gaussians",
]
