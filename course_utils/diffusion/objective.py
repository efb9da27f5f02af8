"""What the network learns: its targets, the loss, the terms of the ELBO, and the answer that cannot be beaten."""

import math
from collections.abc import Callable

import torch

from course_utils.diffusion.forward import eps_from_x0, q_sample, v_from, x0_from_eps, x0_from_v
from course_utils.diffusion.posterior import posterior_weights, q_posterior
from course_utils.diffusion.schedule import Schedule, check_like, gather

Model = Callable[[torch.Tensor, int | torch.Tensor], torch.Tensor]  # model(x_t, t)
PREDICTIONS = ("eps", "x0", "v")
VARIANCES = ("posterior", "beta")


def target(
    schedule: Schedule,
    x0: torch.Tensor,
    t: int | torch.Tensor,
    eps: torch.Tensor,
    prediction: str = "eps",
) -> torch.Tensor:
    """What the network should answer when it is shown q_sample(schedule, x0, t, eps). Shaped like x0.

    Args:
        t: the step, which only "v" depends on.
        prediction: "eps", the noise; "x0", the clean image; or "v", the velocity (see `forward.v_from`).

    Raises:
        ValueError: if prediction is none of these, or as in `q_sample`; t is looked at for "v" alone.
    """
    check_like(x0=x0, eps=eps)
    check_one_of("prediction", prediction, PREDICTIONS)
    if prediction == "v":
        return v_from(schedule, x0, t, eps)
    return eps if prediction == "eps" else x0


