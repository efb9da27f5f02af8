"""Chapter 03's exercises, answered in a learner's own words: right answers pass however they are written."""

import math

import numpy as np
import torch
from written_answers import assert_three_for_each_exercise, each

from course_utils.checks.verdict import judge
from course_utils.diffusion import posterior

# --- right answers, written differently ---------------------------------------------------------------------


def over_a_common_denominator(m1, v1, m2, v2):
    return [(m1 * v2 + m2 * v1) / (v1 + v2), v1 * v2 / (v1 + v2)]


def in_numpy(m1, v1, m2, v2):
    m, v = np.stack([m1, m2]), np.stack([v1, v2])
    return np.average(m, axis=0, weights=1 / v), 1 / (1 / v).sum(0)


def in_float32(m1, v1, m2, v2):
    p1, p2 = v1.float().reciprocal(), v2.float().reciprocal()
    share = p1 / (p1 + p2)
    return torch.lerp(m2.float(), m1.float(), share), share / p1


class Witnesses:
    """A right answer to 03.1 that is an object, and sees the two as one list."""

    def __call__(self, *four):
        means, variances = torch.stack(four[::2]), torch.stack(four[1::2])
        precision = variances.pow(-1)
        return (means * precision).sum(0) / precision.sum(0), precision.sum(0).pow(-1)


def variance_in_a_loop(schedule):
    variances, before = [], 1
    for b, after in zip(schedule.beta.tolist(), schedule.alpha_bar.tolist(), strict=True):
        variances.append(b * (1 - before) / (1 - after))
        before = after
    return variances


def variance_by_division(schedule):
    before = schedule.alpha_bar / schedule.alpha  # ᾱ_{t−1}; at t = 0 it is 1 up to rounding
    return schedule.beta * (1 - before) / schedule.one_minus_alpha_bar


def variance_in_float32(schedule):
    alpha_bar = np.cumprod(1 - schedule.beta.float().numpy())
    before = np.r_[np.float32(1), alpha_bar[:-1]]
    return (1 - before) / (1 - alpha_bar) * schedule.beta.float().numpy()


def variance_of_the_library(made):
    return posterior.posterior_weights(made, torch.arange(made.T), None, made.beta)[2]


def mean_image_by_image(schedule, x0, x_t, t):
    images = []
    for clean, noisy, step in zip(x0, x_t, t, strict=True):
        before = schedule.alpha_bar[step - 1] if step > 0 else 1.0
        total = schedule.one_minus_alpha_bar[step]
        of_clean = schedule.beta[step] * before**0.5 / total
        images.append(of_clean * clean + (1 - before) * schedule.alpha[step] ** 0.5 / total * noisy)
    return images


def mean_by_einsum(schedule, x0, x_t, t):
    before = torch.where(t > 0, schedule.alpha_bar[(t - 1).clamp(min=0)], 1.0)
    total = 1 - schedule.alpha_bar[t]
    weights = torch.stack(
        [before.sqrt() * schedule.beta[t], schedule.alpha[t].sqrt() * (1 - before)]
    )
    both = torch.stack([x0, x_t])
    return torch.einsum("kb,kbchw->bchw", (weights / total).float(), both)


def mean_by_the_noise(schedule, x0, x_t, t):
    """What is left of the noise that x_t holds, added to the faded image."""
    early = np.r_[1, schedule.alpha_bar[:-1]][t][:, None, None, None]
    late = schedule.alpha_bar.numpy()[t][:, None, None, None]
    noise = x_t.numpy() - np.sqrt(late) * x0.numpy()
    return np.sqrt(early) * x0.numpy() + np.sqrt(late / early) * (1 - early) / (1 - late) * noise


def mean_transposed(schedule, x0, x_t, t):
    previous = torch.cat([torch.ones(1), schedule.alpha_bar])[t]
    of_x0 = previous.sqrt() * schedule.beta[t] / schedule.one_minus_alpha_bar[t]
    of_x_t = schedule.alpha[t].sqrt() * (1 - previous) / schedule.one_minus_alpha_bar[t]
    return (of_x0 * x0.T + of_x_t * x_t.T).T


def jump_by_products(schedule, x0, x_t, t, t_prev):
    early = math.prod(schedule.alpha[: t_prev + 1].tolist())
    kept = math.prod(schedule.alpha[t_prev + 1 : t + 1].tolist())
    total = 1 - early * kept
    mean = (early**0.5 * (1 - kept) * x0 + kept**0.5 * (1 - early) * x_t) / total
    return mean, (1 - kept) * (1 - early) / total


