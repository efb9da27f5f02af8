"""05.1: how the network is told the step: sines and cosines of t/T."""

import math

import torch

from course_utils.checks.exercise import Case, Exercise, Misconception


def _embedding(t, T, frequencies):
    rows = []
    for step in t.tolist():
        angles = [step / T * frequency for frequency in frequencies.tolist()]
        rows.append([*map(math.sin, angles), *map(math.cos, angles)])
    return torch.tensor(rows, dtype=torch.float64)


def _usual(count):
    """The frequencies of the chapter's network."""
    return math.pi * torch.arange(1, count + 1, dtype=torch.float64) / 2


def _cases() -> tuple[Case, ...]:
    def case(t, T, count):
        says = f"t = {t}, T = {T}, {count} frequenc{'y' if count == 1 else 'ies'}"
        return Case(says, (torch.tensor(t), T, _usual(count)))

    uneven = [4.1, 0.7, 2.2]

    return (
        case([0, 3, 7, 9], 10, 4),  # as many steps as frequencies
        case([9, 1, 5], 10, 2),
        case([999, 0, 250, 510, 40], 1000, 8),
        case([6], 8, 3),
        case([2, 4, 1], 5, 1),
        Case(
            f"t = [3, 1, 8, 6], T = 9, frequencies {uneven}",
            (torch.tensor([3, 1, 8, 6]), 9, torch.tensor(uneven, dtype=torch.float64)),
        ),
    )


def _from(angle, join=lambda angle: torch.cat([angle.sin(), angle.cos()], dim=1)):
    """The exercise with angle(t, T, frequencies), [B, F], and what is made of it."""
    return lambda t, T, frequencies: join(angle(t, T, frequencies))


def _angle(t, T, frequencies):
    return t[:, None] / T * frequencies


EXERCISE = Exercise(
    id="05.1",
    title="Telling the network the time",
    difficulty=1,
    minutes=10,
    reference=_embedding,
    returns=("embedding",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the cosines come before the sines",
            "A network would learn from either, but one that was trained with the one order cannot read the "
            "other. Here the sines come first.",
            _from(_angle, lambda angle: torch.cat([angle.cos(), angle.sin()], 1)),
        ),
        Misconception(
            "sines and cosines alternate",
            "All F sines come first, then all F cosines: concatenate, do not interleave.",
            _from(_angle, lambda angle: torch.stack([angle.sin(), angle.cos()], 2).flatten(1)),
        ),
        Misconception(
            "sines and cosines stand on an axis of their own",
            "The network's first layer takes one row of 2F numbers a point: torch.cat along dim 1, not stack.",
            _from(_angle, lambda angle: torch.stack([angle.sin(), angle.cos()], 1)),
        ),
        Misconception(
            "the cosines are put under the sines, as further rows",
            "That makes 2B points out of B. Concatenate along dim 1, so that each row has both.",
            _from(_angle, lambda angle: torch.cat([angle.sin(), angle.cos()], 0)),
        ),
        Misconception(
            "the cosines are missing",
            "The sine alone cannot tell an angle from π minus that angle. With the cosine each angle "
            "of the circle is unique.",
            _from(_angle, torch.sin),
        ),
        Misconception(
            "the sines are missing",
            "The cosine alone hardly changes near t = 0, so the first steps would look alike. F sines "
            "come first, then F cosines.",
            _from(_angle, torch.cos),
        ),
        Misconception(
            "the sines stand in both halves",
            "The sine alone cannot tell an angle from π minus that angle. The second half is for the cosines.",
            _from(_angle, lambda angle: torch.cat([angle.sin(), angle.sin()], 1)),
        ),
        Misconception(
            "the frequencies are made anew instead of those that are given",
            "π/2, π, 3π/2 … are those of the chapter's network. Another may have others: use the argument.",
            _from(lambda t, T, frequencies: _angle(t, T, _usual(len(frequencies)))),
        ),
        Misconception(
            "t is not divided by T",
            "Then the angle runs round the circle again and again, and neighbouring steps look unrelated to "
            "the network.",
            _from(lambda t, T, frequencies: t[:, None] * frequencies),
        ),
        Misconception(
            "t is divided by T as whole numbers",
            "t // T is 0 for every t: the network would never know the step. Write t / T.",
            _from(lambda t, T, frequencies: t[:, None] // T * frequencies),
        ),
        Misconception(
            "t is divided by T−1",
            "That would make t/T end at 1; here it ends at (T−1)/T. The steps are 0 … T−1, and T is their "
            "number.",
            _from(lambda t, T, frequencies: t[:, None] / max(T - 1, 1) * frequencies),
        ),
        Misconception(
            "t is off by one",
            "In this course t starts at 0, so its first angle is 0. The papers' t is ours plus one.",
            _from(lambda t, T, frequencies: _angle(t + 1, T, frequencies)),
        ),
        Misconception(
            "a factor π is added",
            "The frequencies hold the π already: the angle is t/T times the frequency, in radians.",
            _from(lambda t, T, frequencies: math.pi * _angle(t, T, frequencies)),
        ),
        Misconception(
            "a factor 2π is added",
            "The frequencies hold the π already: the angle is t/T times the frequency, in radians.",
            _from(lambda t, T, frequencies: 2 * math.pi * _angle(t, T, frequencies)),
        ),
        Misconception(
            "the angle is taken for degrees",
            "torch.sin wants radians, and the angle is in radians already.",
            _from(lambda t, T, frequencies: torch.deg2rad(_angle(t, T, frequencies))),
        ),
        Misconception(
            "it is divided by the frequency instead of multiplied",
            "A higher frequency turns faster: the angle grows with it.",
            _from(lambda t, T, frequencies: t[:, None] / T / frequencies),
        ),
        Misconception(
            "rows and columns are swapped: one row for each frequency",
            "The network wants a row for each point: t[:, None] times frequencies has shape [B, F].",
            _from(lambda t, T, frequencies: frequencies[:, None] * t / T),
        ),
        Misconception(
            "each step meets one frequency only, not all of them",
            "[B] times [F] goes number by number where B = F, and fails elsewhere. With t[:, None] each "
            "step meets every frequency.",
            _from(
                lambda t, T, frequencies: t / T * frequencies,
                lambda angle: torch.cat([angle.sin(), angle.cos()]),
            ),
        ),
        Misconception(
            "the angles themselves are returned",
            "Of each angle the sine and the cosine are asked for: 2F numbers a point.",
            _from(_angle, lambda angle: angle),
        ),
    ),
    hints=(
        "Make all angles first: a table with a row for each t and a column for each frequency.",
        "t[:, None] has shape [B, 1]; times frequencies, [F], that is [B, F]. Divide by T on the way.",
        "angle = t[:, None] / T * frequencies; torch.cat([angle.sin(), angle.cos()], dim=1).",
    ),
    success=(
        "At t = 0 it is F zeros and F ones. Slow frequencies tell early from late, fast ones tell neighbours "
        "apart: like the hands of a clock."
    ),
)
