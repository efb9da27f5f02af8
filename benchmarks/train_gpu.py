"""How fast the course's trainer is on a GPU, beside diffusers, and what each of its optimisations brings.

    python benchmarks/train_gpu.py --out runs/train_gpu

The network has the shape of google/ddpm-cifar10-32, the images are random. In one process, one after the other: the
course's trainer, and what shares its compilation; diffusers' UNet2DModel in the loop of diffusers' own unconditional
example, and in the course's loop with all its optimisations; a step of sampling; then both with other
optimisations less, and the course's trainer in larger batches.

A network takes a minute or two to compile, so all rows take some twelve. Each is written as soon as it is measured. The
same command once more, after `--minutes` or whatever else ended the first, fills in those that are missing: it
measures the first row again, and stops if the machine is no longer as fast. `--tiny` tries everything out on a CPU.
"""

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import DDPMScheduler
from diffusers_example import example_images, example_steps
from speed_results import FIRST, attempt, check_speed, earlier, table, write
from torch.utils.flop_counter import FlopCounterMode

from course_utils.authoring.shipping import made_on
from course_utils.data import batches
from course_utils.diffusion import schedule
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
SAMPLING_STEPS = 100
kept: dict = {}  # the network and loss function of the last row


@dataclass(frozen=True)
class Row:
    """One way to train. The fields after `batch` are the optimisations, as the course's trainer has them."""

    name: str
    network: str = "course"
    loop: str = "course"
    batch: int = 128
    precision: str = "bf16"
    compile: str | None = "reduce-overhead"
    fusible_norm: bool = True
    channels_last: bool = True
    optimizer: str = (
        "fused"  # "default": torch's own; "single": a kernel for each tensor, in the average, too
    )
    resident: bool = True  # the images lie on the GPU
    asynchronous: bool = True  # nobody asks for the loss before the end
    autotune: bool = False  # cuDNN tries which of its convolutions is fastest

    @property
    def program(self) -> tuple:
        """What decides what is compiled: rows that agree in it share one compilation."""
        kind = (self.network, self.loop, self.batch, self.precision, self.compile)
        return (*kind, self.fusible_norm, self.channels_last)


COURSE = Row(FIRST)
EXAMPLE = Row("UNet2DModel, diffusers' example", "diffusers", "example")
EXAMPLE_LOADER = replace(EXAMPLE, name=f"{EXAMPLE.name} and loader", resident=False)
SAME = Row("UNet2DModel, the same optimisations", "diffusers")
LARGER = replace(COURSE, name="in batches of 512", batch=512, compile="default")
SAME_PROGRAM = [
    replace(COURSE, name="with torch's default optimizer", optimizer="default"),
    replace(COURSE, name="without fused optimizer and average", optimizer="single"),
    replace(COURSE, name="without the images on the GPU", resident=False),
    replace(COURSE, name="with a look at the loss after every step", asynchronous=False),
    replace(COURSE, name="with convolutions tried out", autotune=True),
]
EAGER = replace(COURSE, name="without compiling", compile=None, fusible_norm=False)
OTHER_PROGRAMS = [
    EAGER,
    replace(EAGER, name="without compiling and bf16", precision="fp32"),
    replace(COURSE, name="without CUDA graphs", compile="default"),
    replace(SAME, name="UNet2DModel, the same but for CUDA graphs", compile="default"),
    replace(COURSE, name="without group norm that fuses", fusible_norm=False),
    replace(COURSE, name="without channels_last", channels_last=False),
]
ROWS = [COURSE, *SAME_PROGRAM, EXAMPLE, EXAMPLE_LOADER, SAME, *OTHER_PROGRAMS, LARGER]
BEFORE_SAMPLING = ROWS.index(SAME) + 1  # rows


# --- the ways to train --------------------------------------------------------------------------------------


def network_and_loss(row: Row, config: UNetConfig, device: torch.device) -> tuple:
    """Both as the row wants them; those of the row before, if they are the same."""
    key = (row.program, row.autotune)
    if key in kept:
        return kept[key]
    network = UNet(config)
    if row.network == "diffusers":
        network = unet_to_diffusers(network).train()
    network.to(device)
    if row.channels_last:
        speed.colours_innermost(network)
    if row.fusible_norm and row.network == "course":
        speed.fuse_group_norms(network)
    losses = speed.loss_function(
        network if row.network == "course" else lambda x, t: network(x, t).sample,
        schedule.linear(),
        device,
        dtype=DTYPES[row.precision],
        compile=row.compile,
    )
    kept[key] = network, losses
    return kept[key]


