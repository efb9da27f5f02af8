"""Images that stay on the disk become the batches that they would become in memory."""

import io
import multiprocessing
import os
import signal
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from course_utils.data import batches, load_images, to_model
from course_utils.data.streaming import DiskImages, ReadError, stream

MODES = ["RGB", "L", "RGBA", "P", "CMYK", "1", "LA"]


def encoded(seed, mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "TIFF" if mode == "CMYK" else "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Seventeen images of all kinds in sub-folders."""
    root = tmp_path / "images"
    for i in range(17):
        path = root / f"{i % 3}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(i, MODES[i % len(MODES)]))
    return root


@pytest.fixture
def tables(tmp_path):
    """The same in two parquet files of row groups of four."""
    root = tmp_path / "tables"
    root.mkdir()
    for part, numbers in enumerate((range(10), range(10, 17))):
        rows = [{"bytes": encoded(i, MODES[i % len(MODES)]), "path": f"{i}"} for i in numbers]
        pq.write_table(pa.table({"image": rows}), root / f"{part}.parquet", row_group_size=4)
    return root


def in_memory(source, channels=3, limit=None, **options):
    pixels = load_images(source, 4, channels=channels, limit=limit, progress=False).pixels
    return batches(pixels, 5, **options)


def from_disk(source, channels=3, limit=None, workers=0, **options):
    images = DiskImages(source, 4, channels=channels, limit=limit)
    return stream(images, 5, workers=workers, **options)


@pytest.mark.parametrize("kind", ["folder", "tables"])
@pytest.mark.parametrize(
    "options",
    [{}, {"seed": 3, "flip": True}, {"start": 4, "flip": True}, {"channels": 1}, {"limit": 11}],
)
def test_the_batches_are_those_of_images_in_memory(kind, options, request):
    source = request.getfixturevalue(kind)
    for ours, theirs in islice(
        zip(from_disk(source, **options), in_memory(source, **options), strict=True), 8
    ):
        assert ours.skipped == []
        assert ours.pixels.dtype == torch.uint8
        assert torch.equal(to_model(ours.pixels), theirs)


@pytest.mark.parametrize("kind", ["folder", "tables"])
def test_workers_change_nothing_and_neither_does_where_they_begin(kind, request):
    source = request.getfixturevalue(kind)
    alone = [batch.pixels for batch in islice(from_disk(source, flip=True), 9)]
    for start in (0, 4):
        several = from_disk(source, flip=True, start=start, workers=2)
        for ours, theirs in zip(several, alone[start:], strict=False):
            assert torch.equal(ours.pixels, theirs)
        several.close()


def test_torch_s_own_random_state_is_left_alone(folder):
    """Dropout draws from it: a run from the disk must draw what one from memory does."""
    before = torch.get_rng_state()
    stream = from_disk(folder, workers=1)
    next(stream)
    stream.close()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_share_is_read_alone(folder, monkeypatch):
    images, read = DiskImages(folder, 4), []
    original = DiskImages.read
    monkeypatch.setattr(
        DiskImages,
        "read",
        lambda self, numbers: read.append(len(numbers)) or original(self, numbers),
    )
    share = next(stream(images, 5, share=slice(2, 4), workers=0)).pixels
    assert read == [2]
    whole = next(stream(images, 5, workers=0)).pixels
    assert torch.equal(share[2:4], whole[2:4])
    assert not share[:2].any()
    assert not share[4:].any()


@pytest.mark.parametrize("damage", [b"", b"no image", None])
def test_in_the_place_of_a_broken_image_stands_always_the_same_other(folder, damage):
    whole = DiskImages(folder, 4).read(list(range(17))).pixels
    broken = folder / "1" / "4.png"
    number = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png")).index(
        "1/4.png"
    )
    images = DiskImages(folder, 4)
    if damage is None:
        broken.unlink()  # after the run has begun
    else:
        broken.write_bytes(damage)
    first, again = (images.read(list(range(17))) for _ in range(2))
    assert [name.split(" ")[0] for name in first.skipped] == ["1/4.png"]
    assert torch.equal(first.pixels, again.pixels)
    others = [i for i in range(17) if i != number]
    assert torch.equal(first.pixels[others], whole[others])
    assert any(torch.equal(first.pixels[number], whole[i]) for i in others)


def test_a_damaged_row_group_costs_its_own_images_alone(tables):
    path = tables / "0.parquet"
    about = pq.ParquetFile(path).metadata.row_group(1).column(0)
    contents = bytearray(path.read_bytes())
    begin = about.dictionary_page_offset or about.data_page_offset
    contents[begin : begin + about.total_compressed_size] = bytes(about.total_compressed_size)
    path.write_bytes(contents)
    batch = DiskImages(tables, 4).read(list(range(17)))
    lost = [name.split(" (")[0] for name in batch.skipped]
    assert lost[:4] == [f"0.parquet row group 1, row {row}" for row in range(4)]
    assert all("row group 1" in name for name in lost)
    assert batch.pixels.shape == (17, 3, 4, 4)


@pytest.mark.parametrize("workers", [0, 2])
def test_where_nothing_can_be_read_the_stream_ends_with_a_name(folder, workers):
    stream = from_disk(folder, workers=workers)
    for path in folder.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(
        ReadError, match=r"too many images in the folder .* cannot be read, among them .*\.png"
    ):
        next(stream)


def test_a_worker_that_dies_ends_the_stream_with_a_reason(folder):
    stream = from_disk(folder, workers=1)
    next(stream)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGINT)  # a Ctrl-C of the terminal is not for it
    os.kill(worker.pid, signal.SIGTERM)
    assert len(list(islice(stream, 10))) == 10  # more than were ready
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(ReadError, match="a process that reads images has ended"):
        list(islice(stream, 50))  # those that were ready come first


def test_nonsense_is_refused_when_it_is_asked_for(folder):
    images = DiskImages(folder, 4)
    for options in ({"batch_size": 18}, {"batch_size": 0}, {"start": -1}, {"seed": -1}):
        with pytest.raises(ValueError, match="need batch_size"):
            stream(images, **{"batch_size": 2} | options)
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        DiskImages(folder / "nothing", 4)


@pytest.mark.skipif("COURSE_TEST_DATA" not in os.environ, reason="COURSE_TEST_DATA is not set")
def test_real_photographs():
    source = Path(os.environ["COURSE_TEST_DATA"]) / "cifar10"
    images = DiskImages(source, 32)
    assert len(images) == 50_000
    numbers = [49_999, 0, 1234, 1000]
    pixels = load_images(source, 32, limit=1235, progress=False).pixels
    assert torch.equal(images.read(numbers).pixels[[1, 2, 3]], pixels[[0, 1234, 1000]])
