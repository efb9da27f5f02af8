"""How a training run goes: its losses, its learning rate, and what it draws by now."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from course_utils.show.figures import figure
from course_utils.show.palette import PAGE, accent, model, muted, style
from course_utils.show.plots import axes

SMOOTH = 5  # entries before and after each one that the smoothed loss is a mean of


def training_progress(
    log: Sequence[dict], sheet: Image.Image | None = None, step: int | None = None
) -> None:
    """Draw a log that may still be growing: the loss as it was noted and smoothed, and the learning rate.

    Args:
        log: entries with "step", "loss", "lr" and "images_per_s", oldest first, as `trainer.read_log` reads them.
        sheet: the newest samples, shown below.
        step: after how many steps they were drawn.
    """
    if not log:
        print("Nothing is noted yet: the first line of the log comes with the first step.")
    else:
        steps, loss, rate = (np.array([e[name] for e in log]) for name in ("step", "loss", "lr"))
        fig, (upper, lower) = axes(
            2, size=(PAGE, 380), sharex=True, gridspec_kw={"height_ratios": [3, 1]}
        )
        with style():
            dots = {"marker": "o", "markersize": 3, "linewidth": 0.8}
            upper.plot(steps, loss, color=muted, alpha=0.5, label="as noted", **dots)
            upper.plot(steps, smoothed(loss), color=model, label="smoothed")
            upper.set_yscale("log")
            upper.set_title("loss")
            upper.legend(loc="upper right")
            lower.plot(steps, rate, color=accent)
            lower.set_ylim(bottom=0)
            lower.set_title("learning rate")
            lower.set_xlabel("step")
        last = log[-1]
        figure(
            fig,
            f"The loss over the steps, on a logarithmic axis, as noted and smoothed: it began at {loss[0]:.4g} and is "
            f"{loss[-1]:.4g} after step {last['step']:,}. Below it, the learning rate, now {rate[-1]:.3g}. "
            f"The run goes through {last['images_per_s']:,.0f} images a second.",
            kind="Line charts",
        )
    if sheet is not None:
        when = "" if step is None else f" after step {step:,}"
        figure(sheet, f"What the averaged network draws{when}, always from the same noise.")


def smoothed(values: np.ndarray) -> np.ndarray:
    """The geometric mean of each value with as many before it as after it, fewer towards the ends, so as not to lag."""
    logs, n = np.log(values), len(values)
    reach = [min(SMOOTH, i, n - 1 - i) for i in range(n)]
    return np.exp([logs[i - r : i + r + 1].mean() for i, r in enumerate(reach)])
