"""Folders of images as people have them: broken files, odd modes, turned photographs, mixed sizes."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from course_utils import data
from course_utils.data.decode import decode


def load(source, size=None, **options):
    """load_images, quiet; a warning that nobody expected is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return data.load_images(source, size, progress=False, **options)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(seed: int, width: int = 8, height: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def chw(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


def halves(width: int, height: int) -> Image.Image:
    """Red on the left, green on the right, and blue along the top."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 1] = pixels[: height // 4, :, 2] = 255
    return Image.fromarray(pixels)


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    names = ["b.png", "a/z.png", "a/é – 蝶 🦋.png", "a/b/c.PNG", "with space.bmp"]
    for seed, name in enumerate(names):
        save(tmp_path / name, noise(seed))
    images = load(tmp_path)
    order = sorted(range(5), key=lambda seed: names[seed])
    assert torch.equal(images.pixels, torch.stack([chw(noise(seed)) for seed in order]))
    assert images.pixels.dtype == torch.uint8
    assert images.labels is None
    assert images.label_names is None
    assert images.skipped == ()
    assert len(images) == 5
    assert repr(images) == "ImageSet(5 images [3, 8, 8], no labels, 0 skipped)"
    assert torch.equal(load(str(tmp_path)).pixels, images.pixels)
    assert torch.equal(load(tmp_path, limit=2).pixels, images.pixels[:2])
    assert len(load(tmp_path, limit=100)) == 5


def test_what_is_hidden_or_no_image_is_passed_over_in_silence(tmp_path):
    save(tmp_path / "one.png", noise(0))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "metadata.parquet").write_bytes(b"captions of an image folder on the Hub")
    (tmp_path / "._one.png").write_bytes(b"what macOS leaves behind")
    (tmp_path / ".hidden").mkdir()
    save(tmp_path / ".hidden" / "two.png", noise(1))
    save(tmp_path / "__MACOSX" / "three.png", noise(1))
    assert len(load(tmp_path)) == 1


def test_sub_folders_are_labels(tmp_path):
    for seed, name in enumerate(["owl/1.png", "moth/1.png", "moth/2.png", "ant/deep/1.png"]):
        save(tmp_path / name, noise(seed))
    images = load(tmp_path)
    assert images.label_names == ("ant", "moth", "owl")
    assert images.labels.tolist() == [0, 1, 1, 2]
    assert images.labels.dtype == torch.int64
    assert torch.equal(images.pixels[3], chw(noise(0)))
    assert load(tmp_path, limit=1).label_names == images.label_names
    save(tmp_path / "top.png", noise(9))
    assert load(tmp_path).labels is None  # an image outside of all of them: folders, but no classes


def test_sub_folders_named_like_splits_are_splits(tmp_path):
    for seed, name in enumerate(["train/a/1.png", "train/b/1.png", "val/a/1.png", "test/b/1.png"]):
        save(tmp_path / name, noise(seed))
    assert load(tmp_path).labels.tolist() == [0, 1]
    assert torch.equal(load(tmp_path, split="validation").pixels[0], chw(noise(2)))
    assert torch.equal(load(tmp_path, split="test").pixels[0], chw(noise(3)))
    everything = load(tmp_path, split=None)
    assert len(everything) == 4
    assert everything.label_names == ("a", "b")
    with pytest.raises(ValueError, match="no split 'extra', only: test, train, val"):
        load(tmp_path, split="extra")
    save(tmp_path / "plane" / "1.png", noise(5))  # now "train" may as well be the vehicle
    assert load(tmp_path).label_names == ("plane", "test", "train", "val")
    with pytest.raises(ValueError, match="no split 'test', only: train"):
        load(tmp_path, split="test")


def test_the_broken_ones_are_named_and_skipped_with_one_warning(tmp_path):
    for seed in range(150):
        save(tmp_path / f"{seed:03}.png", noise(seed))
    jpeg = encoded(Image.fromarray(noise(0, 64, 64)), "JPEG")
    png = encoded(Image.fromarray(noise(0, 8, 8)))
    broken = {
        "010.png": b"",
        "020.png": b"this is text",
        "070.jpg": jpeg[: len(jpeg) // 2],
        "130.png": png[: len(png) // 2],
        "140.png": png[:60] + bytes(20) + png[80:],
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    with pytest.warns(UserWarning, match="cannot be read") as caught:
        images = data.load_images(tmp_path, progress=False)
    assert len(caught) == 1
    assert caught[0].filename == __file__  # the reader's own line, not one of the library
    message = str(caught[0].message)
    assert "skipped 5 of 151 images" in message
    assert len(images.skipped) == 5
    for name, entry in zip(broken, images.skipped, strict=True):
        assert name in message
        assert entry.startswith(name)
    assert "empty" in images.skipped[0]
    assert "not an image" in images.skipped[1]
    assert "truncated" in images.skipped[2]
    kept = [seed for seed in range(150) if seed not in (10, 20, 130, 140)]
    assert torch.equal(images.pixels, torch.stack([chw(noise(seed)) for seed in kept]))


def test_labels_stay_with_their_images_when_some_are_skipped(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        save(tmp_path / name, noise(0))
    (tmp_path / "a/1.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="skipped 1 of 3"):
        images = data.load_images(tmp_path, progress=False)
    assert images.labels.tolist() == [0, 1]
    with pytest.warns(UserWarning, match="skipped 1"):
        assert len(data.load_images(tmp_path, limit=2, progress=False)) == 2  # two that can be read


def test_a_long_list_of_broken_ones_is_cut_short_in_the_warning_only(tmp_path):
    save(tmp_path / "good.png", noise(0))
    for i in range(30):
        (tmp_path / f"{i:02}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="and 22 more"):
        images = data.load_images(tmp_path, progress=False)
    assert len(images.skipped) == 30


def test_nothing_but_broken_ones_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.jpg").write_bytes(b"text")
    with pytest.raises(
        ValueError, match=r"none of the 2 images in the folder .* can be read.*a.png.*b.jpg"
    ):
        load(tmp_path)


def test_mixed_sizes_need_a_size(tmp_path):
    save(tmp_path / "a.png", noise(0, 20, 10))
    save(tmp_path / "b.png", noise(1, 20, 10))
    save(tmp_path / "c.png", noise(2, 16, 12))
    with pytest.raises(ValueError, match=r"a\.png has 20×10, c\.png has 16×12.*size=10"):
        load(tmp_path)
    assert load(tmp_path, 10).pixels.shape == (3, 3, 10, 10)
    assert load(tmp_path, limit=2).pixels.shape == (2, 3, 10, 20)


def test_the_centre_square_is_kept(tmp_path):
    pixels = noise(0, 24, 8)
    save(tmp_path / "wide.png", pixels)
    assert torch.equal(load(tmp_path, 8).pixels[0], chw(pixels[:, 8:16]))
    save(tmp_path / "wide.png", pixels.transpose(1, 0, 2))
    assert torch.equal(load(tmp_path, 8).pixels[0], chw(pixels.transpose(1, 0, 2)[8:16]))


def test_shrinking_is_antialiased():
    """Stripes one pixel wide become even grey; picking pixels would leave them black or white."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = decode(encoded(Image.fromarray(stripes)), 16, 3)[:, :, 2:-2]
    assert np.abs(small.astype(int) - 127).max() <= 3


def test_a_large_jpeg_is_the_same_picture_as_a_small_one():
    """JPEGs are decoded at a fraction of their size; the result must be that of the long way."""
    y, x = np.mgrid[0:960, 0:1280] / 960
    waves = np.stack(
        [np.sin(90 * x + 30 * y), np.cos(70 * y - 20 * x), np.sin(50 * x * y)], axis=-1
    )
    jpeg = encoded(Image.fromarray((127.5 + 127.5 * waves).astype(np.uint8)), "JPEG", quality=95)
    long_way = (
        Image.open(io.BytesIO(jpeg)).crop((160, 0, 1120, 960)).resize((120, 120), Image.BICUBIC)
    )
    difference = np.abs(decode(jpeg, 120, 3).astype(int) - np.asarray(long_way).transpose(2, 0, 1))
    assert difference.max() <= 6
    # It is 1.1 when only the size wanted itself is left, not twice that.
    assert difference.mean() < 0.6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright(orientation):
    upright = halves(8, 12)
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # how the sensor saw it: the viewer turns it by 270
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turn[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encoded(stored, exif=exif), None, 3)
    np.testing.assert_array_equal(pixels.transpose(1, 2, 0), np.asarray(upright))


def test_garbage_in_the_exif_block_does_not_lose_the_picture():
    jpeg = encoded(halves(16, 16), "JPEG", exif=b"Exif\0\0garbage and more garbage")
    assert decode(jpeg, None, 3).shape == (3, 16, 16)


def rgba() -> Image.Image:
    """Half transparent red on top, nothing below."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2] = (255, 0, 0, 128)
    return Image.fromarray(pixels)


def palette_with_a_hole() -> bytes:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.paste(0, (0, 0, 4, 2))
    return encoded(image, transparency=0)


@pytest.mark.parametrize(
    ("file", "top", "bottom"),
    [
        (encoded(rgba()), (255, 127, 127), (255, 255, 255)),
        (encoded(rgba().convert("LA")), (165, 165, 165), (255, 255, 255)),
        (encoded(rgba(), "TIFF"), (255, 127, 127), (255, 255, 255)),
        (palette_with_a_hole(), (255, 255, 255), (10, 200, 30)),
        (encoded(Image.new("L", (4, 4), 77)), (77, 77, 77), (77, 77, 77)),
        (encoded(Image.new("1", (4, 4), 1)), (255, 255, 255), (255, 255, 255)),
        (encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF"), (255, 0, 0), (255, 0, 0)),
        (encoded(Image.new("RGB", (4, 4), (9, 8, 7)), "WEBP", lossless=True), (9, 8, 7), (9, 8, 7)),
        (encoded(Image.new("P", (4, 4), 0), "GIF"), (0, 0, 0), (0, 0, 0)),
    ],
    ids=["RGBA", "LA", "RGBA TIFF", "P transparent", "L", "1", "CMYK", "WebP", "GIF"],
)
def test_every_mode_becomes_rgb(file, top, bottom):
    pixels = decode(file, None, 3)
    assert pixels.shape == (3, 4, 4)
    assert np.abs(pixels[:, 0, 0].astype(int) - top).max() <= 1
    assert np.abs(pixels[:, 3, 3].astype(int) - bottom).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    grey = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels = decode(encoded(Image.fromarray(grey), kind), None, 1)
    np.testing.assert_array_equal(pixels[0], np.round(grey / 257.0))


def test_what_has_no_black_and_white_is_refused():
    with pytest.raises(ValueError, match="floating-point"):
        decode(encoded(Image.new("F", (4, 4), 0.5), "TIFF"), None, 3)
    with pytest.raises(ValueError, match="beyond 16 bits"):
        decode(encoded(Image.new("I", (4, 4), 70_000), "TIFF"), None, 3)


def test_grey_is_luma():
    pixels = decode(encoded(Image.new("RGB", (4, 4), (200, 100, 50))), None, 1)
    assert pixels.shape == (1, 4, 4)
    assert abs(int(pixels[0, 0, 0]) - round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)) <= 1


def test_truncated_images_stay_broken_only_as_long_as_pillow_says_so(tmp_path, monkeypatch):
    """Whoever sets Pillow's own switch gets what they asked for."""
    jpeg = encoded(Image.fromarray(noise(0, 64, 64)), "JPEG")
    with pytest.raises(OSError, match="truncated"):
        decode(jpeg[:-500], None, 3)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert decode(jpeg[:-500], None, 3).shape == (3, 64, 64)


def test_one_file_is_a_set_of_one(tmp_path):
    save(tmp_path / "cat.png", noise(0))
    assert torch.equal(load(tmp_path / "cat.png").pixels[0], chw(noise(0)))
    (tmp_path / "cats.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"cats\.zip is neither an image"):
        load(tmp_path / "cats.zip")


def test_empty_folders_say_what_they_hold_instead(tmp_path):
    with pytest.raises(ValueError, match="no files at all"):
        load(tmp_path)
    for name in ("a.heic", "b.heic", "c.txt", "README"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"2 × \.heic"):
        load(tmp_path)


@pytest.mark.parametrize(
    "path", ["no/such/folder", "./a", "../a/b", "nothing", "a/b.png", "a/b.parquet", Path("a/b")]
)
def test_a_path_to_nothing_names_both_readings_and_asks_no_network(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*owner/name"):
        load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be"),
        ({"size": 32.0}, "size must be"),
        ({"size": True}, "size must be"),
        ({"limit": 0}, "limit must be"),
        ({"limit": -3}, "limit must be"),
        ({"channels": 4}, "channels must be"),
    ],
)
def test_senseless_options(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, **options)


def test_an_empty_name_is_not_the_current_folder():
    with pytest.raises(ValueError, match="empty"):
        load("")


def test_progress_is_shown_and_can_be_turned_off(tmp_path, capsys):
    save(tmp_path / "a.png", noise(0))
    load(tmp_path)
    assert capsys.readouterr().err == ""
    data.load_images(tmp_path)
    assert "1/1" in capsys.readouterr().err
