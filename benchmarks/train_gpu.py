"""How fast the course's trainer is on a GPU, beside diffusers, and what each of its optimisations brings.

    python benchmarks/train_gpu.py --out runs/train_gpu

The network has the shape of google/ddpm-cifar10-32, the images are random. In one process, one after the other:
diffusers' UNet2DModel in the loop of diffusers' own unconditional example; the same network in the course's loop, with
all its optimisations; the course's network in it; the same with one optimisation less at a time, and in larger batches;
and a step of sampling. Results are written as they come. `--tiny` tries everything out on a CPU.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

# The time to the first step is that of somebody who compiles for the first time. Before torch is imported:
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", tempfile.mkdtemp(prefix="compiled-"))
os.environ.setdefault("TRITON_CACHE_DIR", os.environ["TORCHINDUCTOR_CACHE_DIR"] + "/triton")

import torch
import torch._inductor.config
import torch.nn.functional as F
from diffusers import DDPMScheduler

from course_utils.authoring.shipping import made_on
from course_utils.data import batches
from course_utils.diffusion import schedule, unet
from course_utils.diffusion.samplers import ddpm
from course_utils.diffusion.training import EMA, loop
from course_utils.diffusion.unet import UNet, UNetConfig
from course_utils.interop import unet_to_diffusers
from course_utils.trainer import speed
from course_utils.trainer.precision import DTYPES
from course_utils.trainer.step import add_gradients

CIFAR10 = UNetConfig(
    channels=(128, 256, 256, 256),
    attention=(False, True, False, False),
    downsample_padding=0,
    sample_size=32,
)
TINY = replace(CIFAR10, channels=(32, 32), attention=(False, True), layers=1, sample_size=16)
FORWARD = 12.44e9  # floating-point operations of CIFAR10 for one image; training takes three times as many
SAMPLING_STEPS = 100


@dataclass(frozen=True)
class Row:
    """One way to train. The fields after `batch` are the optimisations, each switched on."""

    name: str
    network: str = "course"
    loop: str = "course"
    batch: int = 128
    precision: str = "bf16"
    compile: str | None = "reduce-overhead"
    fusible_norm: bool = True
    channels_last: bool = True
    fused: bool = True  # optimizer and moving average
    resident: bool = True  # the images lie on the GPU
    asynchronous: bool = True  # nobody asks for the loss before the end
    autotune: bool = True  # cuDNN tries which of its convolutions is fastest
    patch: str | None = None

    @property
    def program(self) -> tuple:
        """What decides what is compiled: rows that agree in it share one compilation."""
        kind = (self.network, self.batch, self.precision, self.compile)
        return (*kind, self.fusible_norm, self.channels_last, self.patch)


COURSE = Row("the course's trainer")
EXAMPLE = Row("diffusers' UNet2DModel, diffusers' example", "diffusers", "example", autotune=False)
SAME = Row("diffusers' UNet2DModel, the same optimisations", "diffusers")
LARGER = replace(COURSE, name="the course's trainer, batch 512", batch=512, compile="default")
WITHOUT = [
    replace(COURSE, name="without CUDA graphs", compile="default"),
    replace(COURSE, name="without group norm that fuses", fusible_norm=False),
    replace(COURSE, name="without compiling", compile=None, fusible_norm=False),
    replace(COURSE, name="without trying convolutions out", autotune=False),
    replace(COURSE, name="without fused optimizer and average", fused=False),
    replace(COURSE, name="without the images on the GPU", resident=False),
    replace(COURSE, name="with a look at the loss after every step", asynchronous=False),
    replace(COURSE, name="without channels_last", channels_last=False),
    replace(COURSE, name="without bf16", precision="fp32"),
]
TRIALS = [  # TEMPORARY: ideas to judge on a real GPU, to be adopted or deleted
    replace(COURSE, name="trial: group norm by groups", patch="by_groups"),
    replace(COURSE, name="trial: merged upsampling", patch="merged_upsampling"),
    replace(COURSE, name="trial: tuned kernels", patch="tuned"),
]
ROWS = [COURSE, EXAMPLE, SAME, LARGER, *TRIALS, *WITHOUT]


def group_norm_by_groups(x, groups, weight, bias, eps):
    B, C, H, W = x.shape
    grouped = x.float().reshape(B, groups, C // groups, H, W)
    variance, mean = torch.var_mean(grouped, (2, 3, 4), correction=0, keepdim=True)
    normal = ((grouped - mean) * (variance + eps).rsqrt()).reshape(B, C, H, W)
    return (normal * weight.view(1, C, 1, 1) + bias.view(1, C, 1, 1)).to(x.dtype)


def upsample_merged(self, x):
    return F.conv_transpose2d(x, self.merged(), self.bias, stride=2, padding=1)


@contextmanager
def patched(name: str | None):
    norm, up = speed.group_norm, unet.Upsample.forward
    if name == "by_groups":
        speed.group_norm = group_norm_by_groups
    if name == "merged_upsampling":
        unet.Upsample.forward = upsample_merged
    tuned = torch._inductor.config.patch(coordinate_descent_tuning=name == "tuned")
    try:
        with tuned:
            yield
    finally:
        speed.group_norm, unet.Upsample.forward = norm, up


# --- the ways to train --------------------------------------------------------------------------------------


def example_steps(row: Row, config: UNetConfig, pixels: torch.Tensor) -> Iterator[torch.Tensor]:
    """The loop of diffusers' examples/unconditional_image_generation/train_unconditional.py, images given.

    Its images come through a DataLoader from the disk; here they lie on the GPU, which is in its favour.
    """
    from accelerate import Accelerator
    from diffusers.optimization import get_scheduler

    cuda = pixels.device.type == "cuda"
    accelerator = Accelerator(mixed_precision="bf16" if cuda else "no", cpu=not cuda)
    weight_dtype = torch.bfloat16 if cuda else torch.float32
    model = unet_to_diffusers(UNet(config)).train()
    noise_scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
    )
    lr_scheduler = get_scheduler(
        "cosine", optimizer, num_warmup_steps=500, num_training_steps=100_000
    )
    model, optimizer, lr_scheduler = accelerator.prepare(model, optimizer, lr_scheduler)
    for x0 in batches(pixels, row.batch, flip=True):
        clean_images = x0.to(weight_dtype)
        noise = torch.randn(clean_images.shape, dtype=weight_dtype, device=clean_images.device)
        timesteps = torch.randint(0, 1000, (len(x0),), device=x0.device).long()
        noisy_images = noise_scheduler.add_noise(clean_images, noise, timesteps)
        with accelerator.accumulate(model):
            model_output = model(noisy_images, timesteps).sample
            loss = F.mse_loss(model_output.float(), noise.float())
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()
        yield torch.tensor(loss.detach().item())  # the example logs it after every step


def course_steps(row: Row, config: UNetConfig, pixels: torch.Tensor) -> Iterator[torch.Tensor]:
    """The course's loop, with the optimisations that the row has, and either network."""
    device = pixels.device
    network = UNet(config)
    if row.network == "diffusers":
        network = unet_to_diffusers(network).train()
    network.to(device)
    if row.channels_last:
        speed.colours_innermost(network)
    if row.fusible_norm and row.network == "course":
        speed.fuse_group_norms(network)
    plan = schedule.linear()
    losses = speed.loss_function(
        network if row.network == "course" else lambda x, t: network(x, t).sample,
        plan,
        device,
        dtype=DTYPES[row.precision],
        compile=row.compile,
    )
    stream = batches(pixels if row.resident else pixels.cpu(), row.batch, flip=True)
    stream = (x0.to(device) for x0 in stream)
    optimizer = speed.adamw(network, 1e-4, fused=row.fused)
    steps = loop(
        network,
        stream,
        partial(add_gradients, losses, T=plan.T, generator=torch.Generator(device)),
        optimizer,
        rate=lambda step: 1e-4,
        ema=EMA(network) if row.fused else OneByOne(network),
        max_norm=1.0,
        accumulate=1,
        start=0,
    )
    for step in steps:
        if not row.asynchronous:
            step.loss.item()
        yield step.loss


