"""The log of a run: one line of JSON for every look at it, which a notebook can plot while the run goes on."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from course_utils.interop.checkpoint import write_whole


def read_log(path: str | Path) -> list[dict]:
    """The lines so far, oldest first; none if there is no such file.

    A last one that is not yet whole is left out, and so are those that a power cut has damaged.
    """
    try:
        *whole, _ = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    entries = []
    for line in whole:
        with suppress(json.JSONDecodeError):
            entries.append(json.loads(line))
    return entries


def write_line(path: Path, entry: dict) -> None:
    """Add an entry to the log."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def back_to(path: Path, step: int) -> float:
    """Take back the lines after a step, which a run that goes on from there will write anew.

    Returns:
        The seconds that the run had trained at the last line that stays; 0 if none does.
    """
    kept = [entry for entry in read_log(path) if entry["step"] <= step]
    write_whole(path, "".join(json.dumps(entry) + "\n" for entry in kept).encode())
    return kept[-1]["seconds"] if kept else 0.0


def read_skipped(path: Path) -> set[str]:
    """The images that a run could not read, each with the reason: one in each line of the file."""
    return set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()


def add_skipped(path: Path, names: Iterable[str]) -> list[str]:
    """Add to the file what it does not have yet, and return that."""
    names = {" ".join(name.split()) for name in names}  # a line each
    new = sorted(names - read_skipped(path)) if names else []
    if new:
        path.parent.mkdir(parents=True, exist_ok=True)  # another machine has its own
        with open(path, "a", encoding="utf-8") as file:
            file.write("".join(f"{name}\n" for name in new))
    return new


def in_words(entry: dict, left: float) -> str:
    """An entry as a line for people, with the seconds that are left."""
    parts = [f"step {entry['step']:,}", f"loss {entry['loss']:.4f}"]
    rate = entry["images_per_s"]
    parts.append(f"{rate:,.0f} images/s" if rate >= 10 else f"{rate:.2g} images/s")
    if entry["memory_gb"] is not None:
        parts.append(f"{entry['memory_gb']:.1f} GB")
    return " · ".join([*parts, f"{duration(left)} left"])


def duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
