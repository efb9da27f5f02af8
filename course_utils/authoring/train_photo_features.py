"""Trains the classifier whose features the course compares photographs by: `course_utils.evaluate.photo_features`.

    python -m course_utils.authoring.train_photo_features --data PHOTOS --out FOLDER

PHOTOS is a parquet file or a folder of labelled photographs, in an order that mixes their kinds, such as CIFAR-10. The
classifier learns from all but the last 5,000, to tell what is on a photograph and its colours in 4×4 squares. It leaves
its weights, the features of the last 5,000, hashes, a log, and a model card that says how accurate it is.
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from course_utils.authoring.shipping import Log, made_on, write_trained
from course_utils.authoring.train_features import standardise
from course_utils.data import ImageSet, load_images, to_model
from course_utils.evaluate.classifier import FEATURES
from course_utils.evaluate.photographs import COARSE, HELD_OUT, PhotoClassifier, coarse

SIZE = 32


def labelled(source: str, held_out: int) -> ImageSet:
    """The photographs, each with a label.

    Raises:
        ValueError: if a label is missing, or there are no more photographs than those held out.
    """
    photos = load_images(source, SIZE)
    if photos.labels is None or bool((photos.labels < 0).any()):
        raise ValueError(f"every photograph needs a label; those in {source} are not all labelled.")
    if not 0 < held_out < len(photos):
        raise ValueError(
            f"{held_out} photographs cannot be held out of {len(photos)} to learn from the others."
        )
    return photos


def moved(pixels: torch.Tensor, most: int = 4) -> torch.Tensor:
    """Each picture mirrored or not, and shifted by up to `most` pixels; what comes in is the picture's mirror image.

    All on the pictures' device, without waiting for it. uint8 [N, C, H, W] in and out.
    """
    n, side, device = len(pixels), pixels.shape[-1], pixels.device
    line = torch.arange(side, device=device)

    def shifted() -> torch.Tensor:
        """From which row or column of the picture each comes, [N, side]."""
        to = line + torch.randint(-most, most + 1, (n, 1), device=device)
        return (side - 1) - ((side - 1) - to.abs()).abs()  # reflected at both ends

    rows, columns = shifted(), shifted()
    columns = torch.where(torch.rand(n, 1, device=device) < 0.5, columns, columns.flip(1))
    which = torch.arange(n, device=device)
    picked = pixels[which[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # [N, H, W, C]
    return picked.permute(0, 3, 1, 2)


def train(net, pixels, labels, *, steps: int, batch: int, lr: float, log) -> None:
    """Both questions at once: the kind, by cross-entropy, and the coarse colours, by their mean squared error."""
    device = pixels.device
    batch = min(batch, len(pixels))
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=5e-2, fused=True)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    losses, epoch = [], iter(())
    for step in range(1, steps + 1):
        index = next(epoch, None)
        if index is None or len(index) < batch:
            epoch = iter(torch.randperm(len(pixels), device=device).split(batch))
            index = next(epoch)
        images = to_model(moved(pixels[index])).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            scores, colours = net(images)
        loss = F.cross_entropy(scores.float(), labels[index])
        loss = loss + F.mse_loss(colours.float(), coarse(images))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        losses.append(loss.detach())
        if step % 250 == 0 or step == steps:  # only here the program waits for the device
            log(step=step, loss=round(torch.stack(losses).mean().item(), 4))
            losses = []


@torch.no_grad()
def judge(net, pixels, labels) -> tuple[dict[str, float], torch.Tensor]:
    """The share of kinds that are told right and of the colours' variance that is explained; and the features."""
    features = torch.cat([net.trunk(to_model(part)) for part in pixels.split(1000)])
    scores, colours = net.head(features).split(net.answers, 1)
    right = coarse(to_model(pixels))
    unexplained = (colours - right).square().mean() / (right - right.mean(0)).square().mean()
    told = (scores.argmax(1) == labels).float().mean()
    return {"kind": told.item(), "colours": 1 - unexplained.item()}, features


CARD = """---
license: mit
tags: [image-feature-extraction, educational]
---
# Photo features

A classifier of {parameters:,} parameters for 32×32 photographs, whose {features} features the course
*Diffusion from scratch* compares sets of photographs by: `course_utils.evaluate.photo_features`. It learned from
the first {learned:,} of {images:,} labelled photographs (CIFAR-10's training images, Krizhevsky 2009, compressed as
small JPEG files): what is on each, one of {kinds} kinds, and its colours in {coarse}×{coarse} squares, so that the
features keep how a picture looks as well. `reference.safetensors` has the features of the last {held_out:,}, which it
has not learned from. Distances between these features compare with no published FID, whose features are those of
another network.

| | |
| --- | --- |
| command | `{command}` |
| made on | {device}, {date}; Python {python}, torch {torch} |
| accuracy | {kind:.2%} of the kinds of the last {held_out:,} photographs; one of {kinds} by chance |
| colours | {colours:.2%} of the variance of the {coarse}×{coarse} squares' colours over them explained |
| training | {steps:,} steps of {batch} images, {seconds:.0f} s with loading and judging |
| weights | stored as float16; each feature has mean 0 and variance 1 over the last {held_out:,} photographs |

`training.json` holds the loss as it fell and `sha256.json` the hash of every other file.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="parquet file or folder of photographs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the classifier")
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help="so many, the last ones")
    parser.add_argument("--steps", type=int, default=3500)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--lr", type=float, default=5e-3, help="the highest learning rate")
    args = parser.parse_args(arguments)

    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    log = Log()

    started = time.perf_counter()
    photos = labelled(args.data, args.held_out)
    learned = len(photos) - args.held_out
    pixels, test = photos.pixels.to(device).split([learned, args.held_out])
    labels, test_labels = photos.labels.to(device).split([learned, args.held_out])
    log(loaded=len(photos), seconds=round(time.perf_counter() - started, 1))

    kinds = int(photos.labels.max()) + 1
    net = PhotoClassifier(kinds).to(device, memory_format=torch.channels_last)
    sizes = {"steps": args.steps, "batch": args.batch_size, "lr": args.lr}
    train(net, pixels, labels, **sizes, log=log)
    log(trained=args.steps, seconds=round(time.perf_counter() - started, 1))
    net.eval()
    standardise(net, test)

    # What is judged below is what a reader will load: the rounded weights, in float32.
    weights = {name: value.half().cpu().contiguous() for name, value in net.state_dict().items()}
    net = PhotoClassifier(kinds).load(weights).to(device)
    found, features = judge(net, test, test_labels)

    args.out.mkdir(parents=True, exist_ok=True)
    save_file(weights, args.out / "classifier.safetensors")
    save_file({"features": features.half().cpu()}, args.out / "reference.safetensors")
    made = made_on("-m course_utils.authoring.train_photo_features")
    made["command"] = made["command"].replace(args.data, Path(args.data).name)
    about = {
        **made,
        "parameters": sum(p.numel() for p in net.parameters()),
        "images": len(photos),
        "learned": learned,
        "held_out": args.held_out,
        "kinds": kinds,
        **sizes,
        "seconds": round(time.perf_counter() - started, 1),
        "accuracy": found,
    }
    card = CARD.format(**about, **found, features=FEATURES, coarse=COARSE)
    write_trained(args.out, card, about, log)


if __name__ == "__main__":
    main()
