"""What this machine has for us: the cores and the memory that we may use, and its best device for torch."""

import os
from pathlib import Path

GB = 1e9


def _control_group_files(name: str) -> list[str]:
    """The texts of a control group's file, from our own group up to the root: how a container limits us."""
    try:
        own = Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2]
    except OSError:
        return []
    group = Path("/sys/fs/cgroup") / own.lstrip("/")
    files = [
        folder / name
        for folder in (group, *group.parents)
        if folder.is_relative_to("/sys/fs/cgroup")
    ]
    return [file.read_text().strip() for file in files if file.is_file()]


def cores() -> int:
    """The CPU cores that this process may use, which in a container are fewer than the machine has."""
    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    for text in _control_group_files(
        "cpu.max"
    ):  # "200000 100000": two cores' worth; "max 100000": no limit
        quota, period = text.split()
        if quota != "max":
            allowed = min(allowed, max(1, round(int(quota) / int(period))))
    return allowed


def memory() -> tuple[float, float]:
    """(total, free) memory in bytes, within a container's limit if there is one."""
    import psutil

    system = psutil.virtual_memory()
    total, free = system.total, system.available
    limits = [int(text) for text in _control_group_files("memory.max") if text != "max"]
    used = [int(text) for text in _control_group_files("memory.current")]
    if limits and used and min(limits) < total:
        total = min(limits)
        free = min(free, max(0, total - used[0]))
    return total, free


def device() -> tuple[str, str]:
    """(kind, name) of the device that notebooks choose: ("cuda", "NVIDIA …"), ("mps", …), ("cpu", "cpu")."""
    import torch

    if torch.cuda.is_available():
        return "cuda", torch.cuda.get_device_name(0)
    if torch.backends.mps.is_available():
        return "mps", "Apple GPU"
    return "cpu", "cpu"
