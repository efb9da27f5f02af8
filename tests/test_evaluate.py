"""Measures of samples against closed forms, brute force and scipy, and their intervals against repetition."""

import math
from itertools import combinations, product

import numpy as np
import pytest
import torch
from devices import on_every_device
from draws import normal
from scipy import integrate, stats

from course_utils.data import grid_of_gaussians, mixture, ring_of_gaussians
from course_utils.evaluate import (
    Estimate,
    energy_distance,
    mean_estimate,
    mode_coverage,
    share_estimate,
)


def between_normals(shift, s):
    """The energy distance of N(0, 1) and N(shift, s²), as 2 ∫ (F − G)², by quadrature."""

    def squared_difference(x):
        return (stats.norm.cdf(x) - stats.norm.cdf(x, shift, s)) ** 2

    return 2 * integrate.quad(squared_difference, -20, 20, limit=200)[0]


# --- the energy distance ------------------------------------------------------------------------------------


def brute_force(x, y):
    """2 E‖X−Y‖ − E‖X−X'‖ − E‖Y−Y'‖ over all pairs of different points, by loops."""

    def mean_distance(pairs):
        return np.mean([math.dist(a, b) for a, b in pairs])

    return (
        2 * mean_distance(product(x, y))
        - mean_distance(combinations(x, 2))
        - mean_distance(combinations(y, 2))
    )


def test_it_is_the_jackknife_of_all_pairs():
    x, y = normal(12, 3), normal(9, 3, seed=1) + 0.5
    xs, ys = np.split(x.numpy(), 3), np.split(y.numpy(), 3)
    whole = brute_force(x.numpy(), y.numpy())
    without = [
        brute_force(
            np.concatenate([p for i, p in enumerate(xs) if i != k]),
            np.concatenate([p for i, p in enumerate(ys) if i != k]),
        )
        for k in range(3)
    ]
    right = [3 * whole - 2 * one for one in without]
    seen = energy_distance(x, y, parts=3)
    assert seen.value == pytest.approx(np.mean(right), rel=1e-12)
    reach = stats.t.ppf(0.975, 2) * np.std(right, ddof=1) / 3**0.5
    assert seen.low == pytest.approx(np.mean(right) - reach, rel=1e-9)
    assert seen.high == pytest.approx(np.mean(right) + reach, rel=1e-9)


def test_scipy_has_the_square_root_and_counts_each_point_with_itself():
    """Its estimate is above the unbiased one by the mean distances within, over n."""
    x, y = normal(3000, 1), 1.5 * normal(3000, 1, seed=1) + 0.4
    theirs = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    within = sum(torch.pdist(points).mean().item() for points in (x, y))
    assert energy_distance(x, y).value == pytest.approx(theirs - within / 3000, abs=2e-5)


@pytest.mark.parametrize(("shift", "s"), [(0.0, 1.0), (0.0, 2.0), (3.0, 0.5)])
def test_it_is_unbiased_and_its_interval_holds_the_truth(shift, s):
    """Over 200 repetitions: the mean within 4 standard errors, the truth inside about 95 times in 100."""
    truth = between_normals(shift, s)
    seen = [
        energy_distance(normal(120, 1, seed=k), s * normal(150, 1, seed=1000 + k) + shift)
        for k in range(200)
    ]
    values = torch.tensor([estimate.value for estimate in seen], dtype=torch.float64)
    assert abs(values.mean() - truth) < 4 * values.std() / 200**0.5
    assert 0.89 <= np.mean([e.low <= truth <= e.high for e in seen]) <= 0.99


def test_like_mixtures_are_near_and_a_lost_mode_is_far():
    ring = ring_of_gaussians(8)
    generator = torch.Generator().manual_seed(0)
    data, other = ring.sample(2000, generator), ring.sample(1500, generator)
    lost = ring_of_gaussians(8).sample(3000, generator)
    lost = lost[lost[:, 0] < lost[:, 0].quantile(0.8)]
    like, unlike = energy_distance(data, other), energy_distance(data, lost)
    assert like.low < 0 < like.high
    assert unlike.low > like.high


