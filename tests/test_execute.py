"""`diffusion-course run`: what it reports about notebooks that end well and about those that do not."""

import os
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser

import psutil
import pytest
from nbformat import v4
from tiny_course import make_course, notebook, prose, save

from course_utils.authoring import measured, notebooks
from course_utils.authoring.cli import main
from course_utils.authoring.execute import execute, run_all
from course_utils.authoring.execute import save as save_page

MEASURED = prose("to be measured", role="measured")


@pytest.fixture
def root(tmp_path, monkeypatch):
    make_course(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run_goes_on_after_a_failure_and_names_it(root, capsys):
    save(
        root / "notebooks" / "00_good.ipynb",
        "from pathlib import Path",
        prose("Text"),
        "print(Path.cwd().name)",
    )
    save(
        root / "notebooks" / "01_fails.ipynb",
        prose("Text"),
        "x = 1",
        "\n# Divide.\nx / 0",
        "print('never')",
    )
    save(root / "notebooks" / "02_good.ipynb", "print('also here')")

    assert main(["run", "--out", str(root / "out")]) == 1

    said = capsys.readouterr().out
    assert "✓ 00_good" in said
    assert "✓ 02_good" in said
    assert "✗ 01_fails" in said
    assert (
        "notebooks/01_fails.ipynb, cell 3 (# Divide.): ZeroDivisionError: division by zero" in said
    )
    assert "2 of 3 ran to the end" in said
    out = root / "out" / "notebooks"
    assert notebooks.read(out / "00_good.ipynb").cells[2].outputs[0].text == "notebooks\n"
    assert "also here" in (out / "02_good.html").read_text(encoding="utf-8")
    failed = notebooks.read(out / "01_fails.ipynb").cells
    assert failed[2].outputs[0].ename == "ZeroDivisionError"
    assert failed[3].outputs == []
    assert "ZeroDivisionError" in (out / "01_fails.html").read_text(encoding="utf-8")
    assert notebooks.read(root / "notebooks" / "00_good.ipynb").cells[2].outputs == [], (
        "the source stays as it was"
    )


def test_solutions_are_run_on_request_and_the_default_folder_is_dated(root, capsys):
    save(root / "solutions" / "02_x.ipynb", "print(1)")
    assert main(["run", "02", "--solutions"]) == 0
    (made,) = (root / "runs").glob("20*/solutions/02_x.ipynb")
    assert str(made.parents[1]) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the kernel died"),
        ("import time; time.sleep(60)", "still running after 2 s"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("x = = 1", "SyntaxError"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="kills its kernel the POSIX way")
def test_other_ends_are_reported_soon_and_leave_no_process(root, cell, complaint):
    nb = notebook("x = 1", cell, "x")
    start = time.monotonic()
    run = execute(nb, root / "end.ipynb", timeout=2)
    assert time.monotonic() - start < 15
    assert run.error.startswith("cell 2 (")
    assert complaint in run.error
    assert run.cells == 1
    assert [
        c.cmdline()
        for c in psutil.Process().children(recursive=True)
        if "ipykernel" in " ".join(c.cmdline())
    ] == []


def test_memory_counts_the_kernel_and_its_children(root):
    small = execute(notebook("import time; time.sleep(0.3)"), root / "small.ipynb")
    hold = "held = bytearray(200_000_000); import time; time.sleep(1)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}], check=True)"
    own, childs = (execute(notebook(cell), root / "big.ipynb") for cell in (hold, child))
    assert 20e6 < small.peak_memory < 150e6
    assert 180e6 < own.peak_memory - small.peak_memory < 260e6
    assert 180e6 < childs.peak_memory - small.peak_memory < 300e6
    assert 1 < own.seconds < 20


def test_the_learners_progress_file_is_left_alone(root, monkeypatch):
    mine = root / "mine.json"
    monkeypatch.setenv("COURSE_PROGRESS_FILE", str(mine))
    nb = notebook("import os; print(open(os.environ['COURSE_PROGRESS_FILE'], 'w').name)")
    assert execute(nb, root / "x.ipynb").error is None
    assert not mine.exists()
    assert nb.cells[0].outputs[0].text.strip() != str(mine)


def test_record_writes_outputs_time_and_memory_into_the_notebook(root, monkeypatch):
    monkeypatch.setattr(measured, "speed_score", lambda kind: 50.0)
    monkeypatch.setattr(measured.machine, "device", lambda: ("cpu", "cpu"))
    monkeypatch.setattr(measured.machine, "cores", lambda: 2)
    path = save(root / "notebooks" / "00.ipynb", MEASURED, "from tqdm.auto import tqdm", "6 * 7")
    nb = notebooks.read(path)
    gpu = {
        "seconds": 3.2,
        "peak_memory_mb": 2300,
        "device": "NVIDIA H100",
        "cores": 16,
        "speed_score": 9.0,
    }
    nb.metadata["course"] = {"measured": {"cuda": gpu}}
    nb.metadata["widgets"] = {"old": {}}
    nb.cells[1].metadata["execution"] = {"iopub.status.busy": "2026"}
    notebooks.write(nb, path)

    run_all([path], root / "out", keep=True)

    done = notebooks.read(path)
    assert done.cells[2].outputs[0].data["text/plain"] == "42"
    assert [cell.execution_count for cell in done.cells[1:]] == [1, 2]
    assert done.cells[1].metadata == {}
    assert sorted(done.metadata) == ["course", "kernelspec", "language_info"]
    recorded = done.metadata.course.measured
    assert recorded["cuda"] == gpu, "what another machine measured stays"
    cpu = recorded["cpu"]
    assert 0.2 < cpu["seconds"] < 30
    assert 20 < cpu["peak_memory_mb"] < 300
    assert (cpu["cores"], cpu["device"], cpu["speed_score"]) == (2, "cpu", 50.0)
    assert done.cells[0].source == measured.line(recorded)
    assert (
        "on 2 CPU cores, and in **3 s** and 2.3 GB of memory on one NVIDIA H100."
        in done.cells[0].source
    )
    assert path.read_bytes() == (root / "out" / "notebooks" / "00.ipynb").read_bytes()


def test_record_leaves_a_failing_notebook_as_it_was(root):
    path = save(root / "notebooks" / "00.ipynb", MEASURED, "1 / 0")
    before = path.read_bytes()
    (run,) = run_all([path], root / "out", keep=True)
    assert run.error
    assert path.read_bytes() == before


def test_record_wants_a_place_for_the_measurement_before_it_runs_anything(root, capsys):
    save(root / "notebooks" / "00.ipynb", "open('ran', 'w')")
    assert main(["run", "--record"]) == 2
    assert 'needs one Markdown cell with metadata.course.role "measured"' in capsys.readouterr().err
    assert not (root / "notebooks" / "ran").exists()


def test_normalise_keeps_what_a_reader_can_use():
    view = "application/vnd.jupyter.widget-view+json"
    nb = notebook("slider", "bar", "picture")
    slider, bar, picture = nb.cells
    slider.outputs = [
        v4.new_output("display_data", {view: {"model_id": "1"}, "text/plain": "Run this notebook"})
    ]
    bar_text = "  0%|          | 0/1000 [00:00<?, ?it/s]"
    bar.outputs = [
        v4.new_output("display_data", {view: {"model_id": "2"}, "text/plain": bar_text}),
        v4.new_output("stream", text="done\n"),
    ]
    bar.metadata = {"tags": ["hide"], "collapsed": True}
    picture.outputs = [
        v4.new_output("display_data", {"image/png": "aaaa"}, metadata={"image/png": {"alt": "a"}})
    ]
    picture.metadata = {"mystnb": {"image": {"alt": "a"}}, "ExecuteTime": {"start_time": "now"}}

    notebooks.normalise(nb)

    assert slider.outputs[0].data == {"text/plain": "Run this notebook"}
    assert slider.metadata == {}
    assert [output.output_type for output in bar.outputs] == ["stream"]
    assert bar.metadata == {"tags": ["hide", "nbval-ignore-output"]}
    assert picture.outputs[0].metadata == {"image/png": {"alt": "a"}}
    assert picture.metadata == {"mystnb": {"image": {"alt": "a"}}}
    once = notebooks.dumps(nb)
    notebooks.normalise(nb)
    assert notebooks.dumps(nb) == once


def test_a_real_progress_bar_and_a_real_widget_are_recognised(root):
    nb = notebook(
        "from tqdm.auto import tqdm\nfor i in tqdm(range(3)): pass",
        "import ipywidgets; display(ipywidgets.IntSlider(description='t'))",
    )
    assert execute(nb, root / "x.ipynb").error is None
    assert any(
        "widget-view" in mime
        for cell in nb.cells
        for output in cell.outputs
        for mime in output.get("data", {})
    )
    notebooks.normalise(nb)
    assert nb.cells[0].outputs == []
    assert nb.cells[0].metadata.tags == ["nbval-ignore-output"]
    assert list(nb.cells[1].outputs[0].data) == ["text/plain"]


@pytest.mark.skipif(os.name == "nt", reason="sends Ctrl-C the POSIX way")
def test_ctrl_c_stops_at_once_with_one_line(root):
    save(
        root / "notebooks" / "00.ipynb",
        "open('started', 'w').close()",
        "import time; time.sleep(120)",
    )
    command = [
        sys.executable,
        "-c",
        "import sys; from course_utils.authoring.cli import main; sys.exit(main())",
        "run",
    ]
    process = subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (root / "notebooks" / "started").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    time.sleep(0.5)
    kernels = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 130
    assert out == ""
    assert err.strip() == "Stopped."
    assert kernels
    _, alive = psutil.wait_procs(kernels, timeout=5)
    assert alive == []


def test_expected_time_is_scaled_by_speed():
    taken = {"seconds": 30, "speed_score": 100}
    assert measured.expected_seconds(taken, 50) == 60
    assert measured.expected_seconds(taken, 200) == 15


def test_speed_score_counts_rounds_in_the_time_given():
    start = time.perf_counter()
    score = measured.speed_score("cpu", seconds=0.3)
    assert 0.3 < time.perf_counter() - start < 20  # importing torch counts too
    assert score > 1


def test_the_page_keeps_the_alt_text_of_pictures(tmp_path):
    picture = v4.new_output(
        "display_data",
        {"image/png": "iVBORw0KGgo="},
        metadata={"image/png": {"alt": 'Chart of "a < b"', "width": 10}},
    )
    nb = v4.new_notebook(cells=[v4.new_code_cell("1", outputs=[picture])])
    save_page(nb, tmp_path, "page")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    found = []
    parser = HTMLParser()
    parser.handle_startendtag = lambda tag, attrs: found.append((tag, dict(attrs)))
    parser.feed(page)
    assert [a["alt"] for tag, a in found if tag == "img"] == ['Chart of "a < b"']
    assert "No description has been provided" not in page


def test_lines_that_were_printed_one_by_one_become_one_output():
    parts = [
        v4.new_output("stream", name=n, text=t) for n, t in (("stdout", "a\n"), ("stdout", "b\n"))
    ]
    picture = v4.new_output("display_data", {"text/plain": "p"})
    after = v4.new_output("stream", name="stdout", text="c\n")
    error = v4.new_output("stream", name="stderr", text="d\n")
    nb = v4.new_notebook(cells=[v4.new_code_cell("1", outputs=[*parts, picture, after, error])])
    notebooks.normalise(nb)
    kept = [(o.output_type, o.get("text")) for o in nb.cells[0].outputs]
    assert kept == [
        ("stream", "a\nb\n"),
        ("display_data", None),
        ("stream", "c\n"),
        ("stream", "d\n"),
    ]
