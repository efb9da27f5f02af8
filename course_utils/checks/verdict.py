"""Judging an answer: is it right, which known mistake does it make, and what can be said in numbers."""

import functools
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

import numpy as np

from course_utils.checks.answers import Part, kind_of
from course_utils.checks.calling import Outcome, attempt
from course_utils.checks.exercise import Exercise, Misconception, Statistic

WIDTH = 92  # characters a line: fits a notebook's output without breaking words


LONG = 50  # numbers: in a longer line the first bad one may be far out in a tail, so the worst is shown
HUGE = 1e6  # in a wrong answer, a division by nearly zero: how large it is depends on the rounding


@dataclass(frozen=True, repr=False)
class Verdict:
    """What a check found.

    Attributes:
        exercise: its id.
        outcome: "passed", "failed" or "not written".
        text: what the learner reads.
        misconception: the name of the known mistake that the answer makes, if it does.
    """

    exercise: str
    outcome: Literal["passed", "failed", "not written"]
    text: str
    misconception: str | None = None

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    def __repr__(self) -> str:
        return f"<{self.exercise}: {self.outcome}>"

    def _ipython_display_(self) -> None:
        """Nothing: `check` has printed the text, and a cell that ends with it should not show it twice."""


def judge(exercise: Exercise, function: Any) -> Verdict:
    """Try the function on every case and compare it with the reference and with each misconception.

    Never raises for what the function is, does or returns.
    """
    if not callable(function) or isinstance(function, type):
        return _failed(exercise, [_not_a_function(exercise, function)])
    head = f"{exercise.id} {exercise.title}"
    outcomes = outcomes_of(exercise, function)
    if outcomes[0].unwritten:
        lines = [f"○ {head}: not written yet.", outcomes[0].problem, _stuck(exercise)]
        return Verdict(exercise.id, "not written", _fold(lines))
    expected = outcomes_of(exercise, exercise.reference)
    with np.errstate(all="ignore"):  # a learner's numbers may overflow
        lines = _difference(exercise, outcomes, expected)
        slip = _named(exercise, outcomes) if lines else None
        own = lines and not slip and _draws_of_its_own(exercise, function, outcomes)
    if not lines:
        return Verdict(exercise.id, "passed", _fold([f"✓ {head}: right.", exercise.success]))
    if slip:
        lines += [f"This is what happens when {slip.name}.", slip.explanation]
    elif own:
        lines += [
            "Called twice on the same inputs, your function gave two answers: it draws noise of its own.",
            _where_noise_is_given(exercise),
        ]
    return _failed(exercise, lines, slip)


def outcomes_of(exercise: Exercise, function: Callable) -> list[Outcome]:
    """The outcome for each case, in order; shorter where the rest would be hopeless."""
    return list(_each_outcome(exercise, function))


def _each_outcome(exercise: Exercise, function: Callable) -> Iterator[Outcome]:
    for seed, case in enumerate(exercise.cases()):
        outcome = attempt(exercise, function, case, seed)
        yield outcome
        if outcome.hopeless:
            break


def matcher(exercise: Exercise, ours: list[Outcome]) -> Callable[[Callable], bool]:
    """From what was seen, the question whether a function does the same.

    On every case, or in a measured exercise for every statistic.
    """
    if exercise.measure is None:

        def matches(function: Callable) -> bool:  # most differ on the first case already
            pairs = zip_longest(ours, _each_outcome(exercise, function), fillvalue=Outcome())
            return all(_agree(exercise, a, b, limit=HUGE) for a, b in pairs)

        return matches
    measured = statistics_of(exercise, ours)

    def measures_alike(function: Callable) -> bool:
        others = _statistics_of_function(exercise, function) if measured else ()
        return bool(others) and all(
            _near(a.value, b.value, a) for a, b in zip(measured, others, strict=True)
        )

    return measures_alike


@functools.cache
def _statistics_of_function(exercise: Exercise, function: Callable) -> tuple[Statistic, ...]:
    return statistics_of(exercise, outcomes_of(exercise, function))


