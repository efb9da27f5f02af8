"""The folder of a run: what it notes there about itself, whether a run may use it, and how to go on with one."""

import errno
import json
import os
import shlex
from dataclasses import replace
from pathlib import Path

import torch

from course_utils.data.streaming import DiskImages
from course_utils.interop import checkpoint
from course_utils.interop.checkpoint import write_whole
from course_utils.trainer.processes import here
from course_utils.trainer.results import SETTINGS
from course_utils.trainer.settings import BUTTERFLIES, Settings, read_settings, same_run

FACTS, SKIPPED = "facts.json", "skipped.txt"
GIVEN = "pixels given from Python"
# None is the number of errors that libraries make up, as those of safetensors and Pillow on a full disk.
FULL = {None, *(getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG"))}


class RunError(RuntimeError):
    """The run cannot begin or go on; the message says why, what is left, and what to do."""


def write_facts(
    out: Path, settings: Settings, images: torch.Tensor | DiskImages, precision: str, *, given: bool
) -> None:
    """Note what only the run itself knows: on what, and on how many images of what, it trains.

    Args:
        given: the images were handed over from Python, rather than found where settings.data says.
    """
    state, source = here(), Path(settings.data).expanduser()
    cuda = state.device.type == "cuda"
    name = source.resolve().name if source.exists() else settings.data
    facts = {
        "data": GIVEN if given else name,
        "drawn": settings.data == BUTTERFLIES and not given,
        "images": len(images),
        "place": "disk" if isinstance(images, DiskImages) else "memory",
        "device": torch.cuda.get_device_name(state.device) if cuda else state.device.type.upper(),
        "processes": state.num_processes,
        "precision": precision,
        "torch": torch.__version__,
    }
    write_whole(out / FACTS, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())


def read_facts(out: Path) -> dict:
    """What `write_facts` wrote; nothing if the run has not begun to train."""
    facts = out / FACTS
    return json.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else {}


def as_begun(settings: Settings, facts: dict) -> Settings:
    """The settings with the images in the place that "auto" chose when the run began, so that they come in its order.

    Images that cannot be read are left out of those in memory, and counted among those on the disk.
    """
    if settings.images_in == "auto" and "place" in facts:
        return replace(settings, images_in=facts["place"])
    return settings


def check_number(out: Path, facts: dict, number: int) -> None:
    """Raises a RunError unless a run that goes on has as many images as it had."""
    had = facts.get("images", number)
    if had != number:
        raise RunError(
            f"the run in {out} was begun with {had:,} images, and now there are {number:,}: put back those that "
            "were there, or begin a new run in another folder."
        )


def check_folder(settings: Settings, out: Path, resume: bool, given: bool) -> None:
    """See that the folder has no run, or the one that is to go on."""
    if not here().is_main_process:
        return
    there = (out / SETTINGS).exists()
    if there and not resume:
        raise RunError(
            f"{out} holds a run already: go on with it ({resuming(out)}), or choose another folder."
        )
    if resume and not there:
        raise RunError(f"there is no run in {out} to go on with: begin one there, without resume.")
    if there and (wrong := same_run(read_settings(out / SETTINGS), settings)):
        raise RunError(
            f"the run in {out} has other settings: {'; '.join(wrong)}. "
            "Go on with its own, or choose another folder."
        )
    if there and _pixels_given(out) not in (given, None):
        how = "without pixels, for it finds its images" if given else "with its pixels, from Python"
        raise RunError(f"the run in {out} goes on {how}: {resuming(out)}")


def advice(out: Path) -> str:
    """What is left of a run and how to go on, in words."""
    found = checkpoint.checkpoints(out)
    if not found:
        return "There is no checkpoint yet: begin again, in another folder."
    return f"The newest checkpoint, {found[-1].name}, is good. To go on from it: {resuming(out)}"


def resuming(out: Path) -> str:
    """The command that goes on with a run."""
    if _pixels_given(out):
        return f"run(settings, {str(out)!r}, pixels=pixels, resume=True)"
    quoted = shlex.quote(str(out)) if os.name == "posix" else f'"{out}"'
    return f"diffusion-course train --resume --out {quoted}"


def _pixels_given(out: Path) -> bool | None:
    """Whether the run got its images from Python, so that settings.data does not name them; None if it has none yet."""
    facts = read_facts(out)
    return facts["data"] == GIVEN if facts else None


def no_room(error: OSError) -> str:
    """What to do about an error of writing, if the disk is full."""
    return "Make room. " if error.errno in FULL else ""
