"""03.2: the variance of q(x_{t−1} | x_t, x_0), for every t."""

import torch

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import Schedule, from_beta, linear


def _posterior_variance(schedule: Schedule):
    """Precisions add, with the noise before each step followed along the chain."""
    variances, noise = [], 0.0
    for beta in schedule.beta.tolist():
        variances.append(1 / ((1 - beta) / beta + 1 / noise) if noise else 0.0)
        noise = (1 - beta) * noise + beta
    return torch.tensor(variances, dtype=torch.float64)


def _before(share: torch.Tensor, first: float = 1.0) -> torch.Tensor:
    """The table one step earlier, with `first` for the clean image."""
    return torch.cat([torch.full_like(share[:1], first), share[:-1]])


def _from_shares(schedule, before, after):
    return schedule.beta * (1 - before) / (1 - after)


def _wrapped(schedule):
    return _from_shares(schedule, schedule.alpha_bar.roll(1), schedule.alpha_bar)


def _first_at_0_is(first):
    def wrong(schedule):
        return _from_shares(schedule, _before(schedule.alpha_bar, first), schedule.alpha_bar)

    return wrong


def _swapped(schedule):
    return _from_shares(schedule, schedule.alpha_bar, _before(schedule.alpha_bar))


def _swapped_after_0(schedule):
    variance = _swapped(schedule)
    variance[0] = 0.0
    return variance


def _clipped(schedule):
    variance = _posterior_variance(schedule)
    variance[0] = variance[1]
    return variance


def _roots(schedule):
    root = schedule.alpha_bar.sqrt()
    return _from_shares(schedule, _before(root), root)


def _no_fading(schedule):
    return 1 / (1 / schedule.beta + 1 / (1 - _before(schedule.alpha_bar)))


