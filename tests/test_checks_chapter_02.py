"""The references of chapter 02's exercises, against something independent of them."""

import itertools

import numpy as np
import pytest
import torch

from course_utils.checks.registry import EXERCISES
from course_utils.diffusion import forward, schedule


def cases(exercise_id):
    return [pytest.param(*case.arguments, id=case.says) for case in EXERCISES[exercise_id].cases()]


@pytest.mark.parametrize(("beta", "x_prev", "t", "eps"), cases("02.1"))
def test_one_step_is_the_library_s(beta, x_prev, t, eps):
    expected = forward.q_step(schedule.from_beta(beta), x_prev, t, eps)
    torch.testing.assert_close(EXERCISES["02.1"].reference(beta, x_prev, t, eps), expected)


@pytest.mark.parametrize("beta", [case.arguments[0] for case in EXERCISES["02.2"].cases()], ids=len)
def test_alpha_bar_is_a_running_product(beta):
    expected = list(itertools.accumulate((1 - b for b in beta.tolist()), lambda a, b: a * b))
    np.testing.assert_allclose(EXERCISES["02.2"].reference(beta), expected, rtol=1e-12)


@pytest.mark.parametrize(("made", "x0", "t", "eps"), cases("02.3"))
def test_the_closed_form_is_the_library_s(made, x0, t, eps):
    expected = forward.q_sample(made, x0.double(), t, eps.double())
    torch.testing.assert_close(EXERCISES["02.3"].reference(made, x0, t, eps), expected)


@pytest.mark.parametrize(("T", "s", "beta_max"), cases("02.5"))
def test_the_cosine_schedule_is_the_library_s(T, s, beta_max):
    expected = schedule.cosine(T, s, beta_max).beta
    torch.testing.assert_close(
        EXERCISES["02.5"].reference(T, s, beta_max), expected, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(("made", "x0", "t"), cases("02.6"))
def test_the_divergence_is_torch_s(made, x0, t):
    share = made.alpha_bar[t]
    q = torch.distributions.Normal(share.sqrt() * x0.double(), (1 - share).sqrt().expand(x0.shape))
    p = torch.distributions.Normal(torch.zeros_like(q.loc), torch.ones_like(q.loc))
    expected = torch.distributions.kl_divergence(q, p).sum((1, 2, 3))
    torch.testing.assert_close(
        EXERCISES["02.6"].reference(made, x0, t), expected, rtol=1e-7, atol=1e-7
    )
