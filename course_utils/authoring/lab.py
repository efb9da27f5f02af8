"""Open the course in JupyterLab: `diffusion-course lab`."""

import importlib.util
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from course_utils.authoring.course import CourseError

FIRST = "notebooks/00_start_here.ipynb"


def open_lab(
    root: Path,
    *,
    port: int | None = None,
    ip: str = "localhost",
    browser: bool = True,
    options: Sequence[str] = (),
) -> int:
    """Start JupyterLab in the course's folder, on its first notebook, and wait until it ends (Ctrl-C).

    Prints the address with its token once the server answers, and opens a browser where there is one.
    `options` go on to JupyterLab.

    Raises:
        CourseError: if JupyterLab is not installed, does not start, or the port is taken.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise CourseError('JupyterLab is not installed. Run: pip install -e ".[lab]"')
    port = _free_port(ip, port)
    token = os.environ.get("JUPYTER_TOKEN") or secrets.token_hex(16)
    page = f"/lab/tree/{FIRST}" if (root / FIRST).is_file() else "/lab"
    command = [
        *(
            sys.executable,
            "-m",
            "jupyterlab",
            f"--ServerApp.root_dir={root}",
            f"--LabApp.default_url={page}",
        ),
        *(f"--ServerApp.ip={ip}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        "--ServerApp.answer_yes=True",  # Ctrl-C ends it without a question
        *(
            "--ServerApp.log_level=ERROR",
            "--LabApp.log_level=ERROR",
        ),  # so that the address stays in sight
        f"--ServerApp.open_browser={browser and _has_screen()}",
        f"--ServerApp.allow_root={getattr(os, 'geteuid', lambda: 1)() == 0}",
        *options,
    ]
    server = subprocess.Popen(command, env={**os.environ, "JUPYTER_TOKEN": token})
    host = "127.0.0.1" if ip in ("localhost", "0.0.0.0", "*", "") else ip
    try:
        _wait_for(f"http://{host}:{port}/api", server)
        print(
            f"\nThe course is open at\n\n    http://{host}:{port}{page}?token={token}\n\nCtrl-C ends it.",
            flush=True,
        )
        return server.wait()
    except KeyboardInterrupt:  # the server has had the Ctrl-C too and shuts its kernels down
        server.wait()
        return 0


def _has_screen() -> bool:
    """Whether a browser could show up: always on Windows and macOS, on Linux under X or Wayland."""
    return sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("BROWSER")
    )


def _free_port(ip: str, wanted: int | None) -> int:
    """The wanted port, or else the first free one from 8888 on."""
    for port in [wanted] if wanted else range(8888, 8988):
        with socket.socket() as probe:
            if os.name == "posix":  # a port that was left a moment ago counts as free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("" if ip == "*" else ip, port))
            except OSError:
                continue
            return port
    raise CourseError(
        f"port {wanted or '8888 … 8987'} at {ip} is not free. Choose another with --port."
    )


def _wait_for(address: str, server: subprocess.Popen, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            raise CourseError(
                f"JupyterLab ended at once (exit code {server.returncode}); it says why above."
            )
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return  # it answers, if only to ask who we are
        except OSError:
            time.sleep(0.2)
    server.terminate()
    raise CourseError(f"JupyterLab did not answer at {address} within {seconds:.0f} s.")
