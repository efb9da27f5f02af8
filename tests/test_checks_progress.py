"""The progress file survives crashes, damage, other notebooks and folders that may not be written to."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import course_utils
from course_utils.checks import store
from course_utils.checks.store import Record


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS_FILE", str(path))
    return path


def test_what_is_added_up_is_read_back(path):
    assert store.read() == ({}, "")
    assert store.update("02.1", tries=1) == ""
    store.update("02.1", hints=1)
    store.update("02.1", tries=1, done=True)
    store.update("02.2", tries=1)
    assert store.read() == ({"02.1": Record(True, 2, 1), "02.2": Record(False, 1, 0)}, "")
    assert json.loads(path.read_text())["02.1"] == {"done": True, "tries": 2, "hints": 1}
    assert [file.name for file in path.parent.iterdir()] == ["progress.json"]


def test_once_solved_stays_solved_and_tries_say_how_many_it_took(path):
    store.update("02.1", tries=1, done=True)
    store.update("02.1", tries=1)
    assert store.read()[0] == {"02.1": Record(True, 1, 0)}


def test_missing_folders_are_made(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS_FILE", str(tmp_path / "new" / "folder" / "p.json"))
    assert store.update("02.1", tries=1) == ""
    assert store.read()[0] == {"02.1": Record(tries=1)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"02.1": {"done": tr',
        b"[]",
        b"null",
        b'{"02.1": 3}',
        b'{"02.1": {"tries": "many"}}',
        b'{"02.1": {"tries": -1}}',
        b'{"02.1": {"tries": 0.5}}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:30]),
)
def test_a_damaged_file_is_set_aside_with_one_line(path, content):
    path.write_bytes(content)
    remark = store.update("02.1", tries=1)
    assert remark.startswith("(The progress file was damaged.")
    assert "progress.json.damaged" in remark
    assert "\n" not in remark
    assert path.with_name("progress.json.damaged").read_bytes() == content
    assert store.read() == ({"02.1": Record(tries=1)}, "")


def test_a_write_cut_short_leaves_the_old_file(path, monkeypatch):
    store.update("02.1", tries=1)
    before = path.read_bytes()
    write_text = Path.write_text

    def cut_short(self, text, **options):
        write_text(self, text[: len(text) // 2], **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", cut_short)
    remark = store.update("02.2", tries=1)
    assert "no space left on device" in remark
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["progress.json"]


def no_permission(*arguments, **options):
    raise PermissionError(13, "Permission denied")


def a_folder_stands_there(path):
    path.mkdir()


def a_file_stands_where_the_folder_should(path):
    path.parent.rmdir()
    path.parent.write_text("in the way")


@pytest.mark.parametrize(
    "obstacle", [a_folder_stands_there, a_file_stands_where_the_folder_should, no_permission]
)
def test_what_cannot_be_saved_is_kept_for_the_session(tmp_path, monkeypatch, obstacle):
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setenv("COURSE_PROGRESS_FILE", str(folder / "p.json"))
    if obstacle is no_permission:
        monkeypatch.setattr(os, "open", no_permission)
    else:
        obstacle(folder / "p.json")
    for _ in range(2):
        remark = store.update("02.1", hints=1)
        assert remark.startswith("(Progress could not be saved in p.json: ")
        assert "\n" not in remark
        assert str(tmp_path) not in remark
    assert store.read()[0] == {"02.1": Record(hints=2)}


def test_what_was_kept_for_the_session_is_saved_as_soon_as_it_can_be(path, monkeypatch):
    with monkeypatch.context() as denied:
        denied.setattr(os, "open", no_permission)
        store.update("02.1", hints=1)
    assert not path.exists()
    assert store.update("02.2", tries=1) == ""
    assert set(json.loads(path.read_text())) == {"02.1", "02.2"}


def test_two_notebooks_lose_nothing(path):
    """Two processes, each with its own exercise and one in common, as fast as they can."""
    script = (
        "import sys; from course_utils.checks import store\n"
        "for _ in range(30): store.update(sys.argv[1], tries=1); store.update('shared', hints=1)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, name]) for name in ("02.1", "02.2")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert store.read() == (
        {"02.1": Record(tries=30), "02.2": Record(tries=30), "shared": Record(hints=60)},
        "",
    )


def test_a_lock_left_by_a_killed_kernel_is_waited_for_and_then_broken(path, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE", 0.1)
    lock = path.with_name("progress.json.lock")
    began = time.monotonic()
    lock.touch()
    assert store.update("02.1", tries=1) == ""
    assert 0.09 <= time.monotonic() - began < 2
    assert not lock.exists()


def test_progress_is_kept_in_the_course_folder_or_at_home(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_PROGRESS_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    package = tmp_path / "course" / "course_utils"
    package.mkdir(parents=True)
    monkeypatch.setattr(course_utils, "__file__", str(package / "__init__.py"))
    assert store.location() == tmp_path / "home" / ".course-progress.json"  # installed as a package
    (tmp_path / "course" / "pyproject.toml").touch()
    assert store.location() == tmp_path / "course" / ".course-progress.json"
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    assert store.location() == tmp_path / "home" / ".course-progress.json"