def jump_by_the_noise(schedule, x0, x_t, t, t_prev):
    table = np.append(schedule.alpha_bar.numpy(), 1.0)  # so that index −1 is the clean image
    early, late = table[t_prev], table[t]
    slope = np.sqrt(late / early) * (1 - early) / (1 - late)  # Cov(x_s, x_t) / Var(x_t)
    mean = np.sqrt(early) * x0.numpy() + slope * (x_t.numpy() - np.sqrt(late) * x0.numpy())
    return mean, (1 - early) - slope**2 * (1 - late)


def jump_step_by_step(made, x0, x_t, t, t_prev):
    """One step back after the other, the variance carried along."""
    mean, variance = x_t.double(), 0.0
    for step in range(t, t_prev, -1):
        of_x0, of_x_t, new = posterior.posterior_weights(made, step, None, torch.zeros(()).double())
        mean, variance = of_x0 * x0 + of_x_t * mean, of_x_t**2 * variance + new
    return mean, variance


def covariance_pair_by_pair(schedule, ts):
    rows = []
    for a in ts.tolist():
        shares = [(schedule.alpha_bar[min(a, b)], schedule.alpha_bar[max(a, b)]) for b in ts]
        rows.append([(1 - early) * (late / early) ** 0.5 for early, late in shares])
    return rows


def covariance_in_numpy(schedule, ts):
    share = schedule.alpha_bar.float().numpy()[ts.numpy()]
    early, late = np.maximum.outer(share, share), np.minimum.outer(share, share)
    return np.sqrt(late / early) - np.sqrt(late * early)


def covariance_of_the_inverse(schedule, ts):
    """The precision of the whole chain has neighbours only; invert it, and pick."""
    precision = torch.diag(1 / schedule.beta)
    for t in range(schedule.T - 1):
        precision[t, t] += schedule.alpha[t + 1] / schedule.beta[t + 1]
        precision[t, t + 1] = precision[t + 1, t] = (
            -schedule.alpha[t + 1].sqrt() / schedule.beta[t + 1]
        )
    return torch.linalg.inv(precision)[ts][:, ts]


def density_by_torch(x, prior, x_t, beta):
    step = torch.distributions.Normal(math.sqrt(1 - beta) * x, math.sqrt(beta))
    product = prior * step.log_prob(torch.tensor(x_t)).exp()
    return product / torch.trapezoid(product, x)


def density_in_float32(x, prior, x_t, beta):
    distance = (x_t - (1 - beta) ** 0.5 * x.float()) ** 2
    weight = prior.float() * torch.exp(-0.5 * distance / beta)
    return weight / weight.sum() / (x[1] - x[0]).float()


def density_by_softmax(x, prior, x_t, beta):
    return torch.softmax(prior.log() - (x_t - (1 - beta) ** 0.5 * x) ** 2 / (2 * beta), 0) / (
        x[1] - x[0]
    )


def density_as_a_bell_over_x(x, prior, x_t, beta):
    x, prior = x.numpy(), prior.numpy()
    centre, variance = x_t / np.sqrt(1 - beta), beta / (1 - beta)
    weight = prior * np.exp(-((x - centre) ** 2) / (2 * variance))
    return list(weight / (weight.sum() * np.diff(x).mean()))


RIGHT = {
    "03.1": [over_a_common_denominator, in_numpy, in_float32, Witnesses()],
    "03.2": [
        variance_in_a_loop,
        variance_by_division,
        variance_in_float32,
        variance_of_the_library,
    ],
    "03.3": [
        mean_image_by_image,
        mean_by_einsum,
        mean_by_the_noise,
        mean_transposed,
        lambda *arguments: posterior.q_posterior(*arguments)[0],
    ],
    "03.4": [
        jump_by_products,
        jump_by_the_noise,
        jump_step_by_step,
        lambda made, x0, x_t, t, t_prev: (
            posterior.q_posterior(made, x0, x_t, t, t_prev)[0],
            posterior.q_posterior(made, x0, x_t, t, t_prev)[1].squeeze(),
        ),
        posterior.q_posterior,  # its variance has the shape [1, 1, 1, 1]
    ],
    "03.5": [
        covariance_pair_by_pair,
        covariance_in_numpy,
        covariance_of_the_inverse,
        lambda made, ts: posterior.q_joint(made, ts)[1],
    ],
    "03.6": [density_by_torch, density_in_float32, density_by_softmax, density_as_a_bell_over_x],
}


@each(RIGHT)
def test_a_right_answer_passes_however_it_is_written(exercise, answer):
    verdict = judge(exercise, answer)
    assert verdict.passed, verdict.text


def test_every_exercise_has_at_least_three_right_answers():
    assert_three_for_each_exercise(RIGHT, "03")
