"""Chapter 09's exercises, answered right in many ways: all of them pass."""

import math
from itertools import pairwise

import numpy as np
import torch
from written_answers import assert_three_for_each_exercise, each

from course_utils.checks.verdict import judge
from course_utils.diffusion import forward, samplers, schedule


def steps_by_the_library(T, steps, spacing, offset):
    return samplers.timesteps(schedule.linear(T), steps, spacing=spacing, offset=offset)


def steps_in_numpy(T, steps, spacing, offset):
    k = np.arange(steps)
    if spacing == "trailing":
        return np.round(T - k * (T / steps)).astype(int) - 1
    return (k * (T // steps))[::-1].astype(np.int64) + offset


def steps_one_by_one(T, steps, spacing, offset):
    ts = []
    for k in range(steps):
        exact = T - k * T / steps
        ts += (
            [torch.tensor(exact).round() - 1.0]
            if spacing == "trailing"
            else [offset + k * (T // steps)]
        )
    return sorted(ts, reverse=True)


def step_by_the_library(made, eps, t, t_prev, x_t, eta, noise):
    return samplers.ddim_step(made, eps, t, x_t, t_prev=t_prev, eta=eta, noise=noise).x


def step_in_numpy(made, eps, t, t_prev, x_t, eta, noise):
    alpha_bar = np.append(made.alpha_bar.numpy(), 1.0)  # so that index −1 is the clean image
    a, b = alpha_bar[t], alpha_bar[t_prev]
    sigma = eta * np.sqrt((1 - b) / (1 - a)) * np.sqrt(1 - a / b)
    predicted = (x_t.numpy() - np.sqrt(1 - a) * eps.numpy()) / np.sqrt(a)
    towards = np.sqrt(1 - b - sigma**2) * eps.numpy()
    return np.sqrt(b) * predicted + towards + sigma * noise.numpy()


class Stepper:
    """A right answer to 09.2 that is an object, in single precision, with an if for the last step."""

    def __call__(self, made, eps, t, t_prev, x_t, eta, noise):
        eps, x_t, noise = eps.float(), x_t.float(), noise.float()
        x0 = forward.x0_from_eps(made, x_t, t, eps)
        if t_prev < 0:
            return x0
        kept = float(torch.prod(made.alpha[t_prev + 1 : t + 1]))
        left, early = 1 - float(made.alpha_bar[t]), float(made.alpha_bar[t_prev])
        variance = eta * eta * (1 - kept) * (1 - early) / left
        old = math.sqrt(1 - early - variance)
        return math.sqrt(early) * x0 + old * eps + math.sqrt(variance) * noise


def walk_by_the_library(model, made, x_T, ts):
    *_, last = samplers.ddim(model, x_T, made, steps=ts)
    return last.x


def walk_by_noise_per_signal(model, made, x_T, ts):
    """Euler's method for y = x/√ᾱ."""
    share = torch.cat([made.alpha_bar, torch.ones(1)])  # index −1 is the clean image
    r = ((1 - share) / share).sqrt()
    y = x_T / share[ts[0]].sqrt()
    for t, s in pairwise([*ts, -1]):
        y = y + (r[s] - r[t]) * model(y * share[t].sqrt(), torch.full((len(y),), t))
    return y.numpy()


def walk_by_recursion(model, made, x_T, ts):
    if not ts:
        return x_T
    x = x_T.float()
    t_prev = ts[1] if len(ts) > 1 else -1
    return walk_by_recursion(
        model, made, Stepper()(made, model(x, ts[0]), ts[0], t_prev, x, 0, x), ts[1:]
    )


def slerp_flattened(a, b, u):
    x, y = a.reshape(len(a), -1), b.reshape(len(b), -1)
    angle = torch.acos(torch.cosine_similarity(x, y)).unsqueeze(1)
    mixed = torch.sin((1 - u) * angle) * x + torch.sin(u * angle) * y
    return (mixed / torch.sin(angle)).reshape(a.shape)


def slerp_in_numpy(a, b, u):
    a, b = a.numpy(), b.numpy()
    mixed = []
    for x, y in zip(a, b, strict=True):
        angle = np.arccos(np.vdot(x, y) / np.linalg.norm(x) / np.linalg.norm(y))
        mixed.append((np.sin(angle - u * angle) * x + np.sin(u * angle) * y) / np.sin(angle))
    return np.array(mixed)


def slerp_by_turning(a, b, u):
    """In single precision: the direction turns from a towards b, and the lengths are blended by their own weights."""
    a, b = a.float(), b.float()
    length = torch.linalg.vector_norm(a, dim=(1, 2, 3), keepdim=True)
    along = a / length
    cosine_part = (b * along).sum((1, 2, 3), keepdim=True)
    across = b - cosine_part * along
    height = torch.linalg.vector_norm(across, dim=(1, 2, 3), keepdim=True)
    angle = torch.atan2(height, cosine_part)
    # b = |b| (cos θ along + sin θ across), so its weight times b turns into these two parts.
    of_b = torch.sin(u * angle) / torch.sin(angle)
    of_a = torch.sin((1 - u) * angle) / torch.sin(angle)
    return (of_a * length + of_b * cosine_part) * along + of_b * across


def invert_by_the_library(model, made, x0, ts, iterations):
    *_, last = samplers.ddim_invert(model, x0, made, steps=ts, iterations=iterations)
    return last.x


def invert_by_noise_per_signal(model, made, x0, ts, iterations):
    share = np.append(made.alpha_bar.numpy(), 1.0)  # index −1 is the clean image
    r = np.sqrt(1 / share - 1)
    rising = [-1, *ts[::-1]]
    y = x0
    for s, t in pairwise(rising):
        x_t = y * np.sqrt(share[s])
        for _ in range(iterations):
            x_t = (y + (r[t] - r[s]) * model(x_t, t)) * np.sqrt(share[t])
        y = x_t / np.sqrt(share[t])
    return y * np.sqrt(share[ts[0]])


class Inverter:
    """A right answer to 09.5 that is an object, in single precision, and steps with its own step, exchanged."""

    def __call__(self, model, made, x0, ts, iterations):
        x, places = x0.float(), [-1, *reversed(ts)]
        for k in range(len(ts)):
            s, t = places[k], places[k + 1]
            eps = model(x, torch.tensor(t))
            for left in reversed(range(iterations)):
                clean = x if s < 0 else forward.x0_from_eps(made, x, s, eps)
                x_t = forward.q_sample(made, clean, t, eps)
                eps = model(x_t, t) if left else eps
            x = x_t
        return x


RIGHT = {
    "09.1": [steps_by_the_library, steps_in_numpy, steps_one_by_one],
    "09.2": [step_by_the_library, step_in_numpy, Stepper()],
    "09.3": [walk_by_the_library, walk_by_noise_per_signal, walk_by_recursion],
    "09.4": [slerp_flattened, slerp_in_numpy, slerp_by_turning],
    "09.5": [invert_by_the_library, invert_by_noise_per_signal, Inverter()],
}


@each(RIGHT)
def test_a_right_answer_passes_however_it_is_written(exercise, answer):
    verdict = judge(exercise, answer)
    assert verdict.passed, verdict.text


def test_every_exercise_has_at_least_three_right_answers():
    assert_three_for_each_exercise(RIGHT, "09")
