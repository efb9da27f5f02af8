"""start.py: which Python, which torch, and when .venv is made, kept, completed or made anew."""

import ast
import http.server
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_programs import script

ROOT = Path(__file__).resolve().parents[1]
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
posix = pytest.mark.skipif(os.name == "nt", reason="fakes programs by shell scripts")


def load(folder: Path):
    """start.py as a module that believes it lies in the folder."""
    spec = importlib.util.spec_from_file_location("start", folder / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start(tmp_path):
    folder = tmp_path / "a course"
    folder.mkdir()
    for name in ("start.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return load(folder)


# --- the Python that runs it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 14)])
def test_a_python_that_is_too_old_is_told_in_one_line(version):
    code = f"import sys; sys.version_info = {version}; exec(open('start.py').read())"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 1
    assert said.stdout == ""
    assert said.stderr.count("\n") == 1
    for part in ("needs Python 3.11", f"{version[0]}.{version[1]}", "python.org", "start.py lab"):
        assert part in said.stderr


def test_old_pythons_can_parse_it():
    """Python 2.7 too must reach the check of its version: no syntax that came later, no letter beyond ASCII."""
    source = (ROOT / "start.py").read_text(encoding="ascii")
    later = (
        ast.JoinedStr,
        ast.AnnAssign,
        ast.NamedExpr,
        ast.Starred,
        ast.Match,
        ast.Nonlocal,
        ast.YieldFrom,
    )
    for node in ast.walk(ast.parse(source)):
        assert not isinstance(node, (*later, ast.AsyncFunctionDef, ast.MatMult)), (
            f"line {node.lineno}"
        )
        if isinstance(node, ast.arguments):
            assert not node.kwonlyargs
            assert not node.posonlyargs
            assert not any(argument.annotation for argument in node.args)
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None
        if isinstance(node, ast.Raise):
            assert node.cause is None
    first = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.If)][:3]
    assert isinstance(first[2], ast.If), (
        "the version is checked before modules that an old Python lacks"
    )


def test_a_python_that_is_too_new_is_told(start, monkeypatch):
    monkeypatch.setattr(start.sys, "version_info", (3, 15, 0, "final", 0))
    said = start.obstacle(gpu=False)
    assert "no builds for Python 3.15" in said
    assert "3.13 start.py lab" in said


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_python_without_venv_is_told_with_the_remedy(start, monkeypatch, missing):
    monkeypatch.setattr(
        start.importlib.util, "find_spec", lambda name: None if name == missing else object()
    )
    monkeypatch.setattr(start.shutil, "which", lambda name: "/usr/bin/apt-get")
    said = start.obstacle(gpu=False)
    assert f"apt-get install python{HERE}-venv" in said
    monkeypatch.setattr(start.shutil, "which", lambda name: None)
    assert "python.org" in start.obstacle(gpu=False)
    assert "\n" not in said


def test_machines_that_cannot_hold_the_course_are_told(start, monkeypatch):
    monkeypatch.setattr(start.shutil, "disk_usage", lambda path: SimpleNamespace(free=5e9))
    assert start.obstacle(gpu=False) is None
    assert "9 GB of disk" in start.obstacle(gpu=True)
    monkeypatch.setattr(start.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(start.platform, "mac_ver", lambda: ("13.7.8", ("", "", ""), "arm64"))
    monkeypatch.setattr(start.platform, "machine", lambda: "arm64")
    assert "macOS 14" in start.obstacle(gpu=False)
    monkeypatch.setattr(start.platform, "machine", lambda: "x86_64")
    assert "Intel Macs" in start.obstacle(gpu=False)
    monkeypatch.setattr(start.sys, "maxsize", 2**31 - 1)
    assert "64-bit" in start.obstacle(gpu=False)


# --- which torch ------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    ("nvidia_smi", "found"),
    [
        ("echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)'", True),
        ("echo 'No devices were found'; exit 6", False),
        (
            "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9",
            False,
        ),
        ("exit 0", False),
        (None, False),
    ],
)
def test_an_nvidia_gpu_is_one_that_its_driver_sees(start, monkeypatch, tmp_path, nvidia_smi, found):
    if nvidia_smi:
        script(tmp_path / "bin" / "nvidia-smi", nvidia_smi)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert start.has_nvidia_gpu() is found


