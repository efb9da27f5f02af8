"""The posteriors against conditioning at 50 digits, against each other, and against diffusers."""

import random

import mpmath as mp
import pytest
import torch
from devices import on_every_device
from diffusers import DDPMScheduler
from diffusers_in_double import ddpm_scheduler
from draws import single as normal
from exact_chain import ExactChain, off
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.diffusion import schedule
from course_utils.diffusion.posterior import posterior_weights, q_joint, q_posterior

BOUND = 1e-12
NAMED = {
    f"{name} T={T}": (name, T)
    for name in ("linear", "cosine", "scaled_linear", "sigmoid")
    for T in (1, 2, 3, 10, 1000, 4000)
}


def zero_terminal(made):
    """The same schedule with pure noise at its end."""
    return schedule.from_beta([*made.beta[:-1].tolist(), 1.0])


ODD = {
    "linear to pure noise": lambda: zero_terminal(schedule.linear(1000)),
    "cosine without its cap": lambda: schedule.cosine(1000, beta_max=1.0),
    "steps that do nothing": lambda: schedule.from_beta([0, 0, 0.3, 0, 1e-9, 0.5, 0]),
    "pure noise in the middle": lambda: schedule.from_beta([0.1, 1, 1e-12, 0, 0.2, 1, 0.3]),
    "all but nothing": lambda: schedule.from_beta([1e-12] * 4000),
    "all but everything": lambda: schedule.from_beta([1 - 2**-53, 0.999999] * 5),
}


def make(name):
    if name in ODD:
        return ODD[name]()
    kind, T = NAMED[name]
    return getattr(schedule, kind)(T)


def jumps(T):
    """Pairs t, t_prev: one step and all the way from the first, the last and other t, and jumps between."""
    rng = random.Random(0)
    ts = sorted({*range(min(T, 20)), *range(max(0, T - 5), T), *rng.sample(range(T), min(T, 40))})
    pairs = {(t, t_prev) for t in ts for t_prev in (-1, t - 1)}
    pairs |= {tuple(sorted(rng.sample(range(-1, T), 2), reverse=True)) for _ in range(60)}
    return sorted(pairs)


@pytest.mark.parametrize("name", [*NAMED, *ODD])
def test_twelve_digits_for_every_schedule_and_jump(name):
    made = make(name)
    exact = ExactChain(made)
    pairs = jumps(made.T)
    t, t_prev = torch.tensor(pairs).T
    x0, x_t = normal(2, len(pairs), dtype=torch.float64)
    weights = torch.stack(posterior_weights(made, t, t_prev, x_t)).T
    means, variances = q_posterior(made, x0, x_t, t, t_prev)
    assert torch.equal(variances, weights[:, 2])
    for k, pair in enumerate(pairs):
        right = exact.posterior(*pair)
        for got, value in zip(weights[k], right, strict=True):
            assert off(got, value) < BOUND, pair
        terms = [w * mp.mpf(x.item()) for w, x in zip(right, (x0[k], x_t[k]), strict=False)]
        assert abs(means[k].item() - sum(terms)) <= BOUND * sum(map(abs, terms)), pair


@pytest.mark.parametrize("name", [*NAMED, *ODD])
def test_the_joint_covariance_has_twelve_digits(name):
    made = make(name)
    exact = ExactChain(made)
    ts = sorted({0, made.T - 1, *random.Random(1).sample(range(made.T), min(made.T, 12))})
    coefficients, covariance = q_joint(made, ts)
    for i, s in enumerate(ts):
        assert off(coefficients[i], mp.sqrt(exact.kept(-1, s))) < BOUND
        for j, t in enumerate(ts[i:], start=i):
            value = mp.sqrt(exact.kept(s, t)) * (1 - exact.kept(-1, s))
            assert off(covariance[i, j], value) < BOUND
            assert covariance[i, j] == covariance[j, i]


