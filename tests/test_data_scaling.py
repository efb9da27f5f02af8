"""Pixels and samples, digits, batches: exact on every value, and kind about wrong input."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from course_utils import data

ALL = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


def test_to_model_is_the_line_through_both_ends():
    sample = data.to_model(ALL)
    assert sample.dtype == torch.float32
    assert sample.min() == -1
    assert sample.max() == 1
    exact = np.arange(256) * 2.0 / 255 - 1
    np.testing.assert_allclose(sample.flatten().numpy(), exact, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_pixel_survives_the_way_there_and_back(dtype):
    back = data.to_pixels(data.to_model(ALL).to(dtype))
    # bfloat16 has 8 bits of precision: less than the 256 levels need near ±1, so one level may be lost.
    assert (back.int() - ALL.int()).abs().max() <= (1 if dtype == torch.bfloat16 else 0)
    assert back.dtype == torch.uint8


def test_to_pixels_rounds_and_clamps_as_diffusers_does():
    sample = torch.linspace(-1.5, 1.5, 30001, requires_grad=True)
    # VaeImageProcessor: denormalize, then numpy_to_pil.
    theirs = ((sample.detach() / 2 + 0.5).clamp(0, 1).numpy() * 255).round().astype("uint8")
    ours = data.to_pixels(sample).numpy()
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert (
        ours != theirs
    ).mean() < 1e-3  # only where a value lies between two levels to the last bit
    assert ours[0] == 0
    assert ours[-1] == 255


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(3), torch.zeros(3, dtype=torch.int64), np.zeros(3, np.uint8), [0, 1], None],
)
def test_to_model_wants_uint8(wrong):
    with pytest.raises(ValueError, match="uint8; got"):
        data.to_model(wrong)


@pytest.mark.parametrize("wrong", [ALL, np.zeros(3), "x", None])
def test_to_pixels_wants_floats(wrong):
    with pytest.raises(ValueError, match="floating-point tensor"):
        data.to_pixels(wrong)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_to_pixels_refuses_what_is_no_picture(value):
    sample = torch.zeros(2, 3)
    sample[1, 2] = value
    with pytest.raises(ValueError, match="1 values of 6"):
        data.to_pixels(sample)


def test_digits_are_those_of_scikit_learn():
    images, labels = data.digits()
    theirs = load_digits()
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == torch.uint8
    np.testing.assert_array_equal(np.round(images[:, 0].numpy() / 255 * 16), theirs.images)
    np.testing.assert_array_equal(labels.numpy(), theirs.target)
    assert images.max() == 255


@pytest.mark.parametrize("size", [16, 28, 32])
def test_large_digits_are_pillows_bicubic_in_floating_point(size):
    images, _ = data.digits(size)
    assert images.shape == (1797, 1, size, size)
    for ours, original in zip(images[::20, 0].numpy(), load_digits().images[::20], strict=True):
        pillow = Image.fromarray((original * 255 / 16).astype(np.float32))
        pillow = np.asarray(pillow.resize((size, size), Image.Resampling.BICUBIC)).clip(0, 255)
        assert np.abs(ours - pillow).max() < 0.501  # rounding alone


@pytest.mark.parametrize("size", [7, 0, 8.0, "16", True])
def test_digits_say_which_sizes_there_are(size):
    with pytest.raises(ValueError, match="at least 8"):
        data.digits(size)


def numbered(n: int) -> torch.Tensor:
    """Images that tell their number: image k holds k on its left half, 255 − k on its right."""
    pixels = torch.arange(n, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 2, 4)
    pixels[..., 2:] = 255 - pixels[..., 2:]
    return pixels


def left(batch: torch.Tensor) -> torch.Tensor:
    return data.to_pixels(batch)[:, 0, 0, 0].int()


def take(iterator, n):
    return [next(iterator) for _ in range(n)]


def test_an_epoch_has_every_image_once_and_the_next_another_order():
    epochs = data.batches(numbered(20), 5, seed=3)
    first, second = (torch.cat([left(batch) for batch in take(epochs, 4)]) for _ in range(2))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(20))
    assert first.tolist() != second.tolist()
    assert first.tolist() != list(range(20))


def test_batches_are_samples_and_the_remainder_is_dropped():
    epochs = data.batches(numbered(11), 4)
    for _ in range(3):
        seen = torch.cat([left(batch) for batch in take(epochs, 2)])
        assert len(seen.unique()) == 8
    batch = next(epochs)
    assert batch.dtype == torch.float32
    assert batch.shape == (4, 1, 2, 4)


def test_a_cut_off_run_goes_on_as_if_it_had_not_been():
    whole = take(data.batches(numbered(23), 4, seed=1, flip=True), 40)
    for start in (0, 3, 5, 17):
        resumed = take(data.batches(numbered(23), 4, seed=1, flip=True, start=start), 20)
        assert all(torch.equal(a, b) for a, b in zip(resumed, whole[start:], strict=False))


def test_seeds_differ():
    runs = {
        tuple(left(next(data.batches(numbered(100), 10, seed=seed))).tolist()) for seed in range(20)
    }
    assert len(runs) == 20


def test_flip_mirrors_half_of_the_images_and_nothing_else():
    flipped = 0
    for batch in take(data.batches(numbered(100), 50, flip=True), 40):
        pixels = data.to_pixels(batch).int()
        # Numbers below 100 belong on the left of an image that is not mirrored.
        mirrored = pixels[:, 0, 0, 0] >= 100
        assert torch.equal(
            pixels[:, :, :, 0] + pixels[:, :, :, 3], torch.full((50, 1, 2), 255).int()
        )
        flipped += int(mirrored.sum())
    assert 900 < flipped < 1100  # 2,000 coins: 1000 ± 4.5 standard deviations
    assert all((left(batch) < 100).all() for batch in take(data.batches(numbered(100), 50), 10))


@pytest.mark.parametrize(
    ("pixels", "size", "options", "message"),
    [
        (torch.zeros(4, 1, 2, 2), 2, {}, "uint8 tensor"),
        (numbered(4)[0], 2, {}, r"\[N, C, H, W\]"),
        (None, 2, {}, "NoneType"),
        (numbered(4), 5, {}, "1 … 4"),
        (numbered(4), 0, {}, "1 … 4"),
        (numbered(4), 2, {"start": -1}, "negative"),
        (numbered(4), 2, {"seed": -1}, "negative"),
    ],
)
def test_batches_check_before_the_first_is_asked_for(pixels, size, options, message):
    with pytest.raises(ValueError, match=message):
        data.batches(pixels, size, **options)


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, torch, numpy, PIL.Image; before = set(sys.modules); import course_utils.data;"
        "new = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new & {'sklearn', 'scipy', 'pyarrow', 'pandas', 'huggingface_hub', 'diffusers', 'matplotlib'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
