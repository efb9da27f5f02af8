"""What every source of images turns into: a stream of encoded images, none of them decoded yet."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Item(NamedTuple):
    """One encoded image. The name is for messages; the label a number, a text, or None."""

    name: str
    data: bytes | Path
    label: int | str | None


class Source(NamedTuple):
    """Encoded images in order, how many there are at most, where they come from, and their labels' names."""

    items: Iterator[Item]
    count: int
    where: str
    label_names: tuple[str, ...] | None
