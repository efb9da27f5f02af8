"""03.1: the product of two Gaussian densities is a Gaussian density, up to a factor."""

import torch

from course_utils.checks.exercise import Case, Exercise, Misconception


def _combine(m1, v1, m2, v2):
    gain = v1 / (v1 + v2)  # how far the second witness moves the first
    return m1 + gain * (m2 - m1), (1 - gain) * v1


def _mean(m1, v1, m2, v2):
    return _combine(m1, v1, m2, v2)[0]


def _variance(m1, v1, m2, v2):
    return _combine(m1, v1, m2, v2)[1]


def _weighted(weight1, weight2, m1, m2):
    return (weight1 * m1 + weight2 * m2) / (weight1 + weight2)


def _case(says, *rows):
    return Case(says, tuple(torch.tensor(row, dtype=torch.float64) for row in rows))


EXERCISE = Exercise(
    id="03.1",
    title="Two witnesses",
    difficulty=1,
    minutes=10,
    reference=_combine,
    returns=("mean", "variance"),
    cases=lambda: (
        _case("one pair, N(0, 1) and N(3, 0.5)", [0.0], [1.0], [3.0], [0.5]),
        _case(
            "four pairs: m1 = [0, 1, −2, 5], v1 = [1, 4, 0.25, 2], m2 = [0.5, −1, −2, 1], "
            "v2 = [1, 0.1, 3, 2]",
            *([0.0, 1.0, -2.0, 5.0], [1.0, 4.0, 0.25, 2.0]),
            *([0.5, -1.0, -2.0, 1.0], [1.0, 0.1, 3.0, 2.0]),
        ),
        _case(
            "a sure witness, N(−1, 0.04), and one who hardly knows, N(7, 400)",
            *([-1.0], [0.04], [7.0], [400.0]),
        ),
        _case(
            "pairs of shape [2, 3]",
            *([[0.3, -0.8, 1.1], [2.0, 0.0, -3.0]], [[0.2, 0.6, 1.5], [0.7, 3.0, 0.05]]),
            *([[0.9, 0.4, -1.0], [-2.0, 1.0, -2.5]], [[0.5, 0.1, 2.5], [0.3, 9.0, 0.4]]),
        ),
    ),
    misconceptions=(
        Misconception(
            "the mean is the plain average of the two means",
            "The surer witness must count for more: each mean is weighted by its precision, "
            "1 / variance.",
            lambda m1, v1, m2, v2: ((m1 + m2) / 2, _variance(m1, v1, m2, v2)),
        ),
        Misconception(
            "means and variances are both averaged",
            "Two witnesses who agree should leave you surer than either of them, and an average is "
            "never below both. It is the precisions, 1 / variance, that add.",
            lambda m1, v1, m2, v2: ((m1 + m2) / 2, (v1 + v2) / 2),
        ),
        Misconception(
            "each mean is weighted by its own variance",
            "Then the witness who knows least counts most. The weight is 1 / variance; over a common "
            "denominator m1 stands with v2, and m2 with v1.",
            lambda m1, v1, m2, v2: (_weighted(v1, v2, m1, m2), _variance(m1, v1, m2, v2)),
        ),
        Misconception(
            "the means are weighted by 1 / deviation",
            "In the exponent stands (x−m)²/2v: the factor of m is 1/v, with the variance and without "
            "a root.",
            lambda m1, v1, m2, v2: (
                _weighted(v1**-0.5, v2**-0.5, m1, m2),
                _variance(m1, v1, m2, v2),
            ),
        ),
        Misconception(
            "v1 and v2 are squared, as if they were deviations",
            "v1 and v2 are variances already: the precisions are 1/v1 and 1/v2.",
            lambda m1, v1, m2, v2: _combine(m1, v1**2, m2, v2**2),
        ),
        Misconception(
            "the variances are added",
            "Variances add for a sum of two random numbers. Here two densities are multiplied, and "
            "the precisions add, so the result is narrower than either.",
            lambda m1, v1, m2, v2: (_mean(m1, v1, m2, v2), v1 + v2),
        ),
        Misconception(
            "the two random numbers are added, not their densities multiplied",
            "x1 + x2 would have mean m1 + m2 and variance v1 + v2. Here both densities speak about "
            "one and the same x.",
            lambda m1, v1, m2, v2: (m1 + m2, v1 + v2),
        ),
        Misconception(
            "the two densities are averaged instead of multiplied",
            "Mean and variance are those of the mixture, which says: one of them is right, nobody "
            "knows which. The product says: both are.",
            lambda m1, v1, m2, v2: ((m1 + m2) / 2, (v1 + v2) / 2 + (m1 - m2) ** 2 / 4),
        ),
        Misconception(
            "the precision is returned instead of the variance",
            "1/v1 + 1/v2 is the precision of the result. Its variance is one over that.",
            lambda m1, v1, m2, v2: (_mean(m1, v1, m2, v2), 1 / v1 + 1 / v2),
        ),
        Misconception(
            "the deviation is returned instead of the variance",
            "Take the root away: 1 / (1/v1 + 1/v2) is the variance itself.",
            lambda m1, v1, m2, v2: (_mean(m1, v1, m2, v2), _variance(m1, v1, m2, v2) ** 0.5),
        ),
        Misconception(
            "the variance is twice too large",
            "A Gaussian's exponent is −(x−m)²/2v, with a 2. Half the sum of the precisions stands "
            "before x², and it equals 1/2v, not 1/v.",
            lambda m1, v1, m2, v2: (_mean(m1, v1, m2, v2), 2 * _variance(m1, v1, m2, v2)),
        ),
        Misconception(
            "mean and variance are both twice too large",
            "In −½(P x² − 2 Q x) the ½ stands outside: the precision is P, not P/2, and the mean is "
            "Q/P.",
            lambda m1, v1, m2, v2: tuple(2 * part for part in _combine(m1, v1, m2, v2)),
        ),
        Misconception(
            "m1/v1 + m2/v2 is returned as the mean",
            "That is mean / variance, what stands before x in the exponent. Multiply it by the new "
            "variance.",
            lambda m1, v1, m2, v2: (m1 / v1 + m2 / v2, _variance(m1, v1, m2, v2)),
        ),
        Misconception(
            "the variances are multiplied and not divided by their sum",
            "1 / (1/v1 + 1/v2) is v1 v2 / (v1 + v2). A product of two variances is no variance: its "
            "unit would be that of x to the fourth.",
            lambda m1, v1, m2, v2: (_mean(m1, v1, m2, v2), v1 * v2),
        ),
        Misconception(
            "mean and variance have changed places",
            "The exercise asks for the mean first: return mean, variance.",
            lambda m1, v1, m2, v2: _combine(m1, v1, m2, v2)[::-1],
        ),
    ),
    hints=(
        "Add the two exponents, −(x−m1)²/2v1 and −(x−m2)²/2v2, multiply out, and sort by x², x and the rest.",
        "You have −½(P x² − 2 Q x) + rest, with P = 1/v1 + 1/v2 and Q = m1/v1 + m2/v2. A Gaussian N(m, v) "
        "has P = 1/v and Q = m/v.",
        "variance = 1 / (1/v1 + 1/v2); mean = variance * (m1/v1 + m2/v2).",
    ),
    success=(
        "Precisions add, and each witness counts by its own: 0 and 4 give m = 2 and half the variance, however "
        "badly they disagree. Bayes' rule for Gaussians is always this one computation."
    ),
)
