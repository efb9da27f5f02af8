"""08.1: the clean image that a model sees in x_t, kept within the range of pixels, and the noise beside it."""

import numpy as np

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.chapter_05.material import points
from course_utils.checks.chapter_08.material import follow, root, share
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def _clipped_guess(schedule, eps, t, x_t):
    """What is out of range is cut off, and what was cut off is counted as noise."""
    left = share(schedule, t)
    seen = (np.asarray(x_t) - (1 - left) ** 0.5 * np.asarray(eps)) / left**0.5
    excess = np.maximum(seen - 1, 0) + np.minimum(seen + 1, 0)
    return seen - excess, np.asarray(eps) + (left / (1 - left)) ** 0.5 * excess


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, t, seed, *shape):
        numbers = points(seed, *shape), t, points(seed + 1, *shape)
        return Case(f"images of shape {list(shape)} at t = {t} of {says}", (schedule, *numbers))

    return (
        case("ten uneven steps", from_beta(UNEVEN), 2, 11, 3, 2, 4, 5),
        case("ten uneven steps", from_beta(UNEVEN), 5, 13, 2, 1, 4, 4),
        case("1000 linear steps", linear(1000), 300, 15, 2, 3, 4, 4),
        case("ten uneven steps, the last one that is made", from_beta(UNEVEN), 0, 17, 4, 1, 2, 3),
    )


RECIPE = {
    "share": lambda n: share(n.schedule, n.t),
    "signal": lambda n: root(n.share),
    "noise": lambda n: root(1 - n.share),
    "seen": lambda n: (n.x_t - n.noise * n.eps) / n.signal,
    "x0": lambda n: n.seen.clamp(-1, 1),
    "beside": lambda n: (n.x_t - n.signal * n.x0) / n.noise,
}


def _off(**slips):
    def wrong(schedule, eps, t, x_t):
        given = {"schedule": schedule, "eps": eps, "t": t, "x_t": x_t}
        n = follow(RECIPE, given, slips)
        return n.x0, n.beside

    return wrong


def _of_clipped_eps(n):
    return (n.x_t - n.noise * n.eps.clamp(-1, 1)) / n.signal


