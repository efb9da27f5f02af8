"""A small network for points in the plane: what a UNet does for images, without the images."""

import math
from itertools import pairwise

import torch
from torch import nn


class MLP(nn.Module):
    """model(x, t) for points: a few hidden layers that see the point and the step.

    Args:
        T: the number of steps, to bring t to the scale of 1.
        dim: numbers in a point.
        width: of each hidden layer.
        depth: hidden layers.
        frequencies: of sine and cosine in the time embedding.
    """

    def __init__(
        self, T: int, *, dim: int = 2, width: int = 128, depth: int = 3, frequencies: int = 8
    ):
        super().__init__()
        self.T = T
        self.register_buffer(
            "frequencies", math.pi * torch.arange(1, frequencies + 1) / 2, persistent=False
        )
        sizes = [dim + 2 * frequencies, *[width] * depth]
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.SiLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], dim))

    def forward(self, x: torch.Tensor, t: int | torch.Tensor) -> torch.Tensor:
        """The network's answer for points x [B, D] at step t, one int or a tensor [B]. Shaped like x."""
        t = torch.as_tensor(t, device=x.device).expand(len(x))
        angle = t[:, None] / self.T * self.frequencies  # [B, frequencies]
        return self.layers(torch.cat([x, angle.sin(), angle.cos()], dim=1))
