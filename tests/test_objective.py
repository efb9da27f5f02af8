"""The targets, the conversions between them and the loss, each against something independent."""

import mpmath as mp
import pytest
import torch
from devices import on_every_device
from draws import normal
from exact_chain import ExactChain

from course_utils.diffusion import forward, schedule
from course_utils.diffusion.objective import (
    PREDICTIONS,
    denoising_term,
    eps_from_score,
    loss_weight,
    score_from_eps,
    simple_loss,
    squared_error,
    target,
    to_x0_eps,
)

DOUBLE = torch.float64


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