def test_the_joint_covariance_is_that_of_the_chain_run_forward():
    """x_t = √α_t x_{t−1} + √β_t ε_t as one matrix: x = M ε + m x_0, hence the covariance M Mᵀ."""
    made = schedule.from_beta([0.1, 0.4, 0.0, 0.3, 1.0, 0.2])
    rows, row, mean = [], torch.zeros(made.T, dtype=torch.float64), torch.ones(()).double()
    means = []
    for t in range(made.T):
        row = made.alpha[t].sqrt() * row
        row[t] = made.beta[t].sqrt()
        mean = made.alpha[t].sqrt() * mean
        rows.append(row)
        means.append(mean)
    matrix = torch.stack(rows)
    coefficients, covariance = q_joint(made, range(made.T))
    torch.testing.assert_close(covariance, matrix @ matrix.T, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(coefficients, torch.stack(means), rtol=1e-12, atol=1e-15)


def test_the_joint_takes_steps_in_any_order_and_form():
    made = schedule.linear(10)
    coefficients, covariance = q_joint(made, torch.tensor([7, 0, 3]))
    in_order = q_joint(made, (0, 3, 7))
    back = torch.tensor([1, 2, 0])
    assert torch.equal(coefficients[back], in_order[0])
    assert torch.equal(covariance[back][:, back], in_order[1])
    torch.testing.assert_close(in_order[0] ** 2, made.alpha_bar[[0, 3, 7]], rtol=1e-14, atol=0)


def test_a_jump_is_the_joint_gaussian_conditioned():
    """By the Schur complement of q_joint's own covariance, for every pair of steps."""
    made = schedule.linear(10, 0.05, 0.6)
    coefficients, covariance = q_joint(made, range(10))
    for t in range(1, 10):
        for s in range(t):
            from_x0, from_x_t, variance = posterior_weights(made, t, s, covariance[0, :1])
            gain = covariance[s, t] / covariance[t, t]
            right = torch.stack(
                [
                    coefficients[s] - gain * coefficients[t],
                    gain,
                    covariance[s, s] - gain * covariance[s, t],
                ]
            )
            got = torch.cat([from_x0, from_x_t, variance])
            torch.testing.assert_close(got, right, rtol=1e-12, atol=1e-15)


betas = st.lists(
    st.one_of(st.floats(1e-12, 1), st.sampled_from([0.0, 1e-6, 0.5, 1.0])), min_size=1, max_size=30
)


@settings(max_examples=150, deadline=None)
@given(betas, st.data())
def test_twelve_digits_for_any_schedule(beta, data):
    made = schedule.from_beta(beta)
    t = data.draw(st.integers(0, made.T - 1))
    t_prev = data.draw(st.integers(-1, t - 1))
    weights = posterior_weights(made, t, t_prev, torch.zeros((), dtype=torch.float64))
    for got, value in zip(weights, ExactChain(made).posterior(t, t_prev), strict=True):
        assert abs(value) < 1e-290 or off(got, value) < BOUND  # smaller ones leave float64


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1e-6, 0.9), min_size=2, max_size=20), st.data())
def test_two_jumps_are_one(beta, data):
    """x_s given x_t is x_s given x_u given x_t, for any stop u between: weights multiply, variances add up."""
    made = schedule.from_beta(beta)
    t = data.draw(st.integers(1, made.T - 1))
    u = data.draw(st.integers(0, t - 1))
    s = data.draw(st.integers(-1, u - 1))
    like = torch.zeros((), dtype=torch.float64)
    a0, a, a_variance = posterior_weights(made, t, u, like)
    b0, b, b_variance = posterior_weights(made, u, s, like)
    both = torch.stack([b0 + b * a0, b * a, b_variance + b**2 * a_variance])
    torch.testing.assert_close(
        torch.stack(posterior_weights(made, t, s, like)), both, rtol=1e-9, atol=1e-14
    )


# --- against the paper's formulas and diffusers -------------------------------------------------------------


def test_the_paper_s_equation_7():
    made = schedule.linear(1000)
    before = torch.cat([torch.ones(1).double(), made.alpha_bar[:-1]])
    t = torch.arange(1000)
    from_x0, from_x_t, variance = posterior_weights(made, t, None, made.beta)
    noise = 1 - made.alpha_bar
    for got, right in (
        (from_x0, before.sqrt() * made.beta / noise),
        (from_x_t, made.alpha.sqrt() * (1 - before) / noise),
        (variance, (1 - before) / noise * made.beta),
    ):
        torch.testing.assert_close(got, right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "cosine"])
