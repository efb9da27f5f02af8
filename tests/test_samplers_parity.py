"""Every step of the samplers, and whole loops, against diffusers as it is.

diffusers has its tables in single precision, and 1 − ᾱ as a difference there, which at t = 0 is off by 1.6e-4 of
itself. So 1e-5 is for data of unit scale, ε included. Left out, and why:
- spacing "linspace": its DDIM steps to t − T // n there, which is not the next of its own timesteps (its issues 9261,
  11347, 12633); the course has no such spacing. Under "trailing" the same holds where n does not divide T.
- ε at ᾱ = 0, the last step of a rescaled schedule: it says nothing of x_0. diffusers divides by 0, the course refuses.
- DDPM with "fixed_large" at a last step t > 0: diffusers adds noise to the finished image. Compared without noise.
"""

from functools import partial
from itertools import product
from math import sqrt

import mpmath as mp
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler
from draws import single as normal
from exact_chain import off as off_exact

from course_utils.diffusion import schedule
from course_utils.diffusion.forward import q_sample
from course_utils.diffusion.objective import PREDICTIONS, VARIANCES, target
from course_utils.diffusion.samplers import (
    ddim,
    ddim_step,
    ddpm,
    ddpm_step,
    dynamic_threshold,
    timesteps,
)
from course_utils.interop import find_pipeline
from course_utils.interop.weights import unet_from_diffusers

