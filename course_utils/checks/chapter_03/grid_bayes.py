"""03.6: q(x_{t−1} | x_t) by Bayes' rule on a grid, for any density of x_{t−1}."""

import math
from collections.abc import Callable

import numpy as np
import torch

from course_utils.checks.exercise import Case, Exercise, Misconception


def _reverse_density(x, prior, x_t, beta):
    """In NumPy, through logarithms; the area by trapezoids."""
    with np.errstate(divide="ignore"):
        log = np.log(prior.numpy()) - (x_t - math.sqrt(1 - beta) * x.numpy()) ** 2 / (2 * beta)
    weight = np.exp(log - log.max())
    return torch.from_numpy(weight / np.trapezoid(weight, x.numpy()))


def _area(x, values):
    return values.sum() * (x[1] - x[0])


# The exponent of the step's Gaussian, from (x, x_t, beta).
Exponent = Callable[[torch.Tensor, float, float], torch.Tensor]


def _exponent(x, x_t, beta):
    return -((x_t - math.sqrt(1 - beta) * x) ** 2) / (2 * beta)


def _with(exponent: Exponent):
    def wrong(x, prior, x_t, beta):
        product = prior * torch.exp(exponent(x, x_t, beta))
        return product / _area(x, product)

    return wrong


def _bell(x, x_t, beta):
    """q(x_t | x_{t−1}), with its constant."""
    return torch.exp(_exponent(x, x_t, beta)) / math.sqrt(2 * math.pi * beta)


def _product(x, prior, x_t, beta):
    return prior * _bell(x, x_t, beta)


def _added(x, prior, x_t, beta):
    total = prior + _bell(x, x_t, beta)
    return total / _area(x, total)


def _likelihood(x, prior, x_t, beta):
    bell = _bell(x, x_t, beta)
    return bell / _area(x, bell)


def _sums_to_1(x, prior, x_t, beta):
    product = _product(x, prior, x_t, beta)
    return product / product.sum()


def _multiplied_by_spacing(x, prior, x_t, beta):
    return _sums_to_1(x, prior, x_t, beta) * (x[1] - x[0])


def _likelihood_made_a_density(x, prior, x_t, beta):
    return prior * _likelihood(x, prior, x_t, beta)


def _one_gap_too_many(x, prior, x_t, beta):
    return _sums_to_1(x, prior, x_t, beta) / ((x[-1] - x[0]) / len(x))


def _peak_at_1(x, prior, x_t, beta):
    product = _product(x, prior, x_t, beta)
    return product / product.max()


def _bumps(low, high, number, *bumps):
    """A grid, and a mixture of Gaussians on it: (weight, mean, deviation) of each."""
    x = torch.linspace(low, high, number, dtype=torch.float64)
    values = sum(w / s * torch.exp(-((x - m) ** 2) / (2 * s**2)) for w, m, s in bumps)
    return x, values / _area(x, values)


def _cases() -> tuple[Case, ...]:
    return (
        Case(
            "two bumps at −1 and 1, x_t = 0.3, beta = 0.3",
            (*_bumps(-5, 5, 401, (0.5, -1, 0.4), (0.5, 1, 0.4)), 0.3, 0.3),
        ),
        Case(
            "a high and a low bump, x_t = −0.5, beta = 0.1",
            (*_bumps(-6, 4, 501, (0.8, -1.5, 0.5), (0.2, 1, 0.3)), -0.5, 0.1),
        ),
        Case(
            "three bumps, x_t = 1, beta = 0.8, a coarser grid",
            (*_bumps(-12, 12, 241, (0.3, -2, 0.4), (0.4, 0.5, 0.4), (0.3, 2, 0.4)), 1.0, 0.8),
        ),
        Case(
            "one wide bump, x_t = 1.2, beta = 0.02",
            (*_bumps(-8, 8, 1601, (1.0, 0.5, 1.2)), 1.2, 0.02),
        ),
    )


