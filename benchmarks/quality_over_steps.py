"""How good the shipped model's pictures are, and how long they take, over the number of steps of the sampler.

    python benchmarks/quality_over_steps.py --out course_utils/assets/quality-over-steps

For DDPM with either variance and for DDIM, with 1 to 1000 steps: the energy distance between the features of thousands
of samples and those of butterflies that no model has seen, with its 95 % interval. Chapter 09 shows the results.
"""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from course_utils.authoring.shipping import made_on, write_hashes
from course_utils.data import to_model
from course_utils.data.parallel import draw_butterflies
from course_utils.diffusion import schedule
from course_utils.diffusion.samplers import ddim, ddpm
from course_utils.evaluate import butterfly_features, energy_distance, reference_features
from course_utils.interop import find_pipeline, unet_from_diffusers

STEPS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1000)
FEW = tuple(steps for steps in STEPS if steps <= 100)
CLIPPED = {"spacing": "trailing", "clip": 1.0}
RUNS = [  # name, sampler, options, numbers of steps
    ("DDIM", ddim, {"spacing": "trailing"}, STEPS),
    ("DDPM, variance β̃", ddpm, CLIPPED, STEPS),
    ("DDPM, variance β", ddpm, CLIPPED | {"variance": "beta"}, STEPS),
    ("DDIM, clipped", ddim, CLIPPED, STEPS),
    ("DDIM, clipped, ε fitted", ddim, CLIPPED | {"eps_from_clipped": True}, STEPS),
    ("DDIM, η = 0.5", ddim, {"spacing": "trailing", "eta": 0.5}, FEW),
    ("DDIM, leading", ddim, {"spacing": "leading"}, FEW),
    ("DDPM, variance β̃, not clipped", ddpm, {"spacing": "trailing"}, FEW),
]


def draw(model, sampler, options: dict, steps: int, images: int, batch: int, device) -> tuple:
    """The pictures, [images, 3, 32, 32], and the seconds that they took."""
    drawn, seconds = [], 0.0
    generator = torch.Generator(device).manual_seed(steps)
    for begun in range(0, images, batch):
        n = min(batch, images - begun)
        x_T = torch.randn(n, 3, 32, 32, generator=generator, device=device)
        walk = sampler(model, x_T, schedule.linear(), steps=steps, generator=generator, **options)
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        for step in walk:
            x = step.x
        drawn.append(x.cpu())  # waits for the GPU
        seconds += time.perf_counter() - start
    return torch.cat(drawn), seconds


def judged(name: str, pictures: torch.Tensor, **more) -> dict:
    distance = energy_distance(butterfly_features(pictures), reference_features())
    row = {"sampler": name, **more, "images": len(pictures)}
    row |= {"distance": distance.value, "low": distance.low, "high": distance.high}
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2048, help="for each number of steps")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--most-steps", type=int, default=1000, help="leave out longer walks")
    args = parser.parse_args()

    fresh = to_model(draw_butterflies(args.images, 32, seed=103))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    unet = unet_from_diffusers(find_pipeline("butterflies")).eval().to(device)
    if device.type == "cuda":
        unet = torch.compile(unet.to(memory_format=torch.channels_last))

    def model(x: torch.Tensor, t: int) -> torch.Tensor:
        t = torch.full((), t, device=device)  # a bare number would be compiled anew
        with torch.autocast("cuda", torch.float16, enabled=device.type == "cuda"):
            return unet(x, t).float()

    draw(model, ddim, {}, 2, args.batch, args.batch, device)  # the first call compiles

    with ThreadPoolExecutor(4) as judges:  # they need the CPU, the network the GPU
        rows = [judges.submit(judged, "new drawings", fresh)]
        for name, sampler, options, numbers in RUNS:
            for steps in [number for number in numbers if number <= args.most_steps]:
                pictures, seconds = draw(
                    model, sampler, options, steps, args.images, args.batch, device
                )
                more = {"steps": steps, **options, "seconds": round(seconds, 3)}
                rows.append(judges.submit(judged, name, pictures, **more))
            write(args.out, [row.result() for row in rows])  # what there is, should it be cut short


def write(out: Path, rows: list[dict]) -> None:
    about = made_on("benchmarks/quality_over_steps.py") | {"model": "butterflies-32", "rows": rows}
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
    (out / "results.json").write_text(text, encoding="utf-8")
    write_hashes(out)


if __name__ == "__main__":
    main()