SCHEDULES = {
    "linear": (schedule.linear(), {}),
    "scaled_linear": (
        schedule.scaled_linear(),
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    ),
    "cosine": (schedule.cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
    "zero terminal": (
        schedule.zero_terminal_snr(schedule.linear()),
        {"rescale_betas_zero_snr": True},
    ),
}
PREDICTION_TYPE = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
VARIANCE_TYPE = {"posterior": "fixed_small", "beta": "fixed_large"}
CLIPS = {
    "none": (None, {"clip_sample": False}),
    "±1": (1.0, {}),
    "±0.97": (0.97, {"clip_sample_range": 0.97}),
    "dynamic": (dynamic_threshold, {"thresholding": True}),
    "dynamic, wider": (
        partial(dynamic_threshold, quantile=0.9, largest=1.5),
        {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5},
    ),
}
SPACINGS = {
    "leading": ({}, {}),
    "leading, offset 1": ({"offset": 1}, {"steps_offset": 1}),
    "trailing": ({"spacing": "trailing"}, {"timestep_spacing": "trailing"}),
}
STEPS = (1000, 50)


IMAGES, NOISE, FRESH, WRONG = normal(4, 2, 3, 4, 4)
IMAGES = IMAGES.clamp(-1, 1)


def some(ts):
    """The first step, the middle one and the last, each with the step that follows it."""
    pairs = list(zip(ts, [*ts[1:], -1], strict=True))
    return pairs[0], pairs[len(ts) // 2], pairs[-1]


def seen(made, t, prediction):
    """Images at t and what a good, not perfect network answers there. Its x_0 is of unit scale at every t."""
    x_t = q_sample(made, IMAGES, t, NOISE)
    eps = NOISE + 0.2 * made.alpha_bar[t].sqrt().item() * WRONG
    x0 = IMAGES - 0.2 * made.one_minus_alpha_bar[t].sqrt().item() * WRONG
    return x_t, target(made, x0, t, eps, prediction)


def plans(made):
    """Each spacing and number of steps that there is, with the options of both sides."""
    for (spacing, (ours, theirs)), steps in product(SPACINGS.items(), STEPS):
        if not (spacing == "leading, offset 1" and steps == made.T):  # would begin at T
            yield timesteps(made, steps, **ours), steps, theirs


def off(got, right):
    return (got - right).abs().max().item()


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_ddpm_step_is_that_of_diffusers(name, prediction):
    made, options = SCHEDULES[name]
    wrong = {}
    for (ts, steps, spaced), variance, (clipping, (clip, clipped)) in product(
        plans(made), VARIANCES, CLIPS.items()
    ):
        type_ = VARIANCE_TYPE[variance]
        kinds = {"prediction_type": PREDICTION_TYPE[prediction], "variance_type": type_}
        theirs = DDPMScheduler(**options, **spaced, **clipped, **kinds)
        theirs.set_timesteps(steps)
        assert theirs.timesteps.tolist() == ts
        for t, t_prev in some(ts):
            if prediction == "eps" and made.alpha_bar[t] == 0:
                continue
            # Its noise for a last step t > 0: all but none with fixed_small.
            theirs.variance_type = theirs.config.variance_type
            if t_prev == -1:
                theirs.register_to_config(variance_type="fixed_small")
            x_t, output = seen(made, t, prediction)
            noise = normal(*x_t.shape, seed=t)
            right = theirs.step(output, t, x_t, generator=torch.Generator().manual_seed(t))
            theirs.register_to_config(variance_type=type_)
            step = ddpm_step(
                made,
                output,
                t,
                x_t,
                t_prev=t_prev,
                prediction=prediction,
                variance=variance,
                clip=clip,
                noise=noise,
            )
            gap = off(step.x, right.prev_sample)
            gap = max(gap, off(step.x0, right.pred_original_sample) * sqrt(made.alpha_bar[t]))
            if gap > 1e-5:
                wrong[variance, clipping, str(spaced), steps, t] = gap
    assert wrong == {}


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_ddim_step_is_that_of_diffusers(name, prediction):
    made, options = SCHEDULES[name]
    wrong = {}
    for (ts, steps, spaced), (clipping, (clip, clipped)), to_one in product(
        plans(made), CLIPS.items(), (True, False)
    ):
        theirs = DDIMScheduler(
            **options,
            **spaced,
            **clipped,
            prediction_type=PREDICTION_TYPE[prediction],
            set_alpha_to_one=to_one,
        )
        theirs.set_timesteps(steps)
        assert theirs.timesteps.tolist() == ts
        for (t, t_prev), eta, again in product(some(ts), (0.0, 0.5, 1.0), (False, True)):
            if prediction == "eps" and made.alpha_bar[t] == 0:
                continue
            x_t, output = seen(made, t, prediction)
            right = theirs.step(
                output, t, x_t, eta, use_clipped_model_output=again, variance_noise=FRESH
            )
            step = ddim_step(
                made,
                output,
                t,
                x_t,
                t_prev=t_prev,
                eta=eta,
                prediction=prediction,
                clip=clip,
                noise=FRESH,
                final_alpha_bar=1.0 if to_one else made.alpha_bar[0].item(),
                eps_from_clipped=again,
            )
            gap = off(step.x, right.prev_sample)
            gap = max(gap, off(step.x0, right.pred_original_sample) * sqrt(made.alpha_bar[t]))
            if gap > 1e-5:
                wrong[clipping, to_one, str(spaced), steps, t, eta, again] = gap
    assert wrong == {}


def test_timesteps_are_those_of_diffusers_for_every_number_of_steps():
    """Under "trailing", but for two habits of its floating-point range: at T − k T/n = … .5 it rounds to either
    side, and sometimes it goes one step too far, to t = −1."""
    made, _ = SCHEDULES["linear"]
    for steps in range(1, 1001):
        for (ours, theirs), scheduler in product(SPACINGS.values(), (DDPMScheduler, DDIMScheduler)):
            if ours == {"offset": 1} and steps == 1000:
                continue
            their = scheduler(**theirs)
            their.set_timesteps(steps)
            right = their.timesteps.tolist()
            if ours == {"spacing": "trailing"}:
                right = right[:steps]
            ts = timesteps(made, steps, **ours)
            differ = [k for k in range(steps) if ts[k] != right[k]]
            assert all((2000 * k) % (2 * steps) == steps for k in differ), (steps, ours)
            assert all(abs(ts[k] - right[k]) == 1 for k in differ)


# --- whole loops --------------------------------------------------------------------------------------------


def network(made, prediction):
    """Answers as a network that has learned images of about one value: close to the truth, and not linear."""

    def model(x, t):
        a, b = made.alpha_bar[int(t)].item(), made.one_minus_alpha_bar[int(t)].item()
        x0 = 0.8 * torch.tanh(1.5 * sqrt(a) * x / (0.3 * a + b))
        if prediction == "x0":
            return x0
        eps = (x - sqrt(a) * x0) / sqrt(b)
        return eps if prediction == "eps" else sqrt(a) * eps - sqrt(b) * x0

    return model


def their_loop(scheduler, steps, model, x, **options):
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, t), t, x, **options).prev_sample
    return x


LOOPS = [
    (name, prediction, steps)
    for name, prediction, steps in product(SCHEDULES, PREDICTIONS, (1000, 50))
    if not (name == "zero terminal" and prediction == "eps" and steps == 1000)
]


@pytest.mark.parametrize(("name", "prediction", "steps"), LOOPS)
@pytest.mark.parametrize("variance", VARIANCES)
def test_whole_ddpm_loops(name, prediction, steps, variance):
    made, options = SCHEDULES[name]
    theirs = DDPMScheduler(
        **options,
        prediction_type=PREDICTION_TYPE[prediction],
        variance_type=VARIANCE_TYPE[variance],
    )
    model, x_T = network(made, prediction), normal(2, 3, 4, 4)
    seeds = [torch.Generator().manual_seed(7) for _ in range(2)]
    right = their_loop(theirs, steps, model, x_T, generator=seeds[0])
    *_, last = ddpm(
        model,
        x_T,
        made,
        steps=steps,
        prediction=prediction,
        variance=variance,
        clip=1.0,
        generator=seeds[1],
    )
    assert off(last.x, right) < 1e-4


