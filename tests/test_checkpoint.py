"""Checkpoints: what is in them, how they are written, and for which run. Two other files resume and damage them."""

import errno
import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from tiny_run import CHECKPOINTS as NAMES
from tiny_run import CONFIG, Run, after_two_steps, with_checkpoints

from course_utils.interop import checkpoint
from course_utils.interop.checkpoint import CheckpointError

run, folder = pytest.fixture(after_two_steps), pytest.fixture(with_checkpoints)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def about(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["about"])


# --- what is in a checkpoint --------------------------------------------------------------------------------


def test_it_is_a_safetensors_file_with_all_that_a_run_is_made_of(run, tmp_path):
    path = checkpoint.save(tmp_path / "new" / "folder", 1234, **run.parts)
    assert path == tmp_path / "new" / "folder" / "step-00001234.safetensors"
    assert os.listdir(path.parent) == [path.name]
    arrays = safetensors.torch.load_file(path)
    for name, value in run.model.state_dict().items():
        assert torch.equal(arrays[f"model.{name}"], value)
    for name, value in run.ema.model.state_dict().items():
        assert torch.equal(arrays[f"ema.{name}"], value)
    moments = run.optimizer.state[run.model.before.weight]
    assert torch.equal(arrays["optimizer.0.exp_avg"], moments["exp_avg"])
    assert torch.equal(arrays["random.generator"], run.generator.get_state())
    assert torch.equal(arrays["random.cpu"], torch.get_rng_state())
    said = about(path)
    assert said["step"] == 1234
    assert said["config"] == {"channels": [3, 4], "dropout": 0.2}
    assert said["param_groups"][1]["lr"] == run.optimizer.param_groups[1]["lr"]
    assert said["ema_updates"] == 2


def test_ema_generator_and_config_may_be_left_out(tmp_path):
    def new():
        model = torch.nn.Linear(2, 2)
        return {"model": model, "optimizer": torch.optim.Adam(model.parameters())}

    saved, other = new(), new()
    checkpoint.save(tmp_path, 3, **saved)
    assert checkpoint.load(tmp_path, **other) == 3
    assert torch.equal(saved["model"].weight, other["model"].weight)
    assert about(*checkpoint.checkpoints(tmp_path))["config"] is None


def test_a_folder_stands_for_its_newest_checkpoint(folder, run):
    assert [path.name for path in checkpoint.checkpoints(folder)] == NAMES
    other = Run(seed=5)
    assert checkpoint.load(folder, **other.parts) == 2
    assert other.bits() == run.bits()
    assert checkpoint.load(str(folder / NAMES[0]), **other.parts) == 1
    assert other.bits() != run.bits()


def test_a_checkpoint_may_be_renamed_and_moved(folder, run):
    (folder / NAMES[1]).rename(folder / "best.safetensors")
    assert checkpoint.load(folder / "best.safetensors", **run.parts) == 2


def test_where_there_is_none(tmp_path, run):
    assert checkpoint.checkpoints(tmp_path) == []
    assert checkpoint.checkpoints(tmp_path / "nowhere") == []
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
            checkpoint.load(path, **run.parts)


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_are_kept(tmp_path, run, keep):
    for step in range(5):
        checkpoint.save(tmp_path, step, **run.parts, keep=keep)
        steps = [about(path)["step"] for path in checkpoint.checkpoints(tmp_path)]
        assert steps == list(range(max(0, step + 1 - keep), step + 1))


def test_one_that_was_just_written_is_never_deleted(folder, run):
    """Even if later ones lie there: they are damaged, perhaps, and the run went on from the one before."""
    later = checkpoint.save(folder, 900, **run.parts)
    path = checkpoint.save(folder, 3, **run.parts, keep=1)
    assert checkpoint.checkpoints(folder) == [path, later]


def test_a_checkpoint_is_replaced_by_one_of_the_same_step(folder, run):
    list(run.go_on(2, 3))
    path = checkpoint.save(folder, 2, **run.parts)
    other = Run(seed=5)
    checkpoint.load(path, **other.parts)
    assert other.bits() == run.bits()


