"""03.4: q(x_s | x_t, x_0) for any s < t: mean and variance of a jump back."""

import math
from collections.abc import Callable

import torch

from course_utils.checks.chapter_02.material import UNEVEN, normal, pixels
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import Schedule, from_beta, linear


def _jump(schedule, x0, x_t, t, t_prev):
    """Two witnesses of x_s, weighted by their precisions."""
    x0, x_t, log = x0.double(), x_t.double(), torch.log1p(-schedule.beta)
    if t_prev == -1:
        return x0, 0.0
    share = math.exp(log[: t_prev + 1].sum())  # ᾱ_s
    ratio = math.exp(log[t_prev + 1 : t + 1].sum())  # ᾱ_t / ᾱ_s
    by_x0, by_x_t = 1 / (1 - share), ratio / (1 - ratio)
    both = by_x0 * math.sqrt(share) * x0 + by_x_t * x_t / math.sqrt(ratio)
    return both / (by_x0 + by_x_t), 1 / (by_x0 + by_x_t)


def _share(schedule: Schedule, s: int):
    return schedule.alpha_bar[s] if s >= 0 else torch.ones((), dtype=torch.float64)


# From the shares ᾱ_s and ᾱ_t to five numbers: √ᾱ_s, √(ᾱ_t/ᾱ_s), what the steps between add, 1−ᾱ_s and 1−ᾱ_t.
Five = Callable[[torch.Tensor, torch.Tensor, Schedule, int, int], tuple]


def _five(early, late, *_):
    return early.sqrt(), (late / early).sqrt(), 1 - late / early, 1 - early, 1 - late


def _put_together(five, x0, x_t):
    signal, fading, added, noise, total = five
    mean = (signal * added * x0.double() + fading * noise * x_t.double()) / total
    return mean, added * noise / total


def _with(five: Five):
    def wrong(schedule, x0, x_t, t, t_prev):
        shares = _share(schedule, t_prev), _share(schedule, t)
        return _put_together(five(*shares, schedule, t, t_prev), x0, x_t)

    return wrong


def _changed(**slips):
    """The five numbers right, but for those that are named."""
    names = ("signal", "fading", "added", "noise", "total")

    def five(early, late, schedule, t, s):
        right = dict(zip(names, _five(early, late), strict=True))
        wrong = {name: slip(early, late, schedule, t, s) for name, slip in slips.items()}
        return tuple((right | wrong).values())

    return _with(five)


def _between_is(ratio: Callable):
    """With another number for ᾱ_t / ᾱ_s, the share that the steps between keep."""
    return _changed(fading=lambda *seen: ratio(*seen).sqrt(), added=lambda *seen: 1 - ratio(*seen))


def _product(first: int, beyond: int):
    """The α multiplied up over a slice that begins and ends somewhere else."""
    return _between_is(
        lambda early, late, schedule, t, s: schedule.alpha[s + first : t + beyond].prod()
    )


def _at(earlier: Callable):
    """The exercise right, but for another step in place of s."""

    def wrong(schedule, x0, x_t, t, t_prev):
        share = schedule.alpha_bar[earlier(t, t_prev)]
        return _put_together(_five(share, _share(schedule, t)), x0, x_t)

    return wrong


def _one_step(schedule, x0, x_t, t, t_prev):
    return _jump(schedule, x0, x_t, t, t - 1)


def _weights_swapped(schedule, x0, x_t, t, t_prev):
    return _jump(schedule, x_t, x0, t, t_prev)[0], _jump(schedule, x0, x_t, t, t_prev)[1]


def _with_variance(variance: Callable):
    def wrong(schedule, x0, x_t, t, t_prev):
        shares = _share(schedule, t_prev), _share(schedule, t)
        return _jump(schedule, x0, x_t, t, t_prev)[0], variance(*shares)

    return wrong


