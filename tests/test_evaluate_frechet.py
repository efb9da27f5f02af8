"""The Fréchet distance against scipy and closed forms; its bias and its intervals against repetition."""

import math

import numpy as np
import pytest
import torch
from devices import on_every_device
from draws import normal
from scipy import linalg, stats

from course_utils.evaluate import (
    frechet_at_infinity,
    frechet_by_size,
    frechet_distance,
    frechet_estimate,
)

MIX = normal(5, 5, seed=9)


def by_scipy(x, y):
    """As published FIDs are computed: the square root of a product that is not symmetric, by Schur's method."""
    x, y = x.numpy(), y.numpy()
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(a @ b)
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(a + b - 2 * root.real)


def test_it_is_what_scipy_s_square_root_makes_of_it():
    x, y = normal(60, 5) @ MIX, normal(80, 5, seed=1) + 0.7
    assert frechet_distance(x, y) == pytest.approx(by_scipy(x, y), rel=1e-10)
    assert frechet_distance(y, x) == pytest.approx(by_scipy(x, y), rel=1e-10)


def test_in_one_dimension_only_means_and_standard_deviations_count():
    x, y = normal(50, 1) * 3, normal(70, 1, seed=1) - 2
    right = (x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2
    assert frechet_distance(x, y) == pytest.approx(right.item(), rel=1e-12)


def test_gaussians_that_turn_into_each_other_are_as_far_as_the_transport_between_them():
    """A symmetric positive map is the cheapest way from N(0, I) to its image: ‖A − I‖² (Brenier)."""
    x = normal(400, 4)
    x = x - x.mean(0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov())).T  # covariance exactly I
    A = torch.diag(torch.tensor([0.5, 1.0, 2.0, 3.0]).double())
    turn = torch.linalg.qr(normal(4, 4, seed=3)).Q
    A = turn @ A @ turn.T
    shift = torch.tensor([1.0, 0.0, -2.0, 0.5]).double()
    right = (A - torch.eye(4)).square().sum() + shift.square().sum()
    assert frechet_distance(x, x @ A + shift) == pytest.approx(right.item(), rel=1e-10)


def test_fewer_samples_than_features_are_no_trouble():
    """Two points each: covariances of rank 1, whose roots are known."""
    x = torch.zeros(2, 6).double()
    y = torch.zeros(2, 6).double()
    x[0, 0], y[0, 1] = 2.0, 4.0  # variances 2 and 8, means 1 and 2, in different directions
    assert frechet_distance(x, y) == pytest.approx(1 + 4 + 2 + 8, rel=1e-12)
    many = normal(10, 64)
    assert frechet_distance(many, many) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(many, normal(7, 64, seed=1)) > 10


def test_it_does_not_change_with_order_rotation_or_dtype():
    x, y = normal(60, 5) @ MIX, normal(80, 5, seed=1)
    turn = torch.linalg.qr(MIX).Q
    right = frechet_distance(x, y)
    assert frechet_distance(x.flip(0), y) == pytest.approx(right, rel=1e-12)
    assert frechet_distance(x @ turn, y @ turn) == pytest.approx(right, rel=1e-10)
    assert frechet_distance(2 * x, 2 * y) == pytest.approx(4 * right, rel=1e-10)
    assert frechet_distance(x.float(), y.float()) == pytest.approx(right, rel=1e-5)


@on_every_device
def test_features_may_lie_anywhere(device):
    x, y = normal(60, 5), normal(80, 5, seed=1)
    there = frechet_estimate(x.to(device).requires_grad_(), y.to(device))
    assert there == frechet_estimate(x, y)


def test_the_bias_falls_like_one_over_n():
    """In one dimension, for n and n samples of N(0, 1): 2/n from the means, 1/n from the deviations."""
    for n in (50, 200):
        found = [
            frechet_distance(normal(n, 1, seed=k), normal(n, 1, seed=9000 + k)) for k in range(1500)
        ]
        error = np.std(found) / 1500**0.5
        assert abs(np.mean(found) - 3 / n) < 4 * error + 2 / n**2