# --- what cannot be saved -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": -1}, "step ≥ 0 and keep ≥ 1; got step=-1, keep=2"),
        ({"keep": 0}, "got step=3, keep=0"),
        ({"config": {"dtype": torch.float32}}, "must fit into JSON: Object of type dtype"),
        ({"config": {"norm_eps": float("nan")}}, "must fit into JSON"),
    ],
)
def test_arguments_that_cannot_be_are_refused(folder, run, given, message):
    before = contents(folder)
    with pytest.raises(ValueError, match=message):
        checkpoint.save(folder, **({"step": 3} | run.parts | given))
    assert contents(folder) == before


def test_an_optimizer_of_another_model_is_refused(folder, run):
    parts = run.parts | {"model": Run(seed=5).model}
    for call in (
        lambda: checkpoint.save(folder, 3, **parts),
        lambda: checkpoint.load(folder, **parts),
    ):
        with pytest.raises(ValueError, match="optimizer is not of this model"):
            call()


# --- writing that fails -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(folder, run, monkeypatch, name):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = contents(folder)
    monkeypatch.setattr(os, name, full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(folder, 3, **run.parts)
    assert contents(folder) == before


def test_a_disk_that_is_full_in_the_middle_of_the_file(folder, run):
    resource = pytest.importorskip("resource")
    before = contents(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # no file may grow beyond 5000 bytes
    try:
        with pytest.raises(OSError, match="File too large"):
            checkpoint.save(folder, 3, **run.parts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert all(len(value) > 5000 for value in before.values())
    assert contents(folder) == before


def test_an_old_one_that_cannot_be_deleted_goes_next_time(folder, run, monkeypatch):
    """On Windows a file that is open cannot be deleted."""
    with monkeypatch.context() as patch:

        def in_use(path, missing_ok=False):
            if path.suffix == ".safetensors":
                raise PermissionError("in use")

        patch.setattr(Path, "unlink", in_use)
        checkpoint.save(folder, 3, **run.parts)
    assert len(checkpoint.checkpoints(folder)) == 3
    checkpoint.save(folder, 4, **run.parts)
    assert [about(path)["step"] for path in checkpoint.checkpoints(folder)] == [3, 4]


def test_nothing_of_the_file_is_held_after_loading(folder, run):
    """A mapped file would change under our feet, and Windows would not let it be replaced."""
    checkpoint.load(folder, **run.parts)
    before = run.bits()
    path = folder / NAMES[1]
    path.write_bytes(bytes(len(path.read_bytes())))
    assert run.bits() == before


# --- checkpoints of other runs ------------------------------------------------------------------------------


def test_every_difference_is_named(folder):
    def said(run=None, **changed):
        run = run or Run()
        before = run.bits()
        with pytest.raises(CheckpointError, match="does not fit this run: ") as raised:
            checkpoint.load(folder, **(run.parts | changed))
        assert run.bits() == before
        return str(raised.value).partition("this run: ")[2]

    assert said(config=CONFIG | {"dropout": 0.5}) == "the config's dropout was 0.2 and is 0.5."
    assert said(config=CONFIG | {"heads": 1}) == "the config's heads was None and is 1."
    assert said(config=None).startswith("the config's channels was [3, 4] and is None; ")
    assert said(Run(decay=0.9)) == "ema_decay was 0.99 and is 0.9."
    assert said(ema=None).startswith("ema_decay was 0.99 and is None; ema.")
    assert said(generator=None).startswith("generator was cpu and is None; random.generator was ")
    assert said(Run(make_optimizer=torch.optim.Adam)) == "optimizer was AdamW and is Adam."
    assert said(Run(width=4)).startswith(
        "model.before.weight was torch.float32 [3, 1, 3, 3] and is torch.float32 [4, 1, 3, 3]; "
    )
    assert said(Run(width=4)).endswith(" more.")

    run = Run()
    weights = [{"params": list(reversed(g["params"]))} for g in run.optimizer.param_groups]
    run.optimizer = torch.optim.AdamW(weights)
    assert said(run).startswith(
        "weight 0 in the optimizer's group 1 was before.bias and is after.bias; "
    )
    run = Run()
    run.optimizer = torch.optim.AdamW(run.model.parameters())
    assert "weight 1 in the optimizer's group 0 was None and is before.bias" in said(run)
    run = Run()
    run.model.double()
    assert said(run).startswith("model.before.weight was torch.float32 [3, 1, 3, 3] and is torch.f")
