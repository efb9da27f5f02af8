"""The terms of the bound: KL, weights, each term by simulation, and their sum against the likelihood."""

import math

import numpy as np
import pytest
import torch
from draws import normal
from exact_chain import ExactChain

from course_utils.data import two_gaussians
from course_utils.diffusion import schedule
from course_utils.diffusion.objective import (
    PREDICTIONS,
    denoising_term,
    eps_from_score,
    kl_gaussians,
    loss_weight,
    prior_term,
    reconstruction_term,
    simple_loss,
    squared_error,
)
from course_utils.diffusion.posterior import posterior_weights, q_joint
from course_utils.evaluate import mean_estimate

DOUBLE = torch.float64


# --- KL and the weights -------------------------------------------------------------------------------------


def test_kl_is_torch_s_and_zero_only_for_like_gaussians():
    means, variances = normal(2, 5, 1, 3), normal(2, 4, 3, seed=1).exp()
    p, q = (torch.distributions.Normal(m, v.sqrt()) for m, v in zip(means, variances, strict=True))
    kl = kl_gaussians(means[0], variances[0], means[1], variances[1])
    assert kl.shape == (5, 4, 3)
    torch.testing.assert_close(kl, torch.distributions.kl_divergence(p, q), rtol=1e-11, atol=1e-14)
    assert (kl > 0).all()
    assert (kl_gaussians(means[0], variances[0], means[0], variances[0]) == 0).all()


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_kl_needs_positive_variances(bad):
    one = torch.ones(3)
    spoilt = torch.tensor([1.0, bad, 2.0])
    with pytest.raises(ValueError, match="variance1 must be positive; got values down to"):
        kl_gaussians(one, spoilt, one, one)
    with pytest.raises(ValueError, match="variance2 must be positive; got values down to"):
        kl_gaussians(one, one, one, spoilt)


@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize("name", ["linear", "cosine", "scaled_linear", "sigmoid"])
def test_the_weight_has_twelve_digits(name, variance):
    """β² / (2 σ² α (1−ᾱ)) at 50 digits, where σ² comes from conditioning."""
    made = getattr(schedule, name)(1000)
    chain = ExactChain(made)
    t = torch.tensor([1, 2, 10, 500, 998, 999])
    weights = loss_weight(made, t, torch.zeros(6, dtype=DOUBLE), variance=variance)
    for k, step in enumerate(t.tolist()):
        beta = chain.beta[step]
        sigma2 = beta if variance == "beta" else chain.posterior(step, step - 1)[2]
        right = beta**2 / (2 * sigma2 * (1 - beta) * (1 - chain.kept(-1, step)))
        assert abs(weights[k].item() / right - 1) < 1e-12


@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_the_weight_turns_the_squared_error_into_the_denoising_term(variance):
    made = schedule.linear(1000)
    t = torch.tensor([1, 2, 50, 500, 999])
    x0, eps = normal(2, 5, 3)
    terms = denoising_term(lambda x, t: 0.3 * x, made, x0, t, eps, variance=variance)
    errors = 3 * squared_error(lambda x, t: 0.3 * x, made, x0, t, eps)  # the sum, not the mean
    weight = loss_weight(made, t, errors, variance=variance)
    constant = torch.zeros(5, dtype=DOUBLE)
    if variance == "beta":  # the variances differ too, whatever the network says
        before, now = made.one_minus_alpha_bar[t - 1], made.one_minus_alpha_bar[t]
        ratio = before / now
        constant = 3 * (ratio - 1 - ratio.log()) / 2
    assert weight.shape == (5,)
    torch.testing.assert_close(terms, weight * errors + constant, rtol=1e-9, atol=0)


@pytest.mark.parametrize("t", [0, -1, torch.tensor([3, 0, 2, 1])])
def test_the_first_step_has_no_denoising_term(t):
    made = schedule.linear(10)
    x0, eps = normal(2, 4, 2)
    with pytest.raises(ValueError, match="step 0 the reconstruction_term; got t = "):
        denoising_term(lambda x, t: x, made, x0, t, eps)
    with pytest.raises(ValueError, match="step 0 the reconstruction_term; got t = "):
        loss_weight(made, t, x0)


def test_a_first_step_without_noise_has_no_reconstruction_term():
    x0, eps = normal(2, 4, 2)
    with pytest.raises(ValueError, match="needs β_0 > 0"):
        reconstruction_term(lambda x, t: x, schedule.from_beta([0, 0.1]), x0, eps)


# --- the terms of the bound, for Gaussian data --------------------------------------------------------------
#
# Data N(M, S²) in one dimension, for which everything has a closed form. With a = ᾱ_t, x_0 and x_t are jointly
# normal with covariance √a S², and Var(x_t) = a S² + 1 − a, so
#   E[x_0 | x_t] = M + √a S² / (a S² + 1 − a) · (x_t − √a M),      Var(x_0 | x_t) = S² (1 − a) / (a S² + 1 − a).

