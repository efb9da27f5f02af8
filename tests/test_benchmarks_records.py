"""The scripts that make the capstone's records run from end to end, with a network of a few channels."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RECORDS = Path(__file__).parents[1] / "course_utils" / "assets" / "capstone"


def script(name, *options):
    command = [sys.executable, BENCHMARKS / name, "--tiny", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def shape(record):
    """Which entries a record has, at every depth; of lists the first one's."""
    if isinstance(record, dict):
        return {key: shape(value) for key, value in record.items()}
    return [shape(record[0])] if isinstance(record, list) else None


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("what", ["butterflies-32", "comparison", "retrained"])
def test_a_record_is_made_as_those_that_the_chapter_shows(what, tmp_path):
    length = ("--images", 24) if what == "comparison" else ("--minutes", 0.01)
    few = ("--drawn", 50, "--held-out", 80, "--runs", tmp_path / "runs", "--out", tmp_path / "out")
    script("record_models.py", what, *length, *few)
    if what != "butterflies-32":
        made, shown = (load(folder / f"{what}.json") for folder in (tmp_path / "out", RECORDS))
        assert shape(made) == shape(shown)
        return
    shown, made = RECORDS / "butterflies-64", tmp_path / "out" / what
    assert {path.name for path in made.iterdir()} == {path.name for path in shown.iterdir()}
    assert shape(load(made / "record.json")) == shape(load(shown / "record.json"))


def test_the_speed_of_training_is_measured_row_by_row(tmp_path):
    script("train_gpu.py", "--out", tmp_path, "--no-sampling", "--rows", "course", "average")
    rows = load(tmp_path / "results.json")["training"]
    assert list(rows) == ["the course's trainer", "without fused optimizer and average"]
    recorded = load(RECORDS / "speed.json")["training"]
    for name, row in rows.items():
        assert row.keys() == recorded[name].keys()
        assert row["images_per_s"] > 0


def test_the_recorded_speeds_are_of_the_rows_that_there_are(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    program, recorded = importlib.import_module("train_gpu"), load(RECORDS / "speed.json")
    assert set(recorded["training"]) == {row.name for row in program.ROWS}
    assert set(recorded["sampling"]) == set(program.SAMPLERS)