class OneByOne(EMA):
    """The moving average with a kernel for each tensor, for comparison."""

    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        for ours, theirs in zip(self.model.parameters(), model.parameters(), strict=True):
            ours.lerp_(theirs, 1 - self.decay)


# --- measuring ----------------------------------------------------------------------------------------------


def clean_up() -> None:
    torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def now() -> float:
    """The time once the GPU has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(row: Row, config: UNetConfig, pixels: torch.Tensor, seconds: float) -> dict:
    """Images per second, the median over stretches of about a second, and the time to the first step."""
    torch.manual_seed(0)
    speed.try_convolutions_out(row.autotune)
    start = now()
    steps = {"course": course_steps, "example": example_steps}[row.loop](row, config, pixels)
    first_loss = float(next(steps))
    first_step = now() - start
    for _ in range(6):  # a CUDA graph is recorded in the second or third
        loss = next(steps)
    start = now()
    next(steps)
    stretch = max(1, round(min(1.0, seconds) / (now() - start)))
    rates, begin = [], now()
    while not rates or now() - begin < seconds:
        start = now()
        for _ in range(stretch):
            loss = next(steps)
        rates.append(stretch * row.batch / (now() - start))
    rate = statistics.median(rates)
    return {
        "images_per_s": round(rate, 1),
        "tflops": round(3 * FORWARD * rate / 1e12, 1) if config == CIFAR10 else None,
        "spread": round((max(rates) - min(rates)) / rate, 3),
        "first_step_s": round(first_step, 1),
        "memory_gb": round(torch.cuda.max_memory_reserved() / 1e9, 1)
        if torch.cuda.is_available()
        else None,
        "losses": [round(first_loss, 4), round(float(loss), 4)],
    }


def walk_diffusers(config: UNetConfig, device: torch.device) -> Callable[[torch.Tensor], None]:
    """The loop of DDPMPipeline, eager and in float32, as it comes."""
    network = unet_to_diffusers(UNet(config)).eval().to(device)
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(SAMPLING_STEPS)

    @torch.no_grad()
    def walk(x: torch.Tensor) -> None:
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x).prev_sample

    return walk


def walk_course(
    config: UNetConfig, device: torch.device, *, precision: str = "bf16", compile: str | None
) -> Callable[[torch.Tensor], None]:
    """The course's DDPM."""
    cuda = device.type == "cuda"
    dtype, mode = (DTYPES[precision], compile) if cuda else (torch.float32, None)
    model = speed.for_sampling(UNet(config).to(device), dtype=dtype, compile=mode)
    plan = schedule.linear()

    def walk(x: torch.Tensor) -> None:
        for _ in ddpm(model, x, plan, steps=SAMPLING_STEPS, clip=1.0):
            pass

    return walk


