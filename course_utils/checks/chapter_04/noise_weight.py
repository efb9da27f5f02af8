"""04.3: the weight of the noise's error in L_t, which L_simple drops."""

import torch

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import cosine, from_beta, linear


def _weights(schedule):
    """Half of what SNR(t−1)/SNR(t) is above 1: by how much the step lowers the signal-to-noise ratio."""
    snr = schedule.alpha_bar / schedule.one_minus_alpha_bar
    return (snr[:-1] / snr[1:] - 1) / 2


def _built(factor=2, power=2, alpha="alpha", noise=None, sigma2=None, steps=slice(1, None)):
    """β^power / (factor · σ² · α · noise), with other formulas for some of its parts.

    `noise` and `sigma2` are functions of (β, 1−ᾱ_t, 1−ᾱ_{t−1}); `steps` says which t are returned.
    """

    def wrong(schedule):
        now = schedule.one_minus_alpha_bar
        before = torch.cat([torch.zeros(1, dtype=now.dtype), now[:-1]])
        given = (schedule.beta, now, before)
        variance = schedule.beta * before / now if sigma2 is None else sigma2(*given)
        scale = torch.ones_like(now) if alpha is None else getattr(schedule, alpha)
        spread = now if noise is None else noise(*given)
        return (schedule.beta**power / (factor * variance * scale * spread))[steps]

    return wrong


def _gap_not_squared(schedule):
    now, beta = schedule.one_minus_alpha_bar, schedule.beta
    gap = (beta / (schedule.alpha * now).sqrt())[1:]
    return gap / (2 * beta[1:] * now[:-1] / now[1:])


def _table_turned_round(schedule):
    """All T, with ᾱ_{t−1} of the step 0 from the end of the table."""
    before = 1 - torch.roll(schedule.alpha_bar, 1)
    return schedule.beta / (2 * schedule.alpha * before)


def _of_the_image(schedule):
    snr = schedule.alpha_bar / schedule.one_minus_alpha_bar
    return (snr[:-1] - snr[1:]) / 2


def _of_the_means(schedule):
    now = schedule.one_minus_alpha_bar
    return now[1:] / (2 * schedule.beta[1:] * now[:-1])


