"""Chapter 08's exercises, answered right in many ways: all of them pass."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from written_answers import assert_three_for_each_exercise, each

from course_utils.checks.chapter_08.material import Network
from course_utils.checks.verdict import judge
from course_utils.diffusion import forward, jumps, posterior, samplers


def guess_by_the_library(schedule, eps, t, x_t):
    x0 = forward.x0_from_eps(schedule, x_t, t, eps).clip(min=-1.0, max=1.0)
    return x0, forward.eps_from_x0(schedule, x_t, t, x0)


def guess_in_numpy(schedule, eps, t, x_t):
    share = schedule.alpha_bar.numpy()[t]
    x0 = np.clip((x_t.numpy() - np.sqrt(1 - share) * eps.numpy()) / np.sqrt(share), -1, 1)
    return [x0, (x_t.numpy() - np.sqrt(share) * x0) / np.sqrt(1 - share)]


def guess_in_float32(schedule, eps, t, x_t):
    share, eps, x_t = schedule.alpha_bar[t].float(), eps.float(), x_t.float()
    x0 = torch.minimum(
        torch.maximum((x_t - (1 - share) ** 0.5 * eps) * share**-0.5, -torch.ones(1)), torch.ones(1)
    )
    return x0, (x_t - share**0.5 * x0) * (1 - share) ** -0.5


def numbers_by_the_library(schedule, ts):
    plan = jumps.jumps(schedule, ts)
    return [
        [getattr(j, name) for j in plan] for name in ("from_x0", "from_x_t", "beta", "beta_tilde")
    ]


def numbers_in_numpy(schedule, ts):
    alpha_bar = np.append(schedule.alpha_bar.numpy(), 1.0)  # so that index −1 is the clean image
    late, early = alpha_bar[ts], alpha_bar[[*ts[1:], -1]]
    beta = 1 - late / early
    weight = np.sqrt(late / early) * (1 - early) / (1 - late)
    return np.sqrt(early) * beta / (1 - late), weight, beta, beta * (1 - early) / (1 - late)


def numbers_in_float32(schedule, ts):
    rows = []
    for t, s in pairwise([*ts, -1]):
        late = schedule.alpha_bar[t].float()
        early = torch.tensor(1.0) if s == -1 else schedule.alpha_bar[s].float()
        beta = 1 - late / early
        rows.append(
            [early.sqrt() * beta, (late / early).sqrt() * (1 - early), 0, beta * (1 - early)]
        )
        rows[-1] = [number / (1 - late) for number in rows[-1]]
        rows[-1][2] = beta
    return tuple(torch.tensor(rows).T)


def numbers_by_the_posterior(schedule, ts):
    """The weights are what the mean becomes for the pictures 1 and 0, and the other way round."""
    one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    rows = []
    for t, s in zip(ts, [*ts[1:], -1], strict=True):
        of_x0, variance = posterior.q_posterior(schedule, one, zero, t, s)
        of_x_t, _ = posterior.q_posterior(schedule, zero, one, t, s)
        added = 1 - torch.prod(schedule.alpha[s + 1 : t + 1])
        rows.append((of_x0, of_x_t, added, variance))
    return tuple(map(torch.stack, zip(*rows, strict=True)))


def jump_by_the_library(schedule, eps, t, t_prev, x_t, noise, variance):
    options = {"t_prev": t_prev, "variance": variance, "clip": 1.0, "noise": noise}
    return samplers.ddpm_step(schedule, eps, t, x_t, **options).x


def jump_by_the_posterior(schedule, eps, t, t_prev, x_t, noise, variance):
    x0 = forward.x0_from_eps(schedule, x_t, t, eps).clamp(-1, 1)
    mean, sigma2 = posterior.q_posterior(schedule, x0, x_t, t, t_prev)
    if variance == "beta" and t_prev >= 0:
        sigma2 = 1 - schedule.alpha_bar[t] / schedule.alpha_bar[t_prev]
    return mean + torch.sqrt(sigma2) * noise


class Jumper:
    """A right answer to 08.3 that is an object, in single precision and with the paper's form of the mean."""

    def __call__(self, schedule, eps, t, t_prev, x_t, noise, variance):
        eps, x_t, noise = eps.float(), x_t.float(), noise.float()
        _, eps = guess_in_float32(schedule, eps, t, x_t)
        kept = torch.prod(schedule.alpha[t_prev + 1 : t + 1]).float()
        left = 1 - schedule.alpha_bar[t].float()
        mean = (x_t - (1 - kept) / left.sqrt() * eps) / kept.sqrt()
        if t_prev < 0:
            return mean
        share = 1.0 if variance == "beta" else (1 - schedule.alpha_bar[t_prev].float()) / left
        return mean.add(noise, alpha=math.sqrt((1 - kept) * share))


