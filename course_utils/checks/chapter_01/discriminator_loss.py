"""01.2: the discriminator's loss, from its logits on real samples and on fakes."""

import math

import torch

from course_utils.checks.chapter_01.logs import exact, mistakes
from course_utils.checks.chapter_02.material import normal
from course_utils.checks.exercise import Case, Exercise, Misconception


def _loss(real_logits, fake_logits):
    halves = exact(real_logits), exact(-fake_logits)
    return -sum(math.fsum(half) / len(half) for half in halves)


def _cases() -> tuple[Case, ...]:
    def case(says, real, fake):
        return Case(says, (torch.as_tensor(real), torch.as_tensor(fake)))

    return (
        case("four logits each", [2.0, -1.0, 0.5, 3.0], [-1.5, 1.0, 0.25, -2.5]),
        case("9 real logits and 4 fake ones", 1 + 2 * normal(3, 9), 2 * normal(4, 4) - 1),
        case("all logits 0: the discriminator knows nothing", torch.zeros(5), torch.zeros(2)),
        case("logits up to ±200", [200.0, -200.0, 40.0, -3.0], [200.0, -200.0, -60.0, 1.0]),
    )


def _from(halves):
    """From the logarithms, the exercise with halves(log D on real, log(1−D) on fakes)."""
    return lambda logs: lambda real, fake: halves(logs.real(real), logs.fake(fake))


_right = _from(lambda real, fake: -real.mean() - fake.mean())

_SLIPS = (
    (
        "the sign is wrong",
        "The discriminator wants log D and log(1−D) to be large. What is minimised is minus that.",
        _from(lambda real, fake: real.mean() + fake.mean()),
    ),
    (
        "real and fake are swapped",
        "D is the probability of being real: it should be 1 on real samples and 0 on fakes.",
        lambda logs: lambda real, fake: -logs.fake(real).mean() - logs.real(fake).mean(),
    ),
    (
        "only the real half is there",
        "Then D = 1 everywhere is perfect, and it never learns what a fake is.",
        _from(lambda real, fake: -real.mean()),
    ),
    (
        "only the fake half is there",
        "Then D = 0 everywhere is perfect, and it never learns what is real.",
        _from(lambda real, fake: -fake.mean()),
    ),
    (
        "both halves ask for 'real'",
        "On fakes it is 1−D that should be near 1: log(1−D), not log D.",
        lambda logs: lambda real, fake: -logs.real(real).mean() - logs.real(fake).mean(),
    ),
    (
        "the fake half has the wrong sign",
        "Both halves are logarithms that should be large, so both stand behind the same minus.",
        _from(lambda real, fake: -real.mean() + fake.mean()),
    ),
    (
        "the samples are summed instead of averaged",
        "With sums the loss grows with the batch, and so does the step of the optimiser.",
        _from(lambda real, fake: -real.sum() - fake.sum()),
    ),
    (
        "one mean is taken over all samples instead of one over each half",
        "Then whichever half has more samples counts more, and the best D is no longer p/(p+q).",
        _from(lambda real, fake: -torch.cat([real, fake]).mean()),
    ),
    (
        "one mean is taken over all samples, and doubled",
        "That is right for groups of equal size only. Otherwise the larger one counts more, and the best D "
        "is no longer p/(p+q).",
        _from(lambda real, fake: -2 * torch.cat([real, fake]).mean()),
    ),
    (
        "the two halves are averaged instead of added",
        "A factor ½ changes no minimum, but here the sum is asked for: 1.386 where the discriminator "
        "knows nothing.",
        _from(lambda real, fake: -(real.mean() + fake.mean()) / 2),
    ),
    (
        "the means are missing",
        "A loss is one number: take the mean over the real samples, and that over the fakes.",
        _from(lambda real, fake: -real - fake),
    ),
)


def _log_of_mean(real, fake):
    return -torch.sigmoid(real).mean().log() - torch.sigmoid(-fake).mean().log()


EXERCISE = Exercise(
    id="01.2",
    title="The discriminator's loss",
    difficulty=2,
    minutes=10,
    reference=_loss,
    returns=("loss",),
    cases=_cases,
    misconceptions=(
        *mistakes(_right, _SLIPS),
        Misconception(
            "the logarithm is taken of the mean, where the mean of the logarithms is meant",
            "Each sample has its own log-probability; average those. One confident mistake must not hide "
            "among many good guesses.",
            _log_of_mean,
        ),
    ),
    hints=(
        "Two groups of samples, two logarithms: what should D be on a real sample, and what on a fake?",
        "1−σ(a) = σ(−a), so you need only log σ. F, which is torch's nn.functional, has it as one function "
        "that does not round σ on the way: F.logsigmoid.",
        "-(F.logsigmoid(real_logits).mean() + F.logsigmoid(-fake_logits).mean())",
    ),
    success=(
        "At logits of ±200 your loss is still right. If a discriminator knows nothing it pays "
        "2 log 2 = 1.386: a training that settles there has a generator that fools it, or a discriminator "
        "that learns nothing."
    ),
)
