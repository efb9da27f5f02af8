"""`diffusion-course doctor`: each answer against a machine made up for it, and what stops the course."""

import hashlib
import json
import platform
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from huggingface_hub import constants
from nbformat import NotebookNode
from tiny_course import make_course, notebook

from course_utils.authoring import doctor, machine, measured, notebooks
from course_utils.authoring.cli import main
from course_utils.authoring.course import CourseError
from course_utils.authoring.doctor import GOOD, NOTE, STOP, Finding


def marks(findings) -> dict[str, str]:
    return {finding.topic: finding.mark for finding in findings}


def made_up_course(monkeypatch, requires: list[str], python: str = ">=3.11") -> None:
    """Let the installed course declare these requirements."""
    monkeypatch.setattr(doctor.metadata, "metadata", lambda name: {"Requires-Python": python})
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: requires)


def test_the_environment_that_runs_this_suffices():
    found = list(doctor.packages())
    assert marks(found) == {"Python": GOOD, "packages": GOOD}
    declared = [r for r in metadata.requires("diffusion-course") if "extra ==" not in r]
    assert f"all {len(declared)} meet" in found[1].text


def test_missing_and_old_packages_stop_the_course_and_the_remedy_names_them(monkeypatch):
    made_up_course(
        monkeypatch,
        ["torch>=99", "no-such-package>=1.2", "numpy>=1", 'winonly>=1; os_name == "never"'],
    )
    _, found = doctor.packages()
    assert found.mark == STOP
    assert f"torch {metadata.version('torch')} is not >=99" in found.text
    assert "no-such-package is missing" in found.text
    assert "numpy" not in found.text
    assert "winonly" not in found.text
    assert found.remedy == 'pip install "torch>=99" "no-such-package>=1.2"'


def test_what_only_the_lab_needs_is_a_note(monkeypatch):
    made_up_course(
        monkeypatch, ["numpy>=1", 'no-such-lab>=1; extra == "lab"', 'no-such-test; extra == "test"']
    )
    found = list(doctor.packages())
    assert marks(found) == {"Python": GOOD, "packages": GOOD, "lab": NOTE}
    assert found[2].text == "no-such-lab is missing"


def test_an_old_python_and_a_course_that_is_not_installed_stop(monkeypatch):
    made_up_course(monkeypatch, [], python=">=99.1")
    found = next(doctor.packages())
    assert (found.mark, found.text) == (STOP, f"{platform.python_version()} (needs >=99.1)")
    monkeypatch.undo()
    assert marks(doctor.packages("no-such-course")) == {"course": STOP}


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        ({}, 8, (16e9, 10e9)),
        (
            {"cpu.max": ["max 100000"], "memory.max": ["max"], "memory.current": ["5"]},
            8,
            (16e9, 10e9),
        ),
        ({"cpu.max": ["max 100000", "200000 100000"]}, 2, (16e9, 10e9)),
        ({"cpu.max": ["50000 100000"]}, 1, (16e9, 10e9)),
        (
            {
                "memory.max": ["4000000000", "8000000000"],
                "memory.current": ["1000000000", "7000000000"],
            },
            8,
            (4e9, 3e9),
        ),
        ({"memory.max": ["64000000000"], "memory.current": ["1"]}, 8, (16e9, 10e9)),
    ],
)
def test_a_containers_limits_count(monkeypatch, files, cores, memory):
    monkeypatch.setattr(machine, "_control_group_files", lambda name: files.get(name, []))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr("psutil.virtual_memory", lambda: NotebookNode(total=16e9, available=10e9))
    assert machine.cores() == cores
    assert machine.memory() == memory


def made_up_gpu(monkeypatch, bf16: bool) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda i: "Tesla T4")
    monkeypatch.setattr(
        "torch.cuda.get_device_properties", lambda i: NotebookNode(total_memory=15.8e9)
    )

    def supported(including_emulation=True):
        return bf16 or including_emulation  # a T4 claims bf16 unless asked for the real one

    monkeypatch.setattr("torch.cuda.is_bf16_supported", supported)


