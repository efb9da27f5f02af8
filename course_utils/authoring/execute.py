"""Run notebooks from top to bottom without a browser: `diffusion-course run`."""

import os
import re
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

from course_utils.authoring import measured, notebooks
from course_utils.authoring.course import CourseError

SAMPLE_EVERY = 0.1  # seconds between two looks at the kernel's memory


class _ThisPython(KernelSpecManager):
    """Offers one kernel: the Python that runs this, whichever others are registered on the machine."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        from ipykernel.kernelspec import get_kernel_dict

        return KernelSpec(resource_dir="", **get_kernel_dict())


class _FreshKernel(AsyncKernelManager):
    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "kernel_spec_manager": _ThisPython()})


@dataclass
class Run:
    """One notebook's run: how far it came, what it cost, and what stopped it (None: nothing)."""

    path: Path
    seconds: float
    peak_memory: float  # bytes, of the kernel and all its child processes
    cells: int
    error: str | None


def _watch_memory(pid: int, peak: list[float], stop: threading.Event) -> None:
    """Keep in peak[0] the most memory that the process and its children have held together."""
    while True:
        with suppress(psutil.Error):  # one of them may end between two of these lines
            kernel = psutil.Process(pid)
            family = [kernel, *kernel.children(recursive=True)]
            peak[0] = max(peak[0], sum(process.memory_info().rss for process in family))
        if stop.wait(SAMPLE_EVERY):
            return


def execute(nb: NotebookNode, path: Path, *, timeout: float = 600) -> Run:
    """Run all cells in a fresh kernel, from the notebook's own folder; outputs replace nb's in place.

    The learner's progress file is left alone: checks that run here count in a temporary one.

    Args:
        nb: the notebook, changed in place.
        path: its file, for its name and folder.
        timeout: the most seconds that one cell may take.

    Returns:
        The run. What stops a notebook is described in its `error`; later cells then have no outputs.
    """
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    # Cell by cell, because nbclient's own execute() takes Ctrl-C over and then fails obscurely.
    client = NotebookClient(
        nb,
        timeout=timeout,
        kernel_manager_class=_FreshKernel,
        shutdown_kernel="immediate",
        extra_arguments=["--log-level=ERROR"],
    )
    todo = [
        i for i, cell in enumerate(nb.cells) if cell.cell_type == "code" and cell.source.strip()
    ]
    peak, stop, start, done, error = [0.0], threading.Event(), time.perf_counter(), 0, None
    with tempfile.TemporaryDirectory() as scratch:
        env = {**os.environ, "COURSE_PROGRESS_FILE": str(Path(scratch) / "progress.json")}
        try:
            with (
                client.setup_kernel(cwd=str(path.parent), env=env),
                tqdm(
                    total=len(todo), desc=path.stem, unit="cell", leave=False, disable=None
                ) as bar,
            ):
                watcher = threading.Thread(
                    target=_watch_memory, args=(client.km.provisioner.pid, peak, stop), daemon=True
                )
                watcher.start()
                for index in todo:
                    client.execute_cell(nb.cells[index], index, execution_count=done + 1)
                    done += 1
                    bar.update()
        except CellExecutionError as failure:
            error = f"{failure.ename}: {_plain(failure.evalue)}"
        except CellTimeoutError:
            error = f"still running after {timeout:g} s; give it longer with --timeout"
        except DeadKernelError:
            error = "the kernel died; most often the machine ran out of memory"
        except RuntimeError as failure:  # the kernel never answered
            error = f"the kernel did not start: {_plain(str(failure))}"
        finally:
            stop.set()
    if error and done < len(todo):
        error = f"{notebooks.describe_cell(nb, todo[done])}: {error}"
    return Run(path, time.perf_counter() - start, peak[0], done, error)


def _plain(text: str) -> str:
    """Without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


# nbconvert's own template drops the alt text of pictures.
PAGE = """\
{%- extends "lab/index.html.j2" -%}
{%- block data_png -%}
{%- set alt = (output | get_metadata("alt", "image/png")) or "" -%}
{{ super().replace("<img ", '<img alt="%s" ' % (alt | escape_html), 1) }}
{%- endblock -%}
"""


def save(nb: NotebookNode, folder: Path, stem: str) -> None:
    """Write the executed notebook, and as a page for a browser, into the folder.

    The page holds all text and pictures; formulas are typeset only where its reader is online, because
    nbconvert loads MathJax from the network.
    """
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    notebooks.write(nb, folder / f"{stem}.ipynb")
    exporter = HTMLExporter(
        template_file="page.html.j2", extra_loaders=[DictLoader({"page.html.j2": PAGE})]
    )
    page, _ = exporter.from_notebook_node(nb, {"metadata": {"name": stem}})
    (folder / f"{stem}.html").write_text(page, encoding="utf-8")


def record(nb: NotebookNode, run: Run) -> None:
    """Write the executed notebook back to its own file, with its time and memory stated in it."""
    kind, entry = measured.measurement(run.seconds, run.peak_memory)
    course = nb.metadata.setdefault("course", NotebookNode())
    course["measured"] = {**course.get("measured", {}), kind: entry}
    notebooks.with_role(nb, "measured")[0].source = measured.line(course["measured"])
    notebooks.write(nb, run.path)


def run_all(paths: list[Path], out: Path, *, timeout: float = 600, keep: bool = False) -> list[Run]:
    """Run the notebooks one after the other, leave copies and pages in `out`, and print a table.

    Args:
        keep: also write each that ran to its end back to its own file (`--record`).

    Returns:
        The runs; one that failed has an `error`, and the others went on.

    Raises:
        CourseError: before anything runs, if a notebook is unreadable, or is to be recorded and has no cell
            for its time and memory.
    """
    loaded = {path: notebooks.read(path) for path in paths}
    for path, nb in loaded.items():
        if keep and len(notebooks.with_role(nb, "measured")) != 1:
            raise CourseError(
                f'{path.name} needs one Markdown cell with metadata.course.role "measured" to record.'
            )
    runs = []
    for path, nb in loaded.items():
        run = execute(nb, path, timeout=timeout)
        notebooks.normalise(nb)
        if keep and not run.error:
            record(nb, run)
        save(nb, out / path.parent.name, path.stem)
        runs.append(run)
        print(_row(run), flush=True)
    failed = sum(run.error is not None for run in runs)
    seconds, peak = sum(run.seconds for run in runs), max(run.peak_memory for run in runs)
    print(
        f"{len(runs) - failed} of {len(runs)} ran to the end: {seconds:.1f} s, at most {peak / 1e6:.0f} MB."
    )
    print(f"Executed copies and pages: {out}")
    return runs


def _row(run: Run) -> str:
    mark = "✗" if run.error else "✓"
    cost = f"{run.cells:>3} cells {run.seconds:>7.1f} s {run.peak_memory / 1e6:>6.0f} MB"
    row = f"{mark} {run.path.stem:<28} {cost}"
    return f"{row}\n    {run.path.parent.name}/{run.path.name}, {run.error}" if run.error else row
