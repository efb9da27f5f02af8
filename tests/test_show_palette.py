"""The palette, measured: contrast by WCAG's formula, distance in CIELAB as each kind of eye sees it."""

from itertools import combinations

import matplotlib
import numpy as np
import pytest

from course_utils.show import palette

COLOURS = ("data", "noise", "model", "exact", "accent")

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
EYES = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}


def linear(colour):
    value = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    low, high = sorted(linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(colour, eye="usual"):
    seen = np.clip(np.array(EYES[eye]) @ linear(colour), 0, 1)
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.072175],
        [0.0193339, 0.119192, 0.9503041],
    ]
    x, y, z = np.cbrt(np.maximum(np.array(to_xyz) @ seen / [0.95047, 1, 1.08883], 1e-9))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_contrast_formula_on_known_values():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    # WebAIM's well-known near miss.
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("name", [*COLOURS, "text", "muted"])
def test_every_colour_can_be_read_as_text(name):
    assert contrast(getattr(palette, name), palette.card) >= 4.5


@pytest.mark.parametrize("eye", EYES)
def test_no_two_colours_look_alike(eye):
    """A distance of 2.3 is just noticeable; 18 is far beyond doubt, also for thin lines."""
    for one, other in combinations(COLOURS, 2):
        distance = np.linalg.norm(
            lab(getattr(palette, one), eye) - lab(getattr(palette, other), eye)
        )
        assert distance > 18, f"{one} and {other} lie {distance:.1f} apart for {eye}"


@pytest.mark.parametrize("eye", EYES)
def test_time_runs_from_dark_to_light_for_every_eye_and_stays_visible(eye):
    colours = [matplotlib.colors.to_hex(palette.time(v)) for v in np.linspace(0, 1, 21)]
    lightness = [lab(colour, eye)[0] for colour in colours]
    assert (np.diff(lightness) > 0).all()
    assert contrast(colours[-1], palette.card) >= 3  # WCAG 1.4.11, for lines and shapes


def test_style_ends_with_its_block():
    before = dict(matplotlib.rcParams)
    with palette.style():
        assert matplotlib.rcParams["axes.edgecolor"] == palette.muted
    assert dict(matplotlib.rcParams) == before
