"""Several processes, a GPU each, that train as one."""

import torch
import torch.distributed as dist
from accelerate import PartialState


def share_of(batch: int, process: int, processes: int) -> slice:
    """Which images of a batch are this process's: consecutive ones, in shares that differ by one at most.

    Raises:
        ValueError: if somebody would have none.
    """
    if batch < processes:
        raise ValueError(f"a batch of {batch} images is not enough for {processes} processes.")
    return slice(batch * process // processes, batch * (process + 1) // processes)


@torch.no_grad()
def sum_gradients(groups: list[dict]) -> None:
    """Replace each gradient of the optimizer's groups by its sum over all processes, in one message for all."""
    if PartialState().num_processes == 1:
        return
    gradients = [w.grad for group in groups for w in group["params"] if w.grad is not None]
    # In the order in which the numbers lie in memory, whatever the layout.
    flat = [gradient.as_strided((gradient.numel(),), (1,)) for gradient in gradients]
    together = torch.cat(flat)
    dist.all_reduce(together)
    torch._foreach_copy_(flat, together.split([len(part) for part in flat]))


def sum_numbers(*numbers: float) -> list[float]:
    """Each number's sum over all processes. Waits for the others."""
    state = PartialState()
    if state.num_processes == 1:
        return [float(number) for number in numbers]
    together = torch.tensor(numbers, dtype=torch.float32, device=state.device)
    dist.all_reduce(together)
    return together.tolist()
