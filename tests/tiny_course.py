"""Tiny notebooks and course folders, for the tests of the tools that work on them."""

from pathlib import Path

import nbformat.v4 as v4
from nbformat import NotebookNode

from course_utils.authoring import notebooks


def code(text: str, /, **course) -> NotebookNode:
    """A code cell, with metadata.course if anything is given for it."""
    return _with_course(v4.new_code_cell(text), course)


def prose(text: str, /, **course) -> NotebookNode:
    """A Markdown cell, likewise."""
    return _with_course(v4.new_markdown_cell(text), course)


def _with_course(cell: NotebookNode, course: dict) -> NotebookNode:
    if course:
        cell.metadata["course"] = NotebookNode(course)
    return cell


def notebook(*cells: NotebookNode | str) -> NotebookNode:
    """A notebook of the given cells; a plain string is a code cell."""
    return v4.new_notebook(cells=[code(cell) if isinstance(cell, str) else cell for cell in cells])


def save(path: Path, *cells: NotebookNode | str) -> Path:
    """Write a notebook of these cells; its path."""
    notebooks.write(notebook(*cells), path)
    return path


def make_course(root: Path) -> Path:
    """An empty folder that the command line takes for a course."""
    (root / "pyproject.toml").write_text(
        '[project]\nname = "diffusion-course"\n[project.urls]\nRepository = "https://github.com/me/mine"\n',
        encoding="utf-8",
    )
    return root
