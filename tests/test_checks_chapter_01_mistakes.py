"""Chapter 01's mistakes, made as a learner would and not as the misconception is: they are named."""

import numpy as np
import pytest
import torch
from test_checks_chapter_01_answers import counts_in_numpy, loss_in_numpy, losses_in_numpy
from torch.nn import functional as F

from course_utils.checks.chapter_01.logs import AND_ROUNDED
from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge


def plain_best(log_p, log_q):
    p, q = np.exp(log_p.numpy()), np.exp(log_q.numpy())
    with np.errstate(invalid="ignore"):
        return p / (p + q)


def verdicts_of_fakes(log_p, log_q):
    p, q = log_p.exp(), log_q.exp()
    return 1 - p / (p + q)


def plain_loss(real_logits, fake_logits):
    D = nn_sigmoid(real_logits), nn_sigmoid(fake_logits)
    return -(torch.log(D[0]).mean() + torch.log(1 - D[1]).mean())


def nn_sigmoid(a):
    return 1 / (1 + torch.exp(-a))


def loss_of_probabilities(real_logits, fake_logits):
    entropy, real, fake = F.binary_cross_entropy, real_logits.sigmoid(), fake_logits.sigmoid()
    return entropy(real, torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake))


def sigmoid_before_the_logits(real_logits, fake_logits):
    return loss_of_logits_with_labels(real_logits.sigmoid(), 1) + loss_of_logits_with_labels(
        fake_logits.sigmoid(), 0
    )


def loss_of_logits_with_labels(logits, label):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def labels_in_one_batch(real_logits, fake_logits):
    logits = torch.cat([real_logits, fake_logits])
    labels = torch.cat([torch.ones_like(real_logits), torch.zeros_like(fake_logits)])
    return F.binary_cross_entropy_with_logits(logits, labels)


def helps_the_discriminator(fake_logits):
    zeros = torch.zeros_like(fake_logits)
    entropy = F.binary_cross_entropy_with_logits
    return entropy(fake_logits, zeros), entropy(fake_logits, zeros + 1)


def slopes_of_the_mean(logits):
    a = logits.clone().requires_grad_()
    return tuple(
        torch.autograd.grad(loss.mean(), a)[0] for loss in (F.logsigmoid(-a), -F.logsigmoid(a))
    )


def slopes_by_autograd_of_the_plain_loss(logits):
    a = logits.clone().requires_grad_()
    D = a.sigmoid()
    return tuple(
        torch.autograd.grad(loss.sum(), a, retain_graph=True)[0]
        for loss in (torch.log(1 - D), -torch.log(D))
    )


def slopes_from_one_grad(logits, copy):
    a = logits.clone().requires_grad_()
    F.logsigmoid(-a).sum().backward()
    first = a.grad.clone() if copy else a.grad
    F.softplus(-a).sum().backward()
    return first, a.grad


def strays_in_mode_0(samples, means, radius):
    distance, nearest = torch.cdist(samples, means).min(1)
    nearest[distance > radius] = 0
    return torch.bincount(nearest, minlength=len(means))


def strays_in_the_last_mode(samples, means, radius):
    counts = [0] * len(means)
    for distances in torch.cdist(samples, means):
        k = int(distances.argmin()) if distances.min() <= radius else -1
        counts[k] += 1
    return counts


def norm_over_the_modes(samples, means, radius):
    distance, which = np.linalg.norm(samples[:, None] - means, axis=1), range(len(means))
    nearest = distance.argmin(1)
    return [int(((nearest == k) & (distance.min(1) <= radius)).sum()) for k in which]


def counted_in_every_mode(samples, means, radius):
    return [int(((samples - mean).norm(dim=1) <= radius).sum()) for mean in means]


def squares_against_radius(samples, means, radius):
    squared = torch.cdist(samples, means) ** 2
    return [((squared.argmin(1) == k) & (squared[:, k] <= radius)).sum() for k in range(len(means))]


def without_minlength(samples, means, radius):
    distance, nearest = torch.cdist(samples, means).min(1)
    return torch.bincount(nearest[distance <= radius])


def unique_ones(samples, means, radius):
    distance, nearest = torch.cdist(samples, means).min(1)
    return nearest[distance <= radius].unique(return_counts=True)[1]


