"""03.3: the mean of q(x_{t−1} | x_t, x_0), for a batch with a t for each image."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from course_utils.checks.chapter_02.material import UNEVEN, normal, pixels
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import Schedule, from_beta, linear


def _posterior_mean(schedule, x0, x_t, t):
    """Image by image: two witnesses of x_{t−1}, weighted by their precisions."""
    means = []
    for clean, noisy, step in zip(x0.double(), x_t.double(), t.tolist(), strict=True):
        beta = schedule.beta[step].item()
        share = math.exp(sum(math.log1p(-b) for b in schedule.beta[:step].tolist()))
        if step == 0:
            means.append(clean)
            continue
        by_x0, by_x_t = 1 / (1 - share), (1 - beta) / beta
        both = by_x0 * math.sqrt(share) * clean + by_x_t * noisy / math.sqrt(1 - beta)
        means.append(both / (by_x0 + by_x_t))
    return torch.stack(means)


@dataclass(frozen=True)
class Tables:
    """What the formula is made of, at each t of a batch, [B]. `before` is ᾱ_{t−1}, `after` ᾱ_t."""

    alpha: torch.Tensor
    beta: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor

    @classmethod
    def at(cls, schedule: Schedule, t: torch.Tensor, first: float = 1.0) -> "Tables":
        before = torch.cat([torch.full((1,), first), schedule.alpha_bar[:-1]])
        return cls(schedule.alpha[t], schedule.beta[t], before[t], schedule.alpha_bar[t])


Weights = Callable[[Tables], tuple[torch.Tensor, torch.Tensor]]


def _weights(a: Tables):
    noise = 1 - a.after
    return a.before.sqrt() * a.beta / noise, a.alpha.sqrt() * (1 - a.before) / noise


def _mix(weights, x0, x_t, axis=0):
    of_x0, of_x_t = (w.reshape(-1, *[1] * (3 - axis)) for w in weights)
    return of_x0 * x0 + of_x_t * x_t


def _with(weights: Weights):
    return lambda schedule, x0, x_t, t: _mix(weights(Tables.at(schedule, t)), x0, x_t)


def _on_axis(axis: int):
    return lambda schedule, x0, x_t, t: _mix(_weights(Tables.at(schedule, t)), x0, x_t, axis)


def _before_step_0(share: Callable[[torch.Tensor], float]):
    """With another number, made from the table of ᾱ, for ᾱ_{−1}."""

    def wrong(schedule, x0, x_t, t):
        tables = Tables.at(schedule, t, float(share(schedule.alpha_bar)))
        return _mix(_weights(tables), x0, x_t)

    return wrong


def _of_the_first(schedule, x0, x_t, t):
    return _posterior_mean(schedule, x0, x_t, t[:1].expand(len(t)))


def _early(schedule, x0, x_t, t):
    return _posterior_mean(schedule, x0, x_t, (t - 1) % schedule.T)


def _alpha_for_alpha_bar(schedule, x0, x_t, t):
    before = torch.cat([torch.ones(1), schedule.alpha[:-1]])[t]
    a = Tables(schedule.alpha[t], schedule.beta[t], before, schedule.alpha[t])
    return _mix(_weights(a), x0, x_t)


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, shape, t):
        return Case(
            f"{says}x0 and x_t of shape {shape} at t = {t}",
            (schedule, pixels(41, *shape), normal(42, *shape), torch.tensor(t)),
        )

    return (  # in the first, every axis is as long as the batch, so that the wrong one fits too
        case("", from_beta(UNEVEN), [4, 4, 4, 4], [3, 5, 1, 8]),
        case("", from_beta(UNEVEN), [3, 1, 5, 7], [9, 0, 6]),
        case("1000 linear steps, ", linear(1000), [2, 3, 8, 8], [999, 250]),
        case("", from_beta(UNEVEN), [2, 2, 3, 4], [0, 2]),
    )


_AXIS = (
    "Broadcasting lines shapes up from the right, so [B] meets the last axis of [B, C, H, W]. Your "
    "weights need the shape [B, 1, 1, 1]."
)

EXERCISE = Exercise(
    id="03.3",
    title="Where it was one step before",
    difficulty=2,
    minutes=10,
    reference=_posterior_mean,
    returns=("mean",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the two weights have changed places",
            "The weight of x_0 holds β_t, what the step has added; the weight of x_t holds 1−ᾱ_{t−1}, the "
            "noise that was there before it.",
            _with(lambda a: _weights(a)[::-1]),
        ),
        Misconception(
            "the square root of ᾱ_{t−1} is missing",
            "At t−1 the image has faded to √ᾱ_{t−1} x_0: it is the root that multiplies x_0.",
            _with(lambda a: (a.before * a.beta / (1 - a.after), _weights(a)[1])),
        ),
        Misconception(
            "the square root of α_t is missing",
            "One step multiplies the image by √α_t, and the weight of x_t gets that root from it.",
            _with(lambda a: (_weights(a)[0], a.alpha * (1 - a.before) / (1 - a.after))),
        ),
        Misconception(
            "both square roots are missing",
            "√ᾱ_{t−1} and √α_t are factors of images, and so have roots; β_t and the 1−ᾱ are variances.",
            _with(
                lambda a: (
                    a.before * a.beta / (1 - a.after),
                    a.alpha * (1 - a.before) / (1 - a.after),
                )
            ),
        ),
        Misconception(
            "β_t is missing from the weight of x_0",
            "The less noise the step made, the less one need look at x_0. Without β_t the weights "
            "are far too large together.",
            _with(lambda a: (a.before.sqrt() / (1 - a.after), _weights(a)[1])),
        ),
        Misconception(
            "the posterior variance β̃_t stands where β_t belongs",
            "β̃_t is a result of the same derivation. The weight of x_0 holds β_t, the variance of the step.",
            _with(
                lambda a: (_weights(a)[0] * (1 - a.before) / (1 - a.after), _weights(a)[1]),
            ),
        ),
        Misconception(
            "ᾱ_t stands where ᾱ_{t−1} belongs, before x_0",
            "x_0 tells about x_{t−1}, and there it has faded to √ᾱ_{t−1} x_0, one step less than at t.",
            _with(lambda a: (a.after.sqrt() * a.beta / (1 - a.after), _weights(a)[1])),
        ),
        Misconception(
            "ᾱ_t stands where α_t belongs, before x_t",
            "Only one step lies between x_{t−1} and x_t. It fades the image by √α_t.",
            _with(lambda a: (_weights(a)[0], a.after.sqrt() * (1 - a.before) / (1 - a.after))),
        ),
        Misconception(
            "ᾱ_{t−1} stands where α_t belongs, before x_t",
            "Only one step lies between x_{t−1} and x_t. It fades the image by √α_t.",
            _with(lambda a: (_weights(a)[0], a.before.sqrt() * (1 - a.before) / (1 - a.after))),
        ),
        Misconception(
            "1−ᾱ_t cancels in the weight of x_t, because it stands above the line too",
            "Above the line is 1−ᾱ_{t−1}, the noise before the step; below it 1−ᾱ_t, the noise after it.",
            _with(lambda a: (_weights(a)[0], a.alpha.sqrt())),
        ),
        Misconception(
            "both weights are divided by 1−ᾱ_{t−1} instead of 1−ᾱ_t",
            "The divisor is the larger of the two, the noise after the step. At t = 0 yours is 0.",
            _with(lambda a: tuple(w * (1 - a.after) / (1 - a.before) for w in _weights(a))),
        ),
        Misconception(
            "neither weight is divided by 1−ᾱ_t",
            "Without it both are too small, most of all in the first steps: at t = 0 x_0 gets the "
            "weight β_0 instead of 1.",
            _with(lambda a: tuple(w * (1 - a.after) for w in _weights(a))),
        ),
        Misconception(
            "α stands where ᾱ belongs",
            "α_t is what one step keeps. From x_0 to x_{t−1} all steps 0 … t−1 act: their product "
            "ᾱ_{t−1}.",
            _alpha_for_alpha_bar,
        ),
        Misconception(
            "x_0 is left out: the fading is undone, x_t / √α_t",
            "That is what x_t alone says about x_{t−1}. x_0 is known too, and has its say.",
            _with(lambda a: (torch.zeros_like(a.alpha), 1 / a.alpha.sqrt())),
        ),
        Misconception(
            "x_t is left out: √ᾱ_{t−1} x_0",
            "That is what x_0 alone says about x_{t−1}. x_t is known too, and has its say.",
            _with(lambda a: (a.before.sqrt(), torch.zeros_like(a.alpha))),
        ),
        Misconception(
            "at t = 0, alpha_bar[t − 1] is the last ᾱ",
            "Index −1 is the end of a table. Before step 0 the image is clean, ᾱ = 1, and then the "
            "weights are 1 for x_0 and 0 for x_t.",
            _before_step_0(lambda table: table[-1]),
        ),
        Misconception(
            "at t = 0, ᾱ before the step is taken as ᾱ_0",
            "Before step 0 nothing was lost: ᾱ = 1. Then the weights are 1 for x_0 and 0 for x_t.",
            _before_step_0(lambda table: table[0]),
        ),
        Misconception(
            "at t = 0, ᾱ before the step is taken as 0",
            "Before step 0 the whole image is there: ᾱ = 1, and the noise so far, 1−ᾱ, is what is 0. "
            "With ᾱ = 0 the given x_0 has no say.",
            _before_step_0(lambda table: 0.0),
        ),
        Misconception(
            "t is off by one",
            "Step t uses beta[t] and alpha_bar[t], and t starts at 0. The papers' t is ours plus one.",
            _early,
        ),
        Misconception(
            "the whole batch is taken at the first t",
            "Each image has its own t: sample i uses t[i].",
            _of_the_first,
        ),
        Misconception("t runs along the columns of the images", _AXIS, _on_axis(3)),
        Misconception("t runs along the rows of the images", _AXIS, _on_axis(2)),
        Misconception("t runs along the channels of the images", _AXIS, _on_axis(1)),
    ),
    hints=(
        "Four tables at t: α_t, β_t, ᾱ_t and ᾱ_{t−1}. Three are in the schedule. Which do you build, and "
        "what is its first entry?",
        "before = torch.cat([torch.ones(1), schedule.alpha_bar[:-1]]) (as in 03.2), then before[t]. Like "
        "the others it needs the shape [B, 1, 1, 1].",
        "a, b, p, n = (table[t][:, None, None, None] for table in (schedule.alpha, schedule.beta, before, "
        "1 - schedule.alpha_bar)); then (p.sqrt() * b * x0 + a.sqrt() * (1 - p) * x_t) / n.",
    ),
    success=(
        "At t = 0 your mean is x_0 itself. A sampler will call this very line with the network's "
        "guess in place of x_0."
    ),
)
