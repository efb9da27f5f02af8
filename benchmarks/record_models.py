"""Trains the models that chapter 10 shows, and records how that went and how good they are.

    python benchmarks/record_models.py butterflies-64
    python benchmarks/record_models.py photographs-32 --data photos.parquet
    python benchmarks/record_models.py comparison --images 600000
    python benchmarks/record_models.py retrained --minutes 5

The photographs are 50,000 of 32×32 in a parquet file, in the layout that the Hub has; a model learns from all but the
last 5,000, with which it is then compared. The comparison trains the network of chapter 00's model twice with the same
number of images: by the course's trainer, and by the loop of diffusers' example. `retrained` trains it by the course's
trainer for its minutes, and compares it with the shipped model itself, whose weights another program made.

Training and judging may run apart, for judging needs no GPU: `--part train` leaves samples beside the run in --runs,
and `--part judge` takes them from there. Whatever is there already is not made again, and a run that was cut off goes
on. On a GPU the course's trainer compiles the network, which its minutes and seconds include.
"""

import argparse
import json
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from diffusers_example import example_steps
from PIL import Image
from safetensors.torch import load_file, save

from course_utils.authoring.shipping import made_on, write_hashes
from course_utils.data import batches, load_images, to_model, to_pixels
from course_utils.data.parallel import draw_butterflies
from course_utils.diffusion.unet import UNet, UNetConfig
from course_utils.evaluate import butterfly_features, photo_features
from course_utils.evaluate.report import evaluate_samples
from course_utils.interop import find_pipeline, unet_from_diffusers, unet_to_diffusers
from course_utils.interop.checkpoint import write_whole
from course_utils.trainer import PRESETS, Settings, draw, read_log, run, sheet, trained
from course_utils.trainer.settings import read_settings

HELD_OUT = {"butterflies": 4_000, "photographs": 5_000}  # images that no model learns from
BUTTERFLIES_HELD_OUT = 105  # their seed
ALIKE = replace(PRESETS["h100"], precision="auto")  # to be tried out on a CPU, too

MODELS = {
    "butterflies-64": ALIKE,
    "photographs-32": replace(
        ALIKE,
        purpose="photographs at 32×32 in a few minutes of a data-centre GPU",
        model=UNetConfig(
            channels=(96, 192, 192, 192),
            attention=(False, True, False, False),
            head_dim=64,
            sample_size=32,
        ),
        data="photographs",
        images=None,
    ),
    "butterflies-32": replace(
        ALIKE,
        purpose="the network of the model that the course ships",
        model=UNetConfig(
            channels=(32, 64, 112),
            attention=(False, False, True),
            groups=16,
            head_dim=8,
            sample_size=32,
        ),
        batch=256,
        lr=8e-4,
        cool_down=0.5,
        sample_every=1_000,
    ),
}
RECORDS = Path("course_utils/assets/capstone")
SAMPLES = "samples.safetensors"
MEASURES = ("frechet", "precision", "recall")
TRIED = 50  # steps after which it is known how long all of them will take


def kind(name: str) -> str:
    return name.split("-")[0]