def test_by_size_takes_so_many_of_each():
    x, y = normal(600, 8), normal(500, 8, seed=1)
    found = frechet_by_size(x, y, [500, 60, 125, 250], seed=3)
    assert [n for n, _ in found] == [500, 60, 125, 250]
    distances = dict(found)
    assert distances[60] > distances[125] > distances[250] > distances[500]
    assert distances[60] / distances[500] == pytest.approx(500 / 60, rel=0.35)
    assert found == frechet_by_size(x, y, [500, 60, 125, 250], seed=3)
    whole = frechet_by_size(x[:500], y, [500])
    assert whole[0][1] == pytest.approx(frechet_distance(x[:500], y), rel=1e-10)


def jackknife(x, y, parts):
    """Pseudo-values by the book, with scipy's root, for sets that are multiples of the parts."""

    def all_but(points, k):
        cut = np.array_split(np.arange(len(points)), parts)
        return points[np.concatenate([c for i, c in enumerate(cut) if i != k])]

    whole = by_scipy(x, y)
    return whole, np.array(
        [parts * whole - (parts - 1) * by_scipy(all_but(x, k), all_but(y, k)) for k in range(parts)]
    )


def test_the_intervals_are_the_jackknife_s():
    x, y = normal(60, 5) @ MIX, normal(80, 5, seed=1)
    whole, pseudo = jackknife(x, y, 4)
    reach = stats.t.ppf(0.975, 3) * pseudo.std(ddof=1) / 2
    seen = frechet_estimate(x, y, parts=4)
    assert seen.value == frechet_distance(x, y)
    assert (seen.low, seen.high) == pytest.approx((whole - reach, whole + reach), rel=1e-9)
    corrected = frechet_at_infinity(x, y, parts=4)
    assert corrected.value == pytest.approx(pseudo.mean(), rel=1e-9)
    right = (pseudo.mean() - reach, pseudo.mean() + reach)
    assert (corrected.low, corrected.high) == pytest.approx(right, rel=1e-9)


@pytest.mark.parametrize(
    ("shift", "s", "most"), [(0.0, 1.0, 1.0), (0.1, 1.2, 0.99), (1.0, 2.0, 0.99)]
)
def test_the_intervals_hold_what_they_say(shift, s, most):
    """The mean over repetitions is in the one, the distributions' distance in the other, which has no bias."""
    truth = 4 * (shift**2 + (s - 1) ** 2)
    sets = [(normal(300, 4, seed=k), s * normal(400, 4, seed=500 + k) + shift) for k in range(150)]
    plain = [frechet_estimate(x, y) for x, y in sets]
    mean = np.mean([e.value for e in plain])
    assert mean > truth
    assert 0.89 <= np.mean([e.low <= mean <= e.high for e in plain]) <= most
    corrected = [frechet_at_infinity(x, y) for x, y in sets]
    values = np.array([e.value for e in corrected])
    assert abs(values.mean() - truth) < 4 * values.std() / 150**0.5
    assert 0.89 <= np.mean([e.low <= truth <= e.high for e in corrected]) <= most


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: frechet_distance(x.tolist(), x), "x must be .* got list"),
        (lambda x: frechet_distance(x, x[0]), r"y must be .* \[N, D\]; got torch.float64 \[3\]"),
        (lambda x: frechet_distance(x, x.int()), "got torch.int32"),
        (lambda x: frechet_distance(x * math.inf, x), "x must be finite; 50 of its 50"),
        (lambda x: frechet_distance(x, x[:, :2]), "one dimension; got 3 and 2"),
        (lambda x: frechet_distance(x[:, :0], x[:, :0]), "one dimension; got 0 and 0"),
        (lambda x: frechet_distance(x, x[:1]), "y needs 2 points or more; got 1"),
        (lambda x: frechet_estimate(x, x[:39]), "y needs 40 points or more; got 39"),
        (lambda x: frechet_at_infinity(x, x, parts=1), "two or more parts; got parts=1"),
        (lambda x: frechet_by_size(x, x[:20], [10, 21]), r"lie in 2 … 20.*got \[10, 21\]"),
        (lambda x: frechet_by_size(x, x, [1]), r"lie in 2 … 50"),
        (lambda x: frechet_by_size(x, x, []), r"got \[\]"),
    ],
)
def test_it_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(normal(50, 3) + 0.01)
