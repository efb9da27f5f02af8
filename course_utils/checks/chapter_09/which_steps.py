"""09.1: which of the T steps a short walk visits."""

import math
from collections.abc import Callable

import numpy as np

from course_utils.checks.exercise import Case, Exercise, Misconception


def _which_steps(T, steps, spacing, offset):
    """Each step by itself, in whole numbers."""
    if spacing == "leading":
        return [T // steps * (steps - 1 - k) + offset for k in range(steps)]
    return [(2 * (steps - k) * T + steps) // (2 * steps) - 1 for k in range(steps)]


def _cases() -> tuple[Case, ...]:
    def case(*arguments):
        T, steps, spacing, offset = arguments
        return Case(f'T = {T}, {steps} steps, "{spacing}", offset {offset}', arguments)

    return (
        case(1000, 50, "leading", 0),
        case(1000, 50, "leading", 1),
        case(1000, 50, "trailing", 0),
        case(1000, 30, "leading", 1),
        case(1000, 30, "trailing", 1),
        case(100, 7, "leading", 0),
        case(100, 7, "trailing", 0),
        case(1000, 1, "leading", 0),
        case(1000, 1, "trailing", 0),
    )


def _off(leading: Callable | None = None, trailing: Callable | None = None):
    """The exercise with another rule for a spacing, each from (T, steps, offset)."""

    def wrong(T, steps, spacing, offset):
        rule = leading if spacing == "leading" else trailing
        return rule(T, steps, offset) if rule else _which_steps(T, steps, spacing, offset)

    return wrong


def _edited(change):
    return lambda *given: [change(t) for t in _which_steps(*given)]


def _ends_included(T, steps, offset=0):
    """As np.linspace has it, from T − 1 down to 0."""
    return np.linspace(0, T - 1, steps).round()[::-1]


def _trailing(rounded, first=0):
    """Trailing steps with another way to make them whole, or a later k to begin with."""
    return lambda T, steps, offset: [rounded(T - (k + first) * T / steps) - 1 for k in range(steps)]


def _trailing_by_whole_strides(T, steps, offset):
    return [T - 1 - k * (T // steps) for k in range(steps)]


EXERCISE = Exercise(
    id="09.1",
    title="Which steps",
    difficulty=1,
    minutes=10,
    reference=_which_steps,
    returns=("ts",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the steps rise",
            "The walk begins where the noise is: the list falls.",
            lambda *given: _which_steps(*given)[::-1],
        ),
        Misconception(
            "all steps are the papers' count, one above ours",
            "Here t runs from 0 to T−1, so leading begins to count at 0 and trailing at T−1.",
            _edited(lambda t: t + 1),
        ),
        Misconception(
            "trailing begins at T, not at T−1",
            "T is how many steps there are. The last of them is number T−1.",
            _off(
                trailing=lambda T, steps, offset: [round(T - k * T / steps) for k in range(steps)]
            ),
        ),
        Misconception(
            "trailing is rounded down instead of to the nearest",
            "T/steps is seldom whole. Rounded to the nearest, the steps are spread evenly; the −1 comes after that.",
            _off(trailing=_trailing(math.floor)),
        ),
        Misconception(
            "trailing is rounded up instead of to the nearest",
            "T/steps is seldom whole. Rounded to the nearest, the steps are spread evenly; the −1 comes after that.",
            _off(trailing=_trailing(math.ceil)),
        ),
        Misconception(
            "trailing walks in whole strides of T // steps",
            "Then what the division leaves over gathers at the end of the walk. Trailing divides T by steps "
            "exactly and rounds each step.",
            _off(trailing=_trailing_by_whole_strides),
        ),
        Misconception(
            "trailing leaves out T−1 and ends at −1",
            "The point of trailing is that the first step sees pure noise, k = 0. And −1 is the clean image, "
            "not a step at which to ask the model.",
            _off(trailing=_trailing(round, first=1)),
        ),
        Misconception(
            "the offset is added to trailing steps as well",
            "Trailing has its place already: from T−1 downwards. The offset belongs to leading steps only.",
            lambda T, steps, spacing, offset: [
                t + (offset if spacing == "trailing" else 0)
                for t in _which_steps(T, steps, spacing, offset)
            ],
        ),
        Misconception(
            "the offset is left out",
            "Leading steps are k · (T // steps) + offset.",
            lambda T, steps, spacing, offset: _which_steps(T, steps, spacing, 0),
        ),
        Misconception(
            "the offset is subtracted",
            "Leading steps are k · (T // steps) + offset: they move towards the noise.",
            lambda T, steps, spacing, offset: _which_steps(T, steps, spacing, -offset),
        ),
        Misconception(
            "the two spacings have changed places",
            "Leading counts up from 0, trailing down from T−1. (Both lists fall.)",
            lambda T, steps, spacing, offset: _which_steps(
                T, steps, {"leading": "trailing", "trailing": "leading"}[spacing], offset
            ),
        ),
        Misconception(
            "leading goes on as long as T allows: more steps than asked for",
            "range(0, T, T // steps) does that where the division leaves something over. Take `steps` of them.",
            _off(
                leading=lambda T, steps, offset: [
                    t + offset for t in reversed(range(0, T, T // steps))
                ]
            ),
        ),
        Misconception(
            "leading has strides of T/steps, rounded only at the end",
            "Leading steps are whole strides, T // steps. That is simple, and leaves out the noisiest end of the "
            "chain.",
            _off(
                leading=lambda T, steps, offset: [
                    k * T // steps + offset for k in reversed(range(steps))
                ]
            ),
        ),
        Misconception(
            "leading has strides of T/steps, each step rounded to the nearest",
            "Leading steps are whole strides, T // steps. Trailing is the one that divides exactly and rounds.",
            _off(
                leading=lambda T, steps, offset: [
                    round(k * T / steps) + offset for k in reversed(range(steps))
                ]
            ),
        ),
        Misconception(
            "leading begins one stride too high and does not reach 0",
            "The lowest leading step is k = 0, at 0 + offset: it leads to the clean image.",
            _off(
                leading=lambda T, steps, offset: [
                    k * (T // steps) + offset for k in range(steps, 0, -1)
                ]
            ),
        ),
        Misconception(
            "both ends are included, 0 and T−1, with either spacing",
            "np.linspace does that; diffusers calls it a third spacing. Leading has 0 but not T−1, trailing T−1 "
            "but not 0.",
            lambda T, steps, spacing, offset: _ends_included(T, steps),
        ),
        Misconception(
            "trailing has both ends, T−1 and 0",
            "np.linspace does that. Trailing has strides of T/steps, and stops one of them before −1.",
            _off(trailing=lambda T, steps, offset: np.linspace(T - 1, 0, steps).round()),
        ),
        Misconception(
            "the spacing is not used: it is always leading",
            "Trailing counts down from T−1, in strides of T/steps; the string says which of the two is wanted.",
            lambda T, steps, spacing, offset: _which_steps(T, steps, "leading", offset),
        ),
        Misconception(
            "the stride is taken for the number of steps",
            "range(0, T, steps) makes T/steps steps. For `steps` of them the stride is T // steps.",
            _off(
                leading=lambda T, steps, offset: [t + offset for t in reversed(range(0, T, steps))],
                trailing=lambda T, steps, offset: list(range(T - 1, -1, -steps)),
            ),
        ),
    ),
    hints=(
        "With T = 1000 and 4 steps leading is 750, 500, 250, 0 and trailing 999, 749, 499, 249. Now find a rule for "
        "the k-th number of each.",
        "Leading: k times T // steps, for k from steps−1 down to 0, plus the offset. Trailing: T less k times "
        "T / steps, rounded, less 1, for k from 0 up.",
        'if spacing == "leading":\n'
        "    return [k * (T // steps) + offset for k in reversed(range(steps))]\n"
        "return [round(T - k * T / steps) - 1 for k in range(steps)]",
    ),
    success=(
        "Two ways to leave out steps: leading never sees pure noise, trailing never the step next to the clean "
        "image."
    ),
    rtol=0,
    atol=1e-3,
)
