"""Trains the weights that the course ships: a small UNet that draws 32×32 butterflies.

    python -m course_utils.authoring.train_butterflies --out FOLDER --minutes 5

It leaves a folder that `DDPMPipeline.from_pretrained(FOLDER)` opens, with its configuration, hashes, a log and a
model card that says how it was made; and beside it, in FOLDER-pictures, samples and their nearest training images.
"""

import argparse
import copy
import math
import time
from collections.abc import Callable
from pathlib import Path

import diffusers
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image
from torch.nn import functional as F

from course_utils.authoring.shipping import Log, made_on, write_trained
from course_utils.data import butterflies, to_model, to_pixels
from course_utils.data.parallel import draw_butterflies
from course_utils.diffusion import forward, schedule

SIZE = 32


def make_unet() -> UNet2DModel:
    """The shipped architecture: 3.2 million parameters, attention at 8×8."""
    return UNet2DModel(
        sample_size=SIZE,
        layers_per_block=2,
        block_out_channels=(32, 64, 112),
        norm_num_groups=16,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )


def as_one_launch(step: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The same step as one CUDA graph: to launch its many small kernels one by one takes longer than they do."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay() -> torch.Tensor:
        graph.replay()
        return loss

    return replay


def train(
    unet, images, *, minutes: float, batch_size: int, peak_lr: float, seed: int, log
) -> tuple:
    """Noise prediction (Ho et al. 2020, equation 14) until `minutes` have passed.

    Returns:
        (the exponential moving average of the weights, as a network; steps taken; seconds of training)
    """
    device, cuda = images.device, images.device.type == "cuda"
    # A copy at each step would stall.
    noise_schedule = schedule.from_beta(schedule.linear(1000).beta.to(device))
    torch.manual_seed(seed)
    unet.to(memory_format=torch.channels_last)
    ema = copy.deepcopy(unet).requires_grad_(False)
    # Tensors, so that a recorded step sees them change.
    lr, ema_share = torch.zeros((), device=device), torch.ones((), device=device)
    optimizer = torch.optim.AdamW(
        unet.parameters(), lr=lr, weight_decay=0.0, fused=True, capturable=cuda
    )
    bf16 = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    predict = torch.compile(unet) if cuda else unet

    def one_step() -> torch.Tensor:
        x0 = to_model(images[torch.randint(len(images), (batch_size,), device=device)])
        t = torch.randint(noise_schedule.T, (batch_size,), device=device)
        eps = torch.randn_like(x0)
        x_t = forward.q_sample(noise_schedule, x0, t, eps)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = F.mse_loss(predict(x_t, t).sample.float(), eps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for average, new in zip(ema.parameters(), unet.parameters(), strict=True):
                average.lerp_(new, ema_share)
        return loss.detach()

    step_now = as_one_launch(one_step) if cuda else one_step
    total, losses, step = minutes * 60, [], 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < total:
        # Warm up over 2 % of the time, then follow a half cosine down to zero.
        done = elapsed / total
        lr.fill_(peak_lr * min(done / 0.02, 0.5 + 0.5 * math.cos(math.pi * done)))
        ema_share.fill_(1 - min(0.9995, (1 + step) / (10 + step)))
        losses.append(float(step_now()))
        step += 1
        if step % 1000 == 0:
            log(step=step, seconds=round(elapsed, 1), loss=round(sum(losses) / len(losses), 5))
            losses.clear()
    return ema.to(memory_format=torch.contiguous_format), step, time.perf_counter() - start


@torch.no_grad()
def sample(unet, scheduler, noise: torch.Tensor, seed: int) -> torch.Tensor:
    """The denoising loop of diffusers' pipelines on a batch. Returns x0 in [−1, 1], shaped like noise."""
    generator = torch.Generator(noise.device).manual_seed(seed)
    x = noise
    for t in scheduler.timesteps:
        x = scheduler.step(unet(x, t).sample, t, x, generator=generator).prev_sample
    return x.clamp(-1, 1)


def nearest(samples: torch.Tensor, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each sample the closest training image by root mean square difference. Returns (distance [N], index [N])."""
    flat = to_model(images).flatten(1)
    # Without matrix products, whose rounding is larger than small distances.
    exact = "donot_use_mm_for_euclid_dist"
    found = [torch.cdist(s.flatten()[None], flat, compute_mode=exact)[0].min(0) for s in samples]
    distance = torch.stack([f.values for f in found]) / math.sqrt(flat.shape[1])
    return distance, torch.stack([f.indices for f in found])


def sheet(rows: list[torch.Tensor], scale: int = 3) -> Image.Image:
    """Rows of images [N, 3, H, W] in [−1, 1], pixel for pixel enlarged, on white."""
    padded = [F.pad(to_pixels(r).float(), (1, 1, 1, 1), value=255) for r in rows]
    picture = torch.cat([torch.cat(list(r), dim=2) for r in padded], dim=1)
    array = picture.permute(1, 2, 0).byte().cpu().numpy()
    return Image.fromarray(array).resize(
        (array.shape[1] * scale, array.shape[0] * scale), Image.Resampling.NEAREST
    )


CARD = """---
license: mit
tags: [unconditional-image-generation, diffusers, educational]
---
# Butterflies, 32×32

A DDPM of {parameters:,} parameters that draws butterflies. The course *Diffusion from scratch* ships it so that its
first notebook works with no network and no GPU. It learned from {images:,} images that
`course_utils.data.butterflies` draws from random numbers (set {seed}); no photograph was used.

```python
from diffusers import DDPMPipeline

images = DDPMPipeline.from_pretrained("course_utils/assets/butterflies-32")(batch_size=4).images
```

| | |
| --- | --- |
| command | `{command}` |
| made on | {device}, {date}; Python {python}, torch {torch}, diffusers {diffusers} |
| training | {steps:,} steps of {batch_size} images in {minutes:.1f} minutes ({rate:,.0f} images a second) |
| objective | noise prediction, t uniform over 1000 steps, linear β from 1e-4 to 0.02; on a GPU in bf16 |
| weights | moving average of the training weights, stored as float16 |
| closest training image | root mean square difference over 64 samples: smallest {closest:.3f}, median {median:.3f} |
| the same for 64 new drawings | smallest {closest_fresh:.3f}, median {median_fresh:.3f} |

The last two lines ask whether the model copies. Differences are in model units, where the whole range is 2: a copy
would be near 0, and a drawing that the model has never seen is as far from its nearest training image as the last
line says. `training.json` holds the loss as it fell and `sha256.json` the hash of every other file.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the pipeline")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    log = Log()

    started = time.perf_counter()
    images = draw_butterflies(args.images, SIZE, args.seed).to(device)
    log(drawn=len(images), seconds=round(time.perf_counter() - started, 1))

    torch.manual_seed(args.seed)
    ema, steps, seconds = train(
        make_unet().to(device),
        images,
        minutes=args.minutes,
        batch_size=args.batch_size,
        peak_lr=args.lr,
        seed=args.seed,
        log=log,
    )

    # What is judged below is what a reader will load: the rounded weights, in float32.
    scheduler = DDPMScheduler(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear"
    )
    DDPMPipeline(ema.cpu().half(), scheduler).save_pretrained(args.out)
    pipeline = DDPMPipeline.from_pretrained(args.out)
    unet = pipeline.unet.to(device).eval()

    noise = torch.randn(64, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)).to(device)
    ddpm = sample(unet, pipeline.scheduler, noise, seed=2)
    ddim_scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    ddim_scheduler.set_timesteps(50)
    ddim = sample(unet, ddim_scheduler, noise, seed=2)
    distance, index = nearest(ddpm, images)
    fresh = to_model(butterflies(64, SIZE, args.seed + 1)).to(device)
    distance_fresh, _ = nearest(fresh, images)

    pictures = args.out.with_name(args.out.name + "-pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    sheet(list(ddpm.split(8))).save(pictures / "samples-ddpm-1000.png")
    sheet(list(ddim.split(8))).save(pictures / "samples-ddim-50.png")
    rows = [
        r for k in range(0, 64, 16) for r in (ddpm[k : k + 16], to_model(images[index[k : k + 16]]))
    ]
    sheet(rows).save(pictures / "nearest-training-images.png")

    about = {
        **made_on("-m course_utils.authoring.train_butterflies"),
        "diffusers": diffusers.__version__,
        "parameters": sum(p.numel() for p in unet.parameters()),
        "images": len(images),
        "seed": args.seed,
        "steps": steps,
        "batch_size": args.batch_size,
        "minutes": seconds / 60,
        "rate": steps * args.batch_size / seconds,
        "closest": float(distance.min()),
        "median": float(distance.median()),
        "closest_fresh": float(distance_fresh.min()),
        "median_fresh": float(distance_fresh.median()),
    }
    write_trained(args.out, CARD.format(**about), about, log)


if __name__ == "__main__":
    main()
