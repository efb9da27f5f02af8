"""Each block of the UNet against its twin in diffusers, or its formula: outputs and gradients."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from diffusers.models import attention_processor, downsampling, embeddings, resnet, upsampling
from diffusers.models.unets import unet_2d_blocks
from unet_cases import assert_agree, pairs_of, rand, relative

from course_utils.diffusion.unet import (
    Attention,
    Down,
    Downsample,
    ResidualBlock,
    UNetConfig,
    Up,
    Upsample,
    time_embedding,
)

CONFIG = UNetConfig(channels=(8, 16), groups=4, layers=1, attention=(False, True), norm_eps=1e-5)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


def randomise(module, dtype=torch.float32):
    """The module in a dtype, with random numbers also where a new one has ones and zeros."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        if parameter.ndim == 1:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return module.to(dtype)


@pytest.mark.parametrize("freq_shift", [0, 1])
@pytest.mark.parametrize("cos_first", [False, True])
def test_the_time_embedding_is_diffusers_to_the_bit_and_the_formula_s(cos_first, freq_shift):
    t = torch.tensor([0, 1, 17, 500, 999])
    got = time_embedding(t, 64, cos_first=cos_first, freq_shift=freq_shift)
    assert torch.equal(got, embeddings.Timesteps(64, cos_first, freq_shift)(t))
    for row, step in zip(got.tolist(), t.tolist(), strict=True):
        angles = [step * 10_000 ** (-k / (32 - freq_shift)) for k in range(32)]
        sines, cosines = map(math.sin, angles), map(math.cos, angles)
        exact = [*cosines, *sines] if cos_first else [*sines, *cosines]
        assert row == pytest.approx(exact, abs=2e-4)  # float32 has 6e-5 left at an angle of 999


def test_a_time_embedding_of_odd_length_is_refused():
    with pytest.raises(ValueError, match=r"dim must be even.*got 5"):
        time_embedding(torch.arange(3), 5)


@DTYPES
@pytest.mark.parametrize("batch", [2, 3])
@pytest.mark.parametrize(("before", "after"), [(16, 16), (8, 16), (24, 8)])
def test_the_residual_block(before, after, batch, dtype):
    ours = ResidualBlock(before, after, CONFIG).to(dtype)
    theirs = randomise(
        resnet.ResnetBlock2D(
            in_channels=before, out_channels=after, temb_channels=32, groups=4, eps=1e-5
        ),
        dtype,
    )
    pairs = pairs_of(ours, theirs)
    x, time = rand(batch, before, 6, 5, dtype=dtype), rand(batch, 32, seed=1, dtype=dtype)
    # diffusers' block applies the SiLU to the time itself; ours gets it applied, once for all blocks.
    assert_agree(lambda x, time: ours(x, F.silu(time)), theirs, pairs, x, time)


@DTYPES
@pytest.mark.parametrize("head_dim", [None, 4, 8, 16, 1])
def test_attention_with_one_and_several_heads(head_dim, dtype):
    ours = Attention(16, replace(CONFIG, head_dim=head_dim)).to(dtype)
    theirs = randomise(
        attention_processor.Attention(
            16,
            heads=16 // (head_dim or 16),
            dim_head=head_dim or 16,
            norm_num_groups=4,
            eps=1e-5,
            bias=True,
            residual_connection=True,
        ),
        dtype,
    )
    assert ours.heads == theirs.heads
    assert_agree(ours, theirs, pairs_of(ours, theirs), rand(3, 16, 5, 4, dtype=dtype))


