"""Answers to exercises as learners might write them: one test parameter for each."""

import pytest

from course_utils.checks.registry import CHAPTERS, EXERCISES


def each(answers: dict[str, list]) -> pytest.MarkDecorator:
    """Runs a test (exercise, answer) on every answer; answers: from an exercise's id to a list of functions."""
    params = [
        pytest.param(EXERCISES[known], answer, id=f"{known} {n}")
        for known, written in answers.items()
        for n, answer in enumerate(written)
    ]
    return pytest.mark.parametrize(("exercise", "answer"), params)


def assert_three_for_each_exercise(answers: dict[str, list], chapter: str) -> None:
    """That the answers are those of the chapter's exercises, in order, and at least three for each."""
    (module,) = (module for module in CHAPTERS if module.__name__.endswith(chapter))
    assert list(answers) == [exercise.id for exercise in module.EXERCISES]
    assert all(len(written) >= 3 for written in answers.values())
