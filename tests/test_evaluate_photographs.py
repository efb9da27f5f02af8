"""The classifier of photographs: how it is trained, on pictures made here, and what the shipped one claims."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F

from course_utils.authoring import train_photo_features as training
from course_utils.data import butterflies, load_images, to_model
from course_utils.evaluate import frechet_distance, photo_features, photo_reference_features
from course_utils.evaluate import photographs as module
from course_utils.evaluate.photographs import FOLDER, PhotoClassifier, coarse

REAL = Path(os.environ.get("COURSE_TEST_DATA", "")) / "cifar10/train-00000-of-00001.parquet"
with_photographs = pytest.mark.skipif(
    "COURSE_TEST_DATA" not in os.environ, reason="COURSE_TEST_DATA names no folder of real data"
)


# --- training -----------------------------------------------------------------------------------------------


def test_pictures_are_shifted_by_up_to_four_pixels_and_half_of_them_are_mirrored():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (200, 3, 32, 32), dtype=torch.uint8, generator=generator)
    torch.manual_seed(0)
    moved = training.moved(pixels)
    assert (moved.dtype, moved.shape) == (torch.uint8, pixels.shape)
    padded = F.pad(pixels.float(), (4, 4, 4, 4), mode="reflect")
    seen = []
    for i in range(200):
        ways = [
            (dy, dx, mirrored)
            for dy in range(9)
            for dx in range(9)
            for mirrored, picture in enumerate((moved[i], moved[i].flip(-1)))
            if torch.equal(padded[i, :, dy : dy + 32, dx : dx + 32], picture.float())
        ]
        assert len(ways) == 1
        seen += ways
    rows, columns, mirrored = zip(*seen, strict=True)
    assert set(rows) == set(columns) == set(range(9))
    assert 70 < sum(mirrored) < 130


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of 96 pictures of three kinds that anything can tell, and what the script made of it."""
    photos, out = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("made") / "features"
    generator = torch.Generator().manual_seed(0)
    for kind, colour in enumerate([(220, 40, 40), (40, 220, 40), (40, 40, 220)]):
        (photos / f"kind-{kind}").mkdir()
        for i in range(32):
            noise = torch.randint(-40, 36, (32, 32, 3), generator=generator)
            picture = (torch.tensor(colour) + noise).byte().numpy()
            Image.fromarray(picture).save(photos / f"kind-{kind}" / f"{i}.png")
    options = ["--steps", "12", "--batch-size", "16", "--held-out", "30", "--lr", "0.003"]
    with pytest.MonkeyPatch.context() as patch:
        load = load_images  # a folder comes kind by kind; the script expects them mixed

        def mixed(*args):
            photos = load(*args, progress=False)
            order = torch.randperm(len(photos), generator=torch.Generator().manual_seed(0))
            photos.pixels[:], photos.labels[:] = photos.pixels[order], photos.labels[order]
            return photos

        patch.setattr(training, "load_images", mixed)
        training.main(["--data", str(photos), "--out", str(out), *options])
    return photos, out


def test_the_script_trains_on_all_but_the_last_and_says_how_well(made):
    photos, out = made
    told = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert (told["images"], told["learned"], told["held_out"], told["kinds"]) == (96, 66, 30, 3)
    assert told["log"][1]["step"] == 12
    assert 0 <= told["accuracy"]["kind"] <= 1
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"{told['accuracy']['kind']:.2%} of the kinds" in card
    assert str(photos.parent) not in card + json.dumps(told)
    hashes = json.loads((out / "sha256.json").read_text(encoding="utf-8"))
    assert set(hashes) == {"classifier.safetensors", "reference.safetensors", "training.json"}
    for name, expected in hashes.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == expected
    assert (out / "classifier.safetensors").stat().st_size < 1.6e6


def test_what_it_leaves_is_what_the_features_are_read_from(made, monkeypatch):
    photos, out = made
    module.shipped_photo_classifier.cache_clear()
    module.photo_reference_features.cache_clear()
    monkeypatch.setattr(module, "FOLDER", out)
    try:
        reference = photo_reference_features()
        order = torch.randperm(96, generator=torch.Generator().manual_seed(0))[-30:]
        pixels = load_images(photos, 32, progress=False).pixels[order]
        features = photo_features(to_model(pixels))
        torch.testing.assert_close(features, reference, atol=5e-3, rtol=5e-3)
        assert features.mean(0).abs().max() < 0.02
        assert (features.var(0) - 1).abs().max() < 0.02
    finally:
        module.shipped_photo_classifier.cache_clear()
        module.photo_reference_features.cache_clear()


