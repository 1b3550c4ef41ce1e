"""A part of a JPEG by vitrail's own C++: the bits that libjpeg-turbo and torch give, or an honest None."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from hostile import noise, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vitrail import native
from vitrail.data.augment import Augmentation
from vitrail.data.order import Key
from vitrail.data.preprocess import Preprocess, resize
from vitrail.data.views import EvalView, TrainView, View
from vitrail.errors import ImageError
from vitrail.native import build, looks

pytestmark = pytest.mark.skipif(bool(native.prepare()), reason=native.prepare())
Sizes = tuple[int, int]


@pytest.fixture
def kept_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in training."""
    monkeypatch.setattr(looks, "pages_are_kept", True)


def turbo(file: bytes, part: tuple[int, int, int, int], whole: Sizes, window: tuple[int, int, int, int],
          bicubic: bool) -> np.ndarray:
    """The same by libjpeg-turbo and torch."""
    top, left, height, width = part
    pixels = simplejpeg.decode_jpeg(file)[top:top + height, left:left + width]
    resized = resize(pixels, whole, "bicubic" if bicubic else "bilinear")
    top, left, height, width = window
    return resized[:, top:top + height, left:left + width]


def all_of(size: Sizes) -> tuple[int, int, int, int]:
    return (0, 0, *size)


def parts(size: st.SearchStrategy[int], draw: Any) -> tuple[int, int]:
    """A beginning and a length within a side."""
    side = draw(size)
    length = draw(st.integers(1, side))
    return draw(st.integers(0, side - length)), length


@given(st.data(), st.integers(1, 90), st.integers(5, 130), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_part_at_every_size_is_the_same_to_the_bit(data: st.DataObject, height: int, width: int,
                                                         bicubic: bool) -> None:
    options: dict[str, Any] = {"quality": data.draw(st.integers(2, 100)), "optimize": data.draw(st.booleans())}
    pixels: Any = noise(height, width, data.draw(st.integers(0, 9)))
    if data.draw(st.booleans()):
        options["restart_marker_blocks"] = data.draw(st.integers(4, 30))
    if data.draw(st.integers(0, 5)) == 0:
        pixels = Image.fromarray(pixels).convert("L")
    else:
        options["subsampling"] = data.draw(st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]))
    file = saved(pixels, "JPEG", **options)
    (top, rows), (left, columns) = parts(st.just(height), data.draw), parts(st.just(width), data.draw)
    whole = (rows, columns) if data.draw(st.booleans()) else data.draw(st.tuples(*[st.integers(1, 140)] * 2))
    (upper, high), (first, wide) = parts(st.just(whole[0]), data.draw), parts(st.just(whole[1]), data.draw)
    asked = (top, left, rows, columns), whole, (upper, first, high, wide), bicubic
    found = native.look(file, (height, width), *asked)
    assert found is not None
    np.testing.assert_array_equal(found, turbo(file, *asked))


@pytest.mark.parametrize(("size", "whole"), [((700, 900), (7, 9)), ((700, 900), (33, 32)), ((64, 2000), (224, 224)),
                                             ((2000, 64), (224, 300)), ((9, 9), (500, 400))])
@pytest.mark.parametrize("bicubic", [False, True])
def test_very_much_smaller_larger_and_narrower(size: Sizes, whole: Sizes, bicubic: bool) -> None:
    file = saved(noise(*size), "JPEG", quality=93)
    found = native.look(file, size, all_of(size), whole, all_of(whole), bicubic)
    assert found is not None
    np.testing.assert_array_equal(found, turbo(file, all_of(size), whole, all_of(whole), bicubic))


def test_black_and_white_noise_at_every_quality() -> None:
    """The largest numbers, the longest codes, and samples beyond what fits."""
    extreme = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (48, 64, 3))
    for quality in range(1, 101, 3):
        file = saved(extreme, "JPEG", quality=quality, subsampling="4:2:0")
        found = native.look(file, (48, 64), all_of((48, 64)), (48, 64), all_of((48, 64)), False)
        assert found is not None
        np.testing.assert_array_equal(found, simplejpeg.decode_jpeg(file).transpose(2, 0, 1))


