"""Butterflies drawn from numbers: the course's own image set, at any size, with nothing to download.

Each butterfly is a handful of factors (the shape of its wings, its colours, its pattern, its pose) that one random
generator draws and one function paints. So the set is endless, the same everywhere, and the truth about every
image is known.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image

PATTERNS = ("plain", "banded", "spotted", "eyed", "tipped")


@dataclass(frozen=True)
class Butterfly:
    """What there is to know about one butterfly. Lengths are in half image widths, angles in radians.

    Attributes:
        hue, hue_shift: the wings' main colour and how far it turns towards the margin (OKLCH hue).
        lightness, chroma: of the main colour (OKLCH).
        pattern: one of PATTERNS.
        margin: width of the dark border, as a share of the wing.
        veins: strength of the veins, 0 to 1.
        fore_length, fore_angle, fore_width, fore_tip: the forewing's reach, direction, opening and pointedness.
        hind_length, hind_width, tail, scallop: the hindwing's reach, opening, tail and wavy edge.
        marks: how many spots or bands the pattern has.
        mark_hue: hue of spots, eyes and bands.
        backdrop_hue, backdrop_lightness: the background.
        turn, scale, x, y: the pose: rotation, size and centre.
        backdrop_seed: fixes the soft lights in the background.
    """

    hue: float
    hue_shift: float
    lightness: float
    chroma: float
    pattern: str
    margin: float
    veins: float
    fore_length: float
    fore_angle: float
    fore_width: float
    fore_tip: float
    hind_length: float
    hind_width: float
    tail: float
    scallop: float
    marks: int
    mark_hue: float
    backdrop_hue: float
    backdrop_lightness: float
    turn: float
    scale: float
    x: float
    y: float
    backdrop_seed: int


def butterfly(index: int, seed: int = 0) -> Butterfly:
    """The factors of butterfly number `index` of the set `seed`; the same on every machine.

    Raises:
        ValueError: if index or seed is negative.
    """
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must not be negative; got index={index}, seed={seed}.")
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    hue = rng.uniform(0, 2 * math.pi)
    return Butterfly(
        hue=hue,
        hue_shift=rng.normal(0, 0.55),
        lightness=rng.uniform(0.62, 0.8),
        chroma=rng.uniform(0.11, 0.19),
        pattern=PATTERNS[rng.integers(len(PATTERNS))],
        margin=rng.uniform(0.07, 0.22),
        veins=rng.uniform(0.15, 0.75),
        fore_length=rng.uniform(0.96, 1.1),
        fore_angle=rng.uniform(0.5, 0.64),
        fore_width=rng.uniform(0.64, 0.76),
        fore_tip=rng.uniform(0.0, 0.3),
        hind_length=rng.uniform(0.68, 0.84),
        hind_width=rng.uniform(0.74, 0.86),
        tail=rng.uniform(0.2, 0.4) if rng.random() < 0.3 else 0.0,
        scallop=rng.uniform(0, 0.045),
        marks=int(rng.integers(2, 6)),
        mark_hue=hue + rng.choice([math.pi, 2.2, -2.2, 0.9]) + rng.normal(0, 0.2),
        backdrop_hue=rng.uniform(0, 2 * math.pi),
        backdrop_lightness=rng.uniform(0.84, 0.96),
        turn=rng.normal(0, 0.2),
        scale=rng.uniform(0.86, 0.98),
        x=rng.normal(0, 0.03),
        y=rng.normal(-0.09, 0.03),
        backdrop_seed=int(rng.integers(2**31)),
    )


def draw(b: Butterfly, size: int = 32) -> np.ndarray:
    """Paints a butterfly.

    Args:
        b: its factors.
        size: width and height in pixels, at least 8.

    Returns:
        uint8 array [size, size, 3]. Every pixel is the mean of at least 2 × 2 finer ones.

    Raises:
        ValueError: if size is not a whole number of at least 8.
    """
    if not isinstance(size, int) or size < 8:
        raise ValueError(f"size must be a whole number of at least 8 pixels; got {size!r}.")
    fine = max(2, math.ceil(128 / size))
    axis = (np.arange(size * fine) + 0.5) / (size * fine) * 2 - 1
    px, py = np.meshgrid(axis, -axis)  # right, up
    pixel = 2 / size

    picture = _backdrop(b, px, py)
    cos, sin = math.cos(b.turn), math.sin(b.turn)

    def to_body(dx: float, dy: float) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates along the butterfly's own axes: both halves fold onto one, and it is symmetric."""
        u, v = px - b.x - dx, py - b.y - dy
        return np.abs(cos * u + sin * v) / b.scale, (cos * v - sin * u) / b.scale

    u, v = to_body(0.035, -0.06)
    picture[_forewing(b, u, v).inside | _hindwing(b, u, v).inside] *= 0.78  # the shadow

    u, v = to_body(0, 0)
    _paint_antennae(picture, b, u, v, pixel / b.scale)
    for wing in (_hindwing, _forewing):
        inside = wing(b, u, v).inside
        picture[inside] = _wing_colour(b, wing(b, u[inside], v[inside]))
    _paint_body(picture, b, u, v)

    picture = picture.reshape(size, fine, size, fine, 3).mean(axis=(1, 3))  # in linear light
    return np.round(_encode(picture) * 255).astype(np.uint8)


