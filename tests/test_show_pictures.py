"""Samples as pictures, read back pixel by pixel."""

import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from PIL import Image
from show_page import SEEN, page, picture

from course_utils import show


def shades(count, channels=1, side=2):
    """A batch of flat samples, the k-th of level 20 k + 10 of 255."""
    levels = (torch.arange(count) * 20 + 10) / 127.5 - 1
    return levels.view(-1, 1, 1, 1).expand(count, channels, side, side).clone()


def levels(image) -> set[int]:
    return set(np.unique(np.asarray(image.convert("RGB"))).tolist())


def test_every_pixel_of_a_sample_arrives_enlarged_and_unchanged():
    pixels = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8, generator=torch.manual_seed(0))
    with page() as shown:
        show.display_sample(pixels / 127.5 - 1, 3)
    image = np.asarray(picture(shown[0]).convert("RGB"))
    expected = np.kron(pixels[0].permute(1, 2, 0).numpy(), np.ones((64, 64, 1), np.uint8))
    np.testing.assert_array_equal(image, expected)
    assert shown[0]["metadata"]["image/png"]["width"] == 256


def test_values_beyond_the_range_are_clamped():
    sample = torch.tensor([[-7.0, -1.0], [1.0, 99.0]]).view(1, 1, 2, 2)
    with page() as shown:
        show.display_sample(sample, 0)
    corners = np.asarray(picture(shown[0]))[:: 256 + 255, :: 256 + 255]
    np.testing.assert_array_equal(corners, [[0, 0], [255, 255]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_and_anything_that_needs_a_gradient(dtype):
    sample = shades(2).to(dtype).requires_grad_()
    with page() as shown:
        show.display_sample(sample, 0)
    assert {10, 30} <= levels(picture(shown[0]))
    assert sample.shape == (2, 1, 2, 2)


def test_step_is_the_title():
    with page() as shown:
        show.display_sample(shades(4, 3, 32), torch.tensor(950))
        show.display_sample(shades(1, 1, 28), 0)
    assert shown[1]["data"]["text/plain"] == "step 950 · 4 samples of 32 × 32 pixels, in colour."
    assert "<strong>step 950</strong>" in shown[1]["data"]["text/html"]
    assert shown[3]["data"]["text/plain"] == "step 0 · 1 sample of 28 × 28 pixels, in grey."


def test_a_handle_replaces_the_picture_in_place():
    handle = None
    with page() as shown:
        for i in range(3):
            handle = show.display_sample(shades(i + 1), i, handle)
    ids = [bundle["transient"]["display_id"] for bundle in shown]
    assert ids == ids[:2] * 3
    assert ids[0] != ids[1]
    assert [bundle["update"] for bundle in shown] == [False] * 2 + [True] * 4
    assert shown[-1]["data"]["text/plain"].startswith("step 2 · 3 samples")


def test_each_call_without_a_handle_gets_a_place_of_its_own():
    with page() as shown:
        show.display_sample(shades(1), 0)
        show.display_sample(shades(1), 1)
    assert len({bundle["transient"]["display_id"] for bundle in shown}) == 4


def test_a_handle_as_the_last_value_of_a_cell_prints_nothing():
    with page():
        handle = show.display_sample(shades(1), 0)
        assert DisplayFormatter().format(handle) == ({}, {})


BAD = {
    "NaN": (torch.full((1, 1, 2, 2), float("nan")), "NaN"),
    "infinite": (torch.full((1, 1, 2, 2), float("inf")), "infinite"),
    "one sample": (torch.zeros(3, 8, 8), r"got \[3, 8, 8\].*sample\[None\]"),
    "flat": (torch.zeros(8, 8), r"\[B, C, H, W\]; got \[8, 8\]"),
    "pixels": (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "to_model"),
    "whole": (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "floating point"),
    "channels last": (torch.zeros(1, 8, 8, 3), r"permute\(0, 3, 1, 2\)"),
    "two channels": (torch.zeros(1, 2, 8, 8), "1 channel"),
    "empty": (torch.zeros(0, 3, 8, 8), "no sample"),
    "words": ("noise", "got str"),
    "nothing": (None, "got NoneType"),
    "mixed sizes": ([Image.new("L", (4, 4)), Image.new("L", (5, 4))], "one size; got"),
}


@pytest.mark.parametrize(("sample", "message"), BAD.values(), ids=BAD)
def test_what_is_no_batch_of_samples(sample, message):
    with page() as shown:
        with pytest.raises(ValueError, match=message):
            show.display_sample(sample, 0)
        with pytest.raises(ValueError, match=message):
            show.grid(sample, SEEN)
        with pytest.raises(ValueError, match=message):
            show.strip([sample], ["t = 0"], SEEN)
    assert shown == []


@pytest.mark.parametrize("arguments", [(1.5,), ("3",), (0, "handle")])
def test_step_and_handle_are_checked(arguments):
    with (
        page(),
        pytest.raises(ValueError, match=r"whole number|must be what display_sample returned"),
    ):
        show.display_sample(shades(1), *arguments)


def test_grid_reads_row_by_row():
    with page() as shown:
        show.grid(shades(6), SEEN, columns=3)
    image = np.asarray(picture(shown[0]))
    height, width = image.shape
    centres = image[[height // 4, 3 * height // 4]][:, [width // 6, width // 2, 5 * width // 6]]
    np.testing.assert_array_equal(centres, [[10, 30, 50], [70, 90, 110]])


@pytest.mark.parametrize("count", [1, 3, 5, 9, 16, 40])
def test_pictures_fit_the_page_and_are_large_enough_without_the_width(count):
    with page() as shown:
        show.display_sample(shades(count, side=32), 0)
    width = shown[0]["metadata"]["image/png"]["width"]
    assert 256 <= width <= 720
    assert picture(shown[0]).width == 2 * width


def test_large_images_shrink_to_the_page():
    with page() as shown:
        show.grid(shades(8, 3, 256), SEEN)
    assert picture(shown[0]).width <= 1440
    assert {10, 150} <= levels(picture(shown[0]))


def test_titles_are_written_on_the_card_and_counted():
    with page() as shown:
        show.grid(shades(2, side=8), SEEN, titles=["x₀", "ᾱ"])
    image = np.asarray(picture(shown[0]))
    first = np.argmax((image == 10).any(axis=1))  # the row where the samples start
    assert (image[:first] < 100).any()
    assert (image[:, 0] == 255).all()
    with page(), pytest.raises(ValueError, match="each of the 2 pictures; got 1"):
        show.grid(shades(2), SEEN, titles=["x₀"])


def test_columns_are_checked():
    for columns in (0, -1):
        with page(), pytest.raises(ValueError, match="at least 1"):
            show.grid(shades(2), SEEN, columns=columns)


def test_compare_puts_groups_side_by_side():
    with page() as shown:
        show.compare({"data": shades(4), "model": shades(8)[4:]}, SEEN)
    image = np.asarray(picture(shown[0]))
    half = image.shape[1] // 2
    assert {10, 30, 50, 70} <= set(np.unique(image[:, :half]).tolist())
    assert {90, 110, 130, 150} <= set(np.unique(image[:, half:]).tolist())
    assert not {90, 110, 130, 150} & set(np.unique(image[60:, :half]).tolist())
    for nothing in ({}, [], None):
        with page(), pytest.raises(ValueError, match="dict of samples by name"):
            show.compare(nothing, SEEN)


def test_strip_runs_from_left_to_right_with_samples_below_each_other():
    frames = [shades(2), shades(4)[2:], shades(6)[4:]]
    with page() as shown:
        show.strip(frames, ["t = 0", "t = 1", "t = 2"], SEEN)
    image = np.asarray(picture(shown[0]))
    lowest = image[-30, :][image[-30, :] != 255]
    assert list(dict.fromkeys(lowest.tolist())) == [30, 70, 110]
    with page(), pytest.raises(ValueError, match="each of the 3 pictures; got 2"):
        show.strip(frames, ["t = 0", "t = 1"], SEEN)
    with page(), pytest.raises(ValueError, match="no frames"):
        show.strip([], [], SEEN)


def test_a_chart_in_a_strip_keeps_its_size():
    charts = [show.axes(size=(340, 200))[0] for _ in range(4)]
    with page() as shown:
        show.strip(charts, range(4), SEEN)
    width, height = picture(shown[0]).size
    assert 2 * 2 * 340 <= width < 3 * 2 * 340  # two beside each other, at two pixels to one of CSS
    assert height > 2 * 2 * 200
