"""What README, CONTRIBUTING, docs and notebooks promise: links lead somewhere, and times are those measured."""

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("course_utils/assets/*/*.md")]
NOTEBOOKS = [
    p for folder in ("notebooks", "exercises", "solutions") for p in ROOT.glob(f"{folder}/*.ipynb")
]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


@pytest.mark.parametrize("path", PAGES + NOTEBOOKS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_inside_the_course_leads_somewhere(path):
    targets = [unquote(t.split("#")[0]) for t in LINK.findall(prose(path)) if "://" not in t]
    dead = [t for t in targets if t and not (path.parent / t).exists()]
    assert dead == []


def test_the_readme_lists_every_chapter_with_the_time_that_was_measured():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    chapters = sorted(ROOT.glob("notebooks/*.ipynb"))
    assert len(chapters) >= 2
    for path in chapters:
        entry = json.loads(path.read_text(encoding="utf-8"))["metadata"]["course"]["measured"][
            "cpu"
        ]
        (row,) = [line for line in readme.splitlines() if f"](notebooks/{path.name})" in line]
        expected = f"{entry['seconds']:.0f} s, {entry['peak_memory_mb'] / 1e3:.1f} GB"
        assert expected in row, f"{path.name}: the README must say {expected!r}"


def test_no_placeholder_survives():
    for path in NOTEBOOKS:
        found = re.findall(r"^(?:[A-Z]{6,}|BADGES|LINKS|BOOT)$", prose(path), flags=re.M)
        assert found == [], path
