"""Charts: what is drawn is what was given, and what is written can be read."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from show_page import SEEN, page

from course_utils import show
from course_utils.show import clouds, plots

X = np.arange(1, 11)


@pytest.fixture
def drawn(monkeypatch):
    """The figures as they stand just before they become pictures."""
    figures = []
    for module in (plots, clouds):
        monkeypatch.setattr(module, "figure", lambda fig, *_, **__: figures.append(fig))
    return figures


def names(ax):
    return {text.get_text(): text for text in ax.texts}


def curves(lines, x=X, **options):
    show.curves(x, lines, SEEN, xlabel="step", ylabel="loss", **options)


def test_curves_draw_the_numbers_given(drawn):
    curves({"a": torch.arange(10).bfloat16(), "b": list(range(10, 20))}, bands={"a": (X - 2, X)})
    (ax,) = drawn[0].axes
    for line, first in zip(ax.get_lines(), (0, 10), strict=True):
        np.testing.assert_array_equal(
            line.get_xydata(), np.stack([X, np.arange(first, first + 10)], axis=1)
        )
    assert [line.get_color() for line in ax.get_lines()] == list(show.palette.series[:2])
    (band,) = ax.collections
    assert to_hex(band.get_facecolor()[0]) == show.palette.data
    assert (ax.get_xlabel(), ax.get_title(loc="left")) == ("step", "loss")


def test_lines_are_named_at_their_ends_without_touching(drawn):
    curves({"low": X * 0.0, "just above": X * 0.05, "high": X * 1.0})
    (ax,) = drawn[0].axes
    drawn[0].draw_without_rendering()
    assert set(names(ax)) == {"low", "just above", "high"}
    assert ax.get_legend() is None
    boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.y0)
    assert all(above.y0 >= below.y1 - 2 for below, above in pairwise(boxes))
    assert all(box.x0 >= ax.bbox.x1 and box.x1 <= drawn[0].bbox.x1 for box in boxes)
    for line in ax.get_lines():
        assert names(ax)[line.get_label()].get_color() == line.get_color()


@pytest.mark.parametrize(
    "lines",
    [
        {name: X + k / 100 for k, name in enumerate("abcde")},  # all end at one place
        {"whole": X, "short": np.where(X < 5, X, np.nan)},  # one ends far from the edge
    ],
)
def test_crowded_ends_get_a_legend(drawn, lines):
    curves(lines)
    (ax,) = drawn[0].axes
    assert not ax.texts
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(lines)


def test_one_line_needs_no_name_and_a_few_places_name_themselves(drawn):
    curves({"loss": [3, 2, 1]}, x=[5, 20, 100], log="x", markers=True)
    (ax,) = drawn[0].axes
    assert not ax.texts
    assert ax.get_legend() is None
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["5", "20", "100"]


WRONG = {
    "no line": ({"lines": {}}, "at least one"),
    "list": ({"lines": [X]}, "must be a dict"),
    "length": ({"lines": {"a": [1, 2]}}, "a needs one value for each of the 10 of x; got 2"),
    "shape": (
        {"lines": {"a": np.ones((10, 2))}},
        r"a must be a row of numbers, \[N\]; got shape \[10, 2\]",
    ),
    "empty": ({"lines": {"a": X * np.nan}}, "row of numbers"),
    "words": ({"lines": {"a": "falls"}}, "a must hold numbers; got str"),
    "log": ({"lines": {"a": X - 1}, "log": "y"}, "above 0; a goes down to 0"),
    "log x": ({"lines": {"a": X}, "x": X - 3, "log": "x"}, "above 0; x goes down to -2"),
    "log what": ({"lines": {"a": X}, "log": "z"}, "\"xy\"; got 'z'"),
    "band": (
        {"lines": {"a": X}, "bands": {"b": (X, X)}},
        r"bands need the name of a line; got \['b'\]",
    ),
    "band length": (
        {"lines": {"a": X}, "bands": {"a": (X, X[:3])}},
        "the band of a needs one value",
    ),
    "colours": (
        {"lines": {"a": X, "b": X}, "colours": ["red"]},
        "2 names need as many colours; got 1",
    ),
    "colour names": ({"lines": {"a": X}, "colours": {"b": "red"}}, r"colours lacks \['a'\]"),
    "too many": ({"lines": {str(k): X for k in range(9)}}, "9 names need as many colours; got 5"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_curve(drawn, arguments, message):
    with pytest.raises(ValueError, match=message):
        curves(**arguments)
    assert drawn == []


def test_histogram_has_area_one_and_agrees_with_numpy(drawn):
    numbers = torch.randn(5000, generator=torch.manual_seed(0))
    show.histogram({"x": numbers}, SEEN, xlabel="x", bins=20, density=lambda x: np.exp(-(x**2) / 2))
    (ax,) = drawn[0].axes
    heights, edges, _ = ax.patches[0].get_data()
    expected, places = np.histogram(numbers.double().numpy(), bins=20, density=True)
    np.testing.assert_allclose(heights, expected)
    np.testing.assert_allclose(edges, places)
    assert np.sum(heights * np.diff(edges)) == pytest.approx(1)
    (line,) = ax.get_lines()
    np.testing.assert_allclose(line.get_ydata(), np.exp(-(line.get_xdata() ** 2) / 2))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["x", "exact density"]


def test_values_beyond_the_limits_of_a_histogram_keep_their_share_of_the_area(drawn):
    show.histogram({"x": [0.25, 0.75, 5, 9]}, SEEN, xlabel="x", bins=2, limits=(0, 1))
    heights, edges, _ = drawn[0].axes[0].patches[0].get_data()
    assert np.sum(heights * np.diff(edges)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("values", "bins"), [({}, 5), ({"x": []}, 5), ({"x": [1, np.nan]}, 5), ({"x": [1]}, 0)]
)
def test_what_is_no_histogram(values, bins):
    with pytest.raises(ValueError, match="at least"):
        show.histogram(values, SEEN, xlabel="x", bins=bins)


def test_points_share_one_square_scale(drawn):
    one, two = np.array([[0.0, 1.0], [3.0, -2.0]]), np.array([[5.0, 5.0]])
    show.points({"t = 0": one, "t = 1": two}, SEEN)
    first, second = drawn[0].axes
    np.testing.assert_array_equal(first.collections[0].get_offsets(), one)
    np.testing.assert_array_equal(second.collections[0].get_offsets(), two)
    assert first.get_xlim() == first.get_ylim() == second.get_xlim()
    assert first.get_xlim()[1] > 5
    assert [ax.get_title(loc="left") for ax in (first, second)] == ["t = 0", "t = 1"]
    assert not second.yaxis.get_tick_params()["labelleft"]  # the numbers stand once, at the left
    drawn[0].draw_without_rendering()
    for ax in (first, second):
        assert ax.title.get_window_extent().y1 <= drawn[0].bbox.y1
        assert ax.bbox.width == pytest.approx(ax.bbox.height)


def test_clouds_on_top_of_each_other_keep_their_colours_and_are_named(drawn):
    cloud = np.eye(2)
    colours = {"data": show.palette.data, "model": show.palette.model}
    show.points(
        {"before": {"data": cloud}, "after": {"data": cloud, "model": cloud}}, SEEN, colours=colours
    )
    fig = drawn[0]
    painted = [[to_hex(c.get_facecolor()[0]) for c in ax.collections] for ax in fig.axes]
    assert painted == [[show.palette.data], [show.palette.data, show.palette.model]]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["data", "model"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "at least one"),
        ({"a": np.ones((4, 3))}, r"\[N, 2\]; got shape \[4, 3\]"),
        ({"a": np.ones((0, 2))}, r"got shape \[0, 2\]"),
        ({"a": np.array([[np.nan, 1]])}, "finite"),
        ({"a": {}}, "a must be a dict"),
        ({"a": {"b": np.eye(2)}, "c": np.eye(2)}, "c must be a dict"),
    ],
)
def test_what_is_no_cloud(given, message):
    with pytest.raises(ValueError, match=message):
        show.points(given, SEEN)


def test_every_chart_comes_with_its_description():
    with page() as shown:
        curves({"a": X})
        show.points({"a": np.eye(2)}, SEEN)
        show.histogram({"a": X}, SEEN, xlabel="x")
    assert [bundle["data"]["text/plain"] for bundle in shown[1::2]] == [SEEN] * 3
    for call in (
        lambda: show.points({"a": np.eye(2)}, ""),
        lambda: show.curves(X, {"a": X}, "", xlabel="", ylabel=""),
    ):
        with page(), pytest.raises(ValueError, match="description"):
            call()
