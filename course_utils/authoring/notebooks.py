"""Notebooks as files: read strictly, cleaned of what differs from run to run, written with stable bytes."""

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_utils.authoring.course import CourseError

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"name": "python"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# `mystnb` is where the site looks for a figure's description.
KEPT_CELL_METADATA = (
    "course",
    "mystnb",
    "tags",
)
PROGRESS_BAR = re.compile(r"\d+%\|.*\[\d+:\d+")  # "  0%|          | 0/1000 [00:00<?, ?it/s]"


def read(path: Path) -> NotebookNode:
    """The notebook in the file.

    Raises:
        CourseError: if it is no notebook, or of a format without cell ids (below 4.5).
    """
    try:
        nb = nbformat.reads(path.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)
        nbformat.validate(nb)
    except FileNotFoundError:
        raise CourseError(f"{path}: there is no such notebook.") from None
    except Exception as error:  # nbformat raises a different one for each way of being broken
        raise CourseError(
            f"{path}: not a readable notebook ({_first_line(str(error))})."
        ) from error
    if (nb.nbformat, nb.nbformat_minor) < (4, 5):
        raise CourseError(
            f"{path}: notebook format {nb.nbformat}.{nb.nbformat_minor} has no cell ids; "
            "4.5 is needed. Open it in JupyterLab 4 and save it."
        )
    return nb


def dumps(nb: NotebookNode) -> str:
    """The notebook's text: always the same for the same content (keys sorted, one space of indent)."""
    return nbformat.writes(nb) + "\n"


def write(nb: NotebookNode, path: Path) -> None:
    """Write the notebook to the file, byte for byte alike on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dumps(nb).encode("utf-8"))


def role(cell: NotebookNode) -> str | None:
    """The cell's role in the course: "bootstrap", "badge", "measured", "solutions-only" or None."""
    return cell.metadata.get("course", {}).get("role")


def with_role(nb: NotebookNode, wanted: str) -> list[NotebookNode]:
    """The cells that have the given role."""
    return [cell for cell in nb.cells if role(cell) == wanted]


def describe_cell(nb: NotebookNode, index: int) -> str:
    """How a message names a cell: its place, counted from one over all cells, and its first line."""
    return f"cell {index + 1} ({_first_line(nb.cells[index].source) or 'empty'})"


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "" if not lines else lines[0] if len(lines[0]) <= 60 else lines[0][:59] + "…"


def normalise(nb: NotebookNode) -> None:
    """Drop, in place, what an execution leaves behind that no reader can use.

    Live widgets do not survive the kernel that made them, and on GitHub they make the whole notebook invalid:
    their plain-text fallback stays. A progress bar's fallback is the bar at 0 %, which would mislead, so that
    goes altogether, and its cell is tagged for nbval, which would miss it.
    """
    nb.metadata = NotebookNode(
        kernelspec=KERNELSPEC,
        language_info=LANGUAGE_INFO,
        **({"course": nb.metadata.course} if "course" in nb.metadata else {}),
    )
    for cell in nb.cells:
        cell.metadata = NotebookNode(
            {key: value for key, value in cell.metadata.items() if key in KEPT_CELL_METADATA}
        )
        if cell.cell_type != "code":
            continue
        kept = [output for output in cell.outputs if not _is_progress_bar(output)]
        if len(kept) < len(cell.outputs):
            cell.metadata["tags"] = sorted({*cell.metadata.get("tags", []), "nbval-ignore-output"})
        cell.outputs = kept
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET_VIEW, None)
        cell.outputs = _joined([output for output in cell.outputs if output.get("data", True)])


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Printed lines that arrived one after the other as one output: how they were cut is chance."""
    joined = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def _is_progress_bar(output: NotebookNode) -> bool:
    data = output.get("data", {})
    return WIDGET_VIEW in data and bool(PROGRESS_BAR.search(data.get("text/plain", "")))
