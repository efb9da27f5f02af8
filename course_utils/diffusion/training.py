"""The training loop. It yields its state after every step; plotting and logging stay with the caller."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from course_utils.diffusion.objective import squared_error
from course_utils.diffusion.schedule import Schedule, check_like


@dataclass(frozen=True)
class TrainStep:
    """What one step of training saw.

    Attributes:
        step: its number, from 0.
        loss: the mean over the batch, one number.
        t: the steps of noise that were drawn, [B].
        losses: the squared error of each sample, [B].
    """

    step: int
    loss: torch.Tensor
    t: torch.Tensor
    losses: torch.Tensor


def train(
    model: torch.nn.Module,
    batches: Iterable[torch.Tensor],
    schedule: Schedule,
    *,
    lr: float | Callable[[int], float] = 1e-3,
    prediction: str = "eps",
    generator: torch.Generator | None = None,
) -> Iterator[TrainStep]:
    """One step of Adam for each batch (Ho et al. 2020, algorithm 1). Ends when the batches do.

    Args:
        model: model(x_t, t) with parameters; it is changed.
        batches: of clean data, each [B, …] and floating point.
        lr: the learning rate, or a function from the number of the step to it.
        prediction: what the network is to answer: "eps", "x0" or "v".
        generator: of t and of the noise, on the device of the data.

    Yields:
        A TrainStep for each batch, after the model has changed.

    Raises:
        ValueError: if a batch is not floating point and finite, or as in `squared_error`.
        FloatingPointError: if the loss is no longer finite.
    """
    rate = lr if callable(lr) else lambda step: lr
    optimizer = torch.optim.Adam(model.parameters(), lr=rate(0), fused=True)
    for step, x0 in enumerate(batches):
        check_like(x0=x0)
        t = torch.randint(schedule.T, (len(x0),), generator=generator, device=x0.device)
        eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype, device=x0.device)
        losses = squared_error(model, schedule, x0, t, eps, prediction)
        loss = losses.mean()
        if not bool(loss.isfinite()):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {step}: a smaller learning rate often helps. "
                "The model is as the step before left it."
            )
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield TrainStep(step, loss.detach(), t, losses.detach())
