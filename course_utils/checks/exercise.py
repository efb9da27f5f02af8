"""What an exercise is: plain frozen records that a chapter fills in; `verdict` judges by them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """One call that the check makes.

    Attributes:
        says: the call in words, to follow "tried": "x0 of shape [4, 3, 8, 8] at t = 250".
        arguments: what the learner's function is given: a copy of its own in every case.
        calls: how often it is called with that one copy; the last answer counts.
        returns: the names of what is returned, where this call returns another number of things than the
            exercise's first one does.
    """

    says: str
    arguments: tuple
    calls: int = 1
    returns: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Misconception:
    """A mistake that people make, with the code that makes it.

    Attributes:
        name: what is wrong, as a clause: "the square root of ᾱ is missing".
        explanation: one or two sentences on why it is wrong and what it does.
        wrong: a small implementation with that mistake and no other. Takes the reference's arguments.
    """

    name: str
    explanation: str
    wrong: Callable[..., Any]


@dataclass(frozen=True)
class Statistic:
    """One number measured on random answers; a bool where the question is yes or no.

    Attributes:
        name: what was measured, to stand before "is": "the standard deviation of eps".
        value: what came out.
        expected: what a right answer gives, up to the tolerance.
        tolerance: several standard errors of the measurement.
    """

    name: str
    value: float | bool
    expected: float | bool
    tolerance: float = 0.0


@dataclass(frozen=True)
class Exercise:
    """A task, its answer, and everything that is known about how people get it wrong.

    Attributes:
        id: chapter and number, "02.1".
        title: a few words.
        difficulty: 1, 2 or 3 stars.
        minutes: how long it takes someone who has read the chapter.
        reference: a right answer, written independently of how the task suggests it.
        returns: the name of each thing that the function returns, in order.
        cases: the calls that the check makes. Made anew on each call, so that nothing can spoil them.
        misconceptions: known mistakes; any two of them differ on the cases, by more than the tolerance.
        hints: from a nudge to the code, shown one at a time. One of several lines is shown as it stands.
        success: what the learner has now, one sentence.
        measure: for random answers: from one answer for each case, each a tuple with an array for each name
            in `returns`, to the statistics that are compared instead. Raises ValueError if shapes do not fit.
        entries: what the first axis of an answer of three or more counts.
        rtol, atol: how far each number may be from the reference's. Wide enough for float32.
    """

    id: str
    title: str
    difficulty: int
    minutes: int
    reference: Callable[..., Any]
    returns: tuple[str, ...]
    cases: Callable[[], tuple[Case, ...]]
    misconceptions: tuple[Misconception, ...]
    hints: tuple[str, ...]
    success: str
    measure: Callable[[list[tuple]], tuple[Statistic, ...]] | None = None
    entries: str = "samples"
    rtol: float = 1e-4
    atol: float = 1e-5
