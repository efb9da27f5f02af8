"""A run in progress, drawn from its log and its newest sheet of samples."""

import numpy as np
import pytest
from PIL import Image

from course_utils import show, trainer
from course_utils.show import training


@pytest.fixture
def drawn(monkeypatch):
    """What was shown, with the words for it."""
    shown = []
    monkeypatch.setattr(
        training, "figure", lambda picture, words, **_: shown.append((picture, words))
    )
    return shown


def entries(*losses):
    return [
        {"step": 1 + 10 * i, "loss": loss, "lr": 1e-4 * i, "images_per_s": 1234.5}
        for i, loss in enumerate(losses)
    ]


def test_loss_and_rate_are_those_of_the_log(drawn):
    show.training_progress(entries(1.0, 0.5, 2.0))
    ((fig, words),) = drawn
    upper, lower = fig.axes
    raw, smooth = upper.get_lines()
    np.testing.assert_allclose(raw.get_xydata(), [[1, 1.0], [11, 0.5], [21, 2.0]])
    np.testing.assert_allclose(smooth.get_ydata(), [1.0, 1.0, 2.0])
    assert upper.get_yscale() == "log"
    np.testing.assert_allclose(lower.get_lines()[0].get_ydata(), [0, 1e-4, 2e-4])
    assert "began at 1 and is 2 after step 21" in words
    assert "1,234 images a second" in words


def test_the_smoothed_loss_follows_a_falling_one_without_lagging():
    falling = np.exp(-np.arange(40) / 6)
    np.testing.assert_allclose(training.smoothed(falling), falling)
    wavering = falling * np.where(np.arange(40) % 2, 1.3, 1 / 1.3)
    assert np.abs(np.log(training.smoothed(wavering) / falling))[5:-5].max() < 0.03


def test_a_run_that_has_not_begun_says_so(drawn, capsys, tmp_path):
    show.training_progress(*trainer.progress(tmp_path / "nothing"))
    assert drawn == []
    assert "Nothing is noted yet" in capsys.readouterr().out


def test_a_log_that_is_being_written_and_its_newest_sheet(drawn, tmp_path):
    (tmp_path / "samples").mkdir()
    for step, colour in ((5, "red"), (10, "blue")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / "samples" / f"step-{step:08}.png")
    (tmp_path / "samples" / "next.partial").write_bytes(b"half a picture")
    line = '{"step": 10, "loss": 0.5, "lr": 0.001, "images_per_s": 9.0}\n'
    (tmp_path / "log.jsonl").write_text(line + '{"step": 20, "lo')
    progress = trainer.progress(tmp_path)
    assert [entry["step"] for entry in progress.log] == [10]
    show.training_progress(*progress)
    (_, words), (sheet, more) = drawn
    assert "is 0.5 after step 10" in words
    assert sheet.getpixel((0, 0)) == (0, 0, 255)
    assert "after step 10, always from the same noise" in more


def test_it_is_shown_through_figure_in_plain_words(capsys):
    show.training_progress(entries(1.0, 0.5), Image.new("RGB", (8, 8)), 11)
    printed = capsys.readouterr().out
    assert "The loss over the steps" in printed
    assert "What the averaged network draws after step 11" in printed
