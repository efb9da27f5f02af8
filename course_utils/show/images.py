"""From arrays to pictures: tensors become PIL images, which are enlarged, labelled and laid side by side."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import torch
from PIL import Image, ImageDraw, ImageFont

from course_utils.data.scaling import to_pixels
from course_utils.show.palette import DENSITY, PAGE, card, text

SIDE = 256  # CSS pixels: the width of a picture that stands alone
GAP = 4  # CSS pixels between samples
MARGIN = 12  # CSS pixels between groups of samples
EDGE = 6  # CSS pixels around a picture with labels
LABEL = 13  # CSS pixels: the size of the letters above a picture


def to_images(samples) -> list[Image.Image]:
    """A batch of samples as PIL images, grey ("L") or colour ("RGB"); values beyond [−1, 1] are clamped.

    Args:
        samples: floating-point tensor or array [B, C, H, W] in [−1, 1] with C = 1 or 3, or a list of
            PIL images, all of one size.

    Raises:
        ValueError: if the batch is empty, or is not such a tensor or list, or holds NaN or infinite values.
    """
    if (
        isinstance(samples, Sequence)
        and samples
        and all(isinstance(s, Image.Image) for s in samples)
    ):
        if len({s.size for s in samples}) > 1:
            raise ValueError(
                f"the pictures need one size; got {sorted({f'{s.width}×{s.height}' for s in samples})}."
            )
        return [s if s.mode == "L" else s.convert("RGB") for s in samples]
    pixels = to_pixels(_batch(samples)).cpu()  # [B, C, H, W]
    rows = pixels.permute(0, 2, 3, 1).numpy()  # [B, H, W, C]
    return [Image.fromarray(row[..., 0] if row.shape[-1] == 1 else row) for row in rows]


def _batch(samples) -> torch.Tensor:
    """`samples` as a floating-point tensor [B, C, H, W]; to_pixels judges its values."""
    try:
        samples = torch.as_tensor(samples)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"samples must be a tensor [B, C, H, W] or a list of PIL images; got {type(samples).__name__}."
        ) from None
    shape = list(samples.shape)
    if samples.ndim != 4:
        hint = " For one sample [C, H, W] pass sample[None]." if samples.ndim == 3 else ""
        raise ValueError(f"samples need shape [B, C, H, W]; got {shape}.{hint}")
    if not samples.is_floating_point():
        raise ValueError(
            f"samples must be floating point in [−1, 1]; got {samples.dtype}. Pixels of 0 … 255 go through "
            "course_utils.data.to_model first."
        )
    if samples.numel() == 0:
        raise ValueError(f"there is no sample to show; got shape {shape}.")
    if shape[1] not in (1, 3):
        hint = " Move the channels forward with .permute(0, 3, 1, 2)." if shape[3] in (1, 3) else ""
        raise ValueError(
            f"samples need 1 channel (grey) or 3 (colour) at axis 1; got {shape}.{hint}"
        )
    return samples


def comfortable(image: Image.Image) -> tuple[Image.Image, int]:
    """`image`, enlarged if it is small, and the width in CSS pixels at which to show it."""
    side = SIDE * DENSITY
    if max(image.size) > side // 2:
        return image, min(image.width, PAGE)
    image = enlarge(image, side, side)
    return image, max(1, image.width // DENSITY)


def enlarge(image: Image.Image, width: int, height: int) -> Image.Image:
    """`image` made as large as fits width × height device pixels: whole-number magnification, so every
    pixel stays a sharp square. An image that is larger already is shrunk smoothly instead."""
    factor = min(width // image.width, height // image.height)
    if factor >= 1:
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    shrink = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    return image.resize(size, Image.Resampling.LANCZOS)


def balanced(count: int, most: int) -> int:
    """How many columns, `most` or fewer, share `count` tiles so that the rows are as even as can be."""
    return math.ceil(count / math.ceil(count / most))


def tiled(images: list[Image.Image], columns: int, across: int = PAGE, labels=None) -> Image.Image:
    """Samples enlarged and laid in rows, at most `across` CSS pixels wide, under their labels if given."""
    side = DENSITY * min(SIDE, (across - GAP * (columns - 1) - 2 * EDGE) // columns)
    if side < 1:
        raise ValueError(f"{columns} columns do not fit {across} pixels; ask for fewer.")
    return sheet([enlarge(image, side, side) for image in images], columns, GAP, labels)


def sheet(
    blocks: list[Image.Image], columns: int, gap: int, labels: Sequence[str] | None = None
) -> Image.Image:
    """`blocks` laid in rows on the card with `gap` CSS pixels between, each under its label if it has one."""
    gap *= DENSITY
    font = label_font()
    head = DENSITY * (LABEL + 7) if labels else 0
    edge = DENSITY * EDGE if labels else 0  # room around letters; pictures end where they end
    rows = math.ceil(len(blocks) / columns)
    widths = [0] * columns
    heights = [0] * rows
    for k, block in enumerate(blocks):
        needed = math.ceil(font.getlength(labels[k])) if labels else 0
        widths[k % columns] = max(widths[k % columns], block.width, needed)
        heights[k // columns] = max(heights[k // columns], block.height + head)
    grey = all(block.mode == "L" for block in blocks)  # lossless and a third of the size
    size = (
        sum(widths) + gap * (columns - 1) + 2 * edge,
        sum(heights) + gap * (rows - 1) + 2 * edge,
    )
    page = Image.new("L" if grey else "RGB", size, card)
    draw = ImageDraw.Draw(page)
    for k, block in enumerate(blocks):
        x = edge + sum(widths[: k % columns]) + gap * (k % columns)
        y = edge + sum(heights[: k // columns]) + gap * (k // columns)
        if labels:
            # Anchored at the baseline, so that labels with and without descenders stand on one line.
            draw.text((x, y + DENSITY * LABEL), labels[k], fill=text, font=font, anchor="ls")
        page.paste(block, (x, y + head))
    return page


@cache
def label_font() -> ImageFont.FreeTypeFont:
    """The font of the charts, from matplotlib's own files: it is everywhere and has the course's symbols."""
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(file, DENSITY * LABEL)


def checked_labels(labels, count: int, what: str) -> list[str] | None:
    """`labels` as strings, one for each of `count` pictures, or None where there are none."""
    if labels is None:
        return None
    labels = [str(label) for label in labels]
    if len(labels) != count:
        raise ValueError(f"need one of {what} for each of the {count} pictures; got {len(labels)}.")
    return labels
