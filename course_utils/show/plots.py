"""Charts in the house style: curves, histograms, and empty axes for anything else."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_utils.show.arrays import check_log, colour_by_name, named, numbers, row
from course_utils.show.figures import check_description, figure
from course_utils.show.palette import PAGE, exact, muted, style

LINE = 13.0  # points: the height of a line of text


def axes(
    rows: int = 1, columns: int = 1, *, size: tuple[int, int] = (PAGE, 320), **options
) -> tuple[Figure, Axes]:
    """A figure and its axes in the house style, for a chart of your own; show it with `figure`.

    What is drawn later takes the style too inside a `with style():` block.

    Args:
        rows, columns: how many axes; one alone comes as such, more as an array, as in `plt.subplots`.
        size: width and height of the whole figure in CSS pixels.
        options: for `Figure.subplots`, such as `sharey=True`.
    """
    with style():
        fig = Figure(figsize=(size[0] / 100, size[1] / 100), layout="constrained")
        return fig, fig.subplots(rows, columns, **options)


def curves(
    x,
    lines: Mapping[str, object],
    description: str,
    *,
    xlabel: str,
    ylabel: str,
    log: str = "",
    bands: Mapping[str, tuple] | None = None,
    colours: Sequence[str] | Mapping[str, str] | None = None,
    markers: bool = False,
    size: tuple[int, int] = (PAGE, 320),
) -> None:
    """Lines over a common x, each named at its end where there is room, else in a legend.

    Args:
        x: [N].
        lines: from name to y, [N]; NaN leaves a gap.
        description: what can be seen, for `figure`.
        xlabel, ylabel: what the axes mean, with units.
        log: the logarithmic axes: "", "x", "y" or "xy".
        bands: from the name of a line to (low, high), each [N], shaded in its colour.
        colours: one for each line, in order or by name; by default the palette's series.
        markers: draw the points too, for a few measured values.
        size: width and height in CSS pixels.

    Raises:
        ValueError: if there is no line, lengths differ, a line holds no number, a logarithmic axis meets
            a value of 0 or less, or colours or bands do not fit the lines.
    """
    check_description(description)
    x = row("x", x)
    lines = {name: row(name, y) for name, y in named(lines, "lines").items()}
    bands = {name: (row(name, low), row(name, high)) for name, (low, high) in (bands or {}).items()}
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f'log must be "", "x", "y" or "xy"; got {log!r}.')
    if unknown := set(bands) - set(lines):
        raise ValueError(
            f"bands need the name of a line; got {sorted(unknown)}, and lines {list(lines)}."
        )
    edges = {f"the band of {name}": edge for name, pair in bands.items() for edge in pair}
    for name, values in (*lines.items(), *edges.items()):
        if len(values) != len(x):
            raise ValueError(
                f"{name} needs one value for each of the {len(x)} of x; got {len(values)}."
            )
    check_log("x" in log, {"x": x})
    check_log("y" in log, {**lines, **edges})
    by_name = colour_by_name(colours, list(lines))
    fig, ax = axes(size=size)
    with style():
        for name, y in lines.items():
            ax.plot(x, y, color=by_name[name], label=name, marker="o" if markers else None)
        for name, (low, high) in bands.items():
            ax.fill_between(x, low, high, color=by_name[name], alpha=0.18, linewidth=0)
        if "x" in log:
            ax.set_xscale("log")
        if "y" in log:
            ax.set_yscale("log")
        ax.margins(x=0.02 if markers else 0)
        if (
            markers and len(x) <= 8
        ):  # a few measured places: name them, rather than round numbers between
            ax.set_xticks(x, [f"{value:g}" for value in x])
            ax.minorticks_off()
        _label_axes(ax, xlabel, ylabel)
        if len(lines) > 1:
            _name_lines(fig, ax)
    figure(fig, description, kind="Line chart")


def histogram(
    values: Mapping[str, object],
    description: str,
    *,
    xlabel: str,
    density: Callable | None = None,
    density_name: str = "exact density",
    bins: int = 60,
    limits: tuple[float, float] | None = None,
    colours: Sequence[str] | Mapping[str, str] | None = None,
    size: tuple[int, int] = (PAGE, 300),
) -> None:
    """Histograms of numbers, normalised to area 1, with the density that they should follow as a line.

    Args:
        values: from name to numbers of any shape.
        description: what can be seen, for `figure`.
        xlabel: what the numbers are.
        density: p(x), a function from an array [N] to its densities [N].
        density_name: what to call it.
        bins: how many, the same for all.
        limits: the range of x; by default all values fit. Values beyond it count towards the area.
        colours: one for each name, in order or by name.
        size: width and height in CSS pixels.

    Raises:
        ValueError: if there are no values, one is not finite, or bins < 1.
    """
    check_description(description)
    groups = {name: numbers(name, value).ravel() for name, value in named(values, "values").items()}
    for name, value in groups.items():
        if value.size == 0 or not np.isfinite(value).all():
            raise ValueError(f"{name} needs at least one number, all of them finite.")
    if bins < 1:
        raise ValueError(f"bins must be at least 1; got {bins}.")
    every = np.concatenate(list(groups.values()))
    low, high = limits or (every.min(), every.max())
    if not low < high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    by_name = colour_by_name(colours, list(groups))
    fig, ax = axes(size=size)
    with style():
        for name, value in groups.items():
            counts, _ = np.histogram(value, edges)
            heights = counts / (value.size * np.diff(edges))
            ax.stairs(heights, edges, fill=True, color=by_name[name], alpha=0.3)
            ax.stairs(heights, edges, color=by_name[name], linewidth=1.2, label=name)
        if density is not None:
            x = np.linspace(low, high, 600)
            ax.plot(
                x, row(density_name, density(x)), color=exact, linewidth=1.6, label=density_name
            )
        ax.set(xlim=(low, high), ylim=(0, None))
        _label_axes(ax, xlabel, "density")
        if len(groups) > 1 or density is not None:
            ax.legend(loc="best")
    figure(fig, description, kind="Histogram")


def _label_axes(ax: Axes, xlabel: str, ylabel: str) -> None:
    """The name of y lies flat above its axis, where it is read without turning the head."""
    ax.set_xlabel(xlabel)
    ax.set_title(ylabel, color=muted, fontsize=10)


def _name_lines(fig: Figure, ax: Axes) -> None:
    """Each line's name at its right end, moved apart where they would touch; a legend where they crowd."""
    fig.draw_without_rendering()
    inches = fig.dpi_scale_trans.inverted()
    ends = []
    for line in ax.get_lines():
        last = np.flatnonzero(np.isfinite(line.get_ydata()))[-1]
        x, y = line.get_xdata()[last], line.get_ydata()[last]
        # In points, as offsets are.
        across, height = 72 * inches.transform(ax.transData.transform((x, y)))
        ends.append((height, across, (x, y), line))
    ends.sort(key=lambda end: end[0])
    places = [height for height, *_ in ends]
    for k in range(1, len(places)):
        places[k] = max(places[k], places[k - 1] + LINE)
    shift = sum(place - end[0] for place, end in zip(places, ends, strict=True)) / len(places)
    places = [place - shift for place in places]
    moved = max(abs(place - end[0]) for place, end in zip(places, ends, strict=True))
    if moved > LINE or max(end[1] for end in ends) - min(end[1] for end in ends) > LINE:
        ax.legend(loc="best")
        return
    for place, (height, _, end, line) in zip(places, ends, strict=True):
        ax.annotate(
            line.get_label(),
            end,
            xytext=(7, place - height),
            textcoords="offset points",
            va="center",
            color=line.get_color(),
            annotation_clip=False,
        )