def diffusers_steps(row: Row, config: UNetConfig, pixels: torch.Tensor) -> Iterator[torch.Tensor]:
    """diffusers' own example, with its own optimizer, and its own image loader unless the images lie on the GPU."""
    network = unet_to_diffusers(UNet(config)).train().to(pixels.device)
    own = example_images(pixels, row.batch)
    return example_steps(network, batches(pixels, row.batch, flip=True) if row.resident else own)


def course_steps(row: Row, config: UNetConfig, pixels: torch.Tensor) -> Iterator[torch.Tensor]:
    """The course's loop, with the optimisations that the row has, and either network."""
    device = pixels.device
    network, losses = network_and_loss(row, config, device)
    stream = batches(pixels if row.resident else pixels.cpu(), row.batch, flip=True)
    stream = (x0.to(device) for x0 in stream)
    if row.optimizer == "single":
        optimizer = torch.optim.AdamW(
            network.parameters(), 1e-4, weight_decay=0.0, fused=False, foreach=False
        )
    else:
        optimizer = speed.adamw(network, 1e-4, fused=row.optimizer == "fused")
    steps = loop(
        network,
        stream,
        partial(add_gradients, losses, T=schedule.linear().T, generator=torch.Generator(device)),
        optimizer,
        rate=lambda step: 1e-4,
        ema=OneByOne(network) if row.optimizer == "single" else EMA(network),
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
    kept.clear()
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


def operations(row: Row, config: UNetConfig) -> int:
    """Floating-point operations of training with one image: forward, and twice as many backward."""
    with torch.device("meta"):
        network = UNet(config)
        if row.network == "diffusers":
            network = unet_to_diffusers(network)
        x = torch.empty(row.batch, 3, config.sample_size, config.sample_size)
        t = torch.zeros(row.batch, dtype=torch.int64)
    with FlopCounterMode(display=False) as counted:
        network(x, t)
    return 3 * counted.get_total_flops() // row.batch


def measure(row: Row, config: UNetConfig, pixels: torch.Tensor, seconds: float) -> dict:
    """Images per second, the median over stretches of about a second, and the time to the first step."""
    torch.manual_seed(0)
    speed.try_convolutions_out(row.autotune)
    start = now()
    ways = {"course": course_steps, "example": diffusers_steps}
    steps = ways[row.loop](row, config, pixels)
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
        "tflops": round(operations(row, config) * rate / 1e12, 1),
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
    config: UNetConfig,
    device: torch.device,
    *,
    precision: str = "bf16",
    compile: str | None,
    fusible_norm: bool = False,
) -> Callable[[torch.Tensor], None]:
    """The course's DDPM."""
    cuda = device.type == "cuda"
    dtype, mode = (DTYPES[precision], compile) if cuda else (torch.float32, None)
    network = UNet(config).to(device)
    if fusible_norm:
        speed.fuse_group_norms(network)
    model = speed.for_sampling(network, dtype=dtype, compile=mode)
    plan = schedule.linear()

    def walk(x: torch.Tensor) -> None:
        for _ in ddpm(model, x, plan, steps=SAMPLING_STEPS, clip=1.0):
            pass

    return walk


