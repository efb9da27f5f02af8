"""Checkpoints: everything that a training run needs to go on as if it had never stopped, in one file.

The file is safetensors: arrays and a JSON text, never a pickle, so that opening one runs no code. It is written under
another name and then renamed, so it is there as a whole or not at all; a digest over all of it is checked before
anything is used. Any reader of safetensors opens it: the weights are the arrays model.…, their average ema.….
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import safetensors.torch
import torch

from course_utils.diffusion.training import EMA

FORMAT = "diffusion-course checkpoint 1"


class CheckpointError(ValueError):
    """The file is no checkpoint of this run; the message says why, and which earlier one is good."""


def save(
    folder: str | Path,
    step: int,
    *,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: EMA | None = None,
    generator: torch.Generator | None = None,
    config: Mapping | None = None,
    keep: int = 2,
) -> Path:
    """Write a checkpoint after `step` steps, and delete those before it but for `keep` in all.

    Saved are the weights, their average, the optimizer's state and settings, and the random states: that of the
    generator, and torch's own, which dropout draws from.

    Args:
        folder: of this run alone; made if need be.
        step: how many steps have been made: state.step + 1 after the TrainStep `state`.
        config: what the model was made from, in JSON's types, such as dataclasses.asdict(unet.config).
        keep: at least 1; with 2 there is a good one left should the newest be damaged.

    Returns:
        The path of the file, step-00001000.safetensors after 1000 steps.

    Raises:
        ValueError: if step < 0 or keep < 1, config or a setting of the optimizer does not fit into JSON, or the
            optimizer is not of this model.
        OSError: if it cannot be written, for instance on a full disk. Older checkpoints are then untouched.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"need step ≥ 0 and keep ≥ 1; got step={step}, keep={keep}.")
    about, tensors = _collect(model, optimizer, ema, generator, config)
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps({"format": FORMAT, "step": step, **about})
    contents = safetensors.torch.save(tensors, {"about": text, "sha256": _digest(text, tensors)})

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _name(step)
    write_whole(path, contents)
    for old in [other for other in checkpoints(folder) if other <= path][:-keep]:
        # Windows deletes no file that is open somewhere; the next save will try again.
        with suppress(OSError):
            old.unlink()
    return path


