"""01.4: the slopes of the generator's two losses, by the logit of one sample."""

import math

import torch

from course_utils.checks.chapter_02.material import normal
from course_utils.checks.exercise import Case, Exercise, Misconception


def _slopes(logits):
    def sigmoid(a):
        return 1 / (1 + math.exp(-a)) if a > 0 else math.exp(a) / (1 + math.exp(a))

    return [-sigmoid(a) for a in logits.tolist()], [-sigmoid(-a) for a in logits.tolist()]


def _cases() -> tuple[Case, ...]:
    def case(says, logits):
        return Case(says, (torch.as_tensor(logits, dtype=torch.float64),))

    return (
        case("logits [−10, −1, 0, 2]", [-10.0, -1.0, 0.0, 2.0]),
        case("one logit, −10", [-10.0]),
        case("12 logits around −3", normal(6, 12) - 3),
        case("logits ±200", [200.0, -200.0]),
    )


def _from(pair):
    """The exercise with pair(D, 1−D), neither of them rounded."""
    return lambda logits: pair(torch.sigmoid(logits), torch.sigmoid(-logits))


def _through_the_rounded_sigmoid(logits):
    D = torch.sigmoid(logits)
    return -1 / (1 - D) * D * (1 - D), -1 / D * D * (1 - D)


EXERCISE = Exercise(
    id="01.4",
    title="Which loss can be felt",
    difficulty=2,
    minutes=10,
    reference=_slopes,
    returns=("minimax", "non_saturating"),
    cases=_cases,
    atol=1e-6,  # at −10 the minimax slope is −0.000045; float32's 1 − σ is off by 6e-8
    misconceptions=(
        Misconception(
            "both signs are wrong",
            "Both losses fall as the logit rises, so both slopes are negative.",
            _from(lambda D, rest: (D, rest)),
        ),
        Misconception(
            "the minimax slope has the wrong sign",
            "log(1−D) falls as D rises: the inner derivative of 1−D is −1.",
            _from(lambda D, rest: (D, -rest)),
        ),
        Misconception(
            "the non-saturating slope has the wrong sign",
            "The loss is −log D, with a minus; it falls as D rises.",
            _from(lambda D, rest: (-D, rest)),
        ),
        Misconception(
            "the two slopes have changed places",
            "For log(1−D), 1/(1−D) cancels the factor 1−D of dD/da = D(1−D), and D is left. It comes first.",
            _from(lambda D, rest: (-rest, -D)),
        ),
        Misconception(
            "only the sigmoid is differentiated, not the logarithm around it",
            "dD/da = D(1−D) is the inner half of the chain rule; the logarithm brings 1/D or 1/(1−D).",
            _from(lambda D, rest: (-D * rest, -D * rest)),
        ),
        Misconception(
            "the slope is taken by the probability D, not by the logit",
            "−1/(1−D) and −1/D are the outer half of the chain rule. Multiply each by dD/da = D(1−D).",
            _from(lambda D, rest: (-1 / rest, -1 / D)),
        ),
        Misconception(
            "dD/da is taken to be D, without the factor 1−D",
            "e^a has itself as derivative, the sigmoid has not: σ' = σ(1−σ).",
            _from(lambda D, rest: (-D / rest, -torch.ones_like(D))),
        ),
        Misconception(
            "the slopes are those of the mean, smaller by the number of samples",
            "Asked for is the slope of each sample's own loss. With autograd: differentiate the sum.",
            lambda logits: tuple(-torch.sigmoid(sign * logits) / len(logits) for sign in (1, -1)),
        ),
        Misconception(
            "the slopes are averaged over the samples",
            "Each sample has a slope of its own: N numbers in, N numbers out, twice.",
            _from(lambda D, rest: (-D.mean(), -rest.mean())),
        ),
        Misconception(
            "the losses are returned instead of their slopes",
            "log(1−D) and −log D are to be differentiated by the logit.",
            _from(lambda D, rest: (rest.log(), -D.log())),
        ),
        Misconception(
            "the logit stands where D belongs",
            "The formulas are right, but D is σ(a), a number between 0 and 1.",
            lambda logits: (-logits, logits - 1),
        ),
        Misconception(
            "both are the minimax slope",
            "−log D has another slope than log(1−D), though both fall. That is why it was invented.",
            _from(lambda D, rest: (-D, -D)),
        ),
        Misconception(
            "both are the non-saturating slope",
            "The first is that of log(1−D), another function: 1/(1−D) cancels the 1−D in dD/da = D(1−D), "
            "and −D is left.",
            _from(lambda D, rest: (-rest, -rest)),
        ),
        Misconception(
            "the slope of the first loss was added to the second: backward() adds up in a.grad",
            "−σ(a) − (1−σ(a)) is −1 at every logit. Set a.grad to None in between, or use "
            "torch.autograd.grad, which adds nothing up.",
            _from(lambda D, rest: (-D, -torch.ones_like(D))),
        ),
        Misconception(
            "both are the sum of the two slopes, as if read from one a.grad after two backward()",
            "backward() adds to a.grad, and −σ(a) − (1−σ(a)) is −1 at every logit. Use torch.autograd.grad "
            "for each loss by itself.",
            _from(lambda D, rest: (-torch.ones_like(D), -torch.ones_like(D))),
        ),
        Misconception(
            "it goes through a sigmoid that has been rounded to 1, so that 1/(1−D) is 1/0",
            "At a = 200, 1−D is 0 in the computer. On paper 1/(1−D) cancels against the 1−D in dD/da: cancel "
            "it before you compute.",
            _through_the_rounded_sigmoid,
        ),
    ),
    hints=(
        "Differentiate in two steps: the loss by D, then D by a, and multiply. The sigmoid has σ' = σ(1−σ).",
        "d log(1−D)/dD = −1/(1−D) and d(−log D)/dD = −1/D. Times D(1−D), what cancels?",
        "-torch.sigmoid(logits), and -(1 - D), which is -torch.sigmoid(-logits).",
    ),
    success=(
        "At a = −10 they are −0.000045 and −0.99995. A generator whose fakes are all found out hears the first "
        "loss 22,000 times more faintly than the second."
    ),
)
