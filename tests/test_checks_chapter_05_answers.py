"""Chapter 05's exercises, answered in a learner's own words: right answers pass however they are written."""

import math

import numpy as np
import pytest
import torch
from written_answers import assert_three_for_each_exercise, each

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion import forward, mlp, objective, posterior, samplers

# --- right answers, written differently ---------------------------------------------------------------------


class Clock(torch.nn.Module):
    """A right answer to 05.1 with a parameter in it, so that a gradient hangs on the result."""

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(()))

    def forward(self, t, T, frequencies):
        angle = torch.outer(self.one * t / T, frequencies.float())
        return torch.hstack([torch.sin(angle), torch.cos(angle)])


def embed_by_complex_numbers(t, T, frequencies):
    turned = np.exp(1j * np.multiply.outer(t.numpy() / T, frequencies.numpy()))
    return np.concatenate([turned.imag, turned.real], axis=1)


def embed_in_a_loop(t, T, frequencies):
    return [
        [f(s.item() * w.item() / T) for f in (math.sin, math.cos) for w in frequencies] for s in t
    ]


def loss_by_einsum(model, schedule, x0, t, eps):
    a = schedule.alpha_bar[t]
    x_t = torch.einsum("b,bd->bd", a.sqrt(), x0) + torch.einsum("b,bd->bd", (1 - a).sqrt(), eps)
    return torch.nn.functional.mse_loss(model(x_t, t), eps)


def loss_point_by_point(model, schedule, x0, t, eps):
    squares = []
    for i, step in enumerate(t):
        x_t = forward.q_sample(schedule, x0[i : i + 1], int(step), eps[i : i + 1])
        squares += (model(x_t, int(step)) - eps[i : i + 1]).flatten().tolist()
    return np.mean(np.square(squares))


def loss_in_float32(model, schedule, x0, t, eps):
    a = schedule.alpha_bar.float()[t].unsqueeze(-1)
    x_t = (a**0.5 * x0.float() + (1 - a) ** 0.5 * eps.float()).requires_grad_()
    return (model(x_t, t) - eps.float()).pow(2).sum() / x0.numel()


def step_by_the_clean_point(schedule, eps, t, x_t, noise):
    x0 = forward.x0_from_eps(schedule, x_t, t, eps)
    mean, variance = posterior.q_posterior(schedule, x0, x_t, t)
    return mean + variance.sqrt() * noise


