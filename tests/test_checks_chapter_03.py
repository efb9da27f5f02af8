"""Chapter 03's references, against something independent of them: the library, a grid, a closed form."""

import math

import pytest
import torch

from course_utils.checks.registry import EXERCISES
from course_utils.diffusion import posterior, schedule


def cases(exercise_id):
    return [pytest.param(*case.arguments, id=case.says) for case in EXERCISES[exercise_id].cases()]


@pytest.mark.parametrize(("m1", "v1", "m2", "v2"), cases("03.1"))
def test_the_product_of_two_densities_is_the_reference_s_on_a_grid(m1, v1, m2, v2):
    mean, variance = EXERCISES["03.1"].reference(m1, v1, m2, v2)
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    x = mean + variance.sqrt() * z.reshape(-1, *[1] * m1.ndim)
    log = -((x - m1) ** 2) / (2 * v1) - (x - m2) ** 2 / (2 * v2)
    weight = torch.softmax(log, 0)
    torch.testing.assert_close((weight * x).sum(0), mean)
    torch.testing.assert_close((weight * (x - mean) ** 2).sum(0), variance)


@pytest.mark.parametrize("made", [case.arguments[0] for case in EXERCISES["03.2"].cases()])
def test_the_variance_is_the_library_s(made):
    expected = posterior.posterior_weights(made, torch.arange(made.T), None, made.beta)[2]
    torch.testing.assert_close(EXERCISES["03.2"].reference(made), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("made", "x0", "x_t", "t"), cases("03.3"))
def test_the_mean_is_the_library_s(made, x0, x_t, t):
    expected, _ = posterior.q_posterior(made, x0.double(), x_t.double(), t)
    torch.testing.assert_close(
        EXERCISES["03.3"].reference(made, x0, x_t, t), expected, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(("made", "x0", "x_t", "t", "t_prev"), cases("03.4"))
def test_the_jump_is_the_library_s(made, x0, x_t, t, t_prev):
    mean, variance = posterior.q_posterior(made, x0.double(), x_t.double(), t, t_prev)
    found = EXERCISES["03.4"].reference(made, x0, x_t, t, t_prev)
    torch.testing.assert_close(found[0], mean, rtol=1e-9, atol=1e-12)
    assert found[1] == pytest.approx(variance.item(), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("made", "ts"), cases("03.5"))
def test_the_covariance_is_the_library_s(made, ts):
    expected = posterior.q_joint(made, ts)[1]
    torch.testing.assert_close(EXERCISES["03.5"].reference(made, ts), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("x", "prior", "x_t", "beta"), cases("03.6"))
def test_the_density_is_a_density_whose_grid_is_wide_enough(x, prior, x_t, beta):
    density = EXERCISES["03.6"].reference(x, prior, x_t, beta)
    spacing = x[1] - x[0]
    assert density.sum() * spacing == pytest.approx(1, rel=1e-9)
    assert max(density[0], density[-1]) < 1e-6 * density.max()


def test_for_a_gaussian_prior_the_grid_agrees_with_two_witnesses():
    x, beta, x_t = torch.linspace(-9, 9, 3001, dtype=torch.float64), 0.3, 0.7
    prior = torch.exp(-((x - 0.4) ** 2) / (2 * 0.6)) / math.sqrt(2 * math.pi * 0.6)
    by_step = torch.tensor([x_t / math.sqrt(1 - beta), beta / (1 - beta)], dtype=torch.float64)
    mean, variance = EXERCISES["03.1"].reference(
        *torch.tensor([0.4, 0.6], dtype=torch.float64), *by_step
    )
    expected = torch.exp(-((x - mean) ** 2) / (2 * variance)) / torch.sqrt(2 * math.pi * variance)
    found = EXERCISES["03.6"].reference(x, prior, x_t, beta)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_what_03_2_says_about_the_linear_schedule():
    ratio = EXERCISES["03.2"].reference(schedule.linear()) / schedule.linear().beta
    assert ratio[14] < 0.9 < ratio[15:].min()
