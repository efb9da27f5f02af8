"""Butterflies drawn by all cores: sets of many thousands, for training."""

import math
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from course_utils.data.butterflies import butterflies


def draw_butterflies(n: int, size: int, seed: int) -> torch.Tensor:
    """`butterflies(n, size, seed)` with one process per core. uint8 [n, 3, size, size].

    A script that calls it needs an `if __name__ == "__main__":`, for the processes import it, too.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    share = math.ceil(n / (4 * cores))
    starts = range(0, n, share)
    # Not by fork: a child of a process whose OpenMP threads have worked waits for them for ever.
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        jobs = [pool.submit(butterflies, min(share, n - s), size, seed, start=s) for s in starts]
        return torch.cat([job.result() for job in jobs])
