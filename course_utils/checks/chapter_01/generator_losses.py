"""01.3: the two losses of the generator, from the logits that its samples get."""

import math

import torch

from course_utils.checks.chapter_01.logs import GOOD, ROUNDED, exact, mistakes
from course_utils.checks.chapter_02.material import normal
from course_utils.checks.exercise import Case, Exercise, Misconception


def _losses(fake_logits):
    n = len(fake_logits)
    return math.fsum(exact(-fake_logits)) / n, -math.fsum(exact(fake_logits)) / n


def _cases() -> tuple[Case, ...]:
    return tuple(
        Case(says, (torch.as_tensor(logits),))
        for says, logits in (
            ("logits [−2, 0.5, 1, −0.25]", [-2.0, 0.5, 1.0, -0.25]),
            ("all logits 0: the discriminator knows nothing", torch.zeros(3)),
            ("20 logits around −6: hardly a fake gets through", 2 * normal(5, 20) - 6),
            ("logits up to ±200", [200.0, -200.0, 50.0, -2.0]),
        )
    )


def _from(pair):
    """From the logarithms, the exercise with pair(log D, log(1−D)), both on fakes."""
    return lambda logs: lambda fake_logits: pair(logs.real(fake_logits), logs.fake(fake_logits))


_right = _from(lambda real, fake: (fake.mean(), -real.mean()))

_SLIPS = (
    (
        "the two losses have changed places",
        "The minimax loss is the term of the game that the generator can move, log(1−D); it comes first.",
        _from(lambda real, fake: (-real.mean(), fake.mean())),
    ),
    (
        "the minimax loss has the wrong sign",
        "The generator minimises log(1−D) as it stands: −∞ once D is 1. With a minus it would help the "
        "discriminator.",
        _from(lambda real, fake: (-fake.mean(), -real.mean())),
    ),
    (
        "the non-saturating loss has the wrong sign",
        "The generator wants log D to be large; what is minimised is −log D. Without the minus it would "
        "make its samples easier to spot.",
        _from(lambda real, fake: (fake.mean(), real.mean())),
    ),
    (
        "both signs are wrong",
        "Minimax: minimise log(1−D), without a minus. Non-saturating: minimise −log D. With yours the "
        "generator would work for the discriminator.",
        _from(lambda real, fake: (-fake.mean(), real.mean())),
    ),
    (
        "the minimax loss stands in both places",
        "The second is −log D: it has its minimum in the same place, but another slope.",
        _from(lambda real, fake: (fake.mean(), fake.mean())),
    ),
    (
        "the non-saturating loss is the minimax loss with its sign turned",
        "−log(1−D) is what the discriminator minimises on fakes. The generator's other loss is −log D.",
        _from(lambda real, fake: (fake.mean(), -fake.mean())),
    ),
    (
        "the non-saturating loss stands in both places",
        "The first is log(1−D), the term of the game in which the generator occurs.",
        _from(lambda real, fake: (-real.mean(), -real.mean())),
    ),
    (
        "the samples are summed instead of averaged",
        "With sums the loss grows with the batch, and so does the step of the optimiser.",
        _from(lambda real, fake: (fake.sum(), -real.sum())),
    ),
    (
        "the means are missing",
        "Each loss is one number: the mean over all samples.",
        _from(lambda real, fake: (fake, -real)),
    ),
)


def _log_of_mean(fake_logits):
    return torch.sigmoid(-fake_logits).mean().log(), -torch.sigmoid(fake_logits).mean().log()


EXERCISE = Exercise(
    id="01.3",
    title="The generator's two losses",
    difficulty=2,
    minutes=10,
    reference=_losses,
    returns=("minimax", "non_saturating"),
    cases=_cases,
    misconceptions=(
        *mistakes(_right, _SLIPS),
        Misconception(
            "the logarithm is taken of the mean, where the mean of the logarithms is meant",
            "Each sample has its own loss; average those. In the mean of D one good fake hides all bad ones.",
            _log_of_mean,
        ),
        Misconception(
            "D is rounded to 1 before log(1−D) is taken",
            "The second loss is right, but 1−σ(200) is 0 in the computer, and its logarithm −∞. "
            "log(1−D) = log σ(−a): use logsigmoid or softplus there, too.",
            lambda a: (ROUNDED.fake(a).mean(), -GOOD.real(a).mean()),
        ),
    ),
    hints=(
        "In 01.2 the generator occurs in one half only: which? It pulls that half the other way.",
        "Minimax: the mean of log(1−D), no minus. Non-saturating: the mean of −log D, as if the fakes were "
        "real samples for the discriminator.",
        "F.logsigmoid(-fake_logits).mean() and -F.logsigmoid(fake_logits).mean()",
    ),
    success=(
        "Both fall as D rises, so both want the same thing. At logits near −6 the first is nearly 0 and the "
        "second about 6; the next exercise asks which of them the generator can feel."
    ),
)
