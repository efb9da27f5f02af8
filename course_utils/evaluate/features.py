"""What is on a picture of a butterfly, in 64 numbers: the space in which distances between sets of pictures count.

Two pictures that differ in every pixel may show the same butterfly, moved by a hair. So pictures are not compared
pixel by pixel, but by the last layer of a small classifier, as the Fréchet Inception distance does (Heusel et al. 2017)
with a large one. Ours was trained on the course's own butterflies, whose truth is known. Its numbers compare with no
published FID.
"""

from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from course_utils.data.butterflies import PATTERNS

FOLDER = Path(__file__).parents[1] / "assets" / "butterfly-features"
FEATURES = 64
# What the classifier is asked besides the pattern, in this order; angles as their cosine and sine.
FACTORS = ("hue", "mark_hue", "backdrop_hue", "turn", "lightness", "chroma", "margin", "veins")
FACTORS += ("marks", "tail", "scale", "hind_length")
ANGLES = FACTORS[:4]


class ButterflyClassifier(nn.Module):
    """Six convolutions, from 32×32 pixels to 64 features; one linear layer tells pattern and factors from those."""

    def __init__(self):
        super().__init__()
        widths, strides = (3, 32, 48, 64, 96, 96, 128), (1, 2, 1, 2, 1, 2)
        layers = []
        for a, b, stride in zip(widths, widths[1:], strides, strict=False):
            layers += [nn.Conv2d(a, b, 3, stride, padding=1), nn.GroupNorm(8, b), nn.SiLU()]
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 4 * 4, FEATURES))
        self.head = nn.Linear(FEATURES, len(PATTERNS) + len(ANGLES) + len(FACTORS))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images [N, 3, 32, 32] in [−1, 1] to the scores of the patterns, [N, 5], and the factors, [N, 16]."""
        return self.head(self.trunk(images)).split([len(PATTERNS), len(ANGLES) + len(FACTORS)], 1)


@cache
def shipped_classifier() -> ButterflyClassifier:
    """The classifier that comes with the course, on the CPU; its model card states how accurate it is."""
    classifier = ButterflyClassifier()
    weights = load_file(FOLDER / "classifier.safetensors")
    classifier.load_state_dict({name: value.float() for name, value in weights.items()})
    return classifier.eval().requires_grad_(False)


def butterfly_features(images: torch.Tensor) -> torch.Tensor:
    """The 64 features of each picture. On butterflies each has mean 0 and variance 1.

    Args:
        images: [N, 3, H, W] in [−1, 1]; those that are not 32×32 are resized. Values beyond are clipped, as they
            are in every picture that one looks at.

    Returns:
        float32 [N, 64], on the CPU.

    Raises:
        ValueError: if images is no floating-point tensor of colour images, or not finite.
    """
    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        got = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise ValueError(
            f"images must be a floating-point tensor in [−1, 1] (pixels of 0 … 255 go through "
            f"course_utils.data.to_model first); got {got}."
        )
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images needs shape [N, 3, H, W]; got {list(images.shape)}.")
    if not bool(images.isfinite().all()):
        raise ValueError("images must be finite; some values are not.")
    images = images.detach().float().cpu().clamp(-1, 1)
    if images.shape[2:] != (32, 32):
        images = F.interpolate(images, size=(32, 32), mode="bilinear", antialias=True)
    trunk = shipped_classifier().trunk
    with torch.no_grad():
        parts = [trunk(part) for part in images.split(256)]
    return torch.cat(parts) if parts else images.new_empty(0, FEATURES)


@cache
def reference_features() -> torch.Tensor:
    """The features of 2,000 butterflies that neither the classifier nor any model of the course has learned from."""
    return load_file(FOLDER / "reference.safetensors")["features"].float()