@pytest.mark.parametrize(
    ("system", "gpu", "index"),
    [
        ("Linux", False, "https://download.pytorch.org/whl/cpu"),
        ("Linux", True, None),
        ("Windows", False, "https://download.pytorch.org/whl/cpu"),
        ("Windows", True, "https://download.pytorch.org/whl/cu130"),
        ("Darwin", False, None),
    ],
)
def test_torch_comes_from_the_index_that_has_the_right_build(
    start, monkeypatch, capsys, system, gpu, index
):
    monkeypatch.setattr(start.platform, "system", lambda: system)
    monkeypatch.setattr(start, "index_answers", lambda asked: True)
    assert start.torch_options(gpu) == (["--extra-index-url", index] if index else [])
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(start, "index_answers", lambda asked: False)
    assert start.torch_options(gpu) == []
    assert capsys.readouterr().out.count("\n") == (1 if index else 0)


def test_the_cuda_index_is_that_of_the_pinned_torch(start):
    (runtime,) = [
        line
        for line in (ROOT / "constraints.txt").open()
        if line.startswith("nvidia-cuda-runtime==")
    ]
    major, minor = runtime.partition("==")[2].split(".")[:2]
    assert f"cu{major}{minor}" == start.CUDA


@pytest.fixture
def own_pip(start, monkeypatch):
    """pip of this environment, with no proxy between it and this machine."""
    monkeypatch.setattr(start, "PYTHON", sys.executable)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return start


def test_an_index_that_answers_is_used(own_pip, tmp_path):
    (tmp_path / "whl" / "torch").mkdir(parents=True)
    link = (
        '<!DOCTYPE html><a href="/torch-2.13.0-py3-none-any.whl">torch-2.13.0-py3-none-any.whl</a>'
    )
    (tmp_path / "whl" / "torch" / "index.html").write_text(link)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert own_pip.index_answers(f"http://127.0.0.1:{server.server_port}/whl")
        assert not own_pip.index_answers(f"http://127.0.0.1:{server.server_port}/nothing")
        server.shutdown()


