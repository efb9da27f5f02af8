"""Nearest neighbours against all distances by brute force; copies are caught, fresh draws are not."""

import math

import numpy as np
import pytest
import torch
from devices import on_every_device
from draws import normal
from scipy import stats

from course_utils.data import butterflies
from course_utils.evaluate import closeness, nearest_neighbours, neighbours, share_estimate


def by_brute_force(samples, training, k):
    a, b = (z.double().flatten(1).numpy() for z in (samples, training))
    distances = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), order


@pytest.mark.parametrize("entries", [50, 2**25])
@pytest.mark.parametrize("k", [1, 3, 37])
def test_they_are_those_of_brute_force(entries, k, monkeypatch):
    monkeypatch.setattr(neighbours, "ENTRIES", entries)
    samples, training = normal(20, 2, 3), normal(37, 2, 3, seed=1)
    distances, indices = nearest_neighbours(samples, training, k=k)
    right, order = by_brute_force(samples, training, k)
    assert (distances.dtype, indices.dtype) == (torch.float64, torch.int64)
    np.testing.assert_allclose(distances, right, rtol=1e-12)
    np.testing.assert_array_equal(indices, order)


def test_copies_among_pictures_are_found_exactly():
    training = butterflies(60, seed=3)
    samples = training[[41, 7, 7]].clone()
    samples[2, 0, 0, 0] ^= 3
    distances, indices = nearest_neighbours(samples, training, k=2)
    assert indices[:, 0].tolist() == [41, 7, 7]
    assert distances[:2, 0].tolist() == [0, 0]
    changed = int(samples[2, 0, 0, 0]) - int(training[7, 0, 0, 0])
    assert distances[2, 0].item() == abs(changed)
    assert bool((distances[:, 1] > 100).all())


def test_small_differences_far_from_0_are_not_lost():
    """In single precision, ‖a‖² − 2 a·b + ‖b‖² of these is all rounding."""
    training = 1e4 + normal(200, 16, seed=1)
    samples = training[:50] + 1e-3 * normal(50, 16)
    distances, indices = nearest_neighbours(samples, training)
    assert indices.flatten().tolist() == list(range(50))
    np.testing.assert_allclose(
        distances.flatten(), (samples - training[:50]).norm(dim=1), rtol=1e-9
    )


@on_every_device
def test_images_may_lie_anywhere_and_there_may_be_none(device):
    samples, training = normal(5, 4), normal(9, 4, seed=1)
    there = nearest_neighbours(samples.to(device).requires_grad_(), training.to(device))
    assert torch.equal(there[0], nearest_neighbours(samples, training)[0])
    distances, indices = nearest_neighbours(samples[:0], training, k=2)
    assert distances.shape == indices.shape == (0, 2)


@pytest.mark.parametrize("make", [normal, lambda *shape, seed: normal(*shape, seed=seed) * 9])
def test_fresh_draws_are_as_close_as_fresh_images_and_copies_are_caught(make):
    training, held_out = make(500, 6, seed=1), make(1000, 6, seed=2)
    fresh = closeness(make(1000, 6, seed=3), held_out, training)
    assert fresh.fresh.value == 0.05
    assert not fresh.suspicious
    copies = make(1000, 6, seed=4)
    copies[::10] = training[:100] + 1e-3 * normal(100, 6)
    caught = closeness(copies, held_out, training)
    assert caught.suspicious
    assert caught.samples.value == pytest.approx(0.05 * 0.9 + 0.1, abs=0.03)
    assert closeness(training, held_out, training).samples.value == 1


def test_fresh_draws_are_rarely_suspected():
    """Two intervals of 95 % that must not meet: far fewer than 5 false alarms in 100."""
    alarms = 0
    for k in range(200):
        draws = [normal(n, 2, seed=3 * k + i) for i, n in enumerate((300, 300, 100))]
        alarms += closeness(*draws).suspicious
    assert alarms <= 5


def test_the_intervals_are_wilson_s_and_that_of_the_order_statistic():
    """The share of all fresh images within the radius is in its interval 95 times in 100."""
    line = torch.zeros(1, 1).double()  # one training image: distances are those from 0
    samples, inside = normal(400, 1, seed=1), 0
    for k in range(400):
        seen = closeness(samples, normal(60, 1, seed=1000 + k), line, share=0.2)
        share = 2 * stats.norm.cdf(seen.radius) - 1
        inside += seen.fresh.low <= share <= seen.fresh.high
        hits = int((samples.abs() <= seen.radius).sum())
        assert seen.samples == share_estimate(hits, 400)
    assert inside / 400 == pytest.approx(0.95, abs=0.035)


ZEROS = torch.zeros(30, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nearest_neighbours([1.0], ZEROS), "samples must be .* got list"),
        (
            lambda: nearest_neighbours(ZEROS, ZEROS.int()),
            r"training must be .* torch.int32 \[30, 2",
        ),
        (lambda: nearest_neighbours(ZEROS[:, 0], ZEROS), r"samples must be .* \[30\]"),
        (lambda: nearest_neighbours(ZEROS, ZEROS * math.nan), "training must be finite"),
        (lambda: nearest_neighbours(ZEROS, ZEROS[:, :1]), r"alike.*\[30, 2\].*\[30, 1\]"),
        (lambda: nearest_neighbours(ZEROS, ZEROS.byte()), "alike.*float32.*uint8"),
        (lambda: nearest_neighbours(ZEROS, ZEROS[:0]), "training has no images"),
        (lambda: nearest_neighbours(ZEROS, ZEROS, k=31), "k must lie in 1 … 30.*got 31"),
        (lambda: nearest_neighbours(ZEROS, ZEROS, k=0), "got 0"),
        (lambda: closeness(ZEROS, ZEROS[:, :1], ZEROS), "held_out and training must be alike"),
        (lambda: closeness(ZEROS, ZEROS[:19], ZEROS), "got share=0.05, 30 samples and 19 held-out"),
        (lambda: closeness(ZEROS[:0], ZEROS, ZEROS), "0 samples"),
        (lambda: closeness(ZEROS, ZEROS, ZEROS, share=1.0), "share=1.0"),
    ],
)
def test_it_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
