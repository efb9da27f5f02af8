"""The shipped weights: whole, small, opened by plain diffusers, and good at what they claim."""

import hashlib
import json

import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline

from course_utils.authoring.shipping import write_hashes
from course_utils.authoring.train_butterflies import make_unet, nearest
from course_utils.data import butterflies, to_model
from course_utils.diffusion import forward, schedule
from course_utils.interop.hub import ASSETS, SHIPPED

FOLDER = SHIPPED["butterflies"]
FOLDERS = sorted(folder for folder in ASSETS.iterdir() if folder.is_dir())


@pytest.fixture(scope="module")
def pipeline():
    return DDPMPipeline.from_pretrained(FOLDER)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_file_is_listed_and_has_its_hash(folder):
    hashes = json.loads((folder / "sha256.json").read_text(encoding="utf-8"))
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(hashes) == files - {"sha256.json", "README.md"}
    for name, expected in hashes.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected, name


def test_what_is_shipped_is_small():
    assert len(FOLDERS) == 5
    assert sum(p.stat().st_size for p in ASSETS.rglob("*")) <= 16_000_000


def test_the_card_says_what_the_log_says():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    log = json.loads((FOLDER / "training.json").read_text(encoding="utf-8"))
    for said in (log["command"], log["device"], log["date"], f"{log['steps']:,} steps"):
        assert said in card
    losses = [entry["loss"] for entry in log["log"] if "loss" in entry]
    assert losses[-1] < losses[0] / 3


def test_plain_diffusers_opens_it_in_single_precision(pipeline):
    parameters = list(pipeline.unet.parameters())
    assert {p.dtype for p in parameters} == {torch.float32}
    assert sum(p.numel() for p in parameters) == sum(p.numel() for p in make_unet().parameters())


def test_it_knows_noise_on_butterflies_that_it_never_saw(pipeline):
    """Of the noise's power it misses at most these shares, where guessing nothing misses all of it."""
    x0 = to_model(butterflies(16, seed=77))
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    for t, most in ((100, 0.05), (300, 0.03), (700, 0.01)):
        x_t = forward.q_sample(schedule.linear(), x0, t, eps)
        with torch.no_grad():
            estimate = pipeline.unet(x_t, t).sample
        assert (estimate - eps).square().mean() < most


def test_its_butterflies_are_no_copies_and_all_different(pipeline):
    """Copies would lie at 0; drawings that it never saw lie at 0.3 from the nearest of 500 of its training images."""
    ddim = DDIMPipeline(unet=pipeline.unet, scheduler=pipeline.scheduler)
    ddim.set_progress_bar_config(disable=True)
    images = ddim(
        batch_size=6,
        num_inference_steps=10,
        generator=torch.manual_seed(0),
        output_type="np",
    ).images
    samples = torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1
    distance, _ = nearest(samples, butterflies(500, seed=0))
    assert distance.min() > 0.15
    apart = torch.cdist(samples.flatten(1), samples.flatten(1)) + 1e9 * torch.eye(len(samples))
    assert apart.min() / samples[0].numel() ** 0.5 > 0.2


def test_nearest_finds_a_planted_copy():
    images = butterflies(20, seed=3)
    distance, index = nearest(to_model(images[[7, 11]]), images)
    assert index.tolist() == [7, 11]
    assert distance.max() < 1e-3


def test_hashes_notice_a_changed_file(tmp_path):
    (tmp_path / "weights").write_bytes(b"1")
    write_hashes(tmp_path)
    first = (tmp_path / "sha256.json").read_text()
    (tmp_path / "weights").write_bytes(b"2")
    write_hashes(tmp_path)
    assert (tmp_path / "sha256.json").read_text() != first
