"""04.5: two things that a prediction of the noise says: the clean image, and the score."""

import torch

from course_utils.checks.chapter_02.closed_form import OFF_BY_ONE
from course_utils.checks.chapter_02.material import UNEVEN, normal
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def _both(schedule, x_t, t, eps):
    share, noise = float(schedule.alpha_bar[t]), float(schedule.one_minus_alpha_bar[t])
    x0 = x_t.double() / share**0.5 - eps.double() * (noise / share) ** 0.5
    return x0, (share**0.5 * x0 - x_t.double()) / noise


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, seed, shape, t):
        arguments = (schedule, normal(seed, *shape), t, normal(seed + 1, *shape))
        return Case(f"{says}, x_t of shape {shape} at t = {t}", arguments)

    return (
        case("ten uneven steps", from_beta(UNEVEN), 31, [4, 3, 5, 5], 4),
        case("ten uneven steps", from_beta(UNEVEN), 33, [16, 2], 0),
        case("ten uneven steps", from_beta(UNEVEN), 35, [16, 2], 9),
        case("1000 linear steps", linear(1000), 37, [2, 1, 8, 8], 300),
    )


def _x0(share, noise, x_t, eps):
    return (x_t - noise.sqrt() * eps) / share.sqrt()


def _score(share, noise, x_t, eps):
    return -eps / noise.sqrt()


def _built(x0=_x0, score=_score, shift=0):
    """The pair, with other formulas of (ᾱ, 1−ᾱ, x_t, eps)."""

    def wrong(schedule, x_t, t, eps):
        share = schedule.alpha_bar[t - shift]
        given = (share, 1 - share, x_t, eps)
        return x0(*given), score(*given)

    return wrong


def _of_one_step(schedule, x_t, t, eps):
    given = (schedule.alpha[t], schedule.beta[t], x_t, eps)
    return _x0(*given), _score(*given)


def _unfaded(share, noise, x_t, eps):
    return -(x_t - _x0(share, noise, x_t, eps)) / noise


_IMAGES = (  # name, explanation, and what is taken for the image
    (
        "the noise is added to get the image",
        "The noise was added on the way there. To get back, subtract it.",
        lambda share, noise, x_t, eps: (x_t + noise.sqrt() * eps) / share.sqrt(),
    ),
    (
        "the image is not divided by √ᾱ",
        "Without its noise, x_t is √ᾱ_t x0: still faded. Divide.",
        lambda share, noise, x_t, eps: x_t - noise.sqrt() * eps,
    ),
    (
        "the image is multiplied by √ᾱ instead of divided",
        "x_t holds √ᾱ_t x0. Multiplying would fade it a second time.",
        lambda share, noise, x_t, eps: (x_t - noise.sqrt() * eps) * share.sqrt(),
    ),
    (
        "only x_t is divided by √ᾱ, not the noise",
        "√ᾱ_t stands below the whole difference: in Python, (x_t − …) / √ᾱ.",
        lambda share, noise, x_t, eps: x_t / share.sqrt() - noise.sqrt() * eps,
    ),
    (
        "only the noise is divided by √ᾱ, not x_t",
        "√ᾱ_t stands below the whole difference: parentheses around x_t − … are missing.",
        lambda share, noise, x_t, eps: x_t - noise.sqrt() * eps / share.sqrt(),
    ),
    (
        "the image is divided by ᾱ, without the root",
        "ᾱ is a share of variance; the image was multiplied by √ᾱ, so divide by √ᾱ.",
        lambda share, noise, x_t, eps: (x_t - noise.sqrt() * eps) / share,
    ),
    (
        "the noise is subtracted with 1−ᾱ, without the root",
        "1−ᾱ is the variance of the noise in x_t; eps stands in it with the factor √(1−ᾱ).",
        lambda share, noise, x_t, eps: (x_t - noise * eps) / share.sqrt(),
    ),
    (
        "in the image √ᾱ and √(1−ᾱ) have changed places",
        "ᾱ belongs to the image and 1−ᾱ to the noise: subtract √(1−ᾱ) eps, then divide by √ᾱ.",
        lambda share, noise, x_t, eps: (x_t - share.sqrt() * eps) / noise.sqrt(),
    ),
)


def _score_around(x0):
    """The score around what is taken for the image, right but for that."""

    def score(share, noise, x_t, eps):
        return (share.sqrt() * x0(share, noise, x_t, eps) - x_t) / noise

    return score


