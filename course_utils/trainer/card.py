"""The folder that a run ends in: its averaged network as a pipeline for diffusers, with a model card."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError

from course_utils.data.streaming import DiskImages
from course_utils.interop import save_pipeline
from course_utils.interop.checkpoint import checkpoints, write_whole
from course_utils.trainer.log import duration, read_log, read_skipped
from course_utils.trainer.processes import here
from course_utils.trainer.results import LOG, trained
from course_utils.trainer.settings import BUTTERFLIES, Settings

PIPELINE, FACTS, SKIPPED = "pipeline", "facts.json", "skipped.txt"
GIVEN = "pixels given from Python"


def write_facts(
    out: Path, settings: Settings, images: torch.Tensor | DiskImages, precision: str, *, given: bool
) -> None:
    """Note what only the run itself knows: on what, and on how many images of what, it trains.

    Args:
        given: the images were handed over from Python, rather than found where settings.data says.
    """
    state, source = here(), Path(settings.data).expanduser()
    cuda = state.device.type == "cuda"
    name = source.name if source.exists() else settings.data
    facts = {
        "data": GIVEN if given else name,
        "drawn": settings.data == BUTTERFLIES and not given,
        "images": len(images),
        "device": torch.cuda.get_device_name(state.device) if cuda else state.device.type.upper(),
        "processes": state.num_processes,
        "precision": precision,
        "torch": torch.__version__,
    }
    write_whole(out / FACTS, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())


def pixels_given(out: Path) -> bool | None:
    """Whether the run in a folder got its images from Python, so that settings.data does not name them.

    None if it has not begun to train.
    """
    facts = out / FACTS
    if not facts.is_file():
        return None
    return json.loads(facts.read_text(encoding="utf-8"))["data"] == GIVEN


CARD = """---
library_name: diffusers
pipeline_tag: unconditional-image-generation
tags:
- diffusers
- unconditional-image-generation
- diffusion-course
---
# {title} of {size}×{size}

A denoising diffusion model of {parameters:,} parameters, trained with the course *Diffusion from scratch*.

```python
from diffusers import DDPMPipeline

images = DDPMPipeline.from_pretrained("{folder}")(batch_size=4, num_inference_steps={T}).images
```

`DDIMPipeline` opens the same folder and needs fewer steps, such as 50.

| | |
| --- | --- |
| data | {data}: {images:,} images of {size}×{size}, {colours}{flipped} |
| could not be read | {skipped} |
| training | {steps:,} steps of {batch:,} images, {time} |
| objective | {prediction} prediction, t uniform over {T} steps, {noise} schedule |
| learning rate | {lr:g}, after {warm_up} steps of warm-up; AdamW, weight decay {weight_decay:g} |
| gradients | longer ones than {max_norm:g} scaled down to it |
| weights | moving average with decay {ema} |
| loss at the end | {loss} |
| made on | {device}, {precision}, PyTorch {torch} |

**What it is for.** Learning how diffusion models work. It draws images like those that it was trained on, and nothing
has been done to keep it from drawing some of them. {terms}
"""
YOURS = """What the training images show, whose they are, and under which terms, is for you to
add here, before you publish the model."""
DRAWN = "The butterflies were drawn by a program, and show nobody's property."


def export(folder: Path, out: Path) -> None:
    """Write a run's averaged network as a pipeline that diffusers opens, with a model card.

    Raises:
        FileNotFoundError: as in `trained`.
        OSError: if it cannot be written.
    """
    unet, settings = trained(folder)
    try:
        save_pipeline(unet, settings.schedule, out, prediction=settings.prediction)
    except SafetensorError as error:  # of a full disk, for instance
        raise OSError(str(error)) from None
    steps = int(checkpoints(folder)[-1].stem.removeprefix("step-"))
    log = [entry for entry in read_log(folder / LOG) if entry["step"] <= steps]
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    skipped, count = len(read_skipped(folder / SKIPPED)), facts["processes"]
    card = CARD.format(
        **{name: facts[name] for name in ("data", "images", "precision", "torch")},
        device=facts["device"] if count == 1 else f"{count} × {facts['device']}",
        title="Images" if facts["data"] == GIVEN else f"{facts['data']}: images",
        terms=DRAWN if facts["drawn"] else YOURS,
        skipped=f"{skipped:,} images" if skipped != 1 else "1 image",
        size=settings.model.sample_size,
        colours="in colour" if settings.channels == 3 else "grey",
        flipped=", mirrored with probability one half" if settings.flip else "",
        parameters=sum(weight.numel() for weight in unet.parameters()),
        folder=out.name,
        steps=steps,
        batch=settings.batch * settings.accumulate,
        time=duration(log[-1]["seconds"]) if log else "time not recorded",
        loss=f"{log[-1]['loss']:.4f}" if log else "not recorded",
        **{
            name: getattr(settings, name)
            for name in (
                "prediction",
                "T",
                "noise",
                "lr",
                "warm_up",
                "weight_decay",
                "max_norm",
                "ema",
            )
        },
    )
    write_whole(out / "README.md", card.encode())
