"""04.1: the divergence of two Gaussians, number by number."""

import math

import torch

from course_utils.checks.chapter_02.material import normal
from course_utils.checks.exercise import Case, Exercise, Misconception


def _kl(mean1, variance1, mean2, variance2):
    """What it costs to code the first with the second in mind, less what it costs at best."""
    m1, v1, m2, v2 = (a.double() for a in (mean1, variance1, mean2, variance2))
    cross_entropy = (torch.log(2 * math.pi * v2) + ((m1 - m2) ** 2 + v1) / v2) / 2
    return cross_entropy - (torch.log(2 * math.pi * v1) + 1) / 2


def _cases() -> tuple[Case, ...]:
    def case(says, mean1, variance1, mean2, variance2):
        numbers = (mean1, variance1, mean2, variance2)
        return Case(says, tuple(torch.as_tensor(a, dtype=torch.float32) for a in numbers))

    return (
        case(
            "five pairs, among them N(0, 1) and N(0.5, 2)",
            [0.0, 1.0, -2.0, 0.5, 3.0],
            [1.0, 0.25, 4.0, 0.01, 2.0],
            [0.5, -1.0, -2.0, 0.7, 0.0],
            [2.0, 1.0, 0.5, 0.04, 2.0],
        ),
        case("one Gaussian twice, N(0.3, 0.2)", [0.3], [0.2], [0.3], [0.2]),
        case(
            "tensors of shape [2, 3]",
            normal(1, 2, 3),
            normal(2, 2, 3).exp(),
            normal(3, 2, 3),
            normal(4, 2, 3).exp(),
        ),
        case("a narrow and a wide one", [1.0, 1.0], [1e-4, 9.0], [-1.0, -1.0], [9.0, 1e-4]),
    )


def _built(gap=None, ratio=None, log=None, constant=-1.0):
    """½ (gap + ratio − 1 − log) with another formula for some of its parts, each of (m1, v1, m2, v2)."""

    def wrong(mean1, variance1, mean2, variance2):
        given = (mean1, variance1, mean2, variance2)
        squared = (mean1 - mean2) ** 2 / variance2 if gap is None else gap(*given)
        share = variance1 / variance2 if ratio is None else ratio(*given)
        logarithm = torch.log(variance1 / variance2) if log is None else log(*given)
        return (squared + share + constant - logarithm) / 2

    return wrong


def _with_ruler(share):
    """What the first variance becomes by the second one's ruler, wrong inside the logarithm and outside."""
    return _built(ratio=share, log=lambda *given: torch.log(share(*given)))


def _divided_by_variance(mean1, variance1, mean2, variance2):
    """y = (x − m2)/v2, and y's mean and variance put into the formula of chapter 02."""
    mean, variance = (mean1 - mean2) / variance2, variance1 / variance2**2
    return (mean**2 + variance - 1 - torch.log(variance)) / 2


def _half_of_the_first_term(mean1, variance1, mean2, variance2):
    ratio = variance1 / variance2
    return (mean1 - mean2) ** 2 / variance2 / 2 + ratio - 1 - torch.log(ratio)


def _of_deviations(mean1, variance1, mean2, variance2):
    return _kl(mean1, variance1.sqrt(), mean2, variance2.sqrt())


def _squared_variances(mean1, variance1, mean2, variance2):
    return _kl(mean1, variance1**2, mean2, variance2**2)


def _to_standard_normal(mean1, variance1, mean2, variance2):
    return _kl(mean1, variance1, torch.zeros_like(mean2), torch.ones_like(variance2))


