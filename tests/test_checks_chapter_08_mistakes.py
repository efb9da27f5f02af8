"""Chapter 08's mistakes, made as a learner would and not as the misconception is: they are named."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from test_checks_chapter_08_answers import (
    jump_by_the_library,
    numbers_by_the_library,
    numbers_in_numpy,
    variances_by_a_step,
    variances_by_numbers,
    walk_by_the_library,
    walk_in_numpy,
)

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion import forward, jumps, samplers


def guess_with(schedule, eps, t, x_t, *, before=lambda e: e, after=lambda x: x, fit=True):
    """08.1 as most people write it, with something done to eps before and to x0 after."""
    a = schedule.alpha_bar[t]
    eps = before(eps)
    x0 = after((x_t - torch.sqrt(1 - a) * eps) / torch.sqrt(a))
    return x0, (x_t - torch.sqrt(a) * x0) / torch.sqrt(1 - a) if fit else eps


def pixels(x):
    return x.clamp(-1, 1)


def numbers_with(pairs=lambda ts: pairwise([*ts, -1]), share=None, kept=None, beta=None):
    """08.2 in a loop, with other pairs or other tables."""

    def numbers(schedule, ts):
        look = share or (lambda s, t: s.alpha_bar[t] if t >= 0 else torch.tensor(1.0))
        lists = [], [], [], []
        for t, s in pairs(ts):
            late, early = look(schedule, t), look(schedule, s)
            ratio = kept(schedule, t, s) if kept else late / early
            added = beta(schedule, t, s) if beta else 1 - ratio
            values = (
                early**0.5 * added / (1 - late),
                ratio**0.5 * (1 - early) / (1 - late),
                added,
                added * (1 - early) / (1 - late),
            )
            for column, value in zip(lists, values, strict=True):
                column.append(value)
        return lists

    return numbers


def with_deviation(schedule, ts):
    *three, beta_tilde = numbers_in_numpy(schedule, ts)
    return *three, np.sqrt(beta_tilde)


def weights_first_x_t(schedule, ts):
    of_x0, of_x_t, *variances = numbers_by_the_library(schedule, ts)
    return of_x_t, of_x0, *variances


def jump_with(
    *,
    sigma=lambda beta, tilde, kind: (beta if kind == "beta" else tilde) ** 0.5,
    last=-1,
    after=None,
):
    """08.3 as most people write it: another deviation, another end, or something done to the result."""

    def jump(schedule, eps, t, t_prev, x_t, noise, variance):
        late = schedule.alpha_bar[t]
        early = schedule.alpha_bar[t_prev] if t_prev >= 0 else torch.tensor(1.0)
        x0 = (x_t - (1 - late) ** 0.5 * eps) / late**0.5
        x0 = x0 if after else x0.clamp(-1, 1)
        beta = 1 - late / early
        mean = early**0.5 * beta * x0 + (late / early) ** 0.5 * (1 - early) * x_t
        mean = mean / (1 - late)
        if t_prev > last:
            mean = mean + sigma(beta, beta * (1 - early) / (1 - late), variance) * noise
        return after(mean) if after else mean

    return jump


def clips_eps(schedule, eps, t, t_prev, x_t, noise, variance):
    options = {"t_prev": t_prev, "variance": variance, "noise": noise}
    return samplers.ddpm_step(schedule, eps.clamp(-1, 1), t, x_t, **options).x


def without_clip(schedule, eps, t, t_prev, x_t, noise, variance):
    options = {"t_prev": t_prev, "variance": variance, "noise": noise}
    return samplers.ddpm_step(schedule, eps, t, x_t, **options).x


def ignores_t_prev(schedule, eps, t, t_prev, x_t, noise, variance):
    options = {"variance": variance, "clip": 1.0, "noise": noise}
    return samplers.ddpm_step(schedule, eps, t, x_t, **options).x


def renoises(schedule, eps, t, t_prev, x_t, noise, variance):
    x0 = forward.x0_from_eps(schedule, x_t, t, eps).clamp(-1, 1)
    return x0 if t_prev < 0 else forward.q_sample(schedule, x0, t_prev, noise)


def walk_with(
    *,
    step=jump_by_the_library,
    goes=lambda ts, k: [*ts, -1][k + 1],
    hears=None,
    noise=lambda k, K: k,
):
    """08.4 with a counter: another step, other goals, other times for the model, other noises."""

    def walk(model, schedule, x_T, ts, noises, variance):
        path = [x_T]
        for k in range(len(ts)):
            t, K = ts[k], len(ts)
            eps = model(path[-1], hears(ts, k) if hears else t)
            extra = noises[noise(k, K)]
            path.append(step(schedule, eps, t, goes(ts, k), path[-1], extra, variance))
        return torch.stack(path)

    return walk


def stops_at_the_last_of_ts(model, schedule, x_T, ts, noises, variance):
    path = [x_T]
    for k, (t, t_prev) in enumerate(pairwise(ts)):
        x = path[-1]
        path.append(jump_by_the_library(schedule, model(x, t), t, t_prev, x, noises[k], variance))
    return path


def keeps_the_guess(model, schedule, x_T, ts, noises, variance):
    options = {"steps": ts, "variance": variance, "clip": 1.0, "noises": noises}
    return torch.stack([x_T, *(step.x0 for step in samplers.ddpm(model, x_T, schedule, **options))])


def one_tensor_for_all(model, schedule, x_T, ts, noises, variance):
    x = x_T.clone()
    path = [x]
    for k, t in enumerate(ts):
        t_prev = ts[k + 1] if k + 1 < len(ts) else -1
        x[:] = jump_by_the_library(schedule, model(x, t), t, t_prev, x, noises[k], variance)
        path.append(x)
    return torch.stack(path)


def without_the_start(*given):
    return walk_by_the_library(*given)[1:]


def the_end_alone(*given):
    return walk_in_numpy(*given)[-1]


def variances_with(change):
    """08.5 as most people write it; change(v, factor, sigma2, jump, c) is the variance after a jump."""

    def variances(schedule, ts, c, variance):
        found = [1.0]
        for j in jumps.jumps(schedule, ts):
            total = j.alpha_bar * c + 1 - j.alpha_bar
            factor = j.from_x0 * math.sqrt(j.alpha_bar) * c / total + j.from_x_t
            sigma2 = j.beta if variance == "beta" else j.beta_tilde
            found.append(change(found[-1], factor, sigma2 if j.t_prev >= 0 else 0, j, c))
        return found

    return variances


def forgets_the_end(schedule, ts, c, variance):
    found = [1.0]
    for j in jumps.jumps(schedule, ts):
        factor = j.from_x0 * j.alpha_bar**0.5 * c / (j.alpha_bar * c + 1 - j.alpha_bar) + j.from_x_t
        found.append(factor**2 * found[-1] + (j.beta if variance == "beta" else j.beta_tilde))
    return found


def of_the_way_forward(schedule, ts, c, variance):
    share = torch.cat([schedule.alpha_bar[ts], torch.ones(1)])
    return share * c + (1 - share)


def of_the_way_forward_from_1(schedule, ts, c, variance):
    found = of_the_way_forward(schedule, ts, c, variance).tolist()
    found[0] = 1
    return found


@pytest.mark.parametrize(
    ("exercise", "answer", "name"),
    [
        (
            "08.1",
            lambda s, e, t, x: guess_with(s, e, t, x, before=pixels, fit=False),
            "ε is clipped instead of x̂_0",
        ),
        (
            "08.1",
            lambda s, e, t, x: guess_with(s, e, t, x, before=pixels, after=pixels),
            "ε is clipped as well as x̂_0",
        ),
        ("08.1", guess_with, "nothing is clipped"),
        (
            "08.1",
            lambda s, e, t, x: guess_with(s, e, t, x, after=pixels, fit=False),
            "eps is returned as the model gave it",
        ),
        (
            "08.1",
            lambda s, e, t, x: guess_with(s, e, t, x, after=lambda x0: np.clip(x0, 0, 1)),
            "x̂_0 is clipped to [0, 1]",
        ),
        (
            "08.1",
            lambda s, e, t, x: guess_with(s, e, t, x, after=torch.tanh),
            "x̂_0 is squeezed by tanh instead of clipped",
        ),
        (
            "08.2",
            numbers_with(pairs=lambda ts: [(t, t - 1) for t in ts]),
            "every jump goes to t − 1",
        ),
        (
            "08.2",
            numbers_with(share=lambda s, t: s.alpha_bar[t]),
            "at the last jump ᾱ_s is read from alpha_bar[−1], the last entry",
        ),
        (
            "08.2",
            numbers_with(share=lambda s, t: s.alpha[t] if t >= 0 else torch.tensor(1.0)),
            "α stands where ᾱ belongs",
        ),
        (
            "08.2",
            numbers_with(kept=lambda s, t, prev: s.alpha[t]),
            "a jump is taken as one step: β_t and α_t stand where 1−ᾱ_t/ᾱ_s and ᾱ_t/ᾱ_s belong",
        ),
        (
            "08.2",
            numbers_with(beta=lambda s, t, prev: s.beta[t]),
            "β_t of the single step stands where 1−ᾱ_t/ᾱ_s belongs",
        ),
        (
            "08.2",
            numbers_with(beta=lambda s, t, prev: sum(s.beta[prev + 1 : t + 1])),
            "the β between are added up",
        ),
        ("08.2", numbers_with(pairs=pairwise), "the last jump is missing"),
        (
            "08.2",
            numbers_with(pairs=lambda ts: pairwise([*ts, 0])),
            "the last jump ends at step 0",
        ),
        ("08.2", with_deviation, "√β̃ stands where β̃ belongs"),
        ("08.2", weights_first_x_t, "the two weights have changed places"),
        (
            "08.3",
            jump_with(sigma=lambda beta, tilde, kind: beta if kind == "beta" else tilde),
            "the variance multiplies the noise, where its root belongs",
        ),
        ("08.3", jump_with(last=-2), "noise is added at the last step, where the variance is β"),
        ("08.3", jump_with(last=0), "noise is left out at t_prev = 0 already"),
        (
            "08.3",
            jump_with(sigma=lambda beta, tilde, kind: (tilde if kind == "beta" else beta) ** 0.5),
            "the two variances have changed places",
        ),
        (
            "08.3",
            jump_with(sigma=lambda beta, tilde, kind: tilde**0.5),
            "the variance is β̃ whatever was asked for",
        ),
        (
            "08.3",
            jump_with(sigma=lambda beta, tilde, kind: torch.sqrt(beta)),
            "the variance is β whatever was asked for",
        ),
        ("08.3", jump_with(after=pixels), "x_prev is clipped instead of x̂_0"),
        ("08.3", clips_eps, "ε is clipped instead of x̂_0"),
        ("08.3", without_clip, "x̂_0 is not clipped"),
        ("08.3", ignores_t_prev, "t_prev is not used: the step goes to t − 1"),
        ("08.3", renoises, "the guess is noised again up to t_prev, as if x_t were forgotten"),
        (
            "08.4",
            walk_with(goes=lambda ts, k: ts[k] - 1),
            "every jump goes to t − 1, not to the next step of the list",
        ),
        (
            "08.4",
            walk_with(hears=lambda ts, k: k),
            "the model is told k, the number of the jump",
        ),
        (
            "08.4",
            walk_with(hears=lambda ts, k: [*ts, -1][k + 1]),
            "the model is told t_prev, where the jump goes",
        ),
        ("08.4", walk_with(hears=lambda ts, k: ts[k] + 1), "the model is told t + 1"),
        (
            "08.4",
            walk_with(noise=lambda k, K: -1 - k),
            "the noises are taken from the last to the first",
        ),
        ("08.4", walk_with(noise=lambda k, K: 0), "the same noise is used in each jump"),
        (
            "08.4",
            walk_with(step=jump_with(last=-2)),
            "noise is added at the last step, where the variance is β",
        ),
        ("08.4", walk_with(step=without_clip), "x̂_0 is not clipped"),
        ("08.4", walk_with(step=clips_eps), "ε is clipped instead of x̂_0"),
        (
            "08.4",
            lambda m, s, x, ts, n, v: walk_by_the_library(m, s, x, ts, n, "posterior"),
            "the jumps take the variance β̃ whatever was asked for",
        ),
        ("08.4", stops_at_the_last_of_ts, "the last jump is missing"),
        (
            "08.4",
            walk_with(goes=lambda ts, k: [*ts[1:], 0][k]),
            "the last jump ends at step 0, not at −1",
        ),
        (
            "08.4",
            walk_with(goes=lambda ts, k: [*ts[1:], 0][k], step=jump_with(last=-1)),
            "the last jump ends at step 0",
        ),
        ("08.4", keeps_the_guess, "the path holds the model's guesses x̂_0, not where x was"),
        ("08.4", one_tensor_for_all, "all places of the path are the same: the last one"),
        ("08.4", without_the_start, "x_T is missing in the path"),
        ("08.4", the_end_alone, "only the end of the walk is returned"),
        (
            "08.5",
            variances_with(lambda v, g, s2, j, c: g * v + s2),
            "the factor of x is not squared",
        ),
        (
            "08.5",
            variances_with(lambda v, g, s2, j, c: g**2 * v + math.sqrt(s2)),
            "σ is added instead of σ²",
        ),
        (
            "08.5",
            variances_with(lambda v, g, s2, j, c: ((g - j.from_x_t) ** 2 + j.from_x_t**2) * v + s2),
            "the two weights are squared one by one, as if x̂_0 and x_t were independent",
        ),
        (
            "08.5",
            variances_with(lambda v, g, s2, j, c: j.from_x0**2 * c + j.from_x_t**2 * v + s2),
            "x̂_0 is given the variance c of the data",
        ),
        ("08.5", forgets_the_end, "noise is added at the last step, where the variance is β"),
        ("08.5", of_the_way_forward, "the variances are those of the way forward, ᾱ_t c + 1 − ᾱ_t"),
        (
            "08.5",
            of_the_way_forward_from_1,
            "after the first, the variances are those of the way forward, ᾱ_s c + 1 − ᾱ_s",
        ),
        (
            "08.5",
            lambda s, ts, c, v: variances_by_numbers(s, ts, c, v).sqrt(),
            "the deviations are returned instead of the variances",
        ),
        (
            "08.5",
            lambda s, ts, c, v: variances_by_a_step(s, ts, c, v)[-1],
            "only the last variance is returned",
        ),
        (
            "08.5",
            lambda s, ts, c, v: variances_by_numbers(s, ts, c**2, v),
            "c is taken for a deviation, and squared",
        ),
    ],
)
def test_a_mistake_is_named_however_it_is_written(exercise, answer, name):
    assert judge(EXERCISES[exercise], answer).misconception == name
