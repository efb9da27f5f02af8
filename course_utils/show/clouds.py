"""Clouds of 2-D points: toys, molecules, samples beside data."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from course_utils.show.arrays import cloud, colour_by_name, named
from course_utils.show.figures import figure
from course_utils.show.palette import PAGE, series, style
from course_utils.show.plots import axes


def points(
    clouds: Mapping[str, object],
    description: str,
    *,
    colours: Sequence[str] | Mapping[str, str] | None = None,
    limit: float | None = None,
    columns: int | None = None,
) -> None:
    """Clouds of 2-D points side by side, all at one scale.

    Args:
        clouds: from the title of a panel to its points [N, 2], or to several clouds on top of each other,
            each with its name: `{"t = 0": x0}` or `{"after training": {"data": x0, "model": samples}}`.
        description: what can be seen, for `figure`.
        colours: one for each name of a cloud, or for each panel where it holds one cloud; in order or by
            name; by default the palette's: all single clouds alike, several clouds in its series.
        limit: the axes go from −limit to limit; by default all points fit.
        columns: by default up to four.

    Raises:
        ValueError: if there is no panel, or a cloud is not a finite [N, 2].
    """
    fig = scatter(clouds, colours=colours, limit=limit, columns=columns)
    figure(fig, description, kind="Scatter plot")


def scatter(clouds, *, colours=None, limit=None, columns=None) -> Figure:
    """The Figure that `points` shows, as a frame for `animation` or `slider`; arguments as there."""
    if (limit is not None and not limit > 0) or (columns is not None and columns < 1):
        raise ValueError(
            f"limit and columns must be positive; got limit={limit}, columns={columns}."
        )
    panels = named(clouds, "clouds")
    single = not any(isinstance(panel, Mapping) for panel in panels.values())
    if single:  # then the title of a panel is the name of its cloud
        panels = {title: {title: panel} for title, panel in panels.items()}
    panels = {
        title: {name: cloud(f"{title}, {name}", xy) for name, xy in named(panel, title).items()}
        for title, panel in panels.items()
    }
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    by_name = colour_by_name(
        series[:1] * len(names) if single and colours is None else colours, names
    )
    every = np.concatenate([xy for panel in panels.values() for xy in panel.values()])
    reach = limit or 1.05 * float(np.abs(every).max()) or 1.0
    columns = columns or min(4, len(panels))
    rows = math.ceil(len(panels) / columns)
    # In CSS pixels: square panels, their titles above, numbers at the left and below, names under all.
    side = min(330, (PAGE - 44) // columns - 18)
    size = (44 + (side + 18) * columns, (side + 44) * rows + 30 + (0 if single else 34))
    fig, grid = axes(rows, columns, size=size, sharex=True, sharey=True, squeeze=False)
    shown = {}
    with style():
        for ax, (title, panel) in zip(grid.flat, panels.items(), strict=False):
            for name, xy in panel.items():
                area, alpha = (9, 0.8) if len(xy) <= 500 else (4, 0.45)
                shown[name] = ax.scatter(
                    *xy.T, s=area, alpha=alpha, color=by_name[name], linewidth=0
                )
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            ax.set_title(title)
            ax.locator_params(nbins=5, steps=[1, 2, 5, 10])
        for ax in grid.flat[len(panels) :]:
            ax.set_axis_off()
        if not single:
            place = {"loc": "outside lower left", "ncols": len(shown), "markerscale": 2.5}
            for handle in fig.legend(shown.values(), shown.keys(), **place).legend_handles:
                handle.set_alpha(1)
    return fig
