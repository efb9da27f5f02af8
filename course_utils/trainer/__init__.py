"""The trainer: `diffusion.training` plus what a GPU, several of them and a long run need."""

from course_utils.trainer.card import export
from course_utils.trainer.folder import RunError
from course_utils.trainer.log import read_log
from course_utils.trainer.results import Progress, draw, progress, sheet, trained
from course_utils.trainer.running import Outcome, run
from course_utils.trainer.settings import PRESETS, Settings

__all__ = [
    "PRESETS",
    "Outcome",
    "Progress",
    "RunError",
    "Settings",
    "draw",
    "export",
    "progress",
    "read_log",
    "run",
    "sheet",
    "trained",
]
