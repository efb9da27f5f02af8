"""Chapter 04's references, and its exercises answered in a learner's own words: right answers pass."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss
from written_answers import assert_three_for_each_exercise, each

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion import forward, objective, posterior


def cases(exercise_id):
    return [pytest.param(*case.arguments, id=case.says) for case in EXERCISES[exercise_id].cases()]


# --- the references, against the library, which is tested against high precision elsewhere ------------------


@pytest.mark.parametrize("numbers", [case.arguments for case in EXERCISES["04.1"].cases()])
def test_the_divergence_is_the_library_s(numbers):
    expected = objective.kl_gaussians(*(a.double() for a in numbers))
    torch.testing.assert_close(EXERCISES["04.1"].reference(*numbers), expected)


@pytest.mark.parametrize(("schedule", "x_t", "t", "eps"), cases("04.2"))
def test_the_step_back_is_the_mean_of_the_library_s_posterior(schedule, x_t, t, eps):
    x_t, eps = x_t.double(), eps.double()
    x0 = forward.x0_from_eps(schedule, x_t, t, eps)
    expected, _ = posterior.q_posterior(schedule, x0, x_t, t)
    torch.testing.assert_close(EXERCISES["04.2"].reference(schedule, x_t, t, eps), expected)


@pytest.mark.parametrize("schedule", [case.arguments[0] for case in EXERCISES["04.3"].cases()])
def test_the_weight_is_the_library_s(schedule):
    t = torch.arange(1, schedule.T)
    expected = objective.loss_weight(schedule, t, schedule.beta[1:])
    torch.testing.assert_close(EXERCISES["04.3"].reference(schedule), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("model", "schedule", "x0", "t", "eps"), cases("04.4"))
def test_the_losses_are_the_library_s(model, schedule, x0, t, eps):
    x0, eps = x0.double(), eps.double()
    expected = objective.squared_error(model, schedule, x0, t, eps)
    torch.testing.assert_close(EXERCISES["04.4"].reference(model, schedule, x0, t, eps), expected)


@pytest.mark.parametrize(("schedule", "x_t", "t", "eps"), cases("04.5"))
def test_image_and_score_are_the_library_s(schedule, x_t, t, eps):
    x_t, eps = x_t.double(), eps.double()
    x0, score = EXERCISES["04.5"].reference(schedule, x_t, t, eps)
    torch.testing.assert_close(x0, forward.x0_from_eps(schedule, x_t, t, eps))
    torch.testing.assert_close(score, objective.score_from_eps(schedule, eps, t))


@pytest.mark.parametrize(("schedule", "x_t", "t", "data"), cases("04.6"))
def test_the_best_answer_is_the_library_s(schedule, x_t, t, data):
    expected = objective.optimal_x0(schedule, x_t.double(), t, data)
    torch.testing.assert_close(EXERCISES["04.6"].reference(schedule, x_t, t, data), expected)


def test_on_paper():
    """The numbers that the notebook asks for, and that the success of 04.3 repeats."""
    three_steps = EXERCISES["04.3"].cases()[0].arguments[0]
    assert three_steps.beta.tolist() == [0.5, 0.2, 0.5]
    np.testing.assert_allclose(EXERCISES["04.3"].reference(three_steps), [0.25, 5 / 6])
    assert "0.25 and 0.8333" in EXERCISES["04.3"].success


@pytest.mark.parametrize(
    ("x_t", "t", "seen"),
    [
        (torch.zeros(4, 3, 5, 5), torch.zeros(4, 1, 1, 1), "shapes [4, 3, 5, 5] and [4, 1, 1, 1]"),
        (torch.zeros(3, 5, 5), 2, "shapes [3, 5, 5] and []"),
    ],
)
def test_the_stand_in_for_a_network_says_what_it_takes(x_t, t, seen):
    model = EXERCISES["04.4"].cases()[0].arguments[0]
    with pytest.raises(ValueError, match=r"x_t \[B, C, H, W\] and t, one int or \[B\]") as raised:
        model(x_t, t)
    assert seen in str(raised.value)


# --- right answers, written differently ---------------------------------------------------------------------


def kl_by_torch(mean1, variance1, mean2, variance2):
    q = torch.distributions.Normal(mean1, variance1**0.5)
    return torch.distributions.kl_divergence(q, torch.distributions.Normal(mean2, variance2**0.5))


def kl_with_a_ruler(mean1, variance1, mean2, variance2):
    mu, sigma = (mean1 - mean2) / variance2.sqrt(), (variance1 / variance2).sqrt()
    return (mu**2 + sigma**2 - 1) / 2 - sigma.log()


def kl_number_by_number(mean1, variance1, mean2, variance2):
    def one(a, v, b, w):
        return math.log(math.sqrt(w / v)) + (v + (a - b) ** 2) / (2 * w) - 0.5

    flat = [
        one(*map(float, four))
        for four in zip(*map(torch.flatten, (mean1, variance1, mean2, variance2)), strict=True)
    ]
    return np.array(flat).reshape(mean1.shape)


class KlInNumpy:
    """A right answer to 04.1 that is an object, in NumPy's float32."""

    def __call__(self, mean1, variance1, mean2, variance2, half=0.5):
        m, v, n, w = (a.numpy() for a in (mean1, variance1, mean2, variance2))
        return half * ((v + (m - n) ** 2 - w) / w - np.log(v) + np.log(w))


