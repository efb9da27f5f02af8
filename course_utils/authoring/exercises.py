"""Exercises are generated from solutions: `diffusion-course exercises`.

`solutions/*.ipynb` is the only edited source. What stands between nbgrader's delimiters is cut out of code
and of prose, and a stub that fails kindly takes its place. Any way an answer could slip through is an error.
"""

import copy
import difflib
import re
from pathlib import Path

from nbformat import NotebookNode

from course_utils.authoring import notebooks
from course_utils.authoring.course import CourseError, notebooks_in
from course_utils.authoring.repository import BADGE

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
# A function whose whole body is the stub returns None, which its check recognises as "not written yet".
STUB = {"code": ("# YOUR CODE HERE", "..."), "markdown": ("*YOUR ANSWER HERE*",)}
LEAK_LENGTH = 20  # a shorter line, such as "return x_t", may stand elsewhere by chance


def _marker(line: str, cell_type: str) -> str | None:
    """BEGIN, END, or None for any other line; a line that is nearly a marker is an error."""
    text = line.strip()
    if cell_type == "markdown":  # there a comment may hide the marker from the reader
        text = re.sub(r"^<!-- (.*) -->$", r"\1", text)
    if text in (BEGIN, END):
        return text
    letters = re.sub("[^a-z]", "", text.lower())
    if re.search(r"\b(begin|end)[\s_:-]*solution", text.lower()) or (
        text.lstrip("<!- ").startswith("#")
        and difflib.get_close_matches(letters, ["beginsolution", "endsolution"], cutoff=0.85)
    ):
        raise CourseError(
            f"{text!r} looks like a marker, but the markers are {BEGIN!r} and {END!r} on lines of their own."
        )
    return None


def cut(source: str, cell_type: str) -> tuple[str, list[str]]:
    """A cell's text with each solution replaced by a stub at the solution's indentation.

    Args:
        cell_type: "code" or "markdown".

    Returns:
        The new text, and the lines that were cut out.

    Raises:
        CourseError: at an unmatched, nested, misspelt or empty pair of markers.
    """
    kept, removed, open_at = [], [], None
    for number, line in enumerate(source.split("\n"), start=1):
        marker = _marker(line, cell_type)
        if marker == BEGIN:
            if open_at is not None:
                raise CourseError(
                    f"{BEGIN!r} in line {number}, inside the solution that began in line {open_at}."
                )
            open_at, before = number, len(removed)
            indent = line[: len(line) - len(line.lstrip())]
            kept += [indent + stub for stub in STUB[cell_type]]
        elif marker == END:
            if open_at is None:
                raise CourseError(f"{END!r} in line {number} with no {BEGIN!r} before it.")
            if not any(text.strip() for text in removed[before:]):
                raise CourseError(f"the solution that began in line {open_at} is empty.")
            open_at = None
        else:
            (kept if open_at is None else removed).append(line)
    if open_at is not None:
        raise CourseError(f"{BEGIN!r} in line {open_at} has no {END!r} after it.")
    return "\n".join(kept), removed


def exercise_from(solution: NotebookNode) -> NotebookNode:
    """The exercise notebook of a solution notebook: stubs for solutions, no outputs, the same cell ids.

    A cell whose role is "solutions-only" is left out; the title's "Solutions" becomes "Exercises".

    Raises:
        CourseError: naming the cell, where a marker is wrong or a line of a solution would be left in.
    """
    exercise, removed = copy.deepcopy(solution), []
    exercise.metadata = NotebookNode(
        kernelspec=notebooks.KERNELSPEC, language_info=notebooks.LANGUAGE_INFO
    )
    exercise.cells = []
    for index, original in enumerate(solution.cells):
        if notebooks.role(original) == "solutions-only":
            continue
        cell = copy.deepcopy(original)
        where = notebooks.describe_cell(solution, index)
        try:
            if cell.cell_type not in STUB:
                raise CourseError(
                    f"a {cell.cell_type} cell: exercises are made of code and markdown."
                )
            cell.source, lines = cut(cell.source, cell.cell_type)
        except CourseError as error:
            raise CourseError(f"{where}: {error}") from error
        removed += [(where, line.strip()) for line in lines]
        course = cell.metadata.get("course")
        cell.metadata = NotebookNode(course=course) if course else NotebookNode()
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if notebooks.role(cell) == "badge":
            cell.source = _retitle(cell.source)
        exercise.cells.append(cell)
    _refuse_leaks(exercise, removed)
    return exercise


def _retitle(source: str) -> str:
    """The title cell, with "Exercises" in its heading, and its badges pointing to the exercise."""
    heading, *lines = source.split("\n")
    lines = [
        line.replace("/solutions/", "/exercises/") if line.startswith(BADGE) else line
        for line in lines
    ]
    return "\n".join([re.sub(r"\bSolutions?\b", "Exercises", heading), *lines])


def _refuse_leaks(exercise: NotebookNode, removed: list[tuple[str, str]]) -> None:
    """Raise where a line that was cut out of one cell still stands in some cell."""
    left = {
        line.strip(): notebooks.describe_cell(exercise, index)
        for index, cell in enumerate(exercise.cells)
        for line in cell.source.split("\n")
    }
    for where, line in removed:
        if len(line) >= LEAK_LENGTH and line in left:
            raise CourseError(
                f"{where}: its solution's line {line!r} also stands, outside any solution, in {left[line]}."
            )


def generate(root: Path, *, check: bool = False) -> list[str]:
    """Write exercises/ from solutions/, or with `check` only look for differences.

    Returns:
        One message for each file that was written or removed (with `check`: that would be).

    Raises:
        CourseError: naming notebook and cell, where a solution notebook is faulty. Nothing is written then.
    """
    wanted = {}
    for path in notebooks_in(root, "solutions"):
        solution = notebooks.read(path)
        try:
            text = notebooks.dumps(exercise_from(solution))
        except CourseError as error:
            raise CourseError(f"solutions/{path.name}, {error}") from error
        wanted[root / "exercises" / path.name] = text.encode("utf-8")
    messages = []
    for path, content in wanted.items():
        if not path.is_file() or path.read_bytes() != content:
            messages.append(f"exercises/{path.name} is generated anew from solutions/{path.name}")
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
    for path in notebooks_in(root, "exercises"):
        if path not in wanted:
            messages.append(f"exercises/{path.name} goes: there is no solutions/{path.name}")
            if not check:
                path.unlink()
    return messages
