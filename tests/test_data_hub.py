"""Hub data sets, through the real huggingface_hub, against a small Hub that this file serves on this machine."""

import http.server
import io
import json
import os
import re
import subprocess
import sys
import threading
import time

import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from huggingface_hub import constants, file_download
from PIL import Image

from course_utils import data
from course_utils.data import hub

COMMITS = {
    "main": "0123456789abcdef" * 2 + "01234567",
    "refs/convert/parquet": "fedcba9876543210" * 2 + "fedcba98",
}


def pixels(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, 6, 6), dtype=np.uint8))


def table(*seeds: int) -> bytes:
    images = []
    for seed in seeds:
        file = io.BytesIO()
        Image.fromarray(pixels(seed).permute(1, 2, 0).numpy()).save(file, "PNG")
        images.append({"bytes": file.getvalue(), "path": None})
    file = io.BytesIO()
    pq.write_table(pa.table({"image": images, "label": list(seeds)}), file)
    return file.getvalue()


OWN = {
    "README.md": b"about",
    "data/test-00000-of-00001.parquet": table(9),
    "data/train-00000-of-00002.parquet": table(0, 1),
    "data/train-00001-of-00002.parquet": table(2, 3),
}
# name → revision → files
SETS = {
    "lab/moths": {"main": OWN},
    "lab/zipped": {
        "main": {"a.zip": b"PK"},
        "refs/convert/parquet": {"default/train/0000.parquet": table(5)},
    },
    "lab/texts": {"main": {"a.txt": b"x"}},
    "lab/gated": {"main": OWN},
}


class SmallHub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub's protocol as listing and downloading need."""

    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(f"{self.command} {self.path}")
        path = self.path.replace("%2F", "/")
        if found := re.fullmatch(r"/api/datasets/(lab/\w+)(?:/revision/(.+))?", path):
            self.list(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/datasets/(lab/\w+)/resolve/(\w{40})/(.+)", path):
            self.send_file(*found.groups())
        elif path.startswith("/api/datasets/busy/"):
            self.answer(503, b"")
        elif path.startswith("/api/datasets/cafe/"):
            self.answer(200, b"<html>Welcome to our Wi-Fi! Please log in.</html>")
        elif path.startswith("/api/datasets/slow/"):
            time.sleep(3)
            self.answer(503, b"")
        else:
            self.answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def list(self, name: str, revision: str) -> None:
        if name not in SETS:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision not in SETS[name]:
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            siblings = [{"rfilename": file} for file in SETS[name][revision]]
            about = {"id": name, "sha": COMMITS[revision], "siblings": siblings, "tags": []}
            self.answer(200, json.dumps(about).encode())

    def send_file(self, name: str, commit: str, file: str) -> None:
        if name == "lab/gated":
            self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
            return
        revision = next(revision for revision, sha in COMMITS.items() if sha == commit)
        content = SETS[name][revision][file]
        etag = f'"{abs(hash(content)):040x}"'
        self.answer(200, content, {"ETag": etag, "X-Repo-Commit": commit})

    def answer(self, status: int, body: bytes, headers: dict | None = None) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args) -> None:
        """Keep the test's output clean."""


def point_at(endpoint: str, monkeypatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    # Versions before 1.0 copy it when they are imported.
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)


