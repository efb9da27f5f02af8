"""The UNet: a network that looks at a noisy image on several scales and answers with an image.

Its parts in order: configuration, time embedding, residual block, attention, the change of resolution, one level of
the way down and of the way up, the whole. The topology is that of Ho et al. 2020 (appendix B) and of diffusers'
`UNet2DModel`, whose weights fit.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class UNetConfig:
    """What a UNet is made of. It knows nothing about noise schedules.

    Attributes:
        in_channels, out_channels: of the images that go in and come out.
        channels: of the features on each level, from full resolution down; each level has half the one before.
        layers: residual blocks on each level of the way down; the way up has one more.
        attention: for each level, whether every residual block is followed by attention.
        mid_attention: whether there is attention at the bottom.
        head_dim: channels of each attention head; None for one head over all channels.
        groups: of group norm; must divide all channels.
        norm_eps: what group norm adds to the variance.
        dropout: probability, in each residual block.
        downsample_padding: 1, or 0 for the google/ddpm-* models, which pad at the right and below only.
        cos_first: whether the time embedding has its cosines before its sines.
        freq_shift: 1 makes its slowest frequency exactly 1/10,000, as in Ho's code; with 0 it is a little faster.
        sample_size: of the images it is for, one int or (height, width), for whoever draws with it. The network
            itself takes any size that can be halved often enough.

    Raises:
        ValueError: if no such network can be built, saying why.
    """

    in_channels: int = 3
    out_channels: int = 3
    channels: tuple[int, ...] = (64, 128, 128)
    layers: int = 2
    attention: tuple[bool, ...] = (False, False, True)
    mid_attention: bool = True
    head_dim: int | None = None
    groups: int = 32
    norm_eps: float = 1e-6
    dropout: float = 0.0
    downsample_padding: int = 1
    cos_first: bool = False
    freq_shift: int = 1
    sample_size: int | tuple[int, int] | None = None

    def __post_init__(self):
        for name in ("channels", "attention", "sample_size"):
            if isinstance(getattr(self, name), list):  # as it comes from JSON
                object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_config(self)

    @property
    def time_dim(self) -> int:
        """Numbers in the time embedding that the residual blocks see."""
        return 4 * self.channels[0]

    @property
    def halvings(self) -> int:
        """What height and width must be divisible by: 2 for each level but the first."""
        return 2 ** (len(self.channels) - 1)


def _check_config(c: UNetConfig) -> None:
    """Raises a ValueError unless there can be such a network, naming the first setting that is in the way."""

    def need(name: str, fine: bool, what: str) -> None:
        if not fine:
            raise ValueError(f"a UNet needs {name} to be {what}; got {getattr(c, name)!r}.")

    def is_count(value) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1

    for name in ("in_channels", "out_channels", "layers", "groups"):
        need(name, is_count(getattr(c, name)), "a whole number of at least 1")
    fine = isinstance(c.channels, tuple) and len(c.channels) > 0
    fine = fine and all(is_count(width) and width % c.groups == 0 for width in c.channels)
    need("channels", fine, f"multiples of groups={c.groups}, one for each level")
    need("channels", c.channels[0] % 2 == 0, "even on the first level, for sines and cosines")
    fine = isinstance(c.attention, tuple) and len(c.attention) == len(c.channels)
    need("attention", fine, f"True or False for each of channels={c.channels}")
    pairs = zip((*c.channels, c.channels[-1]), (*c.attention, c.mid_attention), strict=True)
    widths = [width for width, attends in pairs if attends]
    fine = is_count(c.head_dim) and all(width % c.head_dim == 0 for width in widths)
    need(
        "head_dim",
        c.head_dim is None or fine,
        f"None or a divisor of the channels with attention, {widths}",
    )
    need("norm_eps", c.norm_eps > 0, "above 0")
    need("dropout", 0 <= c.dropout < 1, "in [0, 1)")
    need("downsample_padding", c.downsample_padding in (0, 1), "0 or 1")
    half = c.channels[0] // 2
    need("freq_shift", 0 <= c.freq_shift < half, f"at least 0 and below {half}")
    sides = c.sample_size if isinstance(c.sample_size, tuple) else (c.sample_size,) * 2
    fine = len(sides) == 2 and all(is_count(side) and side % c.halvings == 0 for side in sides)
    what = f"None, a multiple of {c.halvings} (2 for each level but the first), or two of them"
    need("sample_size", c.sample_size is None or fine, what)


def time_embedding(
    t: torch.Tensor, dim: int, *, cos_first: bool = False, freq_shift: int = 1
) -> torch.Tensor:
    """Sine and cosine of t at frequencies from 1 towards 1/10,000 (Vaswani et al. 2017, 3.5).

    Args:
        t: the steps, [B].
        dim: how many numbers for each step, even.
        cos_first, freq_shift: see `UNetConfig`.

    Returns:
        float32 [B, dim]: all sines, then all cosines, or the other way round.

    Raises:
        ValueError: if dim is odd.
    """
    if dim % 2:
        raise ValueError(f"dim must be even, half for sines and half for cosines; got {dim}.")
    half = dim // 2
    k = torch.arange(half, dtype=torch.float32, device=t.device)
    frequency = torch.exp(-math.log(10_000) * k / (half - freq_shift))
    angle = t[:, None].float() * frequency  # [B, dim / 2]
    waves = (angle.cos(), angle.sin()) if cos_first else (angle.sin(), angle.cos())
    return torch.cat(waves, dim=1)


class ResidualBlock(nn.Module):
    """Two convolutions beside a short cut; between them the block is told the time.

    Args:
        in_channels, out_channels: of the features before and after.
    """

    def __init__(self, in_channels: int, out_channels: int, config: UNetConfig):
        super().__init__()
        self.norm1 = nn.GroupNorm(config.groups, in_channels, config.norm_eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = nn.Linear(config.time_dim, out_channels)
        self.norm2 = nn.GroupNorm(config.groups, out_channels, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """x [B, C, H, W] and the time embedding after its SiLU, [B, E], to [B, C', H, W]."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time(time)[:, :, None, None]  # one number for each channel
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return self.shortcut(x) + h


class Attention(nn.Module):
    """Every pixel looks at every other: softmax(Q Kᵀ / √d) V beside a short cut.

    The formula is equation 1 of Vaswani et al. 2017.

    Args:
        channels: of the features; each head has `config.head_dim` of them.
    """

    def __init__(self, channels: int, config: UNetConfig):
        super().__init__()
        self.heads = channels // (config.head_dim or channels)
        self.norm = nn.GroupNorm(config.groups, channels, config.norm_eps)
        self.qkv = nn.Linear(channels, 3 * channels)  # queries, keys and values in one product
        self.out = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, C, H, W] to the same shape."""
        B, C, H, W = x.shape
        pixels = self.norm(x).flatten(2).transpose(1, 2)  # [B, HW, C]
        qkv = self.qkv(pixels).view(B, H * W, 3, self.heads, C // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, heads, HW, C / heads]
        seen = F.scaled_dot_product_attention(q, k, v)  # the same shape
        seen = self.out(seen.transpose(1, 2).reshape(B, H * W, C))
        return x + seen.transpose(1, 2).view(B, C, H, W)


class Downsample(nn.Conv2d):
    """Half the resolution: a convolution that moves by two pixels.

    Args:
        padding: 1 pads on all sides; 0 only at the right and below.
    """

    def __init__(self, channels: int, padding: int):
        super().__init__(channels, channels, 3, stride=2, padding=padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] to [B, C, H / 2, W / 2]."""
        return super().forward(x if self.padding[0] else F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Conv2d):
    """Twice the resolution: each pixel becomes four equal ones, then a convolution."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] to [B, C, 2 H, 2 W], both at once for half the work."""
        return F.conv_transpose2d(x, self.merged(), self.bias, stride=2, padding=1)

    def merged(self) -> torch.Tensor:
        """The kernel [C, C, 4, 4] of the transposed convolution that does the same.

        In one direction, pixel i becomes the pixels 2i and 2i + 1, which the weights w0, w1, w2
        carry on to four: w2 times pixel i goes to 2i − 1, w1 + w2 times to 2i, w0 + w1 times to
        2i + 1, and w0 times to 2i + 2.
        """
        kernel = self.weight.transpose(0, 1)
        for direction in (2, 3):
            w0, w1, w2 = kernel.unbind(direction)
            kernel = torch.stack([w2, w1 + w2, w0 + w1, w0], direction)
        return kernel