def write_whole(path: Path, contents: bytes) -> None:
    """Write a file so that it is there as a whole or not at all; one of that name stays until it is exchanged.

    Raises:
        OSError: if it cannot be written.
    """
    partial = path.with_name("next.partial")
    try:
        with open(partial, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())  # it must be on the disk before it gets its name
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints in a folder, oldest first; none if there is no such folder."""
    return sorted(Path(folder).glob("step-*.safetensors"))


def load(
    path: str | Path,
    *,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: EMA | None = None,
    generator: torch.Generator | None = None,
    config: Mapping | None = None,
) -> int:
    """Put a checkpoint back into a run like the one that it came from: give what was given to `save`.

    Everything given, and torch's own random state, is changed if all fits, or nothing at all. The settings of the
    optimizer are the saved ones afterwards.

    Args:
        path: a checkpoint, or a folder, for its newest one.
        model, optimizer, ema, generator, config: as in `save`.

    Returns:
        The number of steps made, k: the run goes on with `train(…, start=k)` and with batch number k, or a·k where
        a batches are accumulated for each step.

    Raises:
        FileNotFoundError: if there is none.
        CheckpointError: if it is damaged, of another program, or does not fit.
        ValueError: if the optimizer is not of this model, or config does not fit into JSON.
    """
    path = Path(path)
    if path.is_dir():
        found = checkpoints(path)
        if not found:
            raise FileNotFoundError(f"there is no checkpoint in {path}.")
        path = found[-1]
    here = _facts(*_collect(model, optimizer, ema, generator, config))
    try:
        about, tensors = _open(path, here)
    except (FileNotFoundError, CheckpointError) as error:
        raise type(error)(f"{error}{_earlier(path, here)}") from None

    model.load_state_dict(_part(tensors, "model"))
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict] = {}
    for name, value in _part(tensors, "optimizer").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = _in_memory_like(weights[int(index)], value)
    optimizer.load_state_dict({"state": state, "param_groups": about["param_groups"]})
    if ema is not None:
        ema.model.load_state_dict(_part(tensors, "ema"))
        ema.updates = about["ema_updates"]
    if generator is not None:
        generator.set_state(tensors["random.generator"])
    torch.set_rng_state(tensors["random.cpu"])
    device = _device(model)
    if device != "cpu":
        torch.get_device_module(device).set_rng_state(tensors[f"random.{device}"])
    return about["step"]


def _collect(model, optimizer, ema, generator, config) -> tuple[dict, dict[str, torch.Tensor]]:
    """Everything that there is to save: what goes into JSON, as it will be read back, and the arrays by name."""
    names = {weight: name for name, weight in model.named_parameters()}
    groups = [[names.get(weight) for weight in group["params"]] for group in optimizer.param_groups]
    if any(None in group for group in groups):
        raise ValueError("the optimizer is not of this model: make it from model.parameters().")
    state = optimizer.state_dict()
    about = {
        "config": config,
        "optimizer": type(optimizer).__name__,
        "weights": groups,
        "param_groups": state["param_groups"],
        "ema_decay": None if ema is None else ema.decay,
        "ema_updates": None if ema is None else ema.updates,
        "generator": None if generator is None else generator.device.type,
    }
    try:
        about = json.loads(json.dumps(about, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"config and the optimizer's settings must fit into JSON: {error}."
        ) from None

    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, values in state["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in values.items()}
    if ema is not None:
        tensors |= {f"ema.{name}": value for name, value in ema.model.state_dict().items()}
    if generator is not None:
        tensors["random.generator"] = generator.get_state()
    tensors["random.cpu"] = torch.get_rng_state()
    device = _device(model)
    if device != "cpu":
        tensors[f"random.{device}"] = torch.get_device_module(device).get_rng_state()
    return about, tensors


def _facts(about: dict, tensors: dict[str, torch.Tensor]) -> dict:
    """What must be the same in the run that goes on. The optimizer need not have made a step yet."""
    facts = {f"the config's {name}": value for name, value in (about["config"] or {}).items()}
    facts |= {name: about[name] for name in ("optimizer", "ema_decay", "generator")}
    for g, names in enumerate(about["weights"]):
        facts |= {f"weight {i} in the optimizer's group {g}": name for i, name in enumerate(names)}
    for name, value in tensors.items():
        if not name.startswith("optimizer."):
            facts[name] = f"{value.dtype} {list(value.shape)}"
    return facts


def read(path: str | Path) -> tuple[dict, dict[str, torch.Tensor]]:
    """What is in a checkpoint that is whole: what it says about itself, such as its "step", and its arrays by name.

    The network's weights are the arrays model.…, their average ema.….

    Raises:
        FileNotFoundError: if there is none.
        CheckpointError: if it is damaged or of another program.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}.")
    contents = path.read_bytes()
    try:
        tensors = safetensors.torch.load(contents)
        header = json.loads(contents[8 : 8 + int.from_bytes(contents[:8], "little")])
    except Exception as error:  # damage can make the reader stumble in many ways
        raise CheckpointError(f"{path} is no safetensors file, or damaged ({error}).") from None
    metadata = header.get("__metadata__") or {}
    text = metadata.get("about", "")
    if FORMAT not in text:
        raise CheckpointError(f"{path} is no {FORMAT}.")
    if metadata.get("sha256") != _digest(text, tensors):
        raise CheckpointError(f"{path} is damaged: its contents do not match its digest.")
    about = json.loads(text)
    if path.name.startswith("step-") and path.name != _name(about["step"]):
        raise CheckpointError(f"{path} is under a wrong name: it is {_name(about['step'])}.")
    return about, tensors


def _open(path: Path, here: dict) -> tuple[dict, dict[str, torch.Tensor]]:
    """What `read` finds, if it fits the facts of the run here."""
    about, tensors = read(path)
    saved = _facts(about, tensors)
    wrong = [
        f"{name} was {saved.get(name)} and is {here.get(name)}"
        for name in {**here, **saved}
        if saved.get(name) != here.get(name)
    ]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(f"{path} does not fit this run: {'; '.join(wrong[:3])}{more}.")
    return about, tensors


def _earlier(path: Path, here: dict) -> str:
    """The newest checkpoint before the path that is whole and fits, in words."""
    for other in reversed([other for other in checkpoints(path.parent) if other < path]):
        with suppress(CheckpointError):
            _open(other, here)
            return f" The one before it is good: load {other}."
    return ""


def _name(step: int) -> str:
    return f"step-{step:08d}.safetensors"


def _part(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """The arrays name.…, by what follows."""
    return {key[len(name) + 1 :]: v for key, v in tensors.items() if key.startswith(f"{name}.")}


def _in_memory_like(weight: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The value, in the memory layout of the weight where it has its shape: fused optimizers rely on that."""
    if value.shape != weight.shape:
        return value
    return torch.empty_like(weight, dtype=value.dtype, device="cpu").copy_(value)


def _device(model: torch.nn.Module) -> str:
    return next(model.parameters()).device.type


def _digest(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the text and every array with its name, dtype and shape."""
    digest = hashlib.sha256(text.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"\n{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
