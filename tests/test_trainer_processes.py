"""Two processes train as one does."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_training import tiny_run

from course_utils.trainer import read_log
from course_utils.trainer.processes import share_of

PROGRAM = Path(__file__).with_name("tiny_training.py")


@given(st.integers(1, 200), st.integers(1, 16))
def test_shares_are_even_and_leave_nothing_out(batch, processes):
    if batch < processes:
        with pytest.raises(ValueError, match="not enough"):
            share_of(batch, 0, processes)
        return
    shares = [range(batch)[share_of(batch, i, processes)] for i in range(processes)]
    assert [i for share in shares for i in share] == list(range(batch))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def two_processes(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_two_processes_learn_what_one_does(tmp_path):
    """The same losses and weights up to rounding, also after going on from a checkpoint of theirs."""
    one = tiny_run(tmp_path / "one")
    printed = two_processes(tmp_path / "two", 3)
    assert printed.count("step 3 ") == 1  # one of them speaks
    two_processes(tmp_path / "two", 6, "--resume")
    weights = load_file(tmp_path / "two" / one.checkpoint.name)
    for name, weight in load_file(one.checkpoint).items():
        ours, theirs = weights[name], weight
        if name.endswith("qkv.bias"):  # softmax does not feel the keys': Adam makes rounding large
            (q, _, v), (q1, _, v1) = ours.chunk(3), theirs.chunk(3)
            ours, theirs = torch.cat([q, v]), torch.cat([q1, v1])
        torch.testing.assert_close(
            ours, theirs, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    losses = [
        {entry["step"]: entry["loss"] for entry in read_log(tmp_path / name / "log.jsonl")}
        for name in ("one", "two")
    ]
    for step in (1, 3):
        assert losses[0][step] == pytest.approx(losses[1][step], rel=1e-5)
