"""The three things a learner types: check, hint and progress."""

import html
import textwrap
from typing import Any

from IPython.display import display

from course_utils.checks import store
from course_utils.checks.answers import kind_of
from course_utils.checks.exercise import Exercise
from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import WIDTH, Verdict, judge


def check(exercise: str | None = None, function: Any = None) -> Verdict | None:
    """Check your answer to an exercise, print what was found, and keep your progress.

    Args:
        exercise: its number, "02.1".
        function: your function itself, without parentheses after its name.

    Returns:
        The verdict, with `.passed` and `.text`; None if there is no such exercise.
    """
    found = _find(exercise, 'check("02.1", your_function)')
    if found is None:
        return None
    verdict = judge(found, function)
    print(verdict.text)
    if verdict.outcome != "not written":
        _say(store.update(found.id, done=verdict.passed, tries=1))
    return verdict


def hint(exercise: str | None = None) -> None:
    """Show the next hint for an exercise; once all have been shown, all of them again."""
    found = _find(exercise, 'hint("02.1")')
    if found is None:
        return
    records, _ = store.read()
    opened = records.get(found.id, store.Record()).hints
    total = len(found.hints)
    if opened < total:
        _print_hint(found, opened)
        _say(store.update(found.id, hints=1))
        return
    print(f"All {total} hints of {found.id} are used up; here they are again.")
    for number in range(total):
        _print_hint(found, number)
    print("The worked answer stands in the notebook of the same name in solutions/.")


def progress(chapter: str = "") -> None:
    """Show a table of all exercises, or of one chapter's: progress("02")."""
    shown = [exercise for exercise in EXERCISES.values() if exercise.id.startswith(f"{chapter}")]
    if not shown:
        chapters = sorted({exercise.id.split(".")[0] for exercise in EXERCISES.values()})
        print(
            f"There are no exercises for chapter {chapter!r}; there are for {', '.join(chapters)}."
        )
        return
    records, remark = store.read()
    display(_Table([(exercise, records.get(exercise.id, store.Record())) for exercise in shown]))
    _say(remark)


class _Table:
    """Progress as a table, in HTML for the notebook and in text for a terminal."""

    heads = ("Exercise", "Title", "Difficulty", "Minutes", "Done", "Tries", "Hints")

    def __init__(self, rows: list[tuple[Exercise, store.Record]]):
        self.cells = [
            (
                exercise.id,
                exercise.title,
                "★" * exercise.difficulty,
                str(exercise.minutes),
                "✓" if record.done else "",
                str(record.tries or ""),
                f"{min(record.hints, len(exercise.hints))} of {len(exercise.hints)}",
            )
            for exercise, record in rows
        ]
        done = sum(record.done for _, record in rows)
        self.summary = f"{done} of {len(rows)} exercises done"

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.heads, *self.cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (self.heads, *self.cells)
        ]
        return "\n".join([*lines, self.summary])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{name}</th>' for name in self.heads)
        rows = "".join(
            f'<tr><th scope="row">{row[0]}</th>'
            + "".join(f"<td>{html.escape(c)}</td>" for c in row[1:])
            + "</tr>"
            for row in self.cells
        )
        return (
            f"<table><caption>{self.summary}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _find(exercise: Any, usage: str) -> Exercise | None:
    if isinstance(exercise, str):
        if exercise in EXERCISES:
            return EXERCISES[exercise]
        problem = f"There is no exercise {exercise[:20]!r}."
    else:
        given = "" if exercise is None else f"; got {kind_of(exercise)}"
        problem = f"An exercise is named by its number in quotes, as in {usage}{given}."
    print(problem, "There are", ", ".join(f'"{known}"' for known in EXERCISES) + ".")
    return None


def _print_hint(exercise: Exercise, number: int) -> None:
    head, text = (
        f"Hint {number + 1} of {len(exercise.hints)} for {exercise.id}:",
        exercise.hints[number],
    )
    if "\n" in text:  # code, whose lines are its meaning
        print(head, textwrap.indent(text, "    "), sep="\n")
    else:
        print(textwrap.fill(f"{head} {text}", WIDTH, subsequent_indent="  "))


def _say(remark: str) -> None:
    if remark:
        print(remark)
