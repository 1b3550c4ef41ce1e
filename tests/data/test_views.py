from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hostile import noise, oriented, saved
from PIL import Image

from vitrail.data.augment import Augmentation
from vitrail.data.decode import decode
from vitrail.data.order import Key
from vitrail.data.preprocess import Preprocess, resize
from vitrail.data.views import EvalView, TrainView
from vitrail.errors import ImageError

SMALL = Preprocess(size=(32, 40))
INCEPTION = Augmentation(crop="random-resized", flip=0.5)
VIEWS = [EvalView(SMALL), TrainView(SMALL, Augmentation()), TrainView(SMALL, INCEPTION),
         TrainView(SMALL, Augmentation(crop="pad", flip=0.5, erase=0.5, saturation=0.5)),
         TrainView(SMALL, Augmentation(crop="inception", flip=0.5, randaugment={"layers": 2, "magnitude": 15})),
         TrainView(SMALL, Augmentation(crop="simple", flip=0.5, three_augment=True, brightness=0.3)),
         TrainView(SMALL, Augmentation(crop="simple", trivial_augment=True, erase=0.5, erase_with="noise"))]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("encoded", [
    saved(noise(90, 120), "JPEG"), saved(noise(90, 120), "PNG"), noise(90, 120), noise(32, 40), noise(20, 30)[:, :, 0],
    noise(1, 1)])
def test_every_view_of_everything_is_the_size(view, encoded):
    for sample in range(5):
        result = view(encoded, "x", Key(0, 0, sample))
        assert (result.dtype, tuple(result.shape)) == (torch.uint8, (3, 32, 40))
        assert result.is_contiguous()
        assert torch.equal(result, view(encoded, "x", Key(0, 0, sample)))
    assert pickle.loads(pickle.dumps(view)) == view


def test_the_evaluation_view_is_preprocess_and_nothing_else():
    file = saved(noise(400, 300), "JPEG")
    expected = SMALL.apply(decode(file, "x"))
    assert torch.equal(EvalView(SMALL)(file, "x"), expected)
    assert torch.equal(TrainView(SMALL, Augmentation())(file, "x", Key(1, 2, 3)), expected)


def test_keys_vary_the_training_view():
    picture = noise(90, 120)
    for view in VIEWS[2:]:
        seen = {view(picture, "x", Key(*key)).numpy().tobytes() for key in np.ndindex(2, 3, 4)}
        assert len(seen) >= (16 if view.augmentation.randaugment.layers else 24)  # it moves small pictures out of sight


def test_files_and_their_pixels_get_the_same_crop():
    picture = noise(60, 80)
    file = saved(picture, "JPEG", quality=95)
    for sample in range(20):
        key = Key(0, 0, sample)
        from_file = VIEWS[2](file, "x", key)
        assert torch.equal(from_file, VIEWS[2](decode(file, "x"), "x", key))
        assert torch.equal(VIEWS[2](saved(picture, "PNG"), "x", key), VIEWS[2](picture, "x", key))


@pytest.mark.parametrize(("orientation", "ratio"), [(1, 4 / 3), (3, 4 / 3), (6, 3 / 4)])
def test_decoding_a_fraction_hardly_changes_the_pixels(orientation, ratio):
    """With the whole picture as the box: others are rounded to pixels of the fraction, so they differ."""
    photograph = np.asarray(Image.fromarray(noise(60, 80)).resize((640, 480), Image.Resampling.BICUBIC))
    file = oriented(photograph, "JPEG", orientation, quality=95)
    whole = TrainView(SMALL, Augmentation(crop="random-resized", area=(1, 1), ratio=(ratio, ratio)))
    fraction, full = whole(file, "x", Key(0, 0, 0)), whole(decode(file, "x"), "x", Key(0, 0, 0))
    assert 0 < (fraction.float() - full.float()).abs().mean() < 2.5  # not 0: the fraction was used


def test_a_large_picture_is_decoded_at_a_fraction(monkeypatch):
    asked = []

    def spy(*given, **options):
        picture = decode(*given, **options)
        asked.append(picture.shape[:2])
        return picture

    monkeypatch.setattr("vitrail.data.views.decode", spy)
    file = saved(noise(480, 640), "JPEG")
    view = TrainView(SMALL, Augmentation(crop="random-resized", area=(0.9, 1), ratio=(1, 1.2)))
    for sample in range(10):
        view(file, "x", Key(0, 0, sample))
    assert set(asked) == {(60, 80)}


def test_a_simple_crop_shows_a_part_of_the_whole_at_the_smallest_size_that_covers() -> None:
    picture = noise(60, 80)
    whole = resize(picture, (32, 43), "bilinear")
    padded = np.pad(whole, ((0, 0), (4, 4), (4, 4)), mode="reflect")
    view = TrainView(SMALL, Augmentation(crop="simple"))
    for sample in range(10):
        seen = view(picture, "x", Key(0, 0, sample)).numpy()
        places = np.lib.stride_tricks.sliding_window_view(padded, (3, 32, 40))[0]
        assert (places == seen).all(axis=(2, 3, 4)).any()


def test_a_simple_crop_decodes_a_large_picture_at_a_fraction(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr("vitrail.data.views.decode", lambda *given, **options: (
        picture := decode(*given, **options), asked.append(picture.shape[:2]))[0])
    TrainView(SMALL, Augmentation(crop="simple"))(saved(noise(480, 640), "JPEG"), "x", Key(0, 0, 0))
    assert asked == [(60, 80)]


def test_a_simple_crop_of_a_long_picture_takes_no_more_memory_than_is_seen() -> None:
    assert TrainView(SMALL, Augmentation(crop="simple"))(np.zeros((1, 60_000), np.uint8), "x", Key(0, 0, 0)).any() == 0


def test_errors_carry_the_name():
    for view in VIEWS:
        with pytest.raises(ImageError, match=r"^cat\.jpg: "):
            view(saved(noise(), "JPEG")[:200], "cat.jpg", Key(0, 0, 0))
