"""Noise schedules: how much noise each step of the forward process adds.

Index convention of the whole course: t ∈ {0, …, T−1}, and x_t at t = 0 has already had one step of noise,
as in Ho's code and in diffusers. The papers' t is ours plus one.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True, eq=False)
class Schedule:
    """The variances β_t of the forward process and what follows from them. All fields: float64, shape [T].

    Attributes:
        beta: variance of the noise that step t adds, in [0, 1].
        alpha: 1 − β_t, the share of the variance that step t keeps (Ho et al. 2020, section 2).
        alpha_bar: ᾱ_t = α_0 α_1 … α_t, the share that is left of the image after steps 0 … t.
        one_minus_alpha_bar: 1 − ᾱ_t, the variance of all the noise so far. Use this rather than
            `1 - alpha_bar`, which loses several digits where ᾱ_t is nearly one.
    """

    beta: torch.Tensor
    alpha: torch.Tensor
    alpha_bar: torch.Tensor
    one_minus_alpha_bar: torch.Tensor

    @property
    def T(self) -> int:
        """The number of steps."""
        return len(self.beta)

    @cached_property
    def _log_alpha_bar(self) -> tuple[torch.Tensor, torch.Tensor]:
        """log ᾱ before step 0 and after each step, [T + 1], and what rounding took from each of these sums."""
        log_alpha = torch.log1p(-self.beta).clamp(min=-800)  # α = 0 stays 0: e^−800 is 0 in float64
        total = torch.cat([torch.zeros(1, dtype=torch.float64), log_alpha.cumsum(0)])
        lost = (total[:-1] - total[1:]) + log_alpha
        return total, torch.cat([torch.zeros(1, dtype=torch.float64), lost.cumsum(0)])


def from_beta(beta) -> Schedule:
    """The schedule with the given variances.

    Args:
        beta: T numbers in [0, 1], as a list, an array or a tensor [T].

    Raises:
        ValueError: if there are none, or one lies outside [0, 1] or is not finite.
    """
    beta = torch.as_tensor(beta, dtype=torch.float64).detach().clone()
    if beta.ndim != 1 or len(beta) == 0:
        raise ValueError(f"beta needs shape [T] with T ≥ 1; got shape {list(beta.shape)}.")
    if not bool(((beta >= 0) & (beta <= 1)).all()):  # also catches NaN
        raise ValueError(
            f"each beta must lie in [0, 1]; got values from {beta.min():.4g} to {beta.max():.4g}."
        )
    alpha = 1 - beta
    return Schedule(
        beta=beta,
        alpha=alpha,
        alpha_bar=torch.cumprod(alpha, dim=0),
        # 1 − ᾱ = −expm1(Σ log(1 − β)) keeps full precision where ᾱ is close to one.
        one_minus_alpha_bar=-torch.expm1(torch.cumsum(torch.log1p(-beta), dim=0)),
    )


def check_steps(T: int) -> None:
    """Raises a ValueError unless T is a whole number of at least 1."""
    if isinstance(T, bool) or not isinstance(T, int) or T < 1:
        raise ValueError(
            f"T, the number of steps, must be a whole number of at least 1; got {T!r}."
        )


def check_range(beta_start: float, beta_end: float) -> None:
    """Raises a ValueError unless 0 ≤ beta_start ≤ beta_end ≤ 1."""
    if not 0 <= beta_start <= beta_end <= 1:
        raise ValueError(
            f"need 0 ≤ beta_start ≤ beta_end ≤ 1; got beta_start={beta_start}, beta_end={beta_end}."
        )


def linear(T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Schedule:
    """β_t grows linearly from `beta_start` to `beta_end` (Ho et al. 2020, section 4).

    Raises:
        ValueError: if T < 1, or not 0 ≤ beta_start ≤ beta_end ≤ 1.
    """
    check_steps(T)
    check_range(beta_start, beta_end)
    return from_beta(torch.linspace(beta_start, beta_end, T, dtype=torch.float64))


def scaled_linear(T: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012) -> Schedule:
    """√β_t grows linearly (the code of Rombach et al. 2022; the defaults are Stable Diffusion's).

    Raises:
        ValueError: if T < 1, or not 0 ≤ beta_start ≤ beta_end ≤ 1.
    """
    check_steps(T)
    check_range(beta_start, beta_end)
    return from_beta(torch.linspace(beta_start**0.5, beta_end**0.5, T, dtype=torch.float64) ** 2)


def sigmoid(T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Schedule:
    """β_t follows a sigmoid from near `beta_start` to near `beta_end` (as in diffusers' "sigmoid").

    Raises:
        ValueError: if T < 1, or not 0 ≤ beta_start ≤ beta_end ≤ 1.
    """
    check_steps(T)
    check_range(beta_start, beta_end)
    ramp = torch.sigmoid(torch.linspace(-6, 6, T, dtype=torch.float64))
    return from_beta(beta_start + (beta_end - beta_start) * ramp)


def cosine(T: int = 1000, s: float = 0.008, beta_max: float = 0.999) -> Schedule:
    """ᾱ follows a squared cosine (Nichol and Dhariwal 2021, equation 17); β is capped at `beta_max`.

    Raises:
        ValueError: if T < 1, s ≤ 0, or beta_max is outside (0, 1].
    """
    check_steps(T)
    if not (0 < s < math.inf and 0 < beta_max <= 1):
        raise ValueError(f"need s > 0 and 0 < beta_max ≤ 1; got s={s}, beta_max={beta_max}.")
    turn = math.pi / 2 / (1 + s) / T  # what each step takes from the angle
    # What is left of the angle before each step; ᾱ is proportional to the square of its sine.
    left = (T - torch.arange(T, dtype=torch.float64)) * turn
    # β = 1 − sin²(left − turn) / sin²(left), as a product, which keeps more digits where β is small.
    beta = math.sin(turn) * torch.sin(2 * left - turn) / torch.sin(left) ** 2
    return from_beta(beta.clamp(max=beta_max))


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """The schedule changed so that its last step leaves nothing of the image (Lin et al. 2023, algorithm 1).

    √ᾱ is moved down until its last value is 0, then stretched until its first is what it was. So ᾱ_{T−1} = 0,
    and a model must predict v or x0: at the last step eps says nothing about the image.

    Raises:
        ValueError: if no step after the first adds noise.
    """
    signal = schedule.alpha_bar.sqrt()
    # What step t takes from √ᾱ: √ᾱ_{t−1} (1 − √α_t), written without a difference.
    taken = signal[:-1] * schedule.beta[1:] / (1 + schedule.alpha[1:].sqrt())  # [T − 1]
    # What step t and all later ones take: √ᾱ_{t−1} − √ᾱ_{T−1}, the moved √ᾱ_{t−1}.
    left = taken.flip(0).cumsum(0).flip(0)
    if not bool((left > 0).any()):
        raise ValueError("zero_terminal_snr needs a schedule that adds noise after its first step.")
    share = torch.where(left > 0, taken / left, 0.0)  # the same after stretching
    return from_beta(torch.cat([schedule.beta[:1], share * (2 - share)]))  # 1 − (1 − share)²


def gather(values: torch.Tensor, t: int | torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """values[t], shaped to multiply `like`: one number per leading index of t.

    Args:
        values: a table over t, [T], float64.
        t: one step for everything, or a tensor of whole numbers whose shape is a leading part of `like`'s,
            most often [B].
        like: the tensor that will be multiplied, for instance x_t, [B, C, H, W].

    Returns:
        Tensor of `like`'s dtype and device, shaped [B, 1, 1, 1] in the example.

    Raises:
        ValueError: if t is not whole, outside 0 … T−1, or its shape does not lead `like`'s, or `like` is not
            floating point. On a GPU the values of t are not inspected, because reading them back would stall it.
    """
    t = _steps("t", t, like, 0, len(values) - 1)
    return values.to(t.device)[t].to(like.dtype).to(like.device)


def between(
    schedule: Schedule, earlier: int | torch.Tensor, later: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the steps after `earlier` up to `later` keep and add: ᾱ_later / ᾱ_earlier, and 1 minus that.

    From t − 1 to t these are α_t and β_t; from −1, the clean image, to t they are ᾱ_t and 1 − ᾱ_t. Neither
    comes from a quotient or a difference of ᾱ, which would lose digits or be 0/0.

    Args:
        earlier, later: whole numbers, −1 ≤ earlier ≤ later < T, that broadcast together. Not checked here;
            `check_jump` does that.

    Returns:
        Two float64 tensors of their shape, on the device of `later`.
    """
    total, lost = (table.to(later.device) for table in schedule._log_alpha_bar)
    log_kept = (total[later + 1] - total[earlier + 1]) + (lost[later + 1] - lost[earlier + 1])
    return torch.exp(log_kept), torch.expm1(log_kept).abs()


def check_jump(
    schedule: Schedule, t: int | torch.Tensor, t_prev: int | torch.Tensor | None, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """t and t_prev, which is t − 1 where it is None, as tensors shaped to multiply `like`.

    They are on the device of `like`, or on the CPU where that has no float64.

    Raises:
        ValueError: as in `gather`, or if t_prev is not in −1 … t−1.
    """
    t = _steps("t", t, like, 0, schedule.T - 1)
    if t_prev is None:
        return t, t - 1
    t_prev = _steps("t_prev", t_prev, like, -1, schedule.T - 1)
    if t.device.type == "cpu" and bool((t_prev >= t).any()):
        raise ValueError(
            "t_prev must be below t, the step where x_t is; "
            f"got t_prev={_few(t_prev)} and t={_few(t)}."
        )
    return t, t_prev


def _steps(name: str, t, like: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """t as a checked tensor with as many axes as `like`, on its device, or the CPU if that has no float64."""
    if not like.is_floating_point():
        raise ValueError(f"x must be a floating-point tensor; got {like.dtype}.")
    t = torch.as_tensor(t)
    if t.is_floating_point() or t.is_complex() or t.dtype == torch.bool:
        raise ValueError(f"{name} must hold whole numbers; got dtype {t.dtype}.")
    if t.device.type == "cpu" and t.numel() and not (low <= int(t.min()) and int(t.max()) <= high):
        raise ValueError(
            f"{name} must lie in {low} … {high}; got values from {int(t.min())} to {int(t.max())}."
        )
    if t.shape != like.shape[: t.ndim]:
        raise ValueError(
            f"{name} of shape {list(t.shape)} does not match x of shape {list(like.shape)}: give one int, "
            f"or one {name} for each of the {like.shape[0] if like.ndim else 0} samples."
        )
    device = "cpu" if like.device.type == "mps" else like.device
    return t.to(device).long().reshape(t.shape + (1,) * (like.ndim - t.ndim))


def _few(t: torch.Tensor) -> str:
    """The one step of t, or the first of several."""
    first, *others = t.flatten().tolist()
    if not others:
        return str(first)
    return f"[{', '.join(map(str, [first, *others[:4]]))}{', …' if len(others) > 4 else ''}]"


def check_like(**tensors: torch.Tensor) -> None:
    """Raises a ValueError unless all tensors are floating point, finite and of one shape, naming the culprit.

    On a GPU the values are not inspected, because reading them back would stall it.
    """
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            kind = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
            raise ValueError(
                f"{name} must be a floating-point tensor; got {kind}. Images of 0 … 255 go through "
                "course_utils.data.to_model first."
            )
        if value.device.type == "cpu" and not bool(value.isfinite().all()):
            bad = int((~value.isfinite()).sum())
            raise ValueError(
                f"{name} must be finite; {bad} of its {value.numel()} numbers are NaN or infinite."
            )
    (first, model), *others = tensors.items()
    for name, value in others:
        if value.shape != model.shape:
            raise ValueError(
                f"{name} needs the shape of {first}, {list(model.shape)}; got {list(value.shape)}."
            )
