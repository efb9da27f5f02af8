"""05.2: one step of training, up to its loss."""

import math

import torch

from course_utils.checks.chapter_02.closed_form import Factors, slips
from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.chapter_05.material import Network, points
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def _loss(model, schedule, x0, t, eps):
    total = 0.0
    for x, step, e in zip(x0, t.tolist(), eps, strict=True):
        share = math.prod(1 - beta for beta in schedule.beta[: step + 1].tolist())
        x_t = share**0.5 * x + (1 - share) ** 0.5 * e
        total += float(((model(x_t[None], step)[0] - e) ** 2).sum())
    return total / x0.numel()


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, seed, t):
        x0, eps = points(seed, len(t), 2), points(seed + 1, len(t), 2)
        says = f"{says}{len(t)} points at t = {t}"
        return Case(says, (Network(schedule.T), schedule, x0, torch.tensor(t), eps))

    uneven = from_beta(UNEVEN)
    return (  # in the first, the batch is as long as a point, so that the wrong axis fits too
        case("", uneven, 41, [1, 7]),
        case("", uneven, 43, [0, 9, 4, 4, 2]),
        case("1000 linear steps, ", linear(1000), 45, [999, 30, 400]),
        case("", uneven, 47, [3]),
    )


def _noisy(schedule, x0, t, eps):
    share = schedule.alpha_bar[t][:, None]
    return share.sqrt() * x0 + (1 - share).sqrt() * eps


def _with_factors(factors: Factors):
    def wrong(model, schedule, x0, t, eps):
        signal, noise = (f[:, None] for f in factors(schedule, t))
        return (model(signal * x0 + noise * eps, t) - eps).square().mean()

    return wrong


def _gap(become):
    """The exercise with become(what the model answered − eps) as its end."""
    return lambda model, schedule, x0, t, eps: become(model(_noisy(schedule, x0, t, eps), t) - eps)


def _told(t_of):
    """The exercise with a model that is told t_of(t, T)."""

    def wrong(model, schedule, x0, t, eps):
        return (model(_noisy(schedule, x0, t, eps), t_of(t, schedule.T)) - eps).square().mean()

    return wrong


def _aims_at(target):
    """The exercise with target(schedule, x0, t, eps, x_t) in place of eps."""

    def wrong(model, schedule, x0, t, eps):
        x_t = _noisy(schedule, x0, t, eps)
        return (model(x_t, t) - target(schedule, x0, t, eps, x_t)).square().mean()

    return wrong


def _sees(shown):
    """The exercise with shown(schedule, x0, t, eps) in place of x_t."""
    return lambda model, schedule, x0, t, eps: (
        (model(shown(schedule, x0, t, eps), t) - eps).square().mean()
    )


def _along_the_coordinates(schedule, x0, t, eps):
    share = schedule.alpha_bar[t]
    return share.sqrt() * x0 + (1 - share).sqrt() * eps