SAMPLERS = {
    "diffusers, eager, fp32": walk_diffusers,
    "the course's, eager, fp32": partial(walk_course, precision="fp32", compile=None),
    "the course's, bf16, compiled, CUDA graphs": partial(walk_course, compile="reduce-overhead"),
}


def measure_sampling(make: Callable, config: UNetConfig, device: torch.device) -> dict:
    """Milliseconds per step for one image, the median over five walks, and the time that the first walk takes."""
    speed.try_convolutions_out(False)
    x = torch.randn(1, 3, config.sample_size, config.sample_size, device=device)
    start = now()
    walk = make(config, device)
    walk(x)
    first_walk, times = now() - start, []
    for _ in range(5):
        start = now()
        walk(x)
        times.append((now() - start) / SAMPLING_STEPS)
    return {
        "ms_per_step": round(1000 * statistics.median(times), 3),
        "first_walk_s": round(first_walk, 1),
    }


# --- the run ------------------------------------------------------------------------------------------------


def compile_ahead(rows: list[Row], tiny: bool, most_seconds: float) -> None:
    """Fill the compiler's cache for the rows by a process each, five at a time: one by one takes minutes more."""
    environment = os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": "4"}
    end = time.perf_counter() + most_seconds

    def compile_one(row: Row) -> None:
        command = [sys.executable, __file__, "--ahead", *["--tiny"] * tiny, "--only", row.name]
        with suppress(subprocess.TimeoutExpired):
            left = max(1.0, end - time.perf_counter())
            subprocess.run(command, env=environment, timeout=left, check=False)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(compile_one, rows))


def profile(row: Row, config: UNetConfig, pixels: torch.Tensor) -> str:
    """Which kernels ten steps of a row spend their time in."""
    steps = course_steps(row, config, pixels)
    for _ in range(8):
        next(steps)
    now()
    with torch.profiler.profile() as seen:
        for _ in range(10):
            next(steps)
        now()
    key = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    return seen.key_averages().table(sort_by=key, row_limit=60, max_name_column_width=90)