@on_every_device
def test_points_may_have_any_floating_dtype_and_device_and_a_gradient(device):
    x, y = normal(40, 2), normal(50, 2, seed=1)
    right = energy_distance(x, y)
    there = energy_distance(x.to(device).requires_grad_(), y.to(device))
    assert there == right
    half = energy_distance(x.float().to(device), y.float().to(device))
    assert half.value == pytest.approx(right.value, abs=1e-5)


def test_points_beyond_a_multiple_of_the_parts_are_left_out():
    x, y = normal(47, 2), normal(59, 2, seed=1)
    assert energy_distance(x, y) == energy_distance(x[:40], y[:50])


@pytest.mark.parametrize(
    ("x", "y", "parts", "message"),
    [
        (
            torch.zeros(40),
            torch.zeros(40, 1),
            10,
            r"x must be .* \[N, D\]; got torch.float32 \[40\]",
        ),
        (torch.zeros(40, 2), [[0.0, 0.0]], 10, "y must be .*; got list"),
        (torch.zeros(40, 2, dtype=torch.int64), torch.zeros(40, 2), 10, "got torch.int64"),
        (torch.zeros(40, 2), torch.full((40, 2), math.nan), 10, "y must be finite; 40 of its 40"),
        (torch.zeros(40, 2), torch.zeros(40, 3), 10, "one dimension; got 2 and 3"),
        (torch.zeros(40, 2), torch.zeros(19, 2), 10, "parts=10, 40 and 19 points"),
        (torch.zeros(40, 2), torch.zeros(40, 2), 1, "need parts ≥ 2"),
    ],
)
def test_the_distance_says_what_is_wrong(x, y, parts, message):
    with pytest.raises(ValueError, match=message):
        energy_distance(x, y, parts=parts)


# --- modes --------------------------------------------------------------------------------------------------

SKEWED = mixture(
    [[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]],
    covariances=[[[0.3, 0.1], [0.1, 0.2]], [[0.2, -0.15], [-0.15, 0.4]], [[0.05, 0.0], [0.0, 0.6]]],
    weights=[6.0, 3.0, 1.0],
)


def modes_by_loops(samples, data, radius):
    hits = [0] * len(data.means)
    for x in samples.double():
        distances = [
            float((x - m) @ torch.linalg.inv(c) @ (x - m)) ** 0.5
            for m, c in zip(data.means, data.covariances, strict=True)
        ]
        k = int(np.argmin(distances))
        hits[k] += distances[k] <= radius
    return hits


@pytest.mark.parametrize("radius", [1.0, 3.0])
def test_modes_are_counted_as_by_loops(radius):
    samples = torch.cat([SKEWED.sample(150, torch.Generator().manual_seed(0)), normal(50, 2)])
    hits = modes_by_loops(samples, SKEWED, radius)
    seen = mode_coverage(samples, SKEWED, radius=radius)
    np.testing.assert_allclose(seen.shares, np.array(hits) / 200, rtol=1e-15)
    assert seen.on_target == share_estimate(sum(hits), 200)
    assert seen.of == 3


@pytest.mark.parametrize("modes", [1, 3, 8])
def test_as_many_modes_are_covered_as_are_sampled(modes):
    ring = ring_of_gaussians(8)
    some = mixture(ring.means[:modes], covariances=ring.covariances[:modes])
    seen = mode_coverage(some.sample(2000, torch.Generator().manual_seed(0)), ring)
    assert (seen.modes.value, seen.modes.low, seen.modes.high) == (modes, modes, modes)
    assert seen.on_target.low < 1 - math.exp(-4.5) < seen.on_target.high  # within 3 σ in the plane


