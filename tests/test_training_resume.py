"""A run that goes on from a checkpoint is the run that was never interrupted, bit for bit."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from devices import on_every_device
from tiny_run import SCHEDULE, Run, fused

from course_utils.diffusion.objective import PREDICTIONS
from course_utils.diffusion.training import EMA, train
from course_utils.diffusion.unet import UNet, UNetConfig
from course_utils.interop import checkpoint

END = 7
KILLED_RUNS = Path(__file__).with_name("killed_runs.py")
OPTIMIZERS = {
    "Adam": torch.optim.Adam,
    "AMSGrad": lambda weights: torch.optim.Adam(weights, amsgrad=True),
    "fused AdamW": fused,
    "foreach AdamW": lambda weights: torch.optim.AdamW(weights, foreach=True),
    "SGD": torch.optim.SGD,
    "SGD with momentum": lambda weights: torch.optim.SGD(weights, momentum=0.9),
    "RMSprop": torch.optim.RMSprop,
    "Adagrad": torch.optim.Adagrad,
    "Adadelta": torch.optim.Adadelta,
    "Adamax": torch.optim.Adamax,
    "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam,
    "Adafactor": torch.optim.Adafactor,
}


def finished(run, start=0, **options):
    """The run's bits after its last step, and the losses on the way."""
    losses = [state.loss.item() for state in run.go_on(start, END, **options)]
    return run.bits(), losses


def assert_resumes_everywhere(folder, prediction="eps", **options):
    """From a checkpoint after each step, by a run that began differently and has a past of its own."""
    right, losses = finished(Run(**options), prediction=prediction)
    for k in range(END):
        stopped = Run(**options)
        list(stopped.go_on(0, k, prediction=prediction))
        path = checkpoint.save(folder, k, **stopped.parts)
        other = Run(seed=5, **options)
        list(other.go_on(0, k % 3))
        assert checkpoint.load(path, **other.parts) == k
        assert other.bits() == stopped.bits()
        assert finished(other, k, prediction=prediction) == (right, losses[k:])


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_from_every_step_on_it_is_the_run_that_was_not_interrupted(tmp_path, prediction):
    assert_resumes_everywhere(tmp_path, prediction)


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_with_every_optimizer(tmp_path, make_optimizer):
    assert_resumes_everywhere(tmp_path, make_optimizer=make_optimizer)


@pytest.mark.parametrize("make_optimizer", [fused, torch.optim.Adam])
def test_with_weights_that_lie_in_memory_with_their_channels_last(tmp_path, make_optimizer):
    """The fused step walks through memory: moments that lie otherwise would meet the wrong weights."""
    layout = torch.channels_last
    assert_resumes_everywhere(tmp_path, make_optimizer=make_optimizer, layout=layout)


def test_the_run_has_all_that_a_checkpoint_must_keep(tmp_path):
    """Otherwise the tests here could not fail: each part that is not restored changes the end."""
    right, _ = finished(Run())
    stopped = Run()
    list(stopped.go_on(0, 3))
    path = checkpoint.save(tmp_path, 3, **stopped.parts)

    def spoilt_by(change):
        other = Run(seed=5)
        checkpoint.load(path, **other.parts)
        change(other)
        return finished(other, 3)[0]

    def halve(model):
        with torch.no_grad():
            next(model.parameters()).mul_(0.5)

    assert spoilt_by(lambda run: None) == right
    changes = {
        "weights": lambda run: halve(run.model),
        "buffers": lambda run: run.model.norm.running_mean.zero_(),
        "average": lambda run: halve(run.ema.model),
        "its count": lambda run: setattr(run.ema, "updates", 0),
        "optimizer": lambda run: run.optimizer.state.clear(),
        "generator": lambda run: run.generator.manual_seed(0),
        "dropout": lambda run: torch.manual_seed(0),
    }
    ends = [spoilt_by(change) for change in changes.values()]
    assert len({right, *ends}) == len(changes) + 1
    assert finished(stopped, 2)[0] != right  # the learning rate and the batches: a wrong start


def test_the_learning_rate_goes_on(tmp_path):
    def rates(run, start, end):
        return [run.optimizer.param_groups[1]["lr"] for _ in run.go_on(start, end, folder=tmp_path)]

    first, second = Run(), Run()
    before = rates(first, 0, 3)
    after = rates(second, checkpoint.load(tmp_path, **second.parts), 7)
    assert before + after == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01, 0.01, 0.01])


def test_the_course_s_unet_with_dropout(tmp_path):
    config = UNetConfig(
        in_channels=1,
        out_channels=1,
        channels=(4, 8),
        layers=1,
        attention=(False, True),
        groups=2,
        dropout=0.3,
    )

    def new(seed):
        torch.manual_seed(seed)
        model = UNet(config)
        return {
            "model": model,
            "optimizer": fused(model.parameters()),
            "ema": EMA(model),
            "generator": torch.Generator().manual_seed(seed),
        }

    def go_on(parts, start, end):
        images = [torch.full((3, 1, 8, 8), k / END) for k in range(start, end)]
        return [
            state.loss for state in train(batches=images, schedule=SCHEDULE, start=start, **parts)
        ]

    whole = new(0)
    losses = go_on(whole, 0, END)
    stopped = new(0)
    go_on(stopped, 0, 3)
    settings = {"config": dataclasses.asdict(config)}
    checkpoint.save(tmp_path, 3, **stopped, **settings)
    other = new(1)
    start = checkpoint.load(tmp_path, **other, **settings)
    assert go_on(other, start, END) == losses[3:]
    for a, b in ((whole["model"], other["model"]), (whole["ema"].model, other["ema"].model)):
        for ours, theirs in zip(a.parameters(), b.parameters(), strict=True):
            assert torch.equal(ours, theirs)


@on_every_device
def test_everything_comes_back_on_every_device(tmp_path, device):
    run = Run(device=device)
    list(run.go_on(0, 3, folder=tmp_path))
    saved = run.bits()
    drawn = torch.rand(3, device=device), torch.rand(3, generator=run.generator, device=device)
    other = Run(seed=5, device=device)
    assert checkpoint.load(tmp_path, **other.parts) == 3
    assert other.bits() == saved
    assert {weight.device.type for weight in other.model.parameters()} == {device}
    again = torch.rand(3, device=device), torch.rand(3, generator=other.generator, device=device)
    for a, b in zip(drawn, again, strict=True):
        assert torch.equal(a, b)
    list(other.go_on(3, 5))


# --- kills --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork")
    program = [sys.executable, str(KILLED_RUNS), str(tmp_path_factory.mktemp("runs")), "100"]
    said = subprocess.run(program, capture_output=True, text=True, timeout=600)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)


def test_a_hundred_kills_at_random_moments(killed):
    assert len(killed["steps"]) == 100
    assert set(killed["finished"]) == {killed["right"]}
    assert (
        len(killed["finished"]) > 100
    )  # after each kill, and the runs that came to their end at last
    assert len(set(killed["steps"])) >= 6  # all along the run


@pytest.mark.parametrize(
    ("point", "files"),
    [
        ("half written", ["next.partial", 2, 3]),
        ("before renaming", ["next.partial", 2, 3]),
        ("after renaming", [2, 3, 4]),
        ("before deleting", [2, 3, 4]),
    ],
)
def test_a_kill_while_a_checkpoint_is_saved(killed, point, files):
    names = [f if isinstance(f, str) else f"step-{f:08d}.safetensors" for f in files]
    assert killed["saving"][point] == {"files": names, "finished": killed["right"]}
