"""Each block of the UNet against its twin in diffusers, or its formula: outputs and gradients."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from diffusers.models import attention_processor, downsampling, embeddings, resnet, upsampling
from diffusers.models.unets import unet_2d_blocks
from unet_cases import BATCHES, DTYPES, MODES, assert_agree, pairs_of, rand, relative

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

CONFIG = UNetConfig(
    channels=(8, 16), groups=4, layers=1, attention=(False, True), norm_eps=1e-5, dropout=0.3
)


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
@MODES
@BATCHES
@pytest.mark.parametrize(("before", "after"), [(16, 16), (8, 16), (24, 8)])
def test_the_residual_block(before, after, batch, train, dtype):
    ours = ResidualBlock(before, after, CONFIG).to(dtype).train(train)
    channels = {"in_channels": before, "out_channels": after, "temb_channels": 32}
    theirs = randomise(resnet.ResnetBlock2D(**channels, groups=4, eps=1e-5, dropout=0.3), dtype)
    pairs = pairs_of(ours, theirs.train(train))
    x, time = rand(batch, before, 6, 5, dtype=dtype), rand(batch, 32, seed=1, dtype=dtype)
    # diffusers' block applies the SiLU to the time itself; ours gets it applied, once for all blocks.
    assert_agree(lambda x, time: ours(x, F.silu(time)), theirs, pairs, x, time)


@DTYPES
@BATCHES
@pytest.mark.parametrize("head_dim", [None, 4, 8, 16, 1])
def test_attention_with_one_and_several_heads(head_dim, batch, dtype):
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
    assert_agree(ours, theirs, pairs_of(ours, theirs), rand(batch, 16, 5, 4, dtype=dtype))


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
@BATCHES
@pytest.mark.parametrize("size", [(6, 10), (7, 5), (2, 2), (4, 3)])
@pytest.mark.parametrize("padding", [0, 1])
def test_downsampling_with_both_paddings_and_odd_sizes(padding, size, batch, dtype):
    ours = Downsample(8, padding).to(dtype)
    theirs = randomise(downsampling.Downsample2D(8, True, padding=padding, name="op"), dtype)
    x = rand(batch, 8, *size, dtype=dtype)
    assert_agree(ours, theirs, pairs_of(ours, theirs.conv), x)


@DTYPES
@BATCHES
@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1), (1, 7)])
def test_upsampling_is_doubling_then_a_convolution(size, batch, dtype):
    ours = Upsample(8).to(dtype)
    theirs = randomise(upsampling.Upsample2D(8, True), dtype)
    x = rand(batch, 8, *size, dtype=dtype)
    assert_agree(ours, theirs, pairs_of(ours, theirs.conv), x)


def every_level(test):
    """With attention and without, with a change of size and without, in every dtype and mode, even and odd batches."""
    for mark in (DTYPES, MODES, BATCHES):
        test = mark(test)
    for name in ("attention", "resize"):
        test = pytest.mark.parametrize(name, [False, True])(test)
    return test


def their_level(way, channels, layers, attention, resize, dtype):
    """diffusers' level of the way "down" or "up"."""
    kind = f"{'Attn' if attention else ''}{way.capitalize()}Block2D"
    if attention:
        options = {"attention_head_dim": 4, f"{way}sample_type": "conv" if resize else None}
    else:
        options = {f"add_{way}sample": resize}
    options |= {"num_layers": layers, "resnet_eps": 1e-5, "resnet_groups": 4, "dropout": 0.3}
    return randomise(getattr(unet_2d_blocks, kind)(*channels, 32, **options), dtype)


@every_level
def test_one_level_down(resize, attention, batch, train, dtype):
    theirs = their_level("down", (8, 16), 2, attention, resize, dtype).train(train)
    config = replace(CONFIG, layers=2, head_dim=4)
    ours = Down(8, 16, config, attention=attention, halve=resize).to(dtype).train(train)
    pairs = pairs_of(ours, theirs, ("down.0.", "down_blocks.0."))
    x, time = rand(batch, 8, 6, 4, dtype=dtype), rand(batch, 32, seed=1, dtype=dtype)
    assert_agree(lambda x: ours(x, F.silu(time))[-1], lambda x: theirs(x, time)[0], pairs, x)
    features, (_, expected) = ours.eval()(x, F.silu(time)), theirs.eval()(x, time)
    assert len(features) == len(expected) == 2 + resize
    assert all(relative(a, b) < 1e-5 for a, b in zip(features, expected, strict=True))


@every_level
def test_one_level_up_takes_the_last_skips_in_order(resize, attention, batch, train, dtype):
    theirs = their_level("up", (8, 16, 12), 3, attention, resize, dtype).train(train)
    config = replace(CONFIG, layers=2, head_dim=4)
    ours = Up(16, [12, 12, 8], 12, config, attention=attention, double=resize)
    ours.to(dtype).train(train)
    pairs = pairs_of(ours, theirs, ("up.0.", "up_blocks.0."))
    x, first, *skips = (  # the first belongs to a level further up
        rand(batch, channels, 3, 4, seed=k, dtype=dtype)
        for k, channels in enumerate((16, 99, 8, 12, 12))
    )
    time = rand(batch, 32, seed=9, dtype=dtype)
    assert_agree(
        lambda x: ours(x, F.silu(time), [first, *skips]),
        lambda x: theirs(x, tuple(skips), time),
        pairs,
        x,
    )
    left = [first, *skips]
    ours(x, F.silu(time), left)
    assert left == [first]
