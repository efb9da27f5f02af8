"""The training loop. It yields its state after every step; plotting, logging and saving stay with the caller."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, islice

import torch

from course_utils.diffusion.objective import squared_error
from course_utils.diffusion.schedule import Schedule, check_like


@dataclass(frozen=True)
class TrainStep:
    """What one step of training saw.

    Attributes:
        step: its number; the first step ever is 0.
        loss: the mean over all samples of the step, one number.
        t: the steps of noise that were drawn, [B].
        losses: the squared error of each sample, [B].
        norm: the length of the gradient, over all weights, before clipping; None where nothing clips.
    """

    step: int
    loss: torch.Tensor
    t: torch.Tensor
    losses: torch.Tensor
    norm: torch.Tensor | None = None


class EMA:
    """A copy of the model whose weights are an exponential moving average of those during training.

    After each step θ_ema ← d θ_ema + (1 − d) θ. At first its memory is short, d = (1 + n) / (10 + n)
    after n updates, so that the random weights of the start are soon forgotten.

    Attributes:
        model: the averaged model, in evaluation mode and without gradients.
        decay: the largest d.
        updates: n.
    """

    def __init__(self, model: torch.nn.Module, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1); got {decay}.")
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        """Take in the weights after one more step."""
        d = min(self.decay, (1 + self.updates) / (10 + self.updates))
        # For all weights at once: ours + (1 − d) (theirs − ours).
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - d)
        for ours, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            ours.copy_(theirs)
        self.updates += 1


def warm_up(lr: float, steps: int) -> Callable[[int], float]:
    """The learning rate that grows evenly to lr over the first steps, as a function of the step.

    Raises:
        ValueError: if steps < 1.
    """
    if steps < 1:
        raise ValueError(f"warm_up needs at least 1 step; got {steps}.")
    return lambda step: lr * min(1.0, (step + 1) / steps)


def cool_down(done: float, last: float) -> float:
    """What the learning rate is multiplied by: 1, and towards the end of a run along half a cosine to 0.

    Args:
        done: how much of the run is over, 0 … 1.
        last: the part of the run over which it falls, 0 … 1; 0 for a rate that never falls.

    Raises:
        ValueError: if last is not in [0, 1].
    """
    if not 0 <= last <= 1:
        raise ValueError(f"last is a part of the run, in [0, 1]; got {last}.")
    begun = done - (1 - last)  # how long it has been falling
    if last == 0 or begun <= 0:
        return 1.0
    return math.cos(math.pi / 2 * min(1.0, begun / last)) ** 2


def train(
    model: torch.nn.Module,
    batches: Iterable[torch.Tensor],
    schedule: Schedule,
    *,
    lr: float | Callable[[int], float] = 1e-3,
    prediction: str = "eps",
    draw_t: Callable[[int], torch.Tensor] | None = None,
    generator: torch.Generator | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    ema: EMA | None = None,
    max_norm: float | None = None,
    accumulate: int = 1,
    start: int = 0,
) -> Iterator[TrainStep]:
    """One step of the optimizer for each batch (Ho et al. 2020, algorithm 1). Ends when the batches do.

    Args:
        model: model(x_t, t) with parameters; it is changed.
        batches: of clean data, each [B, …] and floating point.
        lr: the learning rate, or a function from the number of the step to it, such as `warm_up`.
        prediction: what the network is to answer: "eps", "x0" or "v".
        draw_t: from B to the steps of noise, [B]; uniform over 0 … T−1 by default.
        generator: of t and of the noise, on the device of the data.
        optimizer: of the model's parameters; Adam by default. Its learning rate is set to lr at every step.
        ema: averages the weights after every step.
        max_norm: a gradient that is longer, over all weights, is scaled down to it; with infinity it is
            measured alone.
        accumulate: how many batches make one step, as if they were one large batch.
        start: the number of the first step, for a run that goes on.

    Yields:
        A TrainStep for each step, after the model has changed.

    Raises:
        ValueError: if a batch is not floating point and finite, accumulate < 1, max_norm is not positive, or as
            in `squared_error`.
        FloatingPointError: if the loss is no longer finite. (On a GPU it is not looked at, which would stall it.)
    """
    if accumulate < 1 or (max_norm is not None and not max_norm > 0):
        raise ValueError(
            f"need accumulate ≥ 1 and max_norm > 0; got accumulate={accumulate}, max_norm={max_norm}."
        )
    return loop(
        model,
        map(_checked, batches),
        partial(
            add_gradients,
            model,
            schedule,
            prediction=prediction,
            draw_t=draw_t,
            generator=generator,
        ),
        optimizer or torch.optim.Adam(model.parameters(), fused=True),
        rate=lr if callable(lr) else lambda step: lr,
        ema=ema,
        max_norm=max_norm,
        accumulate=accumulate,
        start=start,
    )


def loop(
    model: torch.nn.Module,
    batches: Iterator[torch.Tensor],
    gradients: Callable[[torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]],
    optimizer: torch.optim.Optimizer,
    *,
    rate: Callable[[int], float],
    ema: EMA | None,
    max_norm: float | None,
    accumulate: int,
    start: int,
) -> Iterator[TrainStep]:
    """The loop of `train`; gradients(x0, samples) is `add_gradients` with all else filled in."""
    for step in count(start):
        parts = list(islice(batches, accumulate))
        if not parts:
            return
        optimizer.zero_grad()
        samples = sum(len(x0) for x0 in parts)
        seen = [gradients(x0, samples) for x0 in parts]
        t, losses = (torch.cat(column) for column in zip(*seen, strict=True))
        check_finite(losses, step)
        norm = None
        if max_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
        if ema is not None:
            ema.update(model)
        yield TrainStep(step, losses.mean(), t, losses, norm)


def add_gradients(
    model: torch.nn.Module,
    schedule: Schedule,
    x0: torch.Tensor,
    samples: int,
    *,
    prediction: str,
    draw_t: Callable[[int], torch.Tensor] | None,
    generator: torch.Generator | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw t and eps for a batch, and add the gradient of its share in the loss of `samples` samples.

    Returns:
        The steps of noise, [B], and the squared errors, [B].
    """
    if draw_t is None:
        t = torch.randint(schedule.T, (len(x0),), generator=generator, device=x0.device)
    else:
        t = torch.as_tensor(draw_t(len(x0)), device=x0.device)
    eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype, device=x0.device)
    losses = squared_error(model, schedule, x0, t, eps, prediction)
    (losses.sum() / samples).backward()
    return t.expand(len(x0)), losses.detach()


