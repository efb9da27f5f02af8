"""Where the course lives on GitHub: `diffusion-course publish --repo OWNER/NAME`.

`pyproject.toml` is the one place that says it. From there the address goes into the badges and the bootstrap cell
of every notebook and into the links of every Markdown file; a test finds any that disagrees.
"""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from course_utils.authoring import notebooks
from course_utils.authoring.course import CourseError, find_course, notebooks_in

PLACEHOLDER = "OWNER/NAME"  # what a course says that nobody has published yet
BRANCH = "main"
NOTEBOOK_FOLDERS = ("notebooks", "exercises", "solutions")

BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
BOOTSTRAP = """\
# Set-up: on Colab and Kaggle this fetches the course, and changes no package that is there.
import os
from importlib.util import find_spec

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # fast even while other programs run
if find_spec("course_utils") is None:
    if not os.environ.keys() & {"COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"}:
        raise ModuleNotFoundError("Not installed: run `make lab` in the course's folder.")
    %pip install -q --no-deps "diffusion-course @ git+https://github.com/OWNER/NAME"
"""

_ADDRESS = r"(?P<address>[A-Za-z0-9-]+/[A-Za-z0-9._-]+)"
# In these two places an address is the course's, whatever it says; in a link only if it is known to be an old one.
_SURELY_OURS = re.compile(
    r"(?:colab-badge\.svg\)\]\(https://colab\.research\.google\.com/github/"
    r"|diffusion-course @ git\+https://github\.com/)" + _ADDRESS
)
_LINK = re.compile(r"(?P<site>(?:github(?:usercontent)?\.com|/github|/gh)/)" + _ADDRESS)


def checked(owner_name: str) -> str:
    """The address as OWNER/NAME, also from a GitHub URL in any of git's forms.

    Raises:
        CourseError: if it is neither.
    """
    text = owner_name.strip()
    url = re.fullmatch(
        r"(?:[a-z+]+://(?:[^/@]+@)?|[^/@]+@)?(?:www\.)?github\.com[:/](.*?)(?:\.git)?/?", text
    )
    found = re.fullmatch(
        r"([A-Za-z0-9](?:-?[A-Za-z0-9]){0,38})/([A-Za-z0-9._-]{1,100})", url[1] if url else text
    )
    if found is None or found[2] in (".", "..") or found[2].endswith(".git"):
        raise CourseError(f"a repository on GitHub is needed, as OWNER/NAME; got {owner_name!r}.")
    return found[0]


def repository(root: Path | None = None) -> str:
    """The course's repository as OWNER/NAME, from pyproject.toml."""
    project = tomllib.loads(
        ((root or find_course()) / "pyproject.toml").read_text(encoding="utf-8")
    )
    return checked(project["project"]["urls"]["Repository"])


def origin(root: Path) -> str:
    """The repository that this clone came from, as git knows it.

    Raises:
        CourseError: if there is no git, no remote named origin, or it is not on GitHub.
    """
    try:
        command = ["git", "-C", str(root), "remote", "get-url", "origin"]
        address = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise CourseError(
            "git knows no remote named origin here: name the repository, OWNER/NAME."
        ) from None
    return checked(address)


def bootstrap_source(owner_name: str) -> str:
    """The code of every notebook's first code cell."""
    return BOOTSTRAP.replace(PLACEHOLDER, checked(owner_name)).rstrip("\n")


def badge_markdown(owner_name: str, path: str) -> str:
    """The line of links under a notebook's title: open it on Colab, on Kaggle, see it on GitHub.

    Args:
        path: the notebook, from the course's folder on: "notebooks/00_start_here.ipynb".
    """
    file = f"{checked(owner_name)}/blob/{BRANCH}/{path}"
    kaggle = f"https://kaggle.com/kernels/welcome?src=https://github.com/{file}"
    return (
        f"{BADGE}(https://colab.research.google.com/github/{file}) · "
        f"[open in Kaggle]({kaggle}) · [see on GitHub](https://github.com/{file})"
    )


