"""What this machine can do for the course, in a few lines: `diffusion-course doctor`.

Each question is a function that returns findings; printing them is a separate matter.
"""

import hashlib
import json
import platform
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from course_utils.authoring import machine, measured, notebooks
from course_utils.authoring.course import PACKAGE, CourseError, find_course, notebooks_in

GOOD, NOTE, STOP = "✓", "!", "✗"  # fine; worth knowing; stops the course
DISTRIBUTION = "diffusion-course"
HUB_SECONDS = 3
ROOM = 0.5e9  # bytes that a notebook should leave free


@dataclass
class Finding:
    """One line of the report, and what to do about it."""

    mark: str
    topic: str
    text: str
    remedy: str = ""


def packages(distribution: str = DISTRIBUTION) -> Iterator[Finding]:
    """Python and the packages against the bounds that the course itself declares."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    try:
        course = metadata.metadata(distribution)
    except metadata.PackageNotFoundError:
        yield Finding(
            STOP, "course", "not installed in this Python", 'pip install -e ".[lab]" in its folder'
        )
        return
    bound, python = SpecifierSet(course["Requires-Python"] or ""), platform.python_version()
    yield Finding(
        *(
            GOOD if bound.contains(python, prereleases=True) else STOP,
            "Python",
            f"{python} (needs {bound})",
        ),
        f"install a Python {bound} and make the environment anew",
    )
    requirements = [Requirement(text) for text in metadata.requires(distribution) or []]
    core = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    lab = [r for r in requirements if r not in core and r.marker.evaluate({"extra": "lab"})]
    problems = list(filter(None, map(_unmet, core)))
    if problems:
        yield Finding(
            STOP, "packages", "; ".join(problems), f"pip install {' '.join(_quoted(core))}"
        )
    else:
        shown = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "diffusers"))
        yield Finding(GOOD, "packages", f"all {len(core)} meet their bounds ({shown})")
    if problems := list(filter(None, map(_unmet, lab))):
        remedy = f"only `diffusion-course lab` needs it: pip install {' '.join(_quoted(lab))}"
        yield Finding(NOTE, "lab", "; ".join(problems), remedy)


def _unmet(requirement) -> str | None:
    """What is wrong with an installed package, or None."""
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(found, prereleases=True):
        return None
    return f"{requirement.name} {found} is not {requirement.specifier}"


def _quoted(requirements) -> list[str]:
    return [f'"{r.name}{r.specifier}"' for r in requirements if _unmet(r)]


def hardware() -> Iterator[Finding]:
    """Cores, memory, and what torch can compute on."""
    try:
        import torch
    except (ImportError, OSError) as error:  # its libraries may not suit the system
        remedy = "pip install --force-reinstall torch"
        yield Finding(STOP, "torch", f"does not load: {error}", remedy)
        return
    cores, (total, free) = machine.cores(), machine.memory()
    yield Finding(GOOD, "CPU", f"{cores} core{'s' if cores != 1 else ''}")
    yield Finding(
        GOOD, "memory", f"{total / machine.GB:.1f} GB, of which {free / machine.GB:.1f} GB are free"
    )
    kind, name = machine.device()
    if kind == "cuda":
        held = torch.cuda.get_device_properties(0).total_memory / machine.GB
        real = torch.cuda.is_bf16_supported(including_emulation=False)
        bf16 = "real bf16" if real else "no real bf16, so mixed precision means fp16"
        yield Finding(
            GOOD, "GPU", f"{torch.cuda.device_count()} × {name}, {held:.0f} GB each, {bf16}"
        )
    elif kind == "mps":
        yield Finding(GOOD, "GPU", "Apple's, through MPS (it has no float64)")
    else:
        yield Finding(
            GOOD, "GPU", "none; every chapter runs without one, the last on small pictures"
        )


def hub() -> Finding:
    """Whether the Hugging Face Hub answers; the course goes on without it."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Finding(
            NOTE, "Hub", "switched off by HF_HUB_OFFLINE", "the shipped weights serve instead"
        )
    answers: list[str] = []
    # A thread, because looking a name up can hang far longer than any timeout of the connection.
    asking = threading.Thread(target=_ask, args=(constants.ENDPOINT, answers), daemon=True)
    asking.start()
    asking.join(HUB_SECONDS)
    if answers == ["yes"]:
        return Finding(GOOD, "Hub", f"{constants.ENDPOINT} answers")
    reason = answers[0] if answers else f"no answer within {HUB_SECONDS} s"
    return Finding(
        NOTE, "Hub", f"{constants.ENDPOINT}: {reason}", "the shipped weights serve instead"
    )