SAMPLERS = {
    "diffusers, eager, fp32": walk_diffusers,
    "the course's, eager, fp32": partial(walk_course, precision="fp32", compile=None),
    "the course's, bf16, compiled, CUDA graphs": partial(walk_course, compile="reduce-overhead"),
    "the same with the group norm that fuses": partial(
        walk_course, compile="reduce-overhead", fusible_norm=True
    ),
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


def profile(row: Row, config: UNetConfig, pixels: torch.Tensor) -> str:
    """Which kernels ten steps of a row spend their time in, and what compiling took so far."""
    steps = course_steps(row, config, pixels)
    for _ in range(8):
        next(steps)
    now()
    with torch.profiler.profile() as seen:
        for _ in range(10):
            next(steps)
        now()
    key = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    kernels = seen.key_averages().table(sort_by=key, row_limit=60, max_name_column_width=90)
    return f"{kernels}\n\n{torch._dynamo.utils.compile_times()}"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for results.json and results.md")
    # Not "--only": torch's compiler looks for that in any command, and writes what follows into its programs.
    parser.add_argument(
        "--rows",
        nargs="+",
        default=[""],
        metavar="PART",
        help="those whose names hold one of these",
    )
    parser.add_argument("--no-sampling", dest="sampling", action="store_false")
    parser.add_argument("--seconds", type=float, default=4, help="of measuring for each row")
    parser.add_argument("--minutes", type=float, default=8.5, help="begin no row after so long")
    parser.add_argument("--profile", action="store_true", help="also write profile.txt into --out")
    parser.add_argument(
        "--cache",
        type=Path,
        help="use and keep what is compiled in this folder; if it was not empty, first steps are not timed",
    )
    parser.add_argument("--tiny", action="store_true", help="a small network, to try this file out")
    return parser.parse_args()


def main() -> None:
    args, began = options(), time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config, seconds = (TINY, 0.05) if args.tiny else (CIFAR10, args.seconds)
    results = earlier(args.out, made_on("benchmarks/train_gpu.py"))
    before = results["training"].get(COURSE.name)
    rows = [row for row in ROWS if any(part in row.name for part in args.rows)]
    rows = [row for row in rows if row.name not in results["training"]]
    samplers = [name for name in SAMPLERS if args.sampling and name not in results["sampling"]]
    if before is not None and (rows or samplers):
        rows.insert(0, COURSE)
    if args.tiny:
        rows = [replace(row, batch=row.batch // 32) for row in rows]
    if device.type == "cpu":
        rows = [replace(row, precision="fp32", compile=None) for row in rows]
    generator = torch.Generator().manual_seed(0)
    shape = (8192, 3, config.sample_size, config.sample_size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)

    warm = args.cache is not None and args.cache.is_dir() and any(args.cache.iterdir())

    def keep(kind: str, name: str, seen: dict) -> None:
        print(f"{time.perf_counter() - began:4.0f} s  {name}: {seen}", flush=True)
        results[kind][name] = seen
        if args.out:
            write(results, args.out)

    compiled = set()  # programs, in this run

    def train(row: Row) -> None:
        shares = (row.program, row.autotune) in kept
        if not shares:
            clean_up()
        seen = {"batch": row.batch} | attempt(measure, row, config, pixels, seconds)
        if shares:  # with the row before, whose memory is still taken
            seen["memory_gb"] = None
        if shares or (
            row.compile and (warm or row.program in compiled)
        ):  # it waited for no compiler
            seen["first_step_s"] = None
        compiled.add(row.program)
        if row.name == COURSE.name and before is not None:
            print(f"{row.name}, once more: {seen}", flush=True)
            check_speed(before, seen, 0.5 if args.tiny else 0.03)
        else:
            keep("training", row.name, seen)
        if row.name == COURSE.name and args.profile and args.out:
            told = attempt(lambda: {"table": profile(row, config, pixels)})
            (args.out / "profile.txt").write_text(str(told.get("table", told)), encoding="utf-8")

    def walk(name: str) -> None:
        clean_up()
        keep("sampling", name, attempt(measure_sampling, SAMPLERS[name], config, device))

    first = {row.name for row in ROWS[:BEFORE_SAMPLING]}
    plan = [partial(train, row) for row in rows if row.name in first]
    plan += [partial(walk, name) for name in samplers]
    plan += [partial(train, row) for row in rows if row.name not in first]
    with TemporaryDirectory(prefix="compiled-", ignore_cleanup_errors=True) as empty:
        # The time to the first step is that of somebody who compiles for the first time.
        cache = str(args.cache or empty)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        os.environ["TRITON_CACHE_DIR"] = f"{cache}/triton"
        for number, task in enumerate(plan):
            if time.perf_counter() - began > 60 * args.minutes:
                print(f"{len(plan) - number} are left: the same command goes on with them.")
                break
            task()
    print("\n" + table(results))


if __name__ == "__main__":
    main()
