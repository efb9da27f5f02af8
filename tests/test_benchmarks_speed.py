"""A speed benchmark that was cut off is filled in, and only with rows that compare."""

import importlib.util
import json
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "speed_results.py"
MACHINE = {"device": "a GPU", "torch": "2.13", "date": "today"}


@pytest.fixture(scope="module")
def results():
    spec = importlib.util.spec_from_file_location("speed_results", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(rate):
    return {"batch": 8, "images_per_s": rate, "tflops": 1.0, "memory_gb": None, "first_step_s": 2.0}


def test_rows_are_kept_and_those_that_failed_are_measured_again(results, tmp_path):
    seen = results.earlier(tmp_path, MACHINE)
    assert seen == {"machine": MACHINE, "training": {}, "sampling": {}}
    assert results.earlier(None, MACHINE) == seen
    seen["training"] = {results.FIRST: row(100.0), "slow": row(25.0), "broken": {"batch": 8}}
    seen["training"]["broken"]["error"] = "out of memory"
    seen["sampling"] = {"eager": {"ms_per_step": 3.0, "first_walk_s": 1.0}}
    results.write(seen, tmp_path)
    again = results.earlier(tmp_path, MACHINE | {"date": "tomorrow"})
    assert again["machine"] == MACHINE
    assert list(again["training"]) == [results.FIRST, "slow"]
    assert again["sampling"] == seen["sampling"]
    written = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| slow | 8 | 25.0 | 1.0 | 0.25 |  | 2.0 |" in written
    assert "| broken | 8 | out of memory |||||" in written
    assert "| eager | 3.0 | 1.0 |" in written


@pytest.mark.parametrize("other", [{"device": "another GPU"}, {"torch": "2.14"}])
def test_results_of_another_machine_are_not_mixed_in(results, tmp_path, other):
    (tmp_path / "results.json").write_text(json.dumps({"machine": MACHINE}), encoding="utf-8")
    with pytest.raises(SystemExit, match="choose another --out"):
        results.earlier(tmp_path, MACHINE | other)


@pytest.mark.parametrize(
    ("rate", "same"), [(100, True), (102.9, True), (97.1, True), (96, False), (104, False)]
)
def test_a_machine_that_became_slower_or_faster_is_noticed(results, rate, same):
    if same:
        results.check_speed(row(100.0), row(rate), 0.03)
        return
    with pytest.raises(SystemExit, match="would not compare"):
        results.check_speed(row(100.0), row(rate), 0.03)


def test_a_first_row_that_fails_is_no_comparison(results):
    with pytest.raises(SystemExit, match="out of memory"):
        results.check_speed(row(100.0), {"batch": 8, "error": "out of memory"}, 0.03)
