"""The forward process q: how an image turns into noise, one step at a time or all at once."""

import torch

from course_utils.diffusion.schedule import Schedule, check_like, gather


def q_step(
    schedule: Schedule, x_prev: torch.Tensor, t: int | torch.Tensor, eps: torch.Tensor
) -> torch.Tensor:
    """One step of the chain: a draw from q(x_t | x_{t−1}) (Ho et al. 2020, equation 2).

    Args:
        x_prev: x_{t−1}, the image before step t; x_0 itself when t = 0. [B, C, H, W] or any shape.
        t: the step, one int or a tensor [B].
        eps: standard normal noise, shaped like x_prev.

    Returns:
        x_t, shaped like x_prev.

    Raises:
        ValueError: if t is outside 0 … T−1, shapes differ, or a tensor is not floating point.
    """
    check_like(x_prev=x_prev, eps=eps)
    keep = gather(schedule.alpha.sqrt(), t, x_prev)
    add = gather(schedule.beta.sqrt(), t, x_prev)
    return keep * x_prev + add * eps


def q_sample(
    schedule: Schedule, x0: torch.Tensor, t: int | torch.Tensor, eps: torch.Tensor
) -> torch.Tensor:
    """All steps up to t at once: a draw from q(x_t | x_0) (Ho et al. 2020, equation 4).

    Args:
        x0: the clean images, [B, C, H, W] or any shape.
        t: the step, one int or a tensor [B].
        eps: standard normal noise, shaped like x0.

    Returns:
        x_t, shaped like x0.

    Raises:
        ValueError: if t is outside 0 … T−1, shapes differ, or a tensor is not floating point.
    """
    check_like(x0=x0, eps=eps)
    signal = gather(schedule.alpha_bar.sqrt(), t, x0)
    noise = gather(schedule.one_minus_alpha_bar.sqrt(), t, x0)
    return signal * x0 + noise * eps


def eps_from_x0(
    schedule: Schedule, x_t: torch.Tensor, t: int | torch.Tensor, x0: torch.Tensor
) -> torch.Tensor:
    """The noise that turned x0 into x_t: q_sample solved for eps. Shapes and errors as in q_sample.

    Where β has been 0 all the way, no noise was added and the answer is not a number.
    """
    check_like(x_t=x_t, x0=x0)
    signal = gather(schedule.alpha_bar.sqrt(), t, x_t)
    noise = gather(schedule.one_minus_alpha_bar.sqrt(), t, x_t)
    return (x_t - signal * x0) / noise


def x0_from_eps(
    schedule: Schedule, x_t: torch.Tensor, t: int | torch.Tensor, eps: torch.Tensor
) -> torch.Tensor:
    """The image that became x_t under the noise eps: q_sample solved for x0. Shapes and errors as there.

    Where ᾱ_t = 0 nothing of the image is left, and the answer is not finite.
    """
    check_like(x_t=x_t, eps=eps)
    signal = gather(schedule.alpha_bar.sqrt(), t, x_t)
    noise = gather(schedule.one_minus_alpha_bar.sqrt(), t, x_t)
    return (x_t - noise * eps) / signal


def v_from(
    schedule: Schedule, x0: torch.Tensor, t: int | torch.Tensor, eps: torch.Tensor
) -> torch.Tensor:
    """The velocity v = √ᾱ_t ε − √(1−ᾱ_t) x0 (Salimans and Ho 2022, appendix D). Shapes and errors as q_sample."""
    check_like(x0=x0, eps=eps)
    signal = gather(schedule.alpha_bar.sqrt(), t, x0)
    noise = gather(schedule.one_minus_alpha_bar.sqrt(), t, x0)
    return signal * eps - noise * x0


def x0_from_v(
    schedule: Schedule, x_t: torch.Tensor, t: int | torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    """The image behind x_t when its velocity is v: x0 = √ᾱ_t x_t − √(1−ᾱ_t) v. Shapes and errors as q_sample."""
    check_like(x_t=x_t, v=v)
    signal = gather(schedule.alpha_bar.sqrt(), t, x_t)
    noise = gather(schedule.one_minus_alpha_bar.sqrt(), t, x_t)
    return signal * x_t - noise * v


def snr(schedule: Schedule) -> torch.Tensor:
    """The signal-to-noise ratio ᾱ_t / (1 − ᾱ_t) of every step, float64 [T] (Kingma et al. 2021, section 3.1)."""
    return schedule.alpha_bar / schedule.one_minus_alpha_bar
