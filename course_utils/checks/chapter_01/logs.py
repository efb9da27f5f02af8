"""The two logarithms in every loss of a GAN, and how they go wrong."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from course_utils.checks.exercise import Misconception

Function = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Logs:
    """From logits, number by number: log D = log σ(a), and log(1 − D) = log(1 − σ(a))."""

    real: Function
    fake: Function


def _of(log: Function) -> Logs:
    """The two logarithms, with `log` applied to the probability."""
    return Logs(lambda a: log(torch.sigmoid(a)), lambda a: log(1 - torch.sigmoid(a)))


def exact(a: torch.Tensor) -> list[float]:
    """log σ(a) for each logit, number by number: −log(1 + e^−a), with the larger exponential taken out."""
    return [min(x, 0.0) - math.log1p(math.exp(-abs(x))) for x in a.tolist()]


GOOD = Logs(logsigmoid, lambda a: logsigmoid(-a))
ROUNDED = _of(torch.log)

WAYS: tuple[tuple[str, str, Logs], ...] = (
    (
        "σ is rounded to 0 or 1, or e^200 to ∞, before the logarithm",
        "In the computer 1−σ(200) is 0, and in float32 e^200 is ∞: their logarithms are infinite, where on "
        "paper there is 200. logsigmoid and softplus compute neither.",
        ROUNDED,
    ),
    (
        "the logarithm is cut off at −100",
        "binary_cross_entropy does that, to hide that σ was rounded to 0: no loss beyond 100, and "
        "there no gradient either. Its twin …_with_logits does not need it.",
        _of(lambda d: torch.log(d).clamp(min=-100)),
    ),
    *(
        (
            f"the probability is kept {size} away from 0 before the logarithm",
            f"log({size}) is −{-math.log(float(size)):.1f}: beyond that the loss stands still, and its slope "
            "is 0. Use logsigmoid or softplus, which need no such help.",
            _of(lambda d, _size=float(size): torch.log(d + _size)),
        )
        for size in ("1e-6", "1e-7", "1e-8", "1e-10", "1e-12")
    ),
    (
        "the sigmoid is applied twice",
        "logsigmoid, softplus and …_with_logits contain the sigmoid already: give them the logits "
        "themselves.",
        Logs(lambda a: logsigmoid(torch.sigmoid(a)), lambda a: logsigmoid(-torch.sigmoid(a))),
    ),
    (
        "the logits are taken for probabilities",
        "A logit is any number, and negative ones have no logarithm. The probability is σ(a).",
        Logs(torch.log, lambda a: torch.log(1 - a)),
    ),
    (
        "1 is subtracted from the logit instead of from the probability",
        "1−σ(a) is σ(−a), not σ(1−a): to turn a probability round, turn the sign of its logit.",
        Logs(logsigmoid, lambda a: logsigmoid(1 - a)),
    ),
    (
        "1−log D stands where log(1−D) belongs",
        "The 1 belongs inside the logarithm: log(1−D) = log σ(−a). Minus log D would ask for the opposite.",
        Logs(logsigmoid, lambda a: 1 - logsigmoid(a)),
    ),
    (
        "the logarithm is missing",
        "Without it a confident mistake costs hardly more than a small one: it is the logarithm that "
        "makes D the probability.",
        _of(lambda d: d),
    ),
    (
        "the logarithm is to base 2",
        "Use the natural one, torch.log; the losses are in nats.",
        Logs(lambda a: logsigmoid(a) / math.log(2), lambda a: logsigmoid(-a) / math.log(2)),
    ),
)

AND_ROUNDED = ", and σ or e^200 is rounded before the logarithm"
_BOTH = (
    "Besides, 1−σ(200) is 0 in the computer, and in float32 e^200 is ∞, so the result is infinite: use "
    "logsigmoid or softplus."
)


def mistakes(
    right: Callable[[Logs], Callable],
    slips: tuple[tuple[str, str, Callable[[Logs], Callable]], ...],
) -> tuple[Misconception, ...]:
    """The right loss from wrong logarithms; and the slips, each with good logarithms and with rounded ones.

    Args:
        right: from the logarithms, the exercise done right.
        slips: name, explanation, and from the logarithms, the exercise with that slip.
    """
    return (
        *(Misconception(name, why, right(logs)) for name, why, logs in WAYS),
        *(Misconception(name, why, slip(GOOD)) for name, why, slip in slips),
        *(
            Misconception(f"{name}{AND_ROUNDED}", f"{why} {_BOTH}", slip(ROUNDED))
            for name, why, slip in slips
        ),
    )