def walk_by_the_library(model, schedule, x_T, ts, noises, variance):
    options = {"steps": ts, "variance": variance, "clip": 1.0, "noises": noises}
    return torch.stack([x_T, *(step.x for step in samplers.ddpm(model, x_T, schedule, **options))])


def walk_in_numpy(model, schedule, x_T, ts, noises, variance):
    path = np.empty((len(ts) + 1, *x_T.shape))
    path[0], k = x_T.numpy(), 0
    while k < len(ts):
        t_prev = ts[k + 1] if k + 1 < len(ts) else -1
        x = torch.from_numpy(path[k].copy())
        eps = model(x, torch.full((len(x),), ts[k]))
        path[k + 1] = jump_by_the_posterior(schedule, eps, ts[k], t_prev, x, noises[k], variance)
        k += 1
    return path


def walk_by_recursion(model, schedule, x_T, ts, noises, variance):
    if not ts:
        return [x_T]
    t_prev = ts[1] if ts[1:] else -1
    x = Jumper()(schedule, model(x_T, ts[0]), ts[0], t_prev, x_T, noises[0], variance)
    return [x_T, *walk_by_recursion(model, schedule, x, ts[1:], noises[1:], variance)]


def variances_by_numbers(schedule, ts, c, variance):
    found = [torch.ones((), dtype=torch.float64)]
    share = schedule.alpha_bar[ts]
    of_x0, of_x_t, beta, beta_tilde = map(torch.as_tensor, numbers_in_numpy(schedule, ts))
    factor = of_x0 * share.sqrt() * c / (share * c + 1 - share) + of_x_t
    added = (beta if variance == "beta" else beta_tilde).clone()
    added[-1] = 0
    for g, s2 in zip(factor, added, strict=True):
        found.append(g * g * found[-1] + s2)
    return torch.stack(found)


def variances_by_a_step(schedule, ts, c, variance):
    """The step of the library, shown the numbers 1 and 0: what it makes of them is factor and fresh noise."""
    one, nothing = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    found = np.ones(len(ts) + 1)
    for k, (t, s) in enumerate(pairwise([*ts, -1])):
        share = schedule.alpha_bar[t]
        eps = (1 - share).sqrt() / (share * c + 1 - share)
        options = {"t_prev": s, "variance": variance}
        moved = samplers.ddpm_step(schedule, eps, t, one, noise=nothing, **options).x
        fresh = samplers.ddpm_step(schedule, nothing, t, nothing, noise=one, **options).x
        found[k + 1] = moved**2 * found[k] + fresh**2
    return found


def variances_in_float32(schedule, ts, c, variance):
    return variances_by_numbers(schedule, ts, c, variance).float()


RIGHT = {
    "08.1": [guess_by_the_library, guess_in_numpy, guess_in_float32],
    "08.2": [
        numbers_by_the_library,
        numbers_in_numpy,
        numbers_in_float32,
        numbers_by_the_posterior,
    ],
    "08.3": [jump_by_the_library, jump_by_the_posterior, Jumper()],
    "08.4": [walk_by_the_library, walk_in_numpy, walk_by_recursion],
    "08.5": [variances_by_numbers, variances_by_a_step, variances_in_float32],
}


@each(RIGHT)
def test_a_right_answer_passes_however_it_is_written(exercise, answer):
    verdict = judge(exercise, answer)
    assert verdict.passed, verdict.text


def test_every_exercise_has_at_least_three_right_answers():
    assert_three_for_each_exercise(RIGHT, "08")


# --- the stand-in for a network ------------------------------------------------------------------------------


def test_the_network_says_what_it_does_not_take():
    network, images = Network(10), torch.zeros(3, 1, 2, 2)
    with pytest.raises(TypeError, match="this is a Step"):
        network(samplers.Step(3, images, images, 2), 3)
    with pytest.raises(ValueError, match=r"images \[B, C, H, W\]; got shape \[3, 2\]"):
        network(torch.zeros(3, 2), 3)
    with pytest.raises(ValueError, match=r"t as one int or of shape \[3\]; got shape \[2\]"):
        network(images, torch.tensor([1, 2]))


def test_the_network_takes_any_t():
    network, images = (
        Network(10),
        torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(1)),
    )
    expected = network(images, 4)
    assert torch.equal(network(images, torch.tensor(4)), expected)
    assert torch.equal(network(images, torch.full((3,), 4)), expected)
    assert not torch.equal(network(images, 5), expected)
