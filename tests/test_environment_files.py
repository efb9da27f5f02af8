"""The files that say what gets installed agree: pyproject.toml, environment.yml, constraints.txt, Colab's table."""

import re
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
PIP_SECTION = next(entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))
CONDA_NAMES = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "playwright": "playwright-python",
}


def declared(*extras: str) -> dict[str, Requirement]:
    """pyproject's requirements by name: the core's, and those of the extras."""
    lines = PROJECT["dependencies"] + [
        line for extra in extras for line in PROJECT["optional-dependencies"][extra]
    ]
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r for r in requirements if r.name != PROJECT["name"]}


def test_every_requirement_has_a_lower_bound_and_no_upper_one():
    for requirement in declared(*PROJECT["optional-dependencies"]).values():
        assert [specifier.operator for specifier in requirement.specifier] == [">="], requirement


def test_environment_yml_asks_for_what_pyproject_asks_for():
    from_pip = {
        canonicalize_name(Requirement(line).name)
        for line in PIP_SECTION
        if not line.startswith("--")
    }
    wanted = {f"python{PROJECT['requires-python']}", "pip"} | {
        f"{name if name in from_pip else CONDA_NAMES.get(name, name)}{requirement.specifier}"
        for name, requirement in declared("lab", "test").items()
    }
    given = [line for line in CONDA["dependencies"] if isinstance(line, str)]
    given += [line for line in PIP_SECTION if line != "--editable ."]
    assert {line.replace("huggingface_hub", "huggingface-hub") for line in given} == wanted
    assert len(given) == len(wanted)


def test_environment_yml_installs_the_course_itself_and_takes_one_channel():
    assert "--editable ." in PIP_SECTION
    assert CONDA["channels"] == ["conda-forge", "nodefaults"]
    assert CONDA["name"] == PROJECT["name"]


def test_the_pip_section_installs(tmp_path):
    """In a virtual environment that is thrown away, from a copy. What conda installs is left out (--no-deps)."""
    ask = [
        sys.executable,
        "-m",
        "pip",
        "--retries=0",
        "--timeout=5",
        "index",
        "versions",
        "setuptools",
    ]
    if subprocess.run(ask, capture_output=True).returncode != 0:
        pytest.skip("no package index answers")
    course = tmp_path / "course"
    shutil.copytree(
        ROOT / "course_utils", course / "course_utils", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]):
        shutil.copy(ROOT / name, course)
    (course / "section.txt").write_text("\n".join(PIP_SECTION))
    venv.create(tmp_path / "venv", symlinks=sys.platform != "win32")
    python = tmp_path / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", python),
            *("install", "--no-deps", "-r", "section.txt"),
        ],
        cwd=course,
        check=True,
        capture_output=True,
    )
    code = "import course_utils, importlib.metadata as m; print(course_utils.__file__, m.version('diffusers'))"
    said = subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout
    where, version = said.rsplit(maxsplit=1)
    assert Path(where) == course / "course_utils" / "__init__.py"
    assert Version(version) in declared()["diffusers"].specifier


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.lstrip().startswith("#")]


def test_constraints_pin_exact_versions_that_any_build_satisfies():
    for pin in pins():
        assert re.fullmatch(r"==[^,*+]+", str(pin.specifier)), pin  # 2.13.0, never 2.13.0+cpu


def test_constraints_meet_the_bounds():
    pinned = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in pins()}
    for name, requirement in declared(*PROJECT["optional-dependencies"]).items():
        assert pinned[name] in requirement.specifier, requirement


def test_constraints_pin_everything_that_the_course_pulls_in_here():
    """From the metadata of what is installed: each requirement of a requirement that counts on this system."""
    here = {
        canonicalize_name(pin.name) for pin in pins() if pin.marker is None or pin.marker.evaluate()
    }
    todo = [(name, set(r.extras)) for name, r in declared("lab", "test").items()]
    seen = set()
    while todo:
        name, extras = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                todo.append((canonicalize_name(requirement.name), set(requirement.extras)))
    assert seen <= here


COLAB = {
    name: {"cpu": cpu, "gpu": gpu}
    for name, cpu, gpu in (
        line.split()
        for line in (ROOT / "tests" / "colab_packages.txt").read_text().splitlines()
        if not line.startswith("#")
    )
}


@pytest.mark.parametrize("runtime", ["cpu", "gpu"])
@pytest.mark.parametrize("name", sorted(declared()))
def test_colab_meets_every_bound_of_the_core(name, runtime):
    """So installing the course there with --no-deps leaves nothing missing and nothing too old."""
    version = COLAB[name][runtime]
    if version == "-" and name == "torch":
        # Colab's list names the CPU runtime's torch without its version.
        version = COLAB[name]["gpu"]
    assert version in declared()[name].specifier
