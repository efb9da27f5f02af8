"""Where the course lies on this machine, and which notebooks a command means."""

import tomllib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]  # course_utils/, wherever it is installed


class CourseError(ValueError):
    """Something the person at the keyboard can put right: the command line shows it without a traceback."""


def _is_course(folder: Path) -> bool:
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return project.get("project", {}).get("name") == "diffusion-course"


def find_course(start: Path | None = None) -> Path:
    """The course's folder: the nearest one at or above `start` (the working folder), else the installed one.

    Raises:
        CourseError: if neither is there, as on Colab, where only the package is installed.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents, PACKAGE.parent):
        if _is_course(folder):
            return folder
    raise CourseError(
        f"no course folder at or above {start}. Clone the course's repository and run this inside it."
    )


def notebooks_in(root: Path, *folders: str) -> list[Path]:
    """The notebooks of the named folders of the course, in reading order."""
    return [path for folder in folders for path in sorted((root / folder).glob("*.ipynb"))]


def find_chapters(names: list[str], root: Path, folder: str = "notebooks") -> list[Path]:
    """The notebooks that `names` mean: all of `folder` if there are none.

    Args:
        names: each the start of a file name in `folder` ("02", "02_forward_noising") or a path.

    Raises:
        CourseError: if a name means no notebook, or several.
    """
    shipped = notebooks_in(root, folder)
    if not names:
        if not shipped:
            raise CourseError(f"no notebooks in {root / folder}.")
        return shipped
    found = []
    for name in names:
        if name.endswith(".ipynb"):
            matches = [Path(name).resolve()] if Path(name).is_file() else []
            matches = matches or [path for path in shipped if path.name == name]
        else:
            matches = [path for path in shipped if path.stem == name]
            matches = matches or [path for path in shipped if path.stem.startswith(name)]
        if len(matches) != 1:
            what = "several notebooks" if matches else "no notebook"
            choices = ", ".join(path.stem for path in matches or shipped) or "none"
            raise CourseError(f"{name!r} means {what} in {folder}/. Choose among: {choices}.")
        found += matches
    return list(dict.fromkeys(found))