EXERCISE = Exercise(
    id="04.1",
    title="The divergence of two Gaussians",
    difficulty=1,
    minutes=10,
    reference=_kl,
    returns=("kl",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the factor ½ is missing",
            "It comes from the ½ in the exponent of the normal density, and multiplies all four terms.",
            lambda *given: 2 * _kl(*given),
        ),
        Misconception(
            "the logarithm is of the deviations' ratio, with the ½ still in front of it",
            "½ log(v1/v2) = log(σ1/σ2): with ½ before the whole bracket, the variances are inside.",
            _built(log=lambda m1, v1, m2, v2: torch.log(v1 / v2) / 2),
        ),
        Misconception(
            "the logarithm is twice too large",
            "The textbook has log(σ2/σ1), which is ½ log(v2/v1).",
            _built(log=lambda m1, v1, m2, v2: 2 * torch.log(v1 / v2)),
        ),
        Misconception(
            "½ stands before the first term only",
            "½ stands before the whole bracket.",
            _half_of_the_first_term,
        ),
        Misconception(
            "the sign of the logarithm is wrong",
            "It is ratio − 1 − log ratio, whose smallest value is 0, where both variances are equal. "
            "With a plus it becomes negative, and no divergence is.",
            _built(log=lambda m1, v1, m2, v2: torch.log(v2 / v1)),
        ),
        Misconception(
            "the distance of the means is not squared",
            "To the left or to the right is the same: the distance enters as (m1 − m2)².",
            _built(gap=lambda m1, v1, m2, v2: (m1 - m2) / v2),
        ),
        Misconception(
            "the distance of the means is not measured in units of the second Gaussian",
            "A gap of 1 is a lot for a narrow Gaussian and nothing for a wide one: divide its square "
            "by the second variance.",
            _built(gap=lambda m1, v1, m2, v2: (m1 - m2) ** 2),
        ),
        Misconception(
            "the distance of the means is divided by the first variance",
            "The second Gaussian is the ruler: its variance stands under the square.",
            _built(gap=lambda m1, v1, m2, v2: (m1 - m2) ** 2 / v1),
        ),
        Misconception(
            "the squared distance is divided by the deviation",
            "A square belongs over a square: (m1 − m2)²/v2, which is ((m1 − m2)/σ2)².",
            _built(gap=lambda m1, v1, m2, v2: (m1 - m2) ** 2 / v2.sqrt()),
        ),
        Misconception(
            "the ratio of the variances is upside down",
            "It is v1/v2, outside the logarithm and inside: the variance of the first, in units of "
            "the second.",
            _with_ruler(lambda m1, v1, m2, v2: v2 / v1),
        ),
        Misconception(
            "the ratio outside the logarithm is upside down",
            "Inside the logarithm and outside stands the same v1/v2.",
            _built(ratio=lambda m1, v1, m2, v2: v2 / v1),
        ),
        Misconception(
            "σ² is v1, as if the ruler did not change it",
            "y = (x − m2)/σ2 has variance v1/v2: the first one's variance changes with the ruler.",
            _with_ruler(lambda m1, v1, m2, v2: v1),
        ),
        Misconception(
            "σ² is taken as v1/√v2",
            "Dividing x by σ2 divides its variance by σ2², which is v2.",
            _with_ruler(lambda m1, v1, m2, v2: v1 / v2.sqrt()),
        ),
        Misconception(
            "x is divided by v2 instead of √v2",
            "The ruler is the deviation √v2. Divided by v2, the second Gaussian would have the "
            "variance 1/v2, and not 1.",
            _divided_by_variance,
        ),
        Misconception(
            "the first variance is not measured in units of the second",
            "x/σ2 has variance v1/v2. Divide by v2 outside the logarithm, too.",
            _built(ratio=lambda m1, v1, m2, v2: v1),
        ),
        Misconception(
            "the logarithm is of the first variance alone",
            "In units of the second Gaussian the variance is v1/v2, inside the logarithm, too.",
            _built(log=lambda m1, v1, m2, v2: torch.log(v1)),
        ),
        Misconception(
            "the −1 is missing",
            "A Gaussian has the divergence 0 from itself: ratio 1, logarithm 0, and the −1 cancels "
            "the ratio.",
            _built(constant=0.0),
        ),
        Misconception(
            "only the distance of the means counts",
            "That is all where both variances are equal, as in the loss to come. Here they differ: "
            "ratio − 1 − log ratio is missing.",
            lambda m1, v1, m2, v2: (m1 - m2) ** 2 / v2 / 2,
        ),
        Misconception(
            "the divergence is taken the other way round, from the second to the first",
            "KL(q‖p) averages over q, the first. Exchanging them exchanges who is the ruler.",
            lambda m1, v1, m2, v2: _kl(m2, v2, m1, v1),
        ),
        Misconception(
            "the second Gaussian is taken to be N(0, 1)",
            "That is the formula of chapter 02. Measure the first in units of the second before you "
            "use it.",
            _to_standard_normal,
        ),
        Misconception(
            "the variances are taken for deviations",
            "The arguments are variances already. A function that wants a deviation, such as "
            "torch.distributions.Normal, needs their roots.",
            _squared_variances,
        ),
        Misconception(
            "deviations stand where the variances belong",
            "Nothing in this formula needs a root: variance1 and variance2 go in as they are.",
            _of_deviations,
        ),
        Misconception(
            "the logarithm is to base 2",
            "It comes from the exponents of the two densities, so it is the natural one: torch.log.",
            _built(log=lambda m1, v1, m2, v2: torch.log2(v1 / v2)),
        ),
        Misconception(
            "the answer is in bits instead of nats",
            "The natural logarithm gives nats; a nat is 1.44 bits.",
            lambda *given: _kl(*given) / math.log(2),
        ),
        Misconception(
            "all pairs are added up",
            "One number is wanted for each pair, in the shape of the arguments.",
            lambda *given: _kl(*given).sum(),
        ),
        Misconception(
            "all pairs are averaged",
            "One number is wanted for each pair, in the shape of the arguments.",
            lambda *given: _kl(*given).mean(),
        ),
    ),
    hints=(
        "Use the second Gaussian as a ruler: y = (x − m2)/σ2. What does it make of the second, and "
        "what mean and variance does y have under the first?",
        "Chapter 02's ½(μ² + σ² − 1 − log σ²) needs two things. Under the second, y is N(0, 1); under "
        "the first, y has mean (m1 − m2)/σ2 and variance … ?",
        "ratio = variance1 / variance2; then 0.5 * ((mean1 - mean2)**2 / variance2 + ratio - 1 - "
        "torch.log(ratio)).",
    ),
    success=(
        "With equal variances only (m1 − m2)²/2v is left, a squared error: that is how a bound on a "
        "likelihood becomes the loss of a regression."
    ),
)
