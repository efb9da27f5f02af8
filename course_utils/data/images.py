"""Real image sets as one tensor of pixels, from a folder, parquet files or the Hugging Face Hub."""

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from course_utils.data import folder, hub, parquet
from course_utils.data.layout import choose
from course_utils.data.source import Item, Source

CHUNK = 64  # images that the threads are given at a time


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Images of one size, and what is known about them.

    Attributes:
        pixels: uint8 [N, C, H, W]. `to_model` makes of them what a diffusion model takes.
        labels: int64 [N], −1 where an image has none; None if the source has no labels.
        label_names: what the labels 0, 1, … stand for, where the source says so.
        skipped: the images that could not be read, each with the reason.
    """

    pixels: torch.Tensor
    labels: torch.Tensor | None
    label_names: tuple[str, ...] | None
    skipped: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        kinds = 0 if self.labels is None else len(self.labels[self.labels >= 0].unique())
        shape = list(self.pixels.shape[1:])
        return f"ImageSet({len(self)} images {shape}, {kinds or 'no'} labels, {len(self.skipped)} skipped)"


def load_images(
    source: str | os.PathLike,
    size: int | None = None,
    *,
    limit: int | None = None,
    split: str | None = "train",
    subset: str | None = None,
    column: str | None = None,
    label_column: str | None = None,
    channels: int = 3,
    progress: bool = True,
) -> ImageSet:
    """All images of a folder, of parquet files or of a Hub data set, cut to their centre square and resized.

    The result takes N · channels · size² bytes of memory: 50,000 images of 32×32 are 154 MB, 30,000 of
    256×256 are 5.9 GB; `limit` takes fewer. Beside it there are never more than a few decoded originals, one
    a thread, and of parquet files one row group at a time, still compressed: up to a thousand images, as the
    Hub has them. What comes from the Hub stays on disk, in the cache of huggingface_hub.

    Args:
        source: one of
            a folder of images, with all that lies below it, in the order of the names. If all of them lie in
                sub-folders, those are the labels; sub-folders named train, test … are splits;
            a parquet file, or a folder of them: encoded images in a column of bytes, or of structs with
                `bytes` and `path`, as the Hub has it;
            a Hub data set, "owner/name"; "hf:name" says so even where a folder has that name.
        size: height and width of the result. None keeps the size they have, which must be one for all.
        limit: at most so many, the first ones.
        split: which part of a set that has parts; None takes everything.
        subset: which one, of parquet files that form several sets side by side.
        column: the image column of parquet files. None finds it.
        label_column: the label column of parquet files, whole numbers or text. None finds it.
        channels: 3 for colour, 1 for grey.
        progress: whether to show a progress bar.

    Returns:
        ImageSet. Images that cannot be read are left out, named in its `skipped`, and in one warning.

    Raises:
        FileNotFoundError: nothing is there: neither a path nor a Hub data set of that name.
        ValueError: something is there, but no image in it can be read, sizes differ while size is None, the
            split, subset or column is missing or not clear, or an argument makes no sense.
        ConnectionError: the Hub does not answer, and the data set was not downloaded before.
        PermissionError: the data set is there, but asks you to accept its terms first.
    """
    images = open_source(
        source,
        size,
        limit,
        split=split,
        subset=subset,
        column=column,
        label_column=label_column,
        channels=channels,
    )
    pixels, labels, skipped = _decode_all(images, size, limit, channels, progress)
    if not len(pixels):
        raise ValueError(
            f"none of the {len(skipped)} images in {images.where} can be read. {_listed(skipped)}"
        )
    if skipped:
        warnings.warn(
            f"skipped {len(skipped)} of {len(pixels) + len(skipped)} images in {images.where} "
            f"that cannot be read. {_listed(skipped)}",
            stacklevel=2,
        )
    numbers, names = _encode_labels(labels, images.label_names)
    return ImageSet(torch.from_numpy(pixels), numbers, names, tuple(skipped))


def open_source(
    source: str | os.PathLike,
    size: int | None,
    limit: int | None,
    *,
    split: str | None = "train",
    subset: str | None = None,
    column: str | None = None,
    label_column: str | None = None,
    channels: int = 3,
) -> Source:
    """Whatever the source names, as one stream of encoded images. Arguments and errors as in `load_images`."""
    _check(source, size, limit, channels)
    path = Path(source).expanduser()
    if path.is_dir():
        files = folder.walk(path)
        # metadata.parquet is how the Hub's folders of images keep their captions.
        tables = [
            f.as_posix()
            for f in files
            if f.suffix.lower() == ".parquet" and f.name != "metadata.parquet"
        ]
        if not tables:
            return folder.open_folder(path, files, split)
        chosen = choose(tables, split, subset, f"the folder {path}")
        return parquet.open_tables(
            [path / name for name in chosen], f"the folder {path}", column, label_column
        )
    if path.is_file():
        if path.suffix.lower() == ".parquet":
            return parquet.open_tables([path], str(path), column, label_column)
        return folder.open_file(path)
    name = hub.dataset_name(source)
    if name is None:
        here = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise FileNotFoundError(
            f"there is no file or folder {str(source)!r}{here}. "
            'A Hugging Face Hub data set is written "owner/name".'
        )
    where = f"the Hub data set {name}"
    try:
        files = hub.download(name, lambda names: choose(names, split, subset, where), limit)
    except (FileNotFoundError, ConnectionError, PermissionError) as error:
        if name != source:  # "hf:…" can mean nothing else
            raise
        raise type(error)(f"there is no folder {source!r} in {Path.cwd()}, and {error}") from None
    return parquet.open_tables(files, where, column, label_column)


def _decode_all(
    images: Source, size: int | None, limit: int | None, channels: int, progress: bool
) -> tuple[np.ndarray, list, list[str]]:
    """Pixels [N, C, H, W], N labels, and the names of what could not be read."""
    from tqdm.auto import tqdm

    total = images.count if limit is None else min(limit, images.count)
    pixels, labels, skipped, first = None, [], [], ""
    with tqdm(total=total, desc="images", unit="image", disable=not progress) as bar:
        for item, image in _decoded(images.items, size, channels):
            if isinstance(image, Exception):
                skipped.append(item.skipped(image))
                continue
            if pixels is None:
                # The system hands out this memory only as it is written to.
                pixels, first = np.empty((total, *image.shape), np.uint8), item.name
            elif image.shape != pixels.shape[1:]:
                (height, width), (other_height, other_width) = pixels.shape[2:], image.shape[1:]
                raise ValueError(
                    f"the images in {images.where} differ in size (width × height): {first} has "
                    f"{width}×{height}, {item.name} has {other_width}×{other_height}. "
                    f"Pass a size, for instance size={min(height, width, other_height, other_width)}, "
                    "to crop and resize them."
                )
            pixels[len(labels)] = image
            labels.append(item.label)
            bar.update()
            if len(labels) == total:
                break
    return (np.empty((0,)) if pixels is None else pixels[: len(labels)]), labels, skipped


def _decoded(
    items: Iterator[Item], size: int | None, channels: int
) -> Iterator[tuple[Item, np.ndarray | Exception]]:
    """Each item with its pixels, or with the exception that its bytes led to, in order."""
    # Pillow loads its rarer formats (WebP, TIFF …) when it first meets one. Threads that meet one at the same
    # time can find it unknown.
    Image.init()
    # Pillow decodes outside Python's lock, so threads do work side by side.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        while chunk := list(islice(items, CHUNK)):
            decoded = pool.map(lambda item: item.pixels(size, channels), chunk)
            yield from zip(chunk, decoded, strict=True)


def _encode_labels(
    labels: list, names: tuple[str, ...] | None
) -> tuple[torch.Tensor | None, tuple[str, ...] | None]:
    """Labels as whole numbers: text counts in the order of the names, a missing label is −1."""
    known = [label for label in labels if label is not None]
    if not known:
        return None, None
    if isinstance(known[0], str):
        if not set(known) <= set(names or ()):
            names = tuple(sorted(set(known)))
        number = {name: index for index, name in enumerate(names)}
        labels = [None if label is None else number[label] for label in labels]
    return torch.tensor(
        [-1 if label is None else label for label in labels], dtype=torch.int64
    ), names


def _listed(skipped: list[str], most: int = 8) -> str:
    rest = f"; and {len(skipped) - most} more" if len(skipped) > most else ""
    return "These are: " + "; ".join(skipped[:most]) + rest + "."


def _check(source: str | os.PathLike, size: int | None, limit: int | None, channels: int) -> None:
    if source == "":  # which pathlib would take for the current folder
        raise ValueError(
            'source is empty; give a folder, a parquet file or a Hub data set, "owner/name".'
        )
    for name, value in (("size", size), ("limit", limit)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or value < 1
        ):
            raise ValueError(
                f"{name} must be a whole number of at least 1, or None; got {value!r}."
            )
    if channels not in (1, 3):
        raise ValueError(f"channels must be 3, for colour, or 1, for grey; got {channels!r}.")
