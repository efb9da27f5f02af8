"""Settings say what is wrong with them, and go through JSON unchanged."""

from dataclasses import replace

import pytest
from tiny_training import TINY

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
        ({"precision": "fp8"}, "precision must be one of"),
        ({"compile": "fast"}, "compile to be one of"),
        ({"compile": "reduce-overhead"}, "compile to be 'default' where batches accumulate"),
        ({"noise": "quadratic"}, "noise must be one of"),
        ({"prediction": "score"}, "prediction must be one of"),
        ({"images": None}, "images to be a number, to draw so many"),
        (
            {"model": replace(TINY.model, sample_size=None)},
            "model to be a UNetConfig with a sample_size",
        ),
        ({"model": replace(TINY.model, out_channels=6)}, "one number of channels"),
        ({"seed": -1}, "seed"),
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


def test_every_preset_says_what_it_is_for():
    assert set(PRESETS) == {"cpu", "t4", "h100"}
    for settings in PRESETS.values():
        assert isinstance(settings, Settings)
        assert len(settings.purpose) > 30
