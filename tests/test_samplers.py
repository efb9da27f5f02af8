"""Ancestral sampling against diffusers, and against data whose exact network is known."""

import pytest
import torch
from devices import on_every_device
from diffusers import DDPMScheduler
from diffusers_in_double import ddpm_scheduler

from course_utils.diffusion import schedule
from course_utils.diffusion.objective import PREDICTIONS, VARIANCES, to_x0_eps
from course_utils.diffusion.posterior import posterior_weights, q_posterior
from course_utils.diffusion.samplers import ddpm, ddpm_step
from course_utils.evaluate import mean_estimate

DOUBLE = torch.float64
THEIRS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
FIXED = {"posterior": "fixed_small", "beta": "fixed_large"}
every_option = pytest.mark.parametrize(
    ("prediction", "variance"), [(p, v) for p in PREDICTIONS for v in VARIANCES]
)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def their_step(scheduler, output, t, x_t, seed):
    return scheduler.step(output, t, x_t, generator=torch.Generator().manual_seed(seed))


@every_option
@pytest.mark.parametrize("name", ["linear", "scaled_linear", "cosine"])
def test_every_step_is_that_of_diffusers(name, prediction, variance):
    made = getattr(schedule, name)(1000)
    theirs = ddpm_scheduler(made, prediction_type=THEIRS[prediction], variance_type=FIXED[variance])
    x_t, output = normal(2, 2, 3, 4, 4, dtype=DOUBLE)
    for t in (0, 1, 2, 3, 10, 100, 500, 998, 999):
        noise = normal(2, 3, 4, 4, seed=t, dtype=DOUBLE)
        step = ddpm_step(
            made, output, t, x_t, noise=noise, prediction=prediction, variance=variance
        )
        right = their_step(theirs, output, t, x_t, seed=t)
        scale = step.x0.abs().max().item()  # an eps at the last t stands for a huge x0
        close = {"rtol": 0, "atol": 1e-9 * max(1, scale)}
        torch.testing.assert_close(step.x, right.prev_sample, **close)
        torch.testing.assert_close(step.x0, right.pred_original_sample, **close)
        assert step.t == t


@every_option
@pytest.mark.parametrize("name", ["linear", "scaled_linear"])
def test_diffusers_in_single_precision(name, prediction, variance):
    """As it is, where its 1 − ᾱ has digits enough: not in the first steps. The output is a good network's."""
    theirs = DDPMScheduler(
        beta_schedule=name,
        clip_sample=False,
        prediction_type=THEIRS[prediction],
        variance_type=FIXED[variance],
    )
    made = schedule.from_beta(theirs.betas.double())
    x0, eps = normal(2, 2, 3, 4, 4)
    for t in (0, 100, 250, 500, 750, 998, 999):
        x_t = theirs.add_noise(x0, eps, torch.tensor([t]))
        output = {"eps": eps, "x0": x0, "v": theirs.get_velocity(x0, eps, torch.tensor([t]))}
        output = output[prediction] + 0.1 * normal(2, 3, 4, 4, seed=5)
        noise = normal(2, 3, 4, 4, seed=t)
        step = ddpm_step(
            made, output, t, x_t, noise=noise, prediction=prediction, variance=variance
        )
        right = their_step(theirs, output, t, x_t, seed=t)
        torch.testing.assert_close(step.x, right.prev_sample, rtol=0, atol=1e-5)


