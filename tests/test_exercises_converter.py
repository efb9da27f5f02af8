"""Exercises from solutions: what is cut, what stays, and every way an answer could leak."""

import ast
import re

import nbformat
import pytest
from nbformat import v4
from tiny_course import code, make_course, notebook, prose, save

from course_utils.authoring import notebooks
from course_utils.authoring.cli import main
from course_utils.authoring.course import CourseError
from course_utils.authoring.exercises import cut, exercise_from, generate
from course_utils.authoring.repository import badge_markdown

ANSWER = """def q_sample(schedule, x0, t, eps):
    \"\"\"Noise x0.\"\"\"
    signal = 1
    ### BEGIN SOLUTION
    noise = schedule.one_minus_alpha_bar[t].sqrt()
    return signal * x0 + noise * eps
    ### END SOLUTION


other = 2
### BEGIN SOLUTION
third = other + 1
### END SOLUTION"""

STUB = """def q_sample(schedule, x0, t, eps):
    \"\"\"Noise x0.\"\"\"
    signal = 1
    # YOUR CODE HERE
    ...


other = 2
# YOUR CODE HERE
..."""


@pytest.fixture
def root(tmp_path, monkeypatch):
    make_course(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nbgraders_clear_solutions(source: str) -> str:
    """What nbgrader's ClearSolutions keeps of a cell, by its documented rule: a marker is found anywhere
    in a line, the lines between two are dropped and the stub takes the first marker's indentation."""
    kept, inside = [], False
    for line in source.split("\n"):
        if "### BEGIN SOLUTION" in line:
            inside = True
            indent = re.match(r"\s*", line).group(0)
            kept += [indent + "# YOUR CODE HERE", indent + "..."]
        elif "### END SOLUTION" in line:
            inside = False
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def test_solutions_become_stubs_at_their_own_indentation():
    stub, removed = cut(ANSWER, "code")
    assert stub == STUB
    assert stub == nbgraders_clear_solutions(ANSWER)
    assert removed == [
        "    noise = schedule.one_minus_alpha_bar[t].sqrt()",
        "    return signal * x0 + noise * eps",
        "third = other + 1",
    ]
    ast.parse(stub)


def test_a_stub_runs_and_its_function_returns_none():
    names = {}
    exec(cut(ANSWER, "code")[0], names)
    assert names["q_sample"](None, 1, 2, 3) is None


@pytest.mark.parametrize("hidden", [False, True])
def test_prose_has_solutions_too(hidden):
    begin, end = "### BEGIN SOLUTION", "### END SOLUTION"
    if hidden:  # inside a comment nobody sees the markers in the solution notebook; nbgrader finds them all the same
        begin, end = f"<!-- {begin} -->", f"<!-- {end} -->"
    stub, removed = cut(f"Why?\n\n{begin}\nBecause variances add.\n{end}\n\nGo on.", "markdown")
    assert stub == "Why?\n\n*YOUR ANSWER HERE*\n\nGo on."
    assert removed == ["Because variances add."]


@pytest.mark.parametrize("cell_type", ["code", "markdown"])
@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("### BEGIN SOLUTION\nx = 1", "no '### END SOLUTION' after it"),
        ("x = 1\n### END SOLUTION", "no '### BEGIN SOLUTION' before it"),
        ("### BEGIN SOLUTION\na\n### END SOLUTION\nb\n### END SOLUTION", "line 5 with no"),
        (
            "### BEGIN SOLUTION\na\n### BEGIN SOLUTION\nb\n### END SOLUTION",
            "inside the solution that began in line 1",
        ),
        ("### BEGIN SOLUTION\n\n### END SOLUTION", "is empty"),
        *(
            (f"### BEGIN SOLUTION\nx = 1\n{end}\n### END SOLUTION", "looks like a marker")
            for end in (
                "###END SOLUTION",
                "### end solution",
                "### End Solution",
                "###  END  SOLUTION",
                "## END SOLUTION",
                "#### END SOLUTION",
                "# END SOLUTION",
                "### END SOLUTIONS",
                "### END_SOLUTION",
                "### END-SOLUTION",
                "### END: SOLUTION",
                "### END SOLUTION ###",
                "### END SOLUTON",
                "### EDN SOLUTION",
                "### BEGINN SOLUTION",
                "x = 2  ### END SOLUTION",
                "END SOLUTION",
                "<!-- ### END SOLUTON -->",
            )
        ),
    ],
)
def test_every_faulty_marker_is_an_error(source, complaint, cell_type):
    with pytest.raises(CourseError, match=re.escape(complaint)):
        cut(source, cell_type)