M, S2 = 0.7, 0.25
SHORT = schedule.linear(8, 0.05, 0.5)


def spread(t):
    """Var(x_0 | x_t)."""
    a = SHORT.alpha_bar[t].item()
    return S2 * (1 - a) / (a * S2 + 1 - a)


def exact_model(prediction):
    """The exact minimiser for these data, as a network that predicts eps, x0 or v."""

    def model(x_t, t):
        a = schedule.gather(SHORT.alpha_bar, t, x_t)
        x0 = M + a.sqrt() * S2 / (a * S2 + 1 - a) * (x_t - a.sqrt() * M)
        eps = (x_t - a.sqrt() * x0) / (1 - a).sqrt()
        return {"x0": x0, "eps": eps, "v": a.sqrt() * eps - (1 - a).sqrt() * x0}[prediction]

    return model


def expected_term(t, variance):
    """E[L_{t−1}] of the exact minimiser.

    The two means differ by w (x_0 − E[x_0 | x_t]), where w is the weight of x_0 in the posterior's mean. The
    squared difference has the expectation w² Var(x_0 | x_t).
    """
    a, before = SHORT.alpha_bar[t].item(), SHORT.alpha_bar[t - 1].item()
    beta = SHORT.beta[t].item()
    w, tilde = before**0.5 * beta / (1 - a), beta * (1 - before) / (1 - a)
    sigma2 = tilde if variance == "posterior" else beta
    return (tilde / sigma2 - 1 - math.log(tilde / sigma2) + w**2 * spread(t) / sigma2) / 2


def gaussian_draws(n, seed=0):
    return M + S2**0.5 * normal(n, 1, seed=seed), normal(n, 1, seed=seed + 1)


def assert_within_error(values, expected):
    """Within twice the half-width of the 95 % interval that the measurement itself states."""
    seen = mean_estimate(values)
    assert abs(seen.value - expected) < seen.high - seen.low
    assert seen.high - seen.low < 0.1 * abs(expected) + 1e-2, "the measurement is too coarse"


@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("t", [1, 2, 5, 7])
def test_a_denoising_term_by_simulation(t, prediction, variance):
    x0, eps = gaussian_draws(40_000, seed=10 * t)
    terms = denoising_term(
        exact_model(prediction), SHORT, x0, t, eps, prediction=prediction, variance=variance
    )
    assert_within_error(terms, expected_term(t, variance))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_reconstruction_term_by_simulation(prediction):
    x0, eps = gaussian_draws(40_000)
    beta = SHORT.beta[0].item()
    expected = (math.log(2 * math.pi * beta) + spread(0) / beta) / 2
    terms = reconstruction_term(exact_model(prediction), SHORT, x0, eps, prediction=prediction)
    assert_within_error(terms, expected)


def test_the_prior_term_by_simulation_and_by_torch():
    x0, _ = gaussian_draws(40_000)
    a = SHORT.alpha_bar[-1].item()
    assert_within_error(prior_term(SHORT, x0), (a * (M**2 + S2) - a - math.log(1 - a)) / 2)
    images = normal(3, 2, 4, 4)
    q = torch.distributions.Normal(a**0.5 * images, torch.full_like(images, (1 - a) ** 0.5))
    p = torch.distributions.Normal(torch.zeros_like(images), torch.ones_like(images))
    right = torch.distributions.kl_divergence(q, p).sum((1, 2, 3))
    torch.testing.assert_close(prior_term(SHORT, images), right, rtol=1e-12, atol=0)


def test_the_floor_of_the_loss_by_simulation():
    """No network gets below E Var(ε | x_t) = a / (1 − a) Var(x_0 | x_t), and the exact one gets there."""
    for t in (0, 3, 7):
        x0, eps = gaussian_draws(40_000, seed=t)
        a = SHORT.alpha_bar[t].item()
        floor = a / (1 - a) * spread(t)
        assert_within_error(squared_error(exact_model("eps"), SHORT, x0, t, eps), floor)
        best = simple_loss(exact_model("eps"), SHORT, x0, t, eps)
        for other in (lambda x, t: 1.1 * exact_model("eps")(x, t), lambda x, t: x):
            assert simple_loss(other, SHORT, x0, t, eps) > best


# --- the whole bound, to the last digit ---------------------------------------------------------------------
#
# With a linear network, p_θ(x_0, x_t1 … x_tT) is one joint Gaussian, whose every part can be computed; and for one
# x_0 each term is a polynomial of degree 2 in ε, so that three nodes of Gauss and Hermite give its exact mean.