def images(name: str, args: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """The pixels to learn from, and those that are held out. Drawn ones are kept in --runs."""
    side, held_out = MODELS[name].model.sample_size, args.held_out or HELD_OUT[kind(name)]
    if kind(name) == "photographs":
        pixels = load_images(args.data, side).pixels
        return pixels[:-held_out], pixels[-held_out:]
    drawn = args.runs / f"{name}-{args.drawn}.safetensors"
    if not drawn.exists():
        parts = {
            "training": (args.drawn, side, 0),
            "held out": (held_out, side, BUTTERFLIES_HELD_OUT),
        }
        keep(drawn, {part: draw_butterflies(*what) for part, what in parts.items()})
    kept = load_file(drawn)
    return kept["training"], kept["held out"]


def keep(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write them as a whole, or not at all: what is there is not made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save(tensors))


def keep_samples(path: Path, model, settings: Settings, number: int, device: torch.device) -> None:
    """DDIM's with 50 steps, as pixels: as many as `evaluate_samples` compares with half of the held-out images."""
    samples = draw(model.to(device), settings, number, device)
    keep(path, {"samples": to_pixels(samples).cpu()})


def train(
    settings: Settings, folder: Path, pixels: torch.Tensor, samples: int, device: torch.device
) -> None:
    """A run of the course's trainer in a folder, begun or gone on with, and its samples."""
    if not (folder / SAMPLES).exists():
        begun = (folder / "settings.json").exists()
        if not run(settings, folder, pixels=pixels, resume=begun).finished:
            raise SystemExit(1)  # stopped by somebody; the run has said how to go on
        keep_samples(folder / SAMPLES, *trained(folder), samples, device)


def train_model(name: str, args: argparse.Namespace, device: torch.device) -> None:
    """A run in --runs, and its samples."""
    folder = args.runs / name
    training, held_out = images(name, args)
    settings = fitting(MODELS[name], args, device)
    train(settings, folder, training, len(held_out) // 2, device)
    write(made_on("benchmarks/record_models.py"), folder / "machine.json")


def fitting(settings: Settings, args: argparse.Namespace, device: torch.device) -> Settings:
    """With the changes of the command line. Compiled on a GPU; with --tiny a network for trying this file out."""
    if args.minutes:
        settings = replace(settings, minutes=args.minutes)
    if args.sample_every:
        settings = replace(settings, sample_every=args.sample_every)
    if args.tiny:
        c = settings.model
        small = replace(c, channels=(32, 32), attention=(False, True), layers=1, head_dim=8)
        settings = replace(settings, model=small, batch=8, sample_every=2, log_every=1, warm_up=1)
    compiling = device.type == "cuda" and args.compile
    return replace(settings, compile="reduce-overhead" if compiling else None)


def train_both(args: argparse.Namespace, device: torch.device) -> None:
    """The same network by both loops with the same number of images, and samples of both."""
    training, held_out = images("butterflies-32", args)
    settings = fitting(MODELS["butterflies-32"], args, device)
    minutes, steps = settings.minutes, args.images // settings.batch
    settings = replace(settings, minutes=None, steps=steps, cool_down=0.0)
    for name, how in (("diffusers", train_example), ("course", train)):
        folder = args.runs / "comparison" / name
        more = (minutes,) if how is train_example else ()
        how(settings, folder, training, len(held_out) // 2, device, *more)


def train_again(args: argparse.Namespace, device: torch.device) -> None:
    """A run with the network of the shipped model, and as many samples of the shipped one."""
    name, samples = "butterflies-32", args.runs / "shipped" / SAMPLES
    train_model(name, args, device)
    if not samples.exists():
        _, held_out = images(name, args)
        unet = unet_from_diffusers(find_pipeline("butterflies")).eval()
        keep_samples(samples, unet, MODELS[name], len(held_out) // 2, device)


def train_example(
    settings: Settings,
    folder: Path,
    pixels: torch.Tensor,
    samples: int,
    device: torch.device,
    minutes: float,
) -> None:
    """The loop of diffusers' example, and its samples; ends the program if it would take longer than the minutes."""
    if (folder / SAMPLES).exists():
        return
    torch.manual_seed(settings.seed)
    network = unet_to_diffusers(UNet(settings.model)).train().to(device)
    average = EMAModel(network.parameters(), use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    options = {"lr": settings.lr, "steps": settings.steps, "ema": average}
    start = time.perf_counter()
    stream = batches(pixels.to(device), settings.batch, flip=True, seed=settings.seed)
    steps = example_steps(network, stream, **options)
    for step, _ in enumerate(steps, 1):  # it asks for each loss, so the GPU has been waited for
        seconds = time.perf_counter() - start
        if step == TRIED and seconds * settings.steps / step > 60 * minutes:
            most = int(60 * minutes / seconds * step) * settings.batch
            raise SystemExit(f"In {minutes:g} minutes it sees {most:,} images: give --images less.")
    average.copy_to(network.parameters())
    about = {"images": settings.steps * settings.batch, "seconds": round(seconds, 1)}
    write(about | {"machine": made_on("benchmarks/record_models.py")}, folder / "about.json")
    unet = unet_from_diffusers(network.cpu()).eval()
    keep_samples(folder / SAMPLES, unet, settings, samples, device)


def strip(samples: list[Image.Image], side: int, number: int = 8) -> Image.Image:
    """The first samples of each sheet, a row for each."""
    step = side + 2
    paper = Image.new("RGB", (number * step + 2, len(samples) * step + 2), "white")
    for row, picture in enumerate(samples):
        columns = (picture.width - 2) // step
        for i in range(number):
            x, y = 2 + i % columns * step, 2 + i // columns * step
            tile = picture.crop((x, y, x + side, y + side))
            paper.paste(tile, (2 + i * step, 2 + row * step))
    return paper


def parameters(config: UNetConfig) -> int:
    """How many weights a network has."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in UNet(config).parameters())


def judge_model(name: str, args: argparse.Namespace) -> None:
    """The record of a run: what chapter 10 shows."""
    source, out = args.runs / name, args.out / name
    out.mkdir(parents=True, exist_ok=True)
    for file in ("settings.json", "log.jsonl"):
        shutil.copy(source / file, out / file)
    log, settings = read_log(out / "log.jsonl"), read_settings(out / "settings.json")
    sheets = sorted((source / "samples").glob("step-*.png"))
    wanted = [len(sheets) ** (i / 5) for i in range(6)]  # evenly on a logarithmic scale
    marks = sorted({sheets[round(i) - 1] for i in wanted})
    side = settings.model.sample_size
    strip([Image.open(mark) for mark in marks], side).save(out / "over-time.png")
    samples = load_file(source / SAMPLES)["samples"]
    sheet(to_model(samples[:36])).save(out / "final.png")
    rates = sorted(entry["images_per_s"] for entry in log[1:]) or [log[0]["images_per_s"]]
    record = {
        "machine": json.loads((source / "machine.json").read_text(encoding="utf-8")),
        "marks": [int(mark.stem.removeprefix("step-")) for mark in marks],
        "steps": log[-1]["step"],
        "images_per_s": rates[len(rates) // 2],
        "memory_gb": log[-1]["memory_gb"],
        "first_step_s": log[0]["seconds"],
        "seconds": log[-1]["seconds"],
        "parameters": parameters(settings.model),
        "sampler": "DDIM, 50 steps",
    }
    write(record, out / "record.json")
    features = photo_features if kind(name) == "photographs" else butterfly_features
    seen = evaluate_samples(samples, *images(name, args), features)
    write(record | {"evaluation": seen}, out / "record.json")


def judge_both(args: argparse.Namespace) -> None:
    """The record of the comparison."""
    source = args.runs / "comparison"
    log = read_log(source / "course" / "log.jsonl")
    theirs = json.loads((source / "diffusers" / "about.json").read_text(encoding="utf-8"))
    record = {"machine": theirs["machine"], "images": theirs["images"]}
    record |= {"first_step_s": log[0]["seconds"], "rows": []}
    for name, folder, seconds in (
        ("the course's trainer", "course", log[-1]["seconds"]),
        ("UNet2DModel, diffusers' loop", "diffusers", theirs["seconds"]),
    ):
        about = {"seconds": seconds, "images_per_s": record["images"] / seconds}
        add_row(record, name, about, source / folder, args)
    write(record, args.out / "comparison.json")


def judge_again(args: argparse.Namespace) -> None:
    """The record of the shipped model, and of the same network by the course's trainer."""
    source = args.runs / "butterflies-32"
    log, settings = read_log(source / "log.jsonl"), read_settings(source / "settings.json")
    shipped = Path(find_pipeline("butterflies")) / "training.json"
    theirs = json.loads(shipped.read_text(encoding="utf-8"))
    record = {"machine": json.loads((source / "machine.json").read_text(encoding="utf-8"))}
    record |= {"first_step_s": log[0]["seconds"], "rows": []}
    shipped_seen, seen = theirs["steps"] * theirs["batch_size"], log[-1]["step"] * settings.batch
    for name, folder, number, seconds in (
        ("the shipped model", args.runs / "shipped", shipped_seen, 60 * theirs["minutes"]),
        ("the same network, trained anew", source, seen, log[-1]["seconds"]),
    ):
        about = {"images": number, "seconds": seconds, "images_per_s": number / seconds}
        add_row(record, name, about, folder, args)
    write(record, args.out / "retrained.json")


def add_row(record: dict, name: str, about: dict, folder: Path, args: argparse.Namespace) -> None:
    """Judge the samples in a folder, by the butterflies of 32 × 32."""
    samples = load_file(folder / SAMPLES)["samples"]
    seen = evaluate_samples(samples, *images("butterflies-32", args), butterfly_features)
    record["rows"].append({"name": name} | about | {what: seen[what] for what in MEASURES})
    record["frechet_real"] = seen["frechet_real"]


COMPARISONS = {"comparison": (train_both, judge_both), "retrained": (train_again, judge_again)}


def write(record: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*MODELS, *COMPARISONS])
    parser.add_argument("--data", help="the photographs")
    parser.add_argument(
        "--minutes", type=float, help="of training, or of diffusers' loop; 6, if not said otherwise"
    )
    parser.add_argument("--images", type=int, default=600_000, help="of the comparison, each loop")
    parser.add_argument("--drawn", type=int, default=40_000, help="butterflies to learn from")
    parser.add_argument("--held-out", type=int, help="images to judge by (default: thousands)")
    parser.add_argument("--out", type=Path, default=RECORDS, help="the folder of the records")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of the runs")
    parser.add_argument("--part", choices=["draw", "train", "judge", "all"], default="all")
    parser.add_argument("--sample-every", type=int, help="steps between pictures")
    parser.add_argument(
        "--no-compile", dest="compile", action="store_false", help="start at once, train slowly"
    )
    parser.add_argument("--tiny", action="store_true", help="a small network, to try this file out")
    args = parser.parse_args()
    if kind(args.what) == "photographs" and not args.data:
        parser.error("the photographs are not part of the course: name them with --data.")

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training, judging = COMPARISONS.get(
        args.what, (partial(train_model, args.what), partial(judge_model, args.what))
    )
    if args.part == "draw":
        images("butterflies-32" if args.what in COMPARISONS else args.what, args)
    if args.part in ("train", "all"):
        training(args, device)
    if args.part in ("judge", "all"):
        judging(args)
        write_hashes(args.out)


if __name__ == "__main__":
    main()
