"""Time and memory that a notebook took, kept in its metadata: written by `run --record`, read by `doctor`.

`metadata.course.measured` holds an entry for each kind of device ("cpu", "cuda", "mps") that it was measured
on: seconds, peak_memory_mb, device, cores, date and speed_score.
"""

import datetime
import time

from course_utils.authoring import machine


def speed_score(kind: str = "cpu", seconds: float = 2.0) -> float:
    """How many rounds of a small, fixed piece of work this machine does in a second; higher is faster.

    A round is what a small UNet spends its time on: two convolutions and a matrix product.

    Args:
        kind: "cpu", "cuda" or "mps".
        seconds: how long to measure.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    # [batch, channels, height, width]
    images = torch.randn(8, 32, 32, 32, generator=generator).to(kind)
    kernel = torch.randn(32, 32, 3, 3, generator=generator).to(kind)
    square = torch.randn(256, 256, generator=generator).to(kind)
    rounds, start = -5, time.perf_counter()  # the first rounds warm up and do not count
    with torch.no_grad():
        while rounds < 1 or time.perf_counter() - start < seconds:
            if rounds == 0:
                start = time.perf_counter()
            features = torch.nn.functional.conv2d(images, kernel, padding=1).relu()
            features = torch.nn.functional.conv2d(features, kernel, padding=1)
            # Reading the number waits for the device.
            (square @ square).sum().add(features.sum()).item()
            rounds += 1
    return rounds / (time.perf_counter() - start)


def measurement(seconds: float, peak_memory: float) -> tuple[str, dict]:
    """(kind of device, entry) for a run on this machine that took so many seconds and bytes."""
    kind, name = machine.device()
    return kind, {
        "seconds": round(seconds, 1),
        "peak_memory_mb": round(peak_memory / 1e6),
        "device": name,
        "cores": machine.cores(),
        "date": datetime.date.today().isoformat(),
        "speed_score": round(speed_score(kind), 1),
    }


def line(measured: dict) -> str:
    """The sentence at the top of the notebook, in Markdown."""
    parts = []
    for kind in sorted(measured):  # cpu before cuda and mps
        entry = measured[kind]
        cores = f"{entry['cores']} CPU core{'s' if entry['cores'] != 1 else ''}"
        place = cores if kind == "cpu" else f"one {entry['device']}"
        parts.append(
            f"**{entry['seconds']:.0f} s** and {entry['peak_memory_mb'] / 1e3:.1f} GB of memory on {place}"
        )
    return f"Measured: this notebook runs from top to bottom in {', and in '.join(parts)}."


def expected_seconds(entry: dict, score: float) -> float:
    """How long the notebook will take on a device with this score, by what was measured on one of its kind."""
    return entry["seconds"] * entry["speed_score"] / score
