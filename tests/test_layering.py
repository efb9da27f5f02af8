"""Imports go one way: DESIGN's table of who may import what, read from the code of course_utils itself."""

import ast
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP = "course_utils"


@dataclass
class Layer:
    """What a sub-package may import besides the standard library and itself."""

    course: set[str] = field(default_factory=set)  # modules of the course, with all below them
    always: set[str] = field(default_factory=set)  # other packages
    in_functions: set[str] = field(default_factory=set)  # others again, only where they are used


LAYERS = {
    "diffusion": Layer(always={"torch"}),
    "data": Layer(
        always={"torch", "PIL", "numpy"},
        in_functions={"sklearn", "pyarrow", "huggingface_hub", "tqdm"},
    ),
    "show": Layer(
        course={"course_utils.data.scaling"},
        always={"torch", "numpy", "matplotlib", "PIL", "ipywidgets", "IPython"},
    ),
    "interop": Layer(
        course={"course_utils.diffusion"},
        always={"torch", "diffusers", "safetensors", "huggingface_hub"},
    ),
    "evaluate": Layer(
        course={"course_utils.diffusion", "course_utils.data"},
        always={"torch", "numpy", "scipy", "safetensors"},
    ),
    "trainer": Layer(
        course={"course_utils.diffusion", "course_utils.data", "course_utils.interop"},
        always={"torch", "accelerate", "safetensors", "PIL"},
        in_functions={"psutil"},
    ),
    "checks": Layer(
        course={"course_utils.diffusion", "course_utils.evaluate"},
        always={"torch", "numpy", "IPython"},
    ),
}
# authoring may import anything, and nothing imports authoring: it is in nobody's list.


def imports(path: Path, root: Path) -> list[tuple[str, int, bool]]:
    """Each import of a file: the module's full name, the line, and whether it stands in a function."""
    package = path.relative_to(root).parent.parts
    found = []

    def visit(node: ast.AST, in_function: bool) -> None:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            # "from package import name" imports a module where there is one of that name.
            for alias in node.names:
                below = root.joinpath(*module.split("."), alias.name)
                is_module = below.is_dir() or below.with_suffix(".py").is_file()
                names.append(f"{module}.{alias.name}" if is_module else module)
        elif isinstance(node, ast.Call):
            called = (
                node.func.attr
                if isinstance(node.func, ast.Attribute)
                else getattr(node.func, "id", "")
            )
            if called in ("import_module", "__import__"):
                names = [getattr(node.args[0], "value", None) or "a name that only a run will tell"]
        found.extend((name, node.lineno, in_function) for name in names)
        inside = in_function or isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        )
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


def violations(root: Path) -> list[str]:
    """One line for each import under root/course_utils that the table does not allow."""
    wrong = []
    for path in sorted((root / TOP).rglob("*.py")):
        parts = path.relative_to(root / TOP).with_suffix("").parts
        if parts[0] == "authoring":
            continue
        layer = Layer() if parts == ("__init__",) else LAYERS.get(parts[0])
        where = path.relative_to(root).as_posix()
        if layer is None:
            wrong.append(f"{where} belongs to no layer")
            continue
        for module, line, in_function in imports(path, root):
            first = module.split(".")[0]
            if first == TOP:
                own = f"{TOP}.{parts[0]}"
                open_to_it = {own, *layer.course}
                allowed = module == TOP or any(
                    f"{module}.".startswith(f"{name}.") for name in open_to_it
                )
            else:
                others = layer.always | (layer.in_functions if in_function else set())
                allowed = first in others or first in sys.stdlib_module_names
            if not allowed:
                wrong.append(f"{where}:{line} imports {module}")
    return wrong


def test_the_course_s_imports_go_one_way():
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("__init__.py", "import torch"),
        ("__init__.py", "from course_utils import show"),
        ("stray.py", "import math"),
        ("diffusion/a.py", "import numpy as np"),
        ("diffusion/a.py", "def f():\n    import numpy"),
        (
            "diffusion/a.py",
            "class A:\n    async def f(self):\n        from diffusers import UNet2DModel",
        ),
        ("diffusion/a.py", "from course_utils.show import figure"),
        ("diffusion/a.py", "from course_utils import show"),
        ("diffusion/a.py", "from .. import show"),
        ("diffusion/a.py", "from ..show import figure"),
        ("diffusion/a.py", "import importlib\nimportlib.import_module('numpy')"),
        ("diffusion/a.py", "from importlib import import_module\ndef f(name): import_module(name)"),
        ("diffusion/a.py", "__import__('numpy')"),
        ("diffusion/a.py", "import torchvision"),
        ("data/a.py", "import sklearn.datasets"),
        ("data/a.py", "from course_utils.diffusion import forward"),
        ("show/a.py", "from course_utils.data import butterflies"),
        ("show/a.py", "from course_utils.data.butterflies import draw"),
        ("show/a.py", "import course_utils.diffusion.schedule"),
        ("checks/a.py", "from course_utils.show import figure"),
        ("interop/a.py", "from course_utils.authoring import cli"),
        ("checks/a.py", "def f():\n    from course_utils.authoring.course import find_course"),
    ],
)
def test_an_import_that_goes_the_wrong_way_is_found(tmp_path, path, code):
    for module in ("data/butterflies.py", "data/scaling.py", "show/figures.py"):
        (tmp_path / TOP / module).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / TOP / module).touch()
    file = tmp_path / TOP / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(code)
    (found,) = violations(tmp_path)
    assert found.startswith(f"{TOP}/{path}")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (
            "diffusion/a.py",
            "import math, torch.nn\nfrom course_utils.diffusion import b\nfrom .b import c",
        ),
        ("data/a.py", "import torch\nfrom PIL import Image\ndef f():\n    import sklearn.datasets"),
        (
            "show/a.py",
            "from course_utils.data import scaling\nfrom course_utils.data.scaling import to_pixels",
        ),
        ("checks/a.py", "from course_utils.diffusion import forward"),
        ("authoring/a.py", "import anything\nfrom course_utils import checks"),
    ],
)
def test_the_table_s_own_imports_are_let_through(tmp_path, path, code):
    for module in ("data/scaling.py", path):
        (tmp_path / TOP / module).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / TOP / module).touch()
    (tmp_path / TOP / path).write_text(code)
    assert violations(tmp_path) == []


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh Python has loaded after the code."""
    report = "\nimport sys; print('LOADED', *sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=True
    )
    return set(said.stdout.rpartition("LOADED")[2].split())


def test_importing_the_course_loads_nothing_else():
    before = loaded_after("")
    assert loaded_after("import course_utils") - before == {"course_utils"}


def test_the_command_line_s_help_comes_without_torch():
    loaded = loaded_after(
        "from course_utils.authoring.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    )
    assert "course_utils.authoring.cli" in loaded
    assert loaded.isdisjoint({"torch", "numpy", "matplotlib", "diffusers", "IPython", "jupyterlab"})
