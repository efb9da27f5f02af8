"""Chapter 09's mistakes, made as a learner would and not as the misconception is: they are named."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from test_checks_chapter_09_answers import (
    invert_by_the_library,
    slerp_flattened,
    slerp_in_numpy,
    step_by_the_library,
    steps_by_the_library,
    steps_in_numpy,
)

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion import forward, samplers


def as_diffusers_has_linspace(T, steps, spacing, offset):
    return np.linspace(0, T - 1, steps).round()[::-1].astype(int)


def by_a_range(T, steps, spacing, offset):
    """Leading by a range whose end is T."""
    if spacing == "trailing":
        return steps_in_numpy(T, steps, spacing, offset)
    return [t + offset for t in range(0, T, T // steps)][::-1]


def cuts_off(T, steps, spacing, offset):
    if spacing == "leading":
        return steps_in_numpy(T, steps, spacing, offset)
    return [int(T - k * T / steps) - 1 for k in range(steps)]


def one_rule_for_both(T, steps, spacing, offset):
    return [
        t + offset * (spacing == "trailing")
        for t in steps_by_the_library(T, steps, spacing, offset)
    ]


def step_with(
    *,
    sigma2=lambda eta, tilde: eta**2 * tilde,
    direction=lambda b, s2: torch.sqrt(1 - b - s2),
    sigma=torch.sqrt,
    target=lambda a, b: b,
    clean=lambda made: torch.ones(()),
):
    """09.2 as most people write it, with a slip in one of its lines."""

    def step(made, eps, t, t_prev, x_t, eta, noise):
        a = made.alpha_bar[t]
        b = made.alpha_bar[t_prev] if t_prev >= 0 else clean(made)
        s2 = sigma2(eta, (1 - a / b) * (1 - b) / (1 - a))
        x0 = (x_t - torch.sqrt(1 - a) * eps) / torch.sqrt(a)
        b = target(a, b)
        return torch.sqrt(b) * x0 + direction(b, s2) * eps + sigma(s2) * noise

    return step


def papers_alpha(made, eps, t, t_prev, x_t, eta, noise):
    """The formula of the paper with its own letter, taken from the wrong table."""
    a, b = made.alpha[t], made.alpha[t_prev] if t_prev >= 0 else torch.ones(())
    sigma = eta * ((1 - b) / (1 - a) * (1 - a / b)).sqrt()
    x0 = (x_t - (1 - a).sqrt() * eps) / a.sqrt()
    return b.sqrt() * x0 + (1 - b - sigma**2).sqrt() * eps + sigma * noise


def noise_at_the_end_too(made, eps, t, t_prev, x_t, eta, noise):
    x = step_by_the_library(made, eps, t, t_prev, x_t, eta, noise)
    return x if t_prev >= 0 else x + eta * made.one_minus_alpha_bar[t].sqrt() * noise


def ancestral_with_less_noise(made, eps, t, t_prev, x_t, eta, noise):
    return samplers.ddpm_step(made, eps, t, x_t, t_prev=t_prev, noise=eta * noise).x


def walk_with(
    *, goes=lambda ts, k: [*ts, -1][k + 1], hears=lambda ts, k: ts[k], read=lambda step: step.x
):
    """09.3 with a counter: other goals, other times for the model, or another part of the step."""

    def walk(model, made, x_T, ts):
        x = x_T
        for k, t in enumerate(ts):
            step = samplers.ddim_step(made, model(x, hears(ts, k)), t, x, t_prev=goes(ts, k))
            x = read(step)
        return x

    return walk


def walk_that_stops_early(model, made, x_T, ts):
    x = x_T
    for t, t_prev in pairwise(ts):
        x = samplers.ddim_step(made, model(x, t), t, x, t_prev=t_prev).x
    return x


def walk_in_even_strides(model, made, x_T, ts):
    stride = ts[0] - ts[1] if len(ts) > 1 else ts[0] + 1
    return walk_with(goes=lambda ts, k: max(ts[k] - stride, -1))(model, made, x_T, ts)


def walk_without_noise(model, made, x_T, ts):
    silent = [torch.zeros_like(x_T)] * len(ts)
    *_, last = samplers.ddpm(model, x_T, made, steps=ts, noises=silent)
    return last.x


def walk_that_keeps_all(model, made, x_T, ts):
    return [x_T, *(step.x for step in samplers.ddim(model, x_T, made, steps=ts))]


def slerp_along(*dims):
    """The usual code, with the axes of the sums as they are given."""

    def slerp(a, b, u):
        a_unit = a / torch.linalg.vector_norm(a, dim=dims, keepdim=True)
        b_unit = b / torch.linalg.vector_norm(b, dim=dims, keepdim=True)
        angle = torch.acos((a_unit * b_unit).sum(dims, keepdim=True))
        weights = torch.sin((1 - u) * angle), torch.sin(u * angle)
        return (weights[0] * a + weights[1] * b) / torch.sin(angle)

    return slerp


def slerp_of_units(a, b, u):
    a, b = (x / x.square().sum((1, 2, 3), keepdim=True).sqrt() for x in (a, b))
    return slerp_flattened(a, b, u)


def invert_with(
    *, told=lambda t, s: t, base=lambda x, x_t: x, extra=0, rising=lambda ts: [-1, *ts[::-1]]
):
    """09.5 as most people write it, with a slip in one of its lines."""

    def invert(model, made, x0, ts, iterations):
        x = x0
        for s, t in pairwise(rising(ts)):
            a = made.alpha_bar[t]
            b = made.alpha_bar[s] if s >= 0 else torch.tensor(1.0)
            x_t = x
            for _ in range(iterations + extra):
                eps = model(x_t, told(t, s))
                clean = (base(x, x_t) - (1 - b) ** 0.5 * eps) / b**0.5
                x_t = a**0.5 * clean + (1 - a) ** 0.5 * eps
            x = x_t
        return x

    return invert


def invert_by_noising(model, made, x0, ts, iterations):
    x = x0
    for t in reversed(ts):
        x_t = x
        for _ in range(iterations):
            x_t = forward.q_sample(made, x, t, model(x_t, t))
        x = x_t
    return x


def invert_once(model, made, x0, ts, iterations):
    return invert_by_the_library(model, made, x0, ts, 1)


@pytest.mark.parametrize(
    ("exercise", "answer", "name"),
    [
        ("09.1", lambda *given: steps_in_numpy(*given)[::-1].copy(), "the steps rise"),
        (
            "09.1",
            as_diffusers_has_linspace,
            "both ends are included, 0 and T−1, with either spacing",
        ),
        (
            "09.1",
            by_a_range,
            "leading goes on as long as T allows: more steps than asked for",
        ),
        ("09.1", cuts_off, "trailing is rounded down instead of to the nearest"),
        ("09.1", one_rule_for_both, "the offset is added to trailing steps as well"),
        (
            "09.1",
            lambda T, steps, spacing, offset: steps_by_the_library(T, steps, spacing, 0),
            "the offset is left out",
        ),
        (
            "09.1",
            lambda *given: steps_in_numpy(*given) + 1,
            "all steps are the papers' count, one above ours",
        ),
        (
            "09.2",
            step_with(direction=lambda b, s2: torch.sqrt(1 - b)),
            "σ is not removed from the direction term",
        ),
        (
            "09.2",
            step_with(direction=lambda b, s2: 1 - b - s2),
            "the square root of the direction term is forgotten",
        ),
        (
            "09.2",
            step_with(direction=lambda b, s2: (1 - b) ** 0.5 - s2**0.5),
            "the direction term is √(1−ᾱ_s) − σ, a difference of deviations",
        ),
        (
            "09.2",
            step_with(direction=lambda b, s2: torch.sqrt(1 - b - torch.sqrt(s2))),
            "σ is removed from the direction term, where σ² belongs",
        ),
        (
            "09.2",
            step_with(target=lambda a, b: a),
            "ᾱ_t stands where ᾱ_s belongs, in image and noise",
        ),
        ("09.2", papers_alpha, "α stands where ᾱ belongs"),
        (
            "09.2",
            step_with(clean=lambda made: made.alpha_bar[-1]),
            "at the last step ᾱ_s is read from alpha_bar[−1], the last entry",
        ),
        (
            "09.2",
            step_with(clean=lambda made: made.alpha_bar[0]),
            "the last step goes to step 0, with its ᾱ_0, not to the clean image",
        ),
        ("09.2", noise_at_the_end_too, "noise is added at the last step"),
        ("09.2", step_with(sigma2=lambda eta, tilde: eta * tilde), "η is not squared in σ²"),
        ("09.2", step_with(sigma=lambda s2: s2), "σ² multiplies the new noise, where σ belongs"),
        (
            "09.2",
            step_with(sigma2=lambda eta, tilde: tilde),
            "η is not used: it is always 1",
        ),
        (
            "09.2",
            ancestral_with_less_noise,
            "η is in the new noise only: the direction term takes away all of β̃",
        ),
        (
            "09.2",
            lambda s, e, t, t_prev, x, eta, z: step_by_the_library(s, e, t, t - 1, x, eta, z),
            "t_prev is not used: the step goes to t − 1",
        ),
        (
            "09.3",
            walk_with(goes=lambda ts, k: ts[k] - 1),
            "the previous step is taken to be t − 1, not the next of the list",
        ),
        ("09.3", walk_in_even_strides, "the previous step is t minus a fixed stride"),
        ("09.3", walk_that_stops_early, "the last jump is missing"),
        ("09.3", walk_with(hears=lambda ts, k: k), "the model is told k, the number of the jump"),
        (
            "09.3",
            walk_with(hears=lambda ts, k: [*ts, -1][k + 1]),
            "the model is told t_prev, where the jump goes",
        ),
        ("09.3", walk_with(hears=lambda ts, k: ts[k] + 1), "the model is told t + 1"),
        (
            "09.3",
            walk_with(read=lambda step: step.x0),
            "the model's x̂_0 goes on to the next jump, not x",
        ),
        (
            "09.3",
            walk_without_noise,
            "the jumps go to the posterior's mean, as DDPM without noise",
        ),
        ("09.3", walk_that_keeps_all, "the whole path is returned"),
        ("09.4", torch.lerp, "it is the straight line from a to b"),
        (
            "09.4",
            lambda a, b, u: slerp_in_numpy(b, a, u),
            "u and 1−u have changed places",
        ),
        ("09.4", slerp_along(0, 1, 2, 3), "one angle is taken for the whole batch"),
        ("09.4", slerp_along(1), "each pixel has its own angle, over its channels"),
        ("09.4", slerp_along(-1), "each row of pixels has its own angle"),
        ("09.4", slerp_along(-1, -2), "each channel has its own angle"),
        ("09.4", slerp_of_units, "the unit vectors are mixed, not a and b"),
        (
            "09.4",
            lambda a, b, u: (1 - u) ** 0.5 * a + u**0.5 * b,
            "the weights are √(1−u) and √u",
        ),
        (
            "09.5",
            invert_with(told=lambda t, s: s),
            "the model is told s, where the image stands",
        ),
        (
            "09.5",
            invert_with(base=lambda x, x_t: x_t),
            "each iteration goes up from the x_t of the one before",
        ),
        ("09.5", invert_with(extra=1), "there is one iteration too many"),
        (
            "09.5",
            invert_with(rising=lambda ts: ts[::-1]),
            "the first jump, from the clean image to ts[-1], is missing",
        ),
        (
            "09.5",
            invert_with(rising=lambda ts: [-1, *ts[:0:-1]]),
            "the last jump, up to ts[0], is missing",
        ),
        ("09.5", invert_by_noising, "x at s is taken for the clean image"),
        (
            "09.5",
            invert_once,
            "the model is always shown x at s, so that iterations change nothing",
        ),
    ],
)
def test_a_mistake_is_named_however_it_is_written(exercise, answer, name):
    assert judge(EXERCISES[exercise], answer).misconception == name
