"""Several processes, a GPU each, that train as one."""

import atexit
import os
from datetime import timedelta
from functools import cache

import torch
import torch.distributed as dist
from accelerate import PartialState

# How long to wait for another process's answer; compiling takes each one or two minutes.
PATIENCE = timedelta(minutes=10)


class LostProcess(RuntimeError):
    """Another process has ended or cannot be reached.

    On CPUs (gloo) the others notice at once that a connection is closed, and this is raised. GPUs (NCCL) wait in a
    kernel, out of Python's reach: there the launcher, torchrun or `accelerate launch`, ends the processes of its
    machine within half a minute; on other machines NCCL's watchdog does after PATIENCE, with a message of its own.
    Either way the newest checkpoint stays good.
    """


def here() -> PartialState:
    """accelerate's knowledge of this process: its device, its number, and how many there are.

    Started alone, it is the only one; by `accelerate launch` or torchrun it meets the others here.
    """
    # accelerate joins processes that have no GPU only if it is told that they have none. (`accelerate launch --cpu`
    # sets the variable.)
    no_gpu = not torch.accelerator.is_available()
    cpu = no_gpu or os.environ.get("ACCELERATE_USE_CPU", "false") == "true"
    return PartialState(cpu=cpu, timeout=PATIENCE)


@cache
def leave_at_exit() -> None:
    """Close the connection to the other processes before Python ends, whose threads could crash it then.

    For runs that end well: where a process is lost, closing would wait for it.
    """
    atexit.register(lambda: dist.is_initialized() and dist.destroy_process_group())


def processes_here() -> int:
    """How many processes share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def agreed(yes: bool) -> bool:
    """Whether all processes say yes. Waits for the others."""
    return sum_numbers(yes) == [here().num_processes]


def share_of(batch: int, process: int, processes: int) -> slice:
    """Which images of a batch are this process's, in shares that differ by one at most.

    Raises:
        ValueError: if somebody would have none.
    """
    if batch < processes:
        raise ValueError(
            f"a batch of {batch} images is not enough for {processes} processes: "
            "choose a larger batch."
        )
    return slice(batch * process // processes, batch * (process + 1) // processes)


@torch.no_grad()
def sum_gradients(groups: list[dict]) -> None:
    """Replace each gradient of the optimizer's groups by its sum over all processes, in one message for all."""
    if here().num_processes == 1:
        return
    gradients = [w.grad for group in groups for w in group["params"] if w.grad is not None]
    # In the order in which the numbers lie in memory, whatever the layout.
    flat = [gradient.as_strided((gradient.numel(),), (1,)) for gradient in gradients]
    together = torch.cat(flat)
    _sum(together)
    torch._foreach_copy_(flat, together.split([len(part) for part in flat]))


def sum_numbers(*numbers: float) -> list[float]:
    """Each number's sum over all processes. Waits for the others."""
    state = here()
    if state.num_processes == 1:
        return [float(number) for number in numbers]
    together = torch.tensor(numbers, dtype=torch.float32, device=state.device)
    _sum(together)
    return together.tolist()


def _sum(numbers: torch.Tensor) -> None:
    try:
        dist.all_reduce(numbers)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise LostProcess(f"another process of this run was lost ({reason}).") from None
