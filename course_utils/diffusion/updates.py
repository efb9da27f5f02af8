"""The arithmetic of one step of DDPM and of DDIM, from what the model answered to where x goes.

x.add_(y, alpha=a) adds a·y to x, a tensor that was made a moment ago; torch.sub(x, y, alpha=a) is x − a·y.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch

from course_utils.diffusion.jumps import Jump
from course_utils.diffusion.objective import each_sample

Clip = float | Callable[[torch.Tensor], torch.Tensor] | None


@dataclass(frozen=True)
class Step:
    """One step of a sampler.

    Attributes:
        t: the step that it came from.
        x: x_{t_prev}, where it arrived; the sample itself after the last step.
        x0: the clean sample that the model saw in x_t, clipped if that was asked for.
        t_prev: the step where it arrived; −1 is the clean sample.
    """

    t: int
    x: torch.Tensor
    x0: torch.Tensor
    t_prev: int


def ddpm_update(
    jump: Jump,
    output: torch.Tensor,
    x_t: torch.Tensor,
    *,
    draw: Callable[[], torch.Tensor],
    prediction: str,
    variance: str,
    clip: Clip,
) -> Step:
    """A draw from the posterior q(x_{t_prev} | x_t, x_0), with the model's x_0 in place of the true one.

    The options are those of `ddpm_step`; draw() gives the noise, and is not called at the last step.
    """
    x0, _ = x0_and_eps(jump, output, x_t, prediction)
    x0 = clipped(x0, clip)
    x = (jump.from_x0 * x0).add_(x_t, alpha=jump.from_x_t)  # the mean
    if jump.t_prev >= 0:
        sigma2 = jump.beta if variance == "beta" else jump.beta_tilde
        x.add_(draw(), alpha=sqrt(sigma2))
    return Step(jump.t, x, x0, jump.t_prev)


def ddim_update(
    jump: Jump,
    output: torch.Tensor,
    x_t: torch.Tensor,
    *,
    draw: Callable[[], torch.Tensor],
    prediction: str,
    eta: float,
    clip: Clip,
    eps_from_clipped: bool,
) -> Step:
    """The model's x_0 and eps, mixed anew as x_{t_prev} holds them (Song et al. 2021, equation 12).

    The options are those of `ddim_step`; draw() gives the noise, and is called only where some is drawn.
    """
    x0, eps = x0_and_eps(jump, output, x_t, prediction)
    x0 = clipped(x0, clip)
    if eps_from_clipped:
        eps = eps_beside(jump, x0, x_t)
    sigma2 = eta**2 * jump.beta_tilde  # equation 16: 0 on the way to the clean image
    old_noise = max(jump.one_minus_alpha_bar_prev - sigma2, 0.0)  # rounding may go below 0
    x = (sqrt(jump.alpha_bar_prev) * x0).add_(eps, alpha=sqrt(old_noise))
    if sigma2 > 0:
        x.add_(draw(), alpha=sqrt(sigma2))
    return Step(jump.t, x, x0, jump.t_prev)


def x0_and_eps(
    jump: Jump, output: torch.Tensor, x_t: torch.Tensor, prediction: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both halves of x_t, the clean image and the noise: `to_x0_eps` with the numbers of a jump.

    They have the dtype of x_t, also where the model answers in another.
    """
    if output.dtype != x_t.dtype:
        output = output.to(x_t.dtype)
    signal, noise = sqrt(jump.alpha_bar), sqrt(jump.one_minus_alpha_bar)
    if prediction == "eps":
        return torch.sub(x_t, output, alpha=noise).div_(signal), output
    if prediction == "x0":
        return output, eps_beside(jump, output, x_t)
    x0 = (signal * x_t).sub_(output, alpha=noise)
    eps = (signal * output).add_(x_t, alpha=noise)
    return x0, eps


def eps_beside(jump: Jump, x0: torch.Tensor, x_t: torch.Tensor) -> torch.Tensor:
    """The noise that x_t holds when x0 is its clean image; where there is none yet, the answer is of no use."""
    noise = sqrt(jump.one_minus_alpha_bar) or 1.0
    return torch.sub(x_t, x0, alpha=sqrt(jump.alpha_bar)).div_(noise)


def clipped(x0: torch.Tensor, clip: Clip) -> torch.Tensor:
    """x0 within ±clip, or what the function clip makes of it, or x0 as it is."""
    if clip is None:
        return x0
    return clip(x0) if callable(clip) else x0.clamp(-clip, clip)


def dynamic_threshold(
    x0: torch.Tensor, *, quantile: float = 0.995, largest: float = 1.0
) -> torch.Tensor:
    """Bring each image into [−1, 1] by its own extreme pixels (Saharia et al. 2022, section 2.3).

    With s the quantile of |x0| over the image, but in 1 … largest: clip to [−s, s] and divide by s. As an
    option of a sampler: `clip=dynamic_threshold`, or `clip=partial(dynamic_threshold, largest=1.5)`.

    Args:
        x0: [B, …].

    Raises:
        ValueError: if not 0 ≤ quantile ≤ 1 ≤ largest.
    """
    if not 0 <= quantile <= 1 <= largest:
        raise ValueError(
            f"need 0 ≤ quantile ≤ 1 ≤ largest; got quantile={quantile}, largest={largest}."
        )
    values = each_sample(x0.abs()).to(torch.promote_types(x0.dtype, torch.float32))
    s = values.quantile(quantile, dim=1).clamp(1, largest).to(x0.dtype)
    s = s.reshape(-1, *[1] * (x0.ndim - 1))
    return x0.clamp(-s, s) / s
