"""Pictures made in memory, seeded and small: one of every kind that decodes, and ways to damage them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from vitrail.data.source import Split
from vitrail.errors import ImageError


def noise(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """uint8 [height, width, 3]: a smooth picture with some noise, so that JPEG and resizing have something to do."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows * random.uniform(0.05, 0.4) + columns * random.uniform(0.05, 0.4)) for _ in range(3)]
    values = np.stack(waves, axis=2) * 90 + 128 + random.normal(0, 8, (height, width, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


def saved(pixels: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    """The file of a picture in the format `kind`."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, kind, **options)
    return file.getvalue()


def png(
    width: int, height: int, bits: int, color: int, rows: bytes, chunks: Sequence[tuple[bytes, bytes]] = ()
) -> bytes:
    """A PNG by hand, for the kinds that Pillow does not write. `rows`: each with its filter byte in front."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    extra = b"".join(chunk(kind, data) for kind, data in chunks)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def bomb(side: int = 9400) -> bytes:
    """A one-bit PNG of side x side: 10.8 kB that Pillow decodes to half a gigabyte without a warning."""
    return png(side, side, 1, 0, (b"\0" + bytes(-(-side // 8))) * side)


def oriented(pixels: np.ndarray, kind: str, orientation: int, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(pixels, kind, exif=exif, **options)


def corpus() -> dict[str, bytes]:
    """One good small file of each kind, by name: what mutation starts from."""
    picture, grey = noise(), noise()[:, :, 0]
    return {
        "rgb.jpg": saved(picture, "JPEG"), "grey.jpg": saved(grey, "JPEG"),
        "progressive.jpg": saved(picture, "JPEG", progressive=True),
        "cmyk.jpg": saved(Image.fromarray(picture).convert("CMYK"), "JPEG"),
        "turned.jpg": oriented(picture, "JPEG", 6),
        "rgb.png": saved(picture, "PNG"), "sixteen.png": saved(grey.astype(np.uint16) * 257, "PNG"),
        "alpha.png": saved(np.dstack([picture, grey]), "PNG"),
        "palette.png": saved(Image.fromarray(picture).quantize(16), "PNG", transparency=0),
        "bits.png": saved(Image.fromarray(grey).convert("1"), "PNG"),
        "still.gif": saved(Image.fromarray(picture).quantize(16), "GIF"),
        "rgb.bmp": saved(picture, "BMP"), "rgb.ppm": saved(picture, "PPM"), "rgb.webp": saved(picture, "WEBP"),
        "rgb.tif": saved(picture, "TIFF"), "packed.tif": saved(picture, "TIFF", compression="tiff_lzw"),
        "float.tif": saved(grey.astype(np.float32), "TIFF"), "lab.tif": saved(Image.new("LAB", (9, 7)), "TIFF"),
    }


def damaged(file: bytes, random: np.random.Generator) -> bytes:
    """One random mutation: bytes changed, a stretch removed, doubled or zeroed, or the end cut off."""
    data, size = bytearray(file), len(file)
    start = int(random.integers(size))
    end = min(size, start + int(random.integers(1, 64)))
    match int(random.integers(5)):
        case 0:
            for place in random.integers(size, size=int(random.integers(1, 8))):
                data[int(place)] = int(random.integers(256))
        case 1:
            del data[start:end]
        case 2:
            data[start:start] = data[start:end]
        case 3:
            data[start:end] = bytes(end - start)
        case 4:
            del data[start:]
    return bytes(data)


class Listed:
    """A reader over a list of files or arrays; ImageError where there is None."""

    def __init__(self, items: Sequence[bytes | np.ndarray | None]) -> None:
        self.items = items

    def read(self, key: int) -> bytes | np.ndarray:
        item = self.items[key]
        if item is None:
            raise ImageError(f"picture-{key}", "it is gone")
        return item


def split_of(items: Sequence[bytes | np.ndarray | None], classes: int = 10) -> Split:
    count = len(items)
    labels = np.arange(count, dtype=np.int64) % classes
    return Split([f"picture-{key}" for key in range(count)], np.arange(count), labels, Listed(items))
