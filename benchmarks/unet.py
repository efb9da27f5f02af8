"""The course's UNet beside diffusers' UNet2DModel with the same weights: a forward pass and a training step.

    python benchmarks/unet.py

The networks take turns, so that whatever else the machine does meets all of them; each ratio is the median over the
turns. The course trains with the fused AdamW; diffusers' network with AdamW as torch makes it by default, and with the
fused one, too.
"""

import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the course; see threads.py

import torch
import torch.nn.functional as F

from course_utils.diffusion.unet import UNet, UNetConfig
from course_utils.interop import unet_to_diffusers

SIZES = [  # pixels, colours, channels, residual blocks on a level, images at once
    (8, 1, (32, 64), 1, 64),
    (16, 1, (32, 64, 64), 1, 64),
    (32, 3, (32, 64, 112), 2, 1),
    (32, 3, (32, 64, 112), 2, 16),
    (32, 3, (64, 128, 256), 2, 16),
]
SECONDS = 12  # for each measurement, but at least five turns


def turns(*functions: Callable[[], None]) -> list[list[float]]:
    """The seconds of each function, turn by turn; who begins changes from turn to turn."""
    for function in functions:
        function()  # the first call is slower
    seconds = [[] for _ in functions]
    end = time.perf_counter() + SECONDS
    while len(seconds[0]) < 5 or time.perf_counter() < end:
        order = list(range(len(functions)))
        first = len(seconds[0]) % len(order)
        for i in order[first:] + order[:first]:
            start = time.perf_counter()
            functions[i]()
            seconds[i].append(time.perf_counter() - start)
    return seconds


def ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def forward(model, x: torch.Tensor, t: torch.Tensor) -> Callable[[], None]:
    model.eval()

    def run():
        with torch.no_grad():
            model(x, t)

    return run


def training_step(model, x: torch.Tensor, t: torch.Tensor, **options) -> Callable[[], None]:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, **options)

    def run():
        answer = model(x, t)
        optimizer.zero_grad()
        F.mse_loss(answer if isinstance(answer, torch.Tensor) else answer.sample, x).backward()
        optimizer.step()

    return run


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; milliseconds are medians")
    print("| images | channels | forward | ratio | training step | ratio | ratio, both fused |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    table = []
    for pixels, colours, channels, layers, batch in SIZES:
        config = UNetConfig(
            in_channels=colours,
            out_channels=colours,
            channels=channels,
            layers=layers,
            attention=(False,) * (len(channels) - 1) + (True,),
            head_dim=8,
            groups=16,
        )
        torch.manual_seed(0)
        ours = UNet(config)
        theirs = unet_to_diffusers(ours)
        x, t = torch.randn(batch, colours, pixels, pixels), torch.randint(1000, (batch,))
        a, b = turns(forward(ours, x, t), forward(theirs, x, t))
        c, d, e = turns(
            training_step(ours, x, t, fused=True),
            training_step(theirs, x, t),
            training_step(theirs, x, t, fused=True),
        )
        table.append([ratio(a, b), ratio(c, d), ratio(c, e)])
        forth, step, fused = table[-1]
        ms = [1000 * statistics.median(seconds) for seconds in (a, b, c, d)]
        print(
            f"| {batch} of {pixels}×{pixels} | {', '.join(map(str, channels))} "
            f"| {ms[0]:.1f} and {ms[1]:.1f} ms | {forth:.2f} "
            f"| {ms[2]:.0f} and {ms[3]:.0f} ms | {step:.2f} | {fused:.2f} |",
            flush=True,
        )
    for i, name in enumerate(("forward", "training step", "training step, both fused")):
        ratios = [row[i] for row in table]
        print(f"{name}: mean ratio {statistics.mean(ratios):.2f}, largest {max(ratios):.2f}")


if __name__ == "__main__":
    main()
