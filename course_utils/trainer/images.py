"""The images of a run: where they are kept, and how batches of them come to the device."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch

from course_utils.data import batches, butterflies, load_images, to_model
from course_utils.data.parallel import cores, draw_butterflies
from course_utils.data.streaming import DiskImages, stream
from course_utils.trainer.processes import agreed, processes_here
from course_utils.trainer.settings import BUTTERFLIES, Settings

FEW = 2000  # butterflies, which one process draws before others have started
MOST_OF_GPU = 0.25  # of a GPU's free memory, for images; the rest is for training
MOST_OF_MEMORY = 0.5  # of the machine's free memory


class Loaded(NamedTuple):
    """uint8 [N, C, H, W], or images on the disk; and those that could not be read, each with the reason."""

    images: torch.Tensor | DiskImages
    skipped: tuple[str, ...] = ()


def load(settings: Settings) -> Loaded:
    """The images that the settings name, in memory, or still on the disk.

    Raises:
        ValueError: if they are fewer than a batch, or as in `load_images`; OSError as there.
    """
    s, size = settings, settings.model.sample_size
    if s.data == BUTTERFLIES:
        if s.channels == 1:
            raise ValueError(
                "butterflies are drawn in colour, and this network takes grey images: name others, such as "
                "--data photos, or leave --grey out (in Python: in_channels=3, out_channels=3)."
            )
        if s.images <= FEW:
            return Loaded(check_images(butterflies(s.images, size, s.seed), s))
        ours = max(1, cores() // processes_here())
        return Loaded(check_images(draw_butterflies(s.images, size, s.seed, processes=ours), s))
    there = DiskImages(s.data, size, limit=s.images, channels=s.channels)
    fits = there.nbytes * processes_here() <= MOST_OF_MEMORY * free_memory()
    if s.images_in == "disk" or (s.images_in == "auto" and not agreed(fits)):
        return Loaded(check_images(there, s))
    found = load_images(s.data, size, limit=s.images, channels=s.channels)
    return Loaded(check_images(found.pixels, s), found.skipped)


def check_images(
    images: torch.Tensor | DiskImages, settings: Settings
) -> torch.Tensor | DiskImages:
    """The images, if they are what the network of the settings takes and enough for a batch; else a ValueError."""
    if isinstance(images, torch.Tensor):
        side = settings.model.sample_size
        shape = (settings.channels, side, side)
        if images.dtype != torch.uint8 or images.shape[1:] != shape:
            raise ValueError(
                f"the network takes images of {list(shape)}, uint8; these are {list(images.shape[1:])}, "
                f"{images.dtype}. load_images(…, {side}, channels={settings.channels}).pixels fit, or a model with "
                "this sample_size, in_channels and out_channels."
            )
        if settings.images_in == "disk":
            raise ValueError(
                "images_in is 'disk', but these images are in memory already: leave it at 'auto'."
            )
    if len(images) < settings.batch:
        raise ValueError(
            f"a batch has {settings.batch} images, but there are only {len(images)}: choose a smaller batch."
        )
    return images


def free_memory(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that nobody uses: the machine's, or the container's where that has less (Linux, cgroup v2)."""
    import psutil

    free = psutil.virtual_memory().available
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        lines = (group / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no such files, or the limit is "max"
        return free
    files = int(dict(line.split() for line in lines)["inactive_file"])  # given back when needed
    return min(free, limit - used + files)


def feed(
    images: torch.Tensor | DiskImages,
    settings: Settings,
    device: torch.device,
    start: int,
    *,
    share: slice = slice(None),
    skipped: Callable[[list[str]], None] = lambda names: None,
) -> Iterator[torch.Tensor]:
    """Batches on the device, from batch number `start` on; float32 [batch, C, H, W] in [−1, 1].

    Images that fit lie on the GPU as bytes and become batches there. Others stay where they are: in memory, where a
    thread prepares the next batches while the GPU works, or on the disk, where processes decode them.

    Args:
        share: which of a batch are needed here; the others are not read from the disk.
        skipped: is told the images that could not be read from the disk.
    """
    s = settings
    options = {"seed": s.seed, "start": start, "flip": s.flip}
    if isinstance(images, DiskImages):
        return from_disk(images, s.batch, device, skipped, share=share, **options)
    if images.device == device:
        return batches(images, s.batch, **options)
    if device.type != "cuda":
        return (x0.to(device) for x0 in batches(images, s.batch, **options))
    if s.images_in == "gpu" or (s.images_in == "auto" and fits(images, device)):
        return batches(images.to(device), s.batch, **options)
    return prepared_ahead(batches(images, s.batch, **options), device)


def fits(pixels: torch.Tensor, device: torch.device) -> bool:
    """Whether the images may lie on the GPU."""
    free, _ = torch.cuda.mem_get_info(device)
    return pixels.nbytes <= MOST_OF_GPU * free


def from_disk(
    images: DiskImages,
    batch: int,
    device: torch.device,
    skipped: Callable[[list[str]], None],
    **options,
) -> Iterator[torch.Tensor]:
    """The batches of `stream` on the device."""
    workers = min(16, max(1, cores() // processes_here()))
    for pixels, names in stream(
        images, batch, workers=workers, pin=device.type == "cuda", **options
    ):
        if names:
            skipped(names)
        yield to_model(pixels.to(device, non_blocking=True))


def prepared_ahead(
    stream: Iterator[torch.Tensor], device: torch.device, depth: int = 4
) -> Iterator[torch.Tensor]:
    """The same batches on the device; a thread keeps `depth` of them ready in memory that a GPU copies from."""

    def prepare() -> torch.Tensor:
        batch = next(stream)
        return batch.pin_memory() if device.type == "cuda" else batch

    with ThreadPoolExecutor(1) as pool:
        ready = deque(pool.submit(prepare) for _ in range(depth))
        while True:
            batch = ready.popleft().result()
            ready.append(pool.submit(prepare))
            yield batch.to(device, non_blocking=True)
