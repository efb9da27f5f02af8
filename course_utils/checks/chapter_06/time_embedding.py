"""06.1: the step as sines and cosines at the frequencies that networks for images use, in all four conventions."""

import math

import torch

from course_utils.checks.exercise import Case, Exercise, Misconception


def _embedding(t, dim, cos_first, freq_shift):
    half = dim // 2
    frequencies = [10_000 ** (-k / (half - freq_shift)) for k in range(half)]
    rows = []
    for step in t.tolist():
        sines = [math.sin(step * frequency) for frequency in frequencies]
        cosines = [math.cos(step * frequency) for frequency in frequencies]
        rows.append(cosines + sines if cos_first else sines + cosines)
    return torch.tensor(rows, dtype=torch.float64)


def _cases() -> tuple[Case, ...]:
    def case(t, dim, cos_first, freq_shift):
        says = f"t = {t}, dim = {dim}, cos_first = {cos_first}, freq_shift = {freq_shift}"
        return Case(says, (torch.tensor(t), dim, cos_first, freq_shift))

    return (
        case([0, 1, 10, 999], 8, False, 1),  # as many steps as frequencies
        case([3, 250], 6, True, 0),
        case([5, 700, 41], 10, True, 1),
        case([7], 4, False, 0),
    )


def _frequencies(half, shift):
    return 10_000.0 ** (-_count(half) / (half - shift))


def _count(half):
    return torch.arange(half, dtype=torch.float64)


def _outer(t, frequencies):
    return t[:, None] * frequencies


def _in_order(angle, cos_first):
    waves = (angle.cos(), angle.sin()) if cos_first else (angle.sin(), angle.cos())
    return torch.cat(waves, dim=1)