EXERCISE = Exercise(
    id="05.2",
    title="The loss of one batch",
    difficulty=2,
    minutes=10,
    reference=_loss,
    returns=("loss",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the model is shown the clean x0 instead of x_t",
            "There is no noise in x0, so nothing can be learned about it. The model sees x_t, and has to "
            "find the eps in it.",
            _sees(lambda schedule, x0, t, eps: x0),
        ),
        Misconception(
            "the model is shown eps instead of x_t",
            "Then it need only copy what it sees. The model sees the mixture x_t.",
            _sees(lambda schedule, x0, t, eps: eps),
        ),
        Misconception(
            "x0 is the target instead of eps",
            "A network can be trained on x0, too, but then it is read differently when sampling. Here it is "
            "to answer eps.",
            _aims_at(lambda schedule, x0, t, eps, x_t: x0),
        ),
        Misconception(
            "x_t is the target instead of eps",
            "The model sees x_t: copying it would be a loss of 0. The target is the noise inside.",
            _aims_at(lambda schedule, x0, t, eps, x_t: x_t),
        ),
        Misconception(
            "the target is the scaled noise √(1−ᾱ) eps",
            "Asked for is eps itself, of size 1 at every t; that keeps the loss on one scale.",
            _aims_at(lambda s, x0, t, eps, x_t: (1 - s.alpha_bar[t][:, None]).sqrt() * eps),
        ),
        Misconception(
            "t runs along the coordinates instead of the points",
            "Broadcasting lines shapes up from the right, so [B] meets the coordinates of [B, 2]. Your numbers "
            "need the shape [B, 1].",
            _sees(_along_the_coordinates),
        ),
        Misconception(
            "all points are noised up to the first t",
            "Each point has its own t: point i uses t[i].",
            _sees(lambda schedule, x0, t, eps: _noisy(schedule, x0, t[:1].expand(len(t)), eps)),
        ),
        Misconception(
            "the model is told the first t for all points",
            "Point i stands at step t[i]: hand the whole t on to the model.",
            _told(lambda t, T: t[0]),
        ),
        Misconception(
            "the model is told t+1",
            "x_t at t = 0 has had one step of noise already, and the model is told t = 0 for it, now and when "
            "sampling.",
            _told(lambda t, T: t + 1),
        ),
        Misconception(
            "the model is told t−1",
            "The model must know how much noise is in x_t, and that is told by t itself.",
            _told(lambda t, T: t - 1),
        ),
        Misconception(
            "the model is told t/T",
            "The network divides by T itself; it takes the whole number t.",
            _told(lambda t, T: t / T),
        ),
        Misconception(
            "the squares are summed instead of averaged",
            "With a sum the loss grows with the batch. Take the mean over all 2B numbers.",
            _gap(lambda gap: gap.square().sum()),
        ),
        Misconception(
            "the squares are summed over the coordinates and averaged over the points",
            "That is ‖ε−ε_θ‖², as the papers write it, and twice the mean over all 2B numbers that is asked "
            "for.",
            _gap(lambda gap: gap.square().sum(1).mean()),
        ),
        Misconception(
            "each point has a loss of its own",
            "What is minimised is one number: average over the points too.",
            _gap(lambda gap: gap.square().mean(1)),
        ),
        Misconception(
            "nothing is averaged",
            "What is minimised is one number: the mean of all 2B squares.",
            _gap(torch.square),
        ),
        Misconception(
            "the differences are not squared",
            "Positive and negative errors cancel, and a large bias to one side has the smallest loss of all.",
            _gap(torch.mean),
        ),
        Misconception(
            "the absolute error is averaged instead of the squared one",
            "Its best answer would be the median of eps given x_t; the formulas of chapter 04 need the mean, "
            "which the square gives.",
            _gap(lambda gap: gap.abs().mean()),
        ),
        Misconception(
            "the lengths of the errors are averaged, not their squares",
            "A length has a root in it. Its mean is smallest at a kind of median; the formulas of chapter 04 "
            "need the mean, which the square gives.",
            _gap(lambda gap: gap.norm(dim=1).mean()),
        ),
        Misconception(
            "the mean is taken before the square",
            "Square each difference first: in the mean of the differences, errors of opposite sign cancel.",
            _gap(lambda gap: gap.mean() ** 2),
        ),
        Misconception(
            "the root of the mean square is returned",
            "It has the same minimum for a single batch, but not for the average over batches. Leave the "
            "root out.",
            _gap(lambda gap: gap.square().mean().sqrt()),
        ),
        Misconception(
            "the half of the loss is returned",
            "The mean of the squares is asked for, without a ½.",
            _gap(lambda gap: gap.square().mean() / 2),
        ),
        *slips(_with_factors),
    ),
    hints=(
        "Three lines: noise the points with the closed form, ask the model, compare its answer with eps.",
        "schedule.alpha_bar[t] has shape [B]; [:, None] makes it [B, 1], which fits points of shape [B, 2].",
        "a = schedule.alpha_bar[t][:, None]; x_t = a.sqrt() * x0 + (1 - a).sqrt() * eps; "
        "return ((model(x_t, t) - eps) ** 2).mean()",
    ),
    success=(
        "This line, an optimiser and a stream of x0, t and eps: that is all of training. Answering 0 always "
        "costs 1 on average, so that is the loss to beat."
    ),
)
