"""Cells that show a module's code are that code, letter for letter: `diffusion-course sync`.

A cell says in `metadata.course.source` where its code comes from, for instance
`["course_utils.diffusion.forward:q_sample"]`, and is rewritten from there. Nobody edits such a cell by hand.
"""

import ast
import difflib
from pathlib import Path

from course_utils.authoring import notebooks
from course_utils.authoring.course import CourseError, notebooks_in
from course_utils.authoring.repository import disagreements, publish, repository


def source_of(origin: str, root: Path) -> str:
    """The text of a function, class or constant of the course: decorators, docstring and comments included.

    Args:
        origin: "module:name", for instance "course_utils.diffusion.forward:q_sample".
        root: the course's folder.

    Raises:
        CourseError: if the module or the name is not there, or the module has a syntax error.
    """
    module, _, name = str(origin).partition(":")
    if not module or not name:
        raise CourseError(f'{origin!r} is not of the form "module:name".')
    stem = root.joinpath(*module.split("."))
    path = next((p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()), None)
    if path is None:
        raise CourseError(
            f"{origin}: there is no module {stem.relative_to(root).as_posix()}.py in the course."
        )
    text = path.read_text(encoding="utf-8")
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        raise CourseError(f"{origin}: line {error.lineno} of {path.name}: {error.msg}.") from error
    found = {defined: node for node in body for defined in _names(node)}
    if name not in found:
        raise CourseError(
            f"{origin}: {path.name} has no {name!r}. It has {', '.join(found) or 'nothing'}."
        )
    node = found[name]
    first = min(
        [node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))]
    )
    return "\n".join(text.split("\n")[first - 1 : node.end_lineno])


def _names(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def cell_source(origins: list[str], root: Path) -> str:
    """What a cell with these origins must hold: their sources, two blank lines between them."""
    if isinstance(origins, str) or not origins:
        raise CourseError(
            f'metadata.course.source must be a list such as ["module:name"]; got {origins!r}.'
        )
    return "\n\n\n".join(source_of(origin, root) for origin in origins)


def sync_notebook(path: Path, root: Path, *, check: bool = False) -> list[str]:
    """Rewrite the notebook's cells that show modules' code, or with `check` only look.

    Returns:
        One message for each cell that differed, with the differing lines.

    Raises:
        CourseError: naming notebook and cell, where a cell's origin cannot be read.
    """
    nb = notebooks.read(path)
    differences = []
    for index, cell in enumerate(nb.cells):
        origins = cell.metadata.get("course", {}).get("source")
        if origins is None:
            continue
        where = f"{path.relative_to(root).as_posix()}, {notebooks.describe_cell(nb, index)}"
        try:
            wanted = cell_source(origins, root)
        except CourseError as error:
            raise CourseError(f"{where}: {error}") from error
        if cell.source != wanted:
            lines = difflib.unified_diff(
                cell.source.splitlines(), wanted.splitlines(), lineterm="", n=0
            )
            changed = [f"    {line}" for line in lines if not line.startswith(("---", "+++", "@@"))]
            differences.append("\n".join([f"{where} differs from {', '.join(origins)}:", *changed]))
            cell.source = wanted
    if differences and not check:
        notebooks.write(nb, path)
    return differences


def sync(root: Path, *, check: bool = False) -> list[str]:
    """Sync the code of every chapter and solution, and the badges and bootstrap cells of every notebook.

    Exercises are generated from solutions, so their code is not looked at here.

    Returns:
        One message for each thing that was put right (with `check`: that would be).
    """
    messages = [
        message
        for path in notebooks_in(root, "notebooks", "solutions")
        for message in sync_notebook(path, root, check=check)
    ]
    if check:
        return messages + disagreements(root)
    return messages + [f"{path}: links renewed" for path in publish(repository(root), root)]
