"""The slider: the picture follows it, and a still one with words stands for it elsewhere."""

import io

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image
from show_page import SEEN, page, picture

from course_utils import show
from course_utils.show import widgets

VIEW = "application/vnd.jupyter.widget-view+json"


def flat(level, **_):
    """A flat grey sample whose level of 255 is the slider's value."""
    return torch.full((1, 1, 4, 4), level / 127.5 - 1)


def moved(values, render, **choices):
    """The widgets of a slider: the slider, its drop-downs, its picture."""
    box = widgets._View(list(values), render, "t", choices).box()
    row, image = box.children
    return *row.children, image


def level(image) -> int:
    (only,) = np.unique(np.asarray(Image.open(io.BytesIO(image.value)).convert("L")))
    return int(only)


def test_the_picture_follows_the_slider():
    slider, image = moved(range(0, 250, 50), flat)
    # Takes a typed number, and a screen reader speaks it.
    assert isinstance(slider, ipywidgets.IntSlider)
    assert level(image) == 0
    for value in (50, 200, 0):
        slider.value = value
        assert level(image) == value
    slider.value = 130
    assert (slider.value, level(image)) == (150, 150)
    assert image.layout.width == "256px"


@pytest.mark.parametrize(
    "values", [[0, 10, 200], [0.5, 1.5, 2.0], [30, 20, 10], [7], [False, True]]
)
def test_any_values_in_any_order(values):
    slider, image = moved(values, lambda value: flat(20 * float(value) % 250))
    assert isinstance(slider, ipywidgets.SelectionSlider)
    for (text, place), value in zip(slider.options, values, strict=True):
        slider.value = place
        assert text == str(value).removesuffix(".0")
        assert level(image) == 20 * float(value) % 250


def test_the_picture_follows_the_drop_downs():
    def render(t, schedule, sign):
        return flat(t + (100 if schedule == "cosine" else 0) + sign)

    slider, schedule, sign, image = moved(
        range(0, 50, 10), render, schedule=["linear", "cosine"], sign=[0, 5]
    )
    slider.value, schedule.value, sign.value = 40, 1, 1
    assert level(image) == 145
    assert [text for text, _ in schedule.options] == ["linear", "cosine"]
    schedule.value = 0
    assert level(image) == 45


def test_no_picture_is_drawn_twice():
    drawn = []
    slider, _ = moved(range(4), lambda value: drawn.append(value) or flat(value))
    for value in (1, 2, 1, 0, 2):
        slider.value = value
    assert drawn == [0, 1, 2]


def test_what_other_readers_see():
    with page() as shown:
        show.slider(range(0, 201, 10), flat, SEEN)
    live, still, caption = shown
    assert set(live["data"]) == {VIEW, "text/plain"}
    assert live["data"]["text/plain"] == (
        "Run this notebook to move a slider over t here. A still picture follows."
    )
    assert caption["data"]["text/plain"] == SEEN
    image = np.asarray(picture(still).convert("L"))
    assert list(dict.fromkeys(image[-20][image[-20] != 255].tolist())) == [0, 50, 100, 150, 200]


def test_the_still_picture_has_a_row_for_each_option():
    with page() as shown:
        show.slider([10, 20], lambda t, add: flat(t + add), SEEN, choices={"add": [0, 100]})
    image = np.asarray(picture(shown[1]).convert("L"))
    height, width = image.shape
    centres = image[[3 * height // 8, 7 * height // 8]][:, [width // 4, 3 * width // 4]]
    np.testing.assert_array_equal(centres, [[10, 20], [110, 120]])


def test_the_still_picture_can_be_chosen():
    with page() as shown:
        show.slider(range(0, 100, 10), flat, SEEN, still=[30, 90])
        show.slider(range(0, 100, 10), flat, SEEN, still=Image.new("L", (300, 300), 77))
    assert {30, 90} <= set(np.unique(np.asarray(picture(shown[1]))).tolist())
    assert np.unique(np.asarray(picture(shown[4]))).tolist() == [77]


def test_a_chart_as_wide_as_the_page_stands_alone_in_the_still_picture():
    with page() as shown:
        show.slider(range(5), lambda value: show.axes()[0], SEEN)
    assert picture(shown[1]).height < 2 * 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": []}, "at least one value of t"),
        ({"choices": {"schedule": []}}, "at least one value of schedule"),
        ({"still": [5]}, r"slider's values; got \[5\]"),
        ({"still": []}, r"slider's values; got \[\]"),
        ({"render": lambda value: None}, "got NoneType"),
        ({"description": "t"}, "description"),
    ],
)
def test_what_is_no_slider(arguments, message):
    with page() as shown, pytest.raises(ValueError, match=message):
        show.slider(**{"values": [0, 1], "render": flat, "description": SEEN, **arguments})
    assert shown == []


def test_in_a_terminal_the_words_are_printed(capsys):
    show.slider([0, 1], flat, SEEN, label="η")
    first, *_, last = capsys.readouterr().out.splitlines()
    assert "slider over η" in first
    assert last == SEEN
