"""10.5: one step with float16 gradients, and what it teaches about the scale."""

import torch

from course_utils.checks.chapter_02.material import normal
from course_utils.checks.exercise import Case, Exercise, Misconception


def _scaled_step(weights, gradients, scale, good, lr, interval):
    if not torch.isfinite(gradients).all():
        return weights.clone(), scale / 2, 0
    moved = weights.double() - (lr / scale) * gradients.double()
    return (moved, 2 * scale, 0) if good + 1 == interval else (moved, scale, good + 1)


def _cases() -> tuple[Case, ...]:
    def case(seed, scale, good, interval, **spoilt):
        gradients = scale * normal(seed, 4)
        for place, value in enumerate(spoilt.values()):
            gradients[place] = value
        fine = "finite gradients" + ", some beyond 65,504" * bool((gradients.abs() > 65_504).any())
        seen = " and ".join(spoilt).replace("_", " ")
        says = (
            f"{'gradients with ' + seen if spoilt else fine}, scale = {scale:g}, "
            f"good = {good}, interval = {interval}"
        )
        return Case(says, (normal(seed + 50, 4), gradients, scale, good, 0.1, interval))

    inf = float("inf")
    return (
        case(601, 1024.0, 3, 2000),
        case(602, 512.0, 6, 10, inf=inf),
        case(603, 64.0, 9, 10),
        case(604, 256.0, 9, 10, minus_inf=-inf),
        case(605, 65_536.0, 8, 10),
        case(606, 128.0, 4, 10, NaN=float("nan")),
        case(607, 2048.0, 2, 5, inf=inf, minus_inf=-inf),
        case(608, 0.5, 0, 1),
    )


def _step(
    overflow=lambda w, g, s, n, lr: (w.clone(), s / 2, 0),
    fine=lambda w, g, s, n, lr, new: w - lr * g / s,
    seen=lambda g: bool(g.isfinite().all()),
    due=lambda n, interval: n + 1 >= interval,
    grown=lambda s, n: (2 * s, 0),
    counted=lambda n: n + 1,
):
    """The exercise, with other answers to: what after an overflow, what else, is it finite, is it due."""

    def wrong(weights, gradients, scale, good, lr, interval):
        if not seen(gradients):
            return overflow(weights, gradients, scale, good, lr)
        new, count = grown(scale, good) if due(good, interval) else (scale, counted(good))
        return fine(weights, gradients, scale, good, lr, new), new, count

    return wrong


def _anyway(w, g, s, n, lr):
    return w - lr * g / s, s / 2, 0


def _only_finite_ones(w, g, s, n, lr):
    return torch.where(g.isfinite(), w - lr * g / s, w), s / 2, 0