EXERCISE = Exercise(
    id="08.1",
    title="The guess, clipped",
    difficulty=1,
    minutes=10,
    reference=_clipped_guess,
    returns=("x0", "eps"),
    cases=_cases,
    misconceptions=(
        Misconception(
            "ε is clipped instead of x̂_0",
            "Pixels lie in [−1, 1], noise does not: a third of all normal numbers is beyond ±1. Cutting those "
            "off falsifies a good answer, and x̂_0 is still out of range.",
            _off(seen=_of_clipped_eps, x0=lambda n: n.seen),
        ),
        Misconception(
            "ε is clipped as well as x̂_0",
            "Pixels lie in [−1, 1], noise does not: a third of all normal numbers is beyond ±1. Clip x̂_0 alone.",
            _off(seen=_of_clipped_eps),
        ),
        Misconception(
            "the noise beside x̂_0 is clipped, too",
            "Where x̂_0 was cut, its noise takes up what is left of x_t, and may well be beyond ±1.",
            _off(beside=lambda n: ((n.x_t - n.signal * n.x0) / n.noise).clamp(-1, 1)),
        ),
        Misconception(
            "x_t is clipped instead of x̂_0",
            "x_t is image and noise, and rightly reaches beyond ±1. Only the clean image is known to lie "
            "within.",
            _off(
                seen=lambda n: (n.x_t.clamp(-1, 1) - n.noise * n.eps) / n.signal,
                x0=lambda n: n.seen,
            ),
        ),
        Misconception(
            "nothing is clipped",
            "x̂_0 is the model's error as well, multiplied by √(1−ᾱ_t)/√ᾱ_t: at large t that is far out of "
            "the range of any pixel.",
            _off(x0=lambda n: n.seen),
        ),
        Misconception(
            "x̂_0 is clipped before the division by √ᾱ",
            "Without its noise, x_t is still the faded image √ᾱ_t x̂_0, within ±√ᾱ_t. First divide, then clip.",
            _off(
                seen=lambda n: (n.x_t - n.noise * n.eps).clamp(-1, 1) / n.signal,
                x0=lambda n: n.seen,
            ),
        ),
        Misconception(
            "x̂_0 is clipped to [0, 1]",
            "For the model pixels lie in [−1, 1]: black is −1. Clipped at 0, all that is darker than "
            "medium grey becomes grey.",
            _off(x0=lambda n: n.seen.clamp(0, 1)),
        ),
        Misconception(
            "x̂_0 is clipped above only",
            "A pixel can be too dark as well: the range is −1 … 1.",
            _off(x0=lambda n: n.seen.clamp(max=1)),
        ),
        Misconception(
            "x̂_0 is clipped below only",
            "A pixel can be too bright as well: the range is −1 … 1.",
            _off(x0=lambda n: n.seen.clamp(min=-1)),
        ),
        Misconception(
            "x̂_0 is divided by its largest number instead of clipped",
            "That changes all pixels because of one, and the good ones with them. Clipping touches none that "
            "is in range.",
            _off(x0=lambda n: n.seen / n.seen.abs().max().clamp(min=1)),
        ),
        Misconception(
            "x̂_0 is squeezed by tanh instead of clipped",
            "tanh keeps the range, but it also makes every good pixel greyer. Clipping touches none that is in "
            "range.",
            _off(x0=lambda n: n.seen.tanh()),
        ),
        Misconception(
            "eps is returned as the model gave it",
            "With the clipped x̂_0 it no longer adds up to x_t. Ask again what remains: (x_t − √ᾱ_t x̂_0) / "
            "√(1−ᾱ_t).",
            _off(beside=lambda n: n.eps),
        ),
        Misconception(
            "in the noise the image is not faded: x_t − x̂_0 instead of x_t − √ᾱ x̂_0",
            "x_t holds √ᾱ_t of the image. Only what is left after taking out just that is noise.",
            _off(beside=lambda n: (n.x_t - n.x0) / n.noise),
        ),
        Misconception(
            "the noise is not divided by √(1−ᾱ)",
            "x_t − √ᾱ_t x̂_0 is √(1−ᾱ_t) ε. What a model calls ε has variance 1.",
            _off(beside=lambda n: n.x_t - n.signal * n.x0),
        ),
        Misconception(
            "the noise is divided by √ᾱ instead of √(1−ᾱ)",
            "√ᾱ_t belongs to the image; ε stands in x_t with the factor √(1−ᾱ_t).",
            _off(beside=lambda n: (n.x_t - n.signal * n.x0) / n.signal),
        ),
        Misconception(
            "the sign of the noise is wrong",
            "x_t = √ᾱ_t x̂_0 + √(1−ᾱ_t) ε, so the noise is x_t minus the image.",
            _off(beside=lambda n: (n.signal * n.x0 - n.x_t) / n.noise),
        ),
        Misconception(
            "α stands where ᾱ belongs",
            "α_t is what step t alone keeps. x_t has gone through all steps 0 … t: their product ᾱ_t.",
            _off(share=lambda n: float(n.schedule.alpha[n.t])),
        ),
        Misconception(
            "the square roots are missing",
            "ᾱ_t and 1−ᾱ_t are variances. Image and noise stand in x_t with their roots.",
            _off(signal=lambda n: n.share, noise=lambda n: 1 - n.share),
        ),
        Misconception(
            "√ᾱ and √(1−ᾱ) have changed places",
            "ᾱ_t is the share of the image, 1−ᾱ_t that of the noise.",
            _off(signal=lambda n: root(1 - n.share), noise=lambda n: root(n.share)),
        ),
        Misconception(
            "t is off by one",
            "x_t at t has had the steps 0 … t, and alpha_bar[t] holds just these. The papers' t is ours plus "
            "one.",
            _off(share=lambda n: float(n.schedule.alpha_bar[n.t - 1])),
        ),
        Misconception(
            "the pair is swapped: (eps, x0)",
            "The exercise asks for the image first and the noise second.",
            lambda *given: _clipped_guess(*given)[::-1],
        ),
    ),
    hints=(
        "Three lines: the guess as in exercise 04.5; clip it; then ask what x_t must hold besides.",
        "x_t = √ᾱ_t x̂_0 + √(1−ᾱ_t) ε holds for the clipped pair as well. Solve it for ε.",
        "share = schedule.alpha_bar[t]; x0 = ((x_t - (1 - share).sqrt() * eps) / share.sqrt()).clamp(-1, 1); "
        "eps = (x_t - share.sqrt() * x0) / (1 - share).sqrt(); return x0, eps",
    ),
    success="A pair that adds up to x_t, with an image that can exist. Every sampler step begins with it.",
)
