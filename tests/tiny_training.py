"""A run of the trainer that takes a moment: `python tiny_training.py FOLDER STEPS` makes it, alone or not."""

import os
import sys
from dataclasses import replace
from functools import partial

import torch
from safetensors.torch import load_file

from course_utils.diffusion.unet import UNetConfig
from course_utils.trainer import Settings, run

os.environ.setdefault("ACCELERATE_USE_CPU", "true")  # where the last bit is always the same

TINY = Settings(
    model=UNetConfig(
        channels=(4, 8),
        attention=(False, True),
        layers=1,
        groups=2,
        dropout=0.0,
        sample_size=4,
    ),
    T=20,
    batch=5,  # odd, so that two processes have different shares
    accumulate=2,
    steps=6,
    lr=1e-2,
    warm_up=3,
    log_every=3,
    checkpoint_every=3,
    sample_every=100,
)
PIXELS = torch.randint(
    256, (23, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)


def tiny_run(folder, report=lambda line: None, *, resume=False, **changes):
    """The Outcome of the tiny run with some settings changed."""
    return run(replace(TINY, **changes), folder, pixels=PIXELS, resume=resume, report=report)


def assert_same(one, other):
    """Two checkpoints hold the same bits."""
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


if __name__ == "__main__":
    torch.set_num_threads(1)
    name = f"process {os.environ.get('RANK', 0)}"
    print(f"{name} is {os.getpid()}", flush=True)
    folder = sys.argv[1].format(rank=os.environ.get("RANK", 0))  # "{rank}" gives each its own
    resume = "--resume" in sys.argv
    outcome = tiny_run(folder, partial(print, flush=True), resume=resume, steps=int(sys.argv[2]))
    print(f"{name} ended after step {outcome.step}", flush=True)
