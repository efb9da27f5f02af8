"""What every script that makes a shipped folder needs: hashes, and the facts of the machine."""

import hashlib
import json
import os
import platform
import shlex
import sys
from datetime import date
from pathlib import Path

import torch


def made_on(program: str) -> dict[str, str]:
    """The command, `python program …`, and the machine, date and versions that a model card states."""
    cuda = torch.cuda.is_available()
    return {
        "command": f"python {program} {shlex.join(sys.argv[1:])}",
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {os.cpu_count()} cores",
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


class Log(list):
    """What a training script notes on its way, entry by entry; each is printed, too."""

    def __call__(self, **entry) -> None:
        self.append(entry)
        print("  ".join(f"{name} {value}" for name, value in entry.items()), flush=True)


def write_trained(folder: Path, card: str, about: dict, log: Log) -> None:
    """What stands beside weights: the model card README.md, training.json with facts and log, and the hashes."""
    (folder / "README.md").write_text(card, encoding="utf-8")
    text = json.dumps(about | {"log": log}, indent=1) + "\n"
    (folder / "training.json").write_text(text, encoding="utf-8")
    write_hashes(folder)
    print(json.dumps(about, indent=1))


def write_hashes(folder: Path) -> None:
    """sha256.json, which `diffusion-course doctor` verifies: the hash of each file but itself and the model card."""
    files = sorted(
        f for f in folder.rglob("*") if f.is_file() and f.name not in ("sha256.json", "README.md")
    )
    hashes = {
        f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files
    }
    (folder / "sha256.json").write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")