def _with(frequencies=_frequencies, angle=_outer, join=_in_order):
    """The exercise with other frequencies(half, shift), angle(t, frequencies) or join(angle, cos_first)."""

    def wrong(t, dim, cos_first, freq_shift):
        return join(angle(t, frequencies(dim // 2, freq_shift)), cos_first)

    return wrong


def _interleaved(angle, cos_first):
    waves = (angle.cos(), angle.sin()) if cos_first else (angle.sin(), angle.cos())
    return torch.stack(waves, 2).flatten(1)


EXERCISE = Exercise(
    id="06.1",
    title="The time, as an image network reads it",
    difficulty=1,
    minutes=10,
    reference=_embedding,
    returns=("embedding",),
    cases=_cases,
    atol=5e-4,  # in float32, t = 999 times a frequency is good to about 1e-4
    misconceptions=(
        Misconception(
            "sines and cosines have changed places",
            "cos_first=False, as in the google models, puts the sines first. A trained network that is given "
            "the other order sees every clock in a mirror.",
            _with(join=lambda angle, cos_first: _in_order(angle, not cos_first)),
        ),
        Misconception(
            "the sines always come first",
            "The argument cos_first says which order the weights were trained with: where it is True, "
            "the cosines come first.",
            _with(join=lambda angle, cos_first: _in_order(angle, False)),
        ),
        Misconception(
            "the cosines always come first",
            "The argument cos_first says which order the weights were trained with: where it is False, "
            "the sines come first.",
            _with(join=lambda angle, cos_first: _in_order(angle, True)),
        ),
        Misconception(
            "sines and cosines alternate",
            "All of one kind come first, then all of the other: concatenate, do not interleave.",
            _with(join=_interleaved),
        ),
        Misconception(
            "the freq_shift is left out",
            "The exponent is k divided by half − freq_shift. With freq_shift = 1 the last frequency is exactly "
            "1/10,000; without it, higher.",
            _with(lambda half, shift: _frequencies(half, 0)),
        ),
        Misconception(
            "the freq_shift is always 1",
            "Use the argument: the google models have 1, others, such as the butterflies' model, have 0.",
            _with(lambda half, shift: _frequencies(half, 1)),
        ),
        Misconception(
            "the freq_shift is used the wrong way round: 1 where it is 0, and 0 where it is 1",
            "The exponent is k divided by half − freq_shift: subtract the argument itself.",
            _with(lambda half, shift: _frequencies(half, 1 - shift)),
        ),
        Misconception(
            "the freq_shift is added instead of subtracted",
            "The exponent is k divided by half − freq_shift, so that with 1 the last k, which is half − 1, gives "
            "exactly 1/10,000.",
            _with(lambda half, shift: _frequencies(half, -shift)),
        ),
        Misconception(
            "the freq_shift is subtracted from dim, before it is halved",
            "First half = dim/2, then half − freq_shift: with 1 the last frequency is exactly 1/10,000.",
            _with(lambda half, shift: _frequencies(half, shift / 2)),
        ),
        Misconception(
            "the frequencies are off by one: k runs from 1",
            "k runs from 0, so that the fastest hand has frequency 1: it tells neighbouring steps apart.",
            _with(lambda half, shift: 10_000.0 ** (-(_count(half) + 1) / (half - shift))),
        ),
        Misconception(
            "the exponent is divided by dim instead of half of it",
            "There are dim/2 frequencies, and they are to go all the way down to about 1/10,000; divided by dim "
            "they end half way, above 1/100, and no hand is slow enough for a thousand steps.",
            _with(lambda half, shift: 10_000.0 ** (-_count(half) / (2 * half - shift))),
        ),
        Misconception(
            "the exponent has 2k over half of dim",
            "2k goes with dim: 2k/dim is k/half. With both, the frequencies fall to about 1/100,000,000, and the slow "
            "half of the hands hardly move in a thousand steps.",
            _with(lambda half, shift: 10_000.0 ** (-2 * _count(half) / (half - shift))),
        ),
        Misconception(
            "the minus in the exponent is missing",
            "The frequencies must fall from 1 to about 1/10,000. Rising to 10,000, they turn the hands so fast that "
            "neighbouring steps look unrelated.",
            _with(lambda half, shift: 1 / _frequencies(half, shift)),
        ),
        Misconception(
            "the power of e is taken instead of the power of 10,000",
            "10,000 to the power p is exp(p · log 10,000). Without the logarithm the frequencies only fall to "
            "about 0.4.",
            _with(lambda half, shift: torch.exp(-_count(half) / (half - shift))),
        ),
        Misconception(
            "the logarithm to base 10 is in the exponential",
            "10,000 to the power p is exp(p · log 10,000) with the natural logarithm, 9.21, which math.log gives; "
            "to base 10 it is 4.",
            _with(lambda half, shift: torch.exp(-4 * _count(half) / (half - shift))),
        ),
        Misconception(
            "the frequencies fall evenly instead of by a constant factor",
            "Evenly spread, nearly all of them are fast. A constant factor from one to the next gives as many hands "
            "to hundreds of steps as to single ones.",
            _with(lambda half, shift: torch.linspace(1, 1e-4, half, dtype=torch.float64)),
        ),
        Misconception(
            "t is divided by 1000",
            "That was chapter 05's clock. Here t goes in as the whole number it is; the frequencies are made for "
            "it.",
            _with(angle=lambda t, frequencies: _outer(t / 1000, frequencies)),
        ),
        Misconception(
            "t is off by one",
            "The step goes in as it is, and starts at 0. The papers' t is ours plus one.",
            _with(angle=lambda t, frequencies: _outer(t + 1, frequencies)),
        ),
        Misconception(
            "a factor 2π is added",
            "The frequencies of this convention are in radians a step: the angle is t times the frequency.",
            _with(angle=lambda t, frequencies: 2 * math.pi * _outer(t, frequencies)),
        ),
        Misconception(
            "the second kind of wave is missing: both halves are sines",
            "A sine alone cannot tell an angle from π minus that angle. One half is for the cosines.",
            _with(join=lambda angle, cos_first: torch.cat([angle.sin(), angle.sin()], 1)),
        ),
        Misconception(
            "sines and cosines stand one under the other, as further rows",
            "That makes 2B images out of B. Concatenate along dim 1, so that each row has both.",
            _with(
                join=lambda angle, cos_first: torch.cat(
                    (angle.cos(), angle.sin()) if cos_first else (angle.sin(), angle.cos()), 0
                )
            ),
        ),
        Misconception(
            "each step meets one frequency only, not all of them",
            "[B] times [half] goes number by number where the two are equally long, and fails elsewhere. With "
            "t[:, None] each step meets every frequency.",
            _with(
                angle=lambda t, frequencies: t * frequencies,
                join=lambda angle, cos_first: torch.cat([angle.sin(), angle.cos()]),
            ),
        ),
        Misconception(
            "the angles themselves are returned",
            "Of each angle the sine and the cosine are asked for: dim numbers for each step.",
            _with(join=lambda angle, cos_first: angle),
        ),
    ),
    hints=(
        "Three steps: dim/2 frequencies, then a table of angles (a row for each t, a column for each frequency), then "
        "its sine and cosine side by side.",
        "half = dim // 2; frequencies = 10_000.0 ** (-torch.arange(half) / (half - freq_shift)). "
        "t[:, None] times that is the table.",
        "angle = t[:, None] * frequencies; waves = [angle.sin(), angle.cos()], or the other way round if "
        "cos_first; return torch.cat(waves, dim=1).",
    ),
    success=(
        "Four models with the same layers may still want four embeddings: the two arguments stand in each "
        "model's config.json, as flip_sin_to_cos and freq_shift. (What you predicted: from 1 down to exactly "
        "1/10,000. That hand needs 2π · 10,000, or 62,832, steps for one turn.)"
    ),
)
