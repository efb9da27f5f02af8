"""Targets, conversions, the terms of the bound and the exact minimiser, each against something independent."""

import math

import mpmath as mp
import numpy as np
import pytest
import torch
from devices import on_every_device
from exact_chain import ExactChain

from course_utils.data import mixture, two_gaussians
from course_utils.diffusion import forward, schedule
from course_utils.diffusion.objective import (
    PREDICTIONS,
    denoising_term,
    eps_from_score,
    kl_gaussians,
    loss_weight,
    optimal_eps,
    optimal_x0,
    prior_term,
    reconstruction_term,
    score_from_eps,
    simple_loss,
    squared_error,
    target,
    to_x0_eps,
)
from course_utils.diffusion.posterior import posterior_weights, q_joint
from course_utils.evaluate import mean_estimate

DOUBLE = torch.float64


def normal(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


# --- eps, x0, v and the score -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "T"), [("linear", 1000), ("cosine", 4000), ("scaled_linear", 10), ("sigmoid", 1)]
)
def test_conversions_have_twelve_digits(name, T):
    made = getattr(schedule, name)(T)
    chain = ExactChain(made)
    x, other = normal(2, 6)
    for t in sorted({0, T // 3, T - 1}):
        share = chain.kept(-1, t)
        signal, noise = mp.sqrt(share), mp.sqrt(1 - share)
        # For each: its two terms, what they are divided by, and what the library says.
        for a, b, divisor, got in (
            (signal, noise, 1, forward.q_sample(made, x, t, other)),
            (1, -noise, signal, forward.x0_from_eps(made, x, t, other)),
            (1, -signal, noise, forward.eps_from_x0(made, x, t, other)),
            (-noise, signal, 1, forward.v_from(made, x, t, other)),
            (signal, -noise, 1, forward.x0_from_v(made, x, t, other)),
            (-1, 0, noise, score_from_eps(made, x, t)),
            (-noise, 0, 1, eps_from_score(made, x, t)),
        ):
            for k in range(6):
                first, second = a * mp.mpf(x[k].item()), b * mp.mpf(other[k].item())
                scale = (abs(first) + abs(second)) / divisor
                assert abs(got[k].item() - (first + second) / divisor) <= 1e-12 * scale
        ratio = share / (1 - share)
        assert abs(forward.snr(made)[t].item() / ratio - 1) < 1e-12


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_both_halves_come_back_from_each_prediction(prediction):
    made = schedule.linear(1000)
    t = torch.tensor([0, 3, 500, 900])
    x0, eps = normal(4, 2, 3), normal(4, 2, 3, seed=1)
    x_t = forward.q_sample(made, x0, t, eps)
    wanted = target(made, x0, t, eps, prediction)
    got_x0, got_eps = to_x0_eps(made, wanted, x_t, t, prediction)
    torch.testing.assert_close(got_x0, x0, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(got_eps, eps, rtol=1e-11, atol=1e-11)


def test_targets_are_what_they_are_called():
    made = schedule.linear(10)
    x0, eps = normal(2, 4, 2)
    assert torch.equal(target(made, x0, 4, eps), eps)
    assert torch.equal(target(made, x0, 4, eps, "x0"), x0)
    assert torch.equal(target(made, x0, 4, eps, "v"), forward.v_from(made, x0, 4, eps))


def test_any_answer_of_a_network_splits_x_t_into_two_halves():
    made = schedule.cosine(100)
    x_t, answer = normal(2, 5, 3)
    t = torch.tensor([0, 20, 40, 60, 98])
    for prediction in PREDICTIONS:
        x0, eps = to_x0_eps(made, answer, x_t, t, prediction)
        torch.testing.assert_close(forward.q_sample(made, x0, t, eps), x_t)


def test_the_score_is_the_gradient_of_the_log_density():
    made = schedule.linear(10)
    x0, eps = normal(2, 4, 3)
    t = torch.tensor([0, 3, 6, 9])
    x_t = forward.q_sample(made, x0, t, eps).requires_grad_()
    q = torch.distributions.Normal(
        made.alpha_bar[t].sqrt()[:, None] * x0, made.one_minus_alpha_bar[t].sqrt()[:, None]
    )
    (gradient,) = torch.autograd.grad(q.log_prob(x_t).sum(), x_t)
    torch.testing.assert_close(score_from_eps(made, eps, t), gradient, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(eps_from_score(made, gradient, t), eps, rtol=1e-12, atol=1e-12)


# --- the loss -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 3, 4, 4)])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_loss_is_the_mean_squared_error(shape, prediction):
    made = schedule.linear(10)
    x0, eps = normal(*shape), normal(*shape, seed=1)
    t = torch.tensor([0, 2, 4, 6, 9])
    seen = []

    def model(x, step):
        seen.append((x, step))
        return 0.5 * x

    errors = squared_error(model, made, x0, t, eps, prediction)
    ((x_t, step),) = seen
    assert torch.equal(step, t)
    assert torch.equal(x_t, forward.q_sample(made, x0, t, eps))
    wanted = target(made, x0, t, eps, prediction)
    right = [((0.5 * x_t[k] - wanted[k]) ** 2).mean() for k in range(5)]
    torch.testing.assert_close(errors, torch.stack(right), rtol=1e-12, atol=0)
    loss = simple_loss(model, made, x0, t, eps, prediction)
    assert loss.item() == pytest.approx(sum(right).item() / 5, rel=1e-12)


@on_every_device
def test_the_loss_teaches_the_network(device):
    made = schedule.linear(10)
    model = torch.nn.Linear(2, 2).to(device)
    x0, eps = normal(2, 6, 2, dtype=torch.float32).to(device)
    t = torch.arange(6, device=device)
    simple_loss(lambda x, t: model(x), made, x0, t, eps).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
    assert model.weight.grad.device.type == device


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (lambda x, t: x[:, :1], r"got \[4, 1\]"),
        (lambda x, t: x.mean(), r"got \[\]"),
        (lambda x, t: (x,), "got tuple"),
        (lambda x, t: None, "got NoneType"),
    ],
)
def test_a_network_of_another_shape_is_refused(answer, got):
    x0, eps = normal(2, 4, 2)
    with pytest.raises(ValueError, match=rf"the shape of x_t, \[4, 2\]; {got}"):
        squared_error(answer, schedule.linear(10), x0, 3, eps)


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


# --- the exact minimiser ------------------------------------------------------------------------------------


def exact_mean(made, x_t, t, data):
    """E[x_0 | x_t] by Bayes' rule at 50 digits: each sample as likely as N(x_t; √ᾱ x_0, (1−ᾱ) I) says."""
    share = ExactChain(made).kept(-1, t)
    signal, noise = mp.sqrt(share), 1 - share
    weights = [
        mp.exp(
            -sum((mp.mpf(x) - signal * mp.mpf(y)) ** 2 for x, y in zip(x_t, sample, strict=True))
            / (2 * noise)
        )
        for sample in data
    ]
    total = sum(weights)
    return [
        float(sum(w * mp.mpf(sample[d]) for w, sample in zip(weights, data, strict=True)) / total)
        for d in range(len(x_t))
    ]


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_minimiser_is_bayes_rule(name):
    made = getattr(schedule, name)(1000)
    data = normal(7, 3)
    for t in (0, 1, 100, 600, 999):
        x_t = forward.q_sample(made, data[:4], t, normal(4, 3, seed=t))
        right = [exact_mean(made, x.tolist(), t, data.tolist()) for x in x_t]
        right = torch.tensor(right, dtype=DOUBLE)
        torch.testing.assert_close(optimal_x0(made, x_t, t, data), right, rtol=1e-10, atol=1e-10)


def test_the_minimiser_is_the_score_of_a_narrow_mixture():
    """Gaussians of width 1e-5 around the samples, noised, differ from the noised samples by 1e-10 in variance."""
    made = schedule.linear(1000)
    data = normal(20, 2)
    narrow = mixture(data, std=1e-5)
    for t in (0, 10, 300, 999):
        x_t = forward.q_sample(made, data, t, normal(20, 2, seed=t))
        q = narrow.diffused(made.alpha_bar[t].sqrt(), made.one_minus_alpha_bar[t])
        score = score_from_eps(made, optimal_eps(made, x_t, t, data), t)
        torch.testing.assert_close(score, q.score(x_t), rtol=1e-5, atol=1e-4)


def test_no_other_answer_has_a_smaller_loss():
    made = schedule.linear(50, 1e-3, 0.2)
    data = normal(6, 2)
    chosen = torch.randint(6, (20_000,), generator=torch.Generator().manual_seed(0))
    eps = normal(20_000, 2, seed=2)
    for t in (0, 10, 49):

        def best(x, t):
            return optimal_eps(made, x, t, data)

        loss = simple_loss(best, made, data[chosen], t, eps)
        for change in (lambda e, x: 1.1 * e, lambda e, x: 0.9 * e, lambda e, x: e + 0.1 * x):
            other = simple_loss(lambda x, t, c=change: c(best(x, t), x), made, data[chosen], t, eps)
            assert other > loss


def test_one_sample_is_all_there_can_be():
    made = schedule.linear(10)
    x_t, data = normal(5, 2), normal(1, 2, seed=1)
    torch.testing.assert_close(optimal_x0(made, x_t, 4, data), data.expand(5, 2))


def test_where_nothing_is_left_of_the_image_the_mean_of_the_data_is_best():
    made = schedule.from_beta([0.5, 1.0])
    data = normal(9, 2)
    best = optimal_x0(made, normal(5, 2, seed=1), 1, data)
    torch.testing.assert_close(best, data.mean(0).expand(5, 2))


@on_every_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("lead", "sample"), [((), (2,)), ((4,), ()), ((4,), (2,)), ((4, 3), (2, 5)), ((2, 0), (3,))]
)
def test_the_minimiser_takes_any_leading_shape_and_any_sample(lead, sample, dtype, device):
    made = schedule.linear(10)
    data = normal(6, *sample).to(dtype).to(device)
    x_t = normal(*lead, *sample, seed=1).to(dtype).to(device)
    steps = [3, torch.arange(2, 2 + lead[0])] if lead else [3]
    for t in [*steps, torch.full(lead, 7)]:
        best = optimal_x0(made, x_t, t, data)
        assert best.shape == x_t.shape
        assert (best.dtype, best.device) == (x_t.dtype, x_t.device)
        for k in np.ndindex(*lead):
            step = t if isinstance(t, int) else int(t[k[: t.ndim]])
            torch.testing.assert_close(best[k], optimal_x0(made, x_t[k], step, data))


def test_many_points_are_worked_through_in_parts():
    """2²² weights at a time: 3,000 points and 2,000 samples need two parts."""
    made = schedule.linear(10)
    data, x_t = normal(2000, 1), normal(3000, 1, seed=1)
    t = torch.randint(10, (3000,), generator=torch.Generator().manual_seed(0))
    whole = optimal_x0(made, x_t, t, data)
    some = torch.tensor([0, 2096, 2097, 2098, 2999])
    torch.testing.assert_close(whole[some], optimal_x0(made, x_t[some], t[some], data))


@pytest.mark.parametrize(
    "data", [torch.zeros(0, 2), torch.zeros(5, 3), torch.zeros(5, 3, 2), torch.zeros(())]
)
def test_data_that_do_not_fit_are_refused(data):
    with pytest.raises(ValueError, match=r"samples like those of x_t, \[4, 2\]; got \["):
        optimal_x0(schedule.linear(10), torch.zeros(4, 2), 3, data)


@pytest.mark.parametrize("call", [target, squared_error, simple_loss])
def test_an_unknown_prediction_is_refused(call):
    x0, eps = normal(2, 4, 2)
    model = () if call is target else (lambda x, t: x,)
    with pytest.raises(ValueError, match="must be one of 'eps', 'x0', 'v'; got 'noise'"):
        call(*model, schedule.linear(10), x0, 3, eps, "noise")


def test_an_unknown_variance_is_refused():
    x0, eps = normal(2, 4, 2)
    with pytest.raises(ValueError, match="must be one of 'posterior', 'beta'; got 'small'"):
        denoising_term(lambda x, t: x, schedule.linear(10), x0, 3, eps, variance="small")
    with pytest.raises(ValueError, match="must be one of 'posterior', 'beta'; got 'small'"):
        loss_weight(schedule.linear(10), 3, x0, variance="small")
