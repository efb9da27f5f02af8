"""Every exercise of every chapter: planted mistakes are named, and broken answers get a short, kind reply."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from broken_answers import BROKEN, spoilt_inputs

from course_utils.checks.registry import CHAPTERS, EXERCISES
from course_utils.checks.verdict import WIDTH, judge, matcher, outcomes_of

PLANTED = [
    pytest.param(exercise, misconception, id=f"{exercise.id} {misconception.name}")
    for exercise in EXERCISES.values()
    for misconception in exercise.misconceptions
]
ALL = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES.keys())


@pytest.mark.parametrize(("exercise", "misconception"), PLANTED)
def test_a_planted_mistake_is_rejected_and_named(exercise, misconception):
    verdict = judge(exercise, misconception.wrong)
    assert verdict.outcome == "failed"
    assert verdict.misconception == misconception.name
    said = " ".join(verdict.text.split())
    assert misconception.name in said
    assert misconception.explanation in said
    assert "Seen:" in said


@ALL
def test_mistakes_differ_from_the_answer_and_from_each_other(exercise):
    """With a margin: ten times the tolerance would still tell them apart."""
    strict = replace(exercise, rtol=10 * exercise.rtol, atol=10 * exercise.atol)
    functions = {m.name: m.wrong for m in exercise.misconceptions}
    functions["the reference"] = exercise.reference
    assert len(functions) == len(exercise.misconceptions) + 1, "two misconceptions share a name"
    matches = {name: matcher(strict, outcomes_of(strict, f)) for name, f in functions.items()}
    for a, b in itertools.combinations(functions, 2):
        assert not matches[a](functions[b]), f"{a} / {b}"


@ALL
def test_each_mistake_gives_an_answer_at_least_once(exercise):
    for misconception in exercise.misconceptions:
        assert any(
            outcome.parts is not None for outcome in outcomes_of(exercise, misconception.wrong)
        )


@ALL
def test_the_reference_passes_and_the_exercise_is_complete(exercise):
    assert judge(exercise, exercise.reference).passed
    assert exercise.title
    assert exercise.difficulty in (1, 2, 3)
    assert 5 <= exercise.minutes <= 20
    assert len(exercise.hints) == 3
    assert len(exercise.misconceptions) >= 5


CODE = re.compile(r"\btorch\.\w|\bschedule\.\w|\.\w+\(|\[[^]]*:[^]]*\]")  # a call, a table, a slice


@ALL
def test_a_hint_that_looks_like_code_can_be_pasted(exercise):
    """With the minus of the keyboard, that is, and not with the typesetter's, which Python refuses."""
    assert [hint for hint in exercise.hints if CODE.search(hint) and "\N{MINUS SIGN}" in hint] == []


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.__name__[-2:])
def test_the_exercises_are_numbered_in_order_and_no_step_up_is_steep(chapter):
    number = chapter.__name__[-2:]
    assert [e.id for e in chapter.EXERCISES] == [
        f"{number}.{i + 1}" for i in range(len(chapter.EXERCISES))
    ]
    assert 3 <= len(chapter.EXERCISES) <= 6
    stars = [e.difficulty for e in chapter.EXERCISES]
    assert stars[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(stars))


def test_no_two_exercises_share_an_id():
    assert len(EXERCISES) == sum(len(chapter.EXERCISES) for chapter in CHAPTERS)


# --- stubs and broken answers -------------------------------------------------------------------------------


def raises(*arguments):
    raise NotImplementedError()


def raises_with_message(*arguments):
    raise NotImplementedError("YOUR CODE HERE")


def returns_dots(*arguments):
    return ...


def returns_nothing(*arguments):
    pass


@ALL
@pytest.mark.parametrize("stub", [raises, raises_with_message, returns_dots, returns_nothing])
def test_a_stub_fails_kindly(exercise, stub):
    verdict = judge(exercise, stub)
    assert verdict.outcome == "not written"
    assert verdict.text.startswith(f"○ {exercise.id} {exercise.title}: not written yet.")
    assert len(verdict.text.splitlines()) <= 3


def right_after_all(exercise, function) -> bool:
    """Whether the numbers are the right ones to the last digit, as whole numbers may be in some exercise."""
    ours, right = outcomes_of(exercise, function), outcomes_of(exercise, exercise.reference)
    return all(
        a.parts is not None
        and all(
            np.array_equal(x.numbers if y.numbers.ndim else x.numbers.squeeze(), y.numbers)
            for x, y in zip(a.parts, b.parts, strict=True)
        )
        for a, b in zip(ours, right, strict=True)
    )


@ALL
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_answer_gets_a_short_helpful_reply(exercise, kind, capfd):
    verdict = judge(exercise, BROKEN[kind](exercise))
    assert capfd.readouterr() == ("", ""), "a library under the check has printed"
    if verdict.passed:
        assert right_after_all(exercise, BROKEN[kind](exercise))
    else:
        assert verdict.outcome == "failed"
        assert_short_and_kind(exercise, verdict)


@ALL
def test_an_input_changed_in_place_is_named(exercise):
    for name, function in spoilt_inputs(exercise).items():
        verdict = judge(exercise, function)
        assert f"changed its input {name} in place" in " ".join(verdict.text.split())
        assert_short_and_kind(exercise, verdict)


def assert_short_and_kind(exercise, verdict):
    lines = verdict.text.splitlines()
    assert lines[0] == f"✗ {exercise.id} {exercise.title}: not right yet."
    assert lines[-1] == f'  Stuck? hint("{exercise.id}")'
    assert 3 <= len(lines) <= 9
    assert max(map(len, lines)) <= WIDTH
    assert "Traceback" not in verdict.text
    assert not re.search(r"0x[0-9a-f]|site-packages|\.py\b|/\w+/", verdict.text), (
        "an address or a path"
    )
