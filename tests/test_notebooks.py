"""The shipped notebooks themselves: executed, in order, light, captioned, in step with their sources.

What the cells print is compared by nbval, which runs each notebook of notebooks/ and solutions/ in the same
`make test`. Here is what nbval does not see.
"""

import json
import re
from html import unescape
from pathlib import Path

import pytest

from course_utils.authoring import execute, measured, notebooks
from course_utils.authoring.course import find_chapters, notebooks_in
from course_utils.authoring.exercises import BEGIN, cut, generate
from course_utils.authoring.repository import bootstrap_source, repository
from course_utils.authoring.sync import sync

ROOT = Path(__file__).resolve().parents[1]
EXECUTED = notebooks_in(ROOT, "notebooks", "solutions")
EXERCISES = notebooks_in(ROOT, "exercises")
CHAPTERS = (
    "01_why_diffusion",
    "02_forward_noising",
    "03_posterior",
    "04_objective",
    "05_toy_diffusion",
    "06_unet",
    "07_training",
    "08_ddpm_sampler",
    "09_ddim_sampler",
    "10_capstone",
)
FOLDERS = ("notebooks", "solutions", "exercises")
MUST_EXIST = [f"{folder}/{chapter}.ipynb" for folder in FOLDERS for chapter in CHAPTERS]
MUST_EXIST.append("notebooks/00_start_here.ipynb")
WIDGETS = "application/vnd.jupyter.widget"
# A folder of the author's machine, as warnings and tracebacks name it.
OWN_PATH = re.compile(r"site-packages|(?<![\w.])/(?:home|root|Users|tmp)/\w|[A-Z]:\\+Users")

each = pytest.mark.parametrize("path", EXECUTED, ids=lambda path: f"{path.parent.name}/{path.stem}")
each_exercise = pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)


def code_cells(nb) -> list:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def outputs(nb) -> list:
    return [output for cell in code_cells(nb) for output in cell.outputs]


def test_the_notebooks_are_there():
    assert [name for name in MUST_EXIST if not (ROOT / name).is_file()] == []


@each
def test_executed_from_top_to_bottom_without_an_error(path):
    nb = notebooks.read(path)
    counts = [cell.execution_count for cell in code_cells(nb)]
    assert counts == list(range(1, len(counts) + 1))
    assert len(counts) > 0
    assert [output.ename for output in outputs(nb) if output.output_type == "error"] == []


@each
def test_nothing_in_it_belongs_to_one_kernel_or_one_machine(path):
    nb = notebooks.read(path)
    assert "widgets" not in nb.metadata
    assert WIDGETS not in path.read_text(encoding="utf-8")
    for index, cell in enumerate(nb.cells):
        found = OWN_PATH.search(
            json.dumps([cell.source, cell.get("outputs", [])], ensure_ascii=False)
        )
        assert not found, f"{notebooks.describe_cell(nb, index)}: {found[0]}"
    before = notebooks.dumps(nb)
    notebooks.normalise(nb)
    assert notebooks.dumps(nb) == before == path.read_text(encoding="utf-8"), (
        "write it with `run --record`"
    )


@each
def test_light_enough_to_load_and_cells_short_enough_to_read(path):
    assert path.stat().st_size < 2e6
    nb = notebooks.read(path)
    assert [
        notebooks.describe_cell(nb, i) for i, cell in enumerate(nb.cells) if _too_long(cell)
    ] == []


def _too_long(cell) -> bool:
    """Over 30 lines of code, or 45 where the cell shows functions of the library with their docstrings."""
    limit = 45 if cell.metadata.get("course", {}).get("source") else 30
    return cell.cell_type == "code" and len(cell.source.splitlines()) > limit


