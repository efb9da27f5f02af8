"""From the bytes of an image file to its pixels, whatever camera or program wrote it."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


def decode(source: bytes | Path, size: int | None, channels: int) -> np.ndarray:
    """The pixels of one image, uint8 [channels, height, width].

    It is turned upright as its EXIF orientation says. Transparent images are laid over white, 16-bit ones
    scaled to 8 bits, palettes and CMYK turned into RGB; colour profiles are not applied. Of an animation the
    first frame counts.

    Args:
        source: the encoded image, or the file that holds it.
        size: the centre square is cut out and resized to size × size (bicubic, antialiased). None keeps all.
        channels: 1 for grey, 3 for RGB.

    Raises:
        ValueError: if it is empty, or not an image that Pillow knows, or its range of values is unknown.
        OSError: if the file cannot be read, or its image is damaged.
        Exception: of almost any kind, from Pillow's decoders at work on damaged bytes.
    """
    data = source.read_bytes() if isinstance(source, Path) else source
    if not data:
        raise ValueError("it is empty")
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise ValueError("not an image that Pillow can read") from None
    if size is not None:
        # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, which loads large photographs several times faster.
        # At least twice the size wanted is left for the antialiased step below.
        image.draft(None, (2 * size, 2 * size))
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    image = _flat(image).convert("L" if channels == 1 else "RGB")
    if size is not None:
        image = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    pixels = np.asarray(image).reshape(image.height, image.width, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _flat(image: Image.Image) -> Image.Image:
    """The same picture, opaque and with 8 bits a channel."""
    if image.mode.startswith("I"):  # Pillow would clip 16 bits at 255 rather than scale them
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its whole numbers go beyond 16 bits, so black and white are unknown")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("it holds floating-point numbers, so black and white are unknown")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image
