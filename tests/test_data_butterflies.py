"""The drawn butterflies: the same everywhere, varied, symmetric, of any size."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils.data import butterflies
from course_utils.data.butterflies import PATTERNS, butterfly, draw, portrait
from course_utils.data.parallel import draw_butterflies


def test_a_set_is_fixed_by_its_seed_and_a_start_continues_it():
    ten = butterflies(10, seed=5)
    assert ten.shape == (10, 3, 32, 32)
    assert ten.dtype == torch.uint8
    assert torch.equal(ten[4:7], butterflies(3, seed=5, start=4))
    assert not torch.equal(ten, butterflies(10, seed=6))


def test_the_factors_are_the_same_on_every_machine():
    """The shipped weights learned from this very set: a change here is a change of the data."""
    factors = repr([round(butterfly(k).hue, 6) for k in range(5)]) + butterfly(3).pattern
    assert hashlib.sha256(factors.encode()).hexdigest()[:12] == "337e2309cdaf"


def test_all_differ_and_every_pattern_occurs():
    small = butterflies(200, size=8).flatten(1).float()
    distance = torch.cdist(small, small) + 1e9 * torch.eye(len(small))
    assert distance.min() > 20
    assert {butterfly(k).pattern for k in range(60)} == set(PATTERNS)


def test_a_butterfly_that_looks_straight_ahead_is_its_own_mirror_image():
    straight = replace(butterfly(7), turn=0.0, x=0.0)
    picture = draw(straight, 64).astype(int)
    inside = np.abs(picture - picture[:, ::-1])[20:44, 12:52]
    # The backdrop's lights and the shadow are not symmetric, the insect is.
    assert np.median(inside) <= 2


def test_a_small_picture_is_a_large_one_seen_from_afar():
    b = butterfly(11)
    large = Image.fromarray(draw(b, 128)).resize((32, 32), Image.Resampling.BOX)
    assert np.abs(np.asarray(large).astype(int) - draw(b, 32)).mean() < 6


def test_antialiasing_leaves_no_hard_steps():
    """Between a dark wing and a light backdrop, pixels on the edge take values in between."""
    grey = draw(butterfly(0), 64).mean(2)
    low, high = np.percentile(grey, [10, 90])
    between = (grey > low + 0.2 * (high - low)) & (grey < high - 0.2 * (high - low))
    assert between.mean() > 0.02


@pytest.mark.parametrize("size", [8, 17, 32, 200])
def test_any_size(size):
    assert butterflies(1, size=size).shape == (1, 3, size, size)
    assert portrait(0, size).size == (size, size)


def test_bad_input_is_refused_in_words():
    with pytest.raises(ValueError, match="at least 8"):
        butterflies(1, size=4)
    with pytest.raises(ValueError, match="whole number"):
        butterflies(1, size=32.5)
    with pytest.raises(ValueError, match="not be negative"):
        butterflies(-1)
    with pytest.raises(ValueError, match="not be negative"):
        butterflies(1, seed=-1)
    assert butterflies(0).shape == (0, 3, 32, 32)


def test_all_cores_draw_the_same_butterflies():
    assert torch.equal(draw_butterflies(9, 16, seed=3), butterflies(9, 16, seed=3))