def butterflies(n: int, size: int = 32, seed: int = 0, *, start: int = 0) -> torch.Tensor:
    """n butterflies, number `start` onwards, of the set `seed`.

    Returns:
        uint8 tensor [n, 3, size, size]; `to_model` maps it to [−1, 1].

    Raises:
        ValueError: if n, seed or start is negative, or size is under 8.
    """
    if n < 0:
        raise ValueError(f"n, the number of butterflies, must not be negative; got {n}.")
    images = [draw(butterfly(i, seed), size) for i in range(start, start + n)]
    if not images:
        return torch.empty(0, 3, size, size, dtype=torch.uint8)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def portrait(index: int, size: int = 256, seed: int = 0) -> Image.Image:
    """Butterfly number `index` as a PIL image, for a closer look. Errors as in `draw`."""
    return Image.fromarray(draw(butterfly(index, seed), size))


# Colour: mixed in linear light, chosen in OKLCH (Ottosson 2020), where equal steps look equal.


def _oklch(lightness, chroma, hue) -> np.ndarray:
    """OKLCH, numbers or arrays, to linear sRGB in [0, 1], shape [..., 3]."""
    lightness, a, b = np.broadcast_arrays(lightness, chroma * np.cos(hue), chroma * np.sin(hue))
    lms = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ],
        axis=-1,
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    return np.clip((lms * lms * lms) @ to_rgb.T, 0, 1)


