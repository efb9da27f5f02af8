"""The one small file in which a learner's progress is kept.

It is `.course-progress.json` in the course's folder, or in the home folder where the course is installed as a
package or may not be written to; the environment variable COURSE_PROGRESS_FILE names another place.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import course_utils

NAME = ".course-progress.json"
PATIENCE = 5.0  # seconds; an update takes milliseconds, so an older lock was left by a kernel that was killed


@dataclass(frozen=True)
class Record:
    """One exercise's progress: solved or not, serious tries until solved, hints opened."""

    done: bool = False
    tries: int = 0
    hints: int = 0


# What could not be written, so that hints still move on within one session.
_unsaved: dict[str, dict[str, Record]] = {}


def location() -> Path:
    """Where progress is kept."""
    if chosen := os.environ.get("COURSE_PROGRESS_FILE"):
        return Path(os.path.expanduser(chosen))
    folder = Path(course_utils.__file__).resolve().parents[1]
    in_course = (folder / "pyproject.toml").is_file() and os.access(folder, os.W_OK)
    return (folder if in_course else Path(os.path.expanduser("~"))) / NAME


def read() -> tuple[dict[str, Record], str]:
    """All records, and a remark for the learner where something was wrong with the file.

    A file that holds anything else than records is moved aside, not deleted.
    """
    path = location()
    remark = ""
    records: dict[str, Record] = {}
    try:
        records = _parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    except OSError as error:
        remark = f"(Progress could not be read from {path.name}: {_reason(error)}.)"
    except (ValueError, RecursionError):  # no JSON, not ours, or nested without end
        remark = f"(The progress file was damaged. {_set_aside(path)})"
    return records | _unsaved.get(str(path), {}), remark


def update(exercise: str, *, done: bool = False, tries: int = 0, hints: int = 0) -> str:
    """Add to one exercise's record: solved if `done`, and that many tries and hints more.

    Once an exercise is solved its tries stay as they are: they say how many it took.

    Returns:
        A remark for the learner where the file could not be kept, else "".
    """
    path = location()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            records, remark = _add(exercise, done, tries, hints)
            _write(path, records)
            _unsaved.pop(str(path), None)
    except OSError as error:
        records, _ = _add(exercise, done, tries, hints)
        _unsaved.setdefault(str(path), {})[exercise] = records[exercise]
        remark = f"(Progress could not be saved in {path.name}: {_reason(error)}. It is kept for this session.)"
    return remark


def _add(exercise: str, done: bool, tries: int, hints: int) -> tuple[dict[str, Record], str]:
    records, remark = read()
    old = records.get(exercise, Record())
    new = Record(old.done or done, old.tries + (0 if old.done else tries), old.hints + hints)
    return records | {exercise: new}, remark


def _parse(text: str) -> dict[str, Record]:
    """Raises ValueError for anything but what `_write` writes."""
    content = json.loads(text)
    if not isinstance(content, dict) or not all(
        isinstance(fields, dict) for fields in content.values()
    ):
        raise ValueError("not a table of records")
    records = {}
    for exercise, fields in content.items():
        done, tries, hints = (fields.get(name, 0) for name in ("done", "tries", "hints"))
        if not all(isinstance(value, int) and value >= 0 for value in (done, tries, hints)):
            raise ValueError(f"not a record: {fields}")
        records[exercise] = Record(bool(done), tries, hints)
    return records


def _write(path: Path, records: dict[str, Record]) -> None:
    """A reader sees the old file or the new one, never a half."""
    text = json.dumps(
        {exercise: asdict(record) for exercise, record in sorted(records.items())}, indent=1
    )
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text + "\n", encoding="utf-8")
        fresh.replace(path)
    finally:
        with contextlib.suppress(OSError):  # gone already, after a replace
            fresh.unlink()


def _set_aside(path: Path) -> str:
    aside = path.with_name(path.name + ".damaged")
    try:
        path.replace(aside)
    except OSError:
        return "It is ignored."
    return f"It now lies beside it as {aside.name}, and a new one begins."


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps two notebooks from updating at once. Raises OSError where no file can be made."""
    lock = path.with_name(path.name + ".lock")
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):  # given back in this moment
                if abs(time.time() - lock.stat().st_mtime) > PATIENCE:
                    break
            time.sleep(0.005)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