def test_diffusers_has_the_same_mean_and_variance_at_every_step(name):
    made = getattr(schedule, name)(1000)
    theirs = ddpm_scheduler(made, prediction_type="sample", variance_type="fixed_small")
    x0, x_t = normal(2, 4, 3, dtype=torch.float64)
    for t in (*range(1, 20), *range(20, 1000, 35), 998, 999):
        mean, variance = q_posterior(made, x0, x_t, t)
        assert variance.item() == pytest.approx(theirs._get_variance(t).item(), rel=1e-9)
        step = theirs.step(x0, t, x_t, generator=torch.Generator().manual_seed(t)).prev_sample
        noise = normal(4, 3, dtype=torch.float64, seed=t)
        torch.testing.assert_close(mean + variance.sqrt() * noise, step, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_diffusers_in_single_precision(name):
    """As it is. Its 1 − ᾱ is a difference, so that the first steps agree to three digits only."""
    theirs = DDPMScheduler(beta_schedule=name, prediction_type="sample", clip_sample=False)
    made = schedule.from_beta(theirs.betas.double())
    x0, x_t = normal(2, 4, 3)
    for t in (1, 2, 10, 100, 500, 998, 999):
        mean, variance = q_posterior(made, x0, x_t, t)
        assert variance.item() == pytest.approx(theirs._get_variance(t).item(), rel=1e-3, abs=1e-7)
        step = theirs.step(x0, t, x_t, generator=torch.Generator().manual_seed(1)).prev_sample
        atol = 1e-3 if t < 100 else 1e-5
        drawn = mean + variance.sqrt() * normal(4, 3, seed=1)
        torch.testing.assert_close(drawn, step, atol=atol, rtol=0)


# --- shapes, dtypes, devices --------------------------------------------------------------------------------


@on_every_device
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,), (3, 2), (3, 2, 4, 5)])
def test_any_leading_shape_dtype_and_device(shape, dtype, device):
    made = schedule.linear(10)
    x = torch.linspace(-1, 1, 120, dtype=torch.float64)[: torch.Size(shape).numel()].reshape(shape)
    there = x.to(dtype).to(device)
    for t, t_prev in [
        (7, None),
        (7, 2),
        (torch.tensor([1, 9, 5])[: shape[0]] if shape else torch.tensor(4), None),
        (torch.full(shape[:2], 6), torch.full(shape[:1], 2)),
    ]:
        mean, variance = q_posterior(made, there, -there, t, t_prev)
        right, right_variance = q_posterior(made, x, -x, t, t_prev)
        assert mean.shape == shape
        assert torch.broadcast_shapes(variance.shape, shape) == torch.Size(shape)
        assert mean.dtype == variance.dtype == dtype
        assert mean.device.type == variance.device.type == device
        loose = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 4 * torch.finfo(dtype).eps}
        torch.testing.assert_close(mean.double().cpu(), right, **loose)
        torch.testing.assert_close(variance.double().cpu(), right_variance, **loose)


@on_every_device
def test_steps_may_lie_on_either_device(device):
    made = schedule.cosine(10)
    x = torch.ones(3, 2, device=device)
    t = torch.tensor([1, 5, 9])
    a, b = q_posterior(made, x, x, t)
    c, d = q_posterior(made, x, x, t.to(device), (t - 1).to(device))
    assert torch.equal(a, c)
    assert torch.equal(b, d)
    assert q_joint(made, t.to(device))[1].shape == (3, 3)


def test_a_t_for_each_sample_equals_one_sample_after_the_other():
    made = schedule.cosine(50)
    x0, x_t = normal(2, 4, 3, dtype=torch.float64)
    t, t_prev = torch.tensor([0, 49, 7, 20]), torch.tensor([-1, 3, 6, -1])
    mean, variance = q_posterior(made, x0, x_t, t, t_prev)
    assert variance.shape == (4, 1)
    for k in range(4):
        one = q_posterior(made, x0[k], x_t[k], int(t[k]), int(t_prev[k]))
        assert torch.equal(mean[k], one[0])
        assert torch.equal(variance[k], one[1])


def test_the_clean_image_itself_comes_back_at_the_first_step():
    made = schedule.linear(10)
    x0, x_t = normal(2, 5)
    for t in range(10):
        mean, variance = q_posterior(made, x0, x_t, t, -1)
        assert torch.equal(mean, x0)
        assert variance.item() == 0


def test_gradients_flow_to_both_images():
    made = schedule.linear(10)
    x0, x_t = torch.ones(3).double().requires_grad_(), torch.ones(3).double().requires_grad_()
    q_posterior(made, x0, x_t, 5)[0].sum().backward()
    from_x0, from_x_t, _ = posterior_weights(made, 5, None, x0)
    assert torch.equal(x0.grad, from_x0.expand(3))
    assert torch.equal(x_t.grad, from_x_t.expand(3))


@pytest.mark.parametrize(
    ("ts", "message"),
    [
        ([], "one or more steps"),
        ([[1, 2]], "one or more steps"),
        (3, "one or more steps"),
        ([0.5], "whole numbers"),
        ([0, 10], r"0 … 9; got values from 0 to 10"),
        ([-1], r"0 … 9; got values from -1 to -1"),
    ],
)
def test_the_joint_says_what_is_wrong(ts, message):
    with pytest.raises(ValueError, match=message):
        q_joint(schedule.linear(10), ts)