def to_x0_eps(
    schedule: Schedule,
    output: torch.Tensor,
    x_t: torch.Tensor,
    t: int | torch.Tensor,
    prediction: str = "eps",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both halves of x_t, the clean image and the noise, from whichever of eps, x0, v the network gives.

    Args:
        output: the network's answer, shaped like x_t.
        prediction: what it is: "eps", "x0" or "v".

    Returns:
        x0 and eps, shaped like x_t: x_t = √ᾱ_t x0 + √(1−ᾱ_t) eps.

    Raises:
        ValueError: if prediction is none of these, or as in `q_sample`.
    """
    check_one_of("prediction", prediction, PREDICTIONS)
    if prediction == "eps":
        return x0_from_eps(schedule, x_t, t, output), output
    x0 = output if prediction == "x0" else x0_from_v(schedule, x_t, t, output)
    return x0, eps_from_x0(schedule, x_t, t, x0)


def score_from_eps(schedule: Schedule, eps: torch.Tensor, t: int | torch.Tensor) -> torch.Tensor:
    """∇ log q(x_t) when eps is the expected noise in x_t: −eps / √(1−ᾱ_t) (Vincent 2011)."""
    check_like(eps=eps)
    return -eps / gather(schedule.one_minus_alpha_bar.sqrt(), t, eps)


def eps_from_score(schedule: Schedule, score: torch.Tensor, t: int | torch.Tensor) -> torch.Tensor:
    """The expected noise in x_t when the score of q(x_t) is given: −√(1−ᾱ_t) · score."""
    check_like(score=score)
    return -score * gather(schedule.one_minus_alpha_bar.sqrt(), t, score)


def squared_error(
    model: Model,
    schedule: Schedule,
    x0: torch.Tensor,
    t: int | torch.Tensor,
    eps: torch.Tensor,
    prediction: str = "eps",
) -> torch.Tensor:
    """The mean squared error of the network on each sample, [B].

    Args:
        model: model(x_t, t), answering in the shape of x_t.
        x0: clean images, [B, C, H, W], points, [B, D], or numbers, [B].
        t: one int or a tensor [B].
        eps: standard normal noise, shaped like x0.
        prediction: what the network answers: "eps", "x0" or "v".

    Raises:
        ValueError: if the answer has another shape than x0, or as in `target`.
    """
    wanted = target(schedule, x0, t, eps, prediction)
    answer = model(q_sample(schedule, x0, t, eps), t)
    if not isinstance(answer, torch.Tensor) or answer.shape != x0.shape:
        got = list(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise ValueError(f"the model must answer in the shape of x_t, {list(x0.shape)}; got {got}.")
    return each_sample((answer - wanted).square()).mean(1)


def simple_loss(
    model: Model,
    schedule: Schedule,
    x0: torch.Tensor,
    t: int | torch.Tensor,
    eps: torch.Tensor,
    prediction: str = "eps",
) -> torch.Tensor:
    """L_simple: the mean squared error over the batch, one number (Ho et al. 2020, equation 14).

    Arguments and errors as in `squared_error`.
    """
    return squared_error(model, schedule, x0, t, eps, prediction).mean()


def kl_gaussians(
    mean1: torch.Tensor, variance1: torch.Tensor, mean2: torch.Tensor, variance2: torch.Tensor
) -> torch.Tensor:
    """KL(N(mean1, variance1) ‖ N(mean2, variance2)) in nats, number by number.

    Args:
        mean1, variance1, mean2, variance2: tensors that broadcast together; all variances positive.

    Raises:
        ValueError: if a variance is not positive.
    """
    for name, variance in (("variance1", variance1), ("variance2", variance2)):
        if variance.device.type == "cpu" and not bool((variance > 0).all()):
            raise ValueError(f"{name} must be positive; got values down to {variance.min():.4g}.")
    gap = (mean1 - mean2).square() / variance2
    ratio = variance1 / variance2
    return (gap + ratio - 1 - ratio.log()) / 2


def prior_term(schedule: Schedule, x0: torch.Tensor) -> torch.Tensor:
    """L_T = KL(q(x_{T−1} | x_0) ‖ N(0, I)) in nats, [B]: what the end of the chain still knows.

    Raises:
        ValueError: if x0, [B, …], is not floating point and finite.
    """
    check_like(x0=x0)
    mean = schedule.alpha_bar[-1].sqrt().item() * x0
    variance = torch.full_like(mean, schedule.one_minus_alpha_bar[-1].item())
    kl = kl_gaussians(mean, variance, torch.zeros_like(mean), torch.ones_like(mean))
    return each_sample(kl).sum(1)


def denoising_term(
    model: Model,
    schedule: Schedule,
    x0: torch.Tensor,
    t: int | torch.Tensor,
    eps: torch.Tensor,
    *,
    prediction: str = "eps",
    variance: str = "posterior",
) -> torch.Tensor:
    """L_t = KL(q(x_{t−1} | x_t, x_0) ‖ p_θ(x_{t−1} | x_t)) in nats, [B].

    p_θ is the posterior with the network's clean image in place of the true one (Ho et al. 2020, equation 5,
    where it is called L_{t−1}).

    Args:
        model, x0, t, eps, prediction: as in `squared_error`, with t ≥ 1.
        variance: of p_θ: "posterior", the variance β̃_t of q itself, or "beta", β_t.

    Raises:
        ValueError: if t is outside 1 … T−1, or as in `squared_error`.
    """
    check_one_of("variance", variance, VARIANCES)
    check_after_first(t)
    x_t = q_sample(schedule, x0, t, eps)
    x0_model, _ = to_x0_eps(schedule, model(x_t, t), x_t, t, prediction)
    mean, var = q_posterior(schedule, x0, x_t, t)
    mean_model, _ = q_posterior(schedule, x0_model, x_t, t)
    var_model = var if variance == "posterior" else gather(schedule.beta, t, x_t)
    return each_sample(kl_gaussians(mean, var, mean_model, var_model)).sum(1)


def reconstruction_term(
    model: Model,
    schedule: Schedule,
    x0: torch.Tensor,
    eps: torch.Tensor,
    *,
    prediction: str = "eps",
) -> torch.Tensor:
    """L_0 = −log p_θ(x_0 | x_{t=0}) in nats, [B], for the Gaussian around the network's x_0 of variance β_0.

    A density, not a probability, so it may be negative. (Ho et al. use a probability of 8-bit pixels there.)
    Arguments and errors as in `squared_error`; a ValueError also if β_0 = 0.
    """
    x_t = q_sample(schedule, x0, 0, eps)
    x0_model, _ = to_x0_eps(schedule, model(x_t, 0), x_t, 0, prediction)
    variance = schedule.beta[0].item()
    if variance == 0:
        raise ValueError("reconstruction_term needs β_0 > 0; with β_0 = 0 it would be infinite.")
    gap = (x0 - x0_model).square() / variance
    return each_sample((gap + math.log(2 * math.pi * variance)) / 2).sum(1)


def loss_weight(
    schedule: Schedule, t: int | torch.Tensor, like: torch.Tensor, *, variance: str = "posterior"
) -> torch.Tensor:
    """What multiplies ‖ε − ε_θ‖² in L_t: β_t² / (2 σ_t² α_t (1−ᾱ_t)) (Ho et al. 2020, equation 12).

    L_simple puts 1 in its place.

    Args:
        t: 1 … T−1, one int or a tensor [B].
        like: the tensor that it will multiply.
        variance: σ_t², as in `denoising_term`.

    Returns:
        One weight for each t, shaped as `gather` does.

    Raises:
        ValueError: if t is outside 1 … T−1, variance is neither, or as in `gather`.
    """
    check_one_of("variance", variance, VARIANCES)
    check_after_first(t)
    beta, alpha, noise = schedule.beta, schedule.alpha, schedule.one_minus_alpha_bar
    sigma2 = beta
    if variance == "posterior":
        _, _, sigma2 = posterior_weights(schedule, torch.arange(schedule.T), None, beta)
    return gather(beta**2 / (2 * sigma2 * alpha * noise), t, like)


def optimal_x0(
    schedule: Schedule, x_t: torch.Tensor, t: int | torch.Tensor, data: torch.Tensor
) -> torch.Tensor:
    """E[x_0 | x_t] when x_0 is one of finitely many samples: their average, weighted by q(x_0 | x_t).

    The weight of a sample is the softmax of −‖x_t − √ᾱ_t x_0‖² / 2(1−ᾱ_t) over the data (‖x_t‖² cancels).

    Args:
        x_t: noisy samples, [..., *shape of one sample].
        t: one int, or a tensor whose shape leads x_t's.
        data: the data set, [N, *shape of one sample].

    Returns:
        Tensor of the shape and dtype of x_t.

    Raises:
        ValueError: if the data are none or do not fit x_t, or as in `q_sample`.
    """
    points, samples = as_vectors(x_t, data)  # [..., D] and [N, D]
    signal, noise = (
        gather(table, t, points).expand(*points.shape[:-1], 1).reshape(-1, 1)
        for table in (schedule.alpha_bar.sqrt(), schedule.one_minus_alpha_bar)
    )
    rows = max(1, 2**22 // len(data))  # 32 MB of weights at a time
    chunks = (z.split(rows) for z in (points.reshape(-1, points.shape[-1]), signal, noise))
    means = []
    for x, a, b in zip(*chunks, strict=True):
        logits = (a * (x @ samples.T) - a**2 * samples.square().sum(1) / 2) / b
        means.append(logits.softmax(-1) @ samples)
    return torch.cat(means).reshape(x_t.shape).to(x_t.dtype)


def optimal_eps(
    schedule: Schedule, x_t: torch.Tensor, t: int | torch.Tensor, data: torch.Tensor
) -> torch.Tensor:
    """E[ε | x_t] for finitely many samples: the answer that minimises L_simple at every x_t and t.

    No network can have a smaller expected loss on these data. Arguments and errors as in `optimal_x0`.
    """
    return eps_from_x0(schedule, x_t, t, optimal_x0(schedule, x_t, t, data))


def as_vectors(x_t: torch.Tensor, data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x_t as [..., D] and the data as [N, D], in float64 where the device has it. Errors as in `optimal_x0`."""
    check_like(x_t=x_t)
    check_like(data=data)
    shape = data.shape[1:]  # of one sample
    lead = x_t.shape[: max(x_t.ndim - len(shape), 0)]
    if data.ndim == 0 or len(data) == 0 or lead + shape != x_t.shape:
        raise ValueError(
            f"data needs shape [N, …] with N ≥ 1 samples like those of x_t, {list(x_t.shape)}; "
            f"got {list(data.shape)}."
        )
    dtype = torch.float32 if x_t.device.type == "mps" else torch.float64
    points = x_t.to(dtype).reshape(*lead, math.prod(shape))
    return points, data.to(points).reshape(len(data), -1)


def each_sample(values: torch.Tensor) -> torch.Tensor:
    """[B, …] with one row for each sample, [B, N]; a sample may be a single number."""
    return values[..., None].flatten(1)


def check_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises a ValueError unless the value is among those allowed."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}.")


def check_after_first(t: int | torch.Tensor) -> None:
    """Raises a ValueError unless t ≥ 1. On a GPU the values are not inspected, as in `gather`."""
    t = torch.as_tensor(t)
    if t.device.type == "cpu" and bool((t < 1).any()):
        raise ValueError(
            f"the denoising terms have t ≥ 1, and step 0 the reconstruction_term; got t = {int(t.min())}."
        )
