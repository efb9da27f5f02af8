"""Residual blocks with weights that show every mistake, and stages of a U that can be told apart."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from course_utils.checks.chapter_02.material import normal
from course_utils.diffusion.unet import ResidualBlock, UNetConfig


def residual_block(seed: int, in_channels: int, out_channels: int, groups: int) -> ResidualBlock:
    """A block of the library, all its numbers random, those of the norms too.

    A new one has ones and zeros there, and many a mistake would not show.
    """
    config = UNetConfig(channels=(4,), attention=(False,), groups=groups)
    with torch.random.fork_rng(devices=[]):  # making it draws from torch's own generator
        block = ResidualBlock(in_channels, out_channels, config)
    for i, parameter in enumerate(block.parameters()):
        wide = parameter[0].numel() if parameter.ndim > 1 else 1
        parameter.data = normal(seed + i, *parameter.shape) / wide**0.5
        parameter.requires_grad_(False)
    return block


@dataclass(frozen=True)
class Stage:
    """One stage of a U: [B, any number of channels, H, W] to [B, channels, H · scale, W · scale].

    Every number it gives depends on all the channels it is given, on each one differently. Unlike a
    convolution it takes any number of them, so that a mistake goes through and can be named.

    Attributes:
        name: as it stands in the exercise, for messages.
        channels: of what it gives.
        key: makes it different from other stages.
        scale: 1, 2 or 0.5.
    """

    name: str
    channels: int
    key: int
    scale: float = 1

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.as_tensor(x)
        if x.ndim != 4:
            raise ValueError(
                f"{self.name} takes features of shape [B, C, H, W]; got shape {list(x.shape)}."
            )
        grid = torch.outer(torch.arange(self.channels) + 1.0, torch.arange(x.shape[1]) + 1.0)
        mixing = torch.cos(grid + self.key) / x.shape[1] ** 0.5  # [channels, C]
        mixed = torch.einsum("oc,bchw->bohw", mixing.to(x.dtype), x)
        turned = torch.sin(mixed + self.key) + mixed / 2
        return turned if self.scale == 1 else F.interpolate(turned, scale_factor=self.scale)