@pytest.mark.parametrize("file", [
    b"", b"\xff\xd8", b"\xff\xd8\xff", b"no picture", saved(noise(), "PNG"),
    saved(noise(), "JPEG", progressive=True), saved(Image.fromarray(noise()).convert("CMYK"), "JPEG"),
    saved(noise(), "JPEG", keep_rgb=True), saved(noise(24, 4), "JPEG", subsampling="4:2:0"),
    saved(noise(), "JPEG") + b"more", saved(noise(), "JPEG").replace(b"JFIF\0\1", b"JFIF\0\7"),
], ids=["empty", "start", "marker", "text", "PNG", "progressive", "CMYK", "RGB", "narrow", "longer", "revision"])
def test_other_files_are_left_to_libjpeg(file: bytes) -> None:
    found = native.look(file, (24, 32), all_of((24, 32)), (8, 8), all_of((8, 8)), False)
    if file.endswith(b"more"):  # what follows the end of the picture is nobody's business
        assert found is not None
    else:
        assert found is None


def test_a_file_of_another_size_than_thought_is_left() -> None:
    file = saved(noise(), "JPEG")
    assert native.look(file, (24, 31), all_of((24, 31)), (8, 8), all_of((8, 8)), False) is None


@pytest.mark.parametrize(("part", "whole", "window"), [
    ((0, 0, 24, 33), (8, 8), (0, 0, 8, 8)), ((20, 0, 5, 5), (8, 8), (0, 0, 8, 8)),
    ((-1, 0, 5, 5), (8, 8), (0, 0, 8, 8)), ((0, 0, 24, 32), (8, 8), (1, 0, 8, 8)),
    ((0, 0, 24, 32), (8, 8), (0, -1, 8, 8)), ((0, 0, 0, 4), (8, 8), (0, 0, 8, 8)),
    ((0, 0, 24, 32), (0, 0), (0, 0, 8, 8)), ((0, 0, 2**62, 4), (8, 8), (0, 0, 8, 8))])
def test_what_makes_no_sense_is_not_done(part: looks.Area, whole: Sizes, window: looks.Area) -> None:
    assert native.look(saved(noise(), "JPEG"), (24, 32), part, whole, window, False) is None


def test_wherever_a_file_is_cut_off_it_is_left() -> None:
    file = saved(noise(17, 19), "JPEG", restart_marker_blocks=4)
    for length in range(len(file)):
        assert native.look(file[:length], (17, 19), all_of((17, 19)), (8, 8), all_of((8, 8)), False) is None


def damaged(file: bytes, random: np.random.Generator) -> bytes:
    """One to three bytes of it changed, taken out, put in, or all from a place on."""
    content = bytearray(file)
    for _ in range(random.integers(1, 4)):
        place, way = int(random.integers(2, max(3, len(content)))), random.integers(5)
        some = random.integers(0, 256, random.integers(1, 20), dtype=np.uint8).tobytes()
        if way == 0:
            content[place:place + 1] = some[:1]
        elif way == 1 and content[place:]:
            content[place] ^= 1 << int(random.integers(8))
        elif way == 2:
            del content[place:place + len(some)]
        elif way == 3:
            content[place:place] = some
        elif random.integers(4) == 0:
            del content[place:]
    return bytes(content)


@pytest.mark.fault("D3", "A JPEG that vitrail's own reader takes is one that libjpeg takes without a warning, to the "
                         "same pixels; 3,000 damaged ones.")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="libjpeg-turbo rounds what no picture has by processor")
