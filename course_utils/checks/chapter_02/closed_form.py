"""Slips in the closed form x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, for every exercise that asks for it."""

from collections.abc import Callable
from typing import Any

import torch

from course_utils.checks.exercise import Misconception
from course_utils.diffusion.schedule import Schedule

Factors = Callable[[Schedule, Any], tuple[torch.Tensor, torch.Tensor]]


def slips(wrong: Callable[[Factors], Callable]) -> tuple[Misconception, ...]:
    """The slips as misconceptions of one exercise.

    Args:
        wrong: from factors(schedule, t) = (what multiplies x0, what multiplies eps), the exercise
            done right but for these two factors.
    """
    return tuple(Misconception(name, why, wrong(factors)) for name, why, factors in _SLIPS)


def _roots(share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return share.sqrt(), (1 - share).sqrt()


OFF_BY_ONE = (
    "t is off by one",
    "alpha_bar[t] already includes step t, and t starts at 0. The papers' t is ours plus one.",
)
SWAPPED = (
    "ᾱ and 1−ᾱ have changed places",
    "ᾱ starts near 1 and falls: it is the share of the image, and 1−ᾱ that of the noise.",
)
_SLIPS: tuple[tuple[str, str, Factors], ...] = (
    (
        "the square root of ᾱ is missing",
        "ᾱ is a share of variance; the image is multiplied by the deviation √ᾱ.",
        lambda s, t: (s.alpha_bar[t], (1 - s.alpha_bar[t]).sqrt()),
    ),
    (
        "the square root of 1−ᾱ is missing",
        "1−ᾱ is the variance of the noise; eps is multiplied by the deviation √(1−ᾱ).",
        lambda s, t: (s.alpha_bar[t].sqrt(), 1 - s.alpha_bar[t]),
    ),
    (
        "both square roots are missing",
        "ᾱ and 1−ᾱ are variances, and add up to 1. What multiplies x0 and eps are their square "
        "roots.",
        lambda s, t: (s.alpha_bar[t], 1 - s.alpha_bar[t]),
    ),
    (
        "eps is multiplied by 1−√ᾱ",
        "It is √(1−ᾱ), not 1−√ᾱ: squares, not amounts, add up to 1.",
        lambda s, t: (s.alpha_bar[t].sqrt(), 1 - s.alpha_bar[t].sqrt()),
    ),
    (
        "noise is added but the image is not shrunk",
        "The noise brings the variance 1−ᾱ; the factor √ᾱ before x0 makes room for it.",
        lambda s, t: (torch.ones_like(s.alpha_bar[t]), (1 - s.alpha_bar[t]).sqrt()),
    ),
    (
        "α stands where ᾱ belongs",
        "α_t is what step t alone keeps. From x_0 to x_t all steps 0 … t act: their product ᾱ_t.",
        lambda s, t: _roots(s.alpha[t]),
    ),
    (
        "β stands where 1−ᾱ belongs",
        "β_t is the noise of the last step alone. The noise of all steps so far has variance 1−ᾱ_t.",
        lambda s, t: (s.alpha_bar[t].sqrt(), s.beta[t].sqrt()),
    ),
    (*SWAPPED, lambda s, t: _roots(1 - s.alpha_bar[t])),
    (*OFF_BY_ONE, lambda s, t: _roots(s.alpha_bar[t - 1])),
)
