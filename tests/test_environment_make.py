"""The Makefile: which Python it hands to start.py, and what it says where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_programs import script

MAKEFILE = Path(__file__).resolve().parents[1] / "Makefile"
pytestmark = pytest.mark.skipif(os.name == "nt" or not shutil.which("make"), reason="needs make")


def make(path: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run make with no program in reach but those in the folder."""
    path.mkdir(exist_ok=True)
    command = [shutil.which("make"), "-f", str(MAKEFILE), *arguments]
    return subprocess.run(
        command, cwd=path, env={"PATH": str(path)}, capture_output=True, text=True
    )


def fake_python(path: Path, new_enough: bool) -> None:
    """A Python that knows whether it is new enough, and otherwise says how it was called."""
    check = f"case \"$2\" in *version_info*) exit {0 if new_enough else 1};; '') exit 0;; esac"
    script(path, f'[ "$1" = -c ] && {{ {check}; }}; echo "{path.name} $*"')


def test_make_without_any_python_says_so_in_one_line(tmp_path):
    said = make(tmp_path / "bin", "lab")
    assert said.returncode != 0
    assert [
        line for line in said.stderr.splitlines() if "python.org" in line and "No Python" in line
    ]
    assert said.stdout == ""


def test_make_takes_a_newer_python_where_the_default_one_is_too_old(tmp_path):
    fake_python(tmp_path / "bin" / "python3", new_enough=False)
    # Which then says that it is too old.
    assert make(tmp_path / "bin", "lab").stdout == "python3 start.py lab\n"
    fake_python(tmp_path / "bin" / "python3.12", new_enough=True)
    assert (
        make(tmp_path / "bin", "lab", "ARGS=--port 9000").stdout
        == "python3.12 start.py lab --port 9000\n"
    )
    fake_python(tmp_path / "bin" / "python3", new_enough=True)
    for target in ("test", "bench"):
        assert make(tmp_path / "bin", target).stdout == f"python3 start.py {target}\n"


def test_make_takes_the_python_it_is_given(tmp_path):
    fake_python(tmp_path / "bin" / "python3", new_enough=True)
    fake_python(tmp_path / "my programs" / "python", new_enough=False)
    mine = f"PYTHON={tmp_path / 'my programs' / 'python'}"
    assert make(tmp_path / "bin", "env", mine).stdout == "python start.py env\n"
    said = make(tmp_path / "bin", "env", "PYTHON=python9")
    assert said.returncode != 0
    assert "PYTHON=python9: there is no such program" in said.stderr


def test_make_and_start_py_want_the_same_pythons():
    text = MAKEFILE.read_text()
    for name in ("OLDEST", "NEWEST"):
        code = f"import start; print(start.{name})"
        said = subprocess.run(
            [sys.executable, "-c", code], cwd=MAKEFILE.parent, capture_output=True, text=True
        )
        assert said.stdout.strip() in text
