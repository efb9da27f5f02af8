"""The report on a model's samples: its parts are those measured one by one, and it ranks models rightly."""

import json

import pytest
import torch
from devices import on_every_device
from draws import single

from course_utils.data import butterflies, to_model
from course_utils.evaluate import (
    butterfly_features,
    closeness,
    evaluate_samples,
    frechet_by_size,
    frechet_estimate,
    nearest_neighbours,
    precision_recall,
)


def flat(images):
    """Features without a network: two by two colours."""
    return images.unflatten(-1, (2, -1)).unflatten(-3, (2, -1)).mean((-3, -1)).flatten(1)


TRAINING, HELD_OUT = single(300, 3, 4, 4, seed=1), single(400, 3, 4, 4, seed=2)


def report(samples, held_out=HELD_OUT, training=TRAINING):
    return evaluate_samples(samples, training, held_out, flat)


def test_it_is_what_the_parts_measure():
    samples = 1.2 * single(250, 3, 4, 4, seed=3)
    seen = report(samples)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    reference, other = flat(HELD_OUT)[order].split(200)
    x = flat(samples)
    right = frechet_estimate(x[:200], reference)
    assert seen["frechet"] == {"value": right.value, "low": right.low, "high": right.high}
    assert seen["frechet_real"]["value"] == frechet_estimate(other, reference).value
    sizes = [list(pair) for pair in frechet_by_size(x[:200], reference, [25, 50, 100, 200])]
    assert seen["by_size"] == sizes
    match = precision_recall(x[:200], reference)
    assert seen["precision"]["value"] == match.precision.value
    assert seen["recall"]["low"] == match.recall.low
    match = precision_recall(other, reference)
    assert seen["precision_real"]["value"] == match.precision.value
    assert seen["recall_real"]["high"] == match.recall.high
    known = torch.cat([flat(TRAINING), flat(TRAINING.flip(-1))])
    near, real = (nearest_neighbours(z, known)[0].median() for z in (x, flat(HELD_OUT)))
    close = seen["neighbours"].pop("close")
    assert seen["neighbours"] == {"to_training": near.item(), "real_to_training": real.item()}
    assert close["radius"] == closeness(x, flat(HELD_OUT), known).radius


def test_it_can_be_written_as_json_with_the_record_s_names():
    seen = report(single(200, 3, 4, 4, seed=3))
    assert json.loads(json.dumps(seen, allow_nan=False)) == seen
    names = ["frechet", "frechet_real", "by_size", "precision", "recall"]
    names += ["precision_real", "recall_real", "neighbours"]
    assert list(seen) == names
    for name in ("frechet", "frechet_real", *names[3:7]):
        assert list(seen[name]) == ["value", "low", "high"]


def test_a_perfect_model_gets_what_real_images_get_and_a_bad_one_does_not():
    perfect = report(single(200, 3, 4, 4, seed=3))
    assert perfect["frechet"]["low"] < perfect["frechet_real"]["high"]
    assert perfect["frechet_real"]["low"] < perfect["frechet"]["high"]
    dull = report(0.5 * single(200, 3, 4, 4, seed=3))
    assert dull["frechet"]["low"] > dull["frechet_real"]["high"]
    assert dull["recall"]["high"] < perfect["recall"]["low"]
    assert dull["recall"]["high"] < dull["recall_real"]["low"]


def test_copies_are_found_also_mirrored_and_also_among_others():
    copies = report(TRAINING[:200].flip(-1))["neighbours"]
    assert copies["to_training"] == 0 < copies["real_to_training"]
    fresh = single(200, 3, 4, 4, seed=3)
    honest = report(fresh)["neighbours"]["close"]
    assert honest["samples"]["low"] < honest["fresh"]["high"]
    fifth = report(torch.cat([fresh[:160], TRAINING[:40]]))["neighbours"]
    assert fifth["close"]["samples"]["low"] > fifth["close"]["fresh"]["high"]
    assert fifth["to_training"] > 0.9 * fifth["real_to_training"]  # the median is blind to them


@on_every_device
def test_pixels_will_do_and_they_may_lie_anywhere(device):
    training, held_out, samples = (butterflies(n, seed=s) for n, s in ((60, 1), (100, 2), (45, 3)))
    pixels = evaluate_samples(samples.to(device), training, held_out, butterfly_features)
    scaled = evaluate_samples(
        to_model(samples).to(device), to_model(training), to_model(held_out), butterfly_features
    )
    assert pixels["frechet"]["value"] == pytest.approx(scaled["frechet"]["value"], rel=1e-6)
    assert pixels["by_size"][-1][0] == 45


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((39, 80, 10), "got 39, 80 and 10"),
        ((40, 79, 10), "got 40, 79"),
        ((40, 80, 0), "80 and 0"),
    ],
)
def test_too_few_images_are_refused(sizes, message):
    samples, held_out, training = (torch.zeros(n, 3, 4, 4) for n in sizes)
    with pytest.raises(ValueError, match=message):
        evaluate_samples(samples, training, held_out, flat)
