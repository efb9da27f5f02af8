"""The features of butterflies: what the classifier claims, what the distance between features sees, the records."""

import json

import pytest
import torch
from torch.nn import functional as F

from course_utils.authoring.train_features import truth
from course_utils.data import butterflies, to_model
from course_utils.data.butterflies import butterfly
from course_utils.diffusion import schedule
from course_utils.diffusion.samplers import ddim
from course_utils.evaluate import butterfly_features, energy_distance, reference_features
from course_utils.evaluate.features import FOLDER, shipped_classifier
from course_utils.interop import find_pipeline, unet_from_diffusers
from course_utils.interop.hub import ASSETS

RECORDS = json.loads((ASSETS / "quality-over-steps" / "results.json").read_text(encoding="utf-8"))[
    "rows"
]


@pytest.fixture(scope="module")
def drawings():
    """Butterflies that neither the classifier nor the reference has seen."""
    return to_model(butterflies(200, seed=555))


def test_it_tells_the_pattern_of_new_drawings(drawings):
    patterns = torch.tensor([truth(butterfly(i, 555))[0] for i in range(200)])
    scores, _ = shipped_classifier()(drawings)
    told = (scores.argmax(1) == patterns).float().mean().item()
    claimed = json.loads((FOLDER / "training.json").read_text(encoding="utf-8"))["accuracy"]
    assert claimed["pattern"] > 0.99
    assert told > claimed["pattern"] - 0.02
    assert f"{claimed['pattern']:.2%}" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_on_butterflies_every_feature_has_mean_0_and_variance_1(drawings):
    for features, many in ((reference_features(), 2000), (butterfly_features(drawings), 200)):
        assert features.shape == (many, 64)
        assert features.mean(0).abs().max() < 5 / many**0.5
        assert (features.var(0) - 1).abs().max() < 10 / many**0.5


def distance(pictures):
    return energy_distance(butterfly_features(pictures), reference_features())


def test_new_drawings_are_near_0_and_every_damage_is_further(drawings):
    good = distance(drawings)
    assert good.low < 0 < good.high
    noise = torch.randn(drawings.shape, generator=torch.Generator().manual_seed(0))
    damaged = {
        "noise": drawings + 0.3 * noise,
        "blur": F.avg_pool2d(drawings, 3, 1, 1, count_include_pad=False),
        "torn": torch.cat([drawings[..., :16], drawings.roll(1, 0)[..., 16:]], dim=-1),
        "pale": 0.5 * drawings,
        "copies": drawings[:1].expand(200, -1, -1, -1),
        "a few again and again": drawings[:5].repeat(40, 1, 1, 1),
    }
    for name, pictures in damaged.items():
        assert distance(pictures).low > good.high, name


def test_values_beyond_the_range_are_clipped_and_other_sizes_are_resized(drawings):
    torch.testing.assert_close(
        butterfly_features(3 * drawings[:4]), butterfly_features((3 * drawings[:4]).clamp(-1, 1))
    )
    large = to_model(butterflies(50, size=64, seed=555))
    same = butterfly_features(large) - butterfly_features(drawings[:50])
    assert same.square().mean().sqrt() < 0.5  # between different butterflies it is 1.4
    assert butterfly_features(drawings[:0]).shape == (0, 64)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([[1.0]], "got list"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "to_model first.*got torch.uint8"),
        (torch.zeros(2, 1, 32, 32), r"shape \[N, 3, H, W\]; got \[2, 1, 32, 32\]"),
        (torch.zeros(3, 32, 32), r"got \[3, 32, 32\]"),
        (torch.full((1, 3, 32, 32), torch.nan), "must be finite"),
    ],
)
def test_what_is_no_picture_is_refused(images, message):
    with pytest.raises(ValueError, match=message):
        butterfly_features(images)


def test_the_record_of_quality_can_be_measured_again():
    """DDIM with 5 steps, on the CPU in single precision, comes out where the record says."""
    (row,) = [r for r in RECORDS if (r["sampler"], r.get("steps")) == ("DDIM", 5)]
    unet = unet_from_diffusers(find_pipeline("butterflies")).eval()
    x_T = torch.randn(100, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    *_, last = ddim(unet, x_T, schedule.linear(), steps=5, spacing=row["spacing"])
    again = distance(last.x)
    assert again.low < row["high"]
    assert again.high > row["low"]
    assert again.low > distance(to_model(butterflies(100, seed=556))).value


def test_every_distance_of_the_record_is_of_as_many_images():
    assert len(RECORDS) > 80
    assert {row["images"] for row in RECORDS} == {2048}
