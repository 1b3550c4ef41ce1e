"""Every kind of picture has its expected pixels here, worked out by hand and not by decode.py or Pillow's convert."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import simplejpeg
from hostile import bomb, corpus, damaged, noise, oriented, png, saved
from PIL import Image, ImageFile

from vitrail.data.decode import FORMATS, SILENCE, decode, from_any, from_jpeg
from vitrail.data.jpeg import is_jpeg, jpeg_size
from vitrail.errors import ImageError

RED = (255, 0, 0)


def over(color: list[int], alpha: int, background: tuple[int, ...]) -> list[int]:
    return [round((c * alpha + b * (255 - alpha)) / 255) for c, b in zip(color, background, strict=True)]


def image(mode: str, *pixels: object) -> Image.Image:
    """A row of pixels."""
    made = Image.new(mode, (len(pixels), 1))
    for column, pixel in enumerate(pixels):
        made.putpixel((column, 0), pixel)
    return made


def numbers(kind: type, *values: float) -> bytes:
    return saved(np.array([values], kind), "TIFF")


PALETTE = image("P", 0, 1, 2)
PALETTE.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
KEYED = [(b"tRNS", struct.pack(">H", 7))]

MODES = {
    "1-bit": (saved(image("1", 0, 1), "PNG"), [[0] * 3, [255] * 3]),
    "grey": (saved(image("L", 0, 77, 255), "PNG"), [[0] * 3, [77] * 3, [255] * 3]),
    "rgb": (saved(image("RGB", (1, 2, 3), (250, 251, 252)), "PNG"), [[1, 2, 3], [250, 251, 252]]),
    "palette": (saved(PALETTE, "PNG"), [[10, 20, 30], [40, 50, 60], [70, 80, 90]]),
    "palette with a transparent color": (saved(PALETTE, "PNG", transparency=1), [[10, 20, 30], RED, [70, 80, 90]]),
    "palette with alphas": (saved(PALETTE, "PNG", transparency=bytes([255, 0, 100])),
                            [[10, 20, 30], RED, over([70, 80, 90], 100, RED)]),
    "gif with a transparent color": (saved(PALETTE, "GIF", transparency=2), [[10, 20, 30], [40, 50, 60], RED]),
    "rgb and alpha": (saved(image("RGBA", (9, 8, 7, 255), (9, 8, 7, 0), (9, 200, 7, 128)), "PNG"),
                      [[9, 8, 7], RED, over([9, 200, 7], 128, RED)]),
    "grey and alpha": (saved(image("LA", (50, 255), (50, 0), (50, 64)), "PNG"),
                       [[50] * 3, RED, over([50] * 3, 64, RED)]),
    "grey with a transparent color": (png(2, 1, 8, 0, b"\0\x07\x08", KEYED), [RED, [8] * 3]),
    "rgb with a transparent color": (png(2, 1, 8, 2, b"\0\1\2\3\1\2\4", [(b"tRNS", struct.pack(">3H", 1, 2, 3))]),
                                     [RED, [1, 2, 4]]),
    "16-bit rgb": (png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 0, 257, 32768, 65535, 999, 256)),
                   [[0, 1, 128], [255, 3, 1]]),
    "16-bit rgb and alpha": (png(2, 1, 16, 6, b"\0" + struct.pack(">8H", 0, 257, 32768, 65535, 0, 0, 0, 0)),
                             [[0, 1, 128], RED]),
    "16-bit grey, tiff": (numbers(np.uint16, 0, 128, 129, 65535), [[0] * 3, [0] * 3, [1] * 3, [255] * 3]),
    "16-bit grey, pgm": (b"P5 2 1 65535\n" + struct.pack(">2H", 32896, 65535), [[128] * 3, [255] * 3]),
    "32-bit in 16": (numbers(np.int32, 0, 25700, 65535), [[0] * 3, [100] * 3, [255] * 3]),
    "32-bit stretched": (numbers(np.int32, -1000, 0, 100_000), [[0] * 3, [3] * 3, [255] * 3]),
    "float to 1": (numbers(np.float32, 0, 0.5, 1), [[0] * 3, [128] * 3, [255] * 3]),
    "float to 255": (numbers(np.float32, 0, 99.6, 255), [[0] * 3, [100] * 3, [255] * 3]),
    "float to 65535": (numbers(np.float32, 0, 25700, 65535), [[0] * 3, [100] * 3, [255] * 3]),
    "float stretched": (numbers(np.float32, -1, 0, 1), [[0] * 3, [128] * 3, [255] * 3]),
    "cmyk": (saved(image("CMYK", (0, 255, 255, 0), (10, 20, 30, 40), (0, 0, 0, 255)), "TIFF"),
             [RED, [245 * 215 / 255, 235 * 215 / 255, 225 * 215 / 255], [0, 0, 0]]),
    "ycbcr": (saved(image("YCbCr", (100, 128, 128), (76, 85, 255)), "TIFF"), [[100] * 3, [254, 0, 0]]),
}


@pytest.mark.fault("D5", "Every mode (CMYK, 16 bits, palette, alpha and others) has its documented pixels.")
@pytest.mark.parametrize("kind", MODES)
def test_every_mode_has_its_pixels(kind):
    file, expected = MODES[kind]
    picture = decode(file, kind, background=RED)
    assert picture.dtype == np.uint8
    assert picture.shape == (1, len(expected), 3)
    assert np.abs(picture[0] - np.array(expected, float)).max() <= 1.01


def test_the_background_is_white_unless_stated():
    assert decode(saved(image("RGBA", (9, 8, 7, 0)), "PNG"), "x").tolist() == [[[255, 255, 255]]]


@pytest.mark.fault("D5", "Sixteen bits are scaled, not clipped.")
def test_sixteen_bits_are_scaled_and_not_clipped():
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert (decode(saved(ramp, "PNG"), "ramp")[:, :, 1] == np.floor(ramp / 257 + 0.5)).all()


def test_lab_follows_the_formula():
    lightness, a, b = 60.0, 20, -30
    file = saved(image("LAB", (round(lightness * 255 / 100), a + 128, b + 128)), "TIFF")
    y = (lightness + 16) / 116
    d50 = np.array([0.9642, 1, 0.8249]) * [f**3 if f > 6 / 29 else 3 * (6 / 29) ** 2 * (f - 4 / 29)
                                           for f in (y + a / 500, y, y - b / 200)]
    to_linear = np.array([[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]])
    linear = np.clip(to_linear @ d50, 0, 1)
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(decode(file, "lab")[0, 0] - expected).max() < 2


def test_cmyk_jpeg_keeps_its_colors():
    picture = np.full((16, 16, 3), (200, 60, 30), np.uint8)
    file = saved(Image.fromarray(picture).convert("CMYK"), "JPEG", quality=98)
    assert np.abs(decode(file, "cmyk").astype(int) - picture).max() < 6


@pytest.mark.fault("D5", "Of animations and pages the first is taken.")
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), color) for color in ((0, 0, 255), (0, 255, 0), RED)]
    options = {"lossless": True} if kind == "WEBP" else {}
    file = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (decode(file, "frames") == (0, 0, 255)).all()


UPRIGHT = [[1, 2, 3], [4, 5, 6]]
STORED = {  # what the camera stored for each orientation, so that UPRIGHT is what one sees (EXIF 2.32, 4.6.4)
    1: [[1, 2, 3], [4, 5, 6]], 2: [[3, 2, 1], [6, 5, 4]], 3: [[6, 5, 4], [3, 2, 1]], 4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]], 6: [[3, 6], [2, 5], [1, 4]], 7: [[6, 3], [5, 2], [4, 1]], 8: [[4, 1], [5, 2], [6, 3]],
}


@pytest.mark.fault("D5", "The orientation of EXIF is applied.")
@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "PILLOW JPEG"])
def test_orientation_is_applied(kind, orientation):
    blocks = np.kron(np.array(STORED[orientation], np.uint8) * 40, np.ones((16, 16), np.uint8))
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if "JPEG" in kind else {}
    file = oriented(np.repeat(blocks[:, :, None], 3, axis=2), kind.split()[-1], orientation, **options)
    picture = from_any(file, "x", RED, 10**6) if kind == "PILLOW JPEG" else decode(file, "x")
    assert picture.flags.c_contiguous
    assert np.rint(picture[8::16, 8::16, 0] / 40).tolist() == UPRIGHT


@pytest.mark.parametrize("damage", [b"", b"MM", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03"])
def test_damaged_exif_counts_as_upright(damage):
    file = saved(noise(16, 32), "JPEG", exif=b"Exif\0\0" + damage)
    assert decode(file, "x").shape == (16, 32, 3)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientations_count_as_upright(orientation):
    assert decode(oriented(noise(16, 32), "JPEG", orientation), "x").shape == (16, 32, 3)
    assert decode(oriented(noise(16, 32), "PNG", orientation), "x").shape == (16, 32, 3)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (64, 48), (101, 67)])
def test_both_jpeg_paths_give_the_same_pixels(size, subsampling):
    for options in ({}, {"progressive": True}):
        file = saved(noise(*size), "JPEG", quality=85, subsampling=subsampling, **options)
        fast, slow = from_jpeg(file, "x", 10**6, None), from_any(file, "x", RED, 10**6)
        assert np.abs(fast.astype(int) - slow).max() <= 1


def test_a_jpeg_with_stray_bytes_is_read_by_the_lenient_path():
    file = saved(noise(), "JPEG")
    stray = file[:2] + b"\xff\xfe\0\x04ab" + b"\0\0" + file[2:]  # two bytes that belong to no segment
    assert np.array_equal(decode(stray, "x"), decode(file, "x"))


def test_a_jpeg_may_be_decoded_smaller_but_not_too_small():
    file = saved(noise(240, 320), "JPEG", quality=95)
    for least, expected in (((240, 320), (240, 320)), ((121, 100), (240, 320)), ((120, 160), (120, 160)),
                            ((31, 40), (60, 80)), ((1, 1), (30, 40))):
        picture = decode(file, "x", min_size=least)
        assert picture.shape[:2] == expected
        small = Image.fromarray(decode(file, "x")).resize(expected[::-1], Image.Resampling.BOX)
        assert np.abs(picture.astype(int) - np.asarray(small)).mean() < 4
    turned = oriented(noise(240, 320), "JPEG", 6)
    assert jpeg_size(turned) == (320, 240)
    assert decode(turned, "x", min_size=(160, 120)).shape == (160, 120, 3)
    assert decode(turned, "x", min_size=(120, 160)).shape == (320, 240, 3)


@pytest.mark.fault("D4", "A picture with too many pixels is refused from its header, before memory is taken.")
def test_large_pictures_are_refused_before_decoding(monkeypatch):
    def never(*_, **__):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", never)
    for side, count in ((9400, "88.36"), (13300, "176.9"), (13400, "179.6")):  # silent, warned of, refused by Pillow
        with pytest.raises(ImageError, match=f"{count} million pixels, more than the limit of 64 million"):
            decode(bomb(side), "bomb.png")
    with pytest.raises(ImageError, match="32 x 24 = "):
        decode(saved(noise(24, 32), "JPEG"), "x", max_pixels=24 * 32 - 1)
    with pytest.raises(ImageError, match="70000 x 1: a side is longer"):
        decode(png(70000, 1, 1, 0, bytes(8751)), "line.png")


CUTS = [(kind, cut) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "PPM") for cut in (0.05, 0.1, 0.3, 0.6, 0.9, -2)
        if (kind, cut) not in (("PNG", -2), ("GIF", -2))]  # there all pixels stand before the last two bytes


@pytest.mark.fault("D2", "A picture that is cut anywhere, also by its last bytes, is an error of that picture.")
@pytest.mark.parametrize(("kind", "cut"), CUTS)
def test_a_file_cut_short_is_an_error(kind, cut):
    file = saved(noise(64, 64), kind)
    end = cut if cut < 0 else int(len(file) * cut)
    with pytest.raises(ImageError) as caught:
        decode(file[:end], "photos/cut.jpg", min_size=(8, 8))
    assert caught.value.path == "photos/cut.jpg"
    assert "photos" not in caught.value.reason
    assert len(caught.value.reason) < 160


@pytest.mark.parametrize("garbage", [
    b"", b"\0", b"\xff\xd8\xff", b"GIF89a", b"hello, I am a text file\n" * 50, bytes(4096),
    np.random.default_rng(0).bytes(4096), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
])
def test_what_is_not_a_picture_is_an_error(garbage):
    with pytest.raises(ImageError, match=r"empty|not a picture|damaged"):
        decode(garbage, "x")


def test_numbers_that_are_not_finite_are_an_error():
    for value in (np.nan, np.inf):
        with pytest.raises(ImageError, match="finite"):
            decode(numbers(np.float32, 0, value), "x")


def test_only_image_errors_come_out_of_damaged_files():
    random, good = np.random.default_rng(2), list(corpus().items())
    read = 0
    for turn in range(3000):
        name, file = good[turn % len(good)]
        with contextlib.suppress(ImageError):
            picture = decode(damaged(file, random), name, min_size=(8, 8) if turn % 2 else None, max_pixels=10**6)
            assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
            read += 1
    assert 0 < read < 3000


def test_the_corpus_covers_the_formats():
    opened = {Image.open(io.BytesIO(file)).format for file in corpus().values()}
    assert opened <= set(FORMATS)
    assert len(opened) >= 7


def test_warnings_of_pillow_stay_inside():
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:  # a size that Pillow warns of; warnings are errors in these tests
        for future in [pool.submit(decode, bomb(9500), "x") for _ in range(16)]:
            assert isinstance(future.exception(), ImageError)
    assert warnings.filters == before
    assert SILENCE not in warnings.filters


def test_pixels_pass_as_they_are():
    picture = noise()
    assert np.array_equal(decode(picture, "x"), picture)
    grey = decode(picture[:, :, 0], "x")
    assert np.array_equal(grey, np.stack([picture[:, :, 0]] * 3, axis=2))
    assert decode(picture[::-1, ::2], "x").flags.c_contiguous


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8),
                                    np.zeros((0, 4), np.uint8), np.zeros((4, 0, 3), np.uint8)])
def test_wrong_pixels_are_named(pixels):
    with pytest.raises(ImageError, match="pixels"):
        decode(pixels, "x")


def test_jpeg_size_knows_what_it_cannot_help_with():
    picture = noise(24, 32)
    assert jpeg_size(saved(picture, "JPEG")) == (24, 32)
    assert jpeg_size(saved(Image.fromarray(picture).convert("CMYK"), "JPEG")) is None
    assert jpeg_size(saved(picture, "PNG")) is None
    assert jpeg_size(picture) is None
    assert is_jpeg(saved(picture, "JPEG")[:3])
    assert jpeg_size(b"\xff\xd8\xff") is None
