"""02.5: the cosine schedule as β, with its offset and its cap."""

import math
from functools import partial
from itertools import pairwise

import torch

from course_utils.checks.exercise import Case, Exercise, Misconception


def _squared_cosine(u: float, s: float) -> float:
    return math.cos((u + s) / (1 + s) * math.pi / 2) ** 2


def _beta(T, s=0.008, beta_max=0.999, *, f=_squared_cosine, shift=0):
    """The exercise, number by number. `f` and `shift` are where the misconceptions come in."""
    beta = [1 - f((t + 1 - shift) / T, s) / f((t - shift) / T, s) for t in range(T)]
    return torch.tensor(beta, dtype=torch.float64).clamp(max=beta_max)


def _without_start(T, s, beta_max):
    beta = _beta(T, s, beta_max)
    beta[0] = min(beta_max, 1 - _squared_cosine(1 / T, s))
    return beta


def _zero_first(T, s, beta_max, *, shift=0):
    beta = _beta(T, s, beta_max, shift=shift)
    beta[0] = 0.0
    return beta


def _too_few_points(T, s, beta_max):
    return torch.cat([torch.zeros(1), _ratios(0, 1, T, s, beta_max)])


def _ratios(first, last, number, s, beta_max):
    """The β between that many points, evenly spread over u = first … last."""
    u = torch.linspace(first, last, number, dtype=torch.float64)
    f = [_squared_cosine(float(point), s) for point in u]
    return torch.tensor([1 - b / a for a, b in pairwise(f)]).clamp(max=beta_max)


def _ratio(T, s, beta_max):
    return (1 - _beta(T, s, 1.0)).clamp(max=beta_max)


def _alpha_bar(T, s):
    return torch.cumprod(1 - _beta(T, s, 1.0), 0)


def _upside_down(T, s, beta_max):
    f = [_squared_cosine(i / T, s) for i in range(T + 1)]
    return torch.tensor([1 - a / b for a, b in pairwise(f)]).clamp(max=beta_max)


def _difference(T, s, beta_max):
    share = [_squared_cosine(i / T, s) / _squared_cosine(0, s) for i in range(T + 1)]
    return torch.tensor([a - b for a, b in pairwise(share)]).clamp(max=beta_max)


