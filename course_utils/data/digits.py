"""Real handwritten digits that need no download: they come with scikit-learn."""

import torch


def digits(size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """The 1,797 digits that 13 people wrote, white on black (Alpaydin and Kaynak 1998, the test part).

    They are 8×8 pixels of 17 grey levels; a larger size is interpolated smoothly (bicubic), not drawn anew.

    Args:
        size: height and width of the images, at least 8: for instance 16, 28 or 32.

    Returns:
        images, uint8 [1797, 1, size, size], and labels 0 … 9, int64 [1797].

    Raises:
        ValueError: if size is not a whole number of at least 8.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 8:
        raise ValueError(
            f"size must be a whole number of at least 8, the size of the originals; got {size!r}."
        )
    from sklearn.datasets import load_digits  # imported here: scikit-learn takes a second to load

    originals, labels = load_digits(return_X_y=True)
    # Ink from 0 to 16, float64.
    images = torch.from_numpy(originals).reshape(-1, 1, 8, 8) * (255 / 16)
    if size > 8:
        # When enlarging, antialias only changes the kernel: to Keys' cubic, as in Pillow, which rings less.
        images = torch.nn.functional.interpolate(
            images, size=(size, size), mode="bicubic", antialias=True
        )
    # The bicubic curve overshoots at sharp edges.
    return images.round().clamp(0, 255).to(torch.uint8), torch.from_numpy(labels).long()
