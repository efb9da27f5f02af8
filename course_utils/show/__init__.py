"""Pictures: arrays in, figures out, each with its description for readers who cannot see it."""

from course_utils.show import palette
from course_utils.show.apng import animation, save_animation
from course_utils.show.clouds import points, scatter
from course_utils.show.figures import figure
from course_utils.show.networks import network
from course_utils.show.palette import style
from course_utils.show.pictures import compare, display_sample, grid, strip
from course_utils.show.plots import axes, curves, histogram
from course_utils.show.training import training_progress
from course_utils.show.widgets import slider

__all__ = [
    "animation",
    "axes",
    "compare",
    "curves",
    "display_sample",
    "figure",
    "grid",
    "histogram",
    "network",
    "palette",
    "points",
    "save_animation",
    "scatter",
    "slider",
    "strip",
    "style",
    "training_progress",
]
