"""04.2: the mean of the step back, from the noise."""

import torch

from course_utils.checks.chapter_02.closed_form import OFF_BY_ONE
from course_utils.checks.chapter_02.material import UNEVEN, normal
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def _mean(schedule, x_t, t, eps):
    """What x_{t−1} keeps of the image and of the noise, from the posterior's mean at x_t = √ᾱ x_0 + √(1−ᾱ) ε."""
    noise = float(schedule.one_minus_alpha_bar[t])
    before = float(schedule.one_minus_alpha_bar[t - 1]) if t > 0 else 0.0
    x0 = _x0(schedule, x_t.double(), t, eps.double())
    return (1 - before) ** 0.5 * x0 + float(schedule.alpha[t]) ** 0.5 * before / noise**0.5 * eps


def _x0(schedule, x_t, t, eps):
    share = schedule.alpha_bar[t]
    return (x_t - (1 - share).sqrt() * eps) / share.sqrt()


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, seed, shape, t):
        arguments = (schedule, normal(seed, *shape), t, normal(seed + 1, *shape))
        return Case(f"{says}, x_t of shape {shape} at t = {t}", arguments)

    return (
        case("ten uneven steps", from_beta(UNEVEN), 1, [4, 3, 5, 5], 5),
        case("ten uneven steps", from_beta(UNEVEN), 3, [16, 2], 9),
        case("1000 linear steps", linear(1000), 5, [2, 1, 8, 8], 250),
        case("ten uneven steps", from_beta(UNEVEN), 7, [4, 3, 5, 5], 0),
    )


def _built(outside, inside):
    """outside(α, ᾱ, β) · (x_t − inside(β, α, ᾱ) · ε)."""

    def wrong(schedule, x_t, t, eps):
        beta, alpha, alpha_bar = schedule.beta[t], schedule.alpha[t], schedule.alpha_bar[t]
        return outside(alpha, alpha_bar) * (x_t - inside(beta, alpha, alpha_bar) * eps)

    return wrong


def _outside(alpha, alpha_bar):
    return 1 / alpha.sqrt()


def _inside(beta, alpha, alpha_bar):
    return beta / (1 - alpha_bar).sqrt()


def _posterior_variance(schedule, x_t, t, eps):
    before = schedule.alpha_bar[t - 1] if t > 0 else torch.ones(())
    beta_tilde = schedule.beta[t] * (1 - before) / (1 - schedule.alpha_bar[t])
    inside = beta_tilde / (1 - schedule.alpha_bar[t]).sqrt()
    return (x_t - inside * eps) / schedule.alpha[t].sqrt()


def _only_x_t_divided(schedule, x_t, t, eps):
    inside = _inside(schedule.beta[t], schedule.alpha[t], schedule.alpha_bar[t])
    return x_t / schedule.alpha[t].sqrt() - inside * eps


def _only_noise_divided(schedule, x_t, t, eps):
    inside = _inside(schedule.beta[t], schedule.alpha[t], schedule.alpha_bar[t])
    return x_t - inside * eps / schedule.alpha[t].sqrt()


def _in_two_steps(image=_x0, root=torch.sqrt, before_step_0=None):
    """The posterior's mean at `image`, what is taken for the clean one.

    Args:
        root: what is taken of ᾱ_{t−1} and α_t.
        before_step_0: from the table of ᾱ to what is taken for ᾱ_{−1}; else 1.
    """

    def wrong(schedule, x_t, t, eps):
        alpha, now = schedule.alpha[t], schedule.alpha_bar[t]
        first = before_step_0(schedule.alpha_bar) if before_step_0 else torch.ones_like(now)
        before = schedule.alpha_bar[t - 1] if t > 0 else first
        clean = image(schedule, x_t, t, eps)
        mean = root(before) * schedule.beta[t] * clean + root(alpha) * (1 - before) * x_t
        return mean / (1 - now)

    return wrong


def _still_faded(schedule, x_t, t, eps):
    return x_t - (1 - schedule.alpha_bar[t]).sqrt() * eps


def _noise_put_back(schedule, x_t, t, eps):
    before = schedule.alpha_bar[t - 1] if t > 0 else torch.ones(())
    return before.sqrt() * _x0(schedule, x_t, t, eps) + (1 - before).sqrt() * eps


