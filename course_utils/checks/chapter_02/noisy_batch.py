"""02.3: the closed form, for a batch with a t for each image."""

import math

import torch

from course_utils.checks.chapter_02.closed_form import Factors, slips
from course_utils.checks.chapter_02.material import UNEVEN, mix, normal, pixels
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def _noisy_batch(schedule, x0, t, eps):
    samples = []
    for x, step, e in zip(x0, t.tolist(), eps, strict=True):
        share = math.exp(sum(math.log1p(-b) for b in schedule.beta[: step + 1].tolist()))
        samples.append(mix(share, x.double(), e.double()))
    return torch.stack(samples)


def _noisy_batch_cases() -> tuple[Case, ...]:
    def case(says, schedule, shape, t):
        return Case(
            f"{says}x0 of shape {shape} at t = {t}",
            (schedule, pixels(11, *shape), torch.tensor(t), normal(12, *shape)),
        )

    return (  # in the first, every axis is as long as the batch, so that the wrong one fits too
        case("", from_beta(UNEVEN), [4, 4, 4, 4], [0, 3, 5, 8]),
        case("", from_beta(UNEVEN), [3, 1, 5, 7], [9, 2, 6]),
        case("1000 linear steps, ", linear(1000), [2, 3, 8, 8], [999, 250]),
    )


def _on_axis(axis: int):
    def wrong(schedule, x0, t, eps):
        return mix(schedule.alpha_bar[t].reshape(-1, *[1] * (3 - axis)), x0, eps)

    return wrong


def _with_factors(factors: Factors):
    def wrong(schedule, x0, t, eps):
        signal, noise = (f[:, None, None, None] for f in factors(schedule, t))  # [B, 1, 1, 1]
        return signal * x0 + noise * eps

    return wrong


_AXIS = (
    "Broadcasting lines shapes up from the right, so [B] meets the last axis of [B, C, H, "
    "W]. Your numbers need "
    "the shape [B, 1, 1, 1]."
)

EXERCISE = Exercise(
    id="02.3",
    title="The closed form, for a batch",
    difficulty=2,
    minutes=10,
    reference=_noisy_batch,
    returns=("x_t",),
    cases=_noisy_batch_cases,
    misconceptions=(
        Misconception("t runs along the columns of the images", _AXIS, _on_axis(3)),
        Misconception("t runs along the rows of the images", _AXIS, _on_axis(2)),
        Misconception("t runs along the channels of the images", _AXIS, _on_axis(1)),
        Misconception(
            "the whole batch is taken at the first t",
            "Each image has its own t: sample i uses t[i].",
            lambda schedule, x0, t, eps: mix(schedule.alpha_bar[t[0]], x0, eps),
        ),
        *slips(_with_factors),
    ),
    hints=(
        "Which two numbers does one image need at its t? Their squares add up to 1.",
        (
            "schedule.alpha_bar[t] picks B numbers at once, shape [B]. What shape must they have to "
            "scale whole images?"
        ),
        "a = schedule.alpha_bar[t][:, None, None, None]; then a.sqrt() * x0 + (1 - a).sqrt() * eps.",
    ),
    success="Any moment of a thousand-step chain now costs one line: this is what makes training possible.",
)
