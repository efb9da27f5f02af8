"""The samplers with a network that is exact, that of Gaussian data: down to the data, and back up to the noise."""

import pytest
import torch
from draws import normal

from course_utils.diffusion import schedule
from course_utils.diffusion.objective import PREDICTIONS, VARIANCES, target, to_x0_eps
from course_utils.diffusion.posterior import posterior_weights
from course_utils.diffusion.samplers import ddim, ddim_invert, ddpm, timesteps
from course_utils.evaluate import mean_estimate

DOUBLE = torch.float64


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
    x_T = normal(20_000, 1, seed=1)
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


def ends(loop, model, made, draws, **options):
    """Mean and variance of the samples. For a linear network the sample is linear in x_T and in all noises, so each
    of them alone, as one row of a batch, tells its share."""
    alone = torch.eye(draws + 2, dtype=DOUBLE)[
        1:
    ]  # row 0 has no noise at all; [draws + 1, draws + 2]
    *_, last = loop(model, alone[0], made, noises=alone[1:], **options)
    return last.x[0].item(), (last.x[1:] - last.x[0]).square().sum().item()


@pytest.mark.parametrize("variance", VARIANCES)
def test_the_loop_of_ddpm_does_what_its_chain_does(variance):
    made = schedule.linear(50, 1e-3, 0.2)
    right = end_of_the_chain(made, 0.7, 0.25, variance)
    got = ends(ddpm, exact_eps(made, 0.7, 0.25), made, 49, variance=variance)
    assert got == pytest.approx(right, rel=1e-12)


def angles(made, ts, s2):
    """Data N(0, s2) at t are √s2 √ᾱ times one normal number and √(1−ᾱ) times another: the angle of that pair."""
    a, b = made.alpha_bar[ts], made.one_minus_alpha_bar[ts]
    return torch.cat([torch.atan2(b.sqrt(), (a * s2).sqrt()), torch.zeros(1, dtype=DOUBLE)])


@pytest.mark.parametrize("steps", [1, 2, 10, 50, 1000])
@pytest.mark.parametrize("s2", [0.04, 1.0, 4.0])
def test_ddim_turns_a_gaussian_into_the_data_by_the_cosines_of_its_steps(s2, steps):
    """With the exact network each step multiplies x − E[x] by cos Δψ √(Var x_{t_prev} / Var x_t), ψ the angle above.

    For x0 and eps are √s2 cos ψ and sin ψ times (x − E[x]) / √Var x_t, and the step adds them up as they stand at
    t_prev: cos ψ_prev cos ψ + sin ψ_prev sin ψ. So what is lost of the variance is Σ Δψ², which falls as 1 / steps.
    """
    made, mean = schedule.linear(), 0.7
    ts = timesteps(made, steps, spacing="trailing")
    a, b = made.alpha_bar[-1].item(), made.one_minus_alpha_bar[-1].item()
    shrunk = angles(made, ts, s2).diff().cos().prod().item() * (s2 / (a * s2 + b)) ** 0.5
    got = ends(ddim, exact_eps(made, mean, s2), made, 0, steps=ts)
    assert got == pytest.approx((mean - shrunk * a**0.5 * mean, shrunk**2), rel=1e-11)
    if steps == 1000:
        assert got == pytest.approx((mean, s2), rel=0.02)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_gives_back_mean_and_variance_ever_better_with_more_steps(eta):
    mean, s2 = 0.7, 0.25
    made = schedule.linear()
    network = exact_eps(made, mean, s2)
    errors = []
    for steps in (10, 50, 250, 1000):
        got_mean, got_variance = ends(
            ddim, network, made, steps - 1, steps=steps, eta=eta, spacing="trailing"
        )
        assert got_mean == pytest.approx(mean, abs=0.01)
        errors.append(abs(got_variance / s2 - 1))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02
    x_T = normal(20_000, 1, seed=1)
    generator = torch.Generator().manual_seed(2)
    *_, last = ddim(network, x_T, made, eta=eta, generator=generator, spacing="trailing")
    right_mean, right_variance = ends(ddim, network, made, 49, eta=eta, spacing="trailing")
    for values, right in ((last.x, right_mean), ((last.x - right_mean) ** 2, right_variance)):
        seen = mean_estimate(values)
        assert abs(seen.value - right) < seen.high - seen.low


# --- back up to the noise -----------------------------------------------------------------------------------


def there_and_back(model, x0, made, iterations, **options):
    *_, up = ddim_invert(model, x0, made, iterations=iterations, **options)
    *_, down = ddim(model, up.x, made, **options)
    return (down.x - x0).abs().max().item(), up.x


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_inversion_comes_back_closer_with_more_steps(spacing):
    made = schedule.linear()
    network = exact_eps(made, 0.1, 0.25)
    x0 = 0.1 + 0.5 * normal(6, 2)
    errors = [
        there_and_back(network, x0, made, 1, steps=steps, spacing=spacing)[0]
        for steps in (10, 50, 250, 1000)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02 < errors[0]


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("final", [1.0, 0.9999])
def test_inversion_with_iterations_undoes_every_step(prediction, final):
    made = schedule.linear()
    eps_network = exact_eps(made, 0.1, 0.25)

    def network(x, t):
        eps = eps_network(x, t)
        x0, _ = to_x0_eps(made, eps, x, t)
        return target(made, x0, t, eps, prediction)

    x0 = 0.1 + 0.5 * normal(6, 2)
    options = {"steps": 20, "prediction": prediction, "final_alpha_bar": final}
    errors = [there_and_back(network, x0, made, n, **options)[0] for n in (1, 3, 9, 60)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-10 < 1e-2 < errors[0]
    ups = list(ddim_invert(network, x0, made, iterations=60, **options))
    downs = list(ddim(network, ups[-1].x, made, **options))
    assert [(step.t, step.t_prev) for step in ups] == [(step.t, step.t_prev) for step in downs][
        ::-1
    ]
    for up, down in zip(ups, downs[-2::-1], strict=False):
        torch.testing.assert_close(up.x, down.x, rtol=0, atol=1e-9)


def test_inversion_finds_the_noise_that_made_a_sample():
    def tanh(x, t):
        return torch.tanh(x)

    made = schedule.linear()
    x_T = normal(6, 2)
    *_, down = ddim(tanh, x_T, made, prediction="x0")
    *_, up = ddim_invert(tanh, down.x, made, prediction="x0", iterations=80)
    torch.testing.assert_close(up.x, x_T, rtol=0, atol=1e-6)
