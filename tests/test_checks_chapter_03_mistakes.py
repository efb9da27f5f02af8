"""Chapter 03's mistakes, made as a learner would and not as the misconception is: they are named."""

import numpy as np
import pytest
import torch
from test_checks_chapter_03_answers import (
    density_by_softmax,
    density_by_torch,
)

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion import posterior


def precisions_from_deviations(m1, v1, m2, v2):
    w = torch.stack([v1, v2]).rsqrt()
    mean = (w * torch.stack([m1, m2])).sum(0) / w.sum(0)
    return mean, 1 / (1 / v1 + 1 / v2)


def precision_read_off_too_small(m1, v1, m2, v2):
    a, b = 1 / v1 + 1 / v2, m1 / v1 + m2 / v2
    return b / (a / 2), 1 / (a / 2)


def variance_with_python_s_index(schedule):
    return [
        schedule.beta[t] * (1 - schedule.alpha_bar[t - 1]) / (1 - schedule.alpha_bar[t])
        for t in range(schedule.T)
    ]


def variance_as_ho_clips_it(schedule):
    before = np.append(1.0, schedule.alpha_bar[:-1])
    variance = schedule.beta.numpy() * (1 - before) / (1 - schedule.alpha_bar.numpy())
    return np.append(variance[1], variance[1:])


def variance_from_step_1_on(schedule):
    a = schedule.alpha_bar
    return schedule.beta[1:] * (1 - a[:-1]) / (1 - a[1:])


def mean_with_python_s_index(schedule, x0, x_t, t):
    def at(table):
        return table.reshape(-1, 1, 1, 1)

    before, after = at(schedule.alpha_bar[t - 1]), at(schedule.alpha_bar[t])
    clean = x0 * before.sqrt() * at(schedule.beta[t])
    return (clean + x_t * at(schedule.alpha[t]).sqrt() * (1 - before)) / (1 - after)


def mean_without_axes(schedule, x0, x_t, t):
    before = torch.cat([torch.ones(1), schedule.alpha_bar[:-1]])[t].float()
    after, beta = schedule.alpha_bar[t].float(), schedule.beta[t].float()
    return (before.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - before) * x_t) / (1 - after)


def mean_with_a_zero_in_front(schedule, x0, x_t, t):
    before = np.append(0.0, schedule.alpha_bar)[t][:, None, None, None]
    a, b, after = (
        v[t].numpy()[:, None, None, None]
        for v in (schedule.alpha, schedule.beta, schedule.alpha_bar)
    )
    return (before**0.5 * b * x0.numpy() + a**0.5 * (1 - before) * x_t.numpy()) / (1 - after)


def mean_above_the_line(schedule, x0, x_t, t):
    early = torch.cat([torch.ones(1), schedule.alpha_bar])[t]
    of_x0, of_x_t = early.sqrt() * schedule.beta[t], schedule.alpha[t].sqrt() * (1 - early)
    return (of_x0 * x0.T + of_x_t * x_t.T).T


def jump_in_a_loop(made, x0, x_t, t, t_prev):
    """The mean is carried from step to step, the variance overwritten."""
    for step in range(t, t_prev, -1):
        x_t, variance = posterior.q_posterior(made, x0.double(), x_t.double(), step)
    return x_t, variance


def jump_without_roots(made, x0, x_t, t, t_prev):
    p = made.alpha_bar[t_prev] if t_prev >= 0 else 1.0
    r, n = made.alpha_bar[t] / p, 1 - made.alpha_bar[t]
    return (p * (1 - r) * x0 + r * (1 - p) * x_t) / n, (1 - r) * (1 - p) / n


def covariance_in_half_a_loop(mirrored, keep=lambda s, t: True):
    """The loop over j ≥ i, as it is often written."""

    def covariance(made, ts):
        out = torch.zeros(len(ts), len(ts))
        for i, s in enumerate(ts.tolist()):
            for j, t in enumerate(ts.tolist()):
                early, late = made.alpha_bar[s], made.alpha_bar[t]
                if keep(s, t) and (s <= t if mirrored else i <= j):
                    out[i, j] = (late / early) ** 0.5 * (1 - early)
                    if mirrored:
                        out[j, i] = out[i, j]
        return out

    return covariance