NODES = torch.tensor([[-math.sqrt(3)], [0.0], [math.sqrt(3)]], dtype=DOUBLE)
SHARES = torch.tensor([1 / 6, 2 / 3, 1 / 6], dtype=DOUBLE)


def whole_bound(model, x0, variance):
    """The expectation over ε of all terms for one number x_0, by the library."""
    three = torch.full((3, 1), x0, dtype=DOUBLE)
    terms = [
        denoising_term(model, SHORT, three, t, NODES, prediction="x0", variance=variance)
        for t in range(1, SHORT.T)
    ]
    terms.append(reconstruction_term(model, SHORT, three, NODES, prediction="x0"))
    return prior_term(SHORT, three)[0].item() + sum((SHARES @ term).item() for term in terms)


def joint_of_the_model(slope, shift, variance):
    """Mean and covariance of (x_T, …, x at t = 0, clean x_0) under p_θ, whose network says slope · x_t + shift."""
    mean, covariance = np.zeros(1), np.ones((1, 1))
    for t in reversed(range(SHORT.T)):
        like = torch.zeros((), dtype=DOUBLE)
        w0, wt, tilde = (w.item() for w in posterior_weights(SHORT, t, None, like))
        added = tilde if variance == "posterior" and t else SHORT.beta[t].item()
        if t == 0:
            w0, wt = 1.0, 0.0
        gain, offset = w0 * slope[t] + wt, w0 * shift[t]
        mean = np.append(mean, gain * mean[-1] + offset)
        across = gain * covariance[-1]
        corner = gain * across[-1] + added
        covariance = np.block([[covariance, across[:, None]], [across[None], corner]])
    return mean, covariance


def log_normal(x, mean, variance):
    return -0.5 * (math.log(2 * math.pi * variance) + (x - mean) ** 2 / variance)


@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("x0", [-1.0, 0.3, 2.0])
def test_the_bound_is_the_negative_log_likelihood_plus_a_known_gap(x0, exact, variance):
    """The gap is KL(q(x_t1 … x_tT | x_0) ‖ p_θ(x_t1 … x_tT | x_0)), between two Gaussians in T dimensions."""
    T = SHORT.T
    a = SHORT.alpha_bar.numpy()
    slope = np.sqrt(a) * S2 / (a * S2 + 1 - a) if exact else np.linspace(0.9, 0.2, T)
    shift = M * (1 - np.sqrt(a) * slope) if exact else np.linspace(-0.1, 0.5, T)
    mean, covariance = joint_of_the_model(slope, shift, variance)
    negative_log_likelihood = -log_normal(x0, mean[-1], covariance[-1, -1])

    # p_θ(x_t1 … x_tT | x_0) by conditioning on the last one, and q from its joint, in the same order.
    gain = covariance[:-1, -1] / covariance[-1, -1]
    p_mean = mean[:-1] + gain * (x0 - mean[-1])
    p_covariance = covariance[:-1, :-1] - np.outer(gain, covariance[-1, :-1])
    coefficients, q_covariance = (part.numpy() for part in q_joint(SHORT, range(T - 1, -1, -1)))
    difference = p_mean - coefficients * x0
    gap = 0.5 * (
        np.trace(np.linalg.solve(p_covariance, q_covariance))
        + difference @ np.linalg.solve(p_covariance, difference)
        - T
        + np.linalg.slogdet(p_covariance)[1]
        - np.linalg.slogdet(q_covariance)[1]
    )

    def model(x, t):
        return slope[t] * x + shift[t]

    assert gap > 0
    assert whole_bound(model, x0, variance) == pytest.approx(
        negative_log_likelihood + gap, rel=1e-10
    )


def test_the_bound_of_a_mixture_comes_down_to_its_entropy_with_more_steps():
    """It bounds E[−log p_θ(x_0)], which is at least the entropy of the data, whatever the network."""
    data = two_gaussians()
    x0 = data.sample(4000, torch.Generator().manual_seed(0), dtype=DOUBLE)
    gaps = []
    for made in (schedule.linear(10, 1e-3, 0.9), schedule.linear(100, 1e-3, 0.12)):

        def model(x_t, t, made=made):
            q = data.diffused(made.alpha_bar[t].sqrt(), made.one_minus_alpha_bar[t])
            return eps_from_score(made, q.score(x_t), t)

        terms = [prior_term(made, x0), reconstruction_term(model, made, x0, normal(4000, 2))]
        terms += [
            denoising_term(model, made, x0, t, normal(4000, 2, seed=t), variance="beta")
            for t in range(1, made.T)
        ]
        gaps.append(mean_estimate(sum(terms) + data.log_density(x0)))
    few, many = gaps
    assert few.low > 0.3
    assert many.high > 0
    assert many.value < 0.1
