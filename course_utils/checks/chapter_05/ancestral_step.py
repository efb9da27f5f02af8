"""05.3: one step back, from x_t to x_{t−1}, with the noise that the model found in x_t."""

import math

import torch

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.chapter_05.material import points
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def ancestral_step(schedule, eps, t, x_t, noise):
    """The mean of the posterior by way of the clean point, and noise of the posterior's variance."""
    beta = schedule.beta.tolist()
    share, share_before = (math.prod(1 - b for b in beta[:n]) for n in (t + 1, t))
    x0 = (x_t - math.sqrt(1 - share) * eps) / math.sqrt(share)
    of_x0 = math.sqrt(share_before) * beta[t] / (1 - share)
    of_x_t = math.sqrt(1 - beta[t]) * (1 - share_before) / (1 - share)
    variance = (1 - share_before) / (1 - share) * beta[t]
    return of_x0 * x0 + of_x_t * x_t + math.sqrt(variance) * noise


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, t, seed):
        numbers = (points(seed, 12, 2), t, points(seed + 1, 12, 2), points(seed + 2, 12, 2))
        return Case(f"12 points at t = {t} of {says}", (schedule, *numbers))

    uneven = from_beta(UNEVEN)
    return (
        case("ten uneven steps", uneven, 4, 51),
        case("ten uneven steps, the last one that is made", uneven, 0, 54),
        case("ten uneven steps", uneven, 1, 57),
        case("ten uneven steps, the first one that is made", uneven, 9, 60),
        case("1000 linear steps", linear(1000), 20, 63),
    )


def _of_eps(s, t):
    return s.beta[t] / (1 - s.alpha_bar[t]).sqrt()


def _root_alpha(s, t):
    return s.alpha[t].sqrt()


def _variance(s, t):
    """β̃_t, with ᾱ = 1 before step 0."""
    before = s.alpha_bar[t - 1] if t > 0 else torch.ones_like(s.beta[0])
    return (1 - before) / (1 - s.alpha_bar[t]) * s.beta[t]


def _deviation(s, t):
    return _variance(s, t).sqrt()


def _off(of_eps=_of_eps, divisor=_root_alpha, deviation=_deviation):
    """The exercise with what multiplies eps, what divides the bracket and what multiplies the noise."""

    def step(schedule, eps, t, x_t, noise):
        mean = (x_t - of_eps(schedule, t) * eps) / divisor(schedule, t)
        return mean + deviation(schedule, t) * noise

    return step


def _noise_in_the_bracket(schedule, eps, t, x_t, noise):
    return _off()(schedule, eps, t, x_t + _deviation(schedule, t) * noise, 0)


def _only_x_t_divided(schedule, eps, t, x_t, noise):
    mean = x_t / _root_alpha(schedule, t) - _of_eps(schedule, t) * eps
    return mean + _deviation(schedule, t) * noise


def _untouched_at_the_end(schedule, eps, t, x_t, noise):
    return _off()(schedule, eps, t, x_t, noise) if t > 0 else x_t


def _onto_the_clean_point(schedule, eps, t, x_t, noise):
    """The closed form at t−1, from the model's clean point and `noise`."""
    before = schedule.alpha_bar[t - 1] if t > 0 else torch.ones_like(schedule.beta[0])
    return before.sqrt() * _clean_point(schedule, eps, t, x_t, 0) + (1 - before).sqrt() * noise


def _clean_point(schedule, eps, t, x_t, noise):
    share = schedule.alpha_bar[t]
    return (x_t - (1 - share).sqrt() * eps) / share.sqrt()


