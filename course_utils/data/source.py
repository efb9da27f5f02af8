"""What every source of images turns into: a stream of encoded images, none of them decoded yet."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_utils.data.decode import decode


class Item(NamedTuple):
    """One encoded image, or the error in its place. The name is for messages; the label a number, a text, or None."""

    name: str
    data: bytes | Path | Exception
    label: int | str | None

    def pixels(self, size: int | None, channels: int) -> np.ndarray | Exception:
        """What `decode` makes of it, or the exception that its bytes led to."""
        if isinstance(self.data, Exception):
            return self.data
        try:
            return decode(self.data, size, channels)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise all kinds of things on damaged bytes
            return error

    def skipped(self, error: Exception) -> str:
        """The name with the reason why there are no pixels."""
        return f"{self.name} ({error or type(error).__name__})"


class Source(NamedTuple):
    """Encoded images.

    Attributes:
        items: all, in order, once.
        count: how many there are at most.
        where: where they come from, in words.
        label_names: what the labels stand for.
        pick: the images of these numbers, in their order, without labels; can be pickled, for other processes.
    """

    items: Iterator[Item]
    count: int
    where: str
    label_names: tuple[str, ...] | None
    pick: Callable[[Sequence[int]], list[Item]]