def test_photographs_without_labels_are_refused(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "one.png")
    with pytest.raises(ValueError, match="needs a label"):
        training.labelled(str(tmp_path), 1)
    for kind in ("a", "b"):
        (tmp_path / "kinds" / kind).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "kinds" / kind / "one.png")
    with pytest.raises(ValueError, match="2 photographs cannot be held out of 2"):
        training.labelled(str(tmp_path / "kinds"), 2)


def test_the_coarse_picture_is_the_mean_of_squares():
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    right = images.reshape(2, 3, 4, 8, 4, 8).mean((3, 5)).flatten(1)
    torch.testing.assert_close(coarse(images), right)


def test_the_answers_are_kinds_and_colours():
    scores, colours = PhotoClassifier(7).eval()(torch.zeros(2, 3, 32, 32))
    assert (scores.shape, colours.shape) == ((2, 7), (2, 48))


# --- what is shipped ----------------------------------------------------------------------------------------


def test_missing_weights_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    module.shipped_photo_classifier.cache_clear()
    module.photo_reference_features.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"classifier.safetensors is missing.*train_photo"):
        photo_features(torch.zeros(1, 3, 32, 32))
    with pytest.raises(FileNotFoundError, match=r"reference.safetensors is missing"):
        photo_reference_features()


def test_the_shipped_card_and_record_agree():
    told = json.loads((FOLDER / "training.json").read_text(encoding="utf-8"))
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert told["accuracy"]["kind"] > 0.8
    assert told["held_out"] == module.HELD_OUT
    assert f"{told['accuracy']['kind']:.2%}" in card
    assert "compare with no published FID" in " ".join(card.split())
    parameters = sum(p.numel() for p in PhotoClassifier(told["kinds"]).parameters())
    assert told["parameters"] == parameters
    weights = load_file(FOLDER / "classifier.safetensors").values()
    assert {w.dtype for w in weights} == {torch.float16}


def test_over_the_reference_every_feature_has_mean_0_and_variance_1():
    features = photo_reference_features()
    assert features.shape == (5000, 64)
    assert features.mean(0).abs().max() < 0.02
    assert (features.var(0) - 1).abs().max() < 0.02


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([[1.0]], "got list"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "to_model first.*got torch.uint8"),
        (torch.zeros(2, 1, 32, 32), r"shape \[N, 3, H, W\]; got \[2, 1, 32, 32\]"),
        (torch.full((1, 3, 32, 32), torch.nan), "must be finite"),
    ],
)
def test_what_is_no_picture_is_refused(images, message):
    with pytest.raises(ValueError, match=message):
        photo_features(images)


def test_other_sizes_are_resized_and_values_clipped():
    images = to_model(butterflies(4))
    assert photo_features(images[:0]).shape == (0, 64)
    torch.testing.assert_close(
        photo_features(3 * images), photo_features((3 * images).clamp(-1, 1))
    )
    larger = images.repeat_interleave(2, -1).repeat_interleave(2, -2)
    nearest = torch.cdist(photo_features(larger), photo_features(images)).argmin(1)
    assert nearest.tolist() == [0, 1, 2, 3]


@pytest.fixture(scope="module")
def photographs():
    """Photographs from the end of the set, where the classifier did not learn, and their labels."""
    photos = load_images(REAL, progress=False)
    return to_model(photos.pixels[-1000:]), photos.labels[-1000:]


@with_photographs
def test_it_tells_what_is_on_photographs_that_it_has_not_learned_from(photographs):
    images, labels = photographs
    claimed = json.loads((FOLDER / "training.json").read_text(encoding="utf-8"))["accuracy"]["kind"]
    with torch.no_grad():
        scores, _ = module.shipped_photo_classifier()(images)
    told = (scores.argmax(1) == labels).float().mean().item()
    assert told == pytest.approx(claimed, abs=0.04)
    features = photo_features(images)
    torch.testing.assert_close(features, photo_reference_features()[-1000:], atol=0.03, rtol=0.01)


@with_photographs
def test_every_damage_is_further_than_photographs_are(photographs):
    images, _ = photographs
    images = images[:500]
    reference = photo_reference_features()[:4000]
    good = frechet_distance(photo_features(images), reference)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    damaged = {
        "noise": images + 0.2 * noise,
        "blur": F.avg_pool2d(images, 3, 1, 1, count_include_pad=False),
        "torn": torch.cat([images[..., :16], images.roll(1, 0)[..., 16:]], dim=-1),
        "pale": 0.5 * images,
        "one colour cast": images + torch.tensor([0.3, 0.0, -0.3])[:, None, None],
        "a few again and again": images[:5].repeat(100, 1, 1, 1),
    }
    for name, pictures in damaged.items():
        assert frechet_distance(photo_features(pictures), reference) > 1.2 * good, name