def mean_in_two_steps(schedule, x_t, t, eps):
    x0 = forward.x0_from_eps(schedule, x_t, t, eps)
    return posterior.q_posterior(schedule, x0, x_t, t)[0]


def mean_in_one_line(schedule, x_t, t, eps):
    b, n = schedule.beta[t].item(), schedule.one_minus_alpha_bar[t].item()
    return (x_t - b / math.sqrt(n) * eps) / math.sqrt(1 - b)


def mean_in_numpy(schedule, x_t, t, eps):
    a, s = schedule.alpha.numpy(), schedule.alpha_bar.numpy()
    return (x_t.numpy() - (1 - a[t]) / np.sqrt(1 - s[t]) * eps.numpy()) / np.sqrt(a[t])


def mean_with_two_weights(schedule, x_t, t, eps):
    a, s = schedule.alpha[t], schedule.alpha_bar[t]
    s_prev = schedule.alpha_bar[t - 1] if t else torch.tensor(1.0)
    x0 = (x_t.double() - (1 - s).sqrt() * eps) / s.sqrt()
    return s_prev.sqrt() * (1 - a) / (1 - s) * x0 + a.sqrt() * (1 - s_prev) / (1 - s) * x_t


def weight_in_full(schedule):
    sigma2 = schedule.beta[1:] * (1 - schedule.alpha_bar[:-1]) / (1 - schedule.alpha_bar[1:])
    below = 2 * sigma2 * schedule.alpha[1:] * (1 - schedule.alpha_bar[1:])
    return schedule.beta[1:] ** 2 / below


def weight_in_float32(schedule):
    beta, share = schedule.beta.float(), schedule.alpha_bar.float()
    return beta[1:] / (2 * (1 - beta[1:]) * (1 - share[:-1]))


def weight_in_a_loop(schedule):
    left, weights = 1.0, []
    for t, beta in enumerate(schedule.beta.tolist()):
        if t:
            weights.append(beta / (2 * (1 - beta) * (1 - left)))
        left *= 1 - beta
    return weights


def weight_from_snr(schedule):
    snr = forward.snr(schedule).numpy()
    return -np.diff(snr) / snr[1:] / 2


def losses_one_by_one(model, schedule, x0, t, eps):
    x_t = forward.q_sample(schedule, x0, t, eps)
    return [mse_loss(a, e) for a, e in zip(model(x_t, t), eps, strict=True)]


def losses_flattened(model, schedule, x0, t, eps):
    share = schedule.alpha_bar.float()[t].view(-1, 1, 1, 1)
    x_t = share**0.5 * x0 + (1 - share) ** 0.5 * eps
    return (model(x_t, t) - eps).pow(2).flatten(1).mean(1)


def losses_in_numpy(model, schedule, x0, t, eps):
    share = schedule.alpha_bar.numpy()[t][:, None, None, None]
    x_t = np.sqrt(share) * x0.numpy() + np.sqrt(1 - share) * eps.numpy()
    error = np.asarray(model(x_t, t)) - eps.numpy()
    return np.square(error).reshape(len(error), -1).mean(-1)


def losses_by_norm(model, schedule, x0, t, eps):
    error = model(forward.q_sample(schedule, x0, t, eps), t) - eps
    return torch.linalg.vector_norm(error, dim=(1, 2, 3)) ** 2 / error[0].numel()


