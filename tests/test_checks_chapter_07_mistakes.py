"""Chapter 07's mistakes, made as a learner would and not as the misconception is: they are named."""

import math

import numpy as np
import pytest
import torch
from test_checks_chapter_07_answers import (
    average_in_numpy,
    clip_in_numpy,
    resume_by_sorting,
    spread_in_numpy,
)

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge


def rate_by_linspace(step, lr, steps):
    return np.linspace(0, lr, steps)[min(step, steps - 1)]


def rate_without_end(step, lr, steps):
    rate = lr / steps
    for _ in range(step):
        rate += lr / steps
    return rate


def rate_off_by_a_step(step, lr, steps):
    return lr if step >= steps else lr * step / steps


def rate_with_one_step_too_many(step, lr, steps):
    return np.cumsum([lr / steps] * (step + 1))[-1] if step <= steps else lr


def averages_by_lerp(average, weights, n, decay):
    """lerp(a, b, w) goes the part w of the way to b: here far too far."""
    d = torch.tensor(min(decay, (1 + n) / (10 + n)))
    return [torch.lerp(a, w, d) for a, w in zip(average, weights, strict=True)]


def averages_by_library_without_warm_up(average, weights, n, decay):
    ema = torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
    copies = [a.clone() for a in average]
    ema(copies, weights, n)
    return copies


def averages_forgetting_the_rest(average, weights, n, decay):
    d = min(decay, (1 + n) / (10 + n))
    new = list(average)
    new[0] = d * average[0] + (1 - d) * weights[0]
    return new


def averages_counting_first(average, weights, n, decay):
    n += 1
    return average_in_numpy(average, weights, n, decay)


def averages_with_a_precedence_slip(average, weights, n, decay):
    d = min(decay, (n + 1) / 10 + n)
    return [a.mul(d).add(w.mul(1 - d)) for a, w in zip(average, weights, strict=True)]


def averages_without_parentheses(average, weights, n, decay):
    d = min(decay, 1 + n / 10 + n)
    return [a.mul(d).add(w.mul(1 - d)) for a, w in zip(average, weights, strict=True)]


TWO_FACTORS = "the average is multiplied by d, but the new weights by 1−decay"


def averages_with_two_factors(average, weights, n, decay):
    shrunk = [a * min(decay, (1 + n) / (10 + n)) for a in average]
    return [torch.add(a, w, alpha=1 - decay) for a, w in zip(shrunk, weights, strict=True)]


def clips_each(gradients, max_norm):
    return [clip_in_numpy([g], max_norm)[0] for g in gradients]


def clips_values(gradients, max_norm):
    return [np.clip(g.numpy(), -max_norm, max_norm) for g in gradients]


def clips_by_unit_vectors(gradients, max_norm):
    length = torch.cat([g.reshape(-1) for g in gradients]).norm()
    return [g / length * max_norm for g in gradients]


def clips_with_a_sum_that_starts_anew(gradients, max_norm):
    for g in gradients:
        total = 0.0
        total += (g**2).sum().item()
    scale = min(1.0, max_norm / math.sqrt(total)) if total else 1.0
    return [g * scale for g in gradients]


def clips_by_the_square(gradients, max_norm):
    length = sum((g * g).sum() for g in gradients)
    return [g * min(1.0, float(max_norm / length)) if length else g for g in gradients]


def clips_by_normalising(gradients, max_norm):
    """normalize keeps 0/0 away by itself."""
    sizes = [g.numel() for g in gradients]
    whole = torch.nn.functional.normalize(torch.cat([g.flatten() for g in gradients]), dim=0)
    parts = (max_norm * whole).split(sizes)
    return [part.view_as(g) for part, g in zip(parts, gradients, strict=True)]


def clips_by_the_longest(gradients, max_norm):
    longest = torch.stack([torch.linalg.vector_norm(g) for g in gradients]).max()
    return [g * torch.clamp(max_norm / longest, max=1) if longest else g for g in gradients]


def clips_by_a_first_and_a_second(gradients, max_norm):
    length = math.hypot(gradients[0].norm(), gradients[1].norm())
    return [g / max(1, length / max_norm) for g in gradients]


def steps_by_backward_with(weight):
    """Gradients that pile up as backward() makes them, each mean loss times weight(size, sizes, accumulate)."""

    def answer(gradients, sizes, accumulate):
        total, rows, N = torch.zeros(gradients.shape[1]), [], len(sizes)
        for i in range(N):
            total = total + gradients[i] * weight(sizes[i], sizes, accumulate)
            if (i + 1) % accumulate == 0 or i == N - 1:
                rows.append(total)
                total = torch.zeros_like(total)
        return torch.stack(rows)

    return answer