@pytest.mark.parametrize(("name", "prediction", "steps"), LOOPS)
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_whole_ddim_loops(name, prediction, steps, eta):
    made, options = SCHEDULES[name]
    theirs = DDIMScheduler(
        **options, prediction_type=PREDICTION_TYPE[prediction], set_alpha_to_one=False
    )
    model, x_T = network(made, prediction), normal(2, 3, 4, 4)
    seeds = [torch.Generator().manual_seed(7) for _ in range(2)]
    right = their_loop(theirs, steps, model, x_T, eta=eta, generator=seeds[0])
    *_, last = ddim(
        model,
        x_T,
        made,
        steps=steps,
        eta=eta,
        prediction=prediction,
        clip=1.0,
        final_alpha_bar=made.alpha_bar[0],
        generator=seeds[1],
    )
    assert off(last.x, right) < 1e-4


def test_ddpm_takes_any_steps_as_diffusers_does():
    made, _ = SCHEDULES["linear"]
    ts = [970, 800, 333, 332, 50, 7]
    theirs = DDPMScheduler()
    theirs.set_timesteps(timesteps=ts)
    model, x = network(made, "eps"), normal(2, 3, 4, 4)
    seeds = [torch.Generator().manual_seed(7) for _ in range(2)]
    *_, last = ddpm(model, x, made, steps=ts, clip=1.0, generator=seeds[0])
    for t in theirs.timesteps:
        x = theirs.step(model(x, t), t, x, generator=seeds[1]).prev_sample
    assert off(last.x, x) < 1e-4


@pytest.fixture(scope="module")
def shipped():
    return DDPMPipeline.from_pretrained(find_pipeline())


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "ddim with noise"])
def test_the_course_draws_the_butterflies_of_the_pipelines(shipped, sampler):
    """From the same noise, with the course's own network: at most one of 255 levels apart, in every pixel."""
    options = {"num_inference_steps": 20, "batch_size": 2, "output_type": "np"}
    if sampler == "ddpm":
        pipeline, loop = shipped, partial(ddpm, clip=1.0)
    else:
        eta = 0.0 if sampler == "ddim" else 0.5
        pipeline = DDIMPipeline(unet=shipped.unet, scheduler=shipped.scheduler)
        loop = partial(ddim, clip=1.0, eta=eta)
        options["eta"] = eta
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(generator=torch.Generator().manual_seed(5), **options).images

    generator = torch.Generator().manual_seed(5)
    x_T = torch.randn(2, 3, 32, 32, generator=generator)
    unet = unet_from_diffusers(shipped.unet).eval()
    *_, last = loop(unet, x_T, schedule.linear(), steps=20, generator=generator)
    ours = (last.x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    levels = [(255 * image).round() for image in (ours, torch.from_numpy(images))]
    assert off(*levels) <= 1
    assert levels[0].std() > 25  # a picture, not a grey square


# --- a schedule that ends in pure noise ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "cosine", "sigmoid"])
def test_zero_terminal_snr_is_the_algorithm_of_lin_et_al(name):
    """Their algorithm 1, literally, at 50 digits."""
    before = getattr(schedule, name)(1000)
    signal, product_ = [], mp.mpf(1)
    for beta in before.beta.tolist():
        product_ *= 1 - mp.mpf(beta)
        signal.append(mp.sqrt(product_))
    first, last = signal[0], signal[-1]
    moved = [(s - last) * first / (first - last) for s in signal]
    made = schedule.zero_terminal_snr(before)
    for t in range(1000):
        beta = 1 - (moved[t] / moved[t - 1]) ** 2 if t else 1 - moved[0] ** 2
        assert off_exact(made.beta[t], beta) < 1e-12
        assert off_exact(made.alpha_bar[t], moved[t] ** 2) < 1e-12
    assert made.alpha_bar[-1] == 0


@pytest.mark.parametrize("scheduler", [DDPMScheduler, DDIMScheduler])
@pytest.mark.parametrize("name", ["linear", "scaled_linear"])
def test_zero_terminal_snr_is_that_of_diffusers(name, scheduler):
    _, options = SCHEDULES[name]
    theirs = scheduler(**options, rescale_betas_zero_snr=True)
    made = schedule.zero_terminal_snr(getattr(schedule, name)())
    assert off(made.beta, theirs.betas) < 1e-5
    assert off(made.alpha_bar, theirs.alphas_cumprod) < 1e-5


def test_zero_terminal_snr_changes_nothing_twice_and_needs_noise_to_move():
    once = schedule.zero_terminal_snr(schedule.linear())
    torch.testing.assert_close(schedule.zero_terminal_snr(once).beta, once.beta, rtol=1e-12, atol=0)
    quiet_end = schedule.zero_terminal_snr(schedule.from_beta([0.1, 0.2, 0.0]))
    torch.testing.assert_close(quiet_end.beta, torch.tensor([0.1, 1.0, 0.0], dtype=torch.float64))
    for beta in ([0.3], [0.3, 0.0]):
        with pytest.raises(ValueError, match="adds noise after its first step"):
            schedule.zero_terminal_snr(schedule.from_beta(beta))