class LossesAsAModule(torch.nn.Module):
    """A right answer to 04.4 with a gradient on it, as in training."""

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(()))

    def forward(self, model, schedule, x0, t, eps):
        answer = self.one * model(forward.q_sample(schedule, x0, t, eps), t)
        return mse_loss(answer, eps, reduction="none").mean([1, 2, 3])


def both_in_float64(schedule, x_t, t, eps):
    s, n = schedule.alpha_bar[t].sqrt(), schedule.one_minus_alpha_bar[t].sqrt()
    return [(x_t.double() - n * eps) / s, -eps.double() / n]


def both_in_numpy(schedule, x_t, t, eps):
    a, x, e = schedule.alpha_bar[t].item(), x_t.numpy(), eps.numpy()
    return x / a**0.5 - math.sqrt((1 - a) / a) * e, -((1 - a) ** -0.5) * e


def both_by_autograd(schedule, x_t, t, eps):
    x0 = forward.x0_from_eps(schedule, x_t, t, eps)
    x = x_t.clone().requires_grad_()
    spread = schedule.one_minus_alpha_bar[t].sqrt().float().expand(x.shape)
    density = torch.distributions.Normal(schedule.alpha_bar[t].sqrt() * x0, spread)
    density.log_prob(x).sum().backward()
    return x0, x.grad


def best_by_cdist(schedule, x_t, t, data):
    a = schedule.alpha_bar[t]
    return torch.softmax(-(torch.cdist(x_t, a.sqrt() * data) ** 2) / (2 * (1 - a)), -1) @ data


def best_by_products(schedule, x_t, t, data):
    a = schedule.alpha_bar[t].item()
    logits = (a**0.5 * x_t @ data.T - a / 2 * (data**2).sum(1)) / (1 - a)
    return logits.softmax(1) @ data


def best_in_numpy(schedule, x_t, t, data):
    a, x, d = schedule.alpha_bar[t].item(), x_t.numpy(), data.numpy()
    logits = -((x[:, None] - math.sqrt(a) * d[None]) ** 2).sum(-1) / (2 * (1 - a))
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True) @ d


def best_in_loops(schedule, x_t, t, data):
    a, answers = schedule.alpha_bar[t].item(), []
    for x in x_t.double():
        squared = [float(((x - a**0.5 * sample) ** 2).sum()) for sample in data.double()]
        weights = [math.exp((min(squared) - s) / (2 * (1 - a))) for s in squared]
        total = sum(w * sample for w, sample in zip(weights, data.double(), strict=True))
        answers.append(total / sum(weights))
    return answers


def best_from_the_score(schedule, x_t, t, data):
    """Tweedie's formula, with the score of the mixture by automatic differentiation."""
    a, n = schedule.alpha_bar[t], schedule.one_minus_alpha_bar[t]
    x = x_t.double().requires_grad_()
    logits = -((x[:, None] - a.sqrt() * data.double()) ** 2).sum(2) / (2 * n)
    logits.logsumexp(1).sum().backward()
    return (x + n * x.grad) / a.sqrt()


RIGHT = {
    "04.1": [
        kl_by_torch,
        kl_with_a_ruler,
        kl_number_by_number,
        KlInNumpy(),
        objective.kl_gaussians,
    ],
    "04.2": [mean_in_two_steps, mean_in_one_line, mean_in_numpy, mean_with_two_weights],
    "04.3": [weight_in_full, weight_in_float32, weight_in_a_loop, weight_from_snr],
    "04.4": [
        losses_one_by_one,
        losses_flattened,
        losses_in_numpy,
        losses_by_norm,
        LossesAsAModule(),
        objective.squared_error,
    ],
    "04.5": [
        both_in_float64,
        both_in_numpy,
        both_by_autograd,
        lambda schedule, x_t, t, eps: (
            objective.to_x0_eps(schedule, eps, x_t, t)[0],
            objective.score_from_eps(schedule, eps, t),
        ),
    ],
    "04.6": [
        best_by_cdist,
        best_by_products,
        best_in_numpy,
        best_in_loops,
        best_from_the_score,
        objective.optimal_x0,
    ],
}


@each(RIGHT)
def test_a_right_answer_passes_however_it_is_written(exercise, answer):
    verdict = judge(exercise, answer)
    assert verdict.passed, verdict.text


def test_every_exercise_has_at_least_three_right_answers():
    assert_three_for_each_exercise(RIGHT, "04")
