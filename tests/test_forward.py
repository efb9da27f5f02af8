"""The forward process against mpmath, simulation and diffusers."""

import mpmath as mp
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.diffusion import forward, schedule

mp.mp.dps = 50
SCHEDULES = {
    "linear": schedule.linear(),
    "cosine": schedule.cosine(),
    "scaled_linear": schedule.scaled_linear(),
    "short": schedule.linear(4, 0.1, 0.4),
    "one step": schedule.linear(1, 0.3, 0.3),
}


def rand(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("name", SCHEDULES)
def test_q_sample_is_the_mean_and_deviation_of_the_chain(name):
    """The chain's own recursion at 50 digits, from the schedule's β."""
    s = SCHEDULES[name]
    x0, eps = rand(5), rand(5, seed=1)
    mean, variance = mp.mpf(1), mp.mpf(0)
    stops = {0, s.T // 2, s.T - 1}
    for t in range(s.T):
        beta = mp.mpf(s.beta[t].item())
        mean, variance = mean * mp.sqrt(1 - beta), variance * (1 - beta) + beta
        if t in stops:
            for got, a, b in zip(forward.q_sample(s, x0, t, eps), x0, eps, strict=True):
                expected = mean * mp.mpf(a.item()) + mp.sqrt(variance) * mp.mpf(b.item())
                scale = abs(mean * mp.mpf(a.item())) + mp.sqrt(variance) * abs(mp.mpf(b.item()))
                assert abs(mp.mpf(got.item()) - expected) / scale < 1e-12


def test_walking_the_chain_gives_the_distribution_of_the_jump():
    s = SCHEDULES["short"]
    x = torch.full((200_000,), 0.7, dtype=torch.float64)
    for t in range(s.T):
        x = forward.q_step(s, x, t, rand(len(x), seed=t))
    assert x.mean().item() == pytest.approx(0.7 * s.alpha_bar[-1].sqrt().item(), abs=0.01)
    assert x.var().item() == pytest.approx(s.one_minus_alpha_bar[-1].item(), abs=0.01)


@pytest.mark.parametrize("scheduler", [DDPMScheduler, DDIMScheduler])
def test_diffusers_adds_noise_alike(scheduler):
    s = SCHEDULES["linear"]
    t = torch.tensor([0, 1, 499, 998, 999])
    x0, eps = rand(5, 3, 8, 8, dtype=torch.float32), rand(5, 3, 8, 8, dtype=torch.float32, seed=1)
    theirs = scheduler(beta_start=1e-4, beta_end=0.02)
    torch.testing.assert_close(
        forward.q_sample(s, x0, t, eps), theirs.add_noise(x0, eps, t), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        forward.v_from(s, x0, t, eps), theirs.get_velocity(x0, eps, t), atol=1e-5, rtol=0
    )


@settings(max_examples=50, deadline=None)
@given(
    beta=st.lists(st.floats(1e-4, 0.5), min_size=1, max_size=20),
    dims=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_each_conversion_undoes_the_other(beta, dims, seed):
    s = schedule.from_beta(beta)
    x0, eps = rand(*dims, seed=seed), rand(*dims, seed=seed + 1)
    t = torch.randint(s.T, (dims[0],), generator=torch.Generator().manual_seed(seed))
    x_t = forward.q_sample(s, x0, t, eps)
    v = forward.v_from(s, x0, t, eps)
    torch.testing.assert_close(forward.x0_from_eps(s, x_t, t, eps), x0, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(forward.eps_from_x0(s, x_t, t, x0), eps, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(forward.x0_from_v(s, x_t, t, v), x0, rtol=1e-10, atol=1e-10)


def test_a_t_for_each_sample_equals_one_sample_after_the_other():
    s = SCHEDULES["cosine"]
    x0, eps = rand(4, 2, 4), rand(4, 2, 4, seed=1)
    t = [0, 999, 3, 500]
    together = forward.q_sample(s, x0, torch.tensor(t), eps)
    for k in range(4):
        torch.testing.assert_close(
            together[k], forward.q_sample(s, x0[k], t[k], eps[k]), rtol=0, atol=0
        )


def test_snr_falls_and_follows_its_definition():
    for s in SCHEDULES.values():
        ratio = forward.snr(s)
        assert (ratio.diff() < 0).all()
        torch.testing.assert_close(ratio, s.alpha_bar / (1 - s.alpha_bar), rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_of_the_image_is_kept(dtype):
    x = torch.ones(2, 3, dtype=dtype)
    assert forward.q_sample(SCHEDULES["linear"], x, 10, x).dtype == dtype


def test_gradients_flow_to_image_and_noise():
    x0, eps = rand(2, 3).requires_grad_(), rand(2, 3, seed=1).requires_grad_()
    forward.q_sample(SCHEDULES["linear"], x0, 500, eps).sum().backward()
    assert (x0.grad**2 + eps.grad**2).allclose(torch.ones(2, 3, dtype=torch.float64))


FUNCTIONS = [
    forward.q_step,
    forward.q_sample,
    forward.eps_from_x0,
    forward.x0_from_eps,
    forward.v_from,
    forward.x0_from_v,
]


def call(function, x, t, other):
    """All six take the schedule, a first tensor, t and a second tensor, in this order."""
    return function(SCHEDULES["linear"], x, t, other)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_bad_input_is_refused_in_words(function):
    x = rand(2, 3)
    with pytest.raises(ValueError, match="to_model"):
        call(function, torch.zeros(2, 3, dtype=torch.uint8), 0, x)
    with pytest.raises(ValueError, match="floating-point tensor; got list"):
        call(function, x, 0, [0.0])
    with pytest.raises(ValueError, match=r"needs the shape of .* \[2, 3\]; got \[3, 2\]"):
        call(function, x, 0, rand(3, 2))
    with pytest.raises(ValueError, match="0 … 999"):
        call(function, x, 1000, x)
