"""Charts in a palette of 256 colours: a third of the bytes, and no difference that an eye can see."""

import numpy as np
from PIL import Image

from course_utils.show.images import sheet

FEW = 20_000  # colours: charts have fewer, with all the blends along their edges; noise has more
WEIGHED = 2_000_000  # pixels to choose the palette by: Pillow's sums overflow at some 16 million
SEEN = (
    0.1  # mean change of a pixel, in levels of 255, that is too much; charts change by 0.04 or less
)


def one_palette(images: list[Image.Image]) -> list[Image.Image] | None:
    """The RGB images, all of one size, in the same 256 colours; None where that could be seen.

    An animated PNG has room for only one palette, so that its frames have to share it.
    """
    counted = sheet(images, columns=1, gap=0).getcolors(FEW)
    if not counted:
        return None
    counts = np.array([count for count, _ in counted])
    colours = np.array([colour for _, colour in counted], dtype=np.uint8)  # [N, 3]
    weights = np.ceil(counts * min(1.0, WEIGHED / counts.sum())).astype(int)
    swatches = Image.fromarray(np.repeat(colours, weights, axis=0)[None])
    chosen = swatches.quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)
    place = np.asarray(chosen)[0, np.cumsum(weights) - 1]  # [N], of each colour in the palette
    palette = np.array(chosen.getpalette()).reshape(-1, 3)
    change = np.abs(palette[place] - colours.astype(int))
    if (counts @ change).max() > SEEN * counts.sum():
        return None
    order = np.argsort(_codes(colours))
    codes, place = _codes(colours)[order], place[order]
    return [
        _indexed(place[np.searchsorted(codes, _codes(np.asarray(image)))], palette)
        for image in images
    ]


def _codes(colours: np.ndarray) -> np.ndarray:
    """One number for each colour: [..., 3] to [...]."""
    return colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)


def _indexed(places: np.ndarray, palette: np.ndarray) -> Image.Image:
    image = Image.fromarray(places.astype(np.uint8)).convert("L")
    image.putpalette(palette.astype(np.uint8).tobytes())  # which turns it from grey to indexed
    return image
