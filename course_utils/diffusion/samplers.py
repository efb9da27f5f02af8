"""Samplers: from noise to data, one step at a time. They yield their state, and plot or print nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from course_utils.diffusion.objective import VARIANCES, Model, check_one_of, to_x0_eps
from course_utils.diffusion.posterior import q_posterior
from course_utils.diffusion.schedule import Schedule, check_like, gather


@dataclass(frozen=True)
class Step:
    """One step of a sampler.

    Attributes:
        t: the step that it came from.
        x: x_{t−1}, where it arrived; the sample itself after t = 0.
        x0: the clean sample that the model saw in x_t.
    """

    t: int
    x: torch.Tensor
    x0: torch.Tensor


def ddpm_step(
    schedule: Schedule,
    output: torch.Tensor,
    t: int,
    x_t: torch.Tensor,
    *,
    noise: torch.Tensor,
    prediction: str = "eps",
    variance: str = "posterior",
) -> Step:
    """One ancestral step, from x_t to x_{t−1} (Ho et al. 2020, algorithm 2).

    A draw from the posterior q(x_{t−1} | x_t, x_0), with the model's x_0 in place of the true one.

    Args:
        output: the model's answer at x_t, shaped like x_t.
        t: the step, one int.
        noise: standard normal, shaped like x_t. Not used at t = 0, where the answer is the mean.
        prediction: what the output is: "eps", "x0" or "v".
        variance: of the step: "posterior", β̃_t, or "beta", β_t (the two limits of section 3.2).

    Raises:
        ValueError: if t is outside 0 … T−1, shapes differ, a tensor is not floating point and finite, or an
            option is none of those named.
    """
    check_one_of("variance", variance, VARIANCES)
    check_like(x_t=x_t, noise=noise)
    x0, _ = to_x0_eps(schedule, output, x_t, t, prediction)
    mean, var = q_posterior(schedule, x0, x_t, t)
    if variance == "beta":
        var = gather(schedule.beta, t, x_t)
    return Step(t, mean if t == 0 else mean + var.sqrt() * noise, x0)


@torch.no_grad()
def ddpm(
    model: Model,
    x_T: torch.Tensor,
    schedule: Schedule,
    *,
    prediction: str = "eps",
    variance: str = "posterior",
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Ancestral sampling: from noise x_T through all steps T−1 … 0 (Ho et al. 2020, algorithm 2).

    Args:
        model: model(x_t, t), given t as one int.
        x_T: standard normal noise in the shape of the samples.
        generator: of the noise of the steps.
        prediction, variance: as in `ddpm_step`.

    Yields:
        A Step for each t; the x of the last one are the samples.

    Raises:
        ValueError: as in `ddpm_step`.
    """
    check_like(x_T=x_T)
    x = x_T
    for t in reversed(range(schedule.T)):
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        step = ddpm_step(
            schedule, model(x, t), t, x, noise=noise, prediction=prediction, variance=variance
        )
        yield step
        x = step.x
