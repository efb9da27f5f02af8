"""Settings say what is wrong with them, and go through JSON unchanged."""

import re
from dataclasses import replace

import pytest
import torch
from tiny_training import TINY

from course_utils.diffusion.unet import UNet
from course_utils.trainer.settings import (
    PRESETS,
    Settings,
    read_settings,
    same_run,
    write_settings,
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 0}, "batch to be a whole number"),
        ({"batch": 2.5}, "batch"),
        ({"steps": None, "minutes": None}, "steps to be given, unless minutes are"),
        ({"steps": 0}, "steps to be None or a whole number"),
        ({"minutes": -1}, "minutes"),
        ({"lr": float("nan")}, "lr to be a number above 0"),
        ({"ema": 1.0}, r"ema to be in \[0, 1\)"),
        ({"cool_down": 30}, r"cool_down to be a part of the run, in \[0, 1\]; got 30"),
        ({"precision": "fp8"}, "precision must be one of"),
        ({"compile": "fast"}, "compile to be one of"),
        ({"noise": "quadratic"}, "noise must be one of"),
        ({"prediction": "score"}, "prediction must be one of"),
        ({"images": None}, "images to be a number, to draw so many"),
        ({"images_in": "cloud"}, "images_in must be one of"),
        ({"images_in": "disk"}, "butterflies are drawn into memory"),
        (
            {"model": replace(TINY.model, sample_size=None)},
            "model to be a UNetConfig with a sample_size",
        ),
        (
            {"model": replace(TINY.model, out_channels=6)},
            "both 3, for colour, or both 1, for grey; got 3 and 6",
        ),
        ({"seed": -1}, "seed"),
        ({"ema": "0.9"}, r"ema to be in \[0, 1\); got '0.9'"),
        ({"weight_decay": None}, "weight_decay to be 0 or a number above; got None"),
        ({"data": 3}, "data to be a name or a path"),
        ({"fused": 1}, "fused to be True or False"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


@pytest.mark.parametrize("settings", [TINY, *PRESETS.values()])
def test_settings_survive_json(tmp_path, settings):
    write_settings(settings, tmp_path / "settings.json")
    assert read_settings(tmp_path / "settings.json") == settings


@pytest.mark.parametrize("text", ["", "{", '{"no_such_setting": 1}', '{"steps": 5, "model": 3}'])
def test_a_file_without_settings_is_refused(tmp_path, text):
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"settings\.json holds no settings|needs model"):
        read_settings(path)


def test_a_run_that_goes_on_may_only_change_its_end_and_its_speed():
    assert same_run(TINY, replace(TINY, steps=9, log_every=1, fused=False)) == []
    assert same_run(TINY, replace(TINY, lr=0.5, batch=4)) == [
        "batch was 5 and is 4",
        "lr was 0.01 and is 0.5",
    ]


def test_every_preset_says_what_it_takes():
    assert set(PRESETS) == {"cpu", "t4", "h100"}
    for settings in PRESETS.values():
        assert isinstance(settings, Settings)
        assert re.search(r"\d+ GB", settings.purpose)
        assert re.search("seconds|minutes|hour", settings.purpose)


@pytest.mark.parametrize("name", ["t4", "h100"])
def test_the_memory_that_a_preset_names_is_what_its_tensors_take(name):
    """By the rule that stands beside the presets. The network lies on torch's meta device: shapes and no numbers."""
    s = PRESETS[name]
    with torch.device("meta"):
        unet, t = UNet(s.model), torch.zeros(s.batch, dtype=torch.int64)
        x = torch.empty(s.batch, s.channels, s.model.sample_size, s.model.sample_size)
    kept = {}

    def keep(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage()._cdata] = tensor  # each once, whoever needs it
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        answer = unet(x, t)
    assert answer.shape == x.shape
    total = 20 * sum(weight.numel() for weight in unet.parameters())
    total += 2 * sum(tensor.untyped_storage().nbytes() // 4 for tensor in kept.values())
    total += s.images * x[0].numel()
    assert f"some {total / 1e9:.0f} GB" in s.purpose
