"""Chapter 07's exercises, answered in a learner's own words: right answers pass, and the references are right."""

import functools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from written_answers import assert_three_for_each_exercise, each

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion.training import EMA, warm_up

# --- right answers, written differently ---------------------------------------------------------------------


def rate_by_a_table(step, lr, steps):
    table = [lr * k / steps for k in range(1, steps + 1)]
    return table[step] if step < steps else table[-1]


def average_in_numpy(average, weights, n, decay):
    d = np.minimum(decay, np.divide(1 + n, 10 + n))
    return tuple(
        w.numpy() + d * (a.numpy() - w.numpy()) for a, w in zip(average, weights, strict=True)
    )


def average_by_an_optimiser(average, weights, n, decay):
    """A step of gradient descent towards the weights, on copies."""
    parameters = [torch.nn.Parameter(a.double()) for a in average]
    d = decay if decay * (10 + n) < 1 + n else (1 + n) / (10 + n)
    for p, w in zip(parameters, weights, strict=True):
        p.grad = p.detach() - w
    torch.optim.SGD(parameters, lr=1 - d).step()
    return parameters


def average_in_place_on_copies(average, weights, n, decay):
    copies = [a.clone() for a in average]
    for copy, w in zip(copies, weights, strict=True):
        copy.mul_(min(decay, (1 + n) / (10 + n))).add_(w, alpha=1 - min(decay, (1 + n) / (10 + n)))
    return copies


class Averager:
    """A right answer to 07.2 that is an object."""

    def __call__(self, average, weights, n, decay):
        return [
            self.mix(*pair, min(decay, (1 + n) / (10 + n)))
            for pair in zip(average, weights, strict=True)
        ]

    def mix(self, a, w, d):
        return torch.stack([a, w], -1) @ torch.tensor([d, 1 - d])


def clip_with_torch(gradients, max_norm):
    parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g.clone()
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    return [p.grad for p in parameters]


def clip_in_numpy(gradients, max_norm):
    arrays = [g.numpy().astype(float) for g in gradients]
    length = np.linalg.norm(np.concatenate([a.ravel() for a in arrays]))
    return [a / max(1, length / max_norm) for a in arrays]


def clip_by_norm_of_norms(gradients, max_norm):
    length = torch.stack([g.norm() for g in gradients]).norm() + 1e-6
    return tuple(g * torch.clamp(max_norm / length, max=1.0) for g in gradients)


def steps_by_backward(gradients, sizes, accumulate):
    """As in training: the mean loss of each batch has the given gradient, and backward() adds."""
    w, rows, N = torch.zeros(gradients.shape[1], requires_grad=True), [], len(sizes)
    for i in range(N):
        if i % accumulate == 0:
            w.grad = None
            samples = sizes[i : i + accumulate].sum()
        (gradients[i] @ w * sizes[i] / samples).backward()
        if (i + 1) % accumulate == 0 or i == N - 1:
            rows.append(w.grad.tolist())
    return rows


def steps_by_reduceat(gradients, sizes, accumulate):
    first = np.arange(0, len(sizes), accumulate)
    samples = np.add.reduceat(sizes.numpy(), first)
    return np.add.reduceat(gradients.numpy() * sizes.numpy()[:, None], first) / samples[:, None]


def steps_sample_by_sample(gradients, sizes, accumulate):
    """Each sample stands for itself, with the gradient of its batch."""
    rows = []
    for g, n in zip(gradients.split(accumulate), sizes.split(accumulate), strict=True):
        rows.append(g.repeat_interleave(n, dim=0).mean(0))
    return torch.stack(rows)


def steps_by_a_matrix(gradients, sizes, accumulate):
    N = len(sizes)
    belongs = (torch.arange(N) // accumulate)[None] == torch.arange(math.ceil(N / accumulate))[
        :, None
    ]
    share = belongs * sizes
    return (share / share.sum(1, keepdim=True)).double() @ gradients.double()


def spread_in_numpy(u, T):
    B = len(u)
    return np.floor(np.linspace(0, T, B, endpoint=False) + T / B * u.numpy()).astype(int)


def spread_one_by_one(u, T):
    t = []
    for i in range(len(u)):
        low, high = T * i / len(u), T * (i + 1) / len(u)
        t.append(int(low + (high - low) * u[i]))
    return t


def spread_in_single_precision(u, T):
    return T * (torch.arange(len(u)) + u.float()) // len(u)


def resume_by_sorting(names, good, accumulate):
    usable = [n for n, whole in zip(names, good, strict=True) if whole]
    usable.sort(key=lambda name: int("".join(c for c in name if c.isdigit())), reverse=True)
    for name in usable:
        k = int(name[5:-12])
        return [names.index(name), k, accumulate * k]
    return [-1, 0, 0]