def covariance_of_earlier_rows(made, ts):
    return [
        [
            float(posterior.q_joint(made, [s, t])[1][0, 1])
            if s < t
            else float(1 - made.alpha_bar[s]) * (s == t)
            for t in ts.tolist()
        ]
        for s in ts.tolist()
    ]


def jump_of_one_step(made, x0, x_t, t, t_prev):
    early = made.alpha_bar[t_prev] if t_prev >= 0 else 1.0
    total = 1 - made.alpha_bar[t]
    mean = (early**0.5 * made.beta[t] * x0 + made.alpha[t] ** 0.5 * (1 - early) * x_t) / total
    return mean, made.beta[t] * (1 - early) / total


def jump_with_a_short_slice(made, x0, x_t, t, t_prev):
    early = made.alpha_bar[t_prev] if t_prev >= 0 else torch.ones(())
    kept, total = torch.prod(made.alpha[t_prev + 1 : t]), 1 - made.alpha_bar[t]
    mean = (early.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - early) * x_t) / total
    return mean, (1 - kept) * (1 - early) / total


def covariance_by_place(made, ts):
    K = len(ts)
    out = np.zeros((K, K))
    for i in range(K):
        for j in range(i, K):
            early, late = made.alpha_bar[ts[i]].item(), made.alpha_bar[ts[j]].item()
            out[i, j] = out[j, i] = (late / early) ** 0.5 * (1 - early)
    return out


def covariance_of_places(made, ts):
    share = made.alpha_bar
    return [
        [
            (share[max(i, j)] / share[min(i, j)]).sqrt() * (1 - share[min(i, j)])
            for j in range(len(ts))
        ]
        for i in range(len(ts))
    ]


def density_of_a_wrong_scale(x, prior, x_t, beta):
    step = torch.distributions.Normal((1 - beta) ** 0.5 * x, beta)
    product = step.log_prob(torch.tensor(x_t)).exp() * prior
    return product / product.sum() / (x[1] - x[0])


def density_that_sums_to_1(x, prior, x_t, beta):
    return density_by_softmax(x, prior, x_t, beta) * (x[1] - x[0])