EXERCISE = Exercise(
    id="10.5",
    title="Gradients in sixteen bits",
    difficulty=2,
    minutes=15,
    reference=_scaled_step,
    returns=("weights", "scale", "good"),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the gradients are not divided by the scale",
            "They are those of scale times the loss, so the step is a thousand times too long, or more.",
            _step(fine=lambda w, g, s, n, lr, new: w - lr * g),
        ),
        Misconception(
            "the gradients are multiplied by the scale once more",
            "The loss was multiplied by it, and the gradients came out as many times too large: divide.",
            _step(fine=lambda w, g, s, n, lr, new: w - lr * g * s),
        ),
        Misconception(
            "the gradients are divided by the new scale",
            "They were computed with the old one. Once in `interval` steps the step would be half as long.",
            _step(fine=lambda w, g, s, n, lr, new: w - lr * g / new),
        ),
        Misconception(
            "the step goes up the gradient",
            "The gradient points to where the loss grows: subtract.",
            _step(fine=lambda w, g, s, n, lr, new: w + lr * g / s),
        ),
        Misconception(
            "the learning rate is not used",
            "Plain gradient descent moves by lr times the gradient.",
            _step(fine=lambda w, g, s, n, lr, new: w - g / s),
        ),
        Misconception(
            "the step is made although the gradients have overflowed",
            "A single inf or NaN reaches a weight, in the next step all of them, and nothing brings them back.",
            _step(overflow=_anyway),
        ),
        Misconception(
            "only the numbers that have overflowed are left out",
            "The others may be products of what has overflowed further back, and a step along half a gradient "
            "goes in another direction. Leave out the whole step.",
            _step(overflow=_only_finite_ones),
        ),
        Misconception(
            "only inf is looked for, not NaN",
            "inf − inf and 0 · inf are NaN, so an overflow further back often arrives as that.",
            _step(seen=lambda g: not bool(g.isinf().any())),
        ),
        Misconception(
            "only NaN is looked for, not inf",
            "An overflow gives inf first, and NaN only where infs meet.",
            _step(seen=lambda g: not bool(g.isnan().any())),
        ),
        Misconception(
            "only +inf is looked for",
            "Gradients are negative as often as positive, and those far below 0 become −inf. And NaN is equal to "
            "nothing.",
            _step(seen=lambda g: not bool((g == torch.inf).any())),
        ),
        Misconception(
            "−inf is not looked for",
            "Gradients are negative as often as positive, and overflow on both sides. isfinite sees it all.",
            _step(seen=lambda g: bool(torch.isfinite(g.max()))),
        ),
        Misconception(
            "one overflow is not enough for the step to be left out",
            "Either nothing is looked for, or `any` stands where `all` belongs. A single inf ruins its weight, and "
            "with it all that the network computes.",
            _step(seen=lambda g: bool(g.isfinite().any())),
        ),
        Misconception(
            "what is beyond 65,504 is taken for an overflow",
            "That is where float16 ends, and what went beyond is inf by now. These gradients are float32, where "
            "70,000 is a number as good as any: ask isfinite.",
            _step(seen=lambda g: bool((g.abs() < 65_504).all())),
        ),
        Misconception(
            "the scale stays after an overflow",
            "The next step would overflow as well, and the one after it: training stands still.",
            _step(overflow=lambda w, g, s, n, lr: (w.clone(), s, 0)),
        ),
        Misconception(
            "the scale is doubled after an overflow",
            "The gradients were too large for float16: they need a smaller scale.",
            _step(overflow=lambda w, g, s, n, lr: (w.clone(), 2 * s, 0)),
        ),
        Misconception(
            "the scale goes back to 1 after an overflow",
            "Then small gradients become 0 for many thousand steps, until it has grown again. Half is enough.",
            _step(overflow=lambda w, g, s, n, lr: (w.clone(), 1.0, 0)),
        ),
        Misconception(
            "good goes on after an overflow",
            "It counts the good steps in a row. Else the scale grows again right after it has turned out to be "
            "too large.",
            _step(overflow=lambda w, g, s, n, lr: (w.clone(), s / 2, n)),
        ),
        Misconception(
            "a step that is left out counts as good",
            "It has overflowed: the count of good steps in a row begins anew, at 0.",
            _step(overflow=lambda w, g, s, n, lr: (w.clone(), s / 2, n + 1)),
        ),
        Misconception(
            "the step after an overflow is counted beforehand",
            "None has been good since. good is 0.",
            _step(overflow=lambda w, g, s, n, lr: (w.clone(), s / 2, 1)),
        ),
        Misconception(
            "the scale does not grow with the step that makes `interval` good ones in a row",
            "Either it never grows, or one step too late: `good` counts the steps before this one, so it is due "
            "when good + 1 == interval.",
            _step(due=lambda n, interval: False),
        ),
        Misconception(
            "the scale is doubled one step too early",
            "With this step, good + 1 of them are good. It is due when that is interval, not one less.",
            _step(due=lambda n, interval: n + 2 >= interval),
        ),
        Misconception(
            "the scale is doubled after every good step",
            "Then it overflows every few steps, and all these steps are lost. Wait for `interval` good ones.",
            _step(due=lambda n, interval: True),
        ),
        Misconception(
            "good goes on when the scale is doubled",
            "From then on it is due in every step (or never again). Begin anew, at 0.",
            _step(grown=lambda s, n: (2 * s, n + 1)),
        ),
        Misconception(
            "good is 1 when the scale has been doubled",
            "No step has been made with the new scale yet: good is 0.",
            _step(grown=lambda s, n: (2 * s, 1)),
        ),
        Misconception(
            "the scale is halved when it should grow",
            "After so many good steps there is room: a larger scale saves smaller gradients.",
            _step(grown=lambda s, n: (s / 2, 0)),
        ),
        Misconception(
            "good steps are not counted",
            "good + 1 is to be returned after a good step, or the scale never grows.",
            _step(counted=lambda n: n),
        ),
    ),
    hints=(
        "First of all: is every gradient finite? If not, nothing of this step can be used. If so, what is the "
        "true gradient?",
        "Not all finite: (weights, scale / 2, 0). Else the weights move by -lr * gradients / scale; good + 1 "
        "steps are good now, and when that is interval, the scale doubles and the count begins at 0.",
        "if not gradients.isfinite().all():\n"
        "    return weights, scale / 2, 0\n"
        "weights = weights - lr * gradients / scale\n"
        "if good + 1 == interval:\n"
        "    return weights, 2 * scale, 0\n"
        "return weights, scale, good + 1",
    ),
    success=(
        "The scale finds its own place, just below where gradients overflow, and follows it as they shrink. "
        "PyTorch's GradScaler does this, with an interval of 2000."
    ),
    atol=1e-6,
)