def step_in_numpy(schedule, eps, t, x_t, noise):
    alpha_bar = np.append(schedule.alpha_bar.numpy(), 1.0)  # so that index −1 is "before step 0"
    beta = 1 - alpha_bar[t] / alpha_bar[t - 1]
    mean = (x_t.numpy() - beta / np.sqrt(1 - alpha_bar[t]) * eps.numpy()) / np.sqrt(1 - beta)
    return mean + np.sqrt((1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * beta) * noise.numpy()


def step_in_float32(schedule, eps, t, x_t, noise):
    beta, share, eps, x_t = (
        schedule.beta[t].float(),
        schedule.alpha_bar[t].float(),
        eps.float(),
        x_t.float(),
    )
    mean = (x_t - beta / (1 - share).sqrt() * eps) * (1 - beta).rsqrt()
    if t > 0:
        before = schedule.alpha_bar[t - 1].float()
        mean = mean + (beta * (1 - before) / (1 - share)).sqrt() * noise.float()
    return mean


def sample_counting_down(model, schedule, x_T, noises):
    x, t = x_T, schedule.T - 1
    while t >= 0:
        x = step_in_numpy(schedule, model(x, torch.full((len(x),), t)), t, x, noises[t])
        x, t = torch.from_numpy(x), t - 1
    return x


def sample_by_recursion(model, schedule, x_T, noises):
    def clean(x, t):
        if t < 0:
            return x
        return clean(step_by_the_clean_point(schedule, model(x, t), t, x, noises[t]), t - 1)

    return clean(x_T, schedule.T - 1)


class Sampler:
    """A right answer to 05.4 that is an object, in single precision."""

    def __call__(self, model, schedule, x_T, noises):
        x = x_T.float()
        for t, noise in reversed(list(enumerate(noises.float()))):
            eps = model(x, torch.tensor(t))
            x = samplers.ddpm_step(schedule, eps, t, x, noise=noise).x
        return x


def means_in_numpy(losses, t, T, bins):
    edges = np.arange(bins + 1) * (T // bins)
    sums, _ = np.histogram(t, edges - 0.5, weights=losses)
    with np.errstate(invalid="ignore"):
        return sums / np.histogram(t, edges - 0.5)[0]


def means_by_masks(losses, t, T, bins):
    width = T // bins
    return [losses[(t >= k * width) & (t < (k + 1) * width)].mean() for k in range(bins)]


def means_by_one_hot(losses, t, T, bins):
    inside = torch.nn.functional.one_hot(t // (T // bins), bins).float()  # [N, bins]
    return losses.float() @ inside / inside.sum(0)


RIGHT = {
    "05.1": [
        Clock(),
        embed_by_complex_numbers,
        embed_in_a_loop,
        lambda t, T, f: torch.cat(
            [(a := t.unsqueeze(1) * f / T).sin(), (a + math.pi / 2).sin()], -1
        ),
    ],
    "05.2": [loss_by_einsum, loss_point_by_point, loss_in_float32, objective.simple_loss],
    "05.3": [
        step_by_the_clean_point,
        step_in_numpy,
        step_in_float32,
        lambda s, eps, t, x_t, noise: samplers.ddpm_step(s, eps, t, x_t, noise=noise).x,
    ],
    "05.4": [sample_counting_down, sample_by_recursion, Sampler()],
    "05.5": [means_in_numpy, means_by_masks, means_by_one_hot],
}


@each(RIGHT)
def test_a_right_answer_passes_however_it_is_written(exercise, answer):
    verdict = judge(exercise, answer)
    assert verdict.passed, verdict.text


def test_every_exercise_has_at_least_three_right_answers():
    assert_three_for_each_exercise(RIGHT, "05")


# --- the references, against something independent of them --------------------------------------------------


def cases(exercise_id):
    return [pytest.param(*case.arguments, id=case.says) for case in EXERCISES[exercise_id].cases()]


def test_the_embedding_is_the_library_network_s():
    """Behind a first layer that passes its input on, the network shows what it has made of t."""
    network = mlp.MLP(T=40, dim=2, width=18, depth=0, frequencies=8).double()
    network.layers = torch.nn.Identity()
    t = torch.tensor([0, 7, 39])
    seen = network(torch.zeros(3, 2, dtype=torch.float64), t)[:, 2:]
    ours = EXERCISES["05.1"].reference(t, 40, network.frequencies)
    torch.testing.assert_close(ours, seen, rtol=1e-6, atol=1e-6)  # it computes t / T in float32


@pytest.mark.parametrize(("model", "schedule", "x0", "t", "eps"), cases("05.2"))
def test_the_loss_is_the_library_s(model, schedule, x0, t, eps):
    expected = objective.simple_loss(model, schedule, x0, t, eps).item()
    ours = EXERCISES["05.2"].reference(model, schedule, x0, t, eps)
    assert ours == pytest.approx(expected, rel=1e-6)  # the stand-in computes t / T in float32


@pytest.mark.parametrize(("schedule", "eps", "t", "x_t", "noise"), cases("05.3"))
def test_the_step_is_the_library_s(schedule, eps, t, x_t, noise):
    expected = samplers.ddpm_step(schedule, eps, t, x_t, noise=noise).x
    ours = EXERCISES["05.3"].reference(schedule, eps, t, x_t, noise)
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("model", "schedule", "x_T", "noises"), cases("05.4"))
def test_the_loop_is_the_library_s(model, schedule, x_T, noises):
    """The library draws its noise from t = T−1 on; the same draws, indexed by t, are given to the exercise."""
    drawn = torch.Generator().manual_seed(0)
    noises = torch.stack([torch.randn(x_T.shape, generator=drawn).to(x_T) for _ in noises]).flip(0)
    *_, last = samplers.ddpm(
        model, x_T.float(), schedule, generator=torch.Generator().manual_seed(0)
    )
    ours = EXERCISES["05.4"].reference(model, schedule, x_T, noises)
    torch.testing.assert_close(ours.float(), last.x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("losses", "t", "T", "bins"), cases("05.5"))
def test_the_means_add_up_to_the_mean_of_all(losses, t, T, bins):
    means = np.array(EXERCISES["05.5"].reference(losses, t, T, bins))
    share = np.histogram(t, bins, range=(-0.5, T - 0.5))[0] / len(t)
    assert (np.isnan(means) == (share == 0)).all()
    assert np.nansum(means * share) == pytest.approx(losses.mean().item(), rel=1e-12)
