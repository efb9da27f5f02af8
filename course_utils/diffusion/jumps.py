"""Which steps a sampler visits, and the numbers of each jump from one of them to the next."""

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from operator import index
from typing import NamedTuple

import torch

from course_utils.diffusion.objective import check_one_of
from course_utils.diffusion.posterior import posterior_weights
from course_utils.diffusion.schedule import Schedule, between

SPACINGS = ("leading", "trailing")


class Jump(NamedTuple):
    """The numbers of the step from t to t_prev. They are Python's own floats, which a GPU never waits for.

    Attributes:
        t, t_prev: where from and where to; −1 is the clean image.
        alpha_bar, one_minus_alpha_bar: ᾱ_t and 1 − ᾱ_t.
        alpha_bar_prev, one_minus_alpha_bar_prev: the same at t_prev.
        beta: 1 − ᾱ_t / ᾱ_{t_prev}, the variance that the forward process adds on the way.
        from_x0, from_x_t: the weights of x_0 and x_t in the mean of q(x_{t_prev} | x_t, x_0).
        beta_tilde: its variance β̃ (Ho et al. 2020, equation 7; see `posterior_weights`).
    """

    t: int
    t_prev: int
    alpha_bar: float
    one_minus_alpha_bar: float
    alpha_bar_prev: float
    one_minus_alpha_bar_prev: float
    beta: float
    from_x0: float
    from_x_t: float
    beta_tilde: float


def evenly_spaced(T: int, steps: int, spacing: str, offset: int = 0) -> list[int]:
    """Steps of T − 1 … 0, falling: "leading" counts them up from 0, "trailing" down from T − 1."""
    if spacing == "leading":
        return [k * (T // steps) + offset for k in reversed(range(steps))]
    return [round(T - k * T / steps) - 1 for k in range(steps)]


def timesteps(
    schedule: Schedule,
    steps: int | Sequence[int] | None = None,
    *,
    spacing: str = "leading",
    offset: int = 0,
) -> list[int]:
    """The steps that a sampler visits, falling.

    Args:
        steps: how many, evenly spaced; None for all; or the steps themselves, falling.
        spacing: "leading" counts up from 0 by T // steps, "trailing" down from T − 1 by T / steps (Lin et al.
            2023, table 2). Trailing sees pure noise, leading the step next to the clean image.
        offset: added to each leading step; Stable Diffusion has 1.

    Raises:
        ValueError: if steps are none, too many, not falling, not whole or outside 0 … T−1, or spacing is neither.
    """
    check_one_of("spacing", spacing, SPACINGS)
    T = schedule.T
    if steps is None:
        steps = T
    if isinstance(steps, Integral):
        if not 1 <= steps <= T or isinstance(steps, bool):
            raise ValueError(f"steps must lie in 1 … {T}, or be a list of steps; got {steps}.")
        ts = evenly_spaced(T, steps, spacing, offset)
    else:
        try:
            ts = [index(t) for t in steps]
        except TypeError:
            raise ValueError(
                f"steps must be a whole number or a list of them; got {steps!r}."
            ) from None
    if not ts or ts[0] >= T or ts[-1] < 0 or any(a <= b for a, b in pairwise(ts)):
        shown = ", ".join(map(str, ts[:6])) + (", …" if len(ts) > 6 else "")
        raise ValueError(
            f"the steps must be one or more, and fall, within {T - 1} … 0; got [{shown}]"
            + (f" with offset {offset}." if offset else ".")
        )
    return ts


def jumps(
    schedule: Schedule, ts: Sequence[int], end: int = -1, *, final_alpha_bar: float = 1.0
) -> list[Jump]:
    """The numbers of every step through ts, and from the last of them to `end`.

    Args:
        ts: falling steps, as from `timesteps`.
        end: a step before them all, or −1 for the clean image.
        final_alpha_bar: ᾱ at −1. It is 1 where no noise is left. `schedule.alpha_bar[0]` leaves as much as step 0
            has, as Stable Diffusion's DDIM does (set_alpha_to_one=False in diffusers).

    Raises:
        ValueError: if final_alpha_bar is outside (0, 1].
    """
    ts_prev = [*ts[1:], end]
    t, t_prev = torch.tensor(ts), torch.tensor(ts_prev)
    alpha_bar, one_minus_alpha_bar = schedule.alpha_bar[t], schedule.one_minus_alpha_bar[t]
    alpha_bar_prev, one_minus_alpha_bar_prev = between(schedule, -1, t_prev)
    _, beta = between(schedule, t_prev, t)
    columns = (
        alpha_bar,
        one_minus_alpha_bar,
        alpha_bar_prev,
        one_minus_alpha_bar_prev,
        beta,
        *posterior_weights(schedule, t, t_prev, beta),
    )
    made = list(map(Jump, ts, ts_prev, *(column.tolist() for column in columns)))
    if end == -1 and final_alpha_bar != 1:
        made[-1] = _ending_at(made[-1], float(final_alpha_bar))
    return made


def _ending_at(jump: Jump, final_alpha_bar: float) -> Jump:
    """The last jump of DDIM, led to another ᾱ than the clean image's. (The weights of x_0 and x_t stay.)"""
    if not 0 < final_alpha_bar <= 1:
        raise ValueError(f"final_alpha_bar must lie in (0, 1]; got {final_alpha_bar}.")
    one_minus_final = 1 - final_alpha_bar
    beta = max(1 - jump.alpha_bar / final_alpha_bar, 0.0)
    return jump._replace(
        alpha_bar_prev=final_alpha_bar,
        one_minus_alpha_bar_prev=one_minus_final,
        beta=beta,
        beta_tilde=beta * one_minus_final / (jump.one_minus_alpha_bar or 1.0),
    )