EXERCISE = Exercise(
    id="04.2",
    title="The step back, from the noise",
    difficulty=2,
    minutes=10,
    reference=_mean,
    returns=("mean",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the square root of 1−ᾱ is missing",
            "eps has deviation 1, and the noise in x_t has √(1−ᾱ_t): one such root cancels against "
            "the 1−ᾱ_t of the posterior, and one is left.",
            _built(_outside, lambda beta, alpha, alpha_bar: beta / (1 - alpha_bar)),
        ),
        Misconception(
            "√β stands where β belongs",
            "√β_t counts twice: as the size of the step's own noise, and in √(β_t/(1−ᾱ_t)), the part "
            "that this noise has in eps. The product is β_t/√(1−ᾱ_t).",
            _built(_outside, lambda beta, alpha, alpha_bar: beta.sqrt() / (1 - alpha_bar).sqrt()),
        ),
        Misconception(
            "as much noise is removed as step t has added, √β",
            "That would be right if eps were the noise of step t alone. Given eps, the noise of step "
            "t is on average √(β_t/(1−ᾱ_t)) eps: remove √β_t times that.",
            _built(_outside, lambda beta, alpha, alpha_bar: beta.sqrt()),
        ),
        Misconception(
            "β eps is removed: it is not divided by √(1−ᾱ)",
            "Given eps, the noise of step t is on average √(β_t/(1−ᾱ_t)) eps, and it came in with the "
            "factor √β_t. The product is β_t/√(1−ᾱ_t) eps.",
            _built(_outside, lambda beta, alpha, alpha_bar: beta),
        ),
        Misconception(
            "all the noise is removed at once",
            "√(1−ᾱ_t) ε is the noise of all steps so far. One step back takes away β_t/√(1−ᾱ_t) of it.",
            _built(_outside, lambda beta, alpha, alpha_bar: (1 - alpha_bar).sqrt()),
        ),
        Misconception(
            "the noise is divided by √ᾱ instead of √(1−ᾱ)",
            "The noise has the variance 1−ᾱ_t; ᾱ_t is the share of the image.",
            _built(_outside, lambda beta, alpha, alpha_bar: beta / alpha_bar.sqrt()),
        ),
        Misconception(
            "the sign of the noise is wrong",
            "The noise was added on the way there, so the way back subtracts it.",
            _built(_outside, lambda beta, alpha, alpha_bar: -beta / (1 - alpha_bar).sqrt()),
        ),
        Misconception(
            "1/√ᾱ stands where 1/√α belongs",
            "One step back undoes one fading, by √α_t. 1/√ᾱ_t would undo all of them at once.",
            _built(lambda alpha, alpha_bar: 1 / alpha_bar.sqrt(), _inside),
        ),
        Misconception(
            "the square root of α is missing",
            "Step t multiplied the image by √α_t, so the way back divides by √α_t.",
            _built(lambda alpha, alpha_bar: 1 / alpha, _inside),
        ),
        Misconception(
            "it is multiplied by √α instead of divided",
            "The step has made the image fainter; its mean on the way back must be stronger again.",
            _built(lambda alpha, alpha_bar: alpha.sqrt(), _inside),
        ),
        Misconception(
            "the factor 1/√α is missing",
            "Step t has faded the image by √α_t; the way back undoes that, too.",
            _built(lambda alpha, alpha_bar: torch.ones_like(alpha), _inside),
        ),
        Misconception(
            "only x_t is divided by √α, not the noise",
            "1/√α_t stands before the whole bracket: in Python, (x_t − …) / α_t**0.5.",
            _only_x_t_divided,
        ),
        Misconception(
            "only the noise is divided by √α, not x_t",
            "1/√α_t stands before the whole bracket: parentheses around x_t − … are missing.",
            _only_noise_divided,
        ),
        Misconception(
            "the image that goes into the posterior's mean is not divided by √ᾱ",
            "Without its noise, x_t is √ᾱ_t x_0: still faded. Divide by √ᾱ_t to get x̂_0.",
            _in_two_steps(image=_still_faded),
        ),
        Misconception(
            "both square roots of the posterior's mean are missing",
            "√ᾱ_{t−1} and √α_t are factors of images, and so have roots; β_t and the 1−ᾱ are variances.",
            _in_two_steps(root=lambda share: share),
        ),
        Misconception(
            "β̃ stands where β belongs",
            "β̃_t is the variance around this mean. In the mean itself stands β_t, what the step has "
            "added.",
            _posterior_variance,
        ),
        Misconception(
            "the clean image is returned",
            "That is x̂_0, all steps back at once. The mean of one step lies between "
            "√ᾱ_{t−1} x̂_0 and x_t/√α_t.",
            _x0,
        ),
        Misconception(
            "the noise is put back in full: √(1−ᾱ_{t−1}) ε",
            "That is a step of DDIM, which adds no noise of its own. The posterior's mean keeps less, "
            "because β̃_t is still to be added around it.",
            _noise_put_back,
        ),
        Misconception(
            "at t = 0 ᾱ_{t−1} is taken from the end of the table",
            "In Python alpha_bar[-1] is the last entry. Before step 0 nothing is lost: there ᾱ is 1.",
            _in_two_steps(before_step_0=lambda table: table[-1]),
        ),
        Misconception(
            "at t = 0 ᾱ_{t−1} is taken as ᾱ_0",
            "Before step 0 nothing is lost: there ᾱ is 1, and the mean is x̂_0 itself.",
            _in_two_steps(before_step_0=lambda table: table[0]),
        ),
        Misconception(
            "at t = 0 ᾱ_{t−1} is taken as 0",
            "Before step 0 the whole image is there: ᾱ is 1, and the noise so far, 1−ᾱ, is what is 0. "
            "With ᾱ = 0 the image x̂_0 has no say.",
            _in_two_steps(before_step_0=lambda table: torch.zeros_like(table[0])),
        ),
        Misconception(
            *OFF_BY_ONE,
            lambda schedule, x_t, t, eps: _built(_outside, _inside)(schedule, x_t, t - 1, eps),
        ),
    ),
    hints=(
        "First the clean image that belongs to this eps: solve x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε for x_0. "
        "Put it into the posterior's mean.",
        "Collect what stands before x_t. With ᾱ_t = α_t ᾱ_{t−1} its numerator is β_t + α_t(1−ᾱ_{t−1}) "
        "= 1−ᾱ_t, over √α_t: only 1/√α_t is left. Then the same before ε.",
        "beta, alpha, a = schedule.beta[t], schedule.alpha[t], schedule.alpha_bar[t]; then "
        "(x_t - beta / (1 - a).sqrt() * eps) / alpha.sqrt(). At t = 0 it is x̂_0 itself.",
    ),
    success=(
        "This one line is what every DDPM sampler computes at every step; only the noise around it "
        "is left to add."
    ),
)