@pytest.mark.parametrize(("bf16", "says"), [(True, ", real bf16"), (False, "no real bf16")])
def test_bf16_counts_only_if_it_is_real(monkeypatch, bf16, says):
    made_up_gpu(monkeypatch, bf16)
    gpu = list(doctor.hardware())[-1]
    assert gpu.text.startswith("1 × Tesla T4, 16 GB each")
    assert says in gpu.text


def test_no_gpu_is_fine(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    found = list(doctor.hardware())
    assert marks(found) == {"CPU": GOOD, "memory": GOOD, "GPU": GOOD}
    assert found[-1].text.startswith("none")


@pytest.fixture
def hub(monkeypatch):
    """A Hub on this machine; the fixture's value is what it does with a request."""
    behaviour = {"status": 200, "wait": 0.0, "asked": []}

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            behaviour["asked"].append(self.path)
            time.sleep(behaviour["wait"])
            self.send_response(behaviour["status"])
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.daemon_threads = True
    yield behaviour
    server.shutdown()
    server.server_close()


def test_a_hub_that_answers_is_good(hub):
    found = doctor.hub()
    assert (found.mark, found.text) == (GOOD, f"{constants.ENDPOINT} answers")
    assert hub["asked"] == ["/api/models/google/ddpm-celebahq-256"]


def test_a_hub_that_fails_or_sleeps_is_a_note_and_soon(hub, monkeypatch):
    hub["status"] = 503
    found = doctor.hub()
    assert found.mark == NOTE
    assert "Service Unavailable" in found.text
    hub["wait"] = 2.0
    monkeypatch.setattr(doctor, "HUB_SECONDS", 0.5)
    start = time.monotonic()
    assert doctor.hub().mark == NOTE
    assert time.monotonic() - start < 2


def test_a_name_server_that_hangs_does_not_hold_the_doctor_up(hub, monkeypatch):
    def hang(*args, **options):
        time.sleep(1.5)
        raise OSError("no answer")

    monkeypatch.setattr(doctor, "HUB_SECONDS", 0.3)
    monkeypatch.setattr("socket.getaddrinfo", hang)
    start = time.monotonic()
    assert "no answer within 0.3 s" in doctor.hub().text
    assert time.monotonic() - start < 1.2


def test_an_offline_switch_is_respected(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = doctor.hub()
    assert (found.mark, found.text) == (NOTE, "switched off by HF_HUB_OFFLINE")
    assert hub["asked"] == []


def test_weights_are_verified_by_their_hashes(tmp_path):
    folder = tmp_path / "butterflies"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "weights").write_bytes(b"learned")
    (folder / "config").write_bytes(b"{}")
    (tmp_path / "__pycache__").mkdir()
    hashes = {
        "unet/weights": hashlib.sha256(b"learned").hexdigest(),
        "config": hashlib.sha256(b"{}").hexdigest(),
    }
    (folder / "sha256.json").write_text(json.dumps(hashes))
    assert list(doctor.weights(tmp_path)) == [
        Finding(GOOD, "weights", "butterflies: 2 files verified")
    ]

    (folder / "unet" / "weights").write_bytes(b"damaged")
    (folder / "config").unlink()
    (found,) = doctor.weights(tmp_path)
    assert (found.mark, found.text) == (
        STOP,
        "butterflies: damaged or missing: unet/weights, config",
    )

    (folder / "sha256.json").write_text("[")
    (found,) = doctor.weights(tmp_path)
    assert (found.mark, found.text) == (
        STOP,
        "butterflies: its sha256.json is missing or unreadable",
    )
    (found,) = doctor.weights(tmp_path / "nothing")
    assert found.mark == STOP


def test_the_shipped_weights_verify():
    found = list(doctor.weights())
    assert [finding.mark for finding in found] == [GOOD] * len(found), found


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course on a CPU machine half as fast as the author's, with 2 GB free."""
    monkeypatch.chdir(make_course(tmp_path))
    monkeypatch.setattr(machine, "device", lambda: ("cpu", "cpu"))
    monkeypatch.setattr(machine, "memory", lambda: (8e9, 2e9))
    monkeypatch.setattr(measured, "speed_score", lambda kind: {"cpu": 50.0, "cuda": 3000.0}[kind])
    return tmp_path


def chapter(root: Path, name: str, **entries: dict) -> None:
    nb = notebook("x")
    nb.metadata["course"] = {"measured": entries}
    notebooks.write(nb, root / "notebooks" / f"{name}.ipynb")


def entry(seconds: float, megabytes: int, score: float) -> dict:
    return {"seconds": seconds, "peak_memory_mb": megabytes, "speed_score": score}


def test_chapters_are_timed_for_this_machine_and_refused_where_memory_lacks(course, monkeypatch):
    chapter(course, "00", cpu=entry(30.0, 1200, 100.0), cuda=entry(5.0, 1400, 1000.0))
    chapter(course, "02", cpu=entry(10.0, 1600, 100.0))
    chapter(course, "10", cuda=entry(600.0, 1000, 1000.0))
    notebooks.write(notebook("x"), course / "notebooks" / "11.ipynb")

    found = {finding.topic: finding for finding in doctor.chapters()}
    assert (found["00"].mark, found["00"].text) == (GOOD, "about 60 s and 1.2 GB")
    assert (found["02"].mark, found["02"].text) == (
        STOP,
        "about 20 s and 1.6 GB, and only 2.0 GB are free",
    )
    assert found["10"].mark == found["11"].mark == NOTE
    assert "not been measured" in found["10"].text

    monkeypatch.setattr(machine, "device", lambda: ("cuda", "NVIDIA H100"))
    found = {finding.topic: finding for finding in doctor.chapters()}
    assert found["00"].text == "about 2 s and 1.4 GB"
    assert found["02"].text.startswith("about 20 s"), (
        "measured on a CPU only, so the CPU's score counts"
    )
    assert (found["10"].mark, found["10"].text) == (GOOD, "about 200 s and 1.0 GB")


def test_without_a_course_folder_the_rest_still_answers(monkeypatch):
    def nowhere():
        raise CourseError("no course folder")

    monkeypatch.setattr(doctor, "find_course", nowhere)
    (found,) = doctor.chapters()
    assert found.mark == NOTE


def test_the_report_is_aligned_and_its_exit_code_says_whether_something_stops(
    course, monkeypatch, capsys
):
    monkeypatch.setattr(doctor, "hub", lambda: Finding(NOTE, "Hub", "sleeps", "go on without"))
    monkeypatch.setattr(
        doctor, "weights", lambda: [Finding(GOOD, "weights", "verified", "never shown")]
    )
    chapter(course, "00", cpu=entry(30.0, 1200, 100.0))
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "The course will run here." in said
    assert "never shown" not in said
    lines = [line for line in said.splitlines() if line[:1] in (GOOD, NOTE, STOP)]
    assert len(lines) == 8
    assert {line[25] for line in lines} != {" "}
    assert {line[24] for line in lines} == {" "}
    assert "→ go on without" in said

    monkeypatch.setattr(
        doctor, "weights", lambda: [Finding(STOP, "weights", "damaged", "install again")]
    )
    assert main(["doctor"]) == 1
    assert "✗ 1 to put right first." in capsys.readouterr().out


def test_a_torch_that_does_not_load_stops_the_course(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "✗ torch                  does not load" in said
    assert "→ pip install --force-reinstall torch" in said


def test_with_packages_missing_the_doctor_still_answers(monkeypatch, capsys):
    made_up_course(monkeypatch, ["torch>=99"])
    monkeypatch.setattr(
        doctor, "hardware", lambda: pytest.fail("it cannot be asked without its packages")
    )
    assert main(["doctor"]) == 1
    assert 'pip install "torch>=99"' in capsys.readouterr().out
