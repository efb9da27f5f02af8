"""What comes out of a run: its network, and pictures of what it draws."""

import io
import math
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from course_utils.data import to_pixels
from course_utils.diffusion.objective import check_one_of
from course_utils.diffusion.samplers import ddim, ddpm
from course_utils.diffusion.unet import UNet
from course_utils.interop.checkpoint import checkpoints, read, write_whole
from course_utils.trainer.log import read_log
from course_utils.trainer.precision import DTYPES, best_precision
from course_utils.trainer.settings import Settings, read_settings

SAMPLERS = {"ddim": ddim, "ddpm": ddpm}
PART = 500  # samples that are drawn at a time
SETTINGS, LOG, PICTURES = "settings.json", "log.jsonl", "samples"


def trained(folder: Path) -> tuple[UNet, Settings]:
    """The averaged network of a run's newest checkpoint, on the CPU, and the run's settings.

    Raises:
        FileNotFoundError: if there is no run in the folder, or it has no checkpoint yet.
        ValueError: if its settings cannot be read, or its newest checkpoint is damaged.
    """
    unet, settings, _ = newest(folder)
    return unet, settings


def newest(folder: Path) -> tuple[UNet, Settings, int]:
    """What `trained` says, and the number of steps that the checkpoint has made."""
    found = checkpoints(folder)
    if not (folder / SETTINGS).is_file() or not found:
        raise FileNotFoundError(
            f"there is no run with a checkpoint in {folder}: name the --out of a run that has saved one."
        )
    settings = read_settings(folder / SETTINGS)
    about, tensors = read(found[-1])
    with torch.device("meta"):  # no first weights, which would be overwritten at once
        unet = UNet(settings.model)
    average = {
        name.removeprefix("ema."): w for name, w in tensors.items() if name.startswith("ema.")
    }
    unet.load_state_dict(average, assign=True)
    return unet.eval(), settings, about["step"]


def draw(
    model,
    settings: Settings,
    images: int,
    device: torch.device,
    *,
    sampler: str = "ddim",
    steps: int = 50,
    seed: int = 0,
) -> torch.Tensor:
    """Samples of a model(x, t), float32 [images, C, H, W] in [−1, 1], the same for the same seed.

    On a GPU the model computes in the fastest format that it has, as in training, unless the settings ask for fp32.
    More than 500 are drawn one part after the other.

    Args:
        model: on the device.
        sampler: "ddim" or "ddpm".
        steps: of the sampler, 1 … T.

    Raises:
        ValueError: if images < 1, there is no such sampler, or steps is out of range.
    """
    check_one_of("sampler", sampler, tuple(SAMPLERS))
    if images < 1:
        raise ValueError(f"need at least 1 image; got images={images}.")
    precision = "fp32" if settings.precision == "fp32" else best_precision(device)

    def ask(x: torch.Tensor, t: int) -> torch.Tensor:
        with torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32"):
            return model(x, t).to(x.dtype)

    generator = torch.Generator(device).manual_seed(seed)
    side = settings.model.sample_size
    noise = torch.randn(images, settings.channels, side, side, generator=generator, device=device)
    options = {"steps": steps, "spacing": "trailing", "clip": 1.0, "generator": generator}
    samples = []
    for x in noise.split(PART):
        walk = SAMPLERS[sampler](
            ask, x, settings.schedule, prediction=settings.prediction, **options
        )
        *_, last = walk
        samples.append(last.x)
    return torch.cat(samples)


def sheet(samples: torch.Tensor) -> Image.Image:
    """Samples in a block as nearly square as may be, pixel for pixel, with a gap of two white pixels."""
    B, C, H, W = samples.shape
    columns = math.ceil(math.sqrt(B))
    paper = Image.new("RGB", (columns * (W + 2) + 2, math.ceil(B / columns) * (H + 2) + 2), "white")
    for i, image in enumerate(to_pixels(samples).cpu().permute(0, 2, 3, 1).numpy()):
        tile = Image.fromarray(image[..., 0] if C == 1 else image)
        paper.paste(tile, (2 + i % columns * (W + 2), 2 + i // columns * (H + 2)))
    return paper


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a PNG whole or not at all. Raises OSError if it cannot be written."""
    png = io.BytesIO()
    image.save(png, "PNG")
    write_whole(path, png.getvalue())


def pictures_back_to(folder: Path, step: int) -> None:
    """Take back the sheets of samples after a step, which a run that goes on from there will make anew."""
    for picture in (folder / PICTURES).glob("step-*.png"):
        if int(picture.stem.removeprefix("step-")) > step:
            picture.unlink()


class Progress(NamedTuple):
    """What a run has written so far: its log, and the newest sheet of samples with the step that it was made after."""

    log: list[dict]
    sheet: Image.Image | None
    step: int | None


def progress(folder: str | Path) -> Progress:
    """How far a run has come, whether it goes on or has ended. `show.training_progress(*progress(folder))` draws it."""
    folder = Path(folder)
    pictures = sorted((folder / PICTURES).glob("step-*.png"))
    if not pictures:
        return Progress(read_log(folder / LOG), None, None)
    with Image.open(pictures[-1]) as image:
        newest = image.convert("RGB")
    return Progress(read_log(folder / LOG), newest, int(pictures[-1].stem.removeprefix("step-")))
