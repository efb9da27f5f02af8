"""What the tests of course_utils.show stand on: a notebook page without a notebook."""

import base64
import io
import types
from contextlib import contextmanager

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image
from traitlets.config import Config

SEEN = "A picture made for a test, with nothing in it to admire."


@contextmanager
def page():
    """Everything displayed inside the block, as the list of bundles that a front end would get."""
    config = Config()
    config.HistoryManager.enabled = False
    # Its own module, or the shell would put itself in the place of pytest's __main__.
    shell = InteractiveShell.instance(config=config, user_module=types.ModuleType("page"))
    shell.display_pub = CapturingDisplayPublisher()
    try:
        yield shell.display_pub.outputs
    finally:
        InteractiveShell.clear_instance()


def png(bundle) -> bytes:
    return base64.b64decode(bundle["data"]["image/png"])


def picture(bundle) -> Image.Image:
    return Image.open(io.BytesIO(png(bundle)))
