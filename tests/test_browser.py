"""A learner's first minutes in a real browser: open the course, run a chapter, see its pictures, move its slider.

Needs Chromium or Chrome on the machine. Without one it is skipped, unless COURSE_REQUIRE_BROWSER=1 demands it.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from course_utils.authoring import notebooks

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = "02_forward_noising.ipynb"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC_CHROME = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
QUIET = [
    *(
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]
SECONDS = 90  # for the chapter to run

posix = pytest.mark.skipif(os.name == "nt", reason="ends JupyterLab the POSIX way")

# Every code cell has a number before it and the kernel rests, so nothing is running and nothing waits.
ALL_RUN = r"""() => {
    const cells = [...document.querySelectorAll('.jp-CodeCell')];
    const prompts = cells.map(cell => cell.querySelector('.jp-InputPrompt').textContent);
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    return cells.length > 0 && prompts.every(prompt => /^\[\d+\]:$/.test(prompt.trim())) && kernel.status === 'idle';
}"""
ERRORS = """() => window.jupyterapp.shell.currentWidget.model.toJSON().cells
    .flatMap(cell => cell.outputs ?? [])
    .filter(output => output.output_type === 'error')
    .map(output => `${output.ename}: ${output.evalue}`)"""


@pytest.fixture
def browser():
    """Chromium, driven by playwright."""
    found = next(
        filter(None, map(shutil.which, BROWSERS)), MAC_CHROME if Path(MAC_CHROME).exists() else None
    )
    if found is None:
        message = f"no browser: none of {', '.join(BROWSERS)} is installed"
        pytest.fail(message) if os.environ.get("COURSE_REQUIRE_BROWSER") == "1" else pytest.skip(
            message
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def course(tmp_path) -> Path:
    """A copy of the course's folder in which the chapter has no outputs yet."""
    folder = tmp_path / "course"
    (folder / "notebooks").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    nb = notebooks.read(ROOT / "notebooks" / CHAPTER)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebooks.write(nb, folder / "notebooks" / CHAPTER)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def address(course, tmp_path):
    """What `diffusion-course lab` prints for the learner to open, with a configuration of its own."""
    settings = tmp_path / "settings"
    for name, values in {
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "notebook-extension/tracker": {
            "windowingMode": "none"
        },  # keep cells out of view in the page
    }.items():
        path = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    own = {
        name: str(tmp_path / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    own |= {
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
    }
    main = "import sys; from course_utils.authoring.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", main, "lab", "--no-browser", f"--port={free_port()}"]
    command += ["--LabApp.expose_app_in_browser=True"]
    log = tmp_path / "lab.log"
    with log.open("w") as file:
        server = subprocess.Popen(
            command,
            cwd=course,
            env=os.environ | own,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://\S+token=\w+", log.read_text())):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield found[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGINT)  # a learner's Ctrl-C
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            pytest.fail("JupyterLab did not end within 15 s of Ctrl-C:\n" + log.read_text())


@posix
def test_the_address_that_lab_prints_opens_and_its_token_is_needed(address):
    with urllib.request.urlopen(address) as page:
        assert "jupyter-config-data" in page.read().decode("utf-8")
    with urllib.request.urlopen(address.partition("?")[0]) as page:
        assert "/login?" in page.url


@posix
def test_a_learner_runs_the_chapter_sees_its_pictures_and_moves_its_slider(
    browser, address, tmp_path
):
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(30_000)
    try:
        page.goto(address.replace("/lab?", f"/lab/tree/notebooks/{CHAPTER}?"))
        page.wait_for_selector(".jp-CodeCell")
        page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel"
        )
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_function(ALL_RUN, timeout=SECONDS * 1000)

        assert page.evaluate(ERRORS) == []
        assert page.get_by_text("Error displaying widget").count() == 0

        pictures = page.locator(".jp-RenderedImage img")
        assert pictures.count() > 0
        page.wait_for_function(
            "() => [...document.querySelectorAll('.jp-RenderedImage img')].every(img => img.naturalWidth > 0)"
        )

        handle = page.locator(".noUi-handle").first
        live = page.locator(".jp-OutputArea-output", has=handle).locator("img.widget-image").first
        handle.scroll_into_view_if_needed()
        live.evaluate("img => img.decode()")  # fails unless it is a picture
        before = live.evaluate("img => [img.src, img.naturalWidth]")
        assert before[1] > 0
        handle.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "([img, old]) => img.src !== old && img.complete && img.naturalWidth > 0",
            arg=[live.element_handle(), before[0]],
        )
        assert page.evaluate(ERRORS) == []
    except Exception as error:
        page.screenshot(path=tmp_path / "page.png")
        raise AssertionError(f"{error}\nThe page as it was: {tmp_path / 'page.png'}") from error