@pytest.mark.parametrize(
    "line",
    [
        "# the solution",
        "The end of the solution is near.",
        "# begin with the noise",
        "### Solution",
        "# End",
    ],
)
def test_ordinary_lines_are_no_markers(line):
    assert cut(line, "code") == (line, [])


def test_the_exercise_keeps_ids_and_order_and_drops_outputs_counts_and_clutter():
    badges = badge_markdown("me/mine", "solutions/02.ipynb")
    solution = notebook(
        prose(f"# Solutions 02\n\n{badges}\nSee ../solutions/02.", role="badge"),
        prose("These are the answers.", role="solutions-only"),
        code("import course_utils", role="bootstrap"),
        ANSWER,
        "print(q_sample)",
    )
    solution.metadata = {
        "widgets": {},
        "course": {"measured": {}},
        "language_info": {"version": "3.14"},
    }
    answer = solution.cells[3]
    answer.execution_count, answer.metadata["tags"] = 7, ["hide"]
    answer.outputs = [v4.new_output("stream", text="return signal * x0 + noise * eps")]

    exercise = exercise_from(solution)

    assert [cell.id for cell in exercise.cells] == [
        cell.id for cell in solution.cells if "answers" not in cell.source
    ]
    title, bootstrap, stub, use = exercise.cells
    badges = badge_markdown("me/mine", "exercises/02.ipynb")
    assert title.source == f"# Exercises 02\n\n{badges}\nSee ../solutions/02."
    assert bootstrap.metadata == {"course": {"role": "bootstrap"}}
    assert stub.source == STUB
    assert (stub.outputs, stub.execution_count, stub.metadata) == ([], None, {})
    assert use.source == "print(q_sample)"
    assert exercise.metadata == {
        "kernelspec": notebooks.KERNELSPEC,
        "language_info": {"name": "python"},
    }
    assert answer.outputs, "the solution itself must not change"
    nbformat.validate(exercise)
    assert "one_minus_alpha_bar" not in notebooks.dumps(exercise)


@pytest.mark.parametrize("elsewhere", ["code", "markdown"])
def test_a_solution_line_that_stands_elsewhere_too_is_an_error(elsewhere):
    copy = "Hint:\n\n        return signal * x0 + noise * eps"
    cells = [
        ANSWER,
        prose(copy) if elsewhere == "markdown" else code(copy.replace("Hint:", "if 1:")),
    ]
    with pytest.raises(
        CourseError, match=r"cell 1 .*'return signal \* x0 \+ noise \* eps' also stands.* in cell 2"
    ):
        exercise_from(notebook(*cells))


def test_raw_cells_are_refused():
    with pytest.raises(CourseError, match=r"cell 1 .*a raw cell"):
        exercise_from(v4.new_notebook(cells=[v4.new_raw_cell("### BEGIN SOLUTION")]))


def test_generate_is_deterministic_and_its_check_sees_every_difference(root, capsys):
    save(root / "solutions" / "02.ipynb", prose("Text"), ANSWER)
    assert main(["exercises", "--check"]) == 1
    assert "exercises/02.ipynb" in capsys.readouterr().out
    assert not (root / "exercises").exists(), "a check writes nothing"

    assert main(["exercises"]) == 0
    made = root / "exercises" / "02.ipynb"
    first = made.read_bytes()
    made.unlink()
    assert main(["exercises"]) == 0
    assert made.read_bytes() == first
    assert first.endswith(b"}\n")
    assert b"\r" not in first
    assert main(["exercises", "--check"]) == 0

    made.write_bytes(first.replace(b"Text", b"Edit"))
    assert main(["exercises", "--check"]) == 1
    assert main(["exercises"]) == 0
    orphan = save(root / "exercises" / "99.ipynb", "x")
    capsys.readouterr()
    assert main(["exercises", "--check"]) == 1
    assert "exercises/99.ipynb goes: there is no solutions/99.ipynb" in capsys.readouterr().out
    assert orphan.exists()
    assert main(["exercises"]) == 0
    assert not orphan.exists()
    assert made.read_bytes() == first


def test_a_fault_names_notebook_and_cell_and_leaves_all_files_alone(root, capsys):
    save(root / "solutions" / "01.ipynb", ANSWER)
    save(root / "solutions" / "02.ipynb", prose("Title"), "x = 1\n### END SOLUTION")
    assert main(["exercises"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "diffusion-course: solutions/02.ipynb, cell 2 (x = 1): '### END SOLUTION' in line 2"
    )
    assert not (root / "exercises").exists()
    with pytest.raises(CourseError):
        generate(root, check=True)
