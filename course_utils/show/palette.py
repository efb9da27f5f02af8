"""The colours of the course, each with one meaning everywhere, and the house style of its charts.

Every colour reads as text on the card (contrast 4.5 or more, WCAG 2.2, criterion 1.4.3), and any two stay
apart for readers with protanopia, deuteranopia or tritanopia. The card is opaque, so a chart
looks the same on a light page and on a dark one.
"""

from contextlib import AbstractContextManager

import matplotlib
from matplotlib.colors import LinearSegmentedColormap

card = "#ffffff"  # what every figure is drawn on
text = "#16181d"
muted = "#5b6270"  # ticks, axis labels, side remarks
grid = "#e3e6eb"

data = "#1a56db"  # the training data, and what is left of it in x_t
noise = "#c2410c"  # noise, and whatever destroys
model = "#067a5b"  # anything learned: predictions, samples
exact = "#16181d"  # closed forms, exact posteriors and densities
accent = "#9d1d7a"  # the one thing to look at

series = (data, noise, model, accent, exact)  # for curves with no meaning of their own

# From clean (t = 0, the blue of data) to noisy (t = T − 1, the orange of noise), lighter all the way.
time = LinearSegmentedColormap.from_list(
    "course_time", ["#14225e", "#5a2a8f", "#a8346f", "#dd6b20"]
)

PAGE = 720  # CSS pixels: the width of a full figure, chosen to fit JupyterLab's page and GitHub's
DENSITY = 2  # device pixels for each CSS pixel, so that edges stay sharp on a dense screen


def style() -> AbstractContextManager:
    """The house style of matplotlib, for a `with` block; after it the user's settings are as they were."""
    return matplotlib.rc_context(
        {
            "figure.facecolor": card,
            "figure.dpi": 100,  # one inch = 100 CSS pixels
            "figure.constrained_layout.w_pad": 0.08,  # inches of card around the chart, for dark pages
            "figure.constrained_layout.h_pad": 0.08,
            "savefig.facecolor": card,
            "axes.facecolor": card,
            "axes.edgecolor": muted,
            "axes.labelcolor": muted,
            "axes.titlecolor": text,
            "axes.titlelocation": "left",
            "axes.titlesize": 10.5,
            "axes.titlepad": 8,
            "axes.labelsize": 10,
            "axes.linewidth": 0.8,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": matplotlib.cycler(color=series),
            "grid.color": grid,
            "grid.linewidth": 0.8,
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],  # the one font that comes with matplotlib
            "font.size": 10,
            "text.color": text,
            "xtick.color": muted,
            "ytick.color": muted,
            "xtick.labelsize": 9.5,
            "ytick.labelsize": 9.5,
            "xtick.major.size": 3,
            "ytick.major.size": 0,
            "ytick.minor.size": 0,
            "xtick.minor.size": 0,
            "lines.linewidth": 2,
            "lines.markersize": 5,
            "lines.solid_capstyle": "round",
            "legend.frameon": False,
            "legend.fontsize": 10,
            "image.interpolation": "nearest",
            "image.cmap": "gray",
        }
    )