class Down(nn.Module):
    """One level of the way down: blocks, each with attention or without; then half the resolution.

    Args:
        in_channels, out_channels: of the features before and after.
        attention: whether there is any.
        halve: False on the last level, which keeps its resolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        config: UNetConfig,
        *,
        attention: bool,
        halve: bool,
    ):
        super().__init__()
        widths = [in_channels] + [out_channels] * config.layers
        self.blocks = nn.ModuleList(ResidualBlock(a, b, config) for a, b in pairwise(widths))
        self.attentions = nn.ModuleList(
            Attention(out_channels, config) if attention else nn.Identity() for _ in self.blocks
        )
        self.downsample = Downsample(out_channels, config.downsample_padding) if halve else None

    def forward(self, h: torch.Tensor, time: torch.Tensor) -> list[torch.Tensor]:
        """h [B, C, H, W] to a list of features: after each block, and after halving.

        The last of them go on to the next level, and all of them to the way up.
        """
        features = []
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            h = attention(block(h, time))
            features.append(h)
        if self.downsample is not None:
            features.append(self.downsample(h))
        return features


class Up(nn.Module):
    """One level of the way up: blocks that see what the way down saw; then twice the resolution.

    Args:
        in_channels, out_channels: of the features before and after.
        skip_channels: of what each block gets from the way down.
        attention: whether there is any.
        double: False on the last level, which is back at the full resolution.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: list[int],
        out_channels: int,
        config: UNetConfig,
        *,
        attention: bool,
        double: bool,
    ):
        super().__init__()
        widths = [in_channels] + [out_channels] * len(skip_channels)
        self.blocks = nn.ModuleList(
            ResidualBlock(a + skip, b, config)
            for (a, b), skip in zip(pairwise(widths), skip_channels, strict=True)
        )
        self.attentions = nn.ModuleList(
            Attention(out_channels, config) if attention else nn.Identity() for _ in self.blocks
        )
        self.upsample = Upsample(out_channels) if double else None

    def forward(
        self, h: torch.Tensor, time: torch.Tensor, skips: list[torch.Tensor]
    ) -> torch.Tensor:
        """h [B, C, H, W] to [B, C', 2 H, 2 W]; each block takes the last skip off the list."""
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            h = attention(block(torch.cat([h, skips.pop()], dim=1), time))
        return h if self.upsample is None else self.upsample(h)


