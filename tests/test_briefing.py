"""What the box that opens a run says of the choices."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vitrail.briefing import augmentation_words, computing_words, crop_words, duration
from vitrail.data.augment import Augmentation, MultiCrop
from vitrail.training.backend import Backend


def test_augmentation_in_words() -> None:
    assert augmentation_words(Augmentation()) == ["as they are"]
    assert augmentation_words(Augmentation(crop="pad", flip=0.5, contrast=0.2, erase=0.1)) == [
        "moved a little", "flipped", "recolored", "partly erased"]
    recipe = {"crop": "inception", "flip": 0.5, "randaugment": {"layers": 2, "magnitude": 10}, "mixup": 0.2}
    assert augmentation_words(Augmentation(**recipe)) == [
        "random parts, resized (inception crop)", "flipped", "RandAugment (2 of magnitude 10)", "mixed (mixup 0.2)"]
    assert augmentation_words(Augmentation(trivial_augment=True, three_augment=True, mixup=0.8, cutmix=1)) == [
        "TrivialAugment", "3-Augment", "mixed (mixup 0.8 or cutmix 1)"]


def test_crops_in_words() -> None:
    assert crop_words(MultiCrop()) == ("two large crops of each and 8 small ones of 96x96, some of them recolored, "
                                       "greyed, blurred or solarized")
    plain = MultiCrop(local=0, recolored=0, grey=0, solarize=0)
    assert crop_words(plain) == "two large crops of each, some of them blurred"
    assert crop_words(plain.model_copy(update={"blur": (0, 0, 0)})) == "two large crops of each"


def test_seconds_as_a_person_says_them() -> None:
    assert [duration(seconds) for seconds in (45, 12 * 60, 3.34 * 3600, 7199.9 + 3600, 5 * 86_400, 1.85e8)] == [
        "45 s", "12 min", "3 h 20 min", "3 h 0 min", "5 days", "6 years"]


@pytest.mark.parametrize(("attention", "said"), [
    ("native", "cpu, bf16, attention by vitrail's own kernels, GELU and norms too: measured"),
    ("products", "cpu, bf16, attention by products: measured"), (None, "cpu, bf16: measured")])
@pytest.mark.parametrize(("processes", "before"), [
    (1, ""), (2, "2 processes with 8 images of a batch each, whose gradients are averaged; ")])
def test_computing_in_words(attention: Any, said: str, processes: int, before: str) -> None:
    shop: Any = SimpleNamespace(
        backend=Backend("bf16", attention, "measured"), recipe=SimpleNamespace(training=SimpleNamespace(compile=False)),
        world=SimpleNamespace(size=processes, local_size=torch.cuda.device_count() or 1), share=8,
        weights=SimpleNamespace(sharded=False), device=torch.device("cpu"))
    assert computing_words(shop) == before + said
