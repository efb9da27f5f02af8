"""Butterflies drawn by all cores: sets of many thousands, for training."""

import math
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch

from course_utils.data.butterflies import butterflies


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def draw_butterflies(n: int, size: int, seed: int, *, processes: int | None = None) -> torch.Tensor:
    """`butterflies(n, size, seed)` by several processes, one per core if not said otherwise. uint8 [n, 3, size, size].

    A script that calls it needs an `if __name__ == "__main__":`, for the processes import it, too.
    """
    processes = processes or cores()
    share = max(1, math.ceil(n / (4 * processes)))
    starts = range(0, n, share)
    draw = partial(_drawn, n=n, share=share, size=size, seed=seed)
    pixels = np.empty((n, 3, size, size), np.uint8)
    # One thread each, for with all of them in every process they wait for one another most of the time.
    options = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(processes, _context(), **options) as pool:
        for start, part in zip(starts, pool.map(draw, starts), strict=True):
            pixels[start : start + share] = part
    return torch.from_numpy(pixels)


def _drawn(start: int, n: int, share: int, size: int, seed: int) -> np.ndarray:
    """A share. An array, for tensors would go through shared memory, of which a container has little."""
    return butterflies(min(share, n - start), size, seed, start=start).numpy()


def _context():
    """How processes begin.

    Not as forks of this one: a child of a process whose OpenMP threads have worked waits for them for ever. On Linux
    they are forks of a fresh process that has imported torch once for all, elsewhere each imports it anew.
    """
    if sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([butterflies.__module__])
    return context
