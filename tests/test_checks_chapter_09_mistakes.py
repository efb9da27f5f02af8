"""The mistakes of 09.1 to 09.3, made as a learner would and not as the misconception is: they are named."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from test_checks_chapter_09_answers import (
    step_by_the_library,
    steps_by_the_library,
    steps_in_numpy,
)

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion import forward, samplers


def as_diffusers_has_linspace(T, steps, spacing, offset):
    return np.linspace(0, T - 1, steps).round()[::-1].astype(int)


def linspace_for_trailing(T, steps, spacing, offset):
    if spacing == "leading":
        return steps_in_numpy(T, steps, spacing, offset)
    return torch.linspace(T - 1, 0, steps).round()


def exact_leading(T, steps, spacing, offset):
    if spacing == "trailing":
        return steps_in_numpy(T, steps, spacing, offset)
    return (np.arange(steps)[::-1] * T / steps).round().astype(int) + offset


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


def silent_at_step_0(made, eps, t, t_prev, x_t, eta, noise):
    z = noise if t_prev > 0 else torch.zeros_like(noise)
    return step_by_the_library(made, eps, t, t_prev, x_t, eta, z)


def certain_at_step_0(made, eps, t, t_prev, x_t, eta, noise):
    return step_by_the_library(made, eps, t, t_prev, x_t, eta if t_prev > 0 else 0, noise)


def step_clipped(made, eps, t, t_prev, x_t, eta, noise):
    options = {"t_prev": t_prev, "eta": eta, "noise": noise, "clip": 1}
    return samplers.ddim_step(made, eps, t, x_t, **options).x


def step_of_beta(made, eps, t, t_prev, x_t, eta, noise):
    a, b = made.alpha_bar[t], torch.cat([made.alpha_bar, torch.ones(1)])[t_prev]
    sigma = eta * torch.sqrt(1 - a / b)
    x0 = forward.x0_from_eps(made, x_t, t, eps)
    return b.sqrt() * x0 + torch.sqrt(1 - b - sigma**2) * eps + sigma * noise


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
    stride = ts[0] - ts[1]
    return walk_with(goes=lambda ts, k: max(ts[k] - stride, -1))(model, made, x_T, ts)


def walk_as_diffusers(model, made, x_T, ts):
    return walk_with(goes=lambda ts, k: max(ts[k] - made.T // len(ts), -1))(model, made, x_T, ts)


def walk_clipped(model, made, x_T, ts, **options):
    *_, last = samplers.ddim(model, x_T, made, steps=ts, clip=1, **options)
    return last.x


def walk_without_noise(model, made, x_T, ts):
    silent = [torch.zeros_like(x_T)] * len(ts)
    *_, last = samplers.ddpm(model, x_T, made, steps=ts, noises=silent)
    return last.x


def walk_that_keeps_all(model, made, x_T, ts):
    return [x_T, *(step.x for step in samplers.ddim(model, x_T, made, steps=ts))]


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
        (
            "09.1",
            lambda T, steps, spacing, offset: steps_by_the_library(T, steps, "leading", offset),
            "the spacing is not used: it is always leading",
        ),
        ("09.1", linspace_for_trailing, "trailing has both ends, T−1 and 0"),
        (
            "09.1",
            exact_leading,
            "leading has strides of T/steps, each step rounded to the nearest",
        ),
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
        ("09.2", silent_at_step_0, "the new noise is left out at t_prev = 0 already"),
        ("09.2", certain_at_step_0, "σ is set to 0 at t_prev = 0 already"),
        ("09.2", step_clipped, "x̂_0 is clipped"),
        ("09.2", step_of_beta, "σ is made of β instead of β̃, at the last step, too"),
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
        ("09.3", walk_as_diffusers, "the previous step is t − T // K"),
        ("09.3", walk_clipped, "x̂_0 is clipped"),
        (
            "09.3",
            lambda *given: walk_clipped(*given, eps_from_clipped=True),
            "x̂_0 is clipped, and its noise made to fit",
        ),
        (
            "09.3",
            lambda *given: np.clip(walk_with()(*given), -1, 1),
            "the images are clipped at the end",
        ),
        (
            "09.3",
            walk_with(goes=lambda ts, k: [*ts[1:], 0][k]),
            "the last jump ends at step 0, not at −1",
        ),
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
    ],
)
def test_a_mistake_is_named_however_it_is_written(exercise, answer, name):
    assert judge(EXERCISES[exercise], answer).misconception == name
