"""How image sets are divided on disk and on the Hub: splits such as train and test, and subsets."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

# The parts that image sets are split into, each with the spellings in use.
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}


def split_of(name: str) -> str | None:
    """The split that a file or folder of this name holds; None if it is not the name of one."""
    return next((split for split, spellings in _SPLITS.items() if name.lower() in spellings), None)


def no_split(split: str, where: str, found: Iterable[str]) -> ValueError:
    """The error for a split that is not there."""
    return ValueError(
        f"{where} has no split {split!r}, only: {', '.join(sorted(set(found)))}. "
        "Pass one of these as split, or split=None for everything."
    )


def choose(names: Iterable[str], split: str | None, subset: str | None, where: str) -> list[str]:
    """Those of a data set's parquet files that make up one split of one subset, in order.

    The Hub's names are "data/train-00000-of-00005.parquet", "plain_text/train/0000.parquet", "train.parquet"
    and the like. Files whose names speak of no split at all are "train".

    Args:
        names: relative paths, with forward slashes.
        split: None takes all.
        subset: the folder that the files lie in, when there is more than one.
        where: what to call the data set in a message.

    Raises:
        ValueError: if there is no such split or subset, or the subset is left open among several.
    """
    names = sorted(names)
    if subset is not None:
        chosen = [name for name in names if f"{_subset(name)}/".startswith(f"{subset}/")]
        if not chosen:
            found = ", ".join(sorted({repr(_subset(name)) for name in names}))
            raise ValueError(f"{where} has no subset {subset!r}, only: {found}.")
        names = chosen
    if split is not None:
        names = _in_split(names, split, where)
    subsets = sorted({_subset(name) for name in names})
    if subset is None and len(subsets) > 1:
        if "default" not in subsets:
            found = ", ".join(map(repr, subsets))
            raise ValueError(
                f"{where} holds several image sets; pass one of these as subset: {found}."
            )
        names = [name for name in names if _subset(name) == "default"]
    return names


def _in_split(names: list[str], split: str, where: str) -> list[str]:
    exactly = [name for name in names if _split_name(name) == split]
    if exactly:
        return exactly
    spoken = [
        {split_of(word) for word in re.split("[^a-z0-9]+", name.lower())} - {None} for name in names
    ]
    alike = [name for name, splits in zip(names, spoken, strict=True) if split_of(split) in splits]
    if alike:
        return alike
    if split_of(split) == "train" and not any(spoken):
        return names
    raise no_split(split, where, map(_split_name, names))


def _split_name(name: str) -> str:
    """What the Hub's names say: what stands before -00000-of-00005, or the folder of 0000.parquet."""
    path = PurePosixPath(name)
    if path.stem.isdigit():
        return path.parent.name.removeprefix("partial-")
    return re.sub(r"-\d+-of-\d+(-[0-9a-f]+)?$", "", path.stem)


def _subset(name: str) -> str:
    """The folders that a file lies in, less those that name its split; "." for none."""
    path = PurePosixPath(name)
    folders = path.parent.parts[:-1] if path.stem.isdigit() else path.parent.parts
    return "/".join(folder for folder in folders if split_of(folder) is None) or "."