EXERCISE = Exercise(
    id="03.2",
    title="How sure one is on the way back",
    difficulty=1,
    minutes=5,
    reference=_posterior_variance,
    returns=("variance",),
    atol=1e-7,  # the first variances of the linear schedule are 0.00005
    cases=lambda: (
        Case("ten uneven values of beta", (from_beta(UNEVEN),)),
        Case("four steps, beta = [0.1, 0.2, 0.3, 0.4]", (from_beta([0.1, 0.2, 0.3, 0.4]),)),
        Case("50 times beta = 0.02", (from_beta([0.02] * 50),)),
        Case("the linear schedule with T = 1000", (linear(1000),)),
        Case("a single step, beta = [0.5]", (from_beta([0.5]),)),
    ),
    misconceptions=(
        Misconception(
            "β_t comes out as it is",
            "β_t is the variance of the step forwards. Going back you also know x_0, so you are "
            "surer: multiply by (1−ᾱ_{t−1})/(1−ᾱ_t), which is below 1. (If you did multiply: with "
            "ᾱ_t in place of ᾱ_{t−1} the fraction is 1.)",
            lambda schedule: schedule.beta,
        ),
        Misconception(
            "ᾱ_t and ᾱ_{t−1} have changed places",
            "There is less noise before the step than after it: 1−ᾱ_{t−1} is the smaller one and "
            "stands above the line. At t = 0 it is 0.",
            _swapped,
        ),
        Misconception(
            "ᾱ_t and ᾱ_{t−1} have changed places, with a 0 put in front",
            "The 0 at t = 0 is right, and would come by itself: 1−ᾱ_{t−1}, the smaller one, stands "
            "above the line.",
            _swapped_after_0,
        ),
        Misconception(
            "at t = 0, alpha_bar[t − 1] or roll has fetched the last ᾱ",
            "Index −1 is the end of a table. Before step 0 the image is clean, ᾱ = 1: put a 1 in "
            "front, as torch.cat([torch.ones(1), alpha_bar[:-1]]) does.",
            _wrapped,
        ),
        Misconception(
            "at t = 0 β_0 comes out, as if ᾱ before the step were ᾱ_0",
            "Nothing was lost before step 0, so there ᾱ = 1. x_{t−1} at t = 0 is the given x_0 "
            "itself: its variance is 0.",
            lambda schedule: _first_at_0_is(schedule.alpha_bar[0].item())(schedule),
        ),
        Misconception(
            "before step 0, ᾱ is taken as 0",
            "ᾱ is what is left of the image, and before step 0 that is all of it: ᾱ = 1. The noise "
            "so far, 1−ᾱ, is what is 0 there.",
            _first_at_0_is(0.0),
        ),
        Misconception(
            "the variance at t = 0 is replaced by the one at t = 1",
            "Ho's code does this before it takes a logarithm, because log 0 is −∞. The variance "
            "itself is 0 at t = 0.",
            _clipped,
        ),
        Misconception(
            "there is one entry too few: t = 0 is missing",
            "One number for each t = 0 … T−1. At t = 0 the variance is 0, because x_{t−1} is then "
            "x_0, and that is given.",
            lambda schedule: _posterior_variance(schedule)[1:],
        ),
        Misconception(
            "the deviation is returned instead of the variance",
            "β̃_t is the variance; its root, by which noise is multiplied, is taken in the sampler.",
            lambda schedule: _posterior_variance(schedule).sqrt(),
        ),
        Misconception(
            "the logarithm of the variance is returned",
            "Programs often keep log β̃_t, and then have to clip log 0 at t = 0. Here the variance "
            "itself is asked for.",
            lambda schedule: _posterior_variance(schedule).log(),
        ),
        Misconception(
            "the precision is returned instead of the variance",
            "α_t/β_t + 1/(1−ᾱ_{t−1}) is what the two witnesses add up to. The variance is one over "
            "it.",
            lambda schedule: 1 / _posterior_variance(schedule),
        ),
        Misconception(
            "α stands where ᾱ belongs",
            "1−α_{t−1} is the noise of one step alone. So the formula collapses to β_{t−1}; the noise "
            "of all steps so far is 1−ᾱ.",
            lambda schedule: _from_shares(schedule, _before(schedule.alpha), schedule.alpha),
        ),
        Misconception(
            "the `1 −` is missing: ᾱ stands where 1−ᾱ belongs",
            "ᾱ is what is left of the image. What makes x_{t−1} uncertain is the noise, 1−ᾱ.",
            lambda schedule: schedule.beta * _before(schedule.alpha_bar) / schedule.alpha_bar,
        ),
        Misconception(
            "√ᾱ stands where ᾱ belongs",
            "√ᾱ multiplies the image in a mean. Variances hold ᾱ without a root: 1−ᾱ_t.",
            _roots,
        ),
        Misconception(
            "β_t is missing",
            "(1−ᾱ_{t−1})/(1−ᾱ_t) is only a share. It says which part of the step's own variance β_t "
            "is left once x_0 is known.",
            lambda schedule: _posterior_variance(schedule) / schedule.beta,
        ),
        Misconception(
            "the precision of the step is taken as 1/β_t instead of α_t/β_t",
            "x_t = √α_t x_{t−1} + noise, and x_{t−1} is what we ask about: (x_t − √α_t x_{t−1})² "
            "holds α_t x_{t−1}².",
            _no_fading,
        ),
    ),
    hints=(
        "You need ᾱ_{t−1} for every t. Which number is it at t = 0, where x_{t−1} is the clean image?",
        "Build a second table, one step behind alpha_bar: T numbers, a 1 in front, the last one dropped.",
        "before = torch.cat([torch.ones(1), schedule.alpha_bar[:-1]]); then "
        "schedule.beta * (1 - before) / (1 - schedule.alpha_bar).",
    ),
    success=(
        "0 at t = 0, where x_{t−1} is the given x_0; under Ho's linear schedule above 0.9 β_t from t = 15 on: "
        "once there is noise, knowing x_0 hardly narrows down a single step. On paper: 0, 0.071, 0.169."
    ),
)
