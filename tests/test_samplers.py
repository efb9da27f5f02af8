"""The samplers: their steps by the formulas, their loops, and what they take.

Other files: every option against diffusers, at 50 digits, with an exact network, and what is refused.
"""

from functools import partial

import pytest
import torch
from devices import on_every_device
from diffusers_in_double import ddpm_scheduler
from draws import single as normal

from course_utils.diffusion import schedule
from course_utils.diffusion.forward import q_sample
from course_utils.diffusion.objective import PREDICTIONS, VARIANCES, to_x0_eps
from course_utils.diffusion.posterior import q_posterior
from course_utils.diffusion.samplers import (
    ddim,
    ddim_invert,
    ddim_step,
    ddpm,
    ddpm_step,
    dynamic_threshold,
    timesteps,
)

DOUBLE = torch.float64
THEIRS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
FIXED = {"posterior": "fixed_small", "beta": "fixed_large"}
every_option = pytest.mark.parametrize(
    ("prediction", "variance"), [(p, v) for p in PREDICTIONS for v in VARIANCES]
)


def tanh(x, t):
    """A network that is not linear."""
    return torch.tanh(x)


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
        torch.testing.assert_close(step.x0, x0, rtol=1e-12, atol=1e-12)
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


@on_every_device
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_any_shape_dtype_and_device(device, dtype):
    made = schedule.linear(20, 0.01, 0.3)
    for shape in ((), (5,), (2, 3, 4, 5, 6)):
        x_T = normal(*shape, dtype=dtype).to(device)
        for loop in (
            partial(ddpm, steps=7),
            partial(ddim, steps=7, eta=0.5),
            partial(ddim_invert, steps=7),
        ):
            for prediction in PREDICTIONS:
                *_, last = loop(lambda x, t: 0.5 * x, x_T, made, prediction=prediction)
                assert (last.x.shape, last.x.dtype, last.x.device) == (x_T.shape, dtype, x_T.device)
                assert (last.x0.shape, last.x0.dtype) == (x_T.shape, dtype)
                assert last.x.isfinite().all()


def test_a_batch_is_one_image_after_the_other():
    made = schedule.linear(20, 0.01, 0.3)
    x_T, noises = normal(4, 3, 2), normal(7, 4, 3, 2, seed=1)
    *_, together = ddpm(tanh, x_T, made, steps=7, noises=noises, clip=dynamic_threshold)
    for k in range(4):
        *_, alone = ddpm(
            tanh, x_T[k : k + 1], made, steps=7, noises=noises[:, k : k + 1], clip=dynamic_threshold
        )
        torch.testing.assert_close(alone.x[0], together.x[k])