def statistics_of(exercise: Exercise, outcomes: list[Outcome]) -> tuple[Statistic, ...]:
    """What `measure` finds in the answers; nothing where one is missing, not finite, or does not fit."""
    if any(outcome.parts is None for outcome in outcomes):
        return ()
    answers = [tuple(part.numbers for part in outcome.parts) for outcome in outcomes]
    if not all(np.isfinite(numbers).all() for answer in answers for numbers in answer):
        return ()
    try:
        return exercise.measure(answers)
    except ValueError:
        return ()


def _agree(exercise: Exercise, a: Outcome, b: Outcome, limit: float = np.inf) -> bool:
    """Whether two outcomes of one case are the same; in a measured exercise, whether their shapes are.

    Numbers beyond the limit count as the limit.
    """
    if a.parts is None or b.parts is None:
        return a.raised is not None and a.raised is b.raised
    pairs = [
        (_as_wanted(x.numbers, y.numbers), y.numbers) for x, y in zip(a.parts, b.parts, strict=True)
    ]
    if any(x.shape != y.shape for x, y in pairs):
        return False
    if exercise.measure is not None:
        return all(np.isfinite(x).all() for x, _ in pairs)
    return all(
        np.allclose(*np.clip(pair, -limit, limit), exercise.rtol, exercise.atol, equal_nan=True)
        for pair in pairs
    )


