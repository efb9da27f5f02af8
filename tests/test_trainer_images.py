"""Where a run keeps its images changes nothing about it; broken ones do not end it, and are named."""

import multiprocessing
import os
import signal
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tiny_training import PIXELS, TINY, assert_same

from course_utils.data.streaming import DiskImages
from course_utils.trainer import RunError, images, run
from course_utils.trainer.images import feed, load

CPU = torch.device("cpu")


@pytest.fixture
def photos(tmp_path):
    """The tiny run's images as files."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / f"{i:02}.png")
    return folder


def settings(photos, **changes):
    return replace(TINY, data=str(photos), images=None, **changes)


def quiet_run(settings, out, **options):
    lines = []
    return run(settings, out, report=lines.append, **options), lines


def test_a_run_from_the_disk_is_the_run_from_memory_also_after_a_pause(photos, tmp_path):
    """With dropout, whose random numbers the reading must leave alone."""
    s = settings(photos, model=replace(TINY.model, dropout=0.2))
    memory, _ = quiet_run(replace(s, images_in="memory"), tmp_path / "memory")
    disk = replace(s, images_in="disk")
    quiet_run(replace(disk, steps=3), tmp_path / "disk")
    outcome, _ = quiet_run(disk, tmp_path / "disk", resume=True)
    assert_same(memory.checkpoint, outcome.checkpoint)


@pytest.mark.parametrize(
    ("free", "images_in", "kept"),
    [
        (10**6, "auto", torch.Tensor),
        (1000, "auto", DiskImages),  # less than twice 23 · 48 bytes
        (1000, "memory", torch.Tensor),
        (10**6, "disk", DiskImages),
    ],
)
def test_images_stay_on_the_disk_where_they_do_not_fit(photos, monkeypatch, free, images_in, kept):
    monkeypatch.setattr(images, "free_memory", lambda: free)
    assert type(load(settings(photos, images_in=images_in)).images) is kept


def test_processes_on_one_machine_share_its_memory(photos, monkeypatch):
    s = settings(photos)
    monkeypatch.setattr(images, "free_memory", lambda: 2 * PIXELS.nbytes)
    assert type(load(s).images) is torch.Tensor
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert type(load(s).images) is DiskImages


def test_a_run_goes_on_from_the_place_that_it_was_begun_from(photos, tmp_path, monkeypatch):
    """With a broken image, which is counted on the disk and left out in memory."""
    (photos / "05.png").write_bytes(b"broken")
    monkeypatch.setattr(images, "free_memory", lambda: 0)
    quiet_run(settings(photos, steps=3), tmp_path / "run")
    monkeypatch.undo()
    outcome, _ = quiet_run(settings(photos), tmp_path / "run", resume=True)
    whole, _ = quiet_run(settings(photos, images_in="disk"), tmp_path / "whole")
    assert_same(outcome.checkpoint, whole.checkpoint)


def test_a_run_does_not_go_on_with_other_images(photos, tmp_path):
    quiet_run(settings(photos, steps=3), tmp_path / "run")
    (photos / "05.png").unlink()
    with pytest.raises(RunError, match="begun with 23 images, and now there are 22: put back"):
        quiet_run(settings(photos), tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("limit", "free"), [("max", None), (str(10**6), 10**6 - 700_000 + 300_000), (None, None)]
)
def test_a_container_may_have_less_memory_than_its_machine(tmp_path, limit, free):
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text("700000\n")
        (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 300000\nactive_file 7\n")
    found = images.free_memory(tmp_path)
    assert found == free if free else found > 10**7


def test_free_memory_is_a_number_of_bytes():
    assert 10**7 < images.free_memory() < 10**15


@pytest.mark.parametrize("images_in", ["memory", "disk"])
def test_broken_images_are_named_once_and_counted_in_the_card(photos, tmp_path, images_in):
    (photos / "03.png").write_bytes(b"no image")
    (photos / "07.png").write_bytes((photos / "07.png").read_bytes()[:50])
    s = settings(photos, images_in=images_in)
    out = tmp_path / "run"
    with (
        pytest.warns(UserWarning, match="skipped 2 of 23")
        if images_in == "memory"
        else nullcontext()
    ):
        outcome, lines = quiet_run(replace(s, steps=5), out)
        again, more = quiet_run(replace(s, steps=8), out, resume=True)
    assert outcome.finished
    assert again.finished
    names = (out / "skipped.txt").read_text().splitlines()
    assert sorted(name.split(" ")[0] for name in names) == ["03.png", "07.png"]
    said = [line for line in lines + more if "cannot be read" in line]
    assert sum(int(line.split(" ")[0]) for line in said) == 2
    assert "03.png (not an image" in " ".join(said)
    assert "| could not be read | 2 images |" in (out / "pipeline" / "README.md").read_text()


def test_where_nothing_can_be_read_the_run_ends_with_its_checkpoint_intact(photos, tmp_path):
    s, out = settings(photos, images_in="disk"), tmp_path / "run"
    quiet_run(replace(s, steps=3), out)
    for path in photos.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(
        RunError, match=r"too many images in .* cannot be read.*step-00000003.*is good"
    ):
        quiet_run(s, out, resume=True)


def test_a_ctrl_c_that_reaches_the_workers_first_still_ends_in_a_checkpoint(photos, tmp_path):
    """A terminal sends it to the program and to all processes that it has started."""

    def report(line):
        if line.startswith("step 1 "):
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGINT)
        if line.startswith("step 30 "):  # far beyond what the workers had ready
            os.kill(os.getpid(), signal.SIGINT)

    s = settings(photos, images_in="disk", steps=99, checkpoint_every=99)
    outcome = run(s, tmp_path / "run", report=report)
    assert outcome.checkpoint.name == "step-00000031.safetensors"


def test_a_process_reads_its_share_of_a_batch_alone(photos):
    s = settings(photos)
    there, share = DiskImages(photos, 4), slice(2, 5)
    whole = next(feed(PIXELS, s, CPU, 3))
    ours = next(feed(there, s, CPU, 3, share=share))
    assert torch.equal(ours[share], whole[share])
    assert (ours[:2] == -1).all()


def test_grey_images_become_what_the_network_takes(tmp_path):
    for i in range(6):
        Image.new("L", (9, 7), 40 * i).save(tmp_path / f"{i}.png")
    for kept in ("memory", "disk"):
        x0 = next(feed(load(settings(tmp_path, images_in=kept)).images, TINY, CPU, 0))
        assert x0.shape == (5, 3, 4, 4)
        assert torch.equal(x0[:, 0], x0[:, 2])


def test_a_place_that_cannot_be_is_refused(photos, tmp_path):
    with pytest.raises(ValueError, match="images_in is 'gpu', but this device is a cpu"):
        quiet_run(settings(photos, images_in="gpu"), tmp_path / "run")
    with pytest.raises(ValueError, match="are in memory already"):
        run(settings(photos, images_in="disk"), tmp_path / "run", pixels=PIXELS)
    with pytest.raises(ValueError, match="only 23: choose a smaller batch"):
        quiet_run(settings(photos, images_in="disk", batch=24), tmp_path / "run")
    assert not (tmp_path / "run").exists()  # so that the next attempt begins anew