def _ask(endpoint: str, answers: list[str]) -> None:
    import urllib.request

    try:
        address = f"{endpoint}/api/models/google/ddpm-celebahq-256"
        urllib.request.urlopen(address, timeout=HUB_SECONDS).close()
        answers.append("yes")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        answers.append(f"cannot be reached ({getattr(reason, 'strerror', None) or reason})")


def weights(assets: Path = PACKAGE / "assets") -> Iterator[Finding]:
    """Whether each shipped file has the hash that stands beside it in its folder's sha256.json."""
    remedy = "install the course again, or `git checkout -- course_utils/assets`"
    folders = sorted(folder for folder in assets.glob("[!_.]*") if folder.is_dir())
    if not folders:
        yield Finding(STOP, "weights", "none in course_utils/assets", remedy)
    for folder in folders:
        try:
            expected = json.loads((folder / "sha256.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            yield Finding(
                STOP, "weights", f"{folder.name}: its sha256.json is missing or unreadable", remedy
            )
            continue
        wrong = [name for name, digest in expected.items() if _sha256(folder / name) != digest]
        if wrong:
            yield Finding(
                STOP, "weights", f"{folder.name}: damaged or missing: {', '.join(wrong)}", remedy
            )
        else:
            yield Finding(GOOD, "weights", f"{folder.name}: {len(expected)} files verified")


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def chapters() -> Iterator[Finding]:
    """Which chapters will run here, and how long they take: the recorded times, scaled to this machine."""
    try:
        paths = notebooks_in(find_course(), "notebooks")
    except CourseError:
        yield Finding(
            NOTE, "chapters", "no course folder here: each notebook states its own time and memory"
        )
        return
    here = machine.device()[0]
    scores = {"cpu": measured.speed_score("cpu")}
    if here != "cpu":
        scores[here] = measured.speed_score(here)
    free = machine.memory()[1]
    for path in paths:
        taken = notebooks.read(path).metadata.get("course", {}).get("measured", {})
        kind = here if here in taken else "cpu"
        if kind not in taken:
            yield Finding(NOTE, path.stem, "its time has not been measured on a machine like this")
            continue
        seconds = measured.expected_seconds(taken[kind], scores[kind])
        needs = taken[kind]["peak_memory_mb"] * 1e6
        text = f"about {seconds:.0f} s and {needs / machine.GB:.1f} GB"
        if needs + ROOM > free:
            text += f", and only {free / machine.GB:.1f} GB are free"
            yield Finding(STOP, path.stem, text, "close other programs and notebooks")
        else:
            yield Finding(GOOD, path.stem, text)


def doctor() -> int:
    """Print the report; 1 if something would stop the course, else 0."""
    print(f"{DISTRIBUTION} on {platform.system()}, {sys.executable}\n", flush=True)
    # Without its packages, or a torch that loads, the later questions cannot even be asked.
    stopped = _report(packages()) or _report(hardware())
    if not stopped:
        stopped = _report([hub()]) + _report(weights()) + _report(chapters())
    print(f"\n{STOP} {stopped} to put right first." if stopped else "\nThe course will run here.")
    return 1 if stopped else 0


def _report(findings) -> int:
    """Print each finding as soon as it is known; how many of them stop the course."""
    stops = 0
    for finding in findings:
        print(f"{finding.mark} {finding.topic:<22} {finding.text}", flush=True)
        if finding.remedy and finding.mark != GOOD:
            print(f"  {'':<22} → {finding.remedy}", flush=True)
        stops += finding.mark == STOP
    return stops
