"""What is on a small photograph, and how it looks, in 64 numbers: the space in which sets of photographs are compared.

The classifier was trained on photographs of ten kinds of things, 32×32, and asked two questions: what is on the
picture, and which colours it has where. A network that is only asked for one of ten kinds forgets all else, and with
it most of what tells a varied set of pictures from a monotonous one.

Distances between these features compare with no published FID, whose features are those of another network.
"""

from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

from course_utils.evaluate.classifier import ASSETS, FEATURES, Classifier, stored

FOLDER = ASSETS / "photo-features"
HELD_OUT = 5000  # images at the end of the set, which no model of the course learns from
COARSE = 4  # height and width of the picture that the features must tell


class Residual(nn.Module):
    """Two convolutions beside a way around them (He et al. 2016)."""

    def __init__(self, a: int, b: int, stride: int):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(a, b, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(b),
            nn.ReLU(),
            nn.Conv2d(b, b, 3, padding=1, bias=False),
            nn.BatchNorm2d(b),
        )
        self.around = nn.Conv2d(a, b, 1, stride, bias=False) if (a, stride) != (b, 1) else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.main(x) + (x if self.around is None else self.around(x)))


class PhotoClassifier(Classifier):
    """Six residual blocks, and 64 features; the answers are scores of the kinds, and the picture in 4×4 pixels.

    Args:
        kinds: how many kinds of things there are on the photographs.
    """

    def __init__(self, kinds: int = 10):
        widths, strides = (32, 32, 32, 64, 64, 128, 128), (1, 1, 2, 1, 2, 1)
        layers = [nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
        for a, b, stride in zip(widths, widths[1:], strides, strict=False):
            layers.append(Residual(a, b, stride))
        layers += [nn.AvgPool2d(4), nn.Flatten(), nn.Linear(128 * 2 * 2, FEATURES)]
        super().__init__(nn.Sequential(*layers), (kinds, 3 * COARSE**2))


def coarse(images: torch.Tensor) -> torch.Tensor:
    """The colours of each picture in 4×4 squares, [N, 48], from images [N, 3, 32, 32]."""
    return F.adaptive_avg_pool2d(images, COARSE).flatten(1)


@cache
def shipped_photo_classifier() -> PhotoClassifier:
    """The classifier that comes with the course, on the CPU; its model card states how accurate it is.

    Raises:
        FileNotFoundError: if its weights are missing.
    """
    weights = stored(FOLDER, "classifier.safetensors", "train_photo_features")
    return PhotoClassifier(len(weights["head.bias"]) - 3 * COARSE**2).load(weights)


def photo_features(images: torch.Tensor) -> torch.Tensor:
    """The 64 features of each picture, float32 [N, 64] on the CPU. On photographs each has mean 0 and variance 1.

    Arguments and errors are those of `Classifier.features` and `shipped_photo_classifier`.
    """
    return shipped_photo_classifier().features(images)


@cache
def photo_reference_features() -> torch.Tensor:
    """The features of 5,000 photographs that neither the classifier nor any model of the course has learned from.

    Raises:
        FileNotFoundError: if the file that comes with the course is missing.
    """
    return stored(FOLDER, "reference.safetensors", "train_photo_features")["features"].float()
