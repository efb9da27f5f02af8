"""Chapter 05's mistakes, made as a learner would and not as the misconception is: they are named."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from test_checks_chapter_05_answers import (
    embed_in_a_loop,
    loss_by_einsum,
    sample_by_recursion,
    step_in_numpy,
)

from course_utils.checks.chapter_05.material import Network
from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion import forward, objective, samplers


def forgets_the_new_axis(model, schedule, x0, t, eps):
    a = schedule.alpha_bar[t]
    return ((model(torch.sqrt(a) * x0 + torch.sqrt(1 - a) * eps, t) - eps) ** 2).mean()


def loss_of_norms(model, schedule, x0, t, eps):
    gap = model(forward.q_sample(schedule, x0, t, eps), t) - eps
    return gap.norm(dim=1).pow(2).mean()


def predicts_the_clean_point(model, schedule, x0, t, eps):
    return objective.simple_loss(model, schedule, x0, t, eps, prediction="x0")


def without_the_bar(model, schedule, x0, t, eps):
    x_t = schedule.alpha[t][:, None] ** 0.5 * x0 + schedule.beta[t][:, None] ** 0.5 * eps
    return torch.nn.functional.mse_loss(model(x_t, t), eps)


def step_with(**changes):
    """The formula of 05.3 as most people write it, with some names standing for other numbers."""

    def step(schedule, eps, t, x_t, noise):
        names = {
            "beta": schedule.beta[t],
            "root": schedule.alpha[t] ** 0.5,
            "share": schedule.alpha_bar[t],
            "before": schedule.alpha_bar[t - 1],
        }
        names |= {name: change(names) for name, change in changes.items() if name in names}
        mean = (x_t - names["beta"] / (1 - names["share"]) ** 0.5 * eps) / names["root"]
        if t == changes.get("last", 0):
            return mean
        scale = changes.get(
            "scale", lambda n: ((1 - n["before"]) / (1 - n["share"]) * n["beta"]) ** 0.5
        )
        return mean + scale(names) * noise

    return step


def in_the_order_of_the_loop(model, schedule, x_T, noises):
    x = x_T
    for k, noise in enumerate(noises):
        t = len(noises) - 1 - k
        x = samplers.ddpm_step(schedule, model(x, t), t, x, noise=noise).x
    return x


def range_without_its_end(model, schedule, x_T, noises):
    x = x_T
    for t in range(schedule.T - 1, 0, -1):
        x = samplers.ddpm_step(schedule, model(x, t), t, x, noise=noises[t]).x
    return x


def forgets_to_move_on(model, schedule, x_T, noises):
    for t in reversed(range(schedule.T)):
        x = samplers.ddpm_step(schedule, model(x_T, t), t, x_T, noise=noises[t]).x
    return x


def remembers_everything(model, schedule, x_T, noises):
    x, path = x_T, []
    for t in reversed(range(schedule.T)):
        x = samplers.ddpm_step(schedule, model(x, t), t, x, noise=noises[t]).x
        path.append(x)
    return path


def papers_t(model, schedule, x_T, noises):
    return sample_by_recursion(lambda x, t: model(x, t + 1), schedule, x_T, noises)


def forgets_the_x_of_the_step(model, schedule, x_T, noises):
    x = x_T
    for t in reversed(range(schedule.T)):
        x = samplers.ddpm_step(schedule, model(x, t), t, x, noise=noises[t])
    return x


def takes_the_clean_point(model, schedule, x_T, noises):
    x = x_T
    for t in reversed(range(schedule.T)):
        x = samplers.ddpm_step(schedule, model(x, t), t, x, noise=noises[t]).x0
    return x


def loop_with(step):
    def sample(model, schedule, x_T, noises):
        x = x_T
        for t in reversed(range(schedule.T)):
            x = step(schedule, model(x, t), t, x, noises[t])
        return x

    return sample


def noised_again(schedule, eps, t, x_t, noise):
    x0 = forward.x0_from_eps(schedule, x_t, t, eps)
    return x0 if t == 0 else forward.q_sample(schedule, x0, t - 1, noise)


def ddim(schedule, eps, t, x_t, noise):
    return noised_again(schedule, eps, t, x_t, eps)


def without_parentheses(schedule, eps, t, x_t, noise):
    share, alpha, beta = schedule.alpha_bar[t], schedule.alpha[t], schedule.beta[t]
    mean = x_t / alpha**0.5 - beta / (1 - share) ** 0.5 * eps
    if t == 0:
        return mean
    return mean + ((1 - schedule.alpha_bar[t - 1]) / (1 - share) * beta) ** 0.5 * noise


def step_with_max(schedule, eps, t, x_t, noise):
    share, before = schedule.alpha_bar[t], schedule.alpha_bar[max(t - 1, 0)]
    beta = schedule.beta[t]
    mean = (x_t - beta / (1 - share) ** 0.5 * eps) / (1 - beta) ** 0.5
    return mean + ((1 - before) / (1 - share) * beta) ** 0.5 * noise


def averages_of_averages(losses, t, T, bins):
    of_step = [losses[t == step].mean() for step in range(T)]
    return np.nanmean(np.reshape(of_step, (bins, T // bins)), axis=1)


def added_with_an_index(losses, t, T, bins):
    which, sums = t.numpy() // (T // bins), np.zeros(bins)
    sums[which] += losses.numpy()
    with np.errstate(invalid="ignore"):
        return sums / np.bincount(which, minlength=bins)


def between_edges(upper, lower):
    """The mean of the losses between the edges of each bin, compared by these two."""

    def means(losses, t, T, bins):
        edges = range(0, T + 1, T // bins)
        return [losses[lower(t, a) & upper(t, b)].mean() for a, b in pairwise(edges)]

    return means


def histogram_of_what_came(losses, t, T, bins):
    sums, edges = np.histogram(t, bins, weights=losses)
    with np.errstate(invalid="ignore"):
        return sums / np.histogram(t, edges)[0]


def zeros_where_nothing_is(losses, t, T, bins):
    means = torch.zeros(bins, dtype=losses.dtype)
    for k in range(bins):
        if (mine := t // (T // bins) == k).any():
            means[k] = losses[mine].mean()
    return means


def counts_from_one(losses, t, T, bins):
    which = np.floor((t.numpy() + 1) / (T / bins)).astype(int)
    with np.errstate(invalid="ignore"):
        return np.bincount(which, losses, bins) / np.bincount(which, minlength=bins)


def sorted_and_chunked(losses, t, T, bins):
    ordered = losses.numpy()[np.argsort(t.numpy())]
    return [part.mean() for part in np.array_split(ordered, bins)]


@pytest.mark.parametrize(
    ("exercise", "answer", "name"),
    [
        (
            "05.1",
            lambda t, T, f: np.c_[np.cos(np.outer(t, f) / T), np.sin(np.outer(t, f) / T)],
            "the cosines come before the sines",
        ),
        ("05.1", lambda t, T, f: embed_in_a_loop(t, 1, f), "t is not divided by T"),
        ("05.1", lambda t, T, f: embed_in_a_loop(t + 1, T, f), "t is off by one"),
        (
            "05.1",
            lambda t, T, f: [[g(s * w / T) for w in f for g in (torch.sin, torch.cos)] for s in t],
            "sines and cosines alternate",
        ),
        (
            "05.1",
            lambda t, T, f: embed_in_a_loop(t, T, math.pi / 2 * torch.arange(1, len(f) + 1)),
            "the frequencies are made anew instead of those that are given",
        ),
        ("05.1", lambda t, T, f: embed_in_a_loop(t, T, math.pi * f), "a factor π is added"),
        ("05.2", forgets_the_new_axis, "t runs along the coordinates instead of the points"),
        (
            "05.2",
            loss_of_norms,
            "the squares are summed over the coordinates and averaged over the points",
        ),
        ("05.2", predicts_the_clean_point, "x0 is the target instead of eps"),
        ("05.2", without_the_bar, "α stands where ᾱ belongs"),
        (
            "05.2",
            lambda m, s, x0, t, e: ((m(x0, t) - e) ** 2).mean(),
            "the model is shown the clean x0 instead of x_t",
        ),
        (
            "05.2",
            lambda m, s, x0, t, e: loss_by_einsum(lambda x, t: m(x, t + 1), s, x0, t, e),
            "the model is told t+1",
        ),
        (
            "05.3",
            step_with(last=-1),
            "at t = 0 the noise is not left out: alpha_bar[t−1] is then alpha_bar[−1], the last entry",
        ),
        (
            "05.3",
            step_with(scale=lambda n: n["beta"] ** 0.5),
            "√β multiplies the noise instead of √β̃",
        ),
        (
            "05.3",
            step_with(scale=lambda n: n["beta"] ** 0.5, last=-1),
            "√β multiplies the noise, at the last step too",
        ),
        (
            "05.3",
            step_with(scale=lambda n: (1 - n["before"]) / (1 - n["share"]) * n["beta"]),
            "the variance β̃ multiplies the noise, where its root belongs",
        ),
        (
            "05.3",
            step_with(scale=lambda n: ((1 - n["share"]) / (1 - n["before"]) * n["beta"]) ** 0.5),
            "β̃ has ᾱ_t and ᾱ_{t−1} swapped",
        ),
        (
            "05.3",
            step_with(root=lambda n: n["share"] ** 0.5),
            "the bracket is divided by √ᾱ instead of √α",
        ),
        (
            "05.3",
            step_with(root=lambda n: n["root"] ** 2),
            "the bracket is divided by α instead of √α",
        ),
        (
            "05.3",
            lambda s, eps, t, x_t, noise: forward.x0_from_eps(s, x_t, t, eps),
            "it jumps to the clean point",
        ),
        ("05.3", step_with_max, "at t = 0 noise of variance β_0 is added"),
        ("05.3", noised_again, "the clean point is guessed and noised again up to t−1"),
        ("05.3", ddim, "the model's eps is put back in place of fresh noise, as DDIM does"),
        ("05.3", without_parentheses, "only x_t is divided by √α, not the whole bracket"),
        (
            "05.3",
            lambda s, eps, t, x, noise: step_in_numpy(s, eps, t, x, noise) if t else x,
            "x_t is returned unchanged at t = 0",
        ),
        (
            "05.4",
            takes_the_clean_point,
            "the model's clean point x̂_0 goes on to the next step, not x_{t−1}",
        ),
        (
            "05.4",
            loop_with(step_with(scale=lambda n: n["beta"] ** 0.5)),
            "the steps take the variance β_t, not β̃_t",
        ),
        (
            "05.4",
            loop_with(step_with(last=-1)),
            "the step at t = 0 adds noise, because alpha_bar[t−1] is the last entry there",
        ),
        (
            "05.4",
            in_the_order_of_the_loop,
            "the noises are taken in the order of the loop instead of by t",
        ),
        ("05.4", range_without_its_end, "the loop stops at t = 1"),
        ("05.4", forgets_to_move_on, "each step begins at x_T again"),
        ("05.4", remembers_everything, "the whole path is returned"),
        ("05.4", papers_t, "the model is told t+1"),
        (
            "05.5",
            histogram_of_what_came,
            "the bins divide the range of the t that occurred, not 0 … T",
        ),
        (
            "05.5",
            averages_of_averages,
            "the losses of each t are averaged first, and then those means",
        ),
        ("05.5", added_with_an_index, "only one loss of each bin is in its sum"),
        (
            "05.5",
            between_edges(torch.le, torch.ge),
            "a t on the edge of two bins is counted in both",
        ),
        (
            "05.5",
            between_edges(torch.le, torch.gt),
            "a t on the edge of two bins falls into the lower one, and t = 0 into none",
        ),
        ("05.5", between_edges(torch.lt, torch.gt), "the first step of each bin is in no bin"),
        (
            "05.5",
            lambda losses, t, T, bins: [losses[t // bins == k].mean() for k in range(bins)],
            "t is divided by the number of bins, not by their width",
        ),
        ("05.5", zeros_where_nothing_is, "an empty bin is given 0"),
        (
            "05.5",
            sorted_and_chunked,
            "the losses are sorted by t and cut into parts of equal number",
        ),
        (
            "05.5",
            counts_from_one,
            "t is off by one, so that t = T−1 begins a bin of its own",
        ),
    ],
)
def test_a_mistake_is_named_however_it_is_written(exercise, answer, name):
    verdict = judge(EXERCISES[exercise], answer)
    assert verdict.misconception == name, verdict.text


@pytest.mark.parametrize(
    ("exercise", "given"), [("05.2", "eps"), ("05.3", "noise"), ("05.4", "noises")]
)
def test_noise_of_one_s_own_is_noticed_and_the_given_one_named(exercise, given):
    found = EXERCISES[exercise]
    said = judge(found, lambda *a: found.reference(*a[:-1], torch.randn_like(a[-1]))).text
    assert f"Here the noise is given: use {given}." in " ".join(said.split())


def test_a_step_that_was_not_opened_is_told_apart_from_points():
    said = " ".join(judge(EXERCISES["05.4"], forgets_the_x_of_the_step).text.split())
    assert "the model takes points; this is a Step, and its points are its .x" in said


def test_a_model_called_with_the_wrong_shape_says_which():
    def steps_as_a_column(model, schedule, x0, t, eps):
        return loss_by_einsum(lambda x, t: model(x, t[:, None]), schedule, x0, t, eps)

    said = " ".join(judge(EXERCISES["05.2"], steps_as_a_column).text.split())
    assert "the model takes t as one int or of shape [2]; got shape [2, 1]" in said
    with pytest.raises(ValueError, match=r"points of shape \[B, 2\]; got shape \[2, 3\]"):
        Network(10)(torch.zeros(2, 3), 0)
