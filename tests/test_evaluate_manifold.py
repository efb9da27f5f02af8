"""Precision and recall against loops over all balls, and where the answer is known."""

import math

import pytest
import torch
from devices import on_every_device
from draws import normal

from course_utils.evaluate import manifold, precision_recall, share_estimate


def share_in_balls(points, centres, k):
    """How many of the points lie in a ball around some centre that reaches to its k-th nearest other centre."""
    points, centres = points.tolist(), centres.tolist()
    radii = [
        sorted(math.dist(c, other) for j, other in enumerate(centres) if j != i)[k - 1]
        for i, c in enumerate(centres)
    ]
    return sum(
        any(math.dist(p, c) <= r for c, r in zip(centres, radii, strict=True)) for p in points
    )


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("chunk", [7, 1024])
def test_it_counts_what_loops_count(k, chunk, monkeypatch):
    monkeypatch.setattr(manifold, "CHUNK", chunk)
    samples, reference = normal(60, 3), 0.9 * normal(45, 3, seed=1) + 1.5
    seen = precision_recall(samples, reference, k=k)
    assert seen.precision == share_estimate(share_in_balls(samples, reference, k), 60)
    assert seen.recall == share_estimate(share_in_balls(reference, samples, k), 45)
    assert 0 < seen.precision.value < 1
    assert 0 < seen.recall.value < 1


def values(*sets, **options):
    seen = precision_recall(*sets, **options)
    return seen.precision.value, seen.recall.value


def test_known_cases():
    x, y = normal(300, 8), normal(300, 8, seed=1)
    assert values(x, x.clone()) == (1, 1)
    assert values(x, y + 100) == (0, 0)
    assert values(x.float(), x.clone().float()) == (1, 1)
    copies = x[:1].expand(300, -1)
    assert values(copies, x) == (1, 1 / 300)  # all in a ball; balls without extent
    precision, recall = values(x, y)
    assert precision > 0.6
    assert recall > 0.6


def test_half_of_the_data_reached_is_half_of_the_recall():
    reference = normal(400, 4, seed=1)
    reference[::2] += 50  # two clouds far apart
    precision, recall = values(normal(400, 4), reference)
    assert precision > 0.8
    assert 0.4 <= recall <= 0.5
    precision, recall = values(reference, normal(400, 4))
    assert 0.4 <= precision <= 0.5
    assert recall > 0.8


def test_a_larger_k_reaches_further():
    x, y = normal(200, 6), normal(200, 6, seed=1) + 0.5
    found = [values(x, y, k=k) for k in (1, 3, 10)]
    assert found[0][0] < found[1][0] < found[2][0]
    assert found[0][1] < found[1][1] < found[2][1]


@on_every_device
def test_features_may_lie_anywhere(device):
    x, y = normal(40, 2), normal(50, 2, seed=1)
    assert precision_recall(x.to(device).requires_grad_(), y.to(device)) == precision_recall(x, y)


@pytest.mark.parametrize(
    ("samples", "reference", "k", "message"),
    [
        (torch.zeros(9), torch.zeros(9, 1), 3, "samples must be"),
        (torch.zeros(9, 1), torch.zeros(9, 1, dtype=torch.uint8), 3, "reference must be .*uint8"),
        (torch.zeros(9, 1), torch.full((9, 1), math.nan), 3, "reference must be finite"),
        (torch.zeros(9, 1), torch.zeros(9, 2), 3, "one dimension; got 1 and 2"),
        (torch.zeros(9, 1), torch.zeros(3, 1), 3, "9 and 3 points; got k=3"),
        (torch.zeros(9, 1), torch.zeros(9, 1), 0, "got k=0"),
    ],
)
def test_it_says_what_is_wrong(samples, reference, k, message):
    with pytest.raises(ValueError, match=message):
        precision_recall(samples, reference, k=k)
