"""The way back when the clean image is known: the posteriors of the forward process, all of them Gaussian."""

from collections.abc import Sequence

import torch

from course_utils.diffusion.schedule import Schedule, between, check_jump, check_like


def q_posterior(
    schedule: Schedule,
    x0: torch.Tensor,
    x_t: torch.Tensor,
    t: int | torch.Tensor,
    t_prev: int | torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q(x_{t_prev} | x_t, x_0): where x was at t_prev, seen from t (Ho et al. 2020, equations 6 and 7).

    Args:
        x0: the clean images, [B, C, H, W] or any shape.
        x_t: the same at step t, shaped like x0.
        t: the step, one int or a tensor [B].
        t_prev: an earlier step, −1 … t−1, where −1 is the clean image itself; t − 1 when left out.

    Returns:
        The mean, shaped like x_t, and the variance of every pixel, [B, 1, 1, 1] where t is [B], both in
        x_t's dtype. For t_prev = −1 they are x_0, which is given, and 0.

    Raises:
        ValueError: if t is outside 0 … T−1 or t_prev outside −1 … t−1, shapes differ, or a tensor is
            not floating point and finite.
    """
    check_like(x_t=x_t, x0=x0)
    from_x0, from_x_t, variance = posterior_weights(schedule, t, t_prev, x_t)
    return from_x0 * x0 + from_x_t * x_t, variance


def posterior_weights(
    schedule: Schedule,
    t: int | torch.Tensor,
    t_prev: int | torch.Tensor | None,
    like: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The weights of x_0 and x_t in the posterior's mean, and its variance, in the dtype of `like`.

    Computed in float64 and rounded once. Arguments, shapes and errors as in `q_posterior`.
    """
    t, t_prev = check_jump(schedule, t, t_prev, like)
    alpha, beta = between(schedule, t_prev, t)  # for t_prev = t − 1 these are α_t and β_t
    alpha_bar_prev, noise_prev = between(schedule, -1, t_prev)  # ᾱ and 1−ᾱ at t_prev
    _, noise = between(schedule, -1, t)  # 1−ᾱ_t
    clean = noise == 0  # no step so far has added noise: x_t is x_0, and the weights would be 0/0
    noise = torch.where(clean, 1.0, noise)
    from_x0 = torch.where(clean, 1.0, alpha_bar_prev.sqrt() * beta / noise)
    from_x_t = alpha.sqrt() * noise_prev / noise
    variance = beta * noise_prev / noise
    return tuple(w.to(like.dtype).to(like.device) for w in (from_x0, from_x_t, variance))


def q_joint(schedule: Schedule, ts: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The joint Gaussian q(x_{t_1}, …, x_{t_K} | x_0) of one pixel at several steps.

    The mean of x_t is √ᾱ_t x_0. For s ≤ t, Cov(x_s, x_t | x_0) = √(ᾱ_t/ᾱ_s) (1 − ᾱ_s): the noise that was
    there at s, faded on the way to t.

    Args:
        ts: K steps in 0 … T−1, in any order; `range(schedule.T)` for the papers' q(x_{1:T} | x_0).

    Returns:
        What multiplies x_0 in each mean, [K], and the covariance, [K, K], both float64.

    Raises:
        ValueError: if there is no step, or one is not whole or outside 0 … T−1.
    """
    ts = torch.as_tensor(ts).cpu()
    if ts.ndim != 1 or len(ts) == 0:
        raise ValueError(f"ts needs a list of one or more steps; got shape {list(ts.shape)}.")
    ts, _ = check_jump(schedule, ts, None, torch.empty(len(ts)))
    alpha_bar, _ = between(schedule, -1, ts)
    s, t = torch.minimum(ts[:, None], ts), torch.maximum(ts[:, None], ts)  # s ≤ t, each [K, K]
    kept, _ = between(schedule, s, t)
    _, noise = between(schedule, -1, s)
    return alpha_bar.sqrt(), kept.sqrt() * noise