def table(results: dict) -> str:
    """All that was measured, in Markdown."""
    rows, sampling = results["training"], results["sampling"]
    ours = rows.get(COURSE.name, {}).get("images_per_s")
    lines = [
        "| training | batch | images/s | TFLOP/s | of the course's | memory, GB | first step, s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        seen = rows.get(row.name)
        if seen is None:
            continue
        if "error" in seen:
            lines.append(f"| {row.name} | {seen['batch']} | {seen['error']} |||||")
            continue
        share = f"{seen['images_per_s'] / ours:.2f}" if ours else ""
        cells = [seen["batch"], seen["images_per_s"], seen["tflops"], share]
        cells += [seen["memory_gb"], seen["first_step_s"]]
        lines.append(f"| {row.name} | " + " | ".join(map(str, cells)) + " |")
    if sampling:
        lines += ["", "| sampling, one image | ms a step | first walk, s |", "| --- | --- | --- |"]
    for name, seen in sampling.items():
        cells = (
            [seen["error"], ""] if "error" in seen else [seen["ms_per_step"], seen["first_walk_s"]]
        )
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def attempt(function, *args, **options) -> dict:
    """What the function measures, or the error that it ends in."""
    try:
        return function(*args, **options)
    except Exception as error:  # one row that fails must not cost the others
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    finally:
        clean_up()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for results.json and results.md")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="PART", help="rows whose names hold one of these"
    )
    parser.add_argument("--no-sampling", dest="sampling", action="store_false")
    parser.add_argument("--seconds", type=float, default=4, help="of measuring for each row")
    parser.add_argument("--minutes", type=float, default=8.5, help="begin no row after so long")
    parser.add_argument("--profile", action="store_true", help="also write profile.txt into --out")
    parser.add_argument("--tiny", action="store_true", help="a small network, to try this file out")
    parser.add_argument("--ahead", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()

    began = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cuda = device.type == "cuda"
    config, seconds = (TINY, 0.05) if args.tiny else (CIFAR10, args.seconds)
    rows = [row for row in ROWS if any(part in row.name for part in args.only)]
    if args.tiny:
        rows = [replace(row, batch=row.batch // 32) for row in rows]
    if not cuda:
        rows = [replace(row, precision="fp32", compile=None) for row in rows]
    generator = torch.Generator().manual_seed(0)
    shape = (8192, 3, config.sample_size, config.sample_size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)

    if args.ahead:  # the first steps compile; nothing is measured
        for row in rows:
            if row.name in args.only:
                with patched(row.patch):
                    print(attempt(measure, row, config, pixels, 0.0), file=sys.stderr)
        return

    results = {"machine": made_on("benchmarks/train_gpu.py"), "training": {}, "sampling": {}}

    def keep(kind: str, name: str, seen: dict) -> None:
        results[kind][name] = seen
        print(f"{time.perf_counter() - began:4.0f} s  {name}: {seen}", flush=True)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
            (args.out / "results.json").write_text(text, encoding="utf-8")
            (args.out / "results.md").write_text(table(results) + "\n", encoding="utf-8")

    def in_time() -> bool:
        return time.perf_counter() - began < 60 * args.minutes

    for i, row in enumerate(rows):
        if i == 1 and cuda:
            # Not before the first row, which measures how long it takes with nothing compiled yet.
            programs = {other.program: other for other in reversed(rows) if other.compile}
            programs.pop(rows[0].program, None)
            compile_ahead(list(programs.values()), args.tiny, most_seconds=200)
            print(f"{time.perf_counter() - began:4.0f} s  the others are compiled", flush=True)
        seen = {"error": "not measured: no time was left"}
        if in_time():
            with patched(row.patch):
                seen = attempt(measure, row, config, pixels, seconds)
        keep("training", row.name, {"batch": row.batch} | seen)
        if row.name == COURSE.name and args.profile and args.out:
            told = attempt(lambda row: {"table": profile(row, config, pixels)}, row)
            (args.out / "profile.txt").write_text(str(told.get("table", told)), encoding="utf-8")
        if row.name == SAME.name or (i + 1 == len(rows) and not results["sampling"]):
            for name, walks in SAMPLERS.items():
                if args.sampling and in_time():
                    keep("sampling", name, attempt(measure_sampling, walks, config, device))
    print("\n" + table(results))


if __name__ == "__main__":
    main()
