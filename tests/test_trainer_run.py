"""A run ends as it should, or loses nothing."""

import errno
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline
from safetensors.torch import load_file
from tiny_training import PIXELS, TINY, assert_same, tiny_run

from course_utils.diffusion.training import train, warm_up
from course_utils.diffusion.unet import UNet
from course_utils.interop import checkpoint, unet_from_diffusers
from course_utils.trainer import (
    RunError,
    draw,
    processes,
    progress,
    read_log,
    run,
    running,
    speed,
    stopping,
    trained,
)
from course_utils.trainer.images import prepared_ahead

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of six steps that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, tiny_run(folder)


def test_a_run_leaves_what_it_promises(whole):
    folder, outcome = whole
    assert outcome.finished
    assert outcome.step == 6
    assert outcome.checkpoint.name == "step-00000006.safetensors"
    assert [entry["step"] for entry in read_log(folder / "log.jsonl")] == [1, 3, 6]
    assert all(math.isfinite(entry["loss"]) for entry in read_log(folder / "log.jsonl"))
    assert (folder / "samples" / "step-00000006.png").stat().st_size > 100
    assert "6 steps of 10 images" in (folder / "pipeline" / "README.md").read_text()


def test_the_run_is_the_course_s_training(whole):
    """The same as `training.train`, which accumulates its batches in the same way."""
    from course_utils.data import batches

    torch.manual_seed(TINY.seed)
    model = UNet(TINY.model)
    steps = train(
        model,
        batches(PIXELS, TINY.batch, seed=TINY.seed, flip=True),
        TINY.schedule,
        lr=warm_up(TINY.lr, TINY.warm_up),
        generator=torch.Generator().manual_seed(TINY.seed),
        optimizer=torch.optim.AdamW(model.parameters(), weight_decay=0.0, fused=True),
        max_norm=TINY.max_norm,
        accumulate=TINY.accumulate,
    )
    for _ in range(6):
        next(steps)
    saved = load_file(whole[1].checkpoint)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(saved[f"model.{name}"], weight, rtol=1e-6, atol=1e-7)


def test_diffusers_opens_the_averaged_network(whole):
    folder, outcome = whole
    pipeline = DDPMPipeline.from_pretrained(folder / "pipeline")
    exported = unet_from_diffusers(pipeline.unet).state_dict()
    model, settings = trained(folder)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, load_file(outcome.checkpoint)[f"ema.{name}"])
        assert torch.equal(exported[name], weight)
    samples = draw(model, settings, 2, torch.device("cpu"), steps=3)
    assert samples.shape == (2, 3, 4, 4)
    assert torch.equal(samples, draw(model, settings, 2, torch.device("cpu"), steps=3))


def test_a_resumed_run_equals_the_undisturbed_one(whole, tmp_path):
    tiny_run(tmp_path, steps=3)
    outcome = tiny_run(tmp_path, resume=True)
    assert_same(outcome.checkpoint, whole[1].checkpoint)
    assert [entry["step"] for entry in read_log(tmp_path / "log.jsonl")] == [1, 3, 4, 6]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_saves_and_the_run_goes_on_from_there(whole, tmp_path, name):
    lines = []

    def report(line):
        lines.append(line)
        if line.startswith("step 1 "):
            os.kill(os.getpid(), signal.Signals[name])

    before = signal.getsignal(signal.Signals[name])
    outcome = tiny_run(tmp_path, report)
    assert not outcome.finished
    assert outcome.step == 2  # the step after the signal
    assert f"Stopped by {name}, and saved." in lines[-1]
    assert f"run(settings, {str(tmp_path)!r}, pixels=pixels, resume=True)" in lines[-1]
    assert signal.getsignal(signal.Signals[name]) is before
    assert_same(tiny_run(tmp_path, resume=True).checkpoint, whole[1].checkpoint)


