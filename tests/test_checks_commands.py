"""What a learner sees of check, hint and progress, in a terminal and in a notebook."""

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from course_utils import checks
from course_utils.checks import commands, store
from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import WIDTH


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS_FILE", str(path))
    return path


def alpha_bar(beta):
    return torch.cumprod(1 - beta, 0)


def test_check_prints_its_verdict_and_counts_serious_tries(capsys):
    assert checks.check("02.2", lambda beta: ...).outcome == "not written"
    assert store.read()[0] == {}
    assert not checks.check("02.2", lambda beta: 1 - beta).passed
    verdict = checks.check("02.2", alpha_bar)
    assert verdict.passed
    assert store.read()[0] == {"02.2": store.Record(done=True, tries=2)}
    printed = capsys.readouterr().out
    assert "○ 02.2 What is left of the image: not written yet." in printed
    assert "This is what happens when α stands where ᾱ belongs." in printed
    assert printed.endswith(verdict.text + "\n")
    assert repr(verdict) == "<02.2: passed>"


def test_check_says_when_progress_cannot_be_kept(path, capsys):
    path.mkdir()
    assert checks.check("02.2", alpha_bar).passed
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .startswith("(Progress could not be saved in progress.json")
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("2.1", "There is no exercise '2.1'. "),
        ("02.7", "There is no exercise '02.7'. "),
        ("", "There is no exercise ''. "),
        (2.1, "; got one number. "),
        (alpha_bar, "; got a function "),
        (["02.1"], "; got a list of 1. "),
    ],
)
def test_an_unknown_exercise_lists_the_known_ones(capsys, given, said):
    for call in (lambda: checks.check(given, alpha_bar), lambda: checks.hint(given)):
        assert call() is None
        printed = capsys.readouterr().out
        assert said in printed
        assert all(f'"{known}"' in printed for known in EXERCISES)
        assert len(printed.splitlines()) == 1


def test_a_bare_call_shows_how_to_call(capsys):
    for call, usage in (
        (checks.check, 'check("02.1", your_function)'),
        (checks.hint, 'hint("02.1")'),
    ):
        assert call() is None
        assert capsys.readouterr().out.startswith(
            f"An exercise is named by its number in quotes, as in {usage}. There are "
        )
    checks.check("02.1")
    assert 'check("02.1", your_function) needs the function itself' in capsys.readouterr().out


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES.keys())
def test_hints_come_one_at_a_time_and_then_all_again(capsys, exercise):
    shown = []
    for number, hint in enumerate(exercise.hints, start=1):
        checks.hint(exercise.id)
        shown.append(capsys.readouterr().out)
        assert shown[-1].startswith(f"Hint {number} of 3 for {exercise.id}:")
        assert " ".join(hint.split()) in " ".join(shown[-1].split())
        for line in hint.splitlines() if "\n" in hint else []:
            assert f"\n    {line}\n" in shown[-1]
        assert all(len(line) <= WIDTH for line in shown[-1].splitlines())
        assert store.read()[0][exercise.id].hints == number
    for _ in range(2):
        checks.hint(exercise.id)
        printed = capsys.readouterr().out
        assert printed.startswith(
            f"All 3 hints of {exercise.id} are used up; here they are again.\n"
        )
        assert "".join(shown) in printed
        assert "solutions/" in printed
    assert store.read()[0][exercise.id].hints == 3


def test_hints_go_on_where_nothing_can_be_saved(path, capsys):
    path.mkdir()
    checks.hint("02.1")
    checks.hint("02.1")
    assert "Hint 2 of 3" in capsys.readouterr().out


def test_progress_shows_every_exercise(monkeypatch):
    shown = []
    monkeypatch.setattr(commands, "display", shown.append)
    checks.check("02.2", alpha_bar)
    checks.hint("02.3")
    checks.progress()
    text, html = repr(shown[0]), shown[0]._repr_html_()
    rows = {line.split()[0]: line for line in text.splitlines()[1:-1]}
    assert list(rows) == list(EXERCISES)
    assert " ".join(rows["02.2"].split()) == "02.2 What is left of the image ★ 5 ✓ 1 0 of 3"
    assert " ".join(rows["02.3"].split()) == "02.3 The closed form, for a batch ★★ 10 1 of 3"
    assert text.splitlines()[-1] == f"1 of {len(EXERCISES)} exercises done"
    assert html.count("<tr>") == len(EXERCISES) + 1
    assert html.count('scope="col"') == 7
    assert f"<caption>1 of {len(EXERCISES)} exercises done</caption>" in html


def test_progress_of_one_chapter(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(commands, "display", shown.append)
    checks.progress("02")
    assert [row[0] for row in shown[0].cells] == [
        known for known in EXERCISES if known.startswith("02.")
    ]
    checks.progress("77")
    assert len(shown) == 1
    chapters = ", ".join(sorted({known[:2] for known in EXERCISES}))
    assert f"no exercises for chapter '77'; there are for {chapters}." in capsys.readouterr().out


def test_progress_mentions_a_damaged_file(path, capsys):
    path.write_text("{")
    checks.progress()
    assert "The progress file was damaged." in capsys.readouterr().out


CELLS = (
    "from course_utils.checks import check, hint, progress\nimport torch",
    "def alpha_bar(beta):\n    kept = 1 - beta\n    return kept.cumulate(0)\n\ncheck('02.2', alpha_bar)",
    "check('02.2', lambda beta: torch.cumprod(1 - beta, 0))",
    "hint('02.1')",
    "progress()",
    "check('02.1', lambda *a: ...)\n'the cell goes on'",
)


def test_a_notebook_shows_one_clean_output_a_cell_and_the_same_each_time(path):
    forget = f"from pathlib import Path\nPath({str(path)!r}).unlink()"
    cells = [nbformat.v4.new_code_cell(source) for source in (*CELLS, forget, *CELLS)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120).execute()
    shown = [
        [{k: v for k, v in o.items() if k != "execution_count"} for o in c.outputs] for c in cells
    ]
    first, again = shown[: len(CELLS)], shown[len(CELLS) + 1 :]
    assert [[output["output_type"] for output in outputs] for outputs in first] == [
        [],
        ["stream"],
        ["stream"],
        ["stream"],
        ["display_data"],
        ["stream", "execute_result"],
    ]
    assert "It happened in line 3 of your code: return kept.cumulate(0)" in first[1][0]["text"]
    assert set(first[4][0]["data"]) == {"text/plain", "text/html"}
    assert again == first
