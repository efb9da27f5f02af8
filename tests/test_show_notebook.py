"""A notebook that shows everything, executed and exported: where do its descriptions arrive?"""

import re
from html import unescape

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter, MarkdownExporter

CELLS = [
    "import torch\nfrom course_utils import show\nx = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)",
    'show.grid(x, "A ramp from black at the top to white, with < and & in its words.")',
    "handle = None\nfor i in range(3):\n    handle = show.display_sample(x[..., :8 - i], i, handle)\nhandle",
    'show.animation([x, -x], "The ramp turns over and back, for ever.")',
    'show.curves([0, 1], {"a": [0, 1]}, "A straight line that rises from 0 to 1.", xlabel="x", ylabel="y")',
    'show.slider([0, 1], lambda t: x * (1 - t), "The ramp at t = 0, and flat grey at t = 1.")',
]
DESCRIPTIONS = [
    "A ramp from black at the top to white, with < and & in its words.",
    "1 sample of 6 × 8 pixels, in grey.",
    "The ramp turns over and back, for ever.",
    "A straight line that rises from 0 to 1.",
    "The ramp at t = 0, and flat grey at t = 1.",
]


@pytest.fixture(scope="module")
def notebook():
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    return NotebookClient(
        nbformat.v4.new_notebook(cells=cells), kernel_name="python3", timeout=120
    ).execute()


def test_every_picture_is_followed_by_its_words(notebook):
    words = []
    for cell in notebook.cells[1:]:
        *_, image, caption = cell.outputs
        assert image.data["image/png"].startswith("iVBORw0KGgo")
        words.append(caption.data["text/plain"])
    assert [text.removeprefix("step 2 · ") for text in words] == DESCRIPTIONS


def test_a_live_loop_leaves_its_last_picture_and_nothing_else(notebook):
    outputs = notebook.cells[2].outputs
    assert [output.output_type for output in outputs] == ["display_data", "display_data"]
    assert outputs[1].data["text/plain"].startswith("step 2 ·")


@pytest.mark.parametrize("template", ["lab", "classic", "basic"])
def test_the_html_export_keeps_every_description_once(notebook, template):
    html, _ = HTMLExporter(template_name=template, exclude_input=True).from_notebook_node(notebook)
    text = unescape(re.sub(r"<(script|style).*?</\1>|<[^>]*>", "", html, flags=re.DOTALL))
    for description in DESCRIPTIONS:
        assert text.count(description) == 1
        assert not re.search(rf'alt="[^"]*{re.escape(description)}', html)


def test_without_its_widgets_the_export_says_how_to_get_them(notebook):
    bare = nbformat.from_dict({**notebook, "metadata": {}})
    html, _ = HTMLExporter(exclude_input=True).from_notebook_node(bare)
    assert "Run this notebook to move a slider over t here." in html
    assert "VBox(" not in html


def test_a_reader_of_plain_text_gets_the_descriptions_too(notebook):
    text, _ = MarkdownExporter(exclude_input=True).from_notebook_node(notebook)
    for description in DESCRIPTIONS:
        assert description in unescape(text)
