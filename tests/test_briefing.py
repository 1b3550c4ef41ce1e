"""What the box that opens a run says of the choices."""

from __future__ import annotations

from vitrail.briefing import augmentation_words, out_of_sight
from vitrail.data.augment import Augmentation


def test_augmentation_in_words() -> None:
    assert augmentation_words(Augmentation()) == ["as they are"]
    assert augmentation_words(Augmentation(crop="pad", flip=0.5, contrast=0.2, erase=0.1)) == [
        "moved a little", "flipped", "recolored", "partly erased"]
    recipe = {"crop": "inception", "flip": 0.5, "randaugment": {"layers": 2, "magnitude": 10}, "mixup": 0.2}
    assert augmentation_words(Augmentation(**recipe)) == [
        "random parts, resized (inception crop)", "flipped", "RandAugment (2 of magnitude 10)", "mixed (mixup 0.2)"]
    assert augmentation_words(Augmentation(trivial_augment=True, three_augment=True, mixup=0.8, cutmix=1)) == [
        "TrivialAugment", "3-Augment", "mixed (mixup 0.8 or cutmix 1)"]


def test_small_pictures_that_would_be_moved_out_of_sight_are_warned_of() -> None:
    strong = Augmentation(randaugment={"layers": 2, "magnitude": 15}, trivial_augment=True)
    assert out_of_sight(strong, (224, 224)) == []
    assert out_of_sight(Augmentation(randaugment={"layers": 0, "magnitude": 15}), (28, 28)) == []
    rand, trivial = out_of_sight(strong, (28, 32))
    assert "RandAugment of magnitude 15 moves pictures by up to 150 pixels, so those of 28x32 out of sight" in rand
    assert rand.endswith("Use a magnitude of at most 1.4.")
    assert "TrivialAugment moves pictures by up to 32 pixels" in trivial
    assert len(out_of_sight(strong, (64, 64))) == 1