EXERCISE = Exercise(
    id="02.5",
    title="The cosine schedule",
    difficulty=3,
    minutes=20,
    reference=lambda T, s, beta_max: _beta(T, s, beta_max),
    returns=("beta",),
    cases=lambda: tuple(
        Case(f"T = {T}, s = {s}, beta_max = {beta_max}", (T, s, beta_max))
        for T, s, beta_max in (
            (10, 0.008, 0.999),
            (4, 0.3, 0.8),
            (50, 0.1, 0.5),
            (100, 0.008, 0.3),
        )  # f near u = 1 loses digits in float32: the longer the chain, the lower the cap
    ),
    rtol=4e-5,  # a fixed cap of 0.999 and none at all differ by 0.001
    misconceptions=(
        Misconception(
            "the offset s is missing",
            "Without it the first steps add next to no noise: with T = 1000, β_0 = 0.0000025. s "
            "gives them a start.",
            partial(_beta, f=lambda u, s: _squared_cosine(u, 0)),
        ),
        Misconception(
            "u + s is not divided by 1 + s",
            "The division makes the angle end at exactly π/2, where the cosine, and with it ᾱ, is 0.",
            partial(_beta, f=lambda u, s: math.cos((u + s) * math.pi / 2) ** 2),
        ),
        Misconception(
            "f(0) is missing: ᾱ does not start from 1",
            "The clean image has ᾱ = 1, but f(0) = cos²(…s…) is less. Divide by it, or the first β "
            "is too large.",
            _without_start,
        ),
        Misconception(
            "the cosine is not squared",
            "ᾱ is a share of variance; it is √ᾱ, the factor of the image, that follows the cosine.",
            partial(_beta, f=lambda u, s: _squared_cosine(u, s) ** 0.5),
        ),
        Misconception(
            "t is off by one, so that β_0 = 0",
            "Our t = 0 already adds noise: ᾱ_t is taken at u = (t+1)/T, and the last one at u = 1.",
            partial(_zero_first, shift=1),
        ),
        Misconception(
            "f(0) is taken at the first u = 1/T, so that β_0 = 0",
            "ᾱ = 1 belongs to u = 0, before any step. Our t = 0 has had one: ᾱ_0 = f(1/T)/f(0).",
            _zero_first,
        ),
        Misconception(
            "T points from 0 to 1 are taken, and T−1 ratios returned",
            "T + 1 points make T ratios, one for each step: torch.linspace(0, 1, T + 1).",
            lambda T, s, beta_max: _ratios(0, 1, T, s, beta_max),
        ),
        Misconception(
            "the grid ends at u = (T−1)/T, and T−1 ratios are returned",
            "T + 1 points make T ratios: torch.arange(T + 1) / T, so that the last u is 1.",
            lambda T, s, beta_max: _ratios(0, (T - 1) / T, T, s, beta_max),
        ),
        Misconception(
            "the grid begins at u = 1/T, and T−1 ratios are returned",
            "T + 1 points make T ratios. Begin at u = 0: β_0 compares f(1/T) with f(0).",
            lambda T, s, beta_max: _ratios(1 / T, 1, T, s, beta_max),
        ),
        Misconception(
            "the grid has T points from 0 to 1, not T + 1",
            "T steps lie between T + 1 points, as four gaps lie between five fence posts. The start "
            "u = 0 is not one of our t.",
            _too_few_points,
        ),
        Misconception(
            "β is a difference of ᾱ, not a ratio",
            "ᾱ_t = ᾱ_{t−1}(1−β_t): a step takes its share of what is left. Solve that for β_t.",
            _difference,
        ),
        Misconception(
            "the cap is missing",
            "The last ᾱ is 0, so the last β is 1: that step forgets everything at once and cannot be "
            "walked back.",
            lambda T, s, beta_max: _beta(T, s, 1.0),
        ),
        Misconception(
            "the cap is always 0.999",
            "Your cap stays at 0.999; use the argument beta_max.",
            lambda T, s, beta_max: _beta(T, s, 0.999),
        ),
        Misconception(
            "the offset is always 0.008",
            "Your offset stays at 0.008; use the argument s.",
            lambda T, s, beta_max: _beta(T, 0.008, beta_max),
        ),
        Misconception(
            "the ratio is upside down",
            "1 − ᾱ_{t−1}/ᾱ_t is negative, and no variance is. Divide the later ᾱ by the earlier.",
            _upside_down,
        ),
        Misconception(
            "the `1 −` is missing: the ratio itself is returned",
            "The ratio ᾱ_t/ᾱ_{t−1} is α_t, what the step keeps. The noise that it adds is β_t = 1 − α_t.",
            _ratio,
        ),
        Misconception(
            "1−β is returned instead of β",
            "The ratio ᾱ_t/ᾱ_{t−1} is α_t. The noise that the step adds is β_t = 1 − α_t.",
            lambda T, s, beta_max: 1 - _beta(T, s, beta_max),
        ),
        Misconception(
            "ᾱ is returned instead of β",
            "ᾱ_t follows from f directly. β_t = 1 − ᾱ_t/ᾱ_{t−1} is what a schedule is made from.",
            lambda T, s, beta_max: _alpha_bar(T, s),
        ),
        Misconception(
            "ᾱ is returned, with the clean start in front: T + 1 numbers",
            "These are the right ᾱ. Now β_t = 1 − ᾱ_t/ᾱ_{t−1}: T + 1 points make T ratios.",
            lambda T, s, beta_max: torch.cat([torch.ones(1), _alpha_bar(T, s)]),
        ),
        Misconception(
            "1−ᾱ is returned instead of β",
            "1−ᾱ_t is the noise of all steps so far. β_t is what step t adds: 1 − ᾱ_t/ᾱ_{t−1}.",
            lambda T, s, beta_max: (1 - _alpha_bar(T, s)).clamp(max=beta_max),
        ),
    ),
    hints=(
        "First f at T + 1 points u = 0, 1/T, …, 1. The β_t are T numbers: each lives between two points.",
        "ᾱ_t / ᾱ_{t−1} = 1 − β_t. f(0) cancels in every ratio, even the first, if your grid begins "
        "at u = 0.",
        "f = torch.cos(…) ** 2, with u = torch.arange(T + 1) / T in it; beta = 1 - f[1:] / f[:-1]; then "
        "beta.clamp(max=beta_max).",
    ),
    success=(
        "Nichol and Dhariwal's schedule: destruction is spread evenly, and fewer steps are "
        "wasted on pure noise."
    ),
)
