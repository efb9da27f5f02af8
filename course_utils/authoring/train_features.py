"""Trains the classifier whose features the course compares pictures by: `course_utils.evaluate.butterfly_features`.

    python -m course_utils.authoring.train_features --out FOLDER

It learns to tell a drawn butterfly's pattern and twelve of its factors, and leaves its weights, the features of 2,000
butterflies that it has not seen, hashes, a log, and a model card that says how accurate it is.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from course_utils.authoring.shipping import Log, made_on, write_trained
from course_utils.data import to_model
from course_utils.data.butterflies import PATTERNS, Butterfly, butterfly
from course_utils.data.parallel import draw_butterflies
from course_utils.evaluate.features import ANGLES, FACTORS, FEATURES, ButterflyClassifier

TRAIN_SET, TEST_SET, REFERENCE_SET = 100, 101, 102  # seeds that no generating model learns from
TEST_IMAGES, REFERENCE_IMAGES = 5000, 2000


def truth(b: Butterfly) -> list[float]:
    """The number of the pattern, and then the factors: cosines of the angles, their sines, the others."""
    values = [getattr(b, name) for name in FACTORS]
    angles = values[: len(ANGLES)]
    return [
        PATTERNS.index(b.pattern),
        *map(math.cos, angles),
        *map(math.sin, angles),
        *values[len(ANGLES) :],
    ]


def draw(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """n butterflies of a set, [n, 3, 32, 32] uint8, and what is true of each, [n, 17]."""
    facts = torch.tensor([truth(butterfly(i, seed)) for i in range(n)])
    return draw_butterflies(n, 32, seed), facts


def train(net, pixels, patterns, factors, *, epochs: int, batch: int, lr: float, log) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-2, fused=True)
    steps = epochs * (len(pixels) // batch)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for epoch in range(epochs):
        losses = []
        for index in torch.randperm(len(pixels), device=pixels.device).split(batch)[:-1]:
            scores, guesses = net(to_model(pixels[index]))
            loss = F.cross_entropy(scores, patterns[index]) + F.mse_loss(guesses, factors[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if rates.last_epoch < steps:
                rates.step()
            losses.append(loss.detach())
        log(epoch=epoch + 1, loss=round(torch.stack(losses).mean().item(), 4))


@torch.no_grad()
def standardise(net, pixels: torch.Tensor) -> None:
    """Gives each feature mean 0 and variance 1 on these pictures; what the head makes of it stays the same."""
    features = torch.cat([net.trunk(to_model(part)) for part in pixels.split(1000)])
    mean, std = features.mean(0), features.std(0)
    last = net.trunk[-1]
    net.head.bias += net.head.weight @ mean
    net.head.weight *= std
    last.bias.sub_(mean).div_(std)
    last.weight /= std[:, None]


@torch.no_grad()
def accuracy(net, pixels, patterns, factors) -> dict[str, float]:
    """The share of patterns that are told right, and for each factor the share of its variance that is explained."""
    answers = [net(to_model(part)) for part in pixels.split(1000)]
    scores, guesses = (torch.cat(column) for column in zip(*answers, strict=True))
    unexplained = (guesses - factors).square().mean(0) / factors.var(0)
    named = [f"cos {name}" for name in ANGLES] + [f"sin {name}" for name in ANGLES]
    named += FACTORS[len(ANGLES) :]
    told = {name: 1 - u for name, u in zip(named, unexplained.tolist(), strict=True)}
    return {"pattern": (scores.argmax(1) == patterns).float().mean().item()} | told


CARD = """---
license: mit
tags: [image-feature-extraction, educational]
---
# Butterfly features

A classifier of {parameters:,} parameters for 32×32 pictures of butterflies, whose {features} features the course
*Diffusion from scratch* compares sets of pictures by: `course_utils.evaluate.butterfly_features`. It learned from
{images:,} images that `course_utils.data.butterflies` draws (set {train_set}). `reference.safetensors` has the features
of {reference:,} more (set {reference_set}). Distances between these features compare with no published FID, whose
features are those of another network.

| | |
| --- | --- |
| command | `{command}` |
| made on | {device}, {date}; Python {python}, torch {torch} |
| accuracy | {pattern:.2%} of the patterns of {test:,} new drawings (set {test_set}); one of five by chance |
| weights | stored as float16; each feature has mean 0 and variance 1 over the new drawings |

How much of each factor's variance over the new drawings it explains:

| factor | share |
| --- | --- |
{rows}

`training.json` holds the loss as it fell and `sha256.json` the hash of every other file.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the classifier")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=2e-3)
    args = parser.parse_args()

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    log = Log()

    started = time.perf_counter()
    (pixels, facts), (test, test_facts) = draw(args.images, TRAIN_SET), draw(TEST_IMAGES, TEST_SET)
    reference = draw_butterflies(REFERENCE_IMAGES, 32, REFERENCE_SET).to(device)
    pixels, facts, test, test_facts = (x.to(device) for x in (pixels, facts, test, test_facts))
    log(
        drawn=len(pixels) + len(test) + len(reference),
        seconds=round(time.perf_counter() - started, 1),
    )

    patterns, test_patterns = facts[:, 0].long(), test_facts[:, 0].long()
    mean, std = facts[:, 1:].mean(0), facts[:, 1:].std(0)
    factors, test_factors = (facts[:, 1:] - mean) / std, (test_facts[:, 1:] - mean) / std
    net = ButterflyClassifier().to(device)
    sizes = {"epochs": args.epochs, "batch": args.batch_size, "lr": args.lr}
    train(net, pixels, patterns, factors, **sizes, log=log)
    standardise(net, test)

    # What is judged below is what a reader will load: the rounded weights, in float32.
    weights = {name: value.half().cpu() for name, value in net.state_dict().items()}
    net.load_state_dict({name: value.float() for name, value in weights.items()})
    found = accuracy(net, test, test_patterns, test_factors)
    with torch.no_grad():
        features = net.trunk(to_model(reference)).half().cpu()

    args.out.mkdir(parents=True, exist_ok=True)
    save_file(weights, args.out / "classifier.safetensors")
    save_file({"features": features}, args.out / "reference.safetensors")
    about = {
        **made_on("-m course_utils.authoring.train_features"),
        "parameters": sum(p.numel() for p in net.parameters()),
        "images": args.images,
        **sizes,
        "seconds": round(time.perf_counter() - started, 1),
        "accuracy": found,
    }
    card = about | {
        "features": FEATURES,
        "train_set": TRAIN_SET,
        "test_set": TEST_SET,
        "reference_set": REFERENCE_SET,
        "reference": REFERENCE_IMAGES,
        "test": TEST_IMAGES,
        "pattern": found["pattern"],
        "rows": "\n".join(f"| {k} | {v:.1%} |" for k, v in found.items() if k != "pattern"),
    }
    write_trained(args.out, CARD.format(**card), about, log)


if __name__ == "__main__":
    main()
