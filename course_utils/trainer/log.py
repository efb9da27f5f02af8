"""The log of a run: one line of JSON for every look at it, which a notebook can plot while the run goes on."""

import json
from pathlib import Path


def read_log(path: str | Path) -> list[dict]:
    """The lines so far, oldest first; none if there is no such file. A last one that is not yet whole is left out."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    return [
        json.loads(line) for line in lines[:-1]
    ]  # after the last line break stands what is not whole


def write_line(path: Path, entry: dict) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def back_to(path: Path, step: int) -> float:
    """Take back the lines after a step, which a run that goes on from there will write anew.

    Returns:
        The seconds that the run had trained at the last line that stays; 0 if none does.
    """
    kept = [entry for entry in read_log(path) if entry["step"] <= step]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")
    return kept[-1]["seconds"] if kept else 0.0


def in_words(entry: dict, left: float | None) -> str:
    """An entry as a line for people, with the seconds that are left, if anybody knows."""
    parts = [f"step {entry['step']:,}", f"loss {entry['loss']:.4f}"]
    parts.append(f"{entry['images_per_s']:,.0f} images/s")
    if entry["memory_gb"] is not None:
        parts.append(f"{entry['memory_gb']:.1f} GB")
    if left is not None:
        parts.append(f"{duration(left)} left")
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