def way_down(config: UNetConfig) -> tuple[nn.ModuleList, list[int]]:
    """The levels from full resolution down, and the channels of all that is kept for the way up."""
    levels, kept = nn.ModuleList(), [config.channels[0]]  # the first is what conv_in made
    for i, width in enumerate(config.channels):
        halve = i < len(config.channels) - 1
        levels.append(Down(kept[-1], width, config, attention=config.attention[i], halve=halve))
        kept += [width] * (config.layers + halve)
    return levels, kept


def way_up(config: UNetConfig, kept: list[int]) -> nn.ModuleList:
    """The levels back up to full resolution; each block takes the last of what was kept."""
    levels, width = nn.ModuleList(), config.channels[-1]
    for i in reversed(range(len(config.channels))):
        taken = [kept.pop() for _ in range(config.layers + 1)]
        attention, double = config.attention[i], i > 0
        levels.append(
            Up(width, taken, config.channels[i], config, attention=attention, double=double)
        )
        width = config.channels[i]
    return levels


class UNet(nn.Module):
    """model(x, t), made as `config` says: down through the levels, the bottom, and up again."""

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        first, last = config.channels[0], config.channels[-1]
        self.time = nn.Sequential(
            nn.Linear(first, config.time_dim),
            nn.SiLU(),
            nn.Linear(config.time_dim, config.time_dim),
        )
        self.conv_in = nn.Conv2d(config.in_channels, first, 3, padding=1)
        self.down, kept = way_down(config)
        self.mid1 = ResidualBlock(last, last, config)
        self.mid_attention = Attention(last, config) if config.mid_attention else nn.Identity()
        self.mid2 = ResidualBlock(last, last, config)
        self.up = way_up(config, kept)
        self.norm_out = nn.GroupNorm(config.groups, first, config.norm_eps)
        self.conv_out = nn.Conv2d(first, config.out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor, t: int | torch.Tensor) -> torch.Tensor:
        """The network's answer [B, C_out, H, W] for images x [B, C, H, W] at step t, an int or [B].

        Raises:
            ValueError: if x is no floating-point image of this network's channels, cannot be
                halved on each level, or t is not one for all or one for each.
        """
        c = self.config
        check_input(c, x, t)
        if not torch.is_tensor(t):
            t = torch.full((), t, device=x.device)  # as_tensor would make a GPU wait
        t = t.to(x.device).expand(len(x))
        waves = time_embedding(t, c.channels[0], cos_first=c.cos_first, freq_shift=c.freq_shift)
        time = F.silu(self.time(waves.to(x.dtype)))  # [B, 4 · channels[0]]

        skips = [self.conv_in(x)]
        for level in self.down:
            skips += level(skips[-1], time)
        h = self.mid2(self.mid_attention(self.mid1(skips[-1], time)), time)
        for level in self.up:
            h = level(h, time, skips)
        return self.conv_out(F.silu(self.norm_out(h)))


def check_input(c: UNetConfig, x: torch.Tensor, t: int | torch.Tensor) -> None:
    """Raises a ValueError unless a UNet of this configuration can take x and t."""
    if x.ndim != 4 or x.shape[1] != c.in_channels:
        raise ValueError(f"x needs shape [B, {c.in_channels}, H, W]; got {list(x.shape)}.")
    if not x.is_floating_point():
        raise ValueError(
            f"x must be floating point; got {x.dtype}. Images of 0 … 255 go through "
            "course_utils.data.to_model first."
        )
    if x.shape[2] % c.halvings or x.shape[3] % c.halvings:
        raise ValueError(
            f"height and width must be divisible by {c.halvings}, for {len(c.channels)} levels; "
            f"got {x.shape[2]} × {x.shape[3]}."
        )
    if torch.is_tensor(t) and t.shape not in ((), x.shape[:1]):
        raise ValueError(
            f"t needs to be one number for all {len(x)} images, or one for each, [{len(x)}]; "
            f"got shape {list(t.shape)}."
        )
