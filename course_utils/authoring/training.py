"""`diffusion-course train` and `sample`: the trainer from the command line."""

import argparse
from dataclasses import replace
from pathlib import Path

from course_utils.authoring.course import CourseError

# What may be changed about a preset, with its type; the rest is for Python, where the trainer is
# course_utils.trainer.run(settings, out).
CHANGES = {
    "steps": int,
    "minutes": float,
    "batch": int,
    "accumulate": int,
    "images": int,
    "lr": float,
    "cool_down": float,
    "precision": str,
    "images_in": str,
    "checkpoint_every": int,
    "sample_every": int,
    "seed": int,
}
HELP = {
    "steps": "end after so many",
    "minutes": "end after so much training",
    "batch": "images in a batch, over all processes",
    "accumulate": "batches in a step, for a larger one than fits into memory",
    "images": "take so many, the first ones",
    "lr": "the learning rate",
    "cool_down": "the last part of the run, 0 to 1, over which the learning rate falls to 0",
    "precision": "bf16, fp16, fp32 or auto",
    "images_in": "gpu, memory, disk, or auto for the first where they fit",
    "checkpoint_every": "steps between checkpoints",
    "sample_every": "steps between pictures",
    "seed": "of the weights, the order, t and the noise",
}


EXAMPLES = """examples:
  diffusion-course train --preset t4 --data photos/ --out runs/photos
  diffusion-course train --resume --out runs/photos    after Ctrl-C, a lost machine, a full disk

on Colab, into a mounted Drive, so that a lost session loses nothing but the steps since the last checkpoint:
  diffusion-course train --preset t4 --out /content/drive/MyDrive/first
A run keeps its newest two checkpoints, each about four times the size of the weights, and its sheets of samples.

with all GPUs of a machine:
  accelerate launch -m course_utils.authoring.cli train --preset h100 --out runs/first
with two of them, or, where there is no GPU, with two processes on the CPU:
  accelerate launch --multi_gpu --num_processes 2 -m course_utils.authoring.cli train …
with two machines of eight GPUs, on each of them, the second with --machine_rank 1 (nobody has tried this yet; --out
must be a folder that both see):
  accelerate launch --multi_gpu --num_machines 2 --num_processes 16 --machine_rank 0 \\
    --main_process_ip 10.0.0.1 --main_process_port 29500 -m course_utils.authoring.cli train …
Ctrl-C, or SIGTERM to the launcher, saves at the next line of the log. If a process is lost, the launcher ends the
others; --resume goes on from the newest checkpoint, on as many GPUs as you like.
"""


def add_commands(command) -> None:
    """Add both commands to the parser's."""
    train_parser = command("train", train, "train an image model", "")
    train_parser.epilog = EXAMPLES
    train_parser.formatter_class = argparse.RawDescriptionHelpFormatter
    train_parser.add_argument("--out", type=Path, required=True, help="the folder of this run")
    train_parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    train_parser.add_argument(
        "--preset",
        help="what to begin from: cpu, t4 or h100; without it, each one's purpose is printed",
    )
    train_parser.add_argument(
        "--data", help="butterflies, a folder, parquet file or Hub data set (default: the preset's)"
    )
    train_parser.add_argument("--size", type=int, help="height and width of the images")
    train_parser.add_argument("--grey", action="store_true", help="train on grey images")
    train_parser.add_argument(
        "--no-flip", action="store_true", help="mirror no images (letters, left and right shoes)"
    )
    train_parser.add_argument(
        "--no-compile", action="store_true", help="start at once, and train more slowly"
    )
    for name, kind in CHANGES.items():
        train_parser.add_argument(
            f"--{name.replace('_', '-')}", dest=name, type=kind, help=HELP[name]
        )

    sample_parser = command(
        "sample",
        sample,
        "draw pictures with a trained model, or hand it to diffusers",
        "diffusion-course sample runs/photos --out photos.png",
    )
    sample_parser.add_argument("run", type=Path, help="the folder of a run")
    sample_parser.add_argument("--out", type=Path, help="the picture to write")
    sample_parser.add_argument("--export", type=Path, help="write a folder that diffusers opens")
    sample_parser.add_argument("--images", type=int, default=16, help="how many (default: 16)")
    sample_parser.add_argument("--sampler", choices=("ddim", "ddpm"), default="ddim")
    sample_parser.add_argument("--steps", type=int, default=50, help="of the sampler (default: 50)")
    sample_parser.add_argument("--seed", type=int, default=0, help="another one, other pictures")


def settings_of(args: argparse.Namespace):
    """The settings that the options ask for: a preset's, or those of the run that goes on, with changes."""
    from course_utils.trainer.results import SETTINGS
    from course_utils.trainer.settings import BUTTERFLIES, PRESETS, read_settings

    if args.resume:
        if args.preset or args.data or args.size or args.grey or args.no_flip:
            raise CourseError(
                "a run goes on with the preset, data, size, colours and flips that it was begun with: leave them out."
            )
        if not (args.out / SETTINGS).is_file():
            raise CourseError(
                f"there is no run in {args.out} to go on with: leave --resume out to begin one there."
            )
        settings = read_settings(args.out / SETTINGS)
    elif args.preset not in PRESETS:
        listed = "\n".join(f"  {name:5} {preset.purpose}" for name, preset in PRESETS.items())
        raise CourseError(f"choose a --preset:\n{listed}")
    else:
        settings = PRESETS[args.preset]
    changes = {name: getattr(args, name) for name in CHANGES if getattr(args, name) is not None}
    if args.steps is not None or args.minutes is not None:  # one end replaces the other
        changes = {"steps": None, "minutes": None} | changes
    if args.data is not None:
        number = settings.images if args.data == BUTTERFLIES else None  # butterflies need one
        changes = {"data": args.data, "images": number} | changes
    shape = {} if args.size is None else {"sample_size": args.size}
    if args.grey:
        shape |= {"in_channels": 1, "out_channels": 1}
    if args.no_flip:
        changes["flip"] = False
    if args.no_compile:
        changes["compile"] = None
    return replace(settings, model=replace(settings.model, **shape), **changes)


def train(args: argparse.Namespace) -> int:
    from course_utils.trainer import RunError, run

    try:
        outcome = run(settings_of(args), args.out, resume=args.resume)
    except (RunError, ValueError, OSError) as error:
        raise CourseError(str(error)) from None
    return 0 if outcome.finished else 130


def sample(args: argparse.Namespace) -> int:
    import torch

    from course_utils.trainer import draw, export, sheet, trained

    if args.out is None and args.export is None:
        raise CourseError("say what to write: --out picture.png, or --export folder.")
    try:
        if args.export is not None:
            export(args.run, args.export)
            print(f"✓ diffusers opens {args.export}")
        if args.out is not None:
            model, settings = trained(args.run)
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            options = {"sampler": args.sampler, "steps": args.steps, "seed": args.seed}
            samples = draw(model.to(device), settings, args.images, device, **options)
            sheet(samples).save(args.out)
            print(f"✓ {args.out}")
    except (ValueError, OSError) as error:
        raise CourseError(str(error)) from None
    return 0