def _slips_of_the_image() -> tuple[Misconception, ...]:
    """Each slip twice: the score computed from eps, and from the wrong image."""
    alone = (Misconception(name, why, _built(x0=x0)) for name, why, x0 in _IMAGES)
    passed_on = (
        Misconception(
            f"{name}, and the score is computed from it",
            why,
            _built(x0=x0, score=_score_around(x0)),
        )
        for name, why, x0 in _IMAGES
    )
    return *alone, *passed_on


EXERCISE = Exercise(
    id="04.5",
    title="The image and the score, from the noise",
    difficulty=2,
    minutes=10,
    reference=_both,
    returns=("x0", "score"),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the sign of the score is wrong",
            "The score points to where the density grows: towards the image, away from the noise. "
            "Hence −eps.",
            _built(score=lambda share, noise, x_t, eps: eps / noise.sqrt()),
        ),
        Misconception(
            "the score is divided by 1−ᾱ without the root",
            "−(x_t − √ᾱ x0)/(1−ᾱ) has 1−ᾱ below, but x_t − √ᾱ x0 is √(1−ᾱ) eps: one root cancels.",
            _built(score=lambda share, noise, x_t, eps: -eps / noise),
        ),
        Misconception(
            "the score is divided by √ᾱ instead of √(1−ᾱ)",
            "The width of the noise sets how steep the density is, and that is √(1−ᾱ_t).",
            _built(score=lambda share, noise, x_t, eps: -eps / share.sqrt()),
        ),
        Misconception(
            "the score is multiplied by √(1−ᾱ) instead of divided",
            "That is the way from the score to eps. The less noise there is, the steeper the density "
            "and the longer its score.",
            _built(score=lambda share, noise, x_t, eps: -eps * noise.sqrt()),
        ),
        Misconception(
            "the score is −eps",
            "The direction is right. Its length is not: a density of width √(1−ᾱ_t) changes over that "
            "distance, so divide by it.",
            _built(score=lambda share, noise, x_t, eps: -eps),
        ),
        Misconception(
            "the score is eps",
            "The score points away from the noise: −eps. And a density of width √(1−ᾱ_t) changes over that "
            "distance, so divide by it.",
            _built(score=lambda share, noise, x_t, eps: eps),
        ),
        Misconception(
            "the score is 0: x̂_0 was differentiated too",
            "x̂_0 is held fixed. Computed from x_t with the graph attached it moves along with x_t, and "
            "the gradient cancels: .detach() it.",
            _built(score=lambda share, noise, x_t, eps: torch.zeros_like(eps)),
        ),
        Misconception(
            "in the score the image is not faded: x_t − x0 instead of x_t − √ᾱ x0",
            "The mean of q(x_t|x_0) is √ᾱ_t x_0; the distance from it is what counts.",
            _built(score=_unfaded),
        ),
        Misconception(
            "in the score the image is missing: −x_t/(1−ᾱ)",
            "That would be the score around the image 0. The mean of q(x_t|x_0) is √ᾱ_t x_0.",
            _built(score=lambda share, noise, x_t, eps: -x_t / noise),
        ),
        *_slips_of_the_image(),
        Misconception(
            "α stands where ᾱ belongs",
            "α_t is what step t alone keeps. Between x_0 and x_t lie all steps 0 … t: their product ᾱ_t.",
            _of_one_step,
        ),
        Misconception(*OFF_BY_ONE, _built(shift=1)),
        Misconception(
            "the pair is swapped: (score, x0)",
            "The exercise asks for the image first and the score second.",
            lambda *given: _both(*given)[::-1],
        ),
    ),
    hints=(
        "Write down x_t = √ᾱ_t x0 + √(1−ᾱ_t) ε. One solves it for x0. For the other take the logarithm "
        "of the density N(x_t; √ᾱ_t x0, 1−ᾱ_t) and differentiate.",
        "The derivative is −(x_t − √ᾱ_t x0)/(1−ᾱ_t). What is x_t − √ᾱ_t x0, in terms of ε?",
        "a = schedule.alpha_bar[t]; x0 = (x_t - (1 - a).sqrt() * eps) / a.sqrt(); "
        "score = -eps / (1 - a).sqrt(); return x0, score",
    ),
    success=(
        "A network that predicts noise is a denoiser and a score model, too; nothing has to be "
        "trained anew."
    ),
)
