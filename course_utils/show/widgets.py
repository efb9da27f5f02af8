"""A slider that redraws a picture, and beside it a still one for where nothing can be moved."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import ipywidgets
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from course_utils.show.figures import check_description, figure, png_bytes
from course_utils.show.palette import PAGE
from course_utils.show.pictures import film, frame_image

STILLS = 5  # frames of the still picture, where they are small


def slider(
    values: Sequence,
    render: Callable,
    description: str,
    *,
    label: str = "t",
    still=None,
    choices: Mapping[str, Sequence] | None = None,
) -> None:
    """A slider over `values`, moved with the mouse or the arrow keys; under it the picture for the value.

    Under that stands a still picture with the description, which GitHub, the HTML export and print keep.

    Args:
        values: what the slider runs over, in order.
        render: from a value to its picture: a batch [B, C, H, W] in [−1, 1], a PIL image or a matplotlib
            Figure. With choices it is called as `render(value, schedule="linear")`. Pictures are kept, so
            going back to one is instant.
        description: what can be seen in the still picture, for `figure`.
        label: the name of what the slider changes.
        still: the still picture, or a list of those values of which to make it; by default a film strip
            of a few values from first to last, a row for each option of the first choice.
        choices: from name to options, a drop-down each: `{"schedule": ["linear", "cosine"]}`.

    Raises:
        ValueError: if there are no values or options, still holds other values, or render returns no picture.
    """
    check_description(description)
    values = list(values)
    choices = {name: list(options) for name, options in (choices or {}).items()}
    for name, options in {label: values, **choices}.items():
        if not options:
            raise ValueError(f"the slider needs at least one value of {name}; got none.")
    view = _View(values, render, label, choices)
    if still is None or isinstance(still, (list, tuple, range)):
        still = _still(view, still)
    _publish(
        view.box(),
        f"Run this notebook to move a slider over {label} here. A still picture follows.",
    )
    figure(still, description, kind="Still picture")


class _View:
    """The widgets, and the pictures drawn so far."""

    def __init__(self, values: list, render: Callable, label: str, choices: dict[str, list]):
        self.values, self.render, self.label, self.choices = values, render, label, choices
        self._drawn = {}

    def frame(self, first: int, *others: int):
        """What `render` makes of these places of the slider and of each drop-down."""
        options = {
            name: self.choices[name][k] for name, k in zip(self.choices, others, strict=True)
        }
        return self.render(self.values[first], **options)

    def picture(self, *places: int) -> tuple[bytes, int]:
        """The same as PNG, and its width in CSS pixels."""
        if places not in self._drawn:
            image, width = frame_image(self.frame(*places))
            self._drawn[places] = png_bytes(image), width
        return self._drawn[places]

    def box(self) -> ipywidgets.VBox:
        """The controls above the picture, which follows them. Only what ipywidgets 7.7 and 8 share."""
        wide = {"description_width": "initial"}
        slider, place = _slider(self.values)
        slider.description, slider.style = f"{self.label} =", wide
        slider.layout = ipywidgets.Layout(width="420px", max_width="100%")
        drops = [
            ipywidgets.Dropdown(
                options=_options(options),
                description=name,
                style=wide,
                layout=ipywidgets.Layout(width="auto"),
            )
            for name, options in self.choices.items()
        ]
        picture = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%"))

        def follow(_change=None) -> None:
            picture.value, width = self.picture(place(), *[drop.value for drop in drops])
            picture.layout.width = f"{width}px"

        follow()
        for control in (slider, *drops):
            control.observe(follow, names="value")
        row = ipywidgets.HBox([slider, *drops], layout=ipywidgets.Layout(flex_flow="row wrap"))
        return ipywidgets.VBox([row, picture], layout=ipywidgets.Layout(margin="0 0 14px"))


def _slider(values: list) -> tuple[ipywidgets.Widget, Callable[[], int]]:
    """A slider over the values, and a function that tells the place in the list where it stands.

    Whole numbers at even distances get a slider of numbers: it takes a typed value, and a screen reader
    speaks the number. A slider over anything else speaks the place.
    """
    whole = all(type(value) is int for value in values)
    steps = {after - before for before, after in pairwise(values)} if whole else set()
    if len(steps) == 1 and (step := steps.pop()) > 0:
        numbers = ipywidgets.IntSlider(values[0], values[0], values[-1], step)

        def place() -> int:
            k = round((numbers.value - values[0]) / step)
            numbers.value = values[k]  # a typed value may lie between two steps
            return k

        return numbers, place
    places = ipywidgets.SelectionSlider(options=_options(values))
    return places, lambda: places.value


def _still(view: _View, chosen: Sequence | None) -> Image.Image:
    """A film strip of the chosen values, or of a few; a row for each option of the first choice."""
    start = (0, *(0 for _ in view.choices))
    chart = isinstance(view.frame(*start), Figure)
    # Samples may become small, but a chart keeps its size, so one that fills the page stands alone.
    most = max(1, round(PAGE / view.picture(*start)[1])) if chart else STILLS
    if chosen is None:
        places = _spread(len(view.values), most)
    else:
        if not chosen or any(value not in view.values for value in chosen):
            raise ValueError(f"still must name some of the slider's values; got {list(chosen)}.")
        places = [view.values.index(value) for value in chosen]
    frames, labels = [], []
    options = next(iter(view.choices.values()), [None])
    for k, option in enumerate(options):
        for place in places:
            frames.append(view.frame(place, *(k, *start[2:])[: len(view.choices)]))
            value = f"{view.label} = {_text(view.values[place])}"
            labels.append(f"{_text(option)}, {value}" if view.choices else value)
    return film(frames, labels, min(most, len(places)))


def _spread(count: int, wanted: int) -> list[int]:
    """`wanted` places from first to last of `count`, evenly; the middle one where only one is wanted."""
    if wanted == 1 or count == 1:
        return [count // 2]
    wanted = min(wanted, count)
    return [round(k * (count - 1) / (wanted - 1)) for k in range(wanted)]


def _text(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _options(values: list) -> list[tuple[str, int]]:
    """Values as a widget takes them: what it says, and the place in the list."""
    return [(_text(value), k) for k, value in enumerate(values)]


def _publish(box: ipywidgets.Widget, fallback: str) -> None:
    """Show the widget, with a sentence for readers that cannot (their own would be "VBox(children=…")."""
    if not InteractiveShell.initialized():
        print(fallback)
        return
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    display({"application/vnd.jupyter.widget-view+json": view, "text/plain": fallback}, raw=True)
