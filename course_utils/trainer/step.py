"""One batch of a run: the `gradients` that `diffusion.training.loop` asks for, alone or with other processes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from course_utils.trainer.precision import Scaled
from course_utils.trainer.processes import sum_gradients

LossFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def add_gradients(
    loss_function: LossFunction,
    x0: torch.Tensor,
    samples: int,
    *,
    T: int,
    generator: torch.Generator | None = None,
    share: slice = slice(None),
    backward: Callable[[torch.Tensor], None] = torch.Tensor.backward,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`training.add_gradients` for a loss function that may be compiled, and a share of the batch.

    Every process draws t and eps for the whole batch, from the same generator, and computes its own
    share of it. The gradients of all shares add up to that of the batch, so the number of processes
    changes nothing but rounding, and which numbers dropout takes.

    Args:
        loss_function: (x0, t, eps) to squared errors, from `speed.loss_function`.
        x0: the whole batch, [B, C, H, W].
        samples: how many there are in the whole step, as in `training.add_gradients`.
        T: steps of the schedule.
        share: which of the batch are ours.
        backward: what to do with the loss; `precision.Scaled` multiplies it for fp16.

    Returns:
        The steps of noise and the squared errors of our share.
    """
    t = torch.randint(T, (len(x0),), generator=generator, device=x0.device)
    eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype, device=x0.device)
    losses = loss_function(x0[share], t[share], eps[share])
    backward(losses.sum() / samples)
    return t[share], losses.detach()


@dataclass
class Gradients:
    """`add_gradients` of a run, and what is due once the last batch of a step has been added.

    Attributes:
        add: `add_gradients` with all its options, but for backward.
        seen: how many samples of the step have been added.
    """

    add: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    optimizer: Scaled
    seen: int = 0

    def __call__(self, x0: torch.Tensor, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
        added = self.add(x0, samples, backward=self.optimizer.backward)
        self.seen += len(x0)
        if self.seen == samples:
            self.seen = 0
            sum_gradients(self.optimizer.param_groups)
            self.optimizer.unscale()
        return added