@pytest.mark.parametrize("listening", [False, True])
def test_an_index_out_of_reach_costs_seconds_not_a_minute(own_pip, listening):
    """A port where nobody listens, and one where somebody does and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listening:
            server.listen()
        began = time.monotonic()
        assert not own_pip.index_answers(f"http://127.0.0.1:{server.getsockname()[1]}/whl")
        assert time.monotonic() - began < 15


# --- .venv from run to run --------------------------------------------------------------------------------------


@pytest.fixture
def setup(start, monkeypatch):
    """make_environment with real virtual environments and a pip that only notes what it was asked."""
    asked = []

    def prepare(start):
        def make_venv():
            venv.create(start.VENV, clear=True, symlinks=os.name != "nt")
            (site,) = Path(start.VENV).glob("**/site-packages")
            (site / "pip.py").touch()
            asked.append("venv")

        monkeypatch.setattr(start, "make_venv", make_venv)
        monkeypatch.setattr(
            start, "pip_install", lambda arguments: asked.append(" ".join(arguments))
        )
        monkeypatch.setattr(start, "has_nvidia_gpu", lambda: False)
        monkeypatch.setattr(start, "index_answers", lambda index: False)

    prepare(start)
    start.make_environment()
    assert asked == ["venv", "torch", "--editable .[lab,test]"]
    asked.clear()
    return SimpleNamespace(start=start, asked=asked, prepare=prepare)


INSTALL = ["torch", "--editable .[lab,test]"]


def test_a_second_run_installs_nothing_and_says_nothing(setup, capsys):
    capsys.readouterr()
    began = time.monotonic()
    setup.start.make_environment()
    assert setup.asked == []
    assert capsys.readouterr().out == ""
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_list_of_packages_is_installed_into_the_same_venv(setup, capsys, name):
    with open(Path(setup.start.ROOT) / name, "a") as file:
        file.write("# one more line\n")
    setup.start.make_environment()
    assert setup.asked == INSTALL
    assert "list of packages has changed" in capsys.readouterr().out
    setup.start.make_environment()
    assert setup.asked == INSTALL


def test_an_interrupted_installation_is_finished(setup, monkeypatch, capsys):
    (Path(setup.start.ROOT) / "constraints.txt").write_text("")
    note = setup.start.pip_install

    def interrupted(arguments):
        note(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(setup.start, "pip_install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        setup.start.make_environment()
    monkeypatch.setattr(setup.start, "pip_install", note)
    setup.asked.clear()
    setup.start.make_environment()
    assert setup.asked == INSTALL
    assert "finishing it" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "[1, 2]", "3", '{"python"'])
def test_a_broken_stamp_counts_as_none(setup, content):
    Path(setup.start.STAMP).write_text(content)
    setup.start.make_environment()
    assert setup.asked == INSTALL


def rebuilt(setup, capsys) -> str:
    """Run again, make sure that .venv was made anew and is then kept; what was said."""
    capsys.readouterr()
    setup.start.make_environment()
    assert setup.asked == ["venv", *INSTALL]
    said = capsys.readouterr().out
    setup.start.make_environment()
    assert setup.asked == ["venv", *INSTALL]
    return said


def test_a_venv_whose_python_is_gone_is_made_anew(setup, capsys):
    os.remove(setup.start.PYTHON)
    if os.name != "nt":
        os.symlink("/nowhere/bin/python3", setup.start.PYTHON)
    assert "gone or broken" in rebuilt(setup, capsys)


def test_a_venv_without_pip_is_made_anew(setup, capsys):
    (pip,) = Path(setup.start.VENV).glob("**/site-packages/pip.py")
    pip.unlink()
    assert "gone or broken" in rebuilt(setup, capsys)


def test_a_venv_made_by_another_python_is_made_anew(setup, capsys):
    stamp = Path(setup.start.STAMP)
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "python": "3.99"}))
    assert f"has become {HERE}" in rebuilt(setup, capsys)


def test_a_course_that_has_moved_gets_its_venv_anew(setup, capsys):
    old = Path(setup.start.ROOT)
    new = old.rename(old.with_name("elsewhere"))
    setup.start = load(new)
    setup.prepare(setup.start)
    assert f"moved to {new}" in rebuilt(setup, capsys)


def test_a_new_gpu_brings_its_torch_and_a_sleeping_one_keeps_it(setup, monkeypatch, capsys):
    monkeypatch.setattr(setup.start, "has_nvidia_gpu", lambda: True)
    assert "There is an NVIDIA GPU now" in rebuilt(setup, capsys)
    setup.asked.clear()
    monkeypatch.setattr(setup.start, "has_nvidia_gpu", lambda: False)
    setup.start.make_environment()
    assert setup.asked == []


# --- pip and the checks --------------------------------------------------------------------------------------------


@posix
def test_when_pip_fails_its_last_lines_and_its_log_are_shown(start, monkeypatch, capsys):
    Path(start.VENV).mkdir()
    monkeypatch.setattr(
        start, "PYTHON", str(script(Path(start.SCRIPTS) / "python", "seq 100; exit 1"))
    )
    with pytest.raises(SystemExit) as stopped:
        start.pip_install(["torch"])
    assert "99\n100\n" in stopped.value.code
    assert "\n50\n" not in stopped.value.code
    assert start.LOG in stopped.value.code
    assert Path(start.LOG).read_text().startswith("1\n2\n")
    assert capsys.readouterr().out == ""


@posix
@pytest.mark.parametrize(
    ("fails", "ends"),
    [
        ("nothing", "All checks passed."),
        ("format", "Failed: ruff format --check ."),
        ("pytest", "Failed: pytest -x"),
    ],
)
def test_every_check_runs_and_the_failed_ones_are_named(start, monkeypatch, capfd, fails, ends):
    python = script(
        Path(start.SCRIPTS) / "python", f'echo "ran $2"; case "$*" in *{fails}*) exit 1;; esac'
    )
    monkeypatch.setattr(start, "PYTHON", str(python))
    assert start.test(["-x"]) == (fails != "nothing")
    said = capfd.readouterr().out
    assert said.count("ran ruff") == 2
    assert said.count("ran pytest") == 1
    assert said.endswith(ends + "\n")


@posix
def test_the_benchmarks_run_one_after_the_other_until_one_fails(start, monkeypatch, capfd):
    python = script(Path(start.SCRIPTS) / "python", 'echo "ran $1"; [ ! -e fails ] || exit 3')
    monkeypatch.setattr(start, "PYTHON", str(python))
    monkeypatch.setattr(start, "make_environment", lambda: None)
    assert start.main(["bench"]) == 0
    ran = [line[4:] for line in capfd.readouterr().out.splitlines() if line.startswith("ran ")]
    assert ran == ["benchmarks/unet.py", "benchmarks/samplers.py"]
    assert all((ROOT / name).is_file() for name in ran)
    Path(start.ROOT, "fails").touch()
    assert start.main(["bench"]) == 3
    assert "samplers" not in capfd.readouterr().out