def test_attention_written_out_pixel_by_pixel():
    attention = Attention(8, replace(CONFIG, head_dim=4)).double()
    x = rand(1, 8, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        pixels = attention.norm(x)[0].reshape(8, 6).T  # [6, 8]
        q, k, v = attention.qkv(pixels).chunk(3, dim=1)
        for i in range(6):
            seen = []
            for head in (slice(0, 4), slice(4, 8)):
                weights = torch.stack([(q[i, head] @ k[j, head] / 4**0.5).exp() for j in range(6)])
                seen.append((weights[:, None] * v[:, head]).sum(0) / weights.sum())
            expected = x[0, :, i // 3, i % 3] + attention.out(torch.cat(seen))
            assert relative(attention(x)[0, :, i // 3, i % 3], expected) < 1e-13


@DTYPES
@pytest.mark.parametrize("size", [(6, 10), (7, 5), (2, 2), (4, 3)])
@pytest.mark.parametrize("padding", [0, 1])
def test_downsampling_with_both_paddings_and_odd_sizes(padding, size, dtype):
    ours = Downsample(8, padding).to(dtype)
    theirs = randomise(downsampling.Downsample2D(8, True, padding=padding, name="op"), dtype)
    x = rand(2, 8, *size, dtype=dtype)
    assert_agree(ours, theirs, pairs_of(ours, theirs.conv), x)


@DTYPES
@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1), (1, 7)])
def test_upsampling_is_doubling_then_a_convolution(size, dtype):
    ours = Upsample(8).to(dtype)
    theirs = randomise(upsampling.Upsample2D(8, True), dtype)
    x = rand(3, 8, *size, dtype=dtype)
    assert_agree(ours, theirs, pairs_of(ours, theirs.conv), x)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("resize", [False, True])
def test_one_level_down(resize, attention):
    options = {"num_layers": 2, "resnet_eps": 1e-5, "resnet_groups": 4}
    if attention:
        kind = unet_2d_blocks.AttnDownBlock2D
        options |= {"attention_head_dim": 4, "downsample_type": "conv" if resize else None}
    else:
        kind = unet_2d_blocks.DownBlock2D
        options |= {"add_downsample": resize}
    theirs = randomise(kind(8, 16, 32, **options))
    config = replace(CONFIG, layers=2, head_dim=4)
    ours = Down(8, 16, config, attention=attention, halve=resize)
    pairs = pairs_of(ours, theirs, ("down.0.", "down_blocks.0."))
    x, time = rand(2, 8, 6, 4), rand(2, 32, seed=1)
    assert_agree(lambda x: ours(x, F.silu(time))[-1], lambda x: theirs(x, time)[0], pairs, x)
    features, (_, expected) = ours(x, F.silu(time)), theirs(x, time)
    assert len(features) == len(expected) == 2 + resize
    assert all(relative(a, b) < 1e-5 for a, b in zip(features, expected, strict=True))


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("resize", [False, True])
def test_one_level_up_takes_the_last_skips_in_order(resize, attention):
    options = {"num_layers": 3, "resnet_eps": 1e-5, "resnet_groups": 4}
    if attention:
        kind = unet_2d_blocks.AttnUpBlock2D
        options |= {"attention_head_dim": 4, "upsample_type": "conv" if resize else None}
    else:
        kind = unet_2d_blocks.UpBlock2D
        options |= {"add_upsample": resize}
    theirs = randomise(kind(8, 16, 12, 32, **options))
    config = replace(CONFIG, layers=2, head_dim=4)
    ours = Up(16, [12, 12, 8], 12, config, attention=attention, double=resize)
    pairs = pairs_of(ours, theirs, ("up.0.", "up_blocks.0."))
    x, time = rand(2, 16, 3, 4), rand(2, 32, seed=1)
    first = rand(2, 99, 3, 4, seed=2)  # belongs to a level further up
    skips = [rand(2, channels, 3, 4, seed=channels + i) for i, channels in enumerate((8, 12, 12))]
    assert_agree(
        lambda x: ours(x, F.silu(time), [first, *skips]),
        lambda x: theirs(x, tuple(skips), time),
        pairs,
        x,
    )
    left = [first, *skips]
    ours(x, F.silu(time), left)
    assert left == [first]