def publish(owner_name: str | None = None, root: Path | None = None) -> list[str]:
    """Make badges, bootstrap cells and links say that the course lives at `owner_name`.

    Args:
        owner_name: OWNER/NAME or a GitHub URL; None for the clone's own origin.
        root: the course's folder; None for the one at or above the working folder.

    Returns:
        The paths of the files that changed.

    Raises:
        CourseError: if `owner_name` is no such address, or a notebook is unreadable. Nothing is written then.
    """
    root = root or find_course()
    changes = list(_changes(root, checked(owner_name) if owner_name else origin(root)))
    for path, content in changes:
        path.write_bytes(content.encode("utf-8"))
    return [path.relative_to(root).as_posix() for path, _ in changes]


def disagreements(root: Path) -> list[str]:
    """One line for each file that names another address than pyproject.toml, and each notebook that names none."""
    found = [
        f"{path.relative_to(root).as_posix()} needs `publish`"
        for path, _ in _changes(root, repository(root))
    ]
    for path in notebooks_in(root, *NOTEBOOK_FOLDERS):
        nb = notebooks.read(path)
        for role in ("badge", "bootstrap"):
            number = len(notebooks.with_role(nb, role))
            if number != 1:
                found.append(
                    f"{path.relative_to(root).as_posix()} has {number} cells of the role {role!r}, not one"
                )
    return found


def _changes(root: Path, owner_name: str) -> Iterator[tuple[Path, str]]:
    """The files that would change if the course lived at `owner_name`, with their new text; pyproject.toml last."""
    pages = [path for path in _pages(root) if path.is_file()]
    books = {path: notebooks.read(path) for path in notebooks_in(root, *NOTEBOOK_FOLDERS)}
    texts = [path.read_text(encoding="utf-8") for path in pages]
    sources = [cell.source for nb in books.values() for cell in nb.cells]
    old = {repository(root), PLACEHOLDER}
    old |= {
        _clean(match["address"])
        for text in texts + sources
        for match in _SURELY_OURS.finditer(text)
    }
    for path, nb in books.items():
        before = notebooks.dumps(nb)
        for cell in nb.cells:
            cell.source = _rewritten(cell, path.relative_to(root).as_posix(), old, owner_name)
        after = notebooks.dumps(nb)
        if after != before:
            yield path, after
    for path, text in zip(pages, texts, strict=True):
        if (new := _readdressed(text, old, owner_name)) != text:
            yield path, new


def _pages(root: Path) -> list[Path]:
    """The files other than notebooks that may name the address."""
    folders = ("docs", "course_utils", ".github")
    deep = [path for folder in folders for path in sorted((root / folder).rglob("*.md"))]
    return [*sorted(root.glob("*.md")), *deep, root / "pyproject.toml"]


def _rewritten(cell: NotebookNode, path: str, old: set[str], owner_name: str) -> str:
    """A cell's text for the new address. Of the title cell only the badge line is ours, the rest the author's."""
    role = notebooks.role(cell)
    if role == "bootstrap":
        return bootstrap_source(owner_name)
    lines = _readdressed(cell.source, old, owner_name).split("\n")
    if role == "badge":
        badge = badge_markdown(owner_name, path)
        at = next((i for i, line in enumerate(lines) if line.startswith(BADGE)), None)
        if at is None:  # a new notebook: the badges go under its title
            lines[1:1] = ["", badge]
        else:
            lines[at] = badge
    return "\n".join(lines)


def _readdressed(text: str, old: set[str], owner_name: str) -> str:
    """The text with every link to one of the old addresses pointing to the new one."""

    def new(match: re.Match) -> str:
        address = _clean(match["address"])
        return (
            match["site"] + owner_name + match["address"][len(address) :]
            if address in old
            else match[0]
        )

    return _LINK.sub(new, text)


def _clean(address: str) -> str:
    """An address as found in prose, without the full stop or the ".git" that follows it."""
    return address.rstrip(".").removesuffix(".git")
