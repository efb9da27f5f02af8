"""Networks for the tests of the UNet and of its ways to diffusers and back, and what it means that two agree."""

from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DModel

from course_utils.interop.weights import names_in_diffusers

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
BATCHES = pytest.mark.parametrize("batch", [2, 3])
MODES = pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])

# The settings that the google/ddpm-* models share.
GOOGLE = {
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "downsample_padding": 0,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
}
CIFAR = GOOGLE | {
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "sample_size": 32,
}
CELEBA = GOOGLE | {
    "block_out_channels": (128, 128, 256, 256, 512, 512),
    "down_block_types": (*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4),
    "sample_size": 256,
}
SHIPPED = {
    "block_out_channels": (32, 64, 112),
    "norm_num_groups": 16,
    "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    "sample_size": 32,
}
SMALL = {
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "sample_size": 8,
}


def make_unet2d(**options) -> UNet2DModel:
    """diffusers' network with random weights, also where a new one has ones and zeros: in norms and biases."""
    torch.manual_seed(0)
    model = UNet2DModel(**options)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def rand(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, as a share of the largest expected number."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    return largest(got - expected) / largest(expected)


def largest(x: torch.Tensor) -> float:
    return float(x.detach().abs().max())


def dropout(x, p=0.5, training=True, inplace=False):
    """F.dropout whose random numbers fall in reading order. torch's fall in the order of memory, which may differ."""
    return x * (torch.rand(x.shape) >= p) / (1 - p) if training and p else x


def pairs_of(ours, theirs, prefixes=(".", ".")):
    """(name, our parameter, theirs that it stacks) for two modules, which get the same weights: theirs."""
    here, there = prefixes  # where the modules stand in a whole network
    weights = dict(theirs.named_parameters())
    pairs = []
    for name, parameter in ours.named_parameters():
        names = names_in_diffusers(here + name)
        parts = [weights.pop(name.removeprefix(there)) for name in names]
        stacked = [part.data for part in parts]
        parameter.data = stacked[0] if len(parts) == 1 else torch.cat(stacked)
        pairs.append((name, parameter, parts))
    assert not weights, "diffusers has parameters that ours does not have"
    return pairs


def assert_agree(ours, theirs, pairs, *inputs):
    """Outputs within 1e-5, gradients within 1e-4 (in float64: 1e-11 and 1e-10).

    Args:
        ours, theirs: functions of the inputs, answering with a tensor.
        pairs: of parameters, (name, our tensor, list of their tensors that are stacked in it).
        inputs: tensors; the gradient for the first is compared, too.
    """
    exact = inputs[0].dtype == torch.float64
    results = []
    for function in (ours, theirs):
        x = inputs[0].clone().requires_grad_()
        torch.manual_seed(0)  # for dropout
        with patch.object(F, "dropout", dropout):
            answer = function(x, *inputs[1:])
        (answer * rand(*answer.shape, seed=9, dtype=answer.dtype)).sum().backward()
        results.append((answer.detach(), x.grad))
    (y, dx), (y_theirs, dx_theirs) = results
    assert relative(y, y_theirs) < (1e-11 if exact else 1e-5)
    assert relative(dx, dx_theirs) < (1e-10 if exact else 1e-4)
    # Some gradients are zero but for rounding, such as that of the keys' bias, which softmax does not see.
    floor = (1e-13 if exact else 1e-6) * max(largest(our.grad) for _, our, _ in pairs)
    for name, our, parts in pairs:
        expected = torch.cat([part.grad for part in parts])
        bound = (1e-10 if exact else 1e-4) * largest(expected) + floor
        assert largest(our.grad - expected) <= bound, name
