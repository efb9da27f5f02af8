"""What the classifiers have in common whose features stand for pictures: checks, sizes, parts, whitened features.

Two pictures that differ in every pixel may show the same thing, moved by a hair. So pictures are not compared pixel by
pixel, but by the last layer of a small classifier, as the Fréchet Inception distance does (Heusel et al. 2017) with a
large one. Distances between features mean something only beside other distances between features of the same network.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

ASSETS = Path(__file__).parents[1] / "assets"
FEATURES = 64


class Classifier(nn.Module):
    """A trunk, from pictures of 32×32 to 64 features, that ends in a linear layer; and a linear head on those.

    Args:
        trunk: its last module is a linear layer with 64 outputs.
        answers: how many numbers each of the head's answers has.
    """

    def __init__(self, trunk: nn.Sequential, answers: tuple[int, ...]):
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(FEATURES, sum(answers))
        self.answers = answers

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Images [N, 3, 32, 32] in [−1, 1] to the answers, each [N, as many numbers as it has]."""
        return self.head(self.trunk(images)).split(self.answers, 1)

    def load(self, weights: dict[str, torch.Tensor]) -> "Classifier":
        """Takes weights that were stored in half precision, and from then on only answers: no more learning."""
        self.load_state_dict({name: value.float() for name, value in weights.items()})
        return self.eval().requires_grad_(False)

    @torch.no_grad()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """The features of each picture.

        Args:
            images: [N, 3, H, W] in [−1, 1]; those that are not 32×32 are resized. Values beyond are clipped, as
                they are in every picture that one looks at.

        Returns:
            float32 [N, 64], on the CPU.

        Raises:
            ValueError: if images is no floating-point tensor of colour images, or not finite.
        """
        check_images("images", images)
        parts = [self.trunk(prepared(part)) for part in images.split(256)]
        return torch.cat(parts) if len(images) else torch.empty(0, FEATURES)


def check_images(name: str, images: torch.Tensor) -> None:
    """Raises a ValueError unless the value is a floating-point tensor of finite colour images, [N, 3, H, W]."""
    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        got = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise ValueError(
            f"{name} must be a floating-point tensor in [−1, 1] (pixels of 0 … 255 go through "
            f"course_utils.data.to_model first); got {got}."
        )
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"{name} needs shape [N, 3, H, W]; got {list(images.shape)}. Grey ones get three channels by "
            ".expand(-1, 3, -1, -1)."
        )
    if not bool(images.isfinite().all()):
        raise ValueError(f"{name} must be finite; some values are not.")


def prepared(images: torch.Tensor) -> torch.Tensor:
    """Images of any size as float32 [N, 3, 32, 32] in [−1, 1] on the CPU."""
    images = images.detach().float().cpu().clamp(-1, 1)
    if images.shape[2:] != (32, 32):
        images = F.interpolate(images, size=(32, 32), mode="bilinear", antialias=True)
    return images.contiguous(memory_format=torch.channels_last)  # a fifth faster


def stored(folder: Path, name: str, maker: str) -> dict[str, torch.Tensor]:
    """The tensors of a file that comes with the course.

    Raises:
        FileNotFoundError: if it is not there; the message names the script that makes it.
    """
    if not (folder / name).is_file():
        raise FileNotFoundError(
            f"{folder / name} is missing. It comes with the course: install it again, or make it; "
            f"`python -m course_utils.authoring.{maker} --help` says how."
        )
    return load_file(folder / name)