def _last_step_alone(schedule, x0, x_t, t, t_prev):
    """The mean carried back step by step; the variance is that of the step to t_prev."""
    mean, _ = _jump(schedule, x0, x_t, t, t_prev)
    return mean, _jump(schedule, x0, x_t, t_prev + 1, t_prev)[1]


def _for_each_number(schedule, x0, x_t, t, t_prev):
    mean, variance = _jump(schedule, x0, x_t, t, t_prev)
    return mean, torch.full_like(mean, variance)


def _case(says, schedule, shape, t, t_prev):
    return Case(
        f"{says}x0 and x_t of shape {shape}, from t = {t} back to t_prev = {t_prev}",
        (schedule, pixels(51, *shape), normal(52, *shape), t, t_prev),
    )


EXERCISE = Exercise(
    id="03.4",
    title="Several steps back at once",
    difficulty=2,
    minutes=10,
    reference=_jump,
    returns=("mean", "variance"),
    cases=lambda: (
        _case("", from_beta(UNEVEN), [2, 3, 4, 5], 6, 2),
        _case("", from_beta(UNEVEN), [16, 2], 7, 6),
        _case("1000 linear steps, ", linear(1000), [2, 1, 8, 8], 700, 350),
        _case("", from_beta(UNEVEN), [16, 2], 8, -1),
    ),
    misconceptions=(
        Misconception(
            "the jump is taken as one step: β_t stands where 1−ᾱ_t/ᾱ_s belongs, and α_t for ᾱ_t/ᾱ_s",
            "β_t and α_t are what step t alone adds and keeps. The steps s+1 … t together keep ᾱ_t/ᾱ_s "
            "and add the rest.",
            _between_is(lambda early, late, schedule, t, s: schedule.alpha[t]),
        ),
        Misconception(
            "β_t stands where 1−ᾱ_t/ᾱ_s belongs",
            "β_t is the noise of step t alone. All the steps s+1 … t together add 1−ᾱ_t/ᾱ_s.",
            _changed(added=lambda early, late, schedule, t, s: schedule.beta[t]),
        ),
        Misconception(
            "α_t stands where ᾱ_t/ᾱ_s belongs",
            "√α_t is the fading of step t alone. From s to t the image fades by √(ᾱ_t/ᾱ_s).",
            _changed(fading=lambda early, late, schedule, t, s: schedule.alpha[t].sqrt()),
        ),
        Misconception(
            "t_prev is not used: the answer is the one for t − 1",
            "Replace every t−1 of the one-step formula by t_prev, and then α_t and β_t by what the "
            "steps between keep and add.",
            _one_step,
        ),
        Misconception(
            "ᾱ is read at t_prev + 1",
            "x_s has had the steps 0 … s, and alpha_bar[s] holds just these.",
            _at(lambda t, s: s + 1),
        ),
        Misconception(
            "ᾱ is read at t_prev − 1",
            "x_s has had the steps 0 … s, and alpha_bar[s] holds just these.",
            _at(lambda t, s: s - 1),
        ),
        Misconception(
            "at t_prev = −1, alpha_bar[t_prev] is the last ᾱ",
            "Index −1 is the end of a table. Before step 0 the image is clean: ᾱ = 1, the mean is "
            "x_0, and the variance 0.",
            _at(lambda t, s: s),
        ),
        Misconception(
            "the ratio is upside down: ᾱ_s/ᾱ_t",
            "The later ᾱ is the smaller one. What the steps between keep is ᾱ_t/ᾱ_s, at most 1; yours "
            "makes a negative variance.",
            _between_is(lambda early, late, *_: early / late),
        ),
        Misconception(
            "ᾱ_t is not divided by ᾱ_s",
            "ᾱ_t is what all steps 0 … t keep. Those up to s lie before x_s: divide them out.",
            _between_is(lambda early, late, *_: late),
        ),
        Misconception(
            "the difference ᾱ_s−ᾱ_t stands where 1−ᾱ_t/ᾱ_s belongs",
            "Shares multiply, so what the steps between keep is a ratio, and what they add is one "
            "minus that ratio.",
            _changed(added=lambda early, late, *_: early - late),
        ),
        Misconception(
            "the β between are added up",
            "Each step keeps a share of what it finds. The shares multiply: 1 − ∏(1−β), which is less "
            "than the sum.",
            _changed(added=lambda early, late, schedule, t, s: schedule.beta[s + 1 : t + 1].sum()),
        ),
        Misconception(
            "the product of the α begins at s, one too early",
            "Step s has already been made in x_s. The steps between are s+1 … t: alpha[s + 1 : t + 1].",
            _product(0, 1),
        ),
        Misconception(
            "the product of the α stops at t − 1, one too early",
            "A slice leaves its end out. The steps between are s+1 … t: alpha[s + 1 : t + 1].",
            _product(1, 0),
        ),
        Misconception(
            "the product of the α is one step early at both ends",
            "The slice alpha[s:t] holds the steps s … t−1. Needed are s+1 … t: alpha[s + 1 : t + 1].",
            _product(0, 0),
        ),
        Misconception(
            "the square root of ᾱ_s is missing",
            "At s the image has faded to √ᾱ_s x_0: it is the root that multiplies x_0.",
            _changed(signal=lambda early, *_: early),
        ),
        Misconception(
            "the square root of ᾱ_t/ᾱ_s is missing",
            "From s to t the image is multiplied by √(ᾱ_t/ᾱ_s), and the weight of x_t gets that root "
            "from it.",
            _changed(fading=lambda early, late, *_: late / early),
        ),
        Misconception(
            "both square roots are missing",
            "√ᾱ_s and √(ᾱ_t/ᾱ_s) are factors of images, and so have roots; the 1−ᾱ are variances.",
            _changed(signal=lambda early, *_: early, fading=lambda early, late, *_: late / early),
        ),
        Misconception(
            "the two weights have changed places",
            "The weight of x_0 holds what the steps between add, the weight of x_t how much noise was "
            "there before them.",
            _weights_swapped,
        ),
        Misconception(
            "the variance is what the steps between add, 1−ᾱ_t/ᾱ_s",
            "That is the variance on the way forwards. Going back x_0 is known as well, and leaves "
            "the share (1−ᾱ_s)/(1−ᾱ_t) of it.",
            _with_variance(lambda early, late: 1 - late / early),
        ),
        Misconception(
            "the deviation is returned instead of the variance",
            "The second thing is the variance; whoever draws from the posterior takes its root.",
            _with_variance(
                lambda early, late: ((1 - late / early) * (1 - early) / (1 - late)).sqrt()
            ),
        ),
        Misconception(
            "the variance is that of the last single step",
            "Going back by single steps, each begins at a value that is uncertain itself. The "
            "uncertainty of the later steps is carried along.",
            _last_step_alone,
        ),
        Misconception(
            "the variance is given once for each number of the image",
            "It is the same for all of them: return one number.",
            _for_each_number,
        ),
        Misconception(
            "the pair is swapped: (variance, mean)",
            "The exercise asks for the mean first: return mean, variance.",
            lambda *given: _jump(*given)[::-1],
        ),
    ),
    hints=(
        "Which properties of step t did the derivation use? Only that it multiplies by √α_t and adds noise of "
        "variance β_t. What do the steps s+1 … t do together?",
        "They keep ᾱ_t/ᾱ_s and add 1−ᾱ_t/ᾱ_s. Put these for α_t and β_t, and s for t−1. For s = −1, ᾱ_s is 1.",
        "p = schedule.alpha_bar[t_prev] if t_prev >= 0 else 1.0; r = schedule.alpha_bar[t] / p; "
        "n = 1 - schedule.alpha_bar[t]; mean = (p**0.5 * (1 - r) * x0 + r**0.5 * (1 - p) * x_t) / n; "
        "variance = (1 - r) * (1 - p) / n",
    ),
    success=(
        "One formula for every distance. With it a sampler may leave out steps: 50 jumps in place of "
        "1000 steps, as DDIM will."
    ),
)
