"""The plan of a UNet: a bar for each layer, a line for each skip, each between the right two."""

import pytest
from matplotlib.colors import to_hex
from show_page import SEEN

from course_utils import show
from course_utils.show import networks, palette

CALLS = [  # a UNet of two levels with one block each, as its hooks tell
    ("conv_in", "Conv2d", (8, 16, 16)),
    ("down.0.blocks.0", "ResidualBlock", (8, 16, 16)),
    ("down.0.downsample", "Downsample", (8, 8, 8)),
    ("down.1.blocks.0", "ResidualBlock", (32, 8, 8)),
    ("down.1.attentions.0", "Attention", (32, 8, 8)),
    ("mid1", "ResidualBlock", (32, 8, 8)),
    ("mid2", "ResidualBlock", (32, 8, 8)),
    ("up.0.blocks.0", "ResidualBlock", (32, 8, 8)),
    ("up.0.attentions.0", "Attention", (32, 8, 8)),
    ("up.0.blocks.1", "ResidualBlock", (32, 8, 8)),
    ("up.0.upsample", "Upsample", (32, 16, 16)),
    ("up.1.blocks.0", "ResidualBlock", (8, 16, 16)),
    ("up.1.blocks.1", "ResidualBlock", (8, 16, 16)),
    ("conv_out", "Conv2d", (3, 16, 16)),
]


def test_a_bar_for_each_layer_and_attention_joins_its_block():
    drawn = networks.bars(CALLS)
    assert [name for name, *_ in drawn] == [name for name, kind, _ in CALLS if kind != "Attention"]
    attending = [name for name, kind, *_ in drawn if kind == networks.ATTENDING]
    assert attending == ["down.1.blocks.0", "up.0.blocks.0"]


def test_the_last_that_was_kept_is_the_first_that_is_taken():
    drawn = networks.bars(CALLS)
    pairs = [(drawn[a][0], drawn[b][0]) for a, b in networks.skips(drawn)]
    assert pairs == [
        ("down.1.blocks.0", "up.0.blocks.0"),
        ("down.0.downsample", "up.0.blocks.1"),
        ("down.0.blocks.0", "up.1.blocks.0"),
        ("conv_in", "up.1.blocks.1"),
    ]


def test_what_is_drawn_is_what_was_called():
    (ax,) = networks.plan(CALLS).axes
    assert len(ax.patches) == 12
    colours = [to_hex(bar.get_facecolor()) for bar in ax.patches]
    assert colours[:4] == [palette.exact, palette.model, palette.muted, palette.accent]
    heights = [bar.get_height() for bar in ax.patches]
    assert heights[0] == pytest.approx((8 / 32) ** 0.5)
    assert max(heights) == heights[3] == 1
    assert [line.get_color() for line in ax.get_lines()].count(palette.data) == 4
    assert {"16 × 16", "8 × 8", "8", "32", "3"} == {text.get_text() for text in ax.texts}


def test_it_is_shown_with_its_description(capsys):
    show.network(CALLS, SEEN)
    assert "Diagram" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([], "one layer at least"),
        ([("a", "Attention", (8, 8, 8))], "got Attention first"),
        ([*CALLS, ("x", "Linear", (8, 8, 8))], r"got Linear \(x\)"),
    ],
)
def test_what_is_no_plan_is_refused(calls, message):
    with pytest.raises(ValueError, match=message):
        show.network(calls, SEEN)
