"""The folder that a run ends in: its averaged network as a pipeline for diffusers, with a model card."""

from pathlib import Path

from course_utils.interop import save_pipeline
from course_utils.interop.checkpoint import write_whole
from course_utils.trainer.folder import GIVEN, SKIPPED, read_facts
from course_utils.trainer.log import duration, read_log, read_skipped
from course_utils.trainer.results import LOG, newest

PIPELINE = "pipeline"
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
| learning rate | {lr:g}, after {warm_up} steps of warm-up{falling}; AdamW, weight decay {weight_decay:g} |
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
        FileNotFoundError, ValueError: as in `trained`.
        OSError: if it cannot be written.
    """
    unet, settings, steps = newest(folder)
    save_pipeline(unet, settings.schedule, out, prediction=settings.prediction)
    log = [entry for entry in read_log(folder / LOG) if entry["step"] <= steps]
    facts = read_facts(folder)
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
        falling=f", falling over the last {settings.cool_down:.0%} of the run"
        if settings.cool_down
        else "",
        parameters=sum(weight.numel() for weight in unet.parameters()),
        folder=out.resolve().name,
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
