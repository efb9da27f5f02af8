"""Looping animations as APNG: valid PNG files, so they move wherever a notebook shows a picture."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from course_utils.show.figures import figure
from course_utils.show.indexed import one_palette
from course_utils.show.palette import DENSITY
from course_utils.show.pictures import frame_image

LIGHT = 200_000  # bytes: a heavier animation is made lighter in ways that the eye does not see
STEP = 255 / 7  # eight levels of brightness, black and white among them
COARSE = [round(round(value / STEP) * STEP) for value in range(256)]


def animation(
    frames: Iterable,
    description: str,
    *,
    ms: int = 80,
    hold_ms: int = 1500,
    width: int | None = None,
) -> None:
    """A looping animation that rests on its last frame.

    Where pictures do not move, as in print, the last frame is shown.

    Args:
        frames: each a batch [B, C, H, W] in [−1, 1], a PIL image or a matplotlib Figure, all of one size.
        description: what can be seen, for `figure`.
        ms: how long each frame stays, in milliseconds.
        hold_ms: how long the last one stays.
        width: in CSS pixels; by default the frames' own.

    Raises:
        ValueError: if there is no frame, a frame is none of these, sizes differ, or a time is not positive.
    """
    images, natural = _frames(frames)
    moving = _apng(images, _times(images, ms, hold_ms))
    figure(moving, description, width=natural if width is None else width, kind="Animation")


def save_animation(
    frames: Iterable, path: str | Path, *, ms: int = 80, hold_ms: int = 1500
) -> Path:
    """Write the animation to `path`, as an APNG (.png) or, for sites that take no APNG, a GIF (.gif).

    Arguments and errors as in `animation`. Returns the path.

    Raises:
        ValueError: also if the path ends in anything else.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".gif"):
        raise ValueError(f"an animation is written to a .png or a .gif file; got {path.name!r}.")
    images, _ = _frames(frames)
    times = _times(images, ms, hold_ms)
    if path.suffix.lower() == ".png":
        path.write_bytes(_apng(images, times))
    else:
        # At one pixel to one of CSS: a GIF packs large frames badly, and sites ignore its density.
        first, *others = [image.reduce(DENSITY) for image in images]
        first.save(path, save_all=True, append_images=others, duration=times, loop=0)
    return path


def _apng(images: list[Image.Image], times: list[int]) -> bytes:
    """The frames as one endless APNG, each shown for its time in milliseconds."""
    exact = _encode(images, times)
    if len(exact) <= LIGHT:
        return exact
    lighter = one_palette(images) if images[0].mode == "RGB" else None
    if lighter is None:
        coarse = COARSE * len(images[0].getbands())
        lighter = [image.point(coarse) if _noisy(image) else image for image in images]
    return min(exact, _encode(lighter, times), key=len)


def _encode(images: list[Image.Image], times: list[int]) -> bytes:
    buffer = io.BytesIO()
    # The image in front is what a reader without APNG shows: the result, not the first noise.
    images[-1].save(
        buffer,
        "PNG",
        save_all=True,
        append_images=images,
        default_image=True,
        duration=times,
        loop=0,
    )
    return buffer.getvalue()


def _noisy(image: Image.Image) -> bool:
    """Whether neighbouring colours differ so much that rounding them to the coarse levels cannot be seen."""
    levels = np.asarray(image, dtype=np.int16)
    jumps = np.abs(np.diff(levels, axis=1))  # 0 inside an enlarged pixel
    # A chart jumps at its lines, but is mostly empty.
    page = np.mean(np.asarray(image.convert("L")) == 255)
    return page < 0.5 and bool(jumps.any()) and jumps[jumps > 0].mean() > STEP


def _frames(frames: Iterable) -> tuple[list[Image.Image], int]:
    """Each frame as one image, all of one size and mode, and the width in CSS pixels at which to show them."""
    shown = [frame_image(frame) for frame in frames]
    if not shown:
        raise ValueError("there are no frames to show.")
    sizes = sorted({image.size for image, _ in shown})
    if len(sizes) > 1:
        raise ValueError(
            f"the frames need one size; got {' and '.join(f'{w}×{h}' for w, h in sizes)}."
        )
    grey = all(image.mode == "L" for image, _ in shown)
    return [image.convert("L" if grey else "RGB") for image, _ in shown], shown[0][1]


def _times(images: list[Image.Image], ms: int, hold_ms: int) -> list[int]:
    if not (ms > 0 and hold_ms > 0):
        raise ValueError(f"ms and hold_ms must be positive; got ms={ms}, hold_ms={hold_ms}.")
    return [ms] * (len(images) - 1) + [hold_ms]
