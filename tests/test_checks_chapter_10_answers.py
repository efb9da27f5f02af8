"""Chapter 10's exercises, answered in a learner's own words: right answers pass, and the references are right."""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import torch
from diffusers import UNet2DModel
from torch.utils.flop_counter import FlopCounterMode
from written_answers import assert_three_for_each_exercise, each

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion.training import EMA, warm_up
from course_utils.diffusion.unet import UNet, UNetConfig
from course_utils.evaluate.frechet import frechet_distance
from course_utils.trainer.processes import share_of

# --- right answers, written differently ---------------------------------------------------------------------


def hours_by_images_per_second(gflop, batch, accumulate, steps, tflops, gpus):
    images_per_second = tflops * gpus / (3 * gflop / 1000)
    return steps * accumulate * batch / images_per_second / 60 / 60


def hours_step_by_step(gflop, batch, accumulate, steps, tflops, gpus):
    share = batch / gpus
    forward = share * gflop / (1000 * tflops)
    backward = 2 * forward
    return torch.tensor(steps * accumulate * (forward + backward) / 3600, dtype=torch.float32)


def hours_in_numpy(*numbers):
    gflop, batch, accumulate, steps, tflops, gpus = np.array(numbers, dtype=float)
    return np.prod([3, gflop, batch, accumulate, steps]) / np.prod([tflops, gpus, 1e3, 3600])


def ema_in_numpy(decay, batch, new_batch):
    return -batch / np.log2(decay), np.power(decay, new_batch / batch)


def ema_in_torch(decay, batch, new_batch):
    d = torch.tensor(decay)
    return batch * math.log(2) / -d.log(), torch.exp(new_batch / batch * d.log())


def ema_by_search(decay, batch, new_batch):
    """Bisection for the n with dⁿ = ½; then the decay that is a half after as many images."""
    low, high = 0.0, 1e7
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if decay**middle > 0.5 else (low, middle)
    return [low * batch, math.exp(math.log(0.5) / (low * batch) * new_batch)]


def rate_by_the_library(step, lr, warm, steps, final):
    """A multiple of the warm-up that never goes beyond it, times what is left of the cosine."""
    done = np.clip(step + 1 - warm, 0, steps - warm) / (steps - warm)
    return final + (warm_up(lr, warm)(step) - final) * (0.5 + 0.5 * np.cos(np.pi * done))


def rate_by_a_table(step, lr, warm, steps, final):
    up = torch.linspace(0, lr, warm + 1)[1:]
    turn = torch.linspace(0, math.pi, steps - warm + 1)[1:]
    table = torch.cat([up, (lr + final) / 2 + (lr - final) / 2 * turn.cos()])
    return table[min(step, steps - 1)]


def rate_by_torch(step, lr, warm, steps, final):
    """PyTorch's own schedulers, one after the other."""
    w = torch.nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([w], lr=lr)
    if step < warm:
        return lr - lr / warm * (warm - 1 - step)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, steps - warm, eta_min=final)
    for _ in range(min(step, steps - 1) - warm + 1):
        sgd.step()
        falling.step()
    return sgd.param_groups[0]["lr"]


def share_by_the_library(losses, process, processes, combine):
    mine = share_of(len(losses), process, processes)
    weight = {"sum": 1, "mean": processes}[combine] / len(losses)
    return mine.start, mine.stop, weight * losses[mine].sum()


def share_in_numpy(losses, process, processes, combine):
    edges = np.floor(np.linspace(0, len(losses), processes + 1) + 1e-9).astype(int)
    counted = np.zeros(len(losses))
    counted[edges[process] : edges[process + 1]] = processes if combine == "mean" else 1
    return edges[process], edges[process + 1], np.mean(counted * losses.numpy())


