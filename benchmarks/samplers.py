"""What a sampler's step costs beyond the model: the course's loops against those with diffusers' schedulers.

    python benchmarks/samplers.py

The model answers with a tensor that it has already, so what is left is the sampler. Both loops start from the same
noise, take the same steps, clip alike and, for DDPM, draw the same random numbers; they take turns, and each row
shows medians over the pairs. Drawing random numbers takes its time whoever asks for them: the last column has the
ratio of what remains without it.
"""

import argparse
from statistics import median
from time import perf_counter

import torch
from diffusers import DDIMScheduler, DDPMScheduler

from course_utils.diffusion import schedule
from course_utils.diffusion.samplers import ddim, ddpm

STEPS = 1000


def diffusers_loop(scheduler, model, x, generator):
    """As in DDPMPipeline and DDIMPipeline."""
    scheduler.set_timesteps(STEPS)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(model(x, t), t, x, generator=generator).prev_sample
    return x


def our_loop(sampler, model, x_T, generator):
    for step in sampler(model, x_T, schedule.linear(), steps=STEPS, clip=1.0, generator=generator):
        x = step.x
    return x


def draw_noise(x, generator):
    """Only the random numbers of DDPM: one tensor for each step but the last."""
    for _ in range(STEPS - 1):
        torch.randn(x.shape, generator=generator)


def seconds(loop) -> float:
    """The time of a step of the loop."""
    start = perf_counter()
    loop()
    return (perf_counter() - start) / STEPS


def compare(sampler, scheduler, images: int, pairs: int) -> list[float]:
    """Medians over the pairs: our time, theirs, the ratio, and the ratio without the random numbers."""
    x_T = torch.randn(images, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    answer = torch.randn(x_T.shape, generator=torch.Generator().manual_seed(1))

    def model(x, t):
        return answer

    def ours():
        return our_loop(sampler, model, x_T, torch.Generator().manual_seed(2))

    def theirs():
        return diffusers_loop(scheduler, model, x_T, torch.Generator().manual_seed(2))

    def noise():
        if sampler is ddpm:
            draw_noise(x_T, torch.Generator().manual_seed(2))

    torch.testing.assert_close(ours(), theirs(), rtol=0, atol=1e-3)  # the same work, and a warm-up
    rows = []
    for _ in range(pairs):
        a, b, n = seconds(ours), seconds(theirs), seconds(noise)
        rows.append((1e6 * a, 1e6 * b, a / b, (a - n) / (b - n)))
    return [median(column) for column in zip(*rows, strict=True)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    pairs = parser.parse_args().pairs
    print(
        "| sampler | images of 3×32×32 | course, µs a step | diffusers | ratio | ratio without drawing noise |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name, sampler, scheduler in (
        ("DDPM", ddpm, DDPMScheduler()),
        ("DDIM", ddim, DDIMScheduler()),
    ):
        for images in (1, 64):
            ours, theirs, ratio, rest = compare(sampler, scheduler, images, pairs)
            print(f"| {name} | {images} | {ours:.0f} | {theirs:.0f} | {ratio:.2f} | {rest:.2f} |")