@pytest.fixture
def requests(tmp_path, monkeypatch):
    """A Hub of our own and an empty cache; the list of what is asked of it."""
    asked = []
    handler = type("Handler", (SmallHub,), {"requests": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    point_at(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    yield asked
    server.shutdown()
    server.server_close()


def stack(*seeds: int) -> torch.Tensor:
    return torch.stack([pixels(seed) for seed in seeds])


def load(source, **options):
    return data.load_images(source, progress=False, **options)


@pytest.mark.parametrize("source", ["lab/moths", "hf:lab/moths", "hf://datasets/lab/moths"])
def test_a_data_set_by_name(requests, source):
    images = load(source)
    assert torch.equal(images.pixels, stack(0, 1, 2, 3))
    assert images.labels.tolist() == [0, 1, 2, 3]
    assert not any("test-" in request for request in requests)


def test_another_split(requests):
    assert torch.equal(load("lab/moths", split="test").pixels, stack(9))
    with pytest.raises(ValueError, match="the Hub data set lab/moths has no split 'validation'"):
        load("lab/moths", split="validation")


def test_no_more_is_downloaded_than_the_limit_needs(requests):
    assert len(load("lab/moths", limit=2)) == 2
    assert not any("00001-of-00002" in request for request in requests)
    assert torch.equal(load("lab/moths", limit=3).pixels, stack(0, 1, 2))


def test_the_second_time_only_the_list_is_asked_for(requests):
    load("lab/moths")
    requests.clear()
    assert len(load("lab/moths")) == 4
    assert requests == ["GET /api/datasets/lab/moths"]


def test_a_set_without_parquet_files_of_its_own(requests):
    assert torch.equal(load("lab/zipped").pixels, stack(5))
    with pytest.raises(
        ValueError, match="lab/texts has no parquet files, and the Hub has made none"
    ):
        load("lab/texts")


def test_a_folder_of_that_name_comes_first(requests, tmp_path):
    (tmp_path / "lab/moths").mkdir(parents=True)
    Image.new("RGB", (3, 3)).save(tmp_path / "lab/moths/a.png")
    assert load("lab/moths").pixels.shape == (1, 3, 3, 3)
    assert requests == []
    assert len(load("hf:lab/moths")) == 4


@pytest.mark.parametrize("name", ["lab/nothing", "nobody/nothing"])
def test_an_unknown_name_tells_both_readings(requests, name):
    with pytest.raises(
        FileNotFoundError,
        match=rf"no folder '{name}' in .*Hub has no data set {name}, or it is private",
    ):
        load(name)
    with pytest.raises(FileNotFoundError, match=r"^the Hugging Face Hub has no data set"):
        load(f"hf:{name}")


def test_a_gated_set_says_where_to_accept(requests):
    with pytest.raises(
        PermissionError, match=r"accept its terms.*datasets/lab/gated.*hf auth login"
    ):
        load("lab/gated")


def test_a_hub_out_of_order(requests):
    with pytest.raises(ConnectionError, match="answers with status 503"):
        load("busy/set")


def test_the_login_page_of_a_wifi(requests):
    with pytest.raises(ConnectionError, match=r"does not answer.*check the network"):
        load("cafe/set")


def test_a_hub_that_never_answers_is_given_up(requests, monkeypatch):
    monkeypatch.setattr(hub, "PATIENCE", 0.5)
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="does not answer"):
        load("slow/set")
    assert time.monotonic() - start < 2.5


def test_a_look_up_that_hangs_beyond_every_timeout_is_given_up(requests, monkeypatch):
    """As the resolver of a network does that swallows its questions."""
    monkeypatch.setattr(hub, "PATIENCE", 0.2)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: time.sleep(2))
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="does not answer"):
        load("lab/moths")
    assert time.monotonic() - start < 1.5


def test_once_downloaded_it_loads_without_the_hub(requests, monkeypatch):
    load("lab/moths")
    point_at("http://127.0.0.1:9", monkeypatch)
    with pytest.warns(
        UserWarning, match=r"does not answer.*downloaded of lab/moths before"
    ) as caught:
        images = load("lab/moths")
    assert torch.equal(images.pixels, stack(0, 1, 2, 3))
    assert caught[0].filename == __file__
    with pytest.raises(ConnectionError, match="lab/zipped"):
        load("lab/zipped")


def test_of_several_revisions_downloaded_the_newest_is_used(requests, monkeypatch):
    load("lab/moths")
    monkeypatch.setitem(COMMITS, "main", "1" * 40)
    monkeypatch.setitem(SETS, "lab/moths", {"main": {"train.parquet": table(7)}})
    load("lab/moths")
    point_at("http://127.0.0.1:9", monkeypatch)
    with pytest.warns(UserWarning, match="before"):
        assert torch.equal(load("lab/moths").pixels, stack(7))


def test_a_mistake_of_ours_is_not_called_a_network_error(requests, monkeypatch):
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: [].missing)
    with pytest.raises(AttributeError, match="missing"):
        load("lab/moths")


@pytest.mark.parametrize(
    "source", ["hf:", "hf:a/b/c", "hf:../x", "https://huggingface.co/datasets/"]
)
def test_a_prefix_without_a_name(source):
    with pytest.raises(ValueError, match="does not name a Hub data set"):
        load(source)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("google/fleurs", "google/fleurs"),
        (
            "https://huggingface.co/datasets/huggan/smithsonian_butterflies_subset/",
            "huggan/smithsonian_butterflies_subset",
        ),
        ("hf:mnist", "mnist"),
        ("mnist", None),
        ("./a/b", None),
        ("../b", None),
        ("a/b.parquet", None),
        ("a/b.JPG", None),
        ("/a/b", None),
        ("a\\b", None),
        (None, None),
    ],
)
def test_what_reads_as_a_name(source, name):
    assert hub.dataset_name(source) == name


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9) does not answer"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
    ],
)
def test_offline_in_a_process_of_its_own(tmp_path, environment, message):
    code = (
        "import time; from course_utils import data; start = time.monotonic()\n"
        "try: data.load_images('lab/moths', 32)\n"
        "except ConnectionError as error: print(time.monotonic() - start, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"HF_HOME": str(tmp_path)} | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    seconds, _, error = done.stdout.partition(" ")
    assert message in error, done.stderr
    assert "no folder 'lab/moths'" in error
    assert error.count("\n") == 1
    assert float(seconds) < 10
