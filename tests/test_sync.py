"""Cells that show modules' code are that code: sync, its check, and the command line's answers."""

import importlib
import inspect

import pytest
from tiny_course import code, make_course, notebook, prose, save

from course_utils.authoring import notebooks
from course_utils.authoring.cli import main
from course_utils.authoring.course import PACKAGE, CourseError, find_chapters, find_course
from course_utils.authoring.repository import badge_markdown, bootstrap_source
from course_utils.authoring.sync import cell_source, source_of, sync

MODULE = '''"""A module."""

import functools

LIMIT = 3  # the most


# A comment above belongs to the module, not to the function.
@functools.cache
@staticmethod
def first(x):
    """Docstring.

    With β.
    """
    return x  # the end


class Second:
    value: int = 1

    def method(self):
        return self.value
'''
FIRST = MODULE[MODULE.index("@functools") : MODULE.index("\n\n\nclass")]
SECOND = MODULE[MODULE.index("class") :].rstrip("\n")


def opening():
    """The two cells that every notebook begins with, not yet filled in."""
    return prose("# Title", role="badge"), code("", role="bootstrap")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A course with one module, in which the command line is run."""
    make_course(tmp_path)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("start = 1\n", encoding="utf-8")
    (tmp_path / "pack" / "module.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_source_is_cut_out_letter_for_letter(root):
    assert source_of("pack.module:first", root) == FIRST
    assert source_of("pack.module:Second", root) == SECOND
    assert source_of("pack.module:LIMIT", root) == "LIMIT = 3  # the most"
    assert source_of("pack:start", root) == "start = 1"
    assert (
        cell_source(["pack.module:Second", "pack.module:first"], root) == SECOND + "\n\n\n" + FIRST
    )


@pytest.mark.parametrize(
    "name", ["forward:q_sample", "forward:snr", "schedule:Schedule", "schedule:cosine"]
)
def test_source_is_what_python_itself_reports(name):
    module, _, function = name.partition(":")
    live = getattr(importlib.import_module(f"course_utils.diffusion.{module}"), function)
    assert source_of(f"course_utils.diffusion.{name}", PACKAGE.parent) == inspect.getsource(
        live
    ).rstrip("\n")


@pytest.mark.parametrize(
    ("origin", "complaint"),
    [
        ("pack.module:third", "has no 'third'. It has LIMIT, first, Second"),
        ("pack.module:method", "has no 'method'"),
        ("pack.other:first", "no module pack/other.py"),
        ("pack.module", 'not of the form "module:name"'),
        ("pack.broken:x", "line 2 of broken.py"),
    ],
)
def test_what_cannot_be_found_is_said_with_notebook_and_cell(root, origin, complaint):
    (root / "pack" / "broken.py").write_text("x = 1\ndef f(:\n", encoding="utf-8")
    save(root / "notebooks" / "01.ipynb", prose("Title"), code("old", source=[origin]))
    with pytest.raises(CourseError) as error:
        sync(root)
    assert complaint in str(error.value)
    assert "notebooks/01.ipynb, cell 2 (old)" in str(error.value)


def test_an_origin_that_is_no_list_is_refused(root):
    with pytest.raises(CourseError, match="must be a list"):
        cell_source("pack.module:first", root)


def test_check_reports_and_changes_nothing_then_sync_repairs(root, capsys):
    path = save(
        root / "notebooks" / "01.ipynb",
        *opening(),
        code("first = 1", source=["pack.module:first"]),
        "first = 1",  # no origin: the author's own
        code(SECOND, source=["pack.module:Second"]),
    )
    solution = save(
        root / "solutions" / "01.ipynb", *opening(), code("", source=["pack.module:LIMIT"])
    )
    before, ids = path.read_bytes(), [cell.id for cell in notebooks.read(path).cells]

    assert main(["sync", "--check"]) == 1
    said = capsys.readouterr().out
    assert "notebooks/01.ipynb, cell 3 (first = 1) differs from pack.module:first" in said
    assert "    -first = 1\n" in said
    assert "    +    return x  # the end" in said
    assert "cell 4" not in said
    assert "cell 5" not in said
    assert "solutions/01.ipynb needs `publish`" in said
    assert path.read_bytes() == before

    assert main(["sync"]) == 0
    cells = notebooks.read(path).cells
    assert cells[0].source == "# Title\n\n" + badge_markdown("me/mine", "notebooks/01.ipynb")
    assert cells[1].source == bootstrap_source("me/mine")
    assert [cell.source for cell in cells[2:]] == [FIRST, "first = 1", SECOND]
    assert [cell.id for cell in cells] == ids
    assert notebooks.read(solution).cells[2].source == "LIMIT = 3  # the most"
    assert main(["sync", "--check"]) == 0


def test_one_changed_letter_in_the_module_is_a_difference(root):
    save(root / "notebooks" / "01.ipynb", *opening(), code(FIRST, source=["pack.module:first"]))
    sync(root)
    assert sync(root, check=True) == []
    module = root / "pack" / "module.py"
    module.write_text(MODULE.replace("With β.", "With b."), encoding="utf-8")
    (difference,) = sync(root, check=True)
    assert "+    With b." in difference


def test_errors_of_the_person_at_the_keyboard_come_without_a_traceback(root, capsys):
    save(root / "notebooks" / "01.ipynb", code("", source=["pack.module:nothing"]))
    assert main(["sync", "--check"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("diffusion-course: notebooks/01.ipynb, cell 1")
    assert "Traceback" not in said


def test_an_unknown_option_is_refused_by_every_command_that_has_no_use_for_it(root, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["sync", "--chek"])
    assert stop.value.code == 2
    assert "no such option: --chek" in capsys.readouterr().err


def test_unreadable_notebooks_are_named(root):
    path = root / "notebooks" / "01.ipynb"
    path.parent.mkdir()
    path.write_text("{not json", encoding="utf-8")
    with pytest.raises(CourseError, match=r"01\.ipynb: not a readable notebook"):
        sync(root)
    old = notebook("x = 1")
    old.nbformat_minor = 4
    del old.cells[0]["id"]
    notebooks.write(old, path)
    with pytest.raises(CourseError, match=r"4\.4 has no cell ids"):
        sync(root)


def test_the_course_is_found_from_below_and_from_elsewhere(root, tmp_path_factory, monkeypatch):
    below = root / "notebooks" / "deep"
    below.mkdir(parents=True)
    assert find_course(below) == root
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert find_course(elsewhere) == PACKAGE.parent  # the installed one
    monkeypatch.setattr("course_utils.authoring.course.PACKAGE", elsewhere / "course_utils")
    with pytest.raises(CourseError, match="no course folder at or above"):
        find_course(elsewhere)


def test_chapters_are_named_by_number_name_or_path(root):
    first = save(root / "notebooks" / "00_start.ipynb", "1")
    second = save(root / "notebooks" / "02_forward.ipynb", "2")
    tenth = save(root / "notebooks" / "02b_more.ipynb", "3")
    assert find_chapters([], root) == [first, second, tenth]
    assert find_chapters(["02_", "00", "02_forward"], root) == [second, first]
    assert find_chapters(["notebooks/02b_more.ipynb"], root) == [tenth]
    with pytest.raises(CourseError, match=r"'02' means several notebooks.*02_forward, 02b_more"):
        find_chapters(["02"], root)
    with pytest.raises(CourseError, match=r"'07' means no notebook.*00_start"):
        find_chapters(["07"], root)
    with pytest.raises(CourseError, match="no notebooks in"):
        find_chapters([], root, "solutions")
