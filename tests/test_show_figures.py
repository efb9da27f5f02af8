"""The one function that every figure goes through, alone and in an executed, exported notebook."""

import io
import re
import sys
from html import unescape

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from show_page import SEEN, page, picture, png

from course_utils import show


def chart(facecolor="none"):
    fig, ax = show.axes(size=(600, 240))
    fig.set_facecolor(facecolor)
    ax.plot([0, 1, 2], [0, 1, 0])
    return fig


def words(bundle) -> str:
    """What a reader reads in the HTML of a caption."""
    return unescape(re.sub(r"<[^>]*>", "", bundle["data"]["text/html"]))


def test_picture_and_its_words():
    with page() as shown:
        show.figure(chart(), "A line that goes up\n      and comes down.")
    image, caption = shown
    assert words(caption) == caption["data"]["text/plain"] == "A line that goes up and comes down."
    assert image["metadata"]["image/png"]["width"] == 600
    assert picture(image).size == (1200, 480)  # two pixels to each of CSS
    alt = image["metadata"]["image/png"]["alt"]
    assert "described in the text below" in alt
    assert "goes up" not in alt  # or a screen reader would say it twice


def test_the_words_are_words_and_not_html():
    with page() as shown:
        show.figure(chart(), "For x < 1 & y > 2 the <b>line</b> goes up.")
    assert words(shown[1]) == "For x < 1 & y > 2 the <b>line</b> goes up."
    assert "<b>" not in shown[1]["data"]["text/html"]


@pytest.mark.parametrize("description", ["", "  \n ", "Loss", "A nice figure.", None, 3])
def test_no_figure_without_a_description(description):
    with page() as shown, pytest.raises(ValueError, match="description of what can be seen"):
        show.figure(chart(), description)
    assert shown == []


@pytest.mark.parametrize("thing", [b"GIF89a", "picture.png", np.zeros((4, 4)), None])
def test_what_is_no_picture(thing):
    with (
        page(),
        pytest.raises(ValueError, match="matplotlib Figure, a PIL image or bytes of a PNG; got"),
    ):
        show.figure(thing, SEEN)


def test_width():
    with page() as shown:
        show.figure(chart(), SEEN, width=321)
    assert shown[0]["metadata"]["image/png"]["width"] == 321
    for width in (0, -5):
        with page(), pytest.raises(ValueError, match="must be positive"):
            show.figure(chart(), SEEN, width=width)


def test_a_small_image_is_enlarged_exactly_and_a_large_one_kept():
    small = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20)
    large = Image.new("RGB", (900, 300), "#336699")
    with page() as shown:
        show.figure(small, SEEN)
        show.figure(large, SEEN)
    expected = np.kron(np.asarray(small), np.ones((128, 128), np.uint8))
    np.testing.assert_array_equal(np.asarray(picture(shown[0])), expected)
    assert picture(shown[2]).size == (900, 300)
    assert [shown[k]["metadata"]["image/png"]["width"] for k in (0, 2)] == [256, 720]


def test_a_png_goes_through_untouched():
    buffer = io.BytesIO()
    Image.new("L", (300, 300), 7).save(buffer, "PNG")
    with page() as shown:
        show.figure(buffer.getvalue(), SEEN)
    assert png(shown[0]) == buffer.getvalue()


@pytest.mark.parametrize("facecolor", ["none", "black", (0, 0, 1, 0.3)])
def test_a_chart_stands_on_an_opaque_card(facecolor):
    with page() as shown:
        show.figure(chart(facecolor), SEEN)
    image = picture(shown[0])
    assert image.convert("RGBA").getextrema()[3] == (255, 255)
    assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)


def test_the_palette_of_a_chart_changes_nothing_that_can_be_seen():
    with page() as shown:
        show.figure(chart(), SEEN)
    image = picture(shown[0])
    buffer = io.BytesIO()
    chart().savefig(buffer, dpi=200, facecolor="white")
    exact = np.asarray(Image.open(buffer).convert("RGB"), dtype=float)
    difference = np.abs(np.asarray(image.convert("RGB")) - exact)
    assert difference.mean() < 0.1
    assert np.percentile(difference, 99.9) <= 8
    assert image.mode == "P"
    assert len(png(shown[0])) < 0.7 * len(buffer.getvalue())


def test_a_chart_of_many_colours_keeps_them_all():
    rainbow = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    fig = Figure(figsize=(3, 3))
    fig.subplots().imshow(rainbow)
    with page() as shown:
        show.figure(fig, SEEN)
    assert picture(shown[0]).mode == "RGB"


def test_same_figure_same_bytes():
    with page() as shown:
        show.figure(chart(), SEEN)
        show.figure(chart(), SEEN)
    assert [bundle["data"] for bundle in shown[:2]] == [bundle["data"] for bundle in shown[2:]]


def test_a_pyplot_figure_is_closed_and_the_users_settings_stay():
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    fig = pyplot.figure()
    with page():
        show.figure(fig, SEEN)
        show.curves([1, 2], {"a": [1, 2]}, SEEN, xlabel="x", ylabel="y")
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def test_in_a_terminal_the_words_are_printed(capsys):
    show.figure(chart(), SEEN)
    assert capsys.readouterr().out.splitlines() == ["Figure, described in the text below.", SEEN]


def test_show_leaves_pyplot_alone():
    import subprocess

    code = "import sys, course_utils.show; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
