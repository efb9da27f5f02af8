"""Animations, decoded frame by frame with Pillow."""

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from show_page import SEEN, page, picture, png

from course_utils import show


def flat(*levels, side=8):
    """One flat grey sample for each level."""
    return [torch.full((1, 1, side, side), level / 127.5 - 1) for level in levels]


def noise_to_colour(count=24):
    """Frames [4, 3, 32, 32] in which noise thins out, and four smooth colour ramps appear."""
    generator = torch.manual_seed(0)
    ramp = torch.linspace(-0.8, 0.8, 32).expand(4, 3, 32, 32) * torch.rand(
        4, 3, 1, 1, generator=generator
    )
    eps = torch.randn(4, 3, 32, 32, generator=generator)
    return [ramp + eps * (1 - k / (count - 1)) for k in range(count)]


def chunks(data: bytes):
    """The name and body of each chunk of a PNG, read by the specification."""
    place = 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        yield data[place + 4 : place + 8].decode(), data[place + 8 : place + 8 + length]
        place += 12 + length


def moving(image):
    """The frames that move, without the picture in front that stands in for them."""
    assert image.default_image
    return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)][1:]


def test_frames_times_and_endless_loop():
    with page() as shown:
        show.animation(flat(0, 100, 200), SEEN, ms=70, hold_ms=900)
    image = picture(shown[0])
    assert image.format == "PNG"
    assert image.info["loop"] == 0
    assert [frame[5, 5, 0] for frame in moving(image)] == [0, 100, 200]
    times = [
        1000 * int.from_bytes(body[20:22]) / int.from_bytes(body[22:24])
        for name, body in chunks(png(shown[0]))
        if name == "fcTL"
    ]
    assert times == [70, 70, 900]
    assert shown[1]["data"]["text/plain"] == SEEN
    assert shown[0]["metadata"]["image/png"]["width"] == 256
    assert image.width == 512


def test_a_reader_that_cannot_animate_sees_the_last_frame():
    with page() as shown:
        show.animation(flat(0, 100, 200), SEEN)
    names = [name for name, _ in chunks(png(shown[0]))]
    # What comes before the first control is no frame.
    assert names.index("IDAT") < names.index("fcTL")
    assert np.unique(np.asarray(picture(shown[0]))).tolist() == [200]


def test_noise_gets_lighter_and_the_clean_frames_stay_exact():
    frames = noise_to_colour()
    with page() as shown:
        show.animation(frames, SEEN)
    seen = moving(picture(shown[0]))
    assert len(seen) == 24
    exact = ((frames[-1].clamp(-1, 1) + 1) * 127.5).round()
    scale = 10  # 32 pixels on 320: device pixels of one sample, for four across the page
    tile = seen[-1][: 32 * scale, : 32 * scale][scale // 2 :: scale, scale // 2 :: scale]
    np.testing.assert_array_equal(tile, exact[0].permute(1, 2, 0).numpy())
    whole = ((frames[0].clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()[0]
    first = seen[0][: 32 * scale, : 32 * scale][scale // 2 :: scale, scale // 2 :: scale]
    assert 0 < np.abs(first - whole).max() <= 19  # at most half a step of eight levels
    raw = io.BytesIO()
    large = [Image.fromarray(frame) for frame in moving_exact(frames, scale)]
    large[0].save(raw, "PNG", save_all=True, append_images=large[1:])
    assert len(png(shown[0])) < 0.8 * len(raw.getvalue())


def moving_exact(frames, scale):
    """The same animation made plainly: every pixel exact, gaps of eight device pixels."""
    for frame in frames:
        pixels = (
            ((frame.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        )
        tiles = [np.kron(sample, np.ones((scale, scale, 1), np.uint8)) for sample in pixels]
        gap = np.full((32 * scale, 8, 3), 255, np.uint8)
        yield np.concatenate(
            [tiles[0], *(part for tile in tiles[1:] for part in (gap, tile))], axis=1
        )


def test_grey_noise_gets_lighter_too():
    noise = torch.randn(20, 16, 1, 32, 32, generator=torch.manual_seed(0))
    with page() as shown:
        show.animation(noise, SEEN)
    image = picture(shown[0])
    assert image.mode == "L"
    frames = moving(image)
    assert len(frames) == 20
    assert len(np.unique(frames)) == 8


def test_charts_can_move_and_share_a_palette():
    def frame(k):
        fig, ax = show.axes(size=(500, 300))
        ax.scatter(*np.random.default_rng(k).normal(size=(2, 300)), color=show.palette.data)
        ax.set(xlim=(-4, 4), ylim=(-4, 4))
        return fig

    with page() as shown:
        # 18 million pixels: Pillow's own sums overflow.
        show.animation([frame(k) for k in range(30)], SEEN)
    image = picture(shown[0])
    assert image.mode == "P"
    assert image.size == (1000, 600)
    frames = moving(image)
    for k in (0, 29):
        exact = io.BytesIO()
        frame(k).savefig(exact, dpi=200)
        difference = np.abs(frames[k] - np.asarray(Image.open(exact).convert("RGB"), dtype=float))
        assert difference.mean() < 0.1
        assert np.percentile(difference, 99.9) <= 10
        assert frames[k][2, 2].tolist() == [255, 255, 255]


def test_small_images_are_enlarged_and_grey_mixes_with_colour():
    with page() as shown:
        show.animation([Image.new("L", (32, 32), 9), Image.new("RGB", (32, 32), "#102030")], SEEN)
    frames = moving(picture(shown[0]))
    assert [frame[9, 9].tolist() for frame in frames] == [[9, 9, 9], [16, 32, 48]]
    assert frames[0].shape == (512, 512, 3)


@pytest.mark.parametrize("name", ["out.png", "out.GIF"])
def test_saved_for_a_page_without_notebooks(tmp_path, name):
    path = show.save_animation(flat(0, 100, 200), tmp_path / name, ms=70, hold_ms=900)
    image = Image.open(path)
    assert image.info["loop"] == 0
    frames = [frame.convert("L").getpixel((5, 5)) for frame in ImageSequence.Iterator(image)]
    assert frames == ([0, 100, 200] if name.endswith("GIF") else [200, 0, 100, 200])


def test_what_makes_no_animation(tmp_path):
    with page():
        with pytest.raises(ValueError, match="no frames"):
            show.animation([], SEEN)
        with pytest.raises(ValueError, match="one size; got 512×512 and 1"):
            show.animation([torch.zeros(1, 1, 8, 8), torch.zeros(4, 1, 8, 8)], SEEN)
        for times in ({"ms": 0}, {"hold_ms": -1}):
            with pytest.raises(ValueError, match="must be positive"):
                show.animation(flat(1, 2), SEEN, **times)
        with pytest.raises(ValueError, match=r"\.png or a \.gif"):
            show.save_animation(flat(1, 2), tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())