def _as_wanted(ours: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Ours; without its axes if it is one number, and one number is wanted."""
    return ours.reshape(()) if wanted.ndim == 0 and ours.size == 1 else ours


def _near(a: float | bool, b: float | bool, statistic: Statistic) -> bool:
    return abs(float(a) - float(b)) <= statistic.tolerance


def _named(exercise: Exercise, outcomes: list[Outcome]) -> Misconception | None:
    """The misconception that behaves like the answer on every case, and gives an answer on at least one."""
    if all(outcome.parts is None for outcome in outcomes):
        return None
    matches = matcher(exercise, outcomes)
    return next((slip for slip in exercise.misconceptions if matches(slip.wrong)), None)


def _draws_of_its_own(exercise: Exercise, function: Callable, outcomes: list[Outcome]) -> bool:
    """Whether the first answer is another one when the random numbers of the whole program are others."""
    if exercise.measure is not None or outcomes[0].parts is None:
        return False
    again = attempt(exercise, function, exercise.cases()[0], seed=len(outcomes))
    return not _agree(exercise, outcomes[0], again)


def _where_noise_is_given(exercise: Exercise) -> str:
    names = inspect.signature(exercise.reference).parameters
    given = next((name for name in ("noises", "noise", "eps") if name in names), None)
    return f"Here the noise is given: use {given}." if given else "Nothing is random here."


def _not_a_function(exercise: Exercise, given: Any) -> str:
    call = f'check("{exercise.id}", your_function)'
    if isinstance(given, type):
        return (
            f"{call} needs a function; this is the class {given.__name__}. Give an instance of it."
        )
    if given is None or isinstance(given, str):
        what = "None" if given is None else "a string"
        return f"{call} needs the function itself, its name without quotes or parentheses; this is {what}."
    return f"{call} needs the function itself, without parentheses after its name; this is {kind_of(given)}."


def _difference(exercise: Exercise, outcomes: list[Outcome], expected: list[Outcome]) -> list[str]:
    """What was tried and what was seen on the first case that is not right; empty if all are right."""
    cases = exercise.cases()
    for i, (case, outcome, right) in enumerate(zip(cases, outcomes, expected, strict=False)):
        before = (
            f" ({i} of {len(cases)} cases {'was' if i == 1 else 'were'} right before it)"
            if i and not exercise.measure
            else ""
        )
        tried = f"Tried: {case.says}{before}."
        if outcome.problem:
            return [tried, outcome.problem, _printed(outcome)]
        if not _agree(exercise, outcome, right):
            names = case.returns or exercise.returns
            return [tried, *_seen(exercise, names, outcome, right), _printed(outcome)]
    if exercise.measure is None:
        return []
    off = [s for s in statistics_of(exercise, outcomes) if not _near(s.value, s.expected, s)]
    return [f"Tried: {cases[0].says}.", *map(_describe_statistic, off[:2])] if off else []


def _describe_statistic(statistic: Statistic) -> str:
    def say(value: float | bool) -> str:
        if isinstance(statistic.expected, bool):
            return "yes" if value else "no"
        return f"{round(float(value), 3) + 0.0:.3g}"  # the same digits on every machine, and no -0

    return f"Seen: {statistic.name}: {say(statistic.value)}; expected: {say(statistic.expected)}."


def _seen(
    exercise: Exercise, names: tuple[str, ...], outcome: Outcome, right: Outcome
) -> list[str]:
    """The first returned thing that differs, in numbers."""
    for name, ours, theirs in zip(names, outcome.parts, right.parts, strict=True):
        a, b = _as_wanted(ours.numbers, theirs.numbers), theirs.numbers
        if a.shape != b.shape:
            wanted = list(b.shape) if b.ndim else "one number"
            return [f"Seen: {name} has shape {list(a.shape)}; expected {wanted}."]
        if bad := int((~np.isfinite(a) & np.isfinite(b)).sum()):
            kind = "NaN" if np.isnan(a).any() else "infinite"
            return [
                f"Seen: {bad} of the {a.size} numbers in {name} {'is' if bad == 1 else 'are'} {kind}."
            ]
        wrong = ~np.isclose(a, b, exercise.rtol, exercise.atol, equal_nan=True)
        if exercise.measure is None and wrong.any():
            return [f"Seen: {_numbers(exercise, name, a, b, wrong)}", _dtype_remark(name, ours, b)]
    raise AssertionError("called for an answer that is right")


def _numbers(exercise: Exercise, name: str, a: np.ndarray, b: np.ndarray, wrong: np.ndarray) -> str:
    if a.size == 1:
        return f"{name} is {a.item():.6g}; expected {b.item():.6g}."
    short = a.ndim == 1 and a.size <= LONG
    shown = wrong if short else np.where(wrong, np.abs(a - b), 0)
    place = np.unravel_index(shown.argmax(), a.shape)
    said = (
        f"{name}[{','.join(map(str, place))}] is {a[place]:.6g}; expected {b[place]:.6g}. "
        f"Off in {wrong.sum()} of {a.size} {'entries' if a.ndim == 1 else 'numbers'}"
    )
    if a.ndim == 1:
        return f"{said}."
    bad = wrong.reshape(len(a), -1).any(axis=1)
    if not bad.all():
        rows = "rows" if a.ndim == 2 else exercise.entries
        said += f": in {rows} {np.flatnonzero(bad).tolist()}, right in the others"
    return f"{said}. {_scatter(name, a, b)}"


def _scatter(name: str, a: np.ndarray, b: np.ndarray) -> str:
    """How far many numbers spread, where that is another distance than it should be."""
    ours, theirs = f"{a.std():.3g}", f"{b.std():.3g}"
    if a.size <= LONG or ours == theirs:
        return ""
    return f"The numbers in {name} scatter by {ours}, expected {theirs}."


def _dtype_remark(name: str, part: Part, expected: np.ndarray) -> str:
    if part.whole and (expected % 1).any():
        return f"{name} is {part.dtype}: whole numbers, where fractions are needed."
    return ""


def _printed(outcome: Outcome) -> str:
    lines = outcome.printed.strip().splitlines()
    if not lines:
        return ""
    more = " …" if len(lines) > 3 else ""
    return "Your function printed: " + " / ".join(lines[:3]) + more


def _stuck(exercise: Exercise) -> str:
    return f'Stuck? hint("{exercise.id}")'


def _failed(exercise: Exercise, lines: list[str], slip: Misconception | None = None) -> Verdict:
    lines = [f"✗ {exercise.id} {exercise.title}: not right yet.", *lines, _stuck(exercise)]
    return Verdict(exercise.id, "failed", _fold(lines), slip and slip.name)


def _fold(paragraphs: list[str]) -> str:
    """The paragraphs that are not empty, wrapped; all but the first indented."""
    first, *rest = (line for paragraph in paragraphs for line in paragraph.splitlines() if line)
    indent = "  "
    wrapped = (_wrap(line, indent) for line in rest)
    return "\n".join([_wrap(first, ""), *wrapped])


def _wrap(line: str, indent: str) -> str:
    return textwrap.fill(
        line, WIDTH, initial_indent=indent, subsequent_indent="  ", break_on_hyphens=False
    )
