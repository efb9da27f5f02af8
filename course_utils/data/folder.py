"""A folder of image files, or a single one, as a source of images."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils.data.layout import no_split, split_of
from course_utils.data.source import Item, Source

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga"}
)


def walk(root: Path) -> list[Path]:
    """Every file below root, relative to it, in the order of the names, less what is hidden."""
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [Path(place, name).relative_to(root) for name in files if not name.startswith(".")]
    return sorted(found, key=Path.as_posix)


def open_file(path: Path) -> Source:
    """One image. Raises ValueError if the name is not that of an image."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path} is neither an image ({_known()}), nor a .parquet file, nor a folder of them."
        )
    pick = Files(path.parent, [path.name])
    return Source(iter(pick([0])), 1, str(path), None, pick)


def open_folder(root: Path, files: list[Path], split: str | None) -> Source:
    """The images among the files below root; where all lie in sub-folders, these are their labels.

    Sub-folders named train, validation, test … are splits instead, and the labels are looked for within.

    Raises:
        ValueError: if there are no images, or not this split. Images that are in no split are "train".
    """
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not images:
        kinds = Counter(path.suffix.lower() or "no suffix" for path in files).most_common(5)
        found = ", ".join(f"{count} × {kind}" for kind, count in kinds)
        raise ValueError(
            f"the folder {root} holds no .parquet files and no images ({_known()}), "
            + (f"only other files: {found}." if files else "for it holds no files at all.")
        )
    in_splits = all(len(path.parts) > 1 and split_of(path.parts[0]) for path in images)
    if in_splits and split is not None:
        tops = {path.parts[0] for path in images}
        images = [path for path in images if split_of(path.parts[0]) == (split_of(split) or split)]
        if not images:
            raise no_split(split, f"the folder {root}", tops)
    elif split is not None and split_of(split) != "train":
        raise no_split(split, f"the folder {root}", ["train"])

    inner = [path.parts[in_splits:] for path in images]
    classes = (
        sorted({parts[0] for parts in inner}) if all(len(parts) > 1 for parts in inner) else []
    )
    labels = [parts[0] for parts in inner] if len(classes) > 1 else [None] * len(inner)
    items = (
        Item(path.as_posix(), root / path, label)
        for path, label in zip(images, labels, strict=True)
    )
    pick = Files(root, [path.as_posix() for path in images])
    return Source(items, len(images), f"the folder {root}", tuple(classes) or None, pick)


@dataclass(frozen=True)
class Files:
    """`Source.pick` of files below a folder."""

    root: Path
    names: list[str]

    def __call__(self, numbers: Sequence[int]) -> list[Item]:
        return [Item(self.names[i], self.root / self.names[i], None) for i in numbers]


def _known() -> str:
    return ", ".join(sorted(SUFFIXES))
