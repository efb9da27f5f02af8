"""Chapter 10's mistakes, made as a learner would and not as the misconception is: they are named."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge

# --- 10.1 ---


def plans_for(training=3.0, giga=1e9, tera=1e12, hour=3600, settle=float):
    """A plan written in lines, with one number of its own."""

    def answer(gflop, batch, accumulate, steps, tflops, gpus):
        images = steps * accumulate * batch
        seconds = images * gflop * giga * training / (tflops * tera) / gpus
        return settle(seconds / hour)

    return answer


def batch_of_each_gpu(gflop, batch, accumulate, steps, tflops, gpus):
    whole_batch = batch * gpus
    step = 3e9 * gflop * whole_batch * accumulate / (1e12 * tflops * gpus)
    return step * steps / 3600


def without_accumulation(gflop, batch, accumulate, steps, tflops, gpus):
    per_image = 3 * gflop / (1000 * tflops * gpus)
    return np.sum(np.full(100, per_image * batch * steps / 100)) / 3600


def with_batches_split(gflop, batch, accumulate, steps, tflops, gpus):
    """As if accumulate cut the batch into pieces, and each step took one of them."""
    return plans_for()(gflop, batch / accumulate, 1, steps, tflops, gpus)


# --- 10.2 ---


def halved_by_loop(decay, batch, new_batch):
    share, steps = 1.0, 0
    while share > 0.5 + 1e-12:
        share *= decay
        steps += 1
    return steps * batch, decay ** (new_batch / batch)


def steps_for_images(decay, batch, new_batch):
    steps = math.log(2) / -math.log(decay)
    return steps, 2 ** -(new_batch / steps)


def linear_in_the_batch(decay, batch, new_batch):
    forgets_per_image = (1 - decay) / batch
    return batch * np.log(0.5) / np.log(decay), 1 - forgets_per_image * new_batch


def first_order(decay, batch, new_batch):
    half_life = batch * 0.6931472 / (1 - decay)
    return half_life, math.exp(-0.6931472 * new_batch / half_life)


def time_constant(decay, batch, new_batch):
    tau = -batch / math.log(decay)
    return tau, math.exp(-new_batch / tau)


# --- 10.4 ---


def in_pieces(cut):
    """Shares as somebody else's function cuts them: cut(images, P) to a list of arrays."""

    def answer(losses, process, processes, combine):
        mine = cut(np.arange(len(losses)), processes)[process]
        loss = losses.numpy()[mine].sum() / len(losses)
        return mine[0], mine[-1] + 1, loss * (processes if combine == "mean" else 1)

    return answer


