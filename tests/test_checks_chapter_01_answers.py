"""Chapter 01's exercises, answered in a learner's own words: right answers pass however they are written."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from written_answers import assert_three_for_each_exercise, each

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge

# --- right answers, written differently ---------------------------------------------------------------------


class Judge:
    """A right answer to 01.1 that is an object."""

    def __call__(self, log_p, log_q):
        return torch.stack([log_p, log_q]).softmax(dim=0)[0]


def best_by_the_larger(log_p, log_q):
    top = np.maximum(log_p.numpy(), log_q.numpy())
    p, q = np.exp(log_p.numpy() - top), np.exp(log_q.numpy() - top)
    return p / (p + q)


def loss_in_numpy(real_logits, fake_logits):
    real, fake = real_logits.double().numpy(), fake_logits.double().numpy()
    return np.logaddexp(0, -real).mean() + np.logaddexp(0, fake).mean()


def loss_in_a_loop(real_logits, fake_logits):
    def softplus(a):
        return a + math.log1p(math.exp(-a)) if a > 0 else math.log1p(math.exp(a))

    real = [softplus(-a.item()) for a in real_logits]
    fake = [softplus(a.item()) for a in fake_logits]
    return sum(real) / len(real) + sum(fake) / len(fake)


def loss_with_labels(real_logits, fake_logits):
    entropy = F.binary_cross_entropy_with_logits
    return entropy(real_logits, torch.ones_like(real_logits)) + entropy(
        fake_logits, torch.zeros_like(fake_logits)
    )


def losses_with_labels(fake_logits):
    entropy, ones = F.binary_cross_entropy_with_logits, torch.ones_like(fake_logits)
    return [-entropy(fake_logits, 0 * ones), entropy(fake_logits, ones)]


def losses_in_numpy(fake_logits):
    a = fake_logits.numpy()
    return -np.logaddexp(0, a).mean(), np.logaddexp(0, -a).mean()


def slopes_by_autograd(logits):
    a = logits.clone().requires_grad_()
    return tuple(
        torch.autograd.grad(loss.sum(), a)[0] for loss in (F.logsigmoid(-a), -F.logsigmoid(a))
    )


def slopes_from_one_sigmoid(logits):
    D = torch.sigmoid(logits.float())
    return -D, D - 1


def slopes_in_numpy(logits):
    half = np.tanh(logits.numpy() / 2) / 2  # σ(a) = ½ + ½ tanh(a/2)
    return [-(0.5 + half), -(0.5 - half)]


def counts_in_a_loop(samples, means, radius):
    counts = [0] * len(means)
    for x, y in samples.tolist():
        distance, k = min((math.hypot(x - a, y - b), k) for k, (a, b) in enumerate(means.tolist()))
        counts[k] += distance <= radius
    return counts


def counts_in_numpy(samples, means, radius):
    squared = ((samples.numpy()[:, None] - means.numpy()) ** 2).sum(-1)
    inside = squared.min(1) < radius**2
    return np.bincount(squared.argmin(1)[inside], minlength=len(means))


def counts_by_one_hot(samples, means, radius):
    distance = torch.cdist(samples.double(), means.double())
    mine = F.one_hot(distance.argmin(1), len(means)).bool() & (distance <= radius)
    return mine.double().sum(0)


RIGHT = {
    "01.1": [
        Judge(),
        best_by_the_larger,
        lambda log_p, log_q: 1 / (1 + torch.exp(log_q - log_p)),
        lambda log_p, log_q: torch.sigmoid(log_p.float() - log_q.float()),
        lambda log_p, log_q: F.logsigmoid(log_p - log_q).exp(),
    ],
    "01.2": [
        loss_in_numpy,
        loss_in_a_loop,
        loss_with_labels,
        lambda real, fake: F.softplus(torch.neg(real)).mean() + F.softplus(fake).mean(),
    ],
    "01.3": [
        losses_with_labels,
        losses_in_numpy,
        lambda a: (-F.softplus(a.double()).mean(), F.softplus(-a.double()).mean()),
        lambda a: (F.logsigmoid(a).mean() - a.mean(), a.neg().logaddexp(torch.zeros(())).mean()),
    ],
    "01.4": [
        slopes_by_autograd,
        slopes_from_one_sigmoid,
        slopes_in_numpy,
        lambda a: (-1 / (1 + torch.exp(-a)), -1 / (1 + torch.exp(a))),
    ],
    "01.5": [counts_in_a_loop, counts_in_numpy, counts_by_one_hot],
}


@each(RIGHT)
def test_a_right_answer_passes_however_it_is_written(exercise, answer):
    verdict = judge(exercise, answer)
    assert verdict.passed, verdict.text


def test_every_exercise_has_at_least_three_right_answers():
    assert_three_for_each_exercise(RIGHT, "01")


# --- the references, against something independent of them --------------------------------------------------


def cases(exercise_id):
    return [pytest.param(*case.arguments, id=case.says) for case in EXERCISES[exercise_id].cases()]


@pytest.mark.parametrize(("log_p", "log_q"), cases("01.1"))
def test_no_other_verdict_costs_less_than_the_best_one(log_p, log_q):
    """p log D + q log(1−D) has its maximum over D there."""
    D = EXERCISES["01.1"].reference(log_p, log_q)
    p, q = torch.softmax(torch.stack([log_p, log_q]), 0)  # what matters is their ratio
    value = p * D.log() + q * (1 - D).log()
    for other in (0.999 * D, D + 0.001 * (1 - D)):
        assert (p * other.log() + q * (1 - other).log() < value).all()


@pytest.mark.parametrize(("real", "fake"), cases("01.2"))
def test_the_loss_is_torch_s(real, fake):
    expected = loss_with_labels(real.double(), fake.double()).item()
    assert EXERCISES["01.2"].reference(real, fake) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("logits", [case.arguments[0] for case in EXERCISES["01.3"].cases()])
def test_the_losses_are_torch_s(logits):
    expected = [x.item() for x in losses_with_labels(logits.double())]
    assert EXERCISES["01.3"].reference(logits) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("logits", [case.arguments[0] for case in EXERCISES["01.4"].cases()])
def test_the_slopes_are_autograd_s(logits):
    for ours, expected in zip(
        EXERCISES["01.4"].reference(logits), slopes_by_autograd(logits), strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-12)


@pytest.mark.parametrize(("samples", "means", "radius"), cases("01.5"))
def test_no_sample_lies_so_near_a_border_that_rounding_decides(samples, means, radius):
    distance = torch.cdist(samples.double(), means.double())
    first, second = distance.topk(2, dim=1, largest=False).values.T
    assert (first - radius).abs().min() > 1e-4
    assert (second - first).min() > 1e-4