@pytest.mark.parametrize(
    ("exercise", "answer", "name"),
    [
        (
            "03.1",
            lambda m1, v1, m2, v2: (m1.add(m2).div(2), 1 / (1 / v1 + 1 / v2)),
            "the mean is the plain average of the two means",
        ),
        ("03.1", precision_read_off_too_small, "mean and variance are both twice too large"),
        ("03.1", precisions_from_deviations, "the means are weighted by 1 / deviation"),
        (
            "03.1",
            lambda m1, v1, m2, v2: (m1.numpy() + m2.numpy(), v1.numpy() + v2.numpy()),
            "the two random numbers are added, not their densities multiplied",
        ),
        (
            "03.2",
            variance_with_python_s_index,
            "at t = 0, alpha_bar[t − 1] or roll has fetched the last ᾱ",
        ),
        (
            "03.2",
            variance_as_ho_clips_it,
            "the variance at t = 0 is replaced by the one at t = 1",
        ),
        ("03.2", variance_from_step_1_on, "there is one entry too few: t = 0 is missing"),
        ("03.2", lambda made: [0.0, *made.beta[:-1].tolist()], "α stands where ᾱ belongs"),
        ("03.2", lambda made: (1 - made.alpha).numpy(), "β_t comes out as it is"),
        ("03.3", mean_with_python_s_index, "at t = 0, alpha_bar[t − 1] is the last ᾱ"),
        (
            "03.2",
            lambda made: made.beta * (1 - made.alpha_bar) / made.one_minus_alpha_bar,
            "β_t comes out as it is",
        ),
        (
            "03.2",
            lambda made: [
                made.beta[t] * (1 - made.alpha_bar[t - 1]) / (1 - made.alpha_bar[t])
                for t in range(1, made.T)
            ],
            "there is one entry too few: t = 0 is missing",
        ),
        ("03.3", mean_with_a_zero_in_front, "at t = 0, ᾱ before the step is taken as 0"),
        ("03.3", mean_above_the_line, "neither weight is divided by 1−ᾱ_t"),
        ("03.3", mean_without_axes, "t runs along the columns of the images"),
        (
            "03.3",
            lambda made, x0, x_t, t: posterior.q_posterior(made, x_t, x0, t)[0],
            "the two weights have changed places",
        ),
        (
            "03.4",
            jump_of_one_step,
            "the jump is taken as one step: β_t stands where 1−ᾱ_t/ᾱ_s belongs, and α_t for ᾱ_t/ᾱ_s",
        ),
        (
            "03.4",
            jump_with_a_short_slice,
            "the product of the α stops at t − 1, one too early",
        ),
        (
            "03.4",
            lambda made, x0, x_t, t, t_prev: (
                posterior.q_posterior(made, x0, x_t, t)[0],
                posterior.posterior_weights(made, t, None, torch.zeros(()))[2],
            ),
            "t_prev is not used: the answer is the one for t − 1",
        ),
        ("03.4", jump_in_a_loop, "the variance is that of the last single step"),
        ("03.4", jump_without_roots, "both square roots are missing"),
        (
            "03.4",
            lambda *given: posterior.q_posterior(*given)[::-1],
            "the pair is swapped: (variance, mean)",
        ),
        (
            "03.4",
            lambda made, x0, *rest: (
                posterior.q_posterior(made, x0, *rest)[0],
                posterior.q_posterior(made, x0, *rest)[1].expand(x0.shape),
            ),
            "the variance is given once for each number of the image",
        ),
        (
            "03.5",
            covariance_in_half_a_loop(mirrored=False),
            "the step that stands first in ts is taken as the earlier one, and below the diagonal "
            "there are zeros",
        ),
        (
            "03.5",
            covariance_in_half_a_loop(mirrored=True, keep=lambda s, t: t - s <= 1),
            "steps that are not neighbours get 0",
        ),
        (
            "03.5",
            covariance_of_earlier_rows,
            "only the entries whose row has the earlier step are filled",
        ),
        (
            "03.5",
            lambda made, ts: [
                [(made.alpha_bar[max(s, t)] / made.alpha_bar[min(s, t)]) ** 0.5 for s in ts]
                for t in ts
            ],
            "the variance of x_s is missing: √(ᾱ_t/ᾱ_s) stands alone",
        ),
        (
            "03.5",
            covariance_by_place,
            "the step that stands first in ts is taken as the earlier one",
        ),
        (
            "03.5",
            covariance_of_places,
            "the numbers in ts are not used, only their places 0 … K−1",
        ),
        (
            "03.5",
            lambda made, ts: np.outer(*[(1 - made.alpha_bar[ts].numpy()) ** 0.5] * 2),
            "each entry is the product of the two deviations",
        ),
        (
            "03.5",
            lambda made, ts: 1 - made.alpha_bar[torch.min(ts[:, None], ts[None, :])],
            "the fading from s to t is missing",
        ),
        ("03.6", density_of_a_wrong_scale, "β is taken as the deviation of the noise"),
        (
            "03.6",
            lambda x, prior, x_t, beta: prior * density_by_torch(x, torch.ones_like(x), x_t, beta),
            "the likelihood alone is divided by its area, and then multiplied by the prior",
        ),
        (
            "03.6",
            lambda x, *rest: density_that_sums_to_1(x, *rest) * len(x) / (x.max() - x.min()),
            "the spacing of the grid is taken as (x[-1] - x[0]) / N",
        ),
        ("03.6", density_that_sums_to_1, "the values sum to 1, but their area is not 1"),
        (
            "03.6",
            lambda x, prior, x_t, beta: density_by_torch(x, torch.ones_like(x), x_t, beta),
            "the prior is forgotten",
        ),
    ],
)
def test_a_mistake_is_named_however_it_is_written(exercise, answer, name):
    assert judge(EXERCISES[exercise], answer).misconception == name