def resume_in_numpy(names, good, accumulate):
    steps = np.array([int(Path(name).stem.split("-")[-1]) for name in names])
    steps = np.where(good, steps, -1)
    if steps.size == 0 or steps.max() < 0:
        return -1, 0, 0
    return steps.argmax(), steps.max(), steps.max() * accumulate


def resume_by_padding(names, good, accumulate):
    """Text sorts like numbers once it has leading zeros."""
    padded = {n.removeprefix("step-").zfill(40): i for i, n in enumerate(names) if good[i]}
    if not padded:
        return torch.tensor(-1), torch.tensor(0), torch.tensor(0)
    newest = max(padded)
    k = torch.tensor(int(newest.partition(".")[0]))
    return padded[newest], k, k * accumulate


RIGHT = {
    "07.1": [
        rate_by_a_table,
        lambda step, lr, steps: warm_up(lr, steps)(step),
        lambda step, lr, steps: np.interp(step + 1, [0, steps], [0, lr]),
        lambda step, lr, steps: torch.tensor((step + 1) / steps).clamp(max=1) * lr,
        functools.partial(
            lambda floor, step, lr, steps: max(floor, min(lr, lr * (step + 1) / steps)), 0.0
        ),
    ],
    "07.2": [
        average_in_numpy,
        average_by_an_optimiser,
        average_in_place_on_copies,
        Averager(),
    ],
    "07.3": [clip_with_torch, clip_in_numpy, clip_by_norm_of_norms],
    "07.4": [steps_by_backward, steps_by_reduceat, steps_sample_by_sample, steps_by_a_matrix],
    "07.5": [spread_in_numpy, spread_one_by_one, spread_in_single_precision],
    "07.6": [resume_by_sorting, resume_in_numpy, resume_by_padding],
}


@each(RIGHT)
def test_a_right_answer_passes_however_it_is_written(exercise, answer):
    verdict = judge(exercise, answer)
    assert verdict.passed, verdict.text


def test_every_exercise_has_at_least_three_right_answers():
    assert_three_for_each_exercise(RIGHT, "07")


# --- the references, against something independent of them --------------------------------------------------


def cases(exercise_id):
    return [pytest.param(*case.arguments, id=case.says) for case in EXERCISES[exercise_id].cases()]


@pytest.mark.parametrize(("step", "lr", "steps"), cases("07.1"))
def test_the_warm_up_is_the_library_s(step, lr, steps):
    ours = EXERCISES["07.1"].reference(step, lr, steps)
    assert ours == pytest.approx(warm_up(lr, steps)(step), rel=1e-12)


@pytest.mark.parametrize(("average", "weights", "n", "decay"), cases("07.2"))
def test_the_average_is_the_library_s(average, weights, n, decay):
    def network(tensors):
        return torch.nn.ParameterList(tensor.clone() for tensor in tensors)

    ema = EMA(network(average), decay)
    ema.updates = n
    ema.update(network(weights))
    ours = EXERCISES["07.2"].reference(average, weights, n, decay)
    for a, b in zip(ours, ema.model.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach())


def test_what_is_left_of_the_start_is_as_the_success_says():
    """Also the answer to the exercise's question on paper: 1/10 · 2/11 · 3/12 = 1/220."""
    update = EXERCISES["07.2"].reference
    left = [torch.ones((), dtype=torch.float64)] * 2
    for n in range(1000):
        left = update(left, [torch.zeros_like(left[0])] * 2, n, 0.999)
        if n == 2:
            assert left[0].item() == pytest.approx(1 / 220, rel=1e-12)
    assert left[0].item() < 1e-20
    assert 0.999**1000 == pytest.approx(0.37, abs=0.003)


@pytest.mark.parametrize(("gradients", "max_norm"), cases("07.3"))
def test_the_clipped_gradients_are_torch_s(gradients, max_norm):
    ours = EXERCISES["07.3"].reference(gradients, max_norm)
    for a, b in zip(ours, clip_with_torch(gradients, max_norm), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("T", [7, 100])
@pytest.mark.parametrize("B", [1, 3, 16])
def test_every_step_is_drawn_equally_often(T, B):
    """On a fine grid of u, the same for all samples, each t comes up 1/T of the time."""
    grid = (torch.arange(T * 50, dtype=torch.float64) + 0.5) / (T * 50)
    drawn = [EXERCISES["07.5"].reference(u.expand(B), T) for u in grid]
    counts = torch.bincount(torch.tensor(drawn).flatten(), minlength=T)
    assert len(counts) == T
    assert counts.tolist() == pytest.approx([B * 50] * T, abs=2)