def means_of_means(losses, process, processes, combine):
    edges = [len(losses) * p // processes for p in range(processes + 1)]
    first, stop = edges[process : process + 2]
    own = losses[first:stop].mean()
    return first, stop, own if combine == "mean" else own / processes


def plain_mean(losses, process, processes, combine):
    B = len(losses)
    first, stop = (B * p // processes for p in (process, process + 1))
    return first, stop, torch.nn.functional.l1_loss(losses[first:stop], torch.zeros(stop - first))


def last_one_takes_the_rest(losses, process, processes, combine):
    n = len(losses) // processes
    first = n * process
    stop = first + n if process + 1 < processes else len(losses)
    factor = processes if combine == "mean" else 1
    return first, stop, losses[first:stop].sum() * factor / len(losses)


def by_dropping_the_rest(losses, process, processes, combine):
    rows = losses[: len(losses) // processes * processes].reshape(processes, -1)
    n = rows.shape[1]
    factor = processes if combine == "mean" else 1
    return process * n, process * n + n, rows[process].sum() * factor / len(losses)


# --- 10.5 ---


def steps_where(bad):
    """The scaler of somebody who decides by bad(gradients) whether there was an overflow."""

    def answer(weights, gradients, scale, good, lr, interval):
        if bad(gradients):
            return weights, scale / 2, 0
        weights = weights - lr * (gradients / scale)
        good += 1
        return (weights, scale * 2, 0) if good >= interval else (weights, scale, good)

    return answer


def masks(weights, gradients, scale, good, lr, interval):
    overflow = bool((~gradients.isfinite()).any())
    true = torch.nan_to_num(gradients / scale, nan=0.0, posinf=0.0, neginf=0.0)
    if overflow:
        return weights - lr * true, scale / 2, 0
    return steps_where(lambda g: False)(weights, gradients, scale, good, lr, interval)


def updates_the_scale_first(weights, gradients, scale, good, lr, interval):
    if not np.isfinite(gradients.numpy()).all():
        return weights, scale / 2, 0
    good += 1
    if good == interval:
        scale, good = 2 * scale, 0
    return weights.numpy() - lr * gradients.numpy() / scale, scale, good


def counts_from_before(weights, gradients, scale, good, lr, interval):
    _, halved, _ = steps_where(lambda g: True)(weights, gradients, scale, good, lr, interval)
    if not gradients.isfinite().all():
        return weights, halved, 0
    weights = torch.add(weights, gradients, alpha=-lr / scale)
    if good > interval:
        return weights, 2 * scale, 0
    return weights, scale, good + 1


def forgets_to_start_anew(weights, gradients, scale, good, lr, interval):
    if not gradients.isfinite().all():
        return weights, scale / 2, good
    moved, new, count = steps_where(lambda g: False)(weights, gradients, scale, good, lr, interval)
    return moved, new, count


def steps_anyway(weights, gradients, scale, good, lr, interval):
    _, new, count = steps_where(lambda g: not g.isfinite().all())(
        weights, gradients, scale, good, lr, interval
    )
    return weights - gradients * (lr / scale), new, count


# --- 10.6 ---


def distance_by(root=None, cov=np.cov, mean=lambda d: d @ d, settle=lambda value: value):
    """In NumPy: root(A, B) is the trace of the root."""

    def answer(x, y):
        x, y = x.numpy(), y.numpy()
        A, B = cov(x.T), cov(y.T)
        trace = (root or exact_root)(A, B)
        return settle(mean(x.mean(0) - y.mean(0)) + A.trace() + B.trace() - 2 * trace)

    return answer


def exact_root(A, B):
    return np.sqrt(np.clip(np.linalg.eigvals(A @ B).real, 0, None)).sum()


def product_of_roots(A, B):
    noise = 1e-14 * np.eye(len(A))
    return np.trace(scipy.linalg.sqrtm(A + noise).real @ scipy.linalg.sqrtm(B + noise).real)


def by_standard_deviations(x, y):
    mean = (x.mean(0) - y.mean(0)).square().sum()
    return mean + (x.std(0) - y.std(0)).square().sum()


@pytest.mark.parametrize(
    ("exercise", "answer", "name"),
    [
        ("10.1", plans_for(training=1), "only the forward pass is counted"),
        ("10.1", plans_for(training=2), "only the backward pass is counted"),
        ("10.1", plans_for(training=6), "the operations are doubled"),
        ("10.1", batch_of_each_gpu, "the number of GPUs drops out"),
        ("10.1", without_accumulation, "a step is taken to be one batch"),
        ("10.1", with_batches_split, "it is divided by accumulate"),
        ("10.1", plans_for(giga=1, tera=1), "giga and tera are taken to be the same"),
        ("10.1", plans_for(giga=1e12, tera=1e9), "giga and tera have changed places"),
        ("10.1", plans_for(hour=1), "it is the number of seconds"),
        ("10.1", plans_for(hour=60), "it is the number of minutes"),
        ("10.1", plans_for(hour=24 * 3600), "it is the number of days"),
        ("10.1", plans_for(settle=int), "the hours are rounded down"),
        ("10.2", halved_by_loop, "the half-life is rounded up to whole steps"),
        (
            "10.2",
            steps_for_images,
            "the half-life is counted in steps, and the new decay is computed from that",
        ),
        ("10.2", linear_in_the_batch, "1 − d grows in proportion to the batch"),
        (
            "10.2",
            first_order,
            "ln d is replaced by d − 1, and the new decay is computed from that",
        ),
        ("10.2", time_constant, "it is the time in which the share falls to 1/e"),
        (
            "10.2",
            lambda decay, batch, new: (np.log(2) / np.log(decay) * batch, decay ** (new / batch)),
            "the half-life is negative",
        ),
        (
            "10.2",
            lambda decay, batch, new: (math.log(0.5, decay) * batch, decay),
            "the decay stays as it was",
        ),
        ("10.4", means_of_means, "each process's own mean counts the same"),
        (
            "10.4",
            plain_mean,
            "it is the mean over its own share, however the gradients are combined",
        ),
        (
            "10.4",
            lambda losses, p, P, combine: (
                (edges := [len(losses) * k // P for k in (p, p + 1)])[0],
                edges[1],
                torch.sum(losses[slice(*edges)]),
            ),
            "the losses are added up, however the gradients are combined",
        ),
        ("10.4", in_pieces(np.array_split), "the larger shares come first"),
        ("10.4", last_one_takes_the_rest, "the last process has the whole rest"),
        ("10.4", by_dropping_the_rest, "the rest of the division is left out"),
        (
            "10.4",
            lambda losses, p, P, combine: (
                p * len(losses) // P,
                (p + 1) * len(losses) // P,
                losses[p * len(losses) // P : (p + 1) * len(losses) // P].sum() / len(losses),
            ),
            "it is the sum over the batch's size, however the gradients are combined",
        ),
        ("10.5", steps_where(lambda g: g.isnan().any()), "only NaN is looked for, not inf"),
        ("10.5", steps_where(lambda g: math.inf in g.abs()), "only inf is looked for, not NaN"),
        ("10.5", steps_where(lambda g: math.inf in g.tolist()), "only +inf is looked for"),
        ("10.5", steps_where(lambda g: not g.max() < math.inf), "−inf is not looked for"),
        (
            "10.5",
            steps_where(lambda g: not (g.abs() <= 65_504).all()),
            "what is beyond 65,504 is taken for an overflow",
        ),
        ("10.5", masks, "only the numbers that have overflowed are left out"),
        ("10.5", updates_the_scale_first, "the gradients are divided by the new scale"),
        (
            "10.5",
            counts_from_before,
            "the scale does not grow with the step that makes `interval` good ones in a row",
        ),
        ("10.5", forgets_to_start_anew, "good goes on after an overflow"),
        (
            "10.5",
            steps_anyway,
            "the step is made although the gradients have overflowed",
        ),
        ("10.6", distance_by(product_of_roots), "it is the product of the two roots"),
        (
            "10.6",
            distance_by(lambda A, B: np.trace(np.sqrt(A @ B))),
            "the root is taken of each number of the product, not of the matrix",
        ),
        (
            "10.6",
            distance_by(lambda A, B: np.trace(np.sqrt(np.abs(A * B)))),
            "only the variance of each feature counts, not how the features go together",
        ),
        (
            "10.6",
            by_standard_deviations,
            "only the variance of each feature counts, not how the features go together",
        ),
        (
            "10.6",
            distance_by(cov=lambda z: np.cov(z, bias=True)),
            "the covariances are divided by N, not by N − 1",
        ),
        (
            "10.6",
            distance_by(mean=lambda d: np.mean(d) ** 2),
            "each mean is taken over all numbers",
        ),
        ("10.6", distance_by(mean=np.linalg.norm), "the difference of the means is not squared"),
        (
            "10.6",
            distance_by(lambda A, B: np.sqrt(np.linalg.svd(A @ B)[1]).sum()),
            "singular values stand in the place of eigenvalues",
        ),
        ("10.6", distance_by(lambda A, B: np.sum(A * B)), "no root is taken of the product"),
        ("10.6", distance_by(settle=np.sqrt), "the root is taken of the whole distance"),
    ],
)
def test_a_mistake_is_named_however_it_is_written(exercise, answer, name):
    verdict = judge(EXERCISES[exercise], answer)
    assert verdict.outcome == "failed"
    assert verdict.misconception == name, verdict.text
