"""What the exercises of chapter 07 are tried on: a small network's tensors."""

import torch

from course_utils.checks.chapter_02.material import normal


def weight_and_bias(seed: int) -> list[torch.Tensor]:
    """A weight [3, 2] and a bias [3], as a layer from two numbers to three has them."""
    return [normal(seed, 3, 2), normal(seed + 1, 3)]


THREE = ("weight", "bias", "second weight")


def three_tensors(seed: int) -> list[torch.Tensor]:
    """The same, and the weight [1, 3] of a second layer: an answer must take a list of any length."""
    return [*weight_and_bias(seed), normal(seed + 2, 1, 3)]
