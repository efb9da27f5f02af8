"""`diffusion-course train` and `sample`."""

from dataclasses import replace

import pytest
from PIL import Image

from course_utils.authoring.cli import main, parser
from course_utils.authoring.training import settings_of
from course_utils.trainer import PRESETS


def settings(*options):
    return settings_of(parser().parse_args(["train", "--out", "nowhere", *options]))


def test_options_change_the_preset_and_nothing_else():
    changed = settings("--preset", "h100", "--batch", "64", "--steps", "10", "--no-compile")
    assert (changed.batch, changed.steps, changed.minutes, changed.compile) == (64, 10, None, None)
    assert changed.model == PRESETS["h100"].model
    assert settings("--preset", "t4") == PRESETS["t4"]
    photos = settings("--preset", "cpu", "--data", "photos", "--size", "32", "--images-in", "disk")
    assert photos.images_in == "disk"
    assert (photos.data, photos.images, photos.model.sample_size) == ("photos", None, 32)
    drawn = settings("--preset", "t4", "--data", "butterflies", "--images", "50")
    assert drawn == replace(PRESETS["t4"], images=50)
    assert settings("--preset", "t4", "--data", "butterflies") == PRESETS["t4"]
    letters = settings("--preset", "cpu", "--data", "letters", "--grey", "--no-flip")
    assert (letters.channels, letters.model.out_channels, letters.flip) == (1, 1, False)
    assert letters.model.sample_size == PRESETS["cpu"].model.sample_size


def test_a_run_from_the_command_line_goes_on_and_draws(tmp_path, capsys):
    out = str(tmp_path / "run")
    small = ["--preset", "cpu", "--images", "32", "--size", "8", "--batch", "32"]
    assert main(["train", "--out", out, *small, "--steps", "1"]) == 0
    assert "ready for diffusers" in capsys.readouterr().out
    assert main(["train", "--out", out, *small]) == 2
    assert "holds a run already" in capsys.readouterr().err
    for fixed in (["--preset", "cpu"], ["--grey"], ["--no-flip"]):
        assert main(["train", "--out", out, "--resume", *fixed]) == 2
        assert "leave them out" in capsys.readouterr().err
    assert main(["train", "--out", out, "--resume", "--steps", "2"]) == 0
    assert "Going on after step 1." in capsys.readouterr().out
    picture, pipeline = tmp_path / "a.png", tmp_path / "pipeline"
    drawn = ["--out", str(picture), "--export", str(pipeline), "--images", "5", "--steps", "2"]
    assert main(["sample", out, *drawn]) == 0
    assert Image.open(picture).size == (3 * 10 + 2, 2 * 10 + 2)
    assert "2 steps of 32 images" in (pipeline / "README.md").read_text()


def test_grey_images_are_learned_and_drawn_from_the_command_line(tmp_path, capsys):
    for i in range(8):
        Image.new("RGB", (9, 8), (30 * i, 0, 200)).save(tmp_path / f"{i}.png")
    small = ["--preset", "cpu", "--size", "8", "--batch", "8", "--steps", "1"]
    run = [*small, "--data", str(tmp_path), "--grey", "--no-flip", "--out", str(tmp_path / "run")]
    assert main(["train", *run]) == 0
    assert main(["sample", str(tmp_path / "run"), "--out", str(tmp_path / "drawn.png")]) == 0
    red, green, blue = Image.open(tmp_path / "drawn.png").split()
    assert red.tobytes() == green.tobytes() == blue.tobytes()
    card = (tmp_path / "run" / "pipeline" / "README.md").read_text()
    assert "8 images of 8×8, grey |" in card


def test_the_help_says_how_to_use_several_processes_and_a_drive(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    assert "accelerate launch --multi_gpu --num_processes 2 -m course_utils.authoring.cli" in text
    assert "--out /content/drive/MyDrive/" in text
    assert "--num_machines 2" in text
    assert "nobody has tried this yet" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--out", "x"], "choose a --preset"),
        (["train", "--out", "x", "--preset", "tpu"], "choose a --preset"),
        (["train", "--out", "x", "--resume"], "there is no run in x"),
        (["train", "--out", "x", "--preset", "cpu", "--lr", "-1"], "lr to be a number above 0"),
        (["train", "--out", "x", "--preset", "cpu", "--grey"], "butterflies are drawn in colour"),
        (["sample", "x"], "say what to write"),
        (["sample", "x", "--out", "a.png"], "there is no run with a checkpoint in x"),
    ],
)
def test_a_command_that_cannot_run_says_why(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
