"""Image sets that stay on the disk: a few processes decode the next batches while the last ones are learned from."""

import signal
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from course_utils.data.batching import shuffled
from course_utils.data.images import open_source

TRIES = 10  # images in the place of one that cannot be read


class ReadError(RuntimeError):
    """Images can no longer be read; the message says why."""


class Batch(NamedTuple):
    """uint8 pixels [B, C, H, W], and the images that could not be read, each with the reason."""

    pixels: torch.Tensor
    skipped: list[str]


class DiskImages:
    """The images that `load_images` would load, none of them read before it is asked for.

    In the place of one that cannot be read stands another, always the same. `load_images` leaves it out instead, so
    where images are broken the two give different batches; where none is, the same.

    Arguments and errors are those of `load_images`.
    """

    def __init__(self, source, size: int, *, limit: int | None = None, channels: int = 3):
        opened = open_source(source, size, limit, channels=channels)
        self.shape = (channels, size, size)
        self.where, self._pick = opened.where, opened.pick
        self._count = opened.count if limit is None else min(limit, opened.count)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """What the pixels of all images would take in memory."""
        return len(self) * int(np.prod(self.shape))

    def read(self, numbers: list[int]) -> Batch:
        """The images of these numbers, 0 … len − 1.

        Raises:
            ReadError: if ten images that were tried for one place cannot be read.
        """
        pixels = np.empty((len(numbers), *self.shape), np.uint8)
        skipped, missing = [], dict(enumerate(numbers))  # from place to number
        for attempt in range(TRIES):
            broken = {}
            items = self._pick(list(missing.values()))
            for (place, number), item in zip(missing.items(), items, strict=True):
                image = item.pixels(self.shape[1], self.shape[0])
                if isinstance(image, Exception):
                    skipped.append(item.skipped(image))
                    broken[place] = self._another(number, attempt)
                else:
                    pixels[place] = image
            if not broken:
                return Batch(torch.from_numpy(pixels), skipped)
            missing = broken
        raise ReadError(
            f"too many images in {self.where} cannot be read, among them {skipped[-1]}. Mend them, or take them out."
        )

    def _another(self, number: int, attempt: int) -> int:
        """An image from anywhere in the set, for what is broken is often broken together."""
        return int(np.random.SeedSequence((number, attempt)).generate_state(1)[0]) % len(self)


class _Batches(Dataset):
    """Batch number k of `batches`, as item k."""

    def __init__(self, images: DiskImages, batch_size: int, seed: int, flip: bool, share: slice):
        self.images, self.batch_size, self.seed = images, batch_size, seed
        self.flip, self.share = flip, share

    def __getitem__(self, k: int) -> Batch | ReadError:
        n, size = len(self.images), self.batch_size
        epoch, i = divmod(k, n // size)
        order, mirrored = _shuffled(n, self.seed, epoch)
        place = slice(i * size, (i + 1) * size)
        try:
            pixels, skipped = self.images.read(order[place][self.share].tolist())
        except ReadError as error:  # raised here, it would come with pages of the DataLoader's
            return error
        if self.flip:
            mirror = mirrored[place][self.share, None, None, None]
            pixels = torch.where(mirror, pixels.flip(-1), pixels)
        whole = torch.zeros(size, *self.images.shape, dtype=torch.uint8)
        whole[self.share] = pixels
        return Batch(whole, skipped)


_shuffled = lru_cache(maxsize=2)(shuffled)  # of this epoch and the next


def stream(
    images: DiskImages,
    batch_size: int,
    *,
    seed: int = 0,
    start: int = 0,
    flip: bool = False,
    share: slice = slice(None),
    workers: int = 0,
    pin: bool = False,
) -> Iterator[Batch]:
    """The batches that `batches` makes of images in memory, still as uint8, from the disk.

    Each of the workers, which are processes, makes whole batches ahead of time. Where they do not begin as forks, as
    on Windows and macOS, they need a script to have its `if __name__ == "__main__":`.

    Args:
        images: those on the disk.
        batch_size, seed, start, flip: as in `batches`.
        share: which images of a batch to read, if others are not needed here; these are black.
        workers: how many; with 0 the batches are made here, when they are asked for.
        pin: put batches into memory that a GPU copies from while it works.

    Raises:
        ReadError: if ten images that were tried for one place cannot be read, or a worker has ended.
        ValueError: if a number is out of range.
    """
    if not 1 <= batch_size <= len(images) or seed < 0 or start < 0:
        raise ValueError(
            f"need batch_size in 1 … {len(images)}, seed ≥ 0 and start ≥ 0; "
            f"got {batch_size}, {seed} and {start}."
        )
    loader = DataLoader(
        _Batches(images, batch_size, seed, flip, share),
        batch_size=None,  # an item is a batch
        sampler=count(start),
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_ignore_signals,
        generator=torch.Generator(),  # or it would draw from the one that dropout draws from
    )
    return _good_ones(loader)


def _good_ones(loader: DataLoader) -> Iterator[Batch]:
    try:
        for batch in loader:
            if isinstance(batch, ReadError):
                raise batch
            yield batch
    except RuntimeError as error:
        if isinstance(error, ReadError) or "DataLoader worker" not in str(error):
            raise
        raise ReadError(
            f"a process that reads images has ended, perhaps for want of memory (a smaller batch needs less): {error}"
        ) from None


def _ignore_signals(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal, but it is the main one that ends, and its workers with it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
