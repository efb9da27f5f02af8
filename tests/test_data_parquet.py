"""Parquet files in the Hub's layout and near it, made here; CIFAR-10 where COURSE_TEST_DATA has it."""

import io
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from course_utils import data
from course_utils.data.layout import choose


def load(source, size=None, **options):
    """load_images, quiet; a warning that nobody expected is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return data.load_images(source, size, progress=False, **options)


def pixels(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, 6, 6), dtype=np.uint8))


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(seed).permute(1, 2, 0).numpy()).save(file, "PNG")
    return file.getvalue()


def struct(seed: int) -> dict:
    return {"bytes": png(seed), "path": f"{seed}.png"}


def write(path: Path, columns: dict, features: dict | None = None, **options) -> Path:
    table = pa.table(columns)
    if features:
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def stack(*seeds: int) -> torch.Tensor:
    return torch.stack([pixels(seed) for seed in seeds])


@pytest.mark.parametrize("name", ["image", "img", "picture"])
def test_structs_of_bytes_and_path_with_labels(tmp_path, name):
    columns = {
        name: [struct(i) for i in range(150)],
        "label": [i % 3 for i in range(150)],
        "text": ["x"] * 150,
    }
    path = write(tmp_path / "a.parquet", columns, row_group_size=40)
    images = load(path)
    assert torch.equal(images.pixels, stack(*range(150)))
    assert images.labels.tolist() == [i % 3 for i in range(150)]
    assert images.label_names is None
    assert torch.equal(load(path, limit=70).pixels, images.pixels[:70])


def test_raw_bytes(tmp_path):
    for kind in (pa.binary(), pa.large_binary()):
        path = write(tmp_path / "a.parquet", {"jpeg": pa.array([png(0), png(1)], kind)})
        images = load(path)
        assert torch.equal(images.pixels, stack(0, 1))
        assert images.labels is None


def test_the_hubs_notes_name_the_image_column_and_the_labels(tmp_path):
    sound = [{"bytes": b"RIFF", "path": "a.wav"}]
    path = write(
        tmp_path / "a.parquet",
        {"aaa": sound, "scan": [struct(0)], "species": [1]},
        features={
            "aaa": {"_type": "Audio"},
            "scan": {"_type": "Image"},
            "species": {"_type": "ClassLabel", "names": ["ant", "bee"]},
        },
    )
    images = load(path)
    assert torch.equal(images.pixels, stack(0))
    assert images.labels.tolist() == [1]
    assert images.label_names == ("ant", "bee")


@pytest.mark.parametrize("notes", [b"not JSON", b"[]", b'{"info": 3}'])
def test_notes_of_another_kind_do_no_harm(tmp_path, notes):
    table = pa.table({"image": [struct(0)]}).replace_schema_metadata({b"huggingface": notes})
    pq.write_table(table, tmp_path / "a.parquet")
    assert len(load(tmp_path / "a.parquet")) == 1


def test_labels_as_text_missing_or_boolean(tmp_path):
    images = [struct(i) for i in range(4)]
    text = write(tmp_path / "text.parquet", {"image": images, "label": ["owl", None, "ant", "owl"]})
    assert load(text).labels.tolist() == [1, -1, 0, 1]
    assert load(text).label_names == ("ant", "owl")
    categories = pa.array(["owl", "owl", "ant", "ant"]).dictionary_encode()
    dictionary = write(tmp_path / "dictionary.parquet", {"image": images, "label": categories})
    assert load(dictionary).labels.tolist() == [1, 1, 0, 0]
    boolean = write(
        tmp_path / "boolean.parquet", {"image": images, "smiling": [True, False, None, True]}
    )
    assert load(boolean).labels is None
    assert load(boolean, label_column="smiling").labels.tolist() == [1, 0, -1, 1]
    several = write(tmp_path / "several.parquet", {"image": images, "label": [[1, 2]] * 4})
    assert load(several).labels is None


def test_several_image_columns_must_be_told_apart(tmp_path):
    path = write(tmp_path / "a.parquet", {"before": [struct(0)], "after": [struct(1)]})
    with pytest.raises(ValueError, match=r"several image columns.*before, after"):
        load(path)
    assert torch.equal(load(path, column="after").pixels, stack(1))
    path = write(tmp_path / "b.parquet", {"mask": [struct(0)], "image": [struct(1)]})
    assert torch.equal(load(path).pixels, stack(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"no image column.*url \(string\), width \(int64\)"),
        ({"column": "url"}, "no image column 'url'"),
        ({"column": "nope"}, "no image column 'nope'"),
    ],
)
def test_no_image_column_says_what_there_is(tmp_path, options, message):
    path = write(tmp_path / "a.parquet", {"url": ["https://example.org/a.png"], "width": [6]})
    with pytest.raises(ValueError, match=message):
        load(path, **options)


def test_no_such_label_column(tmp_path):
    path = write(tmp_path / "a.parquet", {"image": [struct(0)], "kind": [1], "score": [0.5]})
    with pytest.raises(ValueError, match=r"no label column 'score'.*: kind"):
        load(path, label_column="score")


def test_broken_rows_are_named_and_skipped(tmp_path):
    rows = [
        struct(0),
        {"bytes": b"junk", "path": "junk.png"},
        {"bytes": None, "path": None},
        None,
        struct(4),
    ]
    path = write(tmp_path / "a.parquet", {"image": rows, "label": [0, 1, 2, 3, 4]})
    with pytest.warns(UserWarning, match=r"skipped 3 of 5.*row 1, junk\.png.*row 2.*row 3"):
        images = data.load_images(path, progress=False)
    assert torch.equal(images.pixels, stack(0, 4))
    assert images.labels.tolist() == [0, 4]
    assert [entry.split(" (")[0] for entry in images.skipped] == [
        "a.parquet row 1, junk.png",
        "a.parquet row 2",
        "a.parquet row 3",
    ]


def test_empty_tables(tmp_path):
    none = pa.array([], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    path = write(tmp_path / "train-00000-of-00002.parquet", {"image": none})
    with pytest.raises(ValueError, match="no rows"):
        load(path)
    with pytest.raises(ValueError, match="no rows"):
        load(tmp_path)
    write(tmp_path / "train-00001-of-00002.parquet", {"image": [struct(0)]})
    assert len(load(tmp_path)) == 1


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"version https://git-lfs.github.com/spec/v1\noid sha256:0"]
)
def test_what_is_no_parquet_file(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.parquet is not a whole parquet file.*git lfs pull"):
        load(tmp_path)


def test_a_file_damaged_inside(tmp_path):
    path = write(
        tmp_path / "a.parquet", {"image": [struct(i) for i in range(50)]}, compression="snappy"
    )
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.parquet is damaged after row 0"):
        load(path)


def test_later_files_must_have_the_same_columns(tmp_path):
    write(tmp_path / "1.parquet", {"image": [struct(0)], "label": [0]})
    write(tmp_path / "2.parquet", {"image": [struct(1)]})
    with pytest.raises(ValueError, match=r"2\.parquet lacks the column 'label'"):
        load(tmp_path)


def test_a_folder_of_parquet_files(tmp_path):
    for shard in range(3):
        name = f"data/train-{shard:05}-of-00003.parquet"
        write(
            tmp_path / name,
            {"image": [struct(2 * shard), struct(2 * shard + 1)], "label": [shard, shard]},
        )
    write(tmp_path / "data/test-00000-of-00001.parquet", {"image": [struct(9)], "label": [9]})
    # A data set's own picture is not of the set.
    Image.new("RGB", (50, 50)).save(tmp_path / "preview.png")
    assert torch.equal(load(tmp_path).pixels, stack(*range(6)))
    assert load(tmp_path, limit=3).labels.tolist() == [0, 0, 1]
    assert torch.equal(load(tmp_path, split="test").pixels, stack(9))
    assert len(load(tmp_path, split=None)) == 7
    with pytest.raises(ValueError, match="no split 'validation', only: test, train"):
        load(tmp_path, split="validation")


CIFAR = ["plain_text/test-00000-of-00001.parquet", "plain_text/train-00000-of-00001.parquet"]
EXTRA = ["data/extra-00000-of-00001-e52e2c5b4bf9a5c3.parquet"]
OLD = ["data/train-00000-of-00001-e52e2c5b4bf9a5c3.parquet"]
CONVERTED = [
    f"default/{split}/000{i}.parquet" for split in ("partial-train", "validation") for i in (0, 1)
]
SUBSETS = [
    f"{size}/{split}/0000.parquet" for size in ("large", "small") for split in ("test", "train")
]
CUSTOM = ["data/train-00000-of-00001.parquet", "data/train_clean-00000-of-00001.parquet"]


@pytest.mark.parametrize(
    ("names", "split", "subset", "expected"),
    [
        (CIFAR, "train", None, CIFAR[1:]),
        (CIFAR, "test", None, CIFAR[:1]),
        (CIFAR, None, None, CIFAR),
        (OLD, "train", None, OLD),
        (EXTRA + OLD, "extra", None, EXTRA),
        (CONVERTED, "train", None, CONVERTED[:2]),
        (CONVERTED, "val", None, CONVERTED[2:]),
        (SUBSETS, "train", "small", SUBSETS[3:]),
        (SUBSETS, None, "large", SUBSETS[:2]),
        (SUBSETS + CONVERTED, "train", None, CONVERTED[:2]),
        (CUSTOM, "train", None, CUSTOM[:1]),
        (CUSTOM, "train_clean", None, CUSTOM[1:]),
        (["b.parquet", "a.parquet"], "train", None, ["a.parquet", "b.parquet"]),
        (["mnist_train.parquet", "mnist_test.parquet"], "test", None, ["mnist_test.parquet"]),
        (["x/en/a.parquet", "x/fr/a.parquet"], "train", "x", ["x/en/a.parquet", "x/fr/a.parquet"]),
    ],
)
def test_which_files_make_up_a_split(names, split, subset, expected):
    assert choose(reversed(names), split, subset, "it") == expected


@pytest.mark.parametrize(
    ("names", "split", "subset", "message"),
    [
        (SUBSETS, "train", None, "several image sets.*'large', 'small'"),
        (SUBSETS, "train", "tiny", "no subset 'tiny', only: 'large', 'small'"),
        (SUBSETS, "train", "sma", "no subset 'sma'"),
        (CIFAR, "validation", None, "no split 'validation', only: test, train"),
        (["a.parquet"], "test", None, "no split 'test', only: a"),
    ],
)
def test_which_files_cannot_be_chosen(names, split, subset, message):
    with pytest.raises(ValueError, match=message):
        choose(names, split, subset, "it")


REAL = Path(os.environ.get("COURSE_TEST_DATA", "")) / "cifar10/train-00000-of-00001.parquet"


@pytest.mark.skipif(
    "COURSE_TEST_DATA" not in os.environ, reason="COURSE_TEST_DATA names no folder of real data"
)
def test_real_photographs():
    images = load(REAL, limit=2000)
    assert images.pixels.shape == (2000, 3, 32, 32)
    assert set(images.labels.tolist()) <= set(range(10))
    # Each against a decoding of its own bytes, read another way.
    table = pq.read_table(REAL).slice(0, 2000)
    for i in range(0, 2000, 97):
        file = table["img"][i].as_py()["bytes"]
        theirs = torch.from_numpy(np.array(Image.open(io.BytesIO(file)).convert("RGB"))).permute(
            2, 0, 1
        )
        assert torch.equal(images.pixels[i], theirs)
        assert int(images.labels[i]) == table["label"][i].as_py()
    # The mean colour of CIFAR-10, known to everyone who trained on it: 125.3, 123.0, 113.9.
    mean = images.pixels.double().mean(dim=(0, 2, 3))
    torch.testing.assert_close(mean, torch.tensor([125.3, 123.0, 113.9]).double(), atol=8, rtol=0)
    assert load(REAL.parent, 16, limit=10).pixels.shape == (10, 3, 16, 16)
