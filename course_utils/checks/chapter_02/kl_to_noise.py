"""02.6: how far the end of the chain is from pure noise."""

import torch

from course_utils.checks.chapter_02.closed_form import OFF_BY_ONE, SWAPPED
from course_utils.checks.chapter_02.material import UNEVEN, pixels
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import Schedule, from_beta, linear


def _terms(schedule: Schedule, x0: torch.Tensor, t: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The squared mean of every pixel, and the variance that all share, in float64."""
    return schedule.alpha_bar[t] * x0.double() ** 2, schedule.one_minus_alpha_bar[t]


def _total(each_pixel: torch.Tensor) -> torch.Tensor:
    return each_pixel.sum((1, 2, 3)) / 2


def _kl(schedule, x0, t):
    squared_mean, variance = _terms(schedule, x0, t)
    return _total(squared_mean + variance - 1 - torch.log(variance))


def _deviation_for_variance(schedule, x0, t):
    squared_mean, variance = _terms(schedule, x0, t)
    deviation = variance.sqrt()
    return _total(squared_mean + deviation - 1 - torch.log(deviation))


def _log_of_deviation(schedule, x0, t):
    squared_mean, variance = _terms(schedule, x0, t)
    return _total(squared_mean + variance - 1 - torch.log(variance.sqrt()))


def _log_added(schedule, x0, t):
    squared_mean, variance = _terms(schedule, x0, t)
    return _total(squared_mean + variance - 1 + torch.log(variance))


def _mean_not_squared(schedule, x0, t):
    _, variance = _terms(schedule, x0, t)
    return _total(schedule.alpha_bar[t].sqrt() * x0.double() + variance - 1 - torch.log(variance))


def _mean_not_shrunk(schedule, x0, t):
    _, variance = _terms(schedule, x0, t)
    return _total(x0.double() ** 2 + variance - 1 - torch.log(variance))


def _other_way_round(schedule, x0, t):
    squared_mean, variance = _terms(schedule, x0, t)
    return _total((1 + squared_mean) / variance - 1 + torch.log(variance))


def _mean_without_root(schedule, x0, t):
    squared_mean, variance = _terms(schedule, x0, t)
    return _total(schedule.alpha_bar[t] * squared_mean + variance - 1 - torch.log(variance))


def _variance_squared(schedule, x0, t):
    squared_mean, variance = _terms(schedule, x0, t)
    return _total(squared_mean + variance**2 - 1 - torch.log(variance**2))


def _constants_once(schedule, x0, t):
    squared_mean, variance = _terms(schedule, x0, t)
    return (squared_mean.sum((1, 2, 3)) + variance - 1 - torch.log(variance)) / 2


def _swapped(schedule, x0, t):
    mean_squared, variance = (1 - schedule.alpha_bar[t]) * x0.double() ** 2, schedule.alpha_bar[t]
    return _total(mean_squared + variance - 1 - torch.log(variance))


def _alpha_for_alpha_bar(schedule, x0, t):
    mean_squared, variance = schedule.alpha[t] * x0.double() ** 2, schedule.beta[t]
    return _total(mean_squared + variance - 1 - torch.log(variance))


def _pixels_of(x0: torch.Tensor) -> int:
    return x0[0].numel()


EXERCISE = Exercise(
    id="02.6",
    title="How much the end still knows",
    difficulty=2,
    minutes=10,
    reference=_kl,
    returns=("kl",),
    cases=lambda: (
        Case(
            "ten uneven steps, x0 of shape [4, 3, 8, 8] at t = 1",
            (from_beta(UNEVEN), pixels(31, 4, 3, 8, 8), 1),
        ),
        Case(
            "ten uneven steps, x0 of shape [3, 1, 5, 7] at t = 6",
            (from_beta(UNEVEN), pixels(32, 3, 1, 5, 7), 6),
        ),
        Case(
            "1000 linear steps, x0 of shape [2, 3, 16, 16] at t = 100",
            (linear(), pixels(33, 2, 3, 16, 16), 100),
        ),
        Case(
            "1000 linear steps, x0 of shape [2, 3, 16, 16] at t = 999",
            (linear(), pixels(33, 2, 3, 16, 16), 999),
        ),
    ),
    rtol=1e-3,
    atol=1e-4,
    misconceptions=(
        Misconception(
            "the deviation stands where the variance belongs",
            "σ² is 1−ᾱ_t itself; √(1−ᾱ_t) is σ, which multiplies eps but does not stand in the KL.",
            _deviation_for_variance,
        ),
        Misconception(
            "the logarithm is of σ instead of σ²",
            "½ log σ² = log σ: in the form with ½ in front, the variance is inside the logarithm.",
            _log_of_deviation,
        ),
        Misconception(
            "the factor ½ is missing",
            "It comes from the ½ in the exponent of the normal density, and multiplies all four terms.",
            lambda schedule, x0, t: 2 * _kl(schedule, x0, t),
        ),
        Misconception(
            "the sign of the logarithm is wrong",
            "A narrow distribution is far from N(0, 1), so −log σ² must grow as σ² goes to 0. A KL "
            "is never negative.",
            _log_added,
        ),
        Misconception(
            "the mean is not squared",
            "A pixel of −0.5 is as far from 0 as one of +0.5: the distance enters as μ².",
            _mean_not_squared,
        ),
        Misconception(
            "the image is not shrunk: μ is x0 instead of √ᾱ x0",
            "At step t the image has faded to √ᾱ_t x0. That fading is why the KL can go to 0 at all.",
            _mean_not_shrunk,
        ),
        Misconception(
            "the mean is ᾱ x0 instead of √ᾱ x0",
            "The root is forgotten: μ = √ᾱ x0. Its square, ᾱ x0², stands in the KL.",
            _mean_without_root,
        ),
        Misconception(
            "the variance is (1−ᾱ)² instead of 1−ᾱ",
            "1−ᾱ_t is the variance already. A deviation, such as Normal's scale, is √(1−ᾱ_t).",
            _variance_squared,
        ),
        Misconception(
            "σ² − 1 − ln σ² is added once instead of for every pixel",
            "Each pixel has all four terms, though three of them are the same for all. Add first, "
            "then sum.",
            _constants_once,
        ),
        Misconception(*OFF_BY_ONE, lambda schedule, x0, t: _kl(schedule, x0, t - 1)),
        Misconception(*SWAPPED, _swapped),
        Misconception(
            "the divergence is taken the other way round, from N(0, 1) to q",
            "KL(q‖p) and KL(p‖q) differ. Here it is q(x_t|x_0) that is averaged over.",
            _other_way_round,
        ),
        Misconception(
            "α stands where ᾱ belongs",
            "q(x_t|x_0) has all steps 0 … t behind it: mean √ᾱ_t x_0 and variance 1−ᾱ_t.",
            _alpha_for_alpha_bar,
        ),
        Misconception(
            "the pixels are averaged instead of summed",
            "Independent pixels each add their own KL; the image's is the sum over channels, rows "
            "and columns.",
            lambda schedule, x0, t: _kl(schedule, x0, t) / _pixels_of(x0),
        ),
        Misconception(
            "the batch is summed as well",
            "Each image has a KL of its own: sum over the last three axes and keep the first, [B].",
            lambda schedule, x0, t: _kl(schedule, x0, t).sum(),
        ),
        Misconception(
            "the answer is in bits instead of nats",
            "Use the natural logarithm, torch.log; a nat is 1.44 bits.",
            lambda schedule, x0, t: _kl(schedule, x0, t) / torch.log(torch.tensor(2.0)),
        ),
    ),
    hints=(
        (
            "Name the two things that the formula needs, for one pixel: μ² and σ². Which schedule "
            "tables hold them?"
        ),
        "μ² = ᾱ_t x0², one number a pixel; σ² = 1−ᾱ_t, the same for all. Then add up axes 1, 2 and 3.",
        "a = schedule.alpha_bar[t]; v = 1 - a; then "
        "0.5 * (a * x0**2 + v - 1 - torch.log(v)).sum(dim=(1, 2, 3)).",
    ),
    success=(
        "This is the ELBO's prior term: nothing in it is learned, so the schedule alone must make it small."
    ),
)
