"""A program that kills training runs: `python killed_runs.py FOLDER KILLS`. It prints what it saw as JSON.

Torch is imported once; every run is a fork of this process, killed by SIGKILL, which no program can catch.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch
from tiny_run import Run

from course_utils.interop import checkpoint

END = 12  # steps of a whole run


def run_to_the_end(folder):
    """What a script that may have been killed does: go on from the last checkpoint, or else begin."""
    if checkpoint.checkpoints(folder):
        run = Run(seed=os.getpid())  # nothing of it may be left after loading
        start = checkpoint.load(folder, **run.parts)
    else:
        run, start = Run(), 0
    for _ in run.go_on(start, END, folder):
        pass
    (folder / "bits").write_text(run.bits())


def run_undisturbed(folder):
    """The same, and nothing is ever saved or loaded."""
    run = Run()
    for _ in run.go_on(0, END):
        pass
    (folder / "bits").write_text(run.bits())


def fork(function, *args):
    child = os.fork()
    if child == 0:
        try:
            function(*args)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return child


def was_killed(child):
    """Waits for the child to end. False if it ended by itself."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError("a run failed")
    return False


def final_bits(folder, run=run_to_the_end):
    if was_killed(fork(run, folder)):
        raise RuntimeError("somebody else killed a run")
    return (folder / "bits").read_text()


def kill_at_random(root, kills):
    """Runs killed again and again until they come to their end; after every kill, a copy is finished undisturbed."""
    seen = {"right": final_bits(new(root / "undisturbed"), run_undisturbed)}
    began = time.monotonic()
    seen |= {"finished": [final_bits(new(root / "saved"))], "steps": []}
    duration = time.monotonic() - began
    draw = random.Random(0)
    folder = new(root / "killed")
    while len(seen["steps"]) < kills:
        child = fork(run_to_the_end, folder)
        time.sleep(draw.uniform(0, duration))
        os.kill(child, signal.SIGKILL)
        if was_killed(child):
            newest = max(checkpoint.checkpoints(folder), default=None)
            seen["steps"].append(0 if newest is None else int(newest.stem.removeprefix("step-")))
            seen["finished"].append(final_bits(copy(folder, root / "copy")))
        else:
            seen["finished"].append((folder / "bits").read_text())
            folder = new(folder)
    return seen


def kill_while_saving(root):
    """Kills at each point of the fourth save: the file half written, not yet renamed, and so on."""

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    def half_written(file):
        os.ftruncate(file, os.fstat(file).st_size // 2)
        die()

    def after_renaming(a, b, replace=os.replace):
        replace(a, b)
        die()

    points = {
        "half written": (os, "fsync", half_written),
        "before renaming": (os, "replace", die),
        "after renaming": (os, "replace", after_renaming),
        "before deleting": (Path, "unlink", die),
    }

    def run(folder, owner, name, last):
        for _ in Run().go_on(0, 3, folder):
            pass
        setattr(owner, name, last)
        run_to_the_end(folder)

    seen = {}
    for point, patch in points.items():
        folder = new(root / point)
        if not was_killed(fork(run, folder, *patch)):
            raise RuntimeError(f"no kill: {point}")
        names = sorted(path.name for path in folder.iterdir())
        seen[point] = {"files": names, "finished": final_bits(folder)}
    return seen


def new(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def copy(folder, to):
    shutil.rmtree(to, ignore_errors=True)
    return shutil.copytree(folder, to)


if __name__ == "__main__":
    torch.set_num_threads(1)  # threads would not survive a fork
    list(Run().go_on(0, 1))  # what torch imports on first use
    root = Path(sys.argv[1])
    print(json.dumps(kill_at_random(root, int(sys.argv[2])) | {"saving": kill_while_saving(root)}))
