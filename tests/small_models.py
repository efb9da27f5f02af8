"""Networks, data and seeds for tests of training."""

import torch

from course_utils.diffusion import schedule
from course_utils.diffusion.mlp import MLP

SHORT = schedule.linear(10)


def small_model(seed=0, T=10):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MLP(T, width=16, depth=1, frequencies=4)


def batches(n, size=8, seed=0, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, 2, generator=generator).to(device) for _ in range(n)]


def weights_of(model):
    return [p.detach().clone() for p in model.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def seeded(seed=0, device="cpu"):
    return torch.Generator(device).manual_seed(seed)


class Scales(torch.nn.Module):
    """The simplest network: one number."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x, t):
        return self.scale * x