def _encode(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB's curve, both in [0, 1]."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _over(below: np.ndarray, colour: np.ndarray, cover: np.ndarray) -> np.ndarray:
    return below + (colour - below) * cover[..., None]


def _smooth(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth step between."""
    x = np.clip((x - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)


# Shape: a wing is a radius for each angle around its root.


@dataclass
class _Wing:
    """A wing seen from the points (u, v), arrays of one shape.

    reach: 0 at the root, 1 at the margin. across: −1 at the trailing edge, 1 at the leading edge.
    place(reach, across): the point that has these two.
    """

    fore: bool
    u: np.ndarray
    v: np.ndarray
    root: float
    angle: float
    width: float
    radius: Callable[[np.ndarray], np.ndarray]

    @cached_property
    def across(self) -> np.ndarray:
        phi = np.arctan2(self.v - self.root, self.u) - self.angle
        return ((phi + math.pi) % (2 * math.pi) - math.pi) / self.width

    @cached_property
    def reach(self) -> np.ndarray:
        return np.hypot(self.u, self.v - self.root) / np.maximum(
            self.radius(np.clip(self.across, -1, 1)), 1e-6
        )

    @cached_property
    def inside(self) -> np.ndarray:
        return (self.reach < 1) & (np.abs(self.across) < 1)

    def place(self, reach: float, across: float) -> tuple[float, float]:
        r, phi = reach * float(self.radius(np.asarray(across))), self.angle + self.width * across
        return r * math.cos(phi), self.root + r * math.sin(phi)


def _forewing(b: Butterfly, u, v) -> _Wing:
    def radius(a):
        edge = np.clip(1 - np.abs(a) ** 3.4, 0, 1) ** 0.6
        # Pointed wings have a concave margin.
        hollow = 0.2 * b.fore_tip * np.exp(-(((a + 0.15) / 0.35) ** 2))
        return b.fore_length * edge * (1 + b.fore_tip * (a - 0.45) - hollow)

    return _Wing(True, u, v, 0.08, b.fore_angle, b.fore_width, radius)


def _hindwing(b: Butterfly, u, v) -> _Wing:
    def radius(a):
        edge = np.clip(1 - np.abs(a) ** 2.8, 0, 1) ** 0.5
        return (
            b.hind_length
            * edge
            * (1 + b.scallop * np.cos(11 * a) + b.tail * np.exp(-(((a + 0.5) / 0.13) ** 2)))
        )

    return _Wing(False, u, v, 0.05, -0.68, b.hind_width, radius)


def _wing_colour(b: Butterfly, wing: _Wing) -> np.ndarray:
    """The colour of a wing at each of its points, linear RGB [N, 3]."""
    reach, a = wing.reach, wing.across
    blend = _smooth(reach, 0.1, 0.85)
    lightness = (
        b.lightness - 0.1 * (1 - blend) - (0.0 if wing.fore else 0.03) + 0.05 * np.cos(2.5 * a)
    )
    colour = _oklch(lightness, b.chroma, b.hue + b.hue_shift * blend)

    dark = _oklch(0.24, 0.035, b.hue)
    light = _oklch(0.94, 0.05, b.mark_hue)
    vivid = _oklch(0.76, 0.16, b.mark_hue)

    if b.pattern == "banded":
        for k in range(min(b.marks, 3)):
            band = 1 - _smooth(np.abs(reach - (0.72 - 0.17 * k) - 0.05 * a), 0.02, 0.06)
            colour = _over(colour, vivid if k % 2 == 0 else light, band)
    if b.pattern == "tipped" and wing.fore:
        colour = _over(colour, dark, _smooth(reach + 0.35 * a, 0.76, 0.9))
        colour = _over(colour, light, _spots(wing, 0.8, (0.12, 0.42, 0.68), 0.06))

    ribs = np.abs((a * 3.5 + 0.5) % 1 - 0.5) * reach
    colour = _over(
        colour, dark, b.veins * (1 - _smooth(ribs, 0.015, 0.055)) * _smooth(reach, 0.1, 0.3)
    )
    colour = _over(colour, dark, _smooth(reach, 1 - b.margin - 0.05, 1 - b.margin + 0.02))
    colour = _over(colour, dark, 0.85 * _smooth(np.abs(a), 0.88, 0.99))

    if b.pattern == "spotted":
        places = np.linspace(-0.66, 0.66, b.marks + 1)
        colour = _over(colour, light, _spots(wing, 1 - 0.6 * max(b.margin, 0.12), places, 0.045))
        colour = _over(colour, vivid, _spots(wing, 0.6, places[::2], 0.065))
    if b.pattern == "eyed":
        for radius, paint in ((0.19, dark), (0.15, vivid), (0.1, dark), (0.045, light)):
            eye = 0.22 if wing.fore else -0.08
            colour = _over(
                colour, paint, _spots(wing, 0.62, (eye,), radius if wing.fore else 0.8 * radius)
            )
    return colour


def _spots(wing: _Wing, reach: float, places, radius: float) -> np.ndarray:
    """1 inside round spots of this radius at (reach, place), 0 outside, soft between."""
    cover = np.zeros_like(wing.u)
    for across in places:
        u, v = wing.place(reach, across)
        distance = np.hypot(wing.u - u, wing.v - v)
        cover = np.maximum(cover, 1 - _smooth(distance, 0.8 * radius, 1.15 * radius))
    return cover


def _paint_body(picture, b: Butterfly, u, v) -> None:
    dark = _oklch(0.27, 0.03, b.hue + 0.4)
    fur = _oklch(0.45, 0.05, b.hue + 0.4)
    for centre, half_width, half_length in (
        (-0.2, 0.045, 0.27),
        (0.1, 0.075, 0.15),
        (0.28, 0.055, 0.06),
    ):
        inside = np.hypot(u / half_width, (v - centre) / half_length) < 1
        picture[inside] = (
            dark + (fur - dark) * _smooth(1 - u[inside] / half_width, 0.2, 1.0)[..., None]
        )


def _paint_antennae(picture, b: Butterfly, u, v, pixel: float) -> None:
    """Two curved feelers with a club at the end, never thinner than most of a pixel."""
    half_width = max(0.014, 0.38 * pixel)
    s = np.linspace(0, 1, 24)
    curve_u, curve_v = 0.02 + 0.24 * s**1.4, 0.3 + 0.56 * s - 0.12 * s**2
    near = np.nonzero(
        (u < 0.26 + 2 * half_width) & (v > 0.3 - 2 * half_width) & (v < 0.74 + 2 * half_width)
    )
    distance = np.hypot(u[near][:, None] - curve_u, v[near][:, None] - curve_v)  # [points, curve]
    cover = (distance.min(axis=1) < half_width) | (distance[:, -1] < 1.9 * half_width)
    picture[near[0][cover], near[1][cover]] = _oklch(0.27, 0.03, b.hue + 0.4)


def _backdrop(b: Butterfly, px, py):
    """A soft gradient with a few lights out of focus."""
    rng = np.random.Generator(np.random.PCG64(b.backdrop_seed))
    lightness = b.backdrop_lightness + 0.05 * py
    hue = np.full_like(px, b.backdrop_hue)
    for _ in range(3):
        cx, cy, radius = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.35, 0.8)
        glow = np.exp(-((px - cx) ** 2 + (py - cy) ** 2) / (2 * radius**2))
        lightness = lightness + rng.uniform(-0.06, 0.06) * glow
        hue = hue + rng.uniform(-0.6, 0.6) * glow
    return _oklch(np.clip(lightness, 0.7, 0.985), 0.045, hue)
