"""docs/your_own_images.md: its commands are understood, and it can be followed from top to bottom."""

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.commands.launch import launch_command_parser
from diffusers.utils import logging as diffusers_logging
from PIL import Image

from course_utils import evaluate
from course_utils.authoring.cli import main, parser
from course_utils.authoring.training import settings_of
from course_utils.data import butterflies
from course_utils.diffusion.unet import UNet, UNetConfig
from course_utils.trainer import PRESETS

PAGE = (Path(__file__).parents[1] / "docs" / "your_own_images.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.M | re.S)


def for_colab(code: str) -> bool:
    return code.startswith(("%", "!"))


SNIPPETS = [code for language, code in BLOCKS if language == "python" and not for_colab(code)]
COLAB = [line for language, code in BLOCKS if for_colab(code) for line in code.splitlines()]
COMMANDS = [line for language, code in BLOCKS if language == "bash" for line in code.splitlines()]
COMMANDS += [line[1:] for line in COLAB if line.startswith("!")]
OURS = [command for command in COMMANDS if command.startswith("diffusion-course ")]


def understood(words):
    """That our command line takes these words, and that a new run can have these settings."""
    args = parser().parse_args(words)
    if words[0] == "train" and not args.resume:
        settings_of(args)


@pytest.mark.parametrize("command", OURS)
def test_a_command_is_understood(command):
    understood(shlex.split(command)[1:])


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("accelerate ")])
def test_a_launch_is_understood_by_accelerate_and_by_us(command):
    launch = launch_command_parser().parse_args(shlex.split(command)[2:])
    assert (launch.module, launch.training_script) == (True, "course_utils.authoring.cli")
    assert launch.num_processes in (4, 16)
    understood(launch.training_script_args)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("hf ")])
def test_a_command_of_the_hub_is_understood(command):
    hf = Path(sys.executable).with_name("hf")
    asked = subprocess.run([hf, *shlex.split(command)[1:], "--help"], capture_output=True)
    assert asked.returncode == 0, asked.stderr.decode()


def test_every_other_command_is_known_here():
    known = ("diffusion-course", "accelerate", "hf", "unzip")
    assert {command.split()[0] for command in COMMANDS} == set(known)
    assert {language for language, _ in BLOCKS} == {"bash", "python"}


def test_the_rest_of_a_colab_cell_is_python():
    rest = [line for line in COLAB if not line.startswith(("%", "!"))]
    compile("\n".join(rest), "a Colab cell", "exec")


def test_the_numbers_on_the_page_are_the_presets_():
    for name, size in (("cpu", 16), ("t4", 32), ("h100", 64)):
        assert f"`--preset {name}`, {size}×{size}" in PAGE
        assert PRESETS[name].model.sample_size == size
    t4 = PRESETS["t4"]
    with torch.device("meta"):
        weights = sum(weight.numel() for weight in UNet(t4.model).parameters())
    assert f"({t4.checkpoint_every} with this preset)" in PAGE
    assert (
        f"{round(4 * 4 * weights / 1e6, -1):.0f} MB each" in PAGE
    )  # network, average, two moments of Adam
    assert f"a batch has {t4.batch} images" in PAGE


TINY = UNetConfig(channels=(8,), attention=(False,), groups=4, sample_size=8)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """An empty folder with photos of several kinds and sizes, and presets that are over in a moment."""
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for i, pixels in enumerate(butterflies(160, 12, 3).permute(0, 2, 3, 1).numpy()):
        image = Image.fromarray(pixels).resize((12 + i % 5, 14))
        if i in (1, 2):
            image = image.convert(("RGBA", "L")[i - 1])
        folder, ending = ("photos", "photos/more")[i % 2], "jpg" if i % 3 == 0 else "png"
        image.save(tmp_path / folder / f"{i:03}.{ending}")
    (tmp_path / "photos" / "unreadable.jpg").write_bytes(b"\xff\xd8\xff")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "photo_features", evaluate.butterfly_features)  # for butterflies
    for name in ("cpu", "t4"):
        changes = {"model": TINY, "batch": 16, "steps": 3, "minutes": None, "log_every": 50}
        changes |= {"precision": "fp32", "compile": None}
        monkeypatch.setitem(PRESETS, name, replace(PRESETS[name], **changes))
    diffusers_logging.disable_progress_bar()
    yield tmp_path
    diffusers_logging.enable_progress_bar()


@pytest.mark.filterwarnings("ignore:skipped 1 of")
def test_the_page_can_be_followed_from_top_to_bottom(course, capsys):
    names = {}
    for language, code in BLOCKS:
        if language == "python" and code in SNIPPETS:
            exec(compile(code, "a snippet of the page", "exec"), names)
        elif language == "bash":
            for command in set(OURS) & set(code.splitlines()):
                assert main(shlex.split(command)[1:]) == 0, command
    said = capsys.readouterr().out
    assert "ImageSet(80 images [3, 32, 32], no labels, 1 skipped)\n80 different ones" in said
    rows = ("Fréchet distance", "precision", "recall", "too near to training")
    assert all(re.search(rf"^{row} +\S+ \(.+\) +\S+ \(.+\)$", said, re.M) for row in rows)
    assert "Closeness(samples=" in said
    assert "Going on after step 3." in said
    for written in ("loaded.png", "nearest.png", "photos.png", "slow.png", "one.png"):
        Image.open(course / written).verify()
    assert Image.open(course / "photos.png").size == (8 * 10 + 2, 8 * 10 + 2)
    for pipeline in ("runs/photos/pipeline", "runs/guessing-noise/pipeline", "photos-model"):
        assert (course / pipeline / "README.md").is_file()
    assert (
        "| objective | eps prediction,"
        in (course / "runs/guessing-noise/pipeline/README.md").read_text()
    )