@pytest.fixture
def one_thread():
    """As in the program: sums by several threads round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_program_that_is_killed_goes_on_as_if_nothing_had_been(tmp_path, one_thread):
    command = [sys.executable, HERE / "tiny_training.py", tmp_path, "100000"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while len(checkpoint.checkpoints(tmp_path)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    newest = checkpoint.checkpoints(tmp_path)[-1]
    steps = int(newest.stem.removeprefix("step-"))
    outcome = tiny_run(tmp_path, resume=True, steps=steps + 3)
    assert outcome.finished
    log = [entry["step"] for entry in read_log(tmp_path / "log.jsonl")]
    assert log == sorted(set(log))  # nothing twice
    whole = tiny_run(tmp_path / "whole", steps=steps + 3)
    assert_same(outcome.checkpoint, whole.checkpoint)


def test_a_run_that_is_slower_than_an_image_in_ten_seconds_goes_on(tmp_path, monkeypatch):
    ticks, lines = count(step=1000), []  # seconds
    monkeypatch.setattr(running.time, "perf_counter", lambda: next(ticks))
    assert tiny_run(tmp_path, lines.append).finished
    assert read_log(tmp_path / "log.jsonl")[0]["images_per_s"] == 0.01
    assert lines[0].endswith("0.01 images/s · 83 min left")  # 5 steps of 10 images


def test_a_run_whose_minutes_are_over_makes_no_more_steps(tmp_path):
    tiny_run(tmp_path, steps=None, minutes=1e-6)
    outcome = tiny_run(tmp_path, steps=None, minutes=1e-6, resume=True)
    assert (outcome.finished, outcome.step) == (True, 1)


def test_a_damaged_checkpoint_is_never_used_and_the_one_before_it_is_good(whole, tmp_path):
    tiny_run(tmp_path)
    newest = checkpoint.checkpoints(tmp_path)[-1]
    contents = bytearray(newest.read_bytes())
    contents[-100] ^= 1
    newest.write_bytes(contents)
    with pytest.raises(ValueError, match="is damaged: its contents do not match its digest"):
        trained(tmp_path)
    with pytest.raises(RunError, match=r"is damaged.*000003.safetensors\. Delete.*resume=True"):
        tiny_run(tmp_path, resume=True)
    newest.unlink()
    assert_same(tiny_run(tmp_path, resume=True).checkpoint, whole[1].checkpoint)


def test_a_gpu_with_too_little_memory_ends_the_run_with_advice(tmp_path, monkeypatch):
    def full(self, x, t):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. And more.")

    monkeypatch.setattr(UNet, "forward", full)
    with pytest.raises(RunError, match=r"memory is full \(CUDA out of memory\)\. A smaller batch"):
        tiny_run(tmp_path)


def test_only_a_full_disk_is_told_to_make_room(tmp_path, monkeypatch):
    def fails(error):
        def report(line):
            raise error

        return report

    with pytest.raises(BrokenPipeError):  # `diffusion-course train … | head`
        tiny_run(tmp_path / "a", fails(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    with pytest.raises(RunError, match=r"Permission denied\. There is no checkpoint yet"):
        tiny_run(tmp_path / "b", fails(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(RunError, match=r"No space left on device\. Make room\. There"):
        tiny_run(tmp_path / "c", fails(OSError(errno.ENOSPC, "No space left on device")))


def test_the_loss_scale_of_fp16_goes_on_as_if_the_run_had_not_stopped(tmp_path):
    """It is doubled after four steps without an overflow, in the whole run and in the one that was stopped at three."""

    def begun(folder):
        this = running.Run(TINY, folder, print)
        this.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=4)
        return this

    def scales(this, start, end):
        steps = this.steps(PIXELS, start)
        return [(next(steps), this.scaler.get_scale())[1] for _ in range(start, end)]

    whole = scales(begun(tmp_path / "whole"), 0, 9)
    assert whole == [2.0**10] * 3 + [2.0**11] * 4 + [2.0**12] * 2
    first = begun(tmp_path)
    stopped = scales(first, 0, 3)
    first.save(3)
    again = begun(tmp_path)
    assert again.load() == 3
    assert stopped + scales(again, 3, 9) == whole


def test_processes_drop_out_different_numbers_and_the_first_does_as_one_alone(tmp_path):
    drawn = []
    for number in (0, 1, 2, 1):
        this = running.Run(TINY, tmp_path, print)
        alone = torch.get_rng_state()
        this.number = number
        this.own_dropout(3)
        assert torch.equal(torch.get_rng_state(), alone) == (number == 0)
        drawn.append(torch.rand(3).tolist())
    assert drawn[1] == drawn[3]
    assert drawn[0] != drawn[1] != drawn[2]


def test_a_run_that_goes_back_takes_its_later_lines_and_pictures_back(tmp_path):
    tiny_run(tmp_path, sample_every=2, checkpoint_every=5, steps=8)
    checkpoint.checkpoints(tmp_path)[-1].unlink()  # as if it had been killed at 8
    (tmp_path / "log.jsonl").write_bytes(
        b"\0\0\0\n" + (tmp_path / "log.jsonl").read_bytes()  # and the power had failed
    )

    def report(line):
        if line.startswith("step 6 "):
            os.kill(os.getpid(), signal.SIGTERM)

    assert tiny_run(tmp_path, report, resume=True, steps=8, sample_every=2).step == 7
    log, _, step = progress(tmp_path)
    assert [entry["step"] for entry in log] == [1, 2, 3, 4, 5, 6, 7]
    assert step == 6


def test_a_loss_that_is_no_number_ends_with_the_checkpoint_before_intact(tmp_path, monkeypatch):
    tiny_run(tmp_path, steps=3)
    good = (tmp_path / "step-00000003.safetensors").read_bytes()
    forward = UNet.forward
    monkeypatch.setattr(UNet, "forward", lambda self, x, t: forward(self, x, t) * float("nan"))
    with pytest.raises(RunError, match=r"loss is nan.*step-00000003.*is good.*resume=True"):
        tiny_run(tmp_path, resume=True)
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == ["step-00000003.safetensors"]
    assert (tmp_path / "step-00000003.safetensors").read_bytes() == good


def test_weights_that_the_last_step_spoilt_are_not_saved(tmp_path, monkeypatch):
    """The loss of a step is from before it; what the step did shows in the next."""
    monkeypatch.setattr(running, "warm_up", lambda lr, steps: lambda step: math.inf)
    with pytest.raises(RunError, match="weights are no longer finite at step 1"):
        tiny_run(tmp_path, steps=1)
    assert checkpoint.checkpoints(tmp_path) == []


def test_a_lost_process_ends_the_run_with_advice(tmp_path, monkeypatch):
    tiny_run(tmp_path, steps=3)

    def lost(numbers):
        raise RuntimeError("Connection closed by peer\nand much more")

    monkeypatch.setattr(processes.dist, "all_reduce", lost)
    monkeypatch.setattr(running, "sum_numbers", lambda *numbers: processes._sum(torch.ones(1)))
    with pytest.raises(RunError, match=r"was lost \(Connection closed by peer\).*is good"):
        tiny_run(tmp_path, resume=True)


def test_a_signal_that_a_launcher_repeats_is_one_signal(tmp_path):
    def report(line):
        if line.startswith("step 1 "):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    assert tiny_run(tmp_path, report).step == 2


def test_a_second_signal_ends_the_program(tmp_path, monkeypatch):
    monkeypatch.setattr(stopping, "AGAIN", 0.0)

    def report(line):
        if line.startswith("step 1 "):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        tiny_run(tmp_path, report)


def test_the_newest_two_checkpoints_are_kept(tmp_path):
    tiny_run(tmp_path, steps=9, checkpoint_every=2)
    names = [path.name for path in checkpoint.checkpoints(tmp_path)]
    assert names == ["step-00000008.safetensors", "step-00000009.safetensors"]


def test_the_rate_cools_down_over_the_last_part_of_the_steps_also_after_a_pause(tmp_path):
    changes = {"steps": 12, "cool_down": 0.5, "log_every": 1}
    whole = tiny_run(tmp_path / "whole", **changes)
    rates = [entry["lr"] / TINY.lr for entry in read_log(tmp_path / "whole" / "log.jsonl")]
    half_cosine = [(1 + math.cos(math.pi * k / 6)) / 2 for k in range(6)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1, *half_cosine])

    def report(line):
        if line.startswith("step 8 "):
            os.kill(os.getpid(), signal.SIGTERM)

    assert not tiny_run(tmp_path / "paused", report, **changes).finished
    again = tiny_run(tmp_path / "paused", resume=True, **changes)
    assert_same(again.checkpoint, whole.checkpoint)
    assert ", falling over the last 50% of the run" in (
        tmp_path / "whole" / "pipeline" / "README.md"
    ).read_text(encoding="utf-8")


def test_the_rate_cools_down_over_the_last_part_of_the_minutes(tmp_path, monkeypatch):
    ticks = count(step=3)  # each look at the clock is three seconds after the one before
    monkeypatch.setattr(running.time, "perf_counter", lambda: next(ticks))
    tiny_run(tmp_path, steps=None, minutes=1, cool_down=0.5, log_every=1, warm_up=1)
    log = read_log(tmp_path / "log.jsonl")
    assert [entry["seconds"] for entry in log] == [3 * k for k in range(1, 21)]
    half_cosine = [(1 + math.cos(math.pi * k / 10)) / 2 for k in range(10)]
    rates = [entry["lr"] / TINY.lr for entry in log]
    assert rates == pytest.approx([1.0] * 10 + half_cosine)


def test_minutes_end_a_run_as_steps_do(tmp_path):
    outcome = tiny_run(tmp_path, steps=None, minutes=1e-6)
    assert outcome.finished
    assert outcome.step == 1
    assert (tmp_path / "pipeline").is_dir()


def test_a_run_goes_on_with_the_images_that_it_was_begun_with(tmp_path):
    """Pixels from Python are in no folder: without them the run would go on with the butterflies of `data`."""
    given, found = tmp_path / "given", tmp_path / "found"
    tiny_run(given, steps=3)
    with pytest.raises(RunError, match=r"goes on with its pixels, .* pixels=pixels, resume=True\)"):
        run(TINY, given, resume=True)
    larger = replace(TINY, model=replace(TINY.model, sample_size=8), images=5, steps=3)
    run(larger, found, report=lambda line: None)
    with pytest.raises(RunError, match=r"goes on without pixels, .* train --resume --out"):
        run(larger, found, pixels=PIXELS, resume=True)
    assert run(replace(larger, steps=6), found, resume=True, report=lambda line: None).finished


@pytest.mark.parametrize(("accumulate", "used"), [(1, "reduce-overhead"), (2, "default")])
def test_no_cuda_graph_is_recorded_where_batches_accumulate(
    tmp_path, monkeypatch, accumulate, used
):
    modes = []

    def not_compiled(function, mode):
        modes.append(mode)
        return function

    monkeypatch.setattr(speed, "compiled", not_compiled)
    tiny_run(tmp_path, steps=1, accumulate=accumulate, compile="reduce-overhead")
    assert modes == [used]


def test_folders_and_images_that_do_not_fit_are_refused(whole, tmp_path):
    folder, _ = whole
    with pytest.raises(RunError, match="holds a run already"):
        tiny_run(folder)
    with pytest.raises(RunError, match=r"other settings: lr was 0\.01 and is 0\.5"):
        tiny_run(folder, resume=True, lr=0.5)
    with pytest.raises(RunError, match="there is no run"):
        tiny_run(tmp_path / "nothing", resume=True)
    with pytest.raises(ValueError, match=r"takes images of \[3, 4, 4\]"):
        run(TINY, tmp_path / "grey", pixels=PIXELS[:, :1])
    with pytest.raises(ValueError, match="only 4"):
        run(TINY, tmp_path / "few", pixels=PIXELS[:4])


def test_batches_prepared_ahead_are_the_same_batches():
    wanted = [torch.full((2,), float(i)) for i in range(20)]
    got = prepared_ahead(iter(wanted), torch.device("cpu"))
    for batch in wanted[:10]:
        assert torch.equal(next(got), batch)
    got.close()