EXERCISE = Exercise(
    id="05.3",
    title="One step back",
    difficulty=2,
    minutes=15,
    reference=ancestral_step,
    returns=("x_prev",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the variance β̃ multiplies the noise, where its root belongs",
            "The noise has variance 1. Multiplied by c it has variance c², so c is the deviation √β̃.",
            _off(deviation=_variance),
        ),
        Misconception(
            "√β multiplies the noise instead of √β̃",
            "β_t is the largest variance that makes sense, right for data of N(0, 1); samplers use it, too. "
            "Here β̃_t is asked for.",
            _off(deviation=lambda s, t: s.beta[t].sqrt() if t > 0 else 0),
        ),
        Misconception(
            "β multiplies the noise instead of √β̃",
            "β_t is a variance, and the one of the way forward. Here it is β̃_t, and its root.",
            _off(deviation=lambda s, t: s.beta[t] if t > 0 else 0),
        ),
        Misconception(
            "√β multiplies the noise, at the last step too",
            "Two things: the variance is β̃_t, not β_t; and at t = 0, where β̃ is 0, no noise is added: the "
            "result is what we want to see.",
            _off(deviation=lambda s, t: s.beta[t].sqrt()),
        ),
        Misconception(
            "at t = 0 the noise is not left out: alpha_bar[t−1] is then alpha_bar[−1], the last entry",
            "Python counts −1 from the end. Before step 0 nothing is lost, ᾱ = 1, so β̃_0 = 0 and no noise is "
            "added.",
            _off(
                deviation=lambda s, t: (
                    (1 - s.alpha_bar[t - 1]) / (1 - s.alpha_bar[t]) * s.beta[t]
                ).sqrt()
            ),
        ),
        Misconception(
            "at t = 0 noise of variance β_0 is added",
            "Before step 0 nothing is lost: ᾱ is 1 there, not ᾱ_0, so β̃_0 = 0. The last step gives the "
            "result, and no noise belongs on it.",
            _off(deviation=lambda s, t: _deviation(s, t) if t > 0 else s.beta[t].sqrt()),
        ),
        Misconception(
            "x_t is returned unchanged at t = 0",
            "β̃_0 = 0 says that no noise is added. But x_t at t = 0 has had one step of noise, and the mean "
            "takes it out.",
            _untouched_at_the_end,
        ),
        Misconception(
            "noise is left out at t = 1 already",
            "In the papers the last step is t = 1; in this course it is t = 0.",
            _off(deviation=lambda s, t: _deviation(s, t) if t > 1 else 0),
        ),
        Misconception(
            "no noise is added at all",
            "The mean alone is not a draw: the points would contract, and every sample would be too near the "
            "middle of what is possible.",
            _off(deviation=lambda s, t: 0),
        ),
        Misconception(
            "β̃ has ᾱ_t and ᾱ_{t−1} swapped",
            "1−ᾱ grows with t, so (1−ᾱ_{t−1})/(1−ᾱ_t) is below 1: knowing the clean point can only narrow "
            "the choice.",
            _off(deviation=lambda s, t: (s.beta[t] ** 2 / _variance(s, t)).sqrt() if t > 0 else 0),
        ),
        Misconception(
            "α_{t−1} stands where ᾱ_{t−1} belongs, in β̃",
            "1−ᾱ_{t−1} is the variance of all the noise before this step, 1−α_{t−1} that of one step alone.",
            _off(
                deviation=lambda s, t: (
                    ((1 - s.alpha[t - 1]) / (1 - s.alpha_bar[t]) * s.beta[t]).sqrt() if t > 0 else 0
                )
            ),
        ),
        Misconception(
            "both ᾱ in β̃ are taken for α",
            "1−ᾱ is the variance of all the noise so far, and always grows with t; 1−α = β is that of one "
            "step alone. β̃ compares the former.",
            _off(deviation=lambda s, t: (1 - s.alpha[t - 1]).sqrt() if t > 0 else 0),
        ),
        Misconception(
            "t is off by one",
            "All tables are read at t itself, and t starts at 0; only ᾱ_{t−1} in β̃ is the entry before.",
            lambda schedule, eps, t, x_t, noise: _off(
                deviation=lambda s, step: _deviation(s, step) if t > 0 else 0
            )(schedule, eps, (t - 1) % schedule.T, x_t, noise),
        ),
        Misconception(
            "α stands where ᾱ belongs, in front of eps",
            "√(1−α_t) is the noise of this step alone, eps the noise of all steps so far: √(1−ᾱ_t).",
            _off(of_eps=lambda s, t: s.beta[t].sqrt()),
        ),
        Misconception(
            "eps is added instead of subtracted",
            "The model says which noise is in x_t. Going back means taking it out.",
            _off(of_eps=lambda s, t: -_of_eps(s, t)),
        ),
        Misconception(
            "eps is divided by √ᾱ where √(1−ᾱ) is meant",
            "1−ᾱ_t is the variance of the noise, ᾱ_t that of the signal. The share of this step in all the "
            "noise is β_t/(1−ᾱ_t).",
            _off(of_eps=lambda s, t: s.beta[t] / s.alpha_bar[t].sqrt()),
        ),
        Misconception(
            "the root of 1−ᾱ is missing",
            "β_t/(1−ᾱ_t) is this step's share in the variance of all the noise. The noise itself is "
            "√(1−ᾱ_t) eps, and of the product one root is left.",
            _off(of_eps=lambda s, t: s.beta[t] / (1 - s.alpha_bar[t])),
        ),
        Misconception(
            "√β stands in front of eps, where β belongs",
            "This step's share in the variance of all the noise is β_t/(1−ᾱ_t), without a root; times the "
            "noise √(1−ᾱ_t) eps that makes β_t/√(1−ᾱ_t).",
            _off(of_eps=lambda s, t: (s.beta[t] / (1 - s.alpha_bar[t])).sqrt()),
        ),
        Misconception(
            "√(1−ᾱ) eps is taken out: all the noise, where one step's share is meant",
            "A single step takes out β_t/√(1−ᾱ_t) of eps. The rest is for the steps to come.",
            _off(of_eps=lambda s, t: (1 - s.alpha_bar[t]).sqrt()),
        ),
        Misconception(
            "the bracket is divided by √ᾱ instead of √α",
            "One step forward multiplied by √α_t, so one step back divides by that. √ᾱ_t belongs to the jump "
            "from x_0.",
            _off(divisor=lambda s, t: s.alpha_bar[t].sqrt()),
        ),
        Misconception(
            "the bracket is divided by α instead of √α",
            "One step forward multiplied by √α_t, with a root.",
            _off(divisor=lambda s, t: s.alpha[t]),
        ),
        Misconception(
            "the bracket is not divided by √α",
            "Each step forward shrank the point by √α_t. Without the division the samples end far too near "
            "the origin.",
            _off(divisor=lambda s, t: 1),
        ),
        Misconception(
            "only x_t is divided by √α, not the whole bracket",
            "First this step's share of the noise is taken out of x_t, then what is left is stretched by 1/√α_t. "
            "Put the difference in parentheses.",
            _only_x_t_divided,
        ),
        Misconception(
            "the bracket is multiplied by √α instead of divided",
            "Forward is a multiplication by √α_t, so backward is a division.",
            _off(divisor=lambda s, t: 1 / s.alpha[t].sqrt()),
        ),
        Misconception(
            "the noise is inside the bracket, so it is divided by √α too",
            "β̃_t is the variance of x_{t−1} itself: add the noise after the division.",
            _noise_in_the_bracket,
        ),
        Misconception(
            "the noise is subtracted",
            "As a draw that is just as good, since −noise is as normal as noise. Add it all the same, so "
            "that runs with the same noise can be compared.",
            lambda schedule, eps, t, x_t, noise: _off()(schedule, eps, t, x_t, -noise),
        ),
        Misconception(
            "the model's eps serves as the fresh noise, too",
            "eps is the noise in x_t, found by the model. The noise that is added is another, independent "
            "of it.",
            lambda schedule, eps, t, x_t, noise: _off()(schedule, eps, t, x_t, eps),
        ),
        Misconception(
            "the clean point is guessed and noised again up to t−1",
            "That draws from q(x_{t−1} | x̂_0), as if only x̂_0 were known. But x_t is known, too: the posterior "
            "stays closer to it, and has the smaller variance β̃_t.",
            _onto_the_clean_point,
        ),
        Misconception(
            "the model's eps is put back in place of fresh noise, as DDIM does",
            "DDIM, as it is mostly used, is not random: a good sampler, but another one. Here noise of variance "
            "β̃_t is added.",
            lambda schedule, eps, t, x_t, noise: _onto_the_clean_point(schedule, eps, t, x_t, eps),
        ),
        Misconception(
            "it jumps to the clean point",
            "That is the model's x̂_0. One step goes only to x_{t−1}, a little of the way.",
            _clean_point,
        ),
    ),
    hints=(
        "Two parts: the mean, for which everything is read at t; and noise times a deviation.",
        "The deviation is the root of β̃, which needs ᾱ of the step before, schedule.alpha_bar[t - 1]. What "
        "does that index mean at t = 0, and what should β̃ be there?",
        "beta, share = schedule.beta[t], schedule.alpha_bar[t]; "
        "mean = (x_t - beta / (1 - share).sqrt() * eps) / (1 - beta).sqrt(). Where t == 0, return the mean; "
        "elsewhere before = schedule.alpha_bar[t - 1], and "
        "mean + ((1 - before) / (1 - share) * beta).sqrt() * noise.",
    ),
    success=(
        "The same point as by way of chapter 03: guess x̂_0 from eps, then take the posterior q(x_{t−1} | x_t, "
        "x̂_0). The check computed it that way, so you have just measured that the two are equal."
    ),
)