def steps_that_forget_the_rest(gradients, sizes, accumulate):
    rows = []
    for step in range(len(gradients) // accumulate):
        mine = range(step * accumulate, (step + 1) * accumulate)
        rows.append(sum(gradients[i] * sizes[i] for i in mine) / sum(sizes[i] for i in mine))
    return torch.stack(rows) if rows else torch.empty(0, gradients.shape[1])


def steps_that_fail_with_the_rest(gradients, sizes, accumulate):
    rows, N = [], len(sizes)
    for end in range(accumulate, N + 1, accumulate):
        n = sizes[end - accumulate : end].float()
        rows.append(n @ gradients[end - accumulate : end] / n.sum())
    return torch.stack(rows)


def steps_in_chunks(gradients, sizes, accumulate):
    chunks = zip(gradients.chunk(accumulate), sizes.chunk(accumulate), strict=True)
    return torch.stack([(n / n.sum()) @ g for g, n in chunks])


def steps_divided_twice(gradients, sizes, accumulate):
    sums = (gradients * sizes[:, None]).split(accumulate)
    return [g.mean(0) / n.sum() for g, n in zip(sums, sizes.split(accumulate), strict=True)]


def steps_never_cleared(gradients, sizes, accumulate):
    w, rows, N = torch.zeros(gradients.shape[1], requires_grad=True), [], len(sizes)
    for i in range(N):
        if i % accumulate == 0:
            samples = sizes[i : i + accumulate].sum()
        (gradients[i] @ w * sizes[i] / samples).backward()
        if (i + 1) % accumulate == 0 or i == N - 1:
            rows.append(w.grad.clone())
    return rows


def steps_of_means(gradients, sizes, accumulate):
    return [part.mean(0) for part in gradients.split(accumulate)]


def newest_by_text(names, good, accumulate):
    usable = sorted(n for n, whole in zip(names, good, strict=True) if whole)
    if not usable:
        return -1, 0, 0
    k = int(usable[-1].split("-")[1].split(".")[0])
    return names.index(usable[-1]), k, k * accumulate


def not_the_place_0(names, good, accumulate):
    best, k = None, 0
    for i, name in enumerate(names):
        if good[i] and int(name[5:-12]) > k:
            best, k = i, int(name[5:-12])
    return (best, k, k * accumulate) if best else (-1, 0, 0)


def resume_then(change):
    """07.6 done right, and then changed by change(which, step, batch, accumulate)."""

    def answer(names, good, accumulate):
        which, step, batch = resume_by_sorting(names, good, accumulate)
        return (which, step, batch) if which < 0 else change(which, step, batch, accumulate)

    return answer


def newest_whatever_it_is(names, good, accumulate):
    return resume_by_sorting(names, [any(good)] * len(names), accumulate)


def newest_unseen(names, good, accumulate):
    steps = [int(name[5:-12]) for name in names]
    k = max(steps, default=0)
    return (steps.index(k), k, accumulate * k) if k else (-1, 0, 0)


def newest_but_one(names, good, accumulate):
    last = max(names, key=lambda name: int(name[5:-12]), default="")
    good = [whole and name != last for name, whole in zip(names, good, strict=True)]
    return resume_by_sorting(names, good, accumulate)


def index_in_what_is_left(names, good, accumulate):
    left = [name for name, whole in zip(names, good, strict=True) if whole]
    return resume_by_sorting(left, [True] * len(left), accumulate)


def index_after_sorting(names, good, accumulate):
    order = sorted(range(len(names)), key=lambda i: int(names[i][5:-12]))
    return resume_by_sorting([names[i] for i in order], [good[i] for i in order], accumulate)


@pytest.mark.parametrize(
    ("exercise", "answer", "name"),
    [
        ("07.1", rate_by_linspace, "the rise is divided among one step too few"),
        ("07.1", rate_without_end, "the learning rate goes on rising after the warm-up"),
        ("07.1", rate_with_one_step_too_many, "the rise ends one step too late"),
        ("07.1", rate_off_by_a_step, "the rise begins at 0"),
        (
            "07.1",
            lambda step, lr, steps: min(lr, (step + 1) / steps),
            "the fraction itself is capped at lr",
        ),
        (
            "07.1",
            lambda step, lr, steps: np.clip((step + 1) // steps, 0, 1) * lr,
            "the fraction is made with whole numbers",
        ),
        ("07.2", averages_by_lerp, "d and 1−d are the wrong way round"),
        ("07.2", averages_by_library_without_warm_up, "the decay is not warmed up"),
        (
            "07.2",
            averages_forgetting_the_rest,
            "only the first tensor is averaged, and the rest stays as it was",
        ),
        ("07.2", averages_without_parentheses, "the decay is not warmed up"),
        ("07.2", averages_with_two_factors, TWO_FACTORS),
        ("07.2", averages_counting_first, "n is off by one: this update is counted already"),
        ("07.2", averages_with_a_precedence_slip, "the parentheses around 10+n are missing"),
        (
            "07.2",
            lambda average, weights, n, decay: average_in_numpy(average, weights, n, 2),
            "the decay is never reached: (1+n)/(10+n) grows past it",
        ),
        ("07.3", clips_each, "each tensor is clipped by itself"),
        ("07.3", clips_values, "each number is cut off at ±max_norm"),
        ("07.3", clips_by_unit_vectors, "short gradients are scaled up"),
        ("07.3", clips_with_a_sum_that_starts_anew, "the length of the last tensor stands for all"),
        (
            "07.3",
            clips_by_normalising,
            "short gradients are scaled up, all but those that are zero",
        ),
        ("07.3", clips_by_the_longest, "the length of the longest tensor stands for all"),
        (
            "07.3",
            clips_by_a_first_and_a_second,
            "only the first two tensors count for the length",
        ),
        ("07.3", clips_by_the_square, "the square root is missing in the length"),
        ("07.4", steps_of_means, "it is the mean of the batches' means"),
        (
            "07.4",
            steps_by_backward_with(lambda n, sizes, a: 1),
            "the gradients of a step are only added up",
        ),
        (
            "07.4",
            steps_by_backward_with(lambda n, sizes, a: 1 / a),
            "each step's sum is divided by accumulate, even where it has fewer batches",
        ),
        (
            "07.4",
            steps_that_forget_the_rest,
            "the batches that are left over at the end make no step",
        ),
        (
            "07.4",
            steps_that_fail_with_the_rest,
            "the batches that are left over at the end make no step, and if there are no others, all fails",
        ),
        ("07.4", steps_in_chunks, "`accumulate` is taken for the number of steps"),
        (
            "07.4",
            steps_divided_twice,
            "the sums over samples are divided by the samples, and by the number of batches too",
        ),
        ("07.4", steps_never_cleared, "the gradients of earlier steps are still in it"),
        ("07.5", lambda u, T: [int(T * v) for v in u], "each t is drawn from the whole chain"),
        (
            "07.5",
            lambda u, T: [round((i + v.item()) * T / len(u)) for i, v in enumerate(u)],
            "it is rounded to the nearest whole number",
        ),
        (
            "07.5",
            lambda u, T: [min(T - 1, round((i + float(v)) / len(u) * T)) for i, v in enumerate(u)],
            "it is rounded to the nearest whole number, and what is T then is made T−1",
        ),
        (
            "07.5",
            lambda u, T: [i * (T // len(u)) + int(v * (T // len(u))) for i, v in enumerate(u)],
            "all parts are T // B steps wide",
        ),
        (
            "07.5",
            lambda u, T: [math.floor(T * v) for v in sorted(u.tolist())],
            "the places are drawn from the whole chain and sorted",
        ),
        (
            "07.5",
            lambda u, T: np.trunc((np.linspace(0, 1, len(u)) + u.numpy() / len(u)) * T),
            "the parts begin at i/(B−1)",
        ),
        ("07.5", lambda u, T: spread_in_numpy(u, T) + 1, "t is off by one"),
        (
            "07.5",
            lambda u, T: spread_in_numpy(torch.zeros_like(u) + u[0], T),
            "the first u serves for all samples",
        ),
        ("07.6", newest_by_text, "the names are compared as text, not as numbers"),
        ("07.6", newest_whatever_it_is, "the newest checkpoint is taken though it is damaged"),
        ("07.6", newest_unseen, "good is not used"),
        (
            "07.6",
            newest_but_one,
            "the newest checkpoint is left out even where it is good",
        ),
        ("07.6", index_in_what_is_left, "which counts the good ones only"),
        ("07.6", not_the_place_0, "the place 0 is taken for none"),
        ("07.6", index_after_sorting, "which counts the sorted names"),
        (
            "07.6",
            resume_then(lambda which, step, batch, a: (which, step + 1, a * (step + 1))),
            "the run goes on one step too late",
        ),
        (
            "07.6",
            resume_then(lambda which, step, batch, a: (which, step, step)),
            "the batch has the number of the step, as if accumulate were 1",
        ),
    ],
)
def test_a_mistake_is_named_however_it_is_written(exercise, answer, name):
    verdict = judge(EXERCISES[exercise], answer)
    assert verdict.misconception == name, verdict.text