def test_of_a_damaged_file_either_nothing_or_what_libjpeg_makes_of_it() -> None:
    random, taken = np.random.default_rng(0), 0
    whole = [saved(noise(31, 45), "JPEG", quality=quality, **options) for quality in (10, 60, 95) for options in (
        {"subsampling": "4:4:4"}, {"subsampling": "4:2:2", "optimize": True},
        {"subsampling": "4:2:0", "restart_marker_blocks": 3})]
    for number in range(3000):
        file = damaged(whole[number % len(whole)], random)
        found = native.look(file, (31, 45), all_of((31, 45)), (31, 45), all_of((31, 45)), False)
        if found is not None:
            taken += 1
            np.testing.assert_array_equal(found, simplejpeg.decode_jpeg(file).transpose(2, 0, 1))
    assert taken > 300


VIEWS: list[View] = [
    EvalView(Preprocess(size=24)), EvalView(Preprocess(size=(20, 30), resize="crop", crop_fraction=0.875)),
    EvalView(Preprocess(size=32, resize="crop", interpolation="bicubic")),
    TrainView(Preprocess(size=24), Augmentation(crop="random-resized", flip=0.5)),
    TrainView(Preprocess(size=(16, 32), interpolation="bicubic"), Augmentation(crop="inception", flip=0.5)),
    TrainView(Preprocess(size=(20, 40)), Augmentation(crop="simple", flip=0.5)),
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("file", [
    saved(noise(60, 50), "JPEG"), saved(Image.fromarray(noise(37, 81)).convert("L"), "JPEG"),
    saved(noise(300, 17), "JPEG", subsampling="4:2:2"), saved(noise(50, 60), "JPEG", progressive=True),
    saved(noise(), "PNG"), saved(noise(600, 500), "JPEG"),
    saved(noise(40, 30), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")])
def test_views_are_the_same_with_and_without(view: View, file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [view.looks(file, "x", Key(0, epoch, 0))["image"] for epoch in range(12)]
    monkeypatch.setattr(native, "look", lambda *given: None)
    for epoch, seen in enumerate(ours):
        assert torch.equal(seen, view.looks(file, "x", Key(0, epoch, 0))["image"])


def test_a_view_of_a_jpeg_asks_for_no_more_than_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[looks.Area] = []
    look = native.look
    monkeypatch.setattr(native, "look", lambda *given: (asked.append(given[4]), look(*given))[1])
    monkeypatch.setattr("vitrail.data.views.decode", None)  # nobody decodes the whole picture
    monkeypatch.setattr("vitrail.data.preprocess.decode", None)
    file = saved(noise(60, 50), "JPEG")
    for view in VIEWS:
        view.looks(file, "x", Key(0, 0, 0))
    sizes = [view.preprocess.size for view in VIEWS[:-1]]  # type: ignore[attr-defined]
    assert [window[2:] for window in asked] == [*sizes, (48, 40)]  # a simple crop is cut from what covers 20 x 40


@pytest.mark.parametrize("view", [VIEWS[0], VIEWS[3]])
def test_too_many_pixels_are_refused_before_they_are_read(view: Any) -> None:
    small = view.preprocess.model_copy(update={"max_pixels": 1000})
    with pytest.raises(ImageError, match="more than the limit"):
        type(view)(small, *([view.augmentation] if isinstance(view, TrainView) else [])).looks(
            saved(noise(60, 50), "JPEG"), "x", Key(0, 0, 0))


def test_threads_with_files_of_different_codes_do_not_disturb_each_other() -> None:
    files = [saved(noise(90, 70, seed), "JPEG", quality=20 + 9 * seed, optimize=seed % 2 == 0) for seed in range(8)]
    asked = (90, 70), all_of((90, 70)), (90, 70), all_of((90, 70)), False
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: native.look(files[number % 8], *asked), range(400)))
    for number, pixels in enumerate(found):
        np.testing.assert_array_equal(pixels, simplejpeg.decode_jpeg(files[number % 8]).transpose(2, 0, 1))


@pytest.mark.parametrize("given", [
    torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16),
    torch.randint(0, 256, (3, 3, 5, 7), dtype=torch.uint8), torch.zeros(0, 3, 8, 8, dtype=torch.uint8),
    torch.randint(0, 256, (2, 9, 8, 3), dtype=torch.uint8).permute(0, 3, 1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_normalized_numbers_are_the_same_to_the_bit(given: torch.Tensor, dtype: torch.dtype,
                                                    kept_pages: None, monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = Preprocess(size=8, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    ours = preprocess.normalize(given, dtype)
    monkeypatch.setattr(native, "normalize", lambda *given: None)
    assert torch.equal(ours, preprocess.normalize(given, dtype))
    assert ours.dtype == dtype


@pytest.mark.parametrize(("raw", "scale", "shift"), [
    (torch.zeros(1, 3, 4, 4), torch.ones(3), torch.ones(3)),
    (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.ones(3, dtype=torch.float64), torch.ones(3)),
    (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.ones(3), torch.ones(3, dtype=torch.bfloat16)),
    (torch.zeros(1, 4, 4, 4, dtype=torch.uint8), torch.ones(3), torch.ones(3)),
    (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.ones(6)[::2], torch.ones(3)),
    (torch.zeros(3, 4, 4, dtype=torch.uint8), torch.ones(3), torch.ones(3)),
    (torch.zeros(1, 3, 4, 4, dtype=torch.uint8, device="meta"), torch.ones(3), torch.ones(3))])
def test_other_numbers_are_left_to_torch(raw: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor,
                                         kept_pages: None) -> None:
    assert native.normalize(raw, scale, shift) is None


def test_default_types_and_devices_change_nothing(kept_pages: None) -> None:
    raw = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            seen = Preprocess(size=4).normalize(raw)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(seen, torch.ones(1, 3, 4, 4))


def test_bytes_of_other_types_are_read_too() -> None:
    file = saved(noise(), "JPEG")
    assert native.look(bytearray(file), (24, 32), all_of((24, 32)), (8, 8), all_of((8, 8)), False) is None  # type: ignore[arg-type]


def test_whatever_happens_to_the_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(sources: build.Sources) -> None:
        raise MemoryError("none left")

    monkeypatch.setattr(build, "library", broken)
    monkeypatch.setattr(looks, "started", None)
    assert native.prepare() == "they cannot be compiled: MemoryError: none left"


def test_where_others_round_in_another_way_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setattr(looks, "started", None)
    assert native.prepare() == "ATEN_CPU_CAPABILITY is set"


def test_nobody_waits_for_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks.Compilation, "compile", lambda self: None)  # it never has a result
    monkeypatch.setattr(looks, "started", None)
    file = saved(noise(), "JPEG")
    assert native.look(file, (24, 32), all_of((24, 32)), (8, 8), all_of((8, 8)), False) is None
    assert EvalView(Preprocess(size=8))(file, "x").shape == (3, 8, 8)


def test_other_processors_are_told_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRAIL_HOME", str(tmp_path))
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-mno-avx2"))
    with pytest.raises(build.UnavailableError, match="made for processors with AVX2"):
        build.load(build.PICTURES)


@pytest.mark.skipif("avx512vbmi" not in build.processor().split(), reason="this processor has no AVX-512")
def test_processors_without_avx512_give_the_same_bits(tmp_path: Path) -> None:
    """The other instructions, on this processor, through the same tests."""
    chosen = ["-q", "-n0", "-p", "no:cacheprovider", "-k", "same or smaller or noise", __file__]
    program = ("import sys; from vitrail.native import build; build.FLAGS = (*build.FLAGS, '-mno-avx512f'); "
               f"import pytest; sys.exit(pytest.main({chosen!r}))")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False,
                           env=os.environ | {"VITRAIL_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
                           cwd=Path(__file__).parents[2])
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count(".") >= 10