def loss_by_t(losses: torch.Tensor, t: torch.Tensor, T: int, bins: int) -> torch.Tensor:
    """The mean loss in each of `bins` equal ranges of t, [bins]; NaN where no t fell.

    Args:
        losses: one for each sample, [N], as in `TrainStep.losses`.
        t: the steps of noise, [N], as in `TrainStep.t`.
        T: the number of steps of the schedule.

    Raises:
        ValueError: if bins is not in 1 … T, or t does not have a whole number in 0 … T−1 for each loss.
    """
    if not 1 <= bins <= T:
        raise ValueError(f"need 1 ≤ bins ≤ T; got bins={bins} and T={T}.")
    if t.is_floating_point() or t.ndim != 1 or t.shape != losses.shape:
        raise ValueError(
            "need t, whole numbers [N], and losses, [N]; "
            f"got {t.dtype} {list(t.shape)} and {losses.dtype} {list(losses.shape)}."
        )
    which = t.long() * bins // T
    if not bool(((which >= 0) & (which < bins)).all()):
        raise ValueError(f"t must lie in 0 … {T - 1}; got values from {t.min()} to {t.max()}.")
    sums = torch.bincount(which, weights=losses, minlength=bins)
    return sums / torch.bincount(which, minlength=bins)


def _checked(x0: torch.Tensor) -> torch.Tensor:
    check_like(x0=x0)
    return x0


def check_finite(losses: torch.Tensor, step: int) -> None:
    """Raises a FloatingPointError unless the losses are finite. On a GPU they are not inspected."""
    if losses.device.type == "cpu" and not bool(losses.isfinite().all()):
        raise FloatingPointError(
            f"the loss is {losses.mean().item()} at step {step}: a smaller learning rate often helps. "
            "The model is as the step before left it."
        )
