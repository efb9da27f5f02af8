"""The images of a run: loaded, put on the GPU where they fit, and handed out as batches."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from course_utils.data import batches, butterflies, load_images
from course_utils.data.parallel import draw_butterflies
from course_utils.trainer.settings import Settings

BUTTERFLIES = "butterflies"
FEW = 2000  # butterflies, which one process draws before others have started
MOST = 0.25  # of a GPU's free memory, for images; the rest is for training


def load(settings: Settings) -> torch.Tensor:
    """The images that the settings name, uint8 [N, C, H, W].

    Raises:
        ValueError: if they are fewer than a batch, or as in `load_images`; OSError as there.
    """
    size = settings.model.sample_size
    if settings.data == BUTTERFLIES:
        draw = butterflies if settings.images <= FEW else draw_butterflies
        pixels = draw(settings.images, size, settings.seed)
    else:
        pixels = load_images(
            settings.data, size, limit=settings.images, channels=settings.channels
        ).pixels
    return check_images(pixels, settings)


def check_images(pixels: torch.Tensor, settings: Settings) -> torch.Tensor:
    """The pixels, if they are what the network of the settings takes and enough for a batch; else a ValueError."""
    side = settings.model.sample_size
    shape = (settings.channels, side, side)
    if pixels.dtype != torch.uint8 or pixels.shape[1:] != shape:
        raise ValueError(
            f"the network takes images of {list(shape)}, uint8; these are {list(pixels.shape[1:])}, {pixels.dtype}."
        )
    if len(pixels) < settings.batch:
        raise ValueError(
            f"a batch has {settings.batch} images, but there are only {len(pixels)}: choose a smaller batch."
        )
    return pixels


def feed(
    pixels: torch.Tensor, settings: Settings, device: torch.device, start: int
) -> Iterator[torch.Tensor]:
    """Batches on the device, from batch number `start` on; float32 [batch, C, H, W] in [−1, 1].

    Images that fit lie on the GPU as bytes and become batches there. Others stay where they are, and a thread
    prepares the next batches while the GPU works.
    """
    options = {"seed": settings.seed, "start": start, "flip": settings.flip}
    if device.type != "cuda":
        return (x0.to(device) for x0 in batches(pixels, settings.batch, **options))
    if settings.resident and fits(pixels, device):
        return batches(pixels.to(device), settings.batch, **options)
    return prepared_ahead(batches(pixels, settings.batch, **options), device)


def fits(pixels: torch.Tensor, device: torch.device) -> bool:
    """Whether the images may lie on the GPU."""
    free, _ = torch.cuda.mem_get_info(device)
    return pixels.nbytes <= MOST * free


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