@pytest.mark.parametrize(
    ("exercise", "answer", "name"),
    [
        ("01.1", plain_best, "p and q are computed as themselves, and far away both are 0"),
        (
            "01.1",
            verdicts_of_fakes,
            "q stands above, where p belongs, and far away p and q have become 0",
        ),
        (
            "01.1",
            lambda p, q: torch.stack([p, q], -1).softmax(-1)[..., 1],
            "q stands above, where p belongs",
        ),
        (
            "01.1",
            lambda p, q: p.numpy() - q.numpy(),
            "the logit log p − log q is returned instead of D",
        ),
        (
            "01.1",
            lambda p, q: torch.nan_to_num(p.exp() / (p.exp() + q.exp())),
            "p and q are computed as themselves, and far away 0/0 is made 0",
        ),
        (
            "01.1",
            lambda p, q: (p.exp() + 1e-12) / (p.exp() + q.exp() + 2e-12),
            "far away D is always ½",
        ),
        (
            "01.2",
            lambda r, f: torch.log1p(torch.exp(-r)).mean() + torch.log1p(torch.exp(f)).mean(),
            "σ is rounded to 0 or 1, or e^200 to ∞, before the logarithm",
        ),
        (
            "01.2",
            lambda r, f: -sum(torch.log(x.sigmoid().clamp(min=1e-12)).mean() for x in (r, -f)),
            "the probability is kept 1e-12 away from 0 before the logarithm",
        ),
        (
            "01.2",
            lambda r, f: 2 * labels_in_one_batch(r, f),
            "one mean is taken over all samples, and doubled",
        ),
        ("01.2", plain_loss, "σ is rounded to 0 or 1, or e^200 to ∞, before the logarithm"),
        ("01.2", loss_of_probabilities, "the logarithm is cut off at −100"),
        ("01.2", sigmoid_before_the_logits, "the sigmoid is applied twice"),
        (
            "01.2",
            labels_in_one_batch,
            "one mean is taken over all samples instead of one over each half",
        ),
        ("01.2", lambda r, f: -plain_loss(r, f), f"the sign is wrong{AND_ROUNDED}"),
        ("01.2", lambda r, f: loss_in_numpy(f, r), "real and fake are swapped"),
        (
            "01.2",
            lambda r, f: loss_in_numpy(r, f) / 2,
            "the two halves are averaged instead of added",
        ),
        ("01.3", helps_the_discriminator, "the minimax loss has the wrong sign"),
        ("01.3", lambda a: losses_in_numpy(a)[::-1], "the two losses have changed places"),
        (
            "01.3",
            lambda a: (F.logsigmoid(1 - a).mean(), -F.logsigmoid(a).mean()),
            "1 is subtracted from the logit instead of from the probability",
        ),
        (
            "01.3",
            lambda a: (torch.log(1 - nn_sigmoid(a)).mean(), torch.log(nn_sigmoid(a)).mean()),
            f"the non-saturating loss has the wrong sign{AND_ROUNDED}",
        ),
        (
            "01.3",
            lambda a: (torch.log(1 - nn_sigmoid(a.double())).mean(), F.softplus(-a).mean()),
            "D is rounded to 1 before log(1−D) is taken",
        ),
        (
            "01.3",
            lambda a: ((1 - F.logsigmoid(a)).mean(), F.softplus(-a).mean()),
            "1−log D stands where log(1−D) belongs",
        ),
        (
            "01.4",
            lambda a: slopes_from_one_grad(a, copy=True),
            "the slope of the first loss was added to the second: backward() adds up in a.grad",
        ),
        (
            "01.4",
            lambda a: slopes_from_one_grad(a, copy=False),
            "both are the sum of the two slopes, as if read from one a.grad after two backward()",
        ),
        (
            "01.4",
            slopes_of_the_mean,
            "the slopes are those of the mean, smaller by the number of samples",
        ),
        (
            "01.4",
            slopes_by_autograd_of_the_plain_loss,
            "it goes through a sigmoid that has been rounded to 1, so that 1/(1−D) is 1/0",
        ),
        ("01.4", lambda a: (nn_sigmoid(a), 1 - nn_sigmoid(a)), "both signs are wrong"),
        (
            "01.4",
            lambda a: [-nn_sigmoid(a) * (1 - nn_sigmoid(a))] * 2,
            "only the sigmoid is differentiated, not the logarithm around it",
        ),
        ("01.5", counted_in_every_mode, "a sample counts for every mode within the radius"),
        ("01.5", squares_against_radius, "the squared distance is compared with the radius"),
        (
            "01.5",
            lambda s, m, r: counts_in_numpy(s, m, r**2),
            "the distance is compared with the squared radius",
        ),
        (
            "01.5",
            strays_in_mode_0,
            "samples that belong to no mode are counted for the first one",
        ),
        (
            "01.5",
            strays_in_the_last_mode,
            "samples that belong to no mode are counted for the last one",
        ),
        (
            "01.5",
            norm_over_the_modes,
            "the distance is summed over the modes, not over the two coordinates",
        ),
        ("01.5", lambda s, m, r: torch.zeros(len(m)), None),
        ("01.5", without_minlength, "the counts end at the last mode that has a sample"),
        ("01.5", unique_ones, "modes without a sample are left out"),
        (
            "01.5",
            lambda s, m, r: counts_in_numpy(s, m, r) / len(s),
            "shares are returned instead of counts",
        ),
    ],
)
def test_a_mistake_is_named_however_it_is_written(exercise, answer, name):
    assert judge(EXERCISES[exercise], answer).misconception == name