def test_the_weight_of_a_mode_decides_what_it_needs():
    """12 of 1,000 samples are over a tenth of what the weight 0.1 promises, and under one of what 0.6 does."""
    few = torch.cat([SKEWED.means[[1]].expand(976, 2), SKEWED.means[[0, 2]].repeat(12, 1)])
    seen = mode_coverage(few, SKEWED)
    assert seen.modes.value == 2
    assert (seen.modes.low, seen.modes.high) == (1, 2)
    assert mode_coverage(few, SKEWED, least=0.2).modes.value == 1


def test_few_samples_leave_the_number_of_modes_open():
    grid = grid_of_gaussians(5)
    for n in (1, 10, 60, 400):
        for seed in range(4):
            seen = mode_coverage(grid.sample(n, torch.Generator().manual_seed(seed)), grid)
            assert seen.modes.low <= seen.modes.value <= seen.modes.high
            assert seen.modes.high == 25  # as all samples come from all 25
    assert seen.modes.low == 25


def test_samples_that_lie_nowhere_cover_nothing():
    seen = mode_coverage(torch.full((100, 2), 50.0), ring_of_gaussians(8))
    assert seen.modes.value == seen.on_target.value == 0
    assert seen.shares.tolist() == [0] * 8


@on_every_device
def test_samples_may_lie_anywhere(device):
    ring = ring_of_gaussians(8)
    samples = ring.sample(200, torch.Generator().manual_seed(0))
    seen = mode_coverage(samples.to(device).requires_grad_(), ring)
    assert torch.equal(seen.shares, mode_coverage(samples, ring).shares)


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (torch.zeros(5, 3), {}, r"shape \[N, 2\] with N ≥ 1; got \[5, 3\]"),
        (torch.zeros(0, 2), {}, r"with N ≥ 1; got \[0, 2\]"),
        (torch.zeros(5, 2, dtype=torch.int32), {}, "samples must be .* got torch.int32"),
        (torch.full((5, 2), math.inf), {}, "samples must be finite; 5 of its 5"),
        (torch.zeros(5, 2), {"radius": 0}, "must be positive; got 0 and 0.1"),
        (torch.zeros(5, 2), {"least": -1}, "must be positive; got 3.0 and -1"),
    ],
)
def test_coverage_says_what_is_wrong(samples, options, message):
    with pytest.raises(ValueError, match=message):
        mode_coverage(samples, ring_of_gaussians(8), **options)


# --- estimates ----------------------------------------------------------------------------------------------


def test_the_mean_has_scipy_s_interval():
    values = normal(25) ** 2
    seen = mean_estimate(values)
    low, high = stats.ttest_1samp(values.numpy(), 0).confidence_interval(0.95)
    assert (seen.value, seen.low, seen.high) == pytest.approx((values.mean().item(), low, high))
    assert mean_estimate(values.tolist()) == seen


def test_the_interval_of_the_mean_holds_the_truth_as_often_as_it_says():
    inside = [e.low <= 0 <= e.high for e in (mean_estimate(normal(5, seed=k)) for k in range(1000))]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (3, 10), (700, 1000), (1, 1)])
def test_a_share_has_wilson_s_interval(hits, n):
    z, p = stats.norm.ppf(0.975), hits / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    seen = share_estimate(hits, n)
    assert seen.value == p
    assert (seen.low, seen.high) == pytest.approx((centre - reach, centre + reach), abs=1e-12)


def test_an_estimate_reads_well():
    assert str(Estimate(0.12345, 0.1, 0.15678)) == "0.123 (0.1 … 0.157)"
    for seen in (mean_estimate([1.0, 2.0]), share_estimate(3, 10)):
        assert "np." not in repr(seen)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_too_few_measurements_are_refused(values):
    with pytest.raises(ValueError, match="two or more finite measurements"):
        mean_estimate(values)


@pytest.mark.parametrize(("hits", "n"), [(-1, 10), (11, 10), (0, 0)])
def test_impossible_shares_are_refused(hits, n):
    with pytest.raises(ValueError, match=f"got hits={hits}, n={n}"):
        share_estimate(hits, n)
