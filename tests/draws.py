"""Random numbers for tests, the same in every run."""

from functools import partial

import torch


def normal(*shape, seed=0, dtype=torch.float64):
    """Standard normal numbers in double precision, unless asked for another."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


single = partial(normal, dtype=torch.float32)