def share_by_weighted_means(losses, process, processes, combine):
    """The mean of its own share, weighted by how large the share is."""
    B = len(losses)
    mine = [i for i in range(B) if process * B // processes <= i < (process + 1) * B // processes]
    part = losses[mine].mean() * len(mine) / B
    return [mine[0], mine[-1] + 1, (part if combine == "sum" else part * processes).double()]


def scaled_in_numpy(weights, gradients, scale, good, lr, interval):
    g, w = gradients.numpy(), weights.numpy().copy()
    if np.isnan(g).any() or np.isinf(g).any():
        return w, 0.5 * scale, 0
    w -= lr * (g / scale)
    good = (good + 1) % interval
    return w, scale if good else 2 * scale, good


def scaled_by_torch(weights, gradients, scale, good, lr, interval):
    """PyTorch's GradScaler itself, put into the state that it would have."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=interval)
    scaler._lazy_init_scale_growth_tracker(torch.device("cpu"))
    scaler._growth_tracker.fill_(good)
    w = torch.nn.Parameter(weights.clone())
    sgd = torch.optim.SGD([w], lr=lr)
    w.grad = gradients.clone()
    scaler.step(sgd)
    scaler.update()
    return w, scaler.get_scale(), scaler._growth_tracker


class Scaler:
    """A right answer to 10.5 that is an object, and looks for an overflow in the sum."""

    def __call__(self, weights, gradients, scale, good, lr, interval):
        if not math.isfinite(gradients.double().abs().sum()):
            return [weights, scale * 0.5, 0]
        moved = torch.sub(weights, gradients.div(scale), alpha=lr)
        good += 1
        if good >= interval:
            scale, good = scale + scale, 0
        return [moved, torch.tensor(scale), torch.tensor(good)]


def frechet_by_scipy(x, y):
    x, y = x.numpy(), y.numpy()
    A, B = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    half = scipy.linalg.sqrtm(A + 1e-12 * np.eye(len(A))).real
    root = scipy.linalg.sqrtm(half @ B @ half + 1e-12 * np.eye(len(A))).real
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(A + B - 2 * root)


def frechet_by_roots(x, y):
    """Both covariances as roots: the trace is the sum of the singular values of A^½ B^½."""

    def mean_and_root(z):
        centred = z - z.mean(0)
        values, vectors = torch.linalg.eigh(centred.T @ centred / (len(z) - 1))
        return z.mean(0), vectors * values.clamp(min=0).sqrt() @ vectors.T

    (m, a), (n, b) = mean_and_root(x), mean_and_root(y)
    spread = a.square().sum() + b.square().sum() - 2 * torch.linalg.matrix_norm(a @ b, ord="nuc")
    return torch.dist(m, n) ** 2 + spread


def frechet_with_complex_roots(x, y):
    A, B = np.cov(x.numpy().T), np.cov(y.numpy().T)
    root = np.sqrt(np.linalg.eigvals(A @ B).astype(complex)).real.sum()
    d = x.numpy().mean(0) - y.numpy().mean(0)
    return d @ d + np.trace(A) + np.trace(B) - 2 * root


RIGHT = {
    "10.1": [hours_by_images_per_second, hours_step_by_step, hours_in_numpy],
    "10.2": [ema_in_numpy, ema_in_torch, ema_by_search],
    "10.3": [rate_by_the_library, rate_by_a_table, rate_by_torch],
    "10.4": [share_by_the_library, share_in_numpy, share_by_weighted_means],
    "10.5": [scaled_in_numpy, scaled_by_torch, Scaler()],
    "10.6": [
        frechet_by_scipy,
        frechet_by_roots,
        lambda x, y: frechet_by_roots(x.float(), y.float()),
        frechet_with_complex_roots,
        frechet_distance,
    ],
}


@each(RIGHT)
def test_a_right_answer_passes_however_it_is_written(exercise, answer):
    verdict = judge(exercise, answer)
    assert verdict.passed, verdict.text


def test_nan_among_the_inputs_is_not_taken_for_a_change_of_them():
    """NaN is equal to nothing, not even to itself."""

    def in_place(weights, gradients, scale, good, lr, interval):
        gradients.div_(scale)
        return scaled_in_numpy(weights, gradients, scale, good, scale * lr, interval)

    said = judge(EXERCISES["10.5"], in_place).text
    assert "changed its input gradients in place" in " ".join(said.split())
    cases = EXERCISES["10.5"].cases()
    assert any(case.arguments[1].isnan().any() for case in cases)  # and right answers pass, above


def test_every_exercise_has_at_least_three_right_answers():
    assert_three_for_each_exercise(RIGHT, "10")


# --- the references, and what the texts say, against something independent of them --------------------------


def operations(*, backward: bool) -> int:
    """What PyTorch counts for one image in the network of google/ddpm-cifar10-32; no number is computed."""
    down, up = "DownBlock2D", "UpBlock2D"
    with torch.device("meta"):
        model = UNet2DModel(
            sample_size=32,
            block_out_channels=(128, 256, 256, 256),
            down_block_types=(down, f"Attn{down}", down, down),
            up_block_types=(up, up, f"Attn{up}", up),
            attention_head_dim=None,
        )
        with FlopCounterMode(display=False) as counter:
            answer = model(torch.zeros(1, 3, 32, 32), torch.zeros(1)).sample
            if backward:
                answer.sum().backward()
    return counter.get_total_flops()


def test_the_network_of_the_paper_has_the_operations_that_the_text_says():
    forward = operations(backward=False)
    assert forward / 1e9 == pytest.approx(12.44, abs=0.005)
    assert operations(backward=True) / forward == pytest.approx(3, abs=0.01)
    hours = EXERCISES["10.1"].reference
    assert hours(12.44, 128, 1, 800_000, 100, 1) == pytest.approx(10.6, abs=0.05)


def test_the_course_s_network_has_the_operations_that_the_text_says():
    """It doubles and convolves at once; the merging of the kernels is shared by a batch."""
    shape = UNetConfig(
        channels=(128, 256, 256, 256),
        attention=(False, True, False, False),
        downsample_padding=0,
        sample_size=32,
    )
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        UNet(shape)(torch.zeros(128, 3, 32, 32), torch.zeros(128))
    assert counter.get_total_flops() / 128e9 == pytest.approx(11.56, abs=0.005)


def test_the_plan_is_the_count_of_all_operations():
    """As whole numbers: 3 · 10 of 10⁹ for 7200 images, on two GPUs of 30 · 10¹², are 3.6 seconds."""
    assert EXERCISES["10.1"].reference(10, 6, 2, 600, 30, 2) == pytest.approx(0.001, rel=1e-12)


@pytest.mark.parametrize(("decay", "batch", "new_batch"), [(0.9, 64, 16), (0.99, 32, 128)])
def test_the_library_s_average_halves_after_the_half_life(decay, batch, new_batch):
    half_life, new_decay = EXERCISES["10.2"].reference(decay, batch, new_batch)
    for d, images in ((decay, batch), (new_decay, new_batch)):
        ema = EMA(torch.nn.ParameterList([torch.ones(1, dtype=torch.float64)]), d)
        ema.updates = 10**9  # the warm-up is over
        zero = torch.nn.ParameterList([torch.zeros(1, dtype=torch.float64)])
        left = []
        for _ in range(round(3 * half_life / images)):
            ema.update(zero)
            left.append(ema.model[0].item())
        seen = images * np.arange(1, len(left) + 1)
        assert np.interp(half_life, seen, np.log2(left)) == pytest.approx(-1, abs=1e-6)
        assert np.interp(2 * half_life, seen, np.log2(left)) == pytest.approx(-2, abs=1e-6)


def test_the_warm_up_of_the_average_ends_when_the_text_says():
    """Also the answer to 10.2's last question."""
    warm = np.arange(30_000)
    warm = (1 + warm) / (10 + warm)
    assert np.argmax(warm >= 0.9995) == pytest.approx(9 / (1 - 0.9995), rel=0.01)
    half_lives = np.log(0.5) / np.log(warm[500:])
    assert half_lives / np.arange(500, 30_000) == pytest.approx(1 / 13, rel=0.03)


def test_the_rate_meets_all_that_the_text_says():
    def rate(step):
        return EXERCISES["10.3"].reference(step, 1.0, 40, 300, 0.1)

    rates = [rate(step) for step in range(400)]
    assert rates[:40] == pytest.approx([warm_up(1.0, 40)(step) for step in range(40)])
    assert max(rates) == rates[39] == 1.0
    assert all(b < a for a, b in pairwise(rates[39:300]))
    assert rates[299:] == pytest.approx([0.1] * 101)
    assert rates[169] == pytest.approx(0.55)  # half way between steps 39 and 299
    predicted = [EXERCISES["10.3"].reference(step, 1, 2, 6, 0) for step in range(8)]
    assert predicted == pytest.approx([0.5, 1, 0.8536, 0.5, 0.1464, 0, 0, 0], abs=1e-4)


@pytest.mark.parametrize("B", [5, 8, 13])
def test_all_shares_together_are_the_mean_over_the_batch_and_the_library_s(B):
    losses = torch.rand(B, generator=torch.Generator().manual_seed(B), dtype=torch.float64)
    for P in range(1, B + 1):
        for combine, factor in (("sum", 1), ("mean", 1 / P)):
            parts = [EXERCISES["10.4"].reference(losses, p, P, combine) for p in range(P)]
            assert [slice(*part[:2]) for part in parts] == [share_of(B, p, P) for p in range(P)]
            whole = factor * sum(part[2] for part in parts)
            assert whole == pytest.approx(losses.mean().item(), rel=1e-12)


def test_the_scale_goes_the_way_of_pytorch_s_own_over_a_whole_run():
    generator = torch.Generator().manual_seed(0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=5)
    theirs = torch.nn.Parameter(torch.zeros(50))
    sgd = torch.optim.SGD([theirs], lr=0.1)
    ours, scale, good, scales = torch.zeros(50), 2.0**20, 0, []
    for _ in range(100):
        true = torch.randn(50, generator=generator)
        theirs.grad = (scaler.scale(torch.ones(())) * true).half().float()
        scaler.step(sgd)
        scaler.update()
        gradients = (scale * true).half().float()
        ours, scale, good = EXERCISES["10.5"].reference(ours, gradients, scale, good, 0.1, 5)
        assert scale == scaler.get_scale()
        torch.testing.assert_close(ours.float(), theirs.detach(), rtol=1e-5, atol=1e-5)
        scales.append(scale)
    assert {0.5, 2.0} <= {b / a for a, b in pairwise(scales)}


@pytest.mark.parametrize("case", EXERCISES["10.6"].cases(), ids=lambda case: case.says)
def test_the_distance_is_scipy_s_and_the_library_s(case):
    ours = EXERCISES["10.6"].reference(*case.arguments)
    assert ours == pytest.approx(frechet_by_scipy(*case.arguments), rel=1e-5, abs=1e-5)
    assert ours == pytest.approx(frechet_distance(*case.arguments), rel=1e-6, abs=1e-6)


def test_the_predictions_about_the_distance_are_right():
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    distance = EXERCISES["10.6"].reference
    assert distance(x, x + torch.tensor([1.0, 2, 2])) == pytest.approx(9, rel=1e-9)
    twice = x.mean(0) + 2 * (x - x.mean(0))
    assert distance(x, twice) == pytest.approx(torch.cov(x.T).trace().item(), rel=1e-9)
