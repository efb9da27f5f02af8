"""Damaged and foreign checkpoints: none is loaded, nothing is changed, and the good one before it is offered."""

import json
import pickle
import random

import pytest
import safetensors.torch
import torch
from tiny_run import CHECKPOINTS as NAMES
from tiny_run import Run, after_two_steps, with_checkpoints

from course_utils.interop import checkpoint
from course_utils.interop.checkpoint import CheckpointError

run, folder = pytest.fixture(after_two_steps), pytest.fixture(with_checkpoints)


def refused(path, run):
    """What the refusal says. Nothing of the run may have changed, and the one before must be offered."""
    before = run.bits()
    with pytest.raises((CheckpointError, FileNotFoundError)) as raised:
        checkpoint.load(path, **run.parts)
    assert run.bits() == before
    said = str(raised.value)
    good = path.with_name(NAMES[0])
    assert str(path) in said
    assert said.endswith(f" The one before it is good: load {good}.") == (path > good)
    return said


def damaged(good, other):
    """Over a thousand ways in which the bytes of a checkpoint may go wrong. `other` is another of the same run."""
    draw = random.Random(0)
    header = 8 + int.from_bytes(good[:8], "little")

    def flip(place):
        broken = bytearray(good)
        broken[place // 8] ^= 1 << place % 8
        return bytes(broken)

    def cut_out(a, b, put=b""):
        return good[:a] + put + good[b:]

    def block():
        a = draw.randrange(len(good))
        return a, min(len(good), a + draw.choice([1, 8, 64, 512, 4096]))

    yield from (flip(place) for place in range(64))  # the length of the header
    yield from (flip(draw.randrange(64, 8 * header)) for _ in range(400))
    yield from (flip(draw.randrange(8 * header, 8 * len(good))) for _ in range(250))
    edges = [*range(10), header - 1, header, header + 1, len(good) - 1]
    yield from (good[:n] for n in edges + draw.sample(range(len(good)), 120))
    for _ in range(100):
        a, b = block()
        yield cut_out(a, b)
        yield cut_out(a, b, put=bytes(b - a))
        yield cut_out(a, b, put=draw.randbytes(b - a))
        yield cut_out(a, b, put=other[a:b])
    yield from (good + extra for extra in (b"\0", b"\n", b"extra", bytes(4096), good))
    yield other + good


def test_a_thousand_damaged_checkpoints(folder, run):
    path = folder / NAMES[1]
    good = path.read_bytes()
    broken = {value for value in damaged(good, (folder / NAMES[0]).read_bytes()) if value != good}
    assert len(broken) >= 1000
    said = []
    for value in broken:
        path.write_bytes(value)
        said.append(refused(path, run))
    for reason in ("no safetensors file, or damaged", "not match its digest", "is no diffusion-"):
        assert any(reason in line for line in said), reason
    path.write_bytes(good)
    assert checkpoint.load(path, **run.parts) == 2


class Bomb:
    """Its pickle makes a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def foreign(run, good, tmp_path):
    """Files of other programs, and some that pretend to be ours: their bytes by what they are."""
    tensors = safetensors.torch.load(good)
    weights = run.model.state_dict()
    lies = json.dumps({"format": checkpoint.FORMAT, "step": 2})
    nothing = b'{"__metadata__":null}'
    torch.save(weights, tmp_path / "weights.pt")

    metadata = header_of(good)["__metadata__"]
    moment = tensors["optimizer.0.exp_avg"]

    def with_metadata(metadata):
        return safetensors.torch.save(tensors, metadata)

    def with_moment(value):
        return safetensors.torch.save(tensors | {"optimizer.0.exp_avg": value}, metadata)

    return {
        "empty": b"",
        "text": b"step 2, all is well\n",
        "JSON": lies.encode(),
        "pickle": pickle.dumps(Bomb(tmp_path / "exploded")),
        "torch.save": (tmp_path / "weights.pt").read_bytes(),
        "weights alone": safetensors.torch.save(weights),
        "no arrays": safetensors.torch.save({}),
        "metadata of others": with_metadata({"format": "pt"}),
        "no metadata": with_metadata(None),
        "null for metadata": len(nothing).to_bytes(8, "little") + nothing,
        "another version": with_metadata({"about": lies.replace(" 1", " 2"), "sha256": "0" * 64}),
        "no digest": with_metadata({"about": lies}),
        "a wrong digest": with_metadata({"about": lies, "sha256": "0" * 64}),
        "another's digest": with_metadata({"about": lies, "sha256": metadata["sha256"]}),
        "no JSON": with_metadata({"about": checkpoint.FORMAT, "sha256": metadata["sha256"]}),
        "the same bits as whole numbers": with_moment(moment.view(torch.int32)),
        "the same bits in another shape": with_moment(moment.reshape(9, 3)),
    }


def header_of(raw):
    return json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])


def test_files_of_other_programs(folder, run, tmp_path_factory):
    path, other = folder / NAMES[1], tmp_path_factory.mktemp("others")
    for what, value in foreign(run, path.read_bytes(), other).items():
        path.write_bytes(value)
        said = refused(path, run)
        assert "no safetensors file" in said or "is no diffusion-" in said or "digest" in said, what
    assert not (other / "exploded").exists()


def test_a_file_under_the_name_of_another(folder, run):
    first, second = (folder / name for name in NAMES)
    second.write_bytes(first.read_bytes())
    assert f"{NAMES[1]} is under a wrong name: it is {NAMES[0]}." in refused(second, run)


def test_one_that_is_not_there_but_an_earlier_one_is(folder, run):
    (folder / NAMES[1]).unlink()
    assert "there is no checkpoint" in refused(folder / NAMES[1], run)


def test_only_a_good_one_is_offered(folder, run):
    first, second = (folder / name for name in NAMES)
    third = checkpoint.save(folder, 3, **run.parts, keep=3)
    third.write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"The one before it is good: load .*{NAMES[1]}\.$"):
        checkpoint.load(folder, **run.parts)
    second.write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"The one before it is good: load .*{NAMES[0]}\.$"):
        checkpoint.load(folder, **run.parts)
    first.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"\(.*\)\.$"):
        checkpoint.load(folder, **run.parts)


def test_later_ones_are_not_offered(folder, run):
    (folder / NAMES[0]).write_bytes(b"")
    assert "load" not in refused(folder / NAMES[0], run)


def test_a_checkpoint_of_another_run_in_the_folder(folder, run):
    """As when files were mixed up: the one before is of this run, and is offered."""
    other = Run(width=4)
    (folder / NAMES[1]).unlink()
    assert "model.before" in refused(checkpoint.save(folder, 2, **other.parts), run)
