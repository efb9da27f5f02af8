"""What is on a picture of a butterfly, in 64 numbers: the space in which distances between sets of butterflies count.

The classifier was trained on the course's own butterflies, whose truth is known. Distances between its features
compare with no published FID, whose features are those of another network.
"""

from functools import cache

import torch
from torch import nn

from course_utils.data.butterflies import PATTERNS
from course_utils.evaluate.classifier import ASSETS, FEATURES, Classifier, stored

FOLDER = ASSETS / "butterfly-features"
# What the classifier is asked besides the pattern, in this order; angles as their cosine and sine.
FACTORS = ("hue", "mark_hue", "backdrop_hue", "turn", "lightness", "chroma", "margin", "veins")
FACTORS += ("marks", "tail", "scale", "hind_length")
ANGLES = FACTORS[:4]


class ButterflyClassifier(Classifier):
    """Six convolutions, and 64 features; the answers are scores of the 5 patterns, and 16 factors."""

    def __init__(self):
        widths, strides = (3, 32, 48, 64, 96, 96, 128), (1, 2, 1, 2, 1, 2)
        layers = []
        for a, b, stride in zip(widths, widths[1:], strides, strict=False):
            layers += [nn.Conv2d(a, b, 3, stride, padding=1), nn.GroupNorm(8, b), nn.SiLU()]
        trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 4 * 4, FEATURES))
        super().__init__(trunk, (len(PATTERNS), len(ANGLES) + len(FACTORS)))


@cache
def shipped_classifier() -> ButterflyClassifier:
    """The classifier that comes with the course, on the CPU; its model card states how accurate it is.

    Raises:
        FileNotFoundError: if its weights are missing.
    """
    return ButterflyClassifier().load(stored(FOLDER, "classifier.safetensors", "train_features"))


def butterfly_features(images: torch.Tensor) -> torch.Tensor:
    """The 64 features of each picture, float32 [N, 64] on the CPU. On butterflies each has mean 0 and variance 1.

    Arguments and errors are those of `Classifier.features` and `shipped_classifier`.
    """
    return shipped_classifier().features(images)


@cache
def reference_features() -> torch.Tensor:
    """The features of 2,000 butterflies that neither the classifier nor any model of the course has learned from.

    Raises:
        FileNotFoundError: if the file that comes with the course is missing.
    """
    return stored(FOLDER, "reference.safetensors", "train_features")["features"].float()