EXERCISE = Exercise(
    id="03.6",
    title="Bayes on a grid",
    difficulty=3,
    minutes=15,
    reference=_reverse_density,
    returns=("density",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the product is not divided by its area",
            "Bayes' rule divides by q(x_t), and that is the area under the product. Without it you "
            "have the joint density q(x_{t−1}, x_t) along one line.",
            _product,
        ),
        Misconception(
            "prior times exponential is returned as it is, not divided by its area",
            "Factors that do not depend on x may be left out only if you divide by the area at the end.",
            lambda x, prior, x_t, beta: prior * torch.exp(_exponent(x, x_t, beta)),
        ),
        Misconception(
            "the values sum to 1, but their area is not 1",
            "A density has area 1: the sum of the values times the spacing of the grid. Divide by the "
            "spacing, x[1] - x[0], too.",
            _sums_to_1,
        ),
        Misconception(
            "it is multiplied by the spacing of the grid instead of divided by it",
            "Area = sum · spacing must be 1. So the values that sum to 1 are divided by the spacing.",
            _multiplied_by_spacing,
        ),
        Misconception(
            "the likelihood alone is divided by its area, and then multiplied by the prior",
            "Divide by the area under the product. It is the product that must have area 1.",
            _likelihood_made_a_density,
        ),
        Misconception(
            "the spacing of the grid is taken as (x[-1] - x[0]) / N",
            "N points have N − 1 gaps between them. The spacing is x[1] - x[0].",
            _one_gap_too_many,
        ),
        Misconception(
            "the peak is scaled to 1 instead of the area",
            "A narrow density is high: it is the area under it that is 1, not the height.",
            _peak_at_1,
        ),
        Misconception(
            "the prior is forgotten",
            "x_t alone speaks in your answer. Where x_{t−1} is likely to be in the first place, the "
            "prior says: multiply by it.",
            _likelihood,
        ),
        Misconception(
            "the prior is returned and x_t has no say",
            "Multiply the prior by q(x_t | x_{t−1}): how probable this x_t is from each x of the grid.",
            lambda x, prior, x_t, beta: prior / _area(x, prior),
        ),
        Misconception(
            "prior and likelihood are added instead of multiplied",
            "Both must hold at once, the prior and the step, and so the densities multiply.",
            _added,
        ),
        Misconception(
            "the mean of x_t is not shrunk: x stands where √(1−β) x belongs",
            "The step forwards fades before it adds noise: x_t is near √(1−β) x_{t−1}.",
            _with(lambda x, x_t, beta: -((x_t - x) ** 2) / (2 * beta)),
        ),
        Misconception(
            "the square root of 1−β is missing",
            "1−β is the share of variance that is kept; x itself is multiplied by √(1−β).",
            _with(lambda x, x_t, beta: -((x_t - (1 - beta) * x) ** 2) / (2 * beta)),
        ),
        Misconception(
            "the step is made from x_t to x, instead of from x to x_t",
            "q(x_t | x_{t−1}) has x_t as the noisy one: (x_t − √(1−β) x)². Yours makes one more step "
            "forwards, from x_t.",
            _with(lambda x, x_t, beta: -((x - math.sqrt(1 - beta) * x_t) ** 2) / (2 * beta)),
        ),
        Misconception(
            "x is divided by √(1−β) instead of multiplied",
            "x_t is near √(1−β) x, closer to 0 than x. Equally, x is near x_t/√(1−β), but then with "
            "the variance β/(1−β).",
            _with(lambda x, x_t, beta: -((x_t - x / math.sqrt(1 - beta)) ** 2) / (2 * beta)),
        ),
        Misconception(
            "as a bell over x it is given the variance β instead of β/(1−β)",
            "Its centre x_t/√(1−β) is right. Undoing the fading stretches the noise as well: the "
            "variance becomes β/(1−β).",
            _with(lambda x, x_t, beta: -((x - x_t / math.sqrt(1 - beta)) ** 2) / (2 * beta)),
        ),
        Misconception(
            "β is taken as the deviation of the noise",
            "β is the variance: the exponent is −(…)²/2β, and Normal's scale is √β.",
            _with(lambda x, x_t, beta: _exponent(x, x_t, beta) / beta),
        ),
        Misconception(
            "√β stands where the variance β belongs",
            "The exponent is −(…)²/2β, with the variance itself below the line.",
            _with(lambda x, x_t, beta: _exponent(x, x_t, beta) * math.sqrt(beta)),
        ),
        Misconception(
            "the 2 in the exponent is missing",
            "A Gaussian's exponent is −(…)²/2β. Without the 2 the bell has half the variance.",
            _with(lambda x, x_t, beta: 2 * _exponent(x, x_t, beta)),
        ),
        Misconception(
            "the minus sign in the exponent is missing",
            "Then the least probable x counts most, and the answer piles up at an edge of the grid.",
            _with(lambda x, x_t, beta: -_exponent(x, x_t, beta)),
        ),
        Misconception(
            "the variance of the noise is taken as 1−β",
            "The step keeps 1−β of the variance and adds β: below the line stands 2β.",
            _with(lambda x, x_t, beta: _exponent(x, x_t, beta) * beta / (1 - beta)),
        ),
    ),
    hints=(
        "For each x of the grid: how probable is it to start there (prior), and how probable is it to land "
        "at x_t from there? Multiply.",
        "The second is a Gaussian density in x_t with mean √(1−β) x and variance β. Its constant is the same "
        "for all x, so it cancels when you divide by the area.",
        "w = prior * torch.exp(-((x_t - math.sqrt(1 - beta) * x) ** 2) / (2 * beta)); then "
        "w / (w.sum() * (x[1] - x[0])).",
    ),
    success=(
        "Exact for any density, in one dimension. For the 3,072 numbers of a small image the grid would need "
        "more points than there are atoms: from here on it takes a network."
    ),
)