@pytest.mark.parametrize(
    "path", EXECUTED + EXERCISES, ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_opens_with_its_title_its_badges_and_the_bootstrap_cell(path):
    nb = notebooks.read(path)
    assert notebooks.role(nb.cells[0]) == "badge"
    assert nb.cells[0].source.startswith("# ")
    first = code_cells(nb)[0]
    assert notebooks.role(first) == "bootstrap"
    assert first.source == bootstrap_source(repository(ROOT))


@each
def test_every_picture_has_alt_text_and_its_description_under_it(path):
    nb = notebooks.read(path)
    for index, cell in enumerate(nb.cells):
        shown = cell.get("outputs", [])
        for place, output in enumerate(shown):
            if not any(mime.startswith("image/") for mime in output.get("data", {})):
                continue
            where = f"{notebooks.describe_cell(nb, index)}, output {place + 1}"
            assert output.metadata.get("image/png", {}).get("alt"), f"{where}: no alt text"
            caption = shown[place + 1].get("data", {}) if place + 1 < len(shown) else {}
            words = unescape(re.sub("<[^>]*>", "", caption.get("text/html", ""))).strip()
            assert len(words) >= 20, f"{where}: no description after it"


def test_some_picture_is_shown_in_each_chapter():
    for path in notebooks_in(ROOT, "notebooks"):
        nb = notebooks.read(path)
        assert any("image/png" in output.get("data", {}) for output in outputs(nb)), path.name


@each
def test_states_what_was_measured_and_stays_within_the_limits(path):
    nb = notebooks.read(path)
    (cell,) = notebooks.with_role(nb, "measured")
    taken = nb.metadata.course.measured
    assert cell.source == measured.line(taken)
    assert nb.cells.index(cell) <= 3, "it belongs at the top"
    assert 0 < taken["cpu"]["seconds"] < 90
    assert 0 < taken["cpu"]["peak_memory_mb"] < 3000
    assert taken["cpu"]["speed_score"] > 0


def test_cells_show_the_modules_code_and_links_name_the_repository():
    assert sync(ROOT, check=True) == []


def test_exercises_are_what_the_solutions_make():
    assert generate(ROOT, check=True) == []


@each_exercise
def test_an_exercise_gives_no_answer_away(path):
    exercise = path.read_text(encoding="utf-8")
    nb = notebooks.read(path)
    assert outputs(nb) == []
    assert "SOLUTION" not in exercise
    solution = notebooks.read(ROOT / "solutions" / path.name)
    removed = [
        line.strip() for cell in solution.cells for line in cut(cell.source, cell.cell_type)[1]
    ]
    assert len(removed) >= 3
    left = {line.strip() for cell in nb.cells for line in cell.source.splitlines()}
    assert [line for line in removed if len(line) >= 20 and line in left] == []


@each_exercise
def test_an_exercise_runs_unsolved_and_no_check_passes(path):
    nb = notebooks.read(path)
    run = execute.execute(nb, path, timeout=120)
    assert run.error is None, "unsolved exercises say so kindly; they do not stop the notebook"
    checked = [cell for cell in code_cells(nb) if re.search(r"^check\(", cell.source, re.MULTILINE)]
    assert 3 <= len(checked) <= 6
    for cell in checked:
        said = "".join(map(_text, cell.outputs))
        assert "not written yet" in said, f"{cell.source} says {said!r}"
        assert "✓" not in said, f"{cell.source} passes unsolved"


@pytest.mark.parametrize("path", notebooks_in(ROOT, "solutions"), ids=lambda path: path.stem)
def test_every_solution_passes_its_own_check(path):
    nb = notebooks.read(path)
    checked = [cell for cell in code_cells(nb) if re.search(r"^check\(", cell.source, re.MULTILINE)]
    assert 3 <= len(checked) <= 6
    for cell in checked:
        assert "✓" in "".join(map(_text, cell.outputs)), cell.source
    assert sum(cell.source.count(BEGIN) for cell in nb.cells) >= 3


def _text(output) -> str:
    return output.get("text", "") + "".join(
        output.get("data", {}).get(mime, "") for mime in ("text/plain", "text/html")
    )


def test_chapters_are_found_by_their_numbers():
    for path in notebooks_in(ROOT, "notebooks"):
        assert find_chapters([path.stem[:2]], ROOT) == [path]
