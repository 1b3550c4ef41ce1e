from __future__ import annotations

import numpy as np
import pytest
import torch
from hostile import noise, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from vitrail.data import preprocess as module
from vitrail.data.preprocess import Preprocess
from vitrail.errors import ImageError

PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@pytest.mark.parametrize("interpolation", PILLOW)
@pytest.mark.parametrize(("given_size", "size"), [
    ((375, 500), (224, 224)), ((500, 375), (64, 96)), ((28, 28), (224, 224)), ((50, 70), (64, 48)),
    ((300, 20), (32, 32)),
])
def test_resizing_agrees_with_pillow(given_size, size, interpolation):
    picture = noise(*given_size)
    ours = Preprocess(size=size, interpolation=interpolation).apply(picture)
    theirs = np.asarray(Image.fromarray(picture).resize(size[::-1], PILLOW[interpolation])).transpose(2, 0, 1)
    difference = np.abs(ours.numpy().astype(int) - theirs)
    assert ours.shape == (3, *size)
    assert difference.mean() < 0.3  # promised: 1
    assert difference.max() <= 3


def test_the_central_crop_is_resize_and_crop():
    picture, size = noise(375, 500), (224, 224)
    ours = Preprocess(size=size, resize="crop", crop_fraction=0.875).apply(picture)
    whole = Image.fromarray(picture).resize((341, 256), Image.Resampling.BILINEAR)
    theirs = np.asarray(whole)[16:240, 58:282].transpose(2, 0, 1)
    assert np.abs(ours.numpy().astype(int) - theirs).mean() < 0.2


def test_a_crop_keeps_the_shape_of_things():
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 100:200] = 255  # the middle third, a square
    cropped = Preprocess(size=(20, 20), resize="crop").apply(picture)
    assert cropped.float().mean() > 250
    squashed = Preprocess(size=(20, 20)).apply(picture)
    assert abs(squashed.float().mean() - 85) < 2


def test_a_picture_of_the_right_size_is_not_touched(monkeypatch):
    monkeypatch.setattr(module.functional, "interpolate", None)
    picture = noise(28, 28)
    for resize in ("squash", "crop"):
        result = Preprocess(size=28, resize=resize).apply(picture)
        assert np.array_equal(result.numpy(), picture.transpose(2, 0, 1))
        assert result.is_contiguous()
    one = np.zeros((1, 1, 3), np.uint8)
    one.flags.writeable = False
    Preprocess(size=1).apply(one)[:] = 9
    assert (one == 0).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40),
       st.sampled_from(["squash", "crop"]), st.floats(0.3, 1))
def test_every_shape_becomes_the_size(height, width, rows, columns, resize, fraction):
    fraction = fraction if resize == "crop" else 1
    value = Preprocess(size=(rows, columns), resize=resize, crop_fraction=fraction)
    constant = value.apply(np.full((height, width, 3), (3, 150, 255), np.uint8))
    assert constant.shape == (3, rows, columns)
    assert (constant == torch.tensor([3, 150, 255], dtype=torch.uint8)[:, None, None]).all()


@pytest.mark.parametrize("shape", [(1, 60_000, 3), (60_000, 1, 3)])
def test_lines_do_not_take_the_memory_of_squares(shape):
    assert Preprocess(size=224, resize="crop").apply(np.zeros(shape, np.uint8)).shape == (3, 224, 224)
    assert Preprocess(size=224).apply(np.zeros(shape, np.uint8)).shape == (3, 224, 224)


def test_normalize():
    raw = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    before = raw.clone()
    paper = Preprocess(size=16).normalize(raw)
    assert torch.equal(raw, before)
    assert paper.dtype == torch.float32
    torch.testing.assert_close(paper, (raw.float() - 127.5) / 127.5, atol=1e-6, rtol=0)
    value = Preprocess(size=16, mean=(0.1, 0.2, 0.3), std=(0.5, 1, 2))
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 1, 2]).view(3, 1, 1)
    expected = (raw.double() / 255 - mean) / std
    torch.testing.assert_close(value.normalize(raw).double(), expected, atol=1e-6, rtol=0)
    half = value.normalize(raw, torch.bfloat16)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half, value.normalize(raw).bfloat16())


def test_it_survives_json_and_is_a_value():
    value = Preprocess(size=(32, 48), resize="crop", crop_fraction=0.9, interpolation="bicubic", background=(0, 0, 0))
    assert Preprocess.model_validate_json(value.model_dump_json()) == value
    assert hash(value) == hash(value.model_copy())
    assert Preprocess(size=28).size == (28, 28)
    with pytest.raises(ValidationError, match="frozen"):
        value.size = (1, 1)


@pytest.mark.parametrize(("wrong", "message"), [
    ({}, "size"), ({"size": 0}, "greater than or equal to 1"), ({"size": (32, -1)}, "greater than or equal to 1"),
    ({"size": 10**9}, "less than"), ({"size": (1, 2, 3)}, "size"), ({"size": "big"}, "size"),
    ({"size": 28, "resize": "stretch"}, "'squash' or 'crop'"), ({"size": 28, "interpolation": "area"}, "bicubic"),
    ({"size": 28, "std": (1, 0, 1)}, "greater than 0"), ({"size": 28, "mean": (float("nan"), 0, 0)}, "finite"),
    ({"size": 28, "background": (0, 0, 256)}, "255"), ({"size": 28, "colour": 1}, "colour"),
    ({"size": 28, "crop_fraction": 0.875}, "Set resize='crop'"),
    ({"size": 28, "resize": "crop", "crop_fraction": 0}, "0"),
])
def test_wrong_values_are_named(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Preprocess(**wrong)


def test_reading_uses_the_background_and_the_limit():
    clear = saved(np.zeros((4, 4, 4), np.uint8), "PNG")
    red = Preprocess(size=4, background=(255, 0, 0)).read(clear, "clear.png")
    assert red[:, 0, 0].tolist() == [255, 0, 0]
    with pytest.raises(ImageError, match="limit"):
        Preprocess(size=4, max_pixels=15).read(clear, "clear.png")
    grey = np.full((4, 4), 9, np.uint8)
    assert (Preprocess(size=4).read(grey, "array") == 9).all()
