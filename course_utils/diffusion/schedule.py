"""Noise schedules: how much noise each step of the forward process adds.

Index convention of the whole course: t ∈ {0, …, T−1}, and x_t at t = 0 has already had one step of noise,
as in Ho's code and in diffusers. The papers' t is ours plus one.
"""

import math
from dataclasses import dataclass

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
        ValueError: if t is not whole, outside 0 … T−1, or its shape does not lead `like`'s. On a GPU the
            values of t are not inspected, because reading them back would stall it.
    """
    T = len(values)
    t = torch.as_tensor(t)
    if t.is_floating_point() or t.is_complex() or t.dtype == torch.bool:
        raise ValueError(f"t must hold whole numbers; got dtype {t.dtype}.")
    if t.device.type == "cpu" and t.numel() and not (0 <= int(t.min()) and int(t.max()) < T):
        raise ValueError(
            f"t must lie in 0 … {T - 1}; got values from {int(t.min())} to {int(t.max())}."
        )
    if t.shape != like.shape[: t.ndim]:
        raise ValueError(
            f"t of shape {list(t.shape)} does not match x of shape {list(like.shape)}: give one int, "
            f"or one t for each of the {like.shape[0] if like.ndim else 0} samples."
        )
    # On a device without float64 (Apple's MPS) the table is rounded before it moves.
    table = (
        values.to(like.dtype).to(like.device)
        if like.device.type == "mps"
        else values.to(like.device)
    )
    picked = table[t.to(like.device)].to(like.dtype)
    return picked.reshape(t.shape + (1,) * (like.ndim - t.ndim))


def check_like(**tensors: torch.Tensor) -> None:
    """Raises a ValueError unless all tensors are floating point and of one shape; the names appear in it."""
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            kind = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
            raise ValueError(
                f"{name} must be a floating-point tensor; got {kind}. Images of 0 … 255 go through "
                "course_utils.data.to_model first."
            )
    (first, model), *others = tensors.items()
    for name, value in others:
        if value.shape != model.shape:
            raise ValueError(
                f"{name} needs the shape of {first}, {list(model.shape)}; got {list(value.shape)}."
            )