EXERCISE = Exercise(
    id="04.3",
    title="The weight that gets dropped",
    difficulty=2,
    minutes=10,
    reference=_weights,
    returns=("weight",),
    cases=lambda: (
        Case("β = (0.5, 0.2, 0.5)", (from_beta([0.5, 0.2, 0.5]),)),
        Case("ten uneven steps", (from_beta(UNEVEN),)),
        Case("50 cosine steps", (cosine(50),)),
        Case("1000 linear steps", (linear(1000),)),
    ),
    rtol=1e-3,  # in float32 the first 1−ᾱ_t of the linear schedule has an error of 6e-4
    misconceptions=(
        Misconception(
            "the factor 2 is missing",
            "Between Gaussians of one variance σ² the divergence is gap²/2σ²: the 2 stands below.",
            _built(factor=1),
        ),
        Misconception(
            "β is not squared",
            "The two means differ by β_t/√(α_t(1−ᾱ_t)) times the error of the noise, and the "
            "divergence has the square of that.",
            _built(power=1),
        ),
        Misconception(
            "the distance of the means is not squared",
            "The divergence is gap²/2σ²: the whole factor β_t/√(α_t(1−ᾱ_t)) of the gap is squared.",
            _gap_not_squared,
        ),
        Misconception(
            "√α stands where α belongs",
            "The factor 1/√α_t of the mean is squared like the rest of the gap, and becomes 1/α_t.",
            lambda schedule: _weights(schedule) * schedule.alpha[1:].sqrt(),
        ),
        Misconception(
            "ᾱ stands where α belongs",
            "The factor 1/√α_t of the mean undoes a single step, so its square is 1/α_t.",
            _built(alpha="alpha_bar"),
        ),
        Misconception(
            "α is missing",
            "The factor 1/√α_t before the mean's bracket is squared, too.",
            _built(alpha=None),
        ),
        Misconception(
            "1−ᾱ is missing",
            "eps stands in the mean with the factor β_t/√(1−ᾱ_t): squared, 1−ᾱ_t stands below.",
            _built(noise=lambda beta, now, before: torch.ones_like(now)),
        ),
        Misconception(
            "√(1−ᾱ) stands where 1−ᾱ belongs",
            "The factor of eps in the mean is squared, and with it its √(1−ᾱ_t).",
            _built(noise=lambda beta, now, before: now.sqrt()),
        ),
        Misconception(
            "ᾱ stands where 1−ᾱ belongs",
            "The noise in x_t has the variance 1−ᾱ_t; ᾱ_t is the share of the image.",
            _built(noise=lambda beta, now, before: 1 - now),
        ),
        Misconception(
            "β stands where β̃ belongs",
            "Here σ_t² is the posterior's own variance, β̃_t = β_t(1−ᾱ_{t−1})/(1−ᾱ_t), which is "
            "smaller than β_t: above all in the first steps. (In β/(2α(1−ᾱ)) it is the same mistake to "
            "take ᾱ_t: after the cancelling, 1−ᾱ_{t−1} is left.)",
            _built(sigma2=lambda beta, now, before: beta),
        ),
        Misconception(
            "the fraction in β̃ is upside down",
            "β̃_t = β_t(1−ᾱ_{t−1})/(1−ᾱ_t): the earlier one, which is smaller, is above, so that β̃_t "
            "is below β_t.",
            _built(sigma2=lambda beta, now, before: beta * now / before),
        ),
        Misconception(
            "the deviation σ stands where the variance σ² belongs",
            "The gap of the means is squared, so it is measured in σ².",
            _built(sigma2=lambda beta, now, before: (beta * before / now).sqrt()),
        ),
        Misconception(
            "σ² is 1−ᾱ",
            "1−ᾱ_t is how far x_t spreads around the image. The step back spreads by β̃_t only.",
            _built(sigma2=lambda beta, now, before: now),
        ),
        Misconception(
            "σ² is 1−ᾱ at t−1",
            "That is how far x_{t−1} spreads when only x_0 is known. Here x_t is known as well: β̃_t.",
            _built(sigma2=lambda beta, now, before: before),
        ),
        Misconception(
            "step 0 is there, too: T numbers, the first infinite",
            "β̃_0 = 0, as given x_0 nothing is left to guess: L_0 is no divergence. Begin at t = 1.",
            _built(steps=slice(None)),
        ),
        Misconception(
            "step 0 is there, too, with the weight 0: T numbers",
            "Begin at t = 1; there is no weight for t = 0, not even 0.",
            lambda schedule: torch.cat([torch.zeros(1), _weights(schedule)]),
        ),
        Misconception(
            "step 0 is there, too, with an ᾱ_{t−1} from the end of the table",
            "In Python alpha_bar[-1] is the last entry. L_t is a divergence only for t ≥ 1: T−1 "
            "numbers.",
            _table_turned_round,
        ),
        Misconception(
            "the weight is the one of the image's error",
            "(SNR(t−1) − SNR(t))/2 multiplies ‖x_0 − x̂_0‖². An error of the noise is √SNR(t) times as "
            "large: divide by SNR(t).",
            _of_the_image,
        ),
        Misconception(
            "the weight is the one of the means' error, 1/2σ²",
            "The means differ by β_t/√(α_t(1−ᾱ_t)) times the error of the noise. Its square is missing.",
            _of_the_means,
        ),
    ),
    hints=(
        "The two Gaussians have one variance, so their divergence is (gap of the means)²/2σ_t². By "
        "what factor is the gap larger than ε − ε_θ? See 04.2.",
        "β_t²/(2σ_t² α_t(1−ᾱ_t)), and with σ_t² = β_t(1−ᾱ_{t−1})/(1−ᾱ_t) one β_t and 1−ᾱ_t cancel.",
        "beta, alpha = schedule.beta[1:], schedule.alpha[1:]; before = 1 - schedule.alpha_bar[:-1]; then "
        "beta / (2 * alpha * before).",
    ),
    success=(
        "On paper: 0.25 and 0.8333. It is also ½(SNR(t−1)/SNR(t) − 1): a step counts for what it "
        "costs in signal-to-noise ratio."
    ),
)
