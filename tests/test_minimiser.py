"""The exact minimiser for finitely many samples, against Bayes' rule at many digits and against scores."""

import mpmath as mp
import numpy as np
import pytest
import torch
from devices import on_every_device
from draws import normal
from exact_chain import ExactChain

from course_utils.data import mixture
from course_utils.diffusion import forward, schedule
from course_utils.diffusion.objective import (
    optimal_eps,
    optimal_x0,
    score_from_eps,
    simple_loss,
)

DOUBLE = torch.float64


def exact_mean(made, x_t, t, data):
    """E[x_0 | x_t] by Bayes' rule at 50 digits: each sample as likely as N(x_t; √ᾱ x_0, (1−ᾱ) I) says."""
    share = ExactChain(made).kept(-1, t)
    signal, noise = mp.sqrt(share), 1 - share
    weights = [
        mp.exp(
            -sum((mp.mpf(x) - signal * mp.mpf(y)) ** 2 for x, y in zip(x_t, sample, strict=True))
            / (2 * noise)
        )
        for sample in data
    ]
    total = sum(weights)
    return [
        float(sum(w * mp.mpf(sample[d]) for w, sample in zip(weights, data, strict=True)) / total)
        for d in range(len(x_t))
    ]


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_minimiser_is_bayes_rule(name):
    made = getattr(schedule, name)(1000)
    data = normal(7, 3)
    for t in (0, 1, 100, 600, 999):
        x_t = forward.q_sample(made, data[:4], t, normal(4, 3, seed=t))
        right = [exact_mean(made, x.tolist(), t, data.tolist()) for x in x_t]
        right = torch.tensor(right, dtype=DOUBLE)
        torch.testing.assert_close(optimal_x0(made, x_t, t, data), right, rtol=1e-10, atol=1e-10)


def test_the_minimiser_is_the_score_of_a_narrow_mixture():
    """Gaussians of width 1e-5 around the samples, noised, differ from the noised samples by 1e-10 in variance."""
    made = schedule.linear(1000)
    data = normal(20, 2)
    narrow = mixture(data, std=1e-5)
    for t in (0, 10, 300, 999):
        x_t = forward.q_sample(made, data, t, normal(20, 2, seed=t))
        q = narrow.diffused(made.alpha_bar[t].sqrt(), made.one_minus_alpha_bar[t])
        score = score_from_eps(made, optimal_eps(made, x_t, t, data), t)
        torch.testing.assert_close(score, q.score(x_t), rtol=1e-5, atol=1e-4)


def test_no_other_answer_has_a_smaller_loss():
    made = schedule.linear(50, 1e-3, 0.2)
    data = normal(6, 2)
    chosen = torch.randint(6, (20_000,), generator=torch.Generator().manual_seed(0))
    eps = normal(20_000, 2, seed=2)
    for t in (0, 10, 49):

        def best(x, t):
            return optimal_eps(made, x, t, data)

        loss = simple_loss(best, made, data[chosen], t, eps)
        for change in (lambda e, x: 1.1 * e, lambda e, x: 0.9 * e, lambda e, x: e + 0.1 * x):
            other = simple_loss(lambda x, t, c=change: c(best(x, t), x), made, data[chosen], t, eps)
            assert other > loss


def test_one_sample_is_all_there_can_be():
    made = schedule.linear(10)
    x_t, data = normal(5, 2), normal(1, 2, seed=1)
    torch.testing.assert_close(optimal_x0(made, x_t, 4, data), data.expand(5, 2))


def test_where_nothing_is_left_of_the_image_the_mean_of_the_data_is_best():
    made = schedule.from_beta([0.5, 1.0])
    data = normal(9, 2)
    best = optimal_x0(made, normal(5, 2, seed=1), 1, data)
    torch.testing.assert_close(best, data.mean(0).expand(5, 2))


@on_every_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("lead", "sample"), [((), (2,)), ((4,), ()), ((4,), (2,)), ((4, 3), (2, 5)), ((2, 0), (3,))]
)
def test_the_minimiser_takes_any_leading_shape_and_any_sample(lead, sample, dtype, device):
    made = schedule.linear(10)
    data = normal(6, *sample).to(dtype).to(device)
    x_t = normal(*lead, *sample, seed=1).to(dtype).to(device)
    steps = [3, torch.arange(2, 2 + lead[0])] if lead else [3]
    for t in [*steps, torch.full(lead, 7)]:
        best = optimal_x0(made, x_t, t, data)
        assert best.shape == x_t.shape
        assert (best.dtype, best.device) == (x_t.dtype, x_t.device)
        for k in np.ndindex(*lead):
            step = t if isinstance(t, int) else int(t[k[: t.ndim]])
            torch.testing.assert_close(best[k], optimal_x0(made, x_t[k], step, data))


def test_many_points_are_worked_through_in_parts():
    """2²² weights at a time: 3,000 points and 2,000 samples need two parts."""
    made = schedule.linear(10)
    data, x_t = normal(2000, 1), normal(3000, 1, seed=1)
    t = torch.randint(10, (3000,), generator=torch.Generator().manual_seed(0))
    whole = optimal_x0(made, x_t, t, data)
    some = torch.tensor([0, 2096, 2097, 2098, 2999])
    torch.testing.assert_close(whole[some], optimal_x0(made, x_t[some], t[some], data))


@pytest.mark.parametrize(
    "data", [torch.zeros(0, 2), torch.zeros(5, 3), torch.zeros(5, 3, 2), torch.zeros(())]
)
def test_data_that_do_not_fit_are_refused(data):
    with pytest.raises(ValueError, match=r"samples like those of x_t, \[4, 2\]; got \["):
        optimal_x0(schedule.linear(10), torch.zeros(4, 2), 3, data)
