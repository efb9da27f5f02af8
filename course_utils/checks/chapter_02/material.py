"""What the exercises of chapter 02 are tried on, and the sum of image and noise in all of them."""

import torch

# Used as beta: each step is recognisable.
UNEVEN = [
    0.05,
    0.3,
    0.1,
    0.45,
    0.2,
    0.6,
    0.15,
    0.5,
    0.25,
    0.7,
]


def normal(seed: int, *shape: int) -> torch.Tensor:
    """Standard normal numbers, the same ones on every machine."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pixels(seed: int, *shape: int) -> torch.Tensor:
    """Numbers spread over [−1, 1], as those of an image are."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def mix(share: float | torch.Tensor, x0: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """An image and noise, the image with that share of the variance."""
    return share**0.5 * x0 + (1 - share) ** 0.5 * eps
