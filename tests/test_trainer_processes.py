"""Two processes train as one does, and end as one."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_training import assert_same, tiny_run

from course_utils.interop.checkpoint import checkpoints
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


TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def two_processes(*arguments):
    command = [*TWO, PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@contextmanager
def two_that_go_on(folder):
    """The launcher of two processes that train for long, and their ids, once there is a checkpoint."""
    command = [*TWO, PROGRAM, str(folder), "100000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, bufsize=1) as launcher:
        ids = {}
        try:
            for line in launcher.stdout:
                if found := re.match(r"process (\d) is (\d+)", line):
                    ids[int(found[1])] = int(found[2])
                if line.startswith("step 6 "):  # the checkpoint of step 3 is there
                    break
            else:  # the launcher has ended
                pytest.fail(launcher.stderr.read()[-3000:])
            yield launcher, ids
        finally:
            for process in (launcher.pid, *ids.values()):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


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


def test_sigterm_to_the_launcher_stops_both_after_the_same_step(tmp_path):
    """As a cluster sends it. The run that goes on is the one that nothing disturbed."""
    with two_that_go_on(tmp_path / "two") as (launcher, _):
        launcher.send_signal(signal.SIGTERM)
        said, complaints = launcher.communicate(timeout=100)
    ended = dict(re.findall(r"process (\d) ended after step (\d+)", said))
    assert set(ended) == {"0", "1"}, complaints
    (step,) = {int(step) for step in ended.values()}
    assert said.count("Stopped by SIGTERM, and saved.") == 1
    assert f"To go on from it: run(settings, {str(tmp_path / 'two')!r}, pixels" in said
    assert checkpoints(tmp_path / "two")[-1].name == f"step-{step:08}.safetensors"
    two_processes(tmp_path / "two", step + 3, "--resume")
    two_processes(tmp_path / "undisturbed", step + 3)
    assert_same(*(checkpoints(tmp_path / name)[-1] for name in ("two", "undisturbed")))


@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_process_is_killed_the_other_ends_with_advice(tmp_path, victim):
    with two_that_go_on(tmp_path) as (launcher, ids):
        os.kill(ids[victim], signal.SIGKILL)
        killed = time.monotonic()
        _, complaints = launcher.communicate(timeout=100)
    assert time.monotonic() - killed < 60
    assert launcher.returncode != 0
    (said,) = re.findall("RunError: (.*)", complaints)
    assert "another process of this run was lost (" in said
    assert f"is good. To go on from it: run(settings, {str(tmp_path)!r}, pixels" in said
    step = int(checkpoints(tmp_path)[-1].stem.removeprefix("step-"))
    assert tiny_run(tmp_path, resume=True, steps=step + 1).finished


def test_accelerate_launches_the_command_line(tmp_path):
    """The command of `diffusion-course train --help`; without GPUs its processes share the CPU."""
    command = "-m accelerate.commands.launch --multi_gpu --num_processes 2 --main_process_port 0"
    command += " -m course_utils.authoring.cli train --preset cpu --images 32 --size 8 --steps 1"
    done = subprocess.run(
        [sys.executable, *command.split(), "--out", tmp_path / "run"],
        env=os.environ | {"ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("is ready for diffusers") == 1
    assert json.loads((tmp_path / "run" / "facts.json").read_text())["processes"] == 2
    assert "| made on | 2 × CPU, fp32, PyTorch" in (tmp_path / "run/pipeline/README.md").read_text()


def test_processes_that_see_different_folders_are_refused(tmp_path):
    """A folder that is not shared between machines, with a run in one of them: the other would begin at step 0."""
    tiny_run(tmp_path / "0", steps=3)
    command = [*TWO, PROGRAM, str(tmp_path / "{rank}"), "6", "--resume"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert done.stderr.count("is not one folder for all processes: they see other check") >= 1
    assert [path.name for path in checkpoints(tmp_path / "0")] == ["step-00000003.safetensors"]
    assert not (tmp_path / "1").exists()
