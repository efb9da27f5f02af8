"""01.1: the discriminator that no other can beat, from the two log densities."""

import torch

from course_utils.checks.chapter_02.material import normal
from course_utils.checks.exercise import Case, Exercise, Misconception


def _best(log_p, log_q):
    return torch.exp(log_p - torch.logaddexp(log_p, log_q))


def _cases() -> tuple[Case, ...]:
    def case(says, log_p, log_q):
        return Case(
            says, tuple(torch.as_tensor(log, dtype=torch.float64) for log in (log_p, log_q))
        )

    def densities(p, q):
        return case(
            f"p = {p} and q = {q}, as logarithms", torch.tensor(p).log(), torch.tensor(q).log()
        )

    some = normal(1, 6, 5)
    return (
        densities([0.4, 0.1, 0.02, 0.3, 0.25], [0.1, 0.1, 0.3, 0.002, 0.5]),
        case("a grid of points, shape [6, 5]", some, some + normal(2, 6, 5)),
        case("a generator that has q = p", some, some),
        case(
            "points far from everything, where log p is −2000, −800, −2000 and −900",
            [-2000.0, -800.0, -2000.0, -900.0],
            [-2003.0, -800.5, -1990.0, -899.0],
        ),
    )


# What may be made of p and q once they are plain numbers, and the same from their logarithms.
_FROM_DENSITIES = (
    (
        "the ratio p/q is returned",
        "D is a probability, p/(p+q). The ratio says how the two compare, and runs from 0 to infinity.",
        lambda p, q: p / q,
        lambda a, b: torch.exp(a - b),
    ),
    (
        "q stands above, where p belongs",
        "D is the probability that the sample is real, and real samples have density p. Yours is 1−D.",
        lambda p, q: q / (p + q),
        lambda a, b: torch.sigmoid(b - a),
    ),
    (
        "p is divided by the mean of p and q, not by their sum",
        "Half of the samples are real: p/2 over (p+q)/2. The halves cancel if both are there; with one "
        "missing, D goes up to 2.",
        lambda p, q: p / ((p + q) / 2),
        lambda a, b: 2 * torch.sigmoid(a - b),
    ),
)

_VANISHED = (
    "e to the −2000 is 0 in every dtype, and 0/0 is not a number. Only log p − log q is needed."
)

EXERCISE = Exercise(
    id="01.1",
    title="The best possible discriminator",
    difficulty=1,
    minutes=5,
    reference=_best,
    returns=("D",),
    cases=_cases,
    misconceptions=(
        *(Misconception(name, why, logs) for name, why, _, logs in _FROM_DENSITIES),
        *(
            Misconception(
                f"{name}, and far away p and q have become 0",
                f"{why} Also: {_VANISHED}",
                lambda log_p, log_q, _f=plain: _f(log_p.exp(), log_q.exp()),
            )
            for name, why, plain, _ in _FROM_DENSITIES
        ),
        Misconception(
            "p and q are computed as themselves, and far away both are 0",
            f"The formula is right, but {_VANISHED}",
            lambda log_p, log_q: log_p.exp() / (log_p.exp() + log_q.exp()),
        ),
        Misconception(
            "p and q are computed as themselves, and far away 0/0 is made 0",
            "A small number below the line does that, or nan_to_num. But there D may be anything: only "
            "log p − log q is needed, and it is still known.",
            lambda log_p, log_q: log_p.exp() / (log_p.exp() + log_q.exp() + 1e-8),
        ),
        Misconception(
            "far away D is always ½",
            "½ says p = q. Far away both may be 0 in the computer, or both cut off at one small number, but "
            "log p − log q still tells them apart.",
            lambda log_p, log_q: torch.sigmoid(log_p.clamp(min=-50) - log_q.clamp(min=-50)),
        ),
        Misconception(
            "the logarithms are put where the densities belong",
            "log p/(log p + log q) has no meaning: the densities add up, their logarithms do not.",
            lambda log_p, log_q: log_p / (log_p + log_q),
        ),
        Misconception(
            "log D is returned instead of D",
            "A probability lies between 0 and 1; take the exponential of it.",
            lambda log_p, log_q: torch.nn.functional.logsigmoid(log_p - log_q),
        ),
        Misconception(
            "the logit log p − log q is returned instead of D",
            "That is what goes into the sigmoid. D = σ(log p − log q).",
            lambda log_p, log_q: log_p - log_q,
        ),
        Misconception(
            "the ratio p/q goes into the sigmoid, not its logarithm",
            "σ(a) = 1/(1+e^−a), so the e must cancel the logarithm: a = log p − log q. Your D is never "
            "below ½.",
            lambda log_p, log_q: torch.sigmoid(torch.exp(log_p - log_q)),
        ),
        Misconception(
            "the densities are subtracted",
            "p − q tells which is larger, but not how probable each is: that takes their ratio.",
            lambda log_p, log_q: log_p.exp() - log_q.exp(),
        ),
        Misconception(
            "q is not used: D is σ(log p)",
            "σ(log p) = p/(p+1), the best D against a generator of density 1 everywhere.",
            lambda log_p, log_q: torch.sigmoid(log_p),
        ),
        Misconception(
            "it decides for one side instead of giving a probability",
            "0 or 1 is what one guesses in the end. Where p = 0.4 and q = 0.1, one in five samples there "
            "is a fake all the same.",
            lambda log_p, log_q: (log_p > log_q).double(),
        ),
        Misconception(
            "the probabilities add up to 1 over the points, not over real and fake",
            "At each point by itself the sample is either real or fake: softmax over those two.",
            lambda log_p, log_q: torch.softmax((log_p - log_q).flatten(), 0).reshape(log_p.shape),
        ),
    ),
    hints=(
        "A sample is real or fake with even chances. Given that it lies at x, which share of such samples is real?",
        "Divide p/(p+q) above and below by p: only q/p is left, and that is the exponential of log q − log p.",
        "1 / (1 + exp(log_q - log_p)) is the sigmoid of the difference: torch.sigmoid(log_p - log_q).",
    ),
    success=(
        "It holds even where both densities are 0 for the computer. Read backwards: the logit of the best "
        "discriminator is log p − log q, so it knows how the two densities compare, at every point."
    ),
)
