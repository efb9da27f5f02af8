"""The plan of a UNet, drawn from the calls of its layers."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from course_utils.show.figures import check_description, figure
from course_utils.show.palette import accent, data, exact, grid, model, muted, style
from course_utils.show.plots import axes

ENDS, BLOCK, ATTENDING, RESIZED = (
    "convolution in, convolution out",
    "residual block",
    "residual block, then attention",
    "half or twice the resolution",
)
COLOURS = {ENDS: exact, BLOCK: model, ATTENDING: accent, RESIZED: muted}
KINDS = {
    "Conv2d": ENDS,
    "ResidualBlock": BLOCK,
    "Downsample": RESIZED,
    "Upsample": RESIZED,
}
FLOOR = 1.65  # the distance of two floors, where the widest block is 1 high

Call = tuple[str, str, tuple[int, int, int]]


def network(calls: Sequence[Call], description: str, *, floor: int = 124) -> None:
    """A bar for each layer of a UNet in running order, a floor for each resolution, a line for each skip.

    Args:
        calls: of each layer its name in the UNet, its class, and the shape [C, H, W] of what it answered.
            Attention joins the block before it.
        description: what can be seen, for `figure`.
        floor: the height of a floor in CSS pixels.

    Raises:
        ValueError: if there are no calls, a class is none that is drawn, or attention comes first.
    """
    check_description(description)
    figure(plan(calls, floor), description, kind="Diagram")


def plan(calls: Sequence[Call], floor: int = 124) -> Figure:
    """The figure of `network`."""
    drawn = bars(calls)
    sides = sorted({side for *_, side in drawn}, reverse=True)
    most = max(channels for _, _, channels, _ in drawn)
    ground = [-FLOOR * sides.index(side) for *_, side in drawn]
    top = [y + (bar[2] / most) ** 0.5 for y, bar in zip(ground, drawn, strict=True)]
    ceiling = {y: max(t for t, g in zip(top, ground, strict=True) if g == y) for y in ground}
    fig, ax = axes(size=(720, floor * len(sides) + 60))
    labelled = None
    with style():
        ax.plot([y + 0.25 for y in ground], color=grid, linewidth=8, zorder=0)
        for k, (_, kind, channels, side) in enumerate(drawn):
            ax.bar(k, top[k] - ground[k], 0.74, ground[k], color=COLOURS[kind])
            if kind != RESIZED and (channels, side) != labelled:
                ax.text(k, ground[k] - 0.07, str(channels), ha="center", va="top", fontsize=8)
                labelled = (channels, side)
        for left, right in skips(drawn):
            y = ground[left]
            ceiling[y] += 0.11
            heights = (top[left], ceiling[y], ceiling[y], top[right])
            ax.plot((left, left, right, right), heights, color=data, linewidth=1.4)
        for k, side in enumerate(sides):
            ax.text(
                -1.1, 0.25 - FLOOR * k, f"{side} × {side}", ha="right", va="center", color=muted
            )
        handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
        fig.legend(handles=handles, loc="outside lower center", ncols=2)
        ax.set(xlim=(-0.6, len(drawn) - 0.4), ylim=(min(ground) - 0.3, ceiling[0.0] + 0.1))
        ax.set_axis_off()
    return fig


def bars(calls: Sequence[Call]) -> list[tuple[str, str, int, int]]:
    """Of each bar the layer's name, what it is, its channels and its side. Errors as in `network`."""
    drawn: list[tuple[str, str, int, int]] = []
    for name, kind, (channels, side, _) in calls:
        if kind == "Attention" and drawn:
            drawn[-1] = (drawn[-1][0], ATTENDING, *drawn[-1][2:])
        elif kind in KINDS:
            drawn.append((name, KINDS[kind], channels, side))
        else:
            raise ValueError(
                f"a plan has {', '.join(KINDS)} and, behind a block, Attention; got {kind} first."
                if not drawn
                else f"a plan has {', '.join(KINDS)} and Attention; got {kind} ({name})."
            )
    if not drawn:
        raise ValueError("calls must hold one layer at least; got none.")
    return drawn


def skips(drawn: Sequence[tuple[str, str, int, int]]) -> list[tuple[int, int]]:
    """Pairs of bars, by number: where something is kept for the way up, and where it is taken."""
    kept, pairs = [], []
    for k, (name, kind, _, _) in enumerate(drawn):
        if name == "conv_in" or name.startswith("down"):
            kept.append(k)
        elif name.startswith("up") and kind != RESIZED:
            pairs.append((kept.pop(), k))
    return pairs
