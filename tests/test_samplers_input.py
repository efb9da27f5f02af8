"""What the samplers refuse, and with which words. A loop says it when it is called, not at its first step."""

import math
from functools import partial

import pytest
import torch

from course_utils.diffusion import schedule
from course_utils.diffusion.samplers import ddim, ddim_invert, ddim_step, ddpm, ddpm_step


def tanh(x, t):
    return torch.tanh(x)


X = torch.linspace(-1, 1, 8).reshape(4, 2)
SHORT = schedule.linear(5)
LOOPS = pytest.mark.parametrize("loop", [ddpm, ddim, ddim_invert])


@LOOPS
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must lie in 1 … 5, or be a list of steps; got 0"),
        ({"steps": -1}, "steps must lie in 1 … 5, .* got -1"),
        ({"steps": 6}, "steps must lie in 1 … 5, .* got 6"),
        ({"steps": True}, "steps must lie in 1 … 5, .* got True"),
        ({"steps": 2.0}, r"steps must be a whole number or a list of them; got 2\.0"),
        ({"steps": [3.5]}, r"a whole number or a list of them; got \[3\.5\]"),
        ({"steps": "3"}, "a whole number or a list of them; got '3'"),
        ({"steps": []}, r"one or more, and fall, within 4 … 0; got \[\]"),
        ({"steps": [0, 1, 2]}, r"fall, within 4 … 0; got \[0, 1, 2\]"),
        ({"steps": [3, 3]}, r"got \[3, 3\]"),
        ({"steps": [5, 3]}, r"got \[5, 3\]"),
        ({"steps": [3, -1]}, r"got \[3, -1\]"),
        ({"steps": 5, "offset": 1}, r"got \[5, 4, 3, 2, 1\] with offset 1"),
        (
            {"steps": 2, "spacing": "linspace"},
            "spacing must be one of 'leading', 'trailing'; got 'lin",
        ),
        ({"steps": 2, "prediction": "n"}, "prediction must be one of 'eps', 'x0', 'v'; got 'n'"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(loop, options, message):
    with pytest.raises(ValueError, match=message):
        loop(tanh, X, SHORT, **options)


@LOOPS
@pytest.mark.parametrize("x", [[0.0], X.int(), X * torch.nan])
def test_a_start_that_cannot_be_is_refused_at_once(loop, x):
    with pytest.raises(ValueError, match=r"must be finite|floating-point tensor"):
        loop(tanh, x, SHORT, steps=2)


@pytest.mark.parametrize("eta", [-0.1, math.nan, math.inf])
def test_an_eta_that_is_no_share_is_refused(eta):
    with pytest.raises(ValueError, match=f"eta must be a number of at least 0; got {eta}"):
        ddim(tanh, X, SHORT, steps=2, eta=eta)
    with pytest.raises(ValueError, match="eta must be"):
        ddim_step(SHORT, X, 3, X, eta=eta, noise=X)


def test_an_eta_that_asks_for_more_noise_than_there_is_is_refused():
    made = schedule.linear()
    *_, last = ddim(tanh, X, made, steps=1000, eta=1.2, prediction="x0", noises=[X] * 999)
    assert last.x.isfinite().all()
    with pytest.raises(
        ValueError, match=r"with eta=1\.2 the step from 900 to 0 would draw more noise"
    ):
        ddim(tanh, X, made, steps=[900, 0], eta=1.2)


@pytest.mark.parametrize("final", [0.0, -1, 1.1, math.nan])
def test_a_final_alpha_bar_outside_its_range_is_refused(final):
    for loop in (ddim, ddim_invert):
        with pytest.raises(ValueError, match=r"final_alpha_bar must lie in \(0, 1\]"):
            loop(tanh, X, SHORT, steps=2, final_alpha_bar=final)


@pytest.mark.parametrize("clip", [0, -1.0, math.nan, "1", (-1, 1)])
def test_a_clip_that_is_none_is_refused(clip):
    for loop in (ddpm, ddim):
        with pytest.raises(ValueError, match="clip must be None, a number above 0 or a function"):
            loop(tanh, X, SHORT, steps=2, clip=clip)


@pytest.mark.parametrize("iterations", [0, -1, 1.5])
def test_iterations_that_cannot_be_are_refused(iterations):
    with pytest.raises(ValueError, match="iterations must be a whole number of at least 1"):
        ddim_invert(tanh, X, SHORT, steps=2, iterations=iterations)


@pytest.mark.parametrize("loop", [ddpm, partial(ddim, eta=0.5, steps=None)])
def test_noise_that_is_missing_or_does_not_fit_is_refused(loop):
    with pytest.raises(ValueError, match="for each of the 4 steps that draw noise; got 3"):
        loop(tanh, X, SHORT, noises=[X] * 3)
    with pytest.raises(
        ValueError, match="for each of the 4 steps that draw noise; they have run out"
    ):
        list(loop(tanh, X, SHORT, noises=iter([X] * 3)))
    with pytest.raises(
        ValueError, match=r"each of noises needs the shape of x_T, \[4, 2\]; got \[2\]"
    ):
        list(loop(tanh, X, SHORT, noises=[X[0]] * 4))
    with pytest.raises(ValueError, match="a generator or noises, not both"):
        loop(tanh, X, SHORT, noises=[X] * 4, generator=torch.Generator())


def test_a_step_that_adds_noise_needs_it():
    with pytest.raises(
        ValueError, match="from 3 to 1 adds noise: noise must be a tensor; got NoneType"
    ):
        ddpm_step(SHORT, X, 3, X, t_prev=1)
    with pytest.raises(ValueError, match="from 3 to 2 adds noise"):
        ddim_step(SHORT, X, 3, X, eta=0.1)
    for step in (ddpm_step(SHORT, X, 3, X, t_prev=-1), ddim_step(SHORT, X, 3, X)):
        assert step.x.shape == X.shape


@pytest.mark.parametrize("step_of", [ddpm_step, ddim_step])
@pytest.mark.parametrize(
    ("t", "t_prev", "message"),
    [
        (5, None, "t must lie in 0 … 4; got values from 5"),
        (3, 3, "t_prev must be below t"),
        (3, -2, "t_prev must lie in -1 … 4"),
        (torch.tensor([1, 2, 3, 4]), None, "one t and one t_prev for all"),
        (2.5, None, "t must hold whole numbers"),
    ],
)
def test_a_jump_that_cannot_be_is_refused(step_of, t, t_prev, message):
    with pytest.raises(ValueError, match=message):
        step_of(SHORT, X, t, X, t_prev=t_prev, noise=X)


@LOOPS
def test_a_network_that_does_not_answer_with_x_s_shape_is_refused(loop):
    with pytest.raises(
        ValueError, match=r"the model's answer needs the shape of x_t, \[4, 2\]; got \[1, 2\]"
    ):
        list(loop(lambda x, t: x[:1], X, SHORT, steps=2))
    with pytest.raises(ValueError, match=r"needs the shape of x_t, \[4, 2\]; got dict"):
        list(loop(lambda x, t: {"sample": x}, X, SHORT, steps=2))


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="variance must be one of 'posterior', 'beta'; got 'big'"):
        ddpm_step(SHORT, X, 2, X, noise=X, variance="big")
    with pytest.raises(ValueError, match="variance must be"):
        ddpm(tanh, X, SHORT, variance="big")
    for step_of in (ddpm_step, ddim_step):
        with pytest.raises(ValueError, match="prediction must be one of 'eps', 'x0', 'v'; got 'n'"):
            step_of(SHORT, X, 2, X, noise=X, prediction="n")
