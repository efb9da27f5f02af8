"""Samples as pictures: one batch, a grid, groups side by side, a film strip."""

import math
import operator
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from PIL import Image

from course_utils.show.figures import Shown, draw, figure
from course_utils.show.images import (
    EDGE,
    GAP,
    MARGIN,
    SIDE,
    balanced,
    checked_labels,
    comfortable,
    enlarge,
    sheet,
    tiled,
    to_images,
)
from course_utils.show.palette import DENSITY, PAGE


def display_sample(sample, i: int, handle: Shown | None = None) -> Shown:
    """Show a batch of samples as one picture, titled "step i".

    In a loop, hand the returned handle back, and each picture takes the place of the one before:

        handle = None
        for i, t in enumerate(timesteps):
            ...
            handle = display_sample(sample, i, handle)

    Args:
        sample: floating-point tensor [B, C, H, W] with C = 1 or 3; values beyond [−1, 1] are clamped.
        i: the number of the step.
        handle: what an earlier call returned.

    Raises:
        ValueError: if sample is not such a tensor or holds NaN, i is not whole, or handle is not one.
    """
    if handle is not None and not isinstance(handle, Shown):
        raise ValueError(
            f"handle must be what display_sample returned; got {type(handle).__name__}."
        )
    try:
        i = operator.index(i)
    except TypeError:
        raise ValueError(f"i, the number of the step, must be a whole number; got {i!r}.") from None
    images = to_images(sample)
    count, (width, height) = len(images), images[0].size
    noun = "sample" if count == 1 else "samples"
    colours = "grey" if images[0].mode == "L" else "colour"
    picture = tiled(images, balanced(count, 8))
    handle = handle or Shown()
    handle.replace(
        picture,
        f"{count} {noun} of {width} × {height} pixels, in {colours}.",
        width=_css(picture),
        kind="Picture",
        title=f"step {i}",
    )
    return handle


def grid(
    samples, description: str, *, columns: int | None = None, titles: Sequence[str] | None = None
) -> None:
    """Samples in rows and columns, each under its title if titles are given.

    Args:
        samples: floating-point tensor [B, C, H, W] in [−1, 1], or a list of PIL images of one size.
        description: what can be seen, for `figure`.
        columns: by default up to eight, with rows as even as can be.

    Raises:
        ValueError: if samples are no such batch, columns < 1, or the titles do not match them in number.
    """
    images = to_images(samples)
    titles = checked_labels(titles, len(images), "titles")
    if columns is None:
        columns = balanced(len(images), 8)
    elif columns < 1:
        raise ValueError(f"columns must be at least 1; got {columns}.")
    picture = tiled(images, min(columns, len(images)), labels=titles)
    figure(picture, description, width=_css(picture), kind="Grid of pictures")


def compare(groups: Mapping[str, object], description: str) -> None:
    """Groups of samples side by side, each under its name: `compare({"DDPM": a, "DDIM": b}, …)`.

    Args:
        groups: from name to samples as in `grid`.
        description: what can be seen, for `figure`.

    Raises:
        ValueError: if there is no group, or one holds no such samples.
    """
    if not isinstance(groups, Mapping) or not groups:
        raise ValueError(
            'compare needs a dict of samples by name, such as {"data": x0, "model": samples}.'
        )
    batches = [to_images(samples) for samples in groups.values()]
    columns = balanced(len(batches), 4)
    across = (PAGE - MARGIN * (columns - 1) - 2 * EDGE) // columns
    # One tile size for all groups.
    inside = max(math.ceil(math.sqrt(len(images))) for images in batches)
    blocks = [_block(images, inside, across) for images in batches]
    picture = sheet(blocks, columns, MARGIN, [str(name) for name in groups])
    figure(picture, description, width=_css(picture), kind="Pictures side by side")


def strip(frames: Sequence, labels: Sequence, description: str) -> None:
    """A film strip: one frame after the other, each under its label, in as many rows as it takes.

    Args:
        frames: each a batch [B, C, H, W] in [−1, 1] (its samples stand one below the other), a PIL image or
            a matplotlib Figure.
        labels: one for each frame, such as "t = 0".
        description: what can be seen, for `figure`.

    Raises:
        ValueError: if there is no frame, a frame is none of these, or the labels do not match in number.
    """
    picture = film(frames, labels)
    figure(picture, description, width=_css(picture), kind="Film strip")


def film(frames: Sequence, labels: Sequence, columns: int | None = None) -> Image.Image:
    """The picture that `strip` shows; arguments and errors as there."""
    if len(frames) == 0:
        raise ValueError("there are no frames to show.")
    labels = checked_labels(labels, len(frames), "labels")
    charts = [draw(frame, DENSITY) if isinstance(frame, Figure) else None for frame in frames]
    # Samples may become small, but a chart keeps its size, or nobody can read its labels.
    widest = max((chart.width // DENSITY for chart in charts if chart), default=PAGE // 8)
    columns = columns or balanced(len(frames), max(1, round(PAGE / widest)))
    across = (PAGE - MARGIN * (columns - 1) - 2 * EDGE) // columns
    blocks = [
        chart or _block(to_images([frame] if isinstance(frame, Image.Image) else frame), 1, across)
        for frame, chart in zip(frames, charts, strict=True)
    ]
    return sheet(blocks, columns, MARGIN, labels)


def frame_image(frame) -> tuple[Image.Image, int]:
    """A batch, a PIL image or a Figure as one image, and the width in CSS pixels at which to show it."""
    if isinstance(frame, Image.Image):
        return comfortable(frame)
    if isinstance(frame, Figure):
        image = draw(frame, DENSITY)
    else:
        images = to_images(frame)
        image = tiled(images, balanced(len(images), 8))
    return image, _css(image)


def _block(images: list[Image.Image], columns: int, across: int) -> Image.Image:
    """Samples as one block of `columns`, at most `across` CSS pixels wide, with no border of its own."""
    side = DENSITY * min(SIDE, (across - GAP * (columns - 1)) // columns)
    return sheet([enlarge(image, side, side) for image in images], columns, GAP)


def _css(picture: Image.Image) -> int:
    """The width in CSS pixels of a picture made in device pixels."""
    return max(1, min(PAGE, picture.width // DENSITY))
