"""What comes out of a run: its network, pictures, and a folder that diffusers opens."""

import math
from pathlib import Path

import safetensors.torch
import torch
from PIL import Image

from course_utils.data import to_pixels
from course_utils.diffusion.samplers import ddim, ddpm
from course_utils.diffusion.unet import UNet
from course_utils.interop import save_pipeline
from course_utils.interop.checkpoint import checkpoints
from course_utils.trainer.log import duration, read_log
from course_utils.trainer.settings import Settings, read_settings

SAMPLERS = {"ddim": ddim, "ddpm": ddpm}
SETTINGS, LOG, PICTURES, PIPELINE = "settings.json", "log.jsonl", "samples", "pipeline"


def trained(folder: Path) -> tuple[UNet, Settings]:
    """The averaged network of a run's newest checkpoint, on the CPU, and the run's settings.

    Raises:
        FileNotFoundError: if there is no run in the folder, or it has no checkpoint yet.
    """
    if not (folder / SETTINGS).is_file() or not checkpoints(folder):
        raise FileNotFoundError(f"there is no run with a checkpoint in {folder}.")
    settings = read_settings(folder / SETTINGS)
    weights = safetensors.torch.load_file(checkpoints(folder)[-1])
    with torch.device("meta"):  # no first weights, which would be overwritten at once
        unet = UNet(settings.model)
    average = {
        name.removeprefix("ema."): w for name, w in weights.items() if name.startswith("ema.")
    }
    unet.load_state_dict(average, assign=True)
    return unet.eval(), settings


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
    """Samples of a model(x, t), [images, C, H, W], the same for the same seed."""
    generator = torch.Generator(device).manual_seed(seed)
    side = settings.model.sample_size
    x = torch.randn(images, settings.channels, side, side, generator=generator, device=device)
    options = {"steps": steps, "spacing": "trailing", "clip": 1.0, "generator": generator}
    walk = SAMPLERS[sampler](model, x, settings.schedule, prediction=settings.prediction, **options)
    for step in walk:
        x = step.x
    return x


def sheet(samples: torch.Tensor) -> Image.Image:
    """Samples in a block as nearly square as may be, pixel for pixel, with a gap of two white pixels."""
    B, C, H, W = samples.shape
    columns = math.ceil(math.sqrt(B))
    paper = Image.new("RGB", (columns * (W + 2) + 2, math.ceil(B / columns) * (H + 2) + 2), "white")
    for i, image in enumerate(to_pixels(samples).cpu().permute(0, 2, 3, 1).numpy()):
        tile = Image.fromarray(image[..., 0] if C == 1 else image)
        paper.paste(tile, (2 + i % columns * (W + 2), 2 + i // columns * (H + 2)))
    return paper


CARD = """---
tags: [unconditional-image-generation, diffusers, diffusion-course]
---
# {data}, {size}×{size}

A denoising diffusion model of {parameters:,} parameters, trained with the course *Diffusion from scratch*.

```python
from diffusers import DDPMPipeline

images = DDPMPipeline.from_pretrained("{folder}")(batch_size=4).images
```

| | |
| --- | --- |
| data | {data}{count} at {size}×{size}{flipped} |
| training | {steps:,} steps of {batch:,} images, {time} |
| objective | {prediction} prediction, t uniform over {T} steps, {noise} schedule |
| learning rate | {lr}, after {warm_up} steps of warm-up; AdamW |
| weights | moving average with decay {ema} |
| loss at the end | {loss} |

**What it is for.** Learning how diffusion models work. It draws images like those that it was trained on, and nothing
has been done to keep it from drawing some of them. What the training images show, and under which terms, is for you to
add here, before you publish the model.
"""


def export(folder: Path, out: Path) -> None:
    """Write a run's averaged network as a pipeline that diffusers opens, with a model card.

    Raises:
        FileNotFoundError: as in `trained`.
        OSError: if it cannot be written.
    """
    unet, settings = trained(folder)
    save_pipeline(unet, settings.schedule, out, prediction=settings.prediction)
    steps = int(checkpoints(folder)[-1].stem.removeprefix("step-"))
    log = [entry for entry in read_log(folder / LOG) if entry["step"] <= steps]
    card = CARD.format(
        data=Path(settings.data).name,
        count=f", {settings.images:,} images" if settings.images else "",
        size=settings.model.sample_size,
        flipped=", mirrored with probability one half" if settings.flip else "",
        parameters=sum(weight.numel() for weight in unet.parameters()),
        folder=out.name,
        steps=steps,
        batch=settings.batch * settings.accumulate,
        time=duration(log[-1]["seconds"]) if log else "time not recorded",
        prediction=settings.prediction,
        T=settings.T,
        noise=settings.noise,
        lr=settings.lr,
        warm_up=settings.warm_up,
        ema=settings.ema,
        loss=f"{log[-1]['loss']:.4f}" if log else "not recorded",
    )
    (out / "README.md").write_text(card, encoding="utf-8")
