"""Chapter 02's exercises: every planted mistake is named, and each differs from all the others."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from course_utils.checks.registry import CHAPTERS, EXERCISES
from course_utils.checks.verdict import judge, matcher, outcomes_of
from course_utils.diffusion import forward, schedule

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


def test_the_exercises_are_numbered_in_order_and_no_step_up_is_steep():
    for chapter in CHAPTERS:
        number = chapter.__name__[-2:]
        assert [e.id for e in chapter.EXERCISES] == [
            f"{number}.{i + 1}" for i in range(len(chapter.EXERCISES))
        ]
        assert 3 <= len(chapter.EXERCISES) <= 6
        stars = [e.difficulty for e in chapter.EXERCISES]
        assert stars[0] == 1
        assert all(b - a <= 1 for a, b in itertools.pairwise(stars))
    assert len(EXERCISES) == sum(len(chapter.EXERCISES) for chapter in CHAPTERS)


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


# --- the references, against something independent of them --------------------------------------------------


def cases(exercise_id):
    return [pytest.param(*case.arguments, id=case.says) for case in EXERCISES[exercise_id].cases()]


@pytest.mark.parametrize(("beta", "x_prev", "t", "eps"), cases("02.1"))
def test_one_step_is_the_library_s(beta, x_prev, t, eps):
    expected = forward.q_step(schedule.from_beta(beta), x_prev, t, eps)
    torch.testing.assert_close(EXERCISES["02.1"].reference(beta, x_prev, t, eps), expected)


@pytest.mark.parametrize("beta", [case.arguments[0] for case in EXERCISES["02.2"].cases()], ids=len)
def test_alpha_bar_is_a_running_product(beta):
    expected = list(itertools.accumulate((1 - b for b in beta.tolist()), lambda a, b: a * b))
    np.testing.assert_allclose(EXERCISES["02.2"].reference(beta), expected, rtol=1e-12)


@pytest.mark.parametrize(("made", "x0", "t", "eps"), cases("02.3"))
def test_the_closed_form_is_the_library_s(made, x0, t, eps):
    expected = forward.q_sample(made, x0.double(), t, eps.double())
    torch.testing.assert_close(EXERCISES["02.3"].reference(made, x0, t, eps), expected)


@pytest.mark.parametrize(("T", "s", "beta_max"), cases("02.5"))
def test_the_cosine_schedule_is_the_library_s(T, s, beta_max):
    expected = schedule.cosine(T, s, beta_max).beta
    torch.testing.assert_close(
        EXERCISES["02.5"].reference(T, s, beta_max), expected, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(("made", "x0", "t"), cases("02.6"))
def test_the_divergence_is_torch_s(made, x0, t):
    share = made.alpha_bar[t]
    q = torch.distributions.Normal(share.sqrt() * x0.double(), (1 - share).sqrt().expand(x0.shape))
    p = torch.distributions.Normal(torch.zeros_like(q.loc), torch.ones_like(q.loc))
    expected = torch.distributions.kl_divergence(q, p).sum((1, 2, 3))
    torch.testing.assert_close(
        EXERCISES["02.6"].reference(made, x0, t), expected, rtol=1e-7, atol=1e-7
    )