def test_whole_loops_agree_with_diffusers():
    made = schedule.linear(1000)
    theirs = ddpm_scheduler(made, variance_type="fixed_small")

    def model(x, t):
        return torch.tanh(x) * (1 + t / 1000)

    x = x_T = normal(4, 2, dtype=DOUBLE)
    generator = torch.Generator().manual_seed(1)
    for t in theirs.timesteps.tolist():
        x = theirs.step(model(x, t), t, x, generator=generator).prev_sample
    *_, last = ddpm(model, x_T, made, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(last.x, x, rtol=0, atol=1e-9 * x.abs().max().item())


# --- one step, by the formulas of the posterior -------------------------------------------------------------


@every_option
def test_a_step_is_a_draw_from_the_posterior(prediction, variance):
    made = schedule.linear(10)
    x_t, output, noise = normal(3, 5, 2, dtype=DOUBLE)
    for t in range(10):
        step = ddpm_step(
            made, output, t, x_t, noise=noise, prediction=prediction, variance=variance
        )
        x0, _ = to_x0_eps(made, output, x_t, t, prediction)
        mean, tilde = q_posterior(made, x0, x_t, t)
        sigma2 = tilde if variance == "posterior" else made.beta[t]
        assert torch.equal(step.x0, x0)
        right = mean + sigma2.sqrt() * noise if t else x0
        torch.testing.assert_close(step.x, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("variance", VARIANCES)
def test_the_last_step_adds_no_noise(variance):
    made = schedule.linear(10)
    x_t, output = normal(2, 5, 2)
    quiet, loud = (
        ddpm_step(made, output, 0, x_t, noise=c * torch.ones(5, 2), variance=variance)
        for c in (0, 100)
    )
    assert torch.equal(quiet.x, loud.x)
    torch.testing.assert_close(quiet.x, quiet.x0)


# --- exact networks give back the data ----------------------------------------------------------------------


def exact_eps(made, mean, s2):
    """E[ε | x_t] for data N(mean, s2)."""

    def model(x_t, t):
        a, b = made.alpha_bar[t], made.one_minus_alpha_bar[t]
        return b.sqrt() / (a * s2 + b) * (x_t - a.sqrt() * mean)

    return model


def end_of_the_chain(made, mean, s2, variance):
    """Mean and variance of the samples: each step is linear in x, so both can be followed exactly."""
    at, spread = 0.0, 1.0
    for t in reversed(range(made.T)):
        a, b = made.alpha_bar[t].item(), made.one_minus_alpha_bar[t].item()
        w0, wt, tilde = (
            w.item() for w in posterior_weights(made, t, None, torch.zeros(()).double())
        )
        slope = a**0.5 * s2 / (a * s2 + b)
        at = (w0 * slope + wt) * at + w0 * (mean - slope * a**0.5 * mean)
        spread = (w0 * slope + wt) ** 2 * spread
        if t:
            spread += tilde if variance == "posterior" else made.beta[t].item()
    return at, spread


@pytest.mark.parametrize("variance", VARIANCES)
def test_the_exact_network_gives_back_mean_and_variance(variance):
    mean, s2 = 0.7, 0.25
    made = schedule.linear(300, 1e-4, 0.06)
    x_T = normal(20_000, 1, seed=1, dtype=DOUBLE)
    *_, last = ddpm(
        exact_eps(made, mean, s2),
        x_T,
        made,
        variance=variance,
        generator=torch.Generator().manual_seed(2),
    )
    right_mean, right_variance = end_of_the_chain(made, mean, s2, variance)
    # 300 steps are not infinitely many: the chain itself is off by this much, and no more.
    assert right_mean == pytest.approx(mean, abs=2e-3)
    assert right_variance == pytest.approx(s2, rel=0.05)
    for values, right in ((last.x, right_mean), ((last.x - right_mean) ** 2, right_variance)):
        seen = mean_estimate(values)
        assert abs(seen.value - right) < seen.high - seen.low
        assert seen.high - seen.low < 0.02


def test_each_variance_is_exact_for_its_kind_of_data():
    """Section 3.2 of Ho et al.: β_t for standard normal data, the posterior's for a single point."""
    made = schedule.linear(20, 0.01, 0.4)
    _, spread = end_of_the_chain(made, 0.0, 1.0, "beta")
    assert spread == pytest.approx(made.alpha_bar[0].item(), rel=1e-12)  # but for the last step
    at, spread = end_of_the_chain(made, 0.3, 0.0, "posterior")
    assert at == pytest.approx(0.3, rel=1e-12)
    assert spread == pytest.approx(0, abs=1e-15)
    _, too_small = end_of_the_chain(made, 0.0, 1.0, "posterior")
    assert too_small < 0.95 * made.alpha_bar[0].item()


# --- the loop -----------------------------------------------------------------------------------------------


@on_every_device
def test_the_loop_yields_every_step_and_repeats_itself(device):
    made = schedule.linear(10)
    x_T = normal(6, 2).to(device)
    asked = []

    def model(x, t):
        asked.append(t)
        return 0.5 * x

    def run(seed):
        return list(ddpm(model, x_T, made, generator=torch.Generator(device).manual_seed(seed)))

    steps, again, other = run(1), run(1), run(2)
    assert [step.t for step in steps] == list(range(9, -1, -1))
    assert asked[:10] == list(range(9, -1, -1))
    assert all(type(t) is int for t in asked)
    for a, b, c in zip(steps, again, other, strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.x0, b.x0)
        assert not torch.equal(a.x, c.x)
        assert a.x.device.type == device
    x = x_T
    generator = torch.Generator(device).manual_seed(1)
    for step in steps:
        noise = torch.randn(6, 2, generator=generator, device=device)
        assert torch.equal(step.x, ddpm_step(made, 0.5 * x, step.t, x, noise=noise).x)
        x = step.x


def test_sampling_keeps_no_graph_and_leaves_the_noise_as_it_was():
    model = torch.nn.Linear(2, 2)
    x_T = normal(6, 2)
    before = x_T.clone()
    for step in ddpm(lambda x, t: model(x), x_T, schedule.linear(5)):
        assert not step.x.requires_grad
        assert torch.is_grad_enabled()  # between the steps, the caller's setting
    assert torch.equal(x_T, before)


def test_a_network_that_answers_in_another_shape_is_refused():
    with pytest.raises(ValueError, match="needs the shape of"):
        list(ddpm(lambda x, t: x[:1], normal(6, 2), schedule.linear(5)))


def test_unknown_options_are_refused():
    x = normal(4, 2)
    with pytest.raises(ValueError, match="variance must be one of 'posterior', 'beta'; got 'big'"):
        ddpm_step(schedule.linear(5), x, 2, x, noise=x, variance="big")
    with pytest.raises(ValueError, match="prediction must be one of 'eps', 'x0', 'v'; got 'n'"):
        ddpm_step(schedule.linear(5), x, 2, x, noise=x, prediction="n")
