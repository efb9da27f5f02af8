"""A run whose disk fills up says so, loses nothing that was good, and goes on once there is room."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file
from tiny_training import TINY, assert_same, tiny_run

from course_utils.interop import checkpoint
from course_utils.trainer import RunError, read_log, trained
from course_utils.trainer.log import back_to
from course_utils.trainer.settings import read_settings

PROGRAM = Path(__file__).with_name("tiny_training.py")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The newest checkpoint of a run that nothing disturbed."""
    return tiny_run(tmp_path_factory.mktemp("whole")).checkpoint


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """A file system of two megabytes in memory."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system may be mounted here: {error}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path, room: int) -> Path:
    """A file that leaves `room` bytes free, to the page."""
    filler = folder / "filler"
    disk = os.statvfs(folder)
    with open(filler, "wb") as file:
        file.write(bytes(disk.f_bavail * disk.f_frsize - room))
    return filler


def assert_intact(out: Path, good: bytes) -> None:
    """All that a run needs to go on, and nothing that is half written."""
    assert (out / "step-00000003.safetensors").read_bytes() == good
    assert read_settings(out / "settings.json").model == TINY.model
    steps = [entry["step"] for entry in read_log(out / "log.jsonl")]
    assert steps[:2] == [1, 3]
    assert not list(out.rglob("*.partial"))
    for path in checkpoint.checkpoints(out):
        load_file(path)
    for picture in (out / "samples").iterdir():
        Image.open(picture).load()
    trained(out)


def assert_goes_on(out: Path, whole: Path) -> None:
    """To the same end, bit for bit."""
    outcome = tiny_run(out, resume=True)
    assert outcome.finished
    assert (out / "pipeline" / "README.md").is_file()
    assert [entry["step"] for entry in read_log(out / "log.jsonl")] == [1, 3, 4, 6]
    assert_same(outcome.checkpoint, whole)


@pytest.mark.parametrize("checkpoints", [0, 0.1, 0.5, 1.1, 1.3])
def test_wherever_the_room_ends_the_run_goes_on_from_its_checkpoint(small_disk, whole, checkpoints):
    """Room for nothing at all, not for a checkpoint, or for one and not for the pipeline."""
    out = small_disk / "run"
    tiny_run(out, steps=3)
    shutil.rmtree(out / "pipeline")  # a run that was stopped has none
    good = (out / "step-00000003.safetensors").read_bytes()
    filler = fill(small_disk, int(checkpoints * len(good)))
    with pytest.raises(RunError) as error:
        tiny_run(out, resume=True)
    filler.unlink()
    assert "No space left on device" in str(error.value)
    assert "Make room." in str(error.value)
    assert f"To go on from it: run(settings, {str(out)!r}, pixels" in str(error.value)
    assert_intact(out, good)
    newest = 6 if checkpoints > 1 else 3
    assert checkpoint.checkpoints(out)[-1].name == f"step-{newest:08}.safetensors"
    assert_goes_on(out, whole)
    shutil.rmtree(out)


@pytest.mark.parametrize("most", [700, 20_000])
def test_a_file_that_cannot_be_written_ends_the_run_the_same_way(tmp_path, whole, most):
    """The limit that a shell sets with ulimit -f, in bytes, needs no rights: the settings or a checkpoint meet it."""
    resource = pytest.importorskip("resource")
    tiny_run(tmp_path, steps=3)
    good = (tmp_path / "step-00000003.safetensors").read_bytes()
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path, "6", "--resume"],
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert f"RunError: cannot write to {tmp_path}: " in said
    assert "File too large" in said
    assert (
        f"step-00000003.safetensors, is good. To go on from it: run(settings, {str(tmp_path)!r}, pixels"
        in said
    )
    assert_intact(tmp_path, good)
    assert_goes_on(tmp_path, whole)


def test_a_log_that_cannot_be_shortened_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    lines = [f'{{"step": {step}, "seconds": 1.0}}\n' for step in (1, 2, 3)]
    path.write_text("".join(lines))

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            back_to(path, 2)
    assert path.read_text() == "".join(lines)
    back_to(path, 2)
    assert path.read_text() == "".join(lines[:2])


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot write to .*file.* There is no checkpoint yet"):
        tiny_run(tmp_path / "file" / "run")
