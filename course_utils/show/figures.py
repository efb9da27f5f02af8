"""The one function that every figure goes through: the picture, and in words what can be seen in it.

The words stand under the picture as text, because that is the one channel that every reader keeps: JupyterLab
drops the alt text of an output, GitHub its width, a terminal the picture. The alt text itself says what kind of
picture it is and that its description follows, so that a screen reader speaks the description once.
"""

import base64
import io
import sys
from html import escape
from uuid import uuid4

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from course_utils.show.images import comfortable
from course_utils.show.indexed import one_palette
from course_utils.show.palette import DENSITY, PAGE, style

PNG = b"\x89PNG\r\n\x1a\n"
SHORTEST = 20  # characters: fewer cannot say what a figure shows


def figure(picture, description: str, *, width: int | None = None, kind: str = "Figure") -> None:
    """Show a picture with its description under it.

    Args:
        picture: a matplotlib Figure (it is closed afterwards), a PIL image, or the bytes of a PNG or APNG.
        description: what can be seen, in a sentence or two, for somebody who cannot see it.
        width: how wide to show it, in CSS pixels. By default its natural size, up to the width of the page;
            a small PIL image is enlarged.
        kind: what a screen reader calls the picture before the description: "Line chart", "Animation", …

    Raises:
        ValueError: if the description is missing or too short, the width is not positive, or the picture
            is none of these.
    """
    Shown().replace(picture, description, width=width, kind=kind)


class Shown:
    """A place on the page for one figure, which `replace` fills and later refills."""

    def __init__(self):
        self._image_id, self._caption_id = uuid4().hex, uuid4().hex
        self._filled = False

    def replace(self, picture, description: str, *, width=None, kind="Figure", title="") -> None:
        """Show this figure here, in place of the one before. Arguments and errors as in `figure`.

        `title`, if given, stands in bold before the description.
        """
        description = check_description(description)
        png, natural = encode(picture)
        if width is None:
            width = natural
        elif not width > 0:
            raise ValueError(f"width, in CSS pixels, must be positive; got {width}.")
        alt = f"{kind}, described in the text below."
        _publish(
            {"image/png": base64.b64encode(png).decode(), "text/plain": alt},
            {"image/png": {"alt": alt, "width": int(width)}},
            self._image_id,
            self._filled,
        )
        _publish(caption(description, title), {}, self._caption_id, self._filled)
        self._filled = True

    def _ipython_display_(self) -> None:
        """Nothing: as the last value of a cell, a handle must not print itself under its own picture."""


def caption(description: str, title: str = "") -> dict[str, str]:
    """The description as a bundle of HTML and plain text, each saying the same."""
    lead_html = f"<strong>{escape(title)}</strong> · " if title else ""
    lead = f"{title} · " if title else ""
    return {
        # Where a renderer drops the style (GitHub does), a plain paragraph is left.
        "text/html": f'<p style="max-width: {PAGE}px; margin: 2px 0 14px; line-height: 1.45;">'
        f"{lead_html}{escape(description)}</p>",
        "text/plain": lead + description,
    }


def check_description(description: str) -> str:
    """The description with its white space tidied, so that it can be written over several lines."""
    words = " ".join(description.split()) if isinstance(description, str) else ""
    if len(words) < SHORTEST:
        raise ValueError(
            "every figure needs a description of what can be seen in it, for readers who cannot see it: a "
            f"sentence of at least {SHORTEST} characters; got {description!r}."
        )
    return words


def encode(picture) -> tuple[bytes, int]:
    """The picture as PNG bytes, and the width in CSS pixels at which to show it.

    Raises:
        ValueError: if the picture is no matplotlib Figure, PIL image or bytes of a PNG.
    """
    if isinstance(picture, Figure):
        image = draw(picture, DENSITY)
        width = round(image.width / DENSITY)
        (image,) = one_palette([image]) or [image]
        return png_bytes(image), width
    if isinstance(picture, Image.Image):
        image, width = comfortable(picture)
        return png_bytes(image), width
    if isinstance(picture, bytes) and picture.startswith(PNG):
        with Image.open(io.BytesIO(picture)) as image:
            return picture, min(image.width, PAGE)
    given = "bytes of another format" if isinstance(picture, bytes) else type(picture).__name__
    raise ValueError(
        f"the picture must be a matplotlib Figure, a PIL image or bytes of a PNG; got {given}."
    )


def draw(fig: Figure, density: float) -> Image.Image:
    """A matplotlib Figure as an opaque image, `density` device pixels to one CSS pixel; closes the figure."""
    # A figure with a layout engine fills its size already, and keeps it: figures line up down the page.
    bbox = None if fig.get_layout_engine() else "tight"
    buffer = io.BytesIO()
    with (
        style()
    ):  # which saves on the card, whatever the figure's background: it must be read on a dark page
        fig.savefig(buffer, dpi=100 * density, bbox_inches=bbox, pad_inches=0.12)
    # A figure made with pyplot would otherwise be shown a second time when the cell ends.
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(fig)
    with Image.open(buffer) as image:
        return image.convert("RGB")


def png_bytes(image: Image.Image) -> bytes:
    """The image as a PNG, to the last bit."""
    if image.mode not in ("L", "P", "RGB", "RGBA"):
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _publish(data: dict, metadata: dict, display_id: str, update: bool) -> None:
    """Send a bundle to the notebook, or its plain text to the terminal."""
    if InteractiveShell.initialized():
        display(data, raw=True, metadata=metadata, display_id=display_id, update=update)
    else:
        print(data["text/plain"])