def test_a_network_may_answer_in_another_dtype():
    x_T = normal(6, 2)
    *_, last = ddim(lambda x, t: tanh(x, t).bfloat16(), x_T, schedule.linear(), prediction="x0")
    assert last.x.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_gpu_is_never_waited_for(prediction):
    made = schedule.linear()
    x_T = normal(6, 2).cuda()
    generator = torch.Generator("cuda").manual_seed(1)
    options = {"prediction": prediction, "steps": 20, "clip": 1.0, "generator": generator}
    loops = [ddpm(tanh, x_T, made, **options), ddim(tanh, x_T, made, eta=0.5, **options)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for loop in loops:
            for _ in loop:
                pass
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_noise_may_be_given_or_drawn():
    made = schedule.linear(10)
    x_T = normal(6, 2)
    generator = torch.Generator().manual_seed(3)
    noises = [torch.randn(6, 2, generator=generator) for _ in range(9)]
    for loop in (ddpm, partial(ddim, eta=1.0, steps=None)):
        *_, drawn = loop(tanh, x_T, made, generator=torch.Generator().manual_seed(3))
        for given in (noises, torch.stack(noises), iter(noises), [*noises, normal(6, 2)]):
            *_, last = loop(tanh, x_T, made, noises=given)
            assert torch.equal(last.x, drawn.x)
    state = torch.get_rng_state()
    list(ddim(tanh, x_T, made, steps=5))  # with eta = 0 nothing is drawn
    assert torch.equal(torch.get_rng_state(), state)


# --- DDIM ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", [None, 10, [85, 84, 30, 2]])
def test_ddim_with_eta_1_is_ddpm(prediction, steps):
    made = schedule.linear(100, 1e-3, 0.1)
    x_T, noises = normal(6, 2, dtype=DOUBLE), normal(99, 6, 2, seed=1, dtype=DOUBLE)
    options = {"steps": steps, "prediction": prediction, "noises": noises}
    ancestral = ddpm(tanh, x_T, made, **options)
    implicit = ddim(tanh, x_T, made, eta=1.0, **options)
    for a, b in zip(ancestral, implicit, strict=True):
        torch.testing.assert_close(a.x, b.x, rtol=1e-9, atol=1e-9)
        assert (a.t, a.t_prev) == (b.t, b.t_prev)


def test_the_step_and_the_loop_of_ddim_agree():
    made = schedule.linear(10)
    x, noises = normal(6, 2), normal(4, 6, 2, seed=1)
    options = {
        "eta": 0.5,
        "clip": 1.0,
        "final_alpha_bar": made.alpha_bar[0],
        "eps_from_clipped": True,
    }
    for k, step in enumerate(ddim(tanh, x, made, steps=[8, 5, 3], noises=noises, **options)):
        alone = ddim_step(
            made, tanh(x, step.t), step.t, x, t_prev=step.t_prev, noise=noises[k], **options
        )
        assert torch.equal(step.x, alone.x)
        x = step.x


def test_only_the_way_to_the_clean_image_draws_no_noise():
    made = schedule.linear(10)
    x_t, output = normal(2, 5, 2)
    assert torch.equal(
        ddim_step(made, output, 3, x_t, t_prev=-1, eta=1.0).x,
        ddim_step(made, output, 3, x_t, t_prev=-1, eta=0.0).x,
    )
    # Where noise is left at the end, eta has its part of it.
    end = {"t_prev": -1, "eta": 1.0, "final_alpha_bar": made.alpha_bar[0]}
    quiet, loud = (
        ddim_step(made, output, 3, x_t, noise=c * torch.ones(5, 2), **end).x for c in (0, 1)
    )
    right = ddim_step(made, output, 3, x_t, t_prev=0, eta=1.0, noise=torch.ones(5, 2)).x
    torch.testing.assert_close(loud, right)
    assert not torch.equal(quiet, loud)


# --- which steps, clipping, schedules with no or with full noise ---------------------------------------------


def test_the_steps_that_are_visited():
    made = schedule.linear(10)
    assert timesteps(made) == list(range(9, -1, -1))
    assert timesteps(made, 3) == [6, 3, 0]
    assert timesteps(made, 3, offset=1) == [7, 4, 1]
    assert timesteps(made, 3, spacing="trailing") == [9, 6, 2]
    assert timesteps(made, torch.tensor([8, 3])) == [8, 3]
    for kept in ([5], (9, 0), range(9, 0, -4)):
        steps = list(ddpm(tanh, normal(3, 2), made, steps=kept))
        assert [step.t for step in steps] == list(kept)
        assert [step.t_prev for step in steps] == [*list(kept)[1:], -1]


def test_clipping_acts_on_x0():
    made = schedule.linear(10)
    x_t = 3 * normal(4, 5, 2)
    for step_of in (ddpm_step, ddim_step):
        free = step_of(made, x_t, 4, x_t, prediction="x0", noise=x_t)
        bound = step_of(made, x_t, 4, x_t, prediction="x0", noise=x_t, clip=0.5)
        squared = step_of(made, x_t, 4, x_t, prediction="x0", noise=x_t, clip=torch.square)
        assert torch.equal(free.x0, x_t)
        assert torch.equal(bound.x0, x_t.clamp(-0.5, 0.5))
        assert torch.equal(squared.x0, x_t**2)
    clipped, agreed = (
        ddim_step(made, x_t, 4, x_t, prediction="x0", clip=0.5, eps_from_clipped=c)
        for c in (False, True)
    )
    _, eps = to_x0_eps(made, x_t.clamp(-0.5, 0.5), x_t, 4, "x0")
    right = q_sample(made, x_t.clamp(-0.5, 0.5), 3, eps)
    torch.testing.assert_close(agreed.x, right)
    assert not torch.allclose(clipped.x, right)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dynamic_thresholding_by_its_definition(dtype):
    x0 = torch.linspace(-2, 2, 41, dtype=dtype).expand(2, 41) * torch.tensor(
        [[1], [0.3]], dtype=dtype
    )
    out = dynamic_threshold(x0, quantile=0.9, largest=1.7)
    # |x0| sorted: 0, .1, .1, .2, .2, …, 2, 2: its quantile 0.9 is 1.8, more than the largest allowed.
    torch.testing.assert_close(out[0], x0[0].clamp(-1.7, 1.7) / 1.7)
    assert torch.equal(out[1], x0[1])  # within ±1 already
    assert out.dtype == dtype
    assert torch.equal(dynamic_threshold(x0[:, 0]), x0[:, 0].clamp(-1, 1))  # [B]
    with pytest.raises(ValueError, match=r"quantile ≤ 1 ≤ largest; got quantile=0.9, largest=0.5"):
        dynamic_threshold(x0, quantile=0.9, largest=0.5)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_steps_that_add_no_noise_change_nothing(prediction):
    """β = 0 up to t = 1: x_1 is x_0 already, and 1 − ᾱ = 0 stands under fractions."""
    made = schedule.from_beta([0.0, 0.0, 0.3, 0.6])
    x0 = normal(5, 2, dtype=DOUBLE)
    output = {"eps": x0, "x0": x0, "v": x0}[prediction]
    for t_prev in (0, -1):
        for step_of in (
            ddpm_step,
            partial(ddim_step, eta=1.0),
            partial(ddim_step, eps_from_clipped=True),
        ):
            step = step_of(made, output, 1, x0, t_prev=t_prev, prediction=prediction, noise=x0)
            assert torch.equal(step.x, x0)
    for loop in (ddim, ddim_invert):
        for final in (1.0, 0.9):
            *_, last = loop(
                tanh, x0, made, steps=None, prediction=prediction, final_alpha_bar=final
            )
            assert last.x.isfinite().all()


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_a_schedule_that_ends_in_pure_noise(prediction):
    made = schedule.zero_terminal_snr(schedule.linear(10))
    x_T = normal(5, 2, dtype=DOUBLE)
    for loop in (ddpm, partial(ddim, steps=None), partial(ddim_invert, steps=None)):
        *_, last = loop(tanh, x_T, made, prediction=prediction)
        assert last.x.isfinite().all()
        with pytest.raises(ValueError, match=r"at t = 9 nothing .* must predict 'v' or 'x0'"):
            loop(tanh, x_T, made)
    list(ddpm(tanh, x_T, made, steps=[8, 4, 0]))  # eps, but not from the last step
