"""What a training loop eats: an endless row of shuffled batches."""

from collections.abc import Iterator

import numpy as np
import torch

from course_utils.data.scaling import to_model


def batches(
    pixels: torch.Tensor, batch_size: int, *, seed: int = 0, start: int = 0, flip: bool = False
) -> Iterator[torch.Tensor]:
    """Shuffled batches without end. Each epoch sees every image at most once, in an order of its own.

    The seed and the number of a batch alone decide what is in it, so a run that was cut off after k batches
    goes on with start=k as if nothing had happened. What is left of an epoch, less than a batch, is dropped.

    Args:
        pixels: uint8 [N, C, H, W]; on a GPU, the batches are made there.
        batch_size: images in each batch, at most N.
        seed: of the order and the flips, at least 0.
        start: the number of the first batch to yield.
        flip: mirror each image with probability one half, left and right.

    Yields:
        float32 [batch_size, C, H, W] in [−1, 1], on the device of pixels.

    Raises:
        ValueError: if pixels is not a uint8 tensor of images, or a number is out of range.
    """
    if not isinstance(pixels, torch.Tensor) or pixels.dtype != torch.uint8 or pixels.ndim != 4:
        got = (
            f"{pixels.dtype} {list(pixels.shape)}"
            if isinstance(pixels, torch.Tensor)
            else type(pixels).__name__
        )
        raise ValueError(
            f"pixels must be a uint8 tensor [N, C, H, W], such as load_images(…).pixels; got {got}."
        )
    if not 1 <= batch_size <= len(pixels):
        raise ValueError(
            f"batch_size must lie in 1 … {len(pixels)}, the number of images; got {batch_size}."
        )
    if seed < 0 or start < 0:
        raise ValueError(f"seed and start must not be negative; got seed={seed}, start={start}.")
    return _endless(pixels, batch_size, seed, start, flip)


def _endless(
    pixels: torch.Tensor, batch_size: int, seed: int, start: int, flip: bool
) -> Iterator[torch.Tensor]:
    # Apart from the checks above, for a generator would raise only once its first batch is asked for.
    n = len(pixels)
    epoch, done = divmod(start, n // batch_size)
    while True:
        order, mirrored = (row.to(pixels.device) for row in shuffled(n, seed, epoch))
        for i in range(done * batch_size, n - batch_size + 1, batch_size):
            batch = to_model(pixels[order[i : i + batch_size]])
            if flip:
                batch = torch.where(
                    mirrored[i : i + batch_size, None, None, None], batch.flip(-1), batch
                )
            yield batch
        epoch, done = epoch + 1, 0


def shuffled(n: int, seed: int, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The order of n images in an epoch, and which of the places in that order are mirrored; both [n]."""
    # Torch's generator takes 32 bits of a seed; SeedSequence makes them of both numbers, well mixed.
    mixed = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
    generator = torch.Generator().manual_seed(mixed)
    order = torch.randperm(n, generator=generator)
    return order, torch.rand(n, generator=generator) < 0.5
