"""02.1: one step of the chain."""

import math

import torch

from course_utils.checks.chapter_02.material import UNEVEN, mix, normal, pixels
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def _one_step(beta, x_prev, t, eps):
    b = float(beta[t])
    return math.sqrt(1 - b) * x_prev + math.sqrt(b) * eps


def _one_step_cases() -> tuple[Case, ...]:
    uneven = from_beta(UNEVEN).beta
    return (
        Case(
            "images of shape [4, 3, 8, 10] at t = 3",  # as wide as beta is long: both fit together
            (uneven, pixels(1, 4, 3, 8, 10), 3, normal(2, 4, 3, 8, 10)),
        ),
        Case(
            "points of shape [16, 2] at t = 9, the last step",
            (uneven, normal(3, 16, 2), 9, normal(4, 16, 2)),
        ),
        Case(
            "points of shape [16, 2] at t = 0, the first step",
            (uneven, normal(5, 16, 2), 0, normal(6, 16, 2)),
        ),
        Case(
            "1000 linear steps, images of shape [2, 1, 8, 8] at t = 250",
            (linear(1000).beta, pixels(7, 2, 1, 8, 8), 250, normal(8, 2, 1, 8, 8)),
        ),
    )


EXERCISE = Exercise(
    id="02.1",
    title="One step of the chain",
    difficulty=1,
    minutes=5,
    reference=_one_step,
    returns=("x_t",),
    cases=_one_step_cases,
    misconceptions=(
        Misconception(
            "the square root is missing in front of the image",
            "Scaling by c scales a variance by c². To keep 1−β of the variance, multiply by √(1−β).",
            lambda beta, x_prev, t, eps: (1 - beta[t]) * x_prev + beta[t].sqrt() * eps,
        ),
        Misconception(
            "the square root is missing in front of the noise",
            "β is the variance of the noise; eps has variance 1, so it is multiplied by the deviation √β.",
            lambda beta, x_prev, t, eps: (1 - beta[t]).sqrt() * x_prev + beta[t] * eps,
        ),
        Misconception(
            "both square roots are missing",
            "1−β and β are variances. What multiplies x and eps are deviations, their square roots.",
            lambda beta, x_prev, t, eps: (1 - beta[t]) * x_prev + beta[t] * eps,
        ),
        Misconception(
            "β and 1−β have changed places",
            "β is small and belongs to the noise; nearly all of the image is kept in one step.",
            lambda beta, x_prev, t, eps: beta[t].sqrt() * x_prev + (1 - beta[t]).sqrt() * eps,
        ),
        Misconception(
            "noise is added but the image is not shrunk",
            "Then each step adds β to the variance and it grows without end. The factor √(1−β) makes room.",
            lambda beta, x_prev, t, eps: x_prev + beta[t].sqrt() * eps,
        ),
        Misconception(
            "the deviations √β and 1−√β add up to one, instead of the variances",
            "Variances of independent things add, deviations do not: it is (1−β) + β = 1 that keeps "
            "the scale.",
            lambda beta, x_prev, t, eps: (1 - beta[t].sqrt()) * x_prev + beta[t].sqrt() * eps,
        ),
        Misconception(
            "t is off by one",
            "In this course t starts at 0, and step t uses beta[t]. The papers' t is ours plus one.",
            lambda beta, x_prev, t, eps: _one_step(beta, x_prev, t - 1, eps),
        ),
        Misconception(
            "the noise is subtracted",
            "As a draw of x_t that is just as good, since −eps is as normal as eps. Add it all the "
            "same: later a network will be asked for this very eps.",
            lambda beta, x_prev, t, eps: _one_step(beta, x_prev, t, -eps),
        ),
        Misconception(
            "all of beta is used instead of beta[t]",
            "beta holds all T variances; one step needs one number: take beta[t].",
            lambda beta, x_prev, t, eps: mix(1 - beta, x_prev, eps),
        ),
        Misconception(
            "all steps up to t are made at once",
            "The product of all (1−β) leads from x_0 to x_t. One step starts at x_{t−1} and uses its "
            "own β alone.",
            lambda beta, x_prev, t, eps: mix(torch.cumprod(1 - beta, 0)[t], x_prev, eps),
        ),
    ),
    hints=(
        "Read the distribution as a recipe: N(mean, variance) is drawn as mean + deviation · eps.",
        "The mean is √(1−β_t) x_{t−1}. The variance is β_t; what is the deviation?",
        "x_t = √(1−β_t) · x_prev + √β_t · eps, with β_t = beta[t].",
    ),
    success=(
        "If x_{t−1} has variance 1 then so has x_t, since (1−β) + β = 1: the chain forgets without growing."
    ),
)
