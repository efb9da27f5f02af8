"""Samplers: from noise to data, one step at a time. They yield their state, and plot or print nothing.

The arithmetic of a step is in `updates`. Around it stand, for DDPM and for DDIM, a function for a single step and
a loop over many. Both check what they are given when they are called.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from functools import partial
from math import inf, sqrt

import torch

from course_utils.diffusion.jumps import Jump, jumps, timesteps
from course_utils.diffusion.objective import PREDICTIONS, VARIANCES, Model, check_one_of
from course_utils.diffusion.schedule import Schedule, check_jump, check_like
from course_utils.diffusion.updates import (
    Clip,
    Step,
    ddim_update,
    ddpm_update,
    dynamic_threshold,
    x0_and_eps,
)

__all__ = [
    "Step",
    "ddim",
    "ddim_invert",
    "ddim_step",
    "ddpm",
    "ddpm_step",
    "dynamic_threshold",
    "timesteps",
]


def ddpm_step(
    schedule: Schedule,
    output: torch.Tensor,
    t: int,
    x_t: torch.Tensor,
    *,
    t_prev: int | None = None,
    prediction: str = "eps",
    variance: str = "posterior",
    clip: Clip = None,
    noise: torch.Tensor | None = None,
) -> Step:
    """One ancestral step, from x_t to x_{t_prev} (Ho et al. 2020, algorithm 2).

    Args:
        output: the model's answer at x_t, shaped like x_t.
        t: the step, one int.
        t_prev: where to go, −1 … t−1, where −1 is the clean image; t − 1 when left out.
        prediction: what the output is: "eps", "x0" or "v".
        variance: of the draw: "posterior", β̃, or "beta", β (the two limits of section 3.2).
        clip: keeps the model's x_0 within ±clip; or a function that is applied to it, as `dynamic_threshold`.
        noise: standard normal, shaped like x_t. The last step, to −1, adds none.

    Raises:
        ValueError: if a step is out of range, shapes differ, a tensor is not floating point and finite, an
            option is none of those named, or eps is to tell x_0 where ᾱ_t = 0.
    """
    jump = _only_jump(schedule, output, t, x_t, t_prev, noise)
    _check_options([jump], prediction, clip)
    check_one_of("variance", variance, VARIANCES)
    draw = partial(_given, noise, jump)
    return ddpm_update(
        jump, output, x_t, draw=draw, prediction=prediction, variance=variance, clip=clip
    )


def ddim_step(
    schedule: Schedule,
    output: torch.Tensor,
    t: int,
    x_t: torch.Tensor,
    *,
    t_prev: int | None = None,
    eta: float = 0.0,
    prediction: str = "eps",
    clip: Clip = None,
    noise: torch.Tensor | None = None,
    final_alpha_bar: float = 1.0,
    eps_from_clipped: bool = False,
) -> Step:
    """One step of DDIM, from x_t to x_{t_prev} (Song, Meng and Ermon 2021, equations 12 and 16).

    Args:
        output, t, t_prev, prediction, clip: as in `ddpm_step`.
        eta: how much of the noise is drawn anew: 0 for none, 1 for as much as ancestral sampling has.
        noise: standard normal, shaped like x_t; needed where eta > 0, except on the way to the clean image.
        final_alpha_bar: ᾱ at t_prev = −1: 1, or `schedule.alpha_bar[0]` to leave as much noise as step 0 has.
        eps_from_clipped: take the eps that fits the clipped x_0 in place of the model's own.

    Raises:
        ValueError: as in `ddpm_step`; if eta is negative, or asks for more noise than there is at t_prev; if
            final_alpha_bar is outside (0, 1].
    """
    jump = _only_jump(schedule, output, t, x_t, t_prev, noise, final_alpha_bar)
    _check_options([jump], prediction, clip)
    _check_eta([jump], eta)
    draw = partial(_given, noise, jump)
    return ddim_update(
        jump,
        output,
        x_t,
        draw=draw,
        prediction=prediction,
        eta=eta,
        clip=clip,
        eps_from_clipped=eps_from_clipped,
    )


def ddpm(
    model: Model,
    x_T: torch.Tensor,
    schedule: Schedule,
    *,
    steps: int | Sequence[int] | None = None,
    spacing: str = "leading",
    offset: int = 0,
    prediction: str = "eps",
    variance: str = "posterior",
    clip: Clip = None,
    generator: torch.Generator | None = None,
    noises: Iterable[torch.Tensor] | None = None,
) -> Iterator[Step]:
    """Ancestral sampling: from noise x_T down to the clean image (Ho et al. 2020, algorithm 2).

    Args:
        model: model(x_t, t), given t as one int.
        x_T: standard normal noise in the shape of the samples.
        steps, spacing, offset: which steps to visit, all by default; see `timesteps`.
        prediction, variance, clip: as in `ddpm_step`.
        generator: of the noise of the steps.
        noises: or that noise itself, one tensor like x_T for each step but the last.

    Yields:
        A Step for each step; the x of the last one are the samples.

    Raises:
        ValueError: as in `ddpm_step` and `timesteps`, at once; while it runs, if the model answers in another
            shape or the noises run out.
    """
    plan = jumps(schedule, timesteps(schedule, steps, spacing=spacing, offset=offset))
    check_like(x_T=x_T)
    _check_options(plan, prediction, clip)
    check_one_of("variance", variance, VARIANCES)
    draw = _noise_like(x_T, generator, noises, needed=len(plan) - 1)
    update = partial(ddpm_update, draw=draw, prediction=prediction, variance=variance, clip=clip)
    return walk(model, x_T, plan, update)


def ddim(
    model: Model,
    x_T: torch.Tensor,
    schedule: Schedule,
    *,
    steps: int | Sequence[int] | None = 50,
    eta: float = 0.0,
    spacing: str = "leading",
    offset: int = 0,
    prediction: str = "eps",
    clip: Clip = None,
    final_alpha_bar: float = 1.0,
    eps_from_clipped: bool = False,
    generator: torch.Generator | None = None,
    noises: Iterable[torch.Tensor] | None = None,
) -> Iterator[Step]:
    """DDIM: the same model in fewer steps, and with eta = 0 no noise but x_T (Song, Meng and Ermon 2021).

    Args:
        model, x_T, steps, spacing, offset, generator, noises: as in `ddpm`.
        eta, prediction, clip, final_alpha_bar, eps_from_clipped: as in `ddim_step`.

    Yields:
        A Step for each step; the x of the last one are the samples.

    Raises:
        ValueError: as in `ddim_step` and `ddpm`.
    """
    ts = timesteps(schedule, steps, spacing=spacing, offset=offset)
    plan = jumps(schedule, ts, final_alpha_bar=final_alpha_bar)
    check_like(x_T=x_T)
    _check_options(plan, prediction, clip)
    _check_eta(plan, eta)
    draws = sum(jump.beta_tilde > 0 for jump in plan) if eta > 0 else 0
    update = partial(
        ddim_update,
        draw=_noise_like(x_T, generator, noises, needed=draws),
        prediction=prediction,
        eta=eta,
        clip=clip,
        eps_from_clipped=eps_from_clipped,
    )
    return walk(model, x_T, plan, update)


@torch.no_grad()
def walk(
    model: Model,
    x: torch.Tensor,
    plan: list[Jump],
    update: Callable[[Jump, torch.Tensor, torch.Tensor], Step],
) -> Iterator[Step]:
    """Ask the model, take the step, and again: the loop of `ddpm` and `ddim`. No gradients are kept."""
    for jump in plan:
        step = update(jump, ask(model, x, jump.t), x)
        yield step
        x = step.x


def ddim_invert(
    model: Model,
    x0: torch.Tensor,
    schedule: Schedule,
    *,
    steps: int | Sequence[int] | None = 50,
    spacing: str = "leading",
    offset: int = 0,
    prediction: str = "eps",
    final_alpha_bar: float = 1.0,
    iterations: int = 1,
) -> Iterator[Step]:
    """DDIM with eta = 0 walked backwards: from a clean image up to the noise that it would be drawn from.

    The step down to t_prev took the model's eps at x_t, which on the way up is not known yet. The eps at
    x_{t_prev} stands in for it. More iterations ask again at the x_t that came out: where they converge, the
    step is undone exactly.

    Args:
        x0: the clean images.
        iterations: how often the model is asked in each step.
        model, steps, spacing, offset, prediction, final_alpha_bar: as in `ddim`.

    Yields:
        A Step for each step, the earliest t first. Its x is x_t, one step up; the x of the last one is the noise.

    Raises:
        ValueError: as in `ddim`, or if iterations is less than 1.
    """
    ts = timesteps(schedule, steps, spacing=spacing, offset=offset)
    plan = jumps(schedule, ts, final_alpha_bar=final_alpha_bar)
    check_like(x0=x0)
    _check_options(plan, prediction)
    if not isinstance(iterations, int) or iterations < 1:
        raise ValueError(f"iterations must be a whole number of at least 1; got {iterations!r}.")
    return walk_up(model, x0, plan[::-1], prediction, iterations)


@torch.no_grad()
def walk_up(
    model: Model, x: torch.Tensor, plan: list[Jump], prediction: str, iterations: int
) -> Iterator[Step]:
    """The loop of `ddim_invert`: solves each jump of the plan, the earliest first, for its x_t."""
    for jump in plan:
        x_t = x
        for _ in range(iterations):
            _, eps = x0_and_eps(jump, ask(model, x_t, jump.t), x_t, prediction)
            x0 = (x - sqrt(jump.one_minus_alpha_bar_prev) * eps) / sqrt(jump.alpha_bar_prev)
            x_t = sqrt(jump.alpha_bar) * x0 + sqrt(jump.one_minus_alpha_bar) * eps
        yield Step(jump.t, x_t, x0, jump.t_prev)
        x = x_t


# --- noise and checks ---------------------------------------------------------------------------------------


def _noise_like(x, generator, noises, needed: int) -> Callable[[], torch.Tensor]:
    """The function that hands a sampler its noise, from a generator or one by one from `noises`."""
    if noises is None:
        device = x.device if generator is None else generator.device
        options = {"generator": generator, "dtype": x.dtype, "device": device}
        return lambda: torch.randn(x.shape, **options).to(x.device)
    if generator is not None:
        raise ValueError("give a generator or noises, not both.")
    too_few = f"noises must hold one tensor for each of the {needed} steps that draw noise"
    if isinstance(noises, Sized) and len(noises) < needed:
        raise ValueError(f"{too_few}; got {len(noises)}.")
    left = iter(noises)

    def draw() -> torch.Tensor:
        noise = next(left, None)
        if noise is None:
            raise ValueError(f"{too_few}; they have run out.")
        _check_shape("each of noises", noise, "x_T", x)
        return noise

    return draw


def _given(noise: torch.Tensor | None, jump: Jump) -> torch.Tensor:
    if noise is None:
        raise ValueError(
            f"the step from {jump.t} to {jump.t_prev} adds noise: noise must be a tensor; got NoneType."
        )
    return noise


def ask(model: Model, x: torch.Tensor, t: int) -> torch.Tensor:
    """The model's answer at x, or a ValueError if it has another shape."""
    output = model(x, t)
    _check_shape("the model's answer", output, "x_t", x)
    return output


def _check_shape(name: str, value: torch.Tensor, like: str, x: torch.Tensor) -> None:
    if not isinstance(value, torch.Tensor) or value.shape != x.shape:
        got = list(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(f"{name} needs the shape of {like}, {list(x.shape)}; got {got}.")


def _only_jump(schedule, output, t, x_t, t_prev, noise, final_alpha_bar=1.0) -> Jump:
    check_like(output=output, x_t=x_t, **({} if noise is None else {"noise": noise}))
    t, t_prev = check_jump(schedule, t, t_prev, x_t)
    if t.numel() != 1 or t_prev.numel() != 1:
        raise ValueError("a step of a sampler has one t and one t_prev for all; got several.")
    return jumps(schedule, [int(t)], int(t_prev), final_alpha_bar=final_alpha_bar)[0]


def _check_options(plan: list[Jump], prediction: str, clip: Clip = None) -> None:
    check_one_of("prediction", prediction, PREDICTIONS)
    blind = [jump.t for jump in plan if jump.alpha_bar == 0]
    if prediction == "eps" and blind:
        raise ValueError(
            f"at t = {blind[0]} nothing of the image is left (ᾱ = 0), so its noise does not tell what it was: "
            "the model must predict 'v' or 'x0'."
        )
    if not (clip is None or callable(clip)) and not (isinstance(clip, int | float) and clip > 0):
        raise ValueError(f"clip must be None, a number above 0 or a function; got {clip!r}.")


def _check_eta(plan: list[Jump], eta: float) -> None:
    if not 0 <= eta < inf:
        raise ValueError(f"eta must be a number of at least 0; got {eta}.")
    for jump in plan:
        if eta**2 * jump.beta_tilde > jump.one_minus_alpha_bar_prev * (1 + 1e-9):
            raise ValueError(
                f"with eta={eta} the step from {jump.t} to {jump.t_prev} would draw more noise than there is at "
                f"{jump.t_prev}: up to 1 always goes."
            )
