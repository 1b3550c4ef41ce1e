"""Each mistake that people are known to make, made here, and its sentence; and that nothing is said without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_recipe, train

from vitrail.data.augment import Augmentation
from vitrail.data.source import open_source
from vitrail.events import Understood
from vitrail.recipe import Recipe
from vitrail.recipes import RECIPES
from vitrail.recipes.finetune import weights_settings
from vitrail.workshop import known_mistakes
from vitrail.workshop.mistakes import out_of_sight

GOLDEN = Path(__file__).parent / "golden"


def said(recipe: Recipe, images: int = 1_000_000, classes: int = 10, steps: int | None = 1_000,
         loss: Any = "softmax") -> list[str]:
    return known_mistakes(recipe, recipe.model.configure(classes, recipe.preprocess.size), images, steps, loss)


def custom(model: str, size: int | tuple[int, int] = 224, **changes: Any) -> Recipe:
    return tiny_recipe(model__name=model, model__settings={}, preprocess__size=size, **changes)


def test_nothing_is_said_of_what_is_usual() -> None:
    for model, size in (("B/16", 224), ("S/4", 32), ("R50+B/16", 224), ("axial-S/16", 224), ("R50x1", 32)):
        assert said(custom(model, size)) == [], model


@pytest.mark.parametrize(("model", "size", "words"), [
    ("B/16", 32, "B/16 cuts pictures of 32x32 pixels into 4 patches, too few to attend to. Use smaller patches, "
                 "--model B/8, or larger pictures, --image-size 64x64."),
    ("Ti/8", 24, "into 9 patches, too few to attend to. Use smaller patches, --model Ti/6, or"),
    ("S/16", (32, 96), "into 12 patches, too few to attend to. Use smaller patches, --model S/8, or"),
    ("R50+B/32", 64, "into 4 patches, too few to attend to. Use larger pictures, --image-size 128x128."),
])
def test_patches_too_large_for_the_pictures(model: str, size: Any, words: str) -> None:
    found, = said(custom(model, size))
    assert words in found


def test_sixteen_patches_are_enough_and_a_resnet_has_none() -> None:
    assert said(custom("B/8", 32)) == said(custom("R26x0.25", 32)) == []


MEAN = {"model.settings.pooling": "mean"}


def test_mean_pooling_at_the_rate_of_a_class_token() -> None:
    paper = RECIPES["paper_pretrain"](open_source("fashion:embedded"))
    found = [words for words in said(paper.replaced(MEAN), steps=100_000) if "mean pooling" in words]
    assert len(found) == 1
    assert "with a learning rate of 0.003" in found[0]
    assert "Use --lr 0.0003, or --set model.settings.pooling=token" in found[0]
    lower = paper.replaced(MEAN | {"optimizer.learning_rate": 3e-4})
    assert not any("mean pooling" in words for words in said(lower, steps=100_000) + said(paper, steps=100_000))
    wide = custom("B/16", optimizer__learning_rate=1e-3).replaced(MEAN)
    assert "mean pooling" in said(wide)[0]
    for changes in ({"optimizer.name": "sgd"}, {"optimizer.learning_rate": 7e-4}, {"model.settings.pooling": "token"}):
        assert said(wide.replaced(changes)) == []
    assert said(custom("S/16", optimizer__learning_rate=1e-3).replaced(MEAN)) == []
    assert said(custom("axial-B/16"))[0].endswith("Use --lr 0.0003.")  # it cannot have a class token


def test_recipes_that_are_tuned_for_mean_pooling_have_nothing_to_say_of_it() -> None:
    recipe = RECIPES["better_plain"](open_source("fashion:embedded"), model="B/16")
    assert not any("mean pooling" in words for words in said(recipe))


def test_a_large_model_from_scratch_on_little_data() -> None:
    found, = said(custom("B/16"), images=1_000)
    assert found.startswith("B/16 has 86 M parameters for 1,000 training images: from scratch")
    assert said(custom("B/16"), images=20_000) == said(custom("R50x1"), images=1_000) == []
    started = custom("B/16").replaced({"model.weights": weights_settings(
        str(GOLDEN / "vit_token.npz"), None).model_dump(mode="json")})
    assert said(started, images=1_000) == []


def test_weights_that_learned_from_other_numbers() -> None:
    weights = weights_settings(str(GOLDEN / "vit_token.npz"), None)
    assert (weights.mean, weights.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    recipe = tiny_recipe(model__weights=weights.model_dump(mode="json"), preprocess__size=32)
    assert said(recipe) == []
    found, = said(recipe.replaced({"preprocess.mean": [0.485, 0.456, 0.406], "preprocess.std": [0.229, 0.224, 0.225]}))
    assert "learned from pictures of mean 0.5, 0.5, 0.5 and std 0.5, 0.5, 0.5, but this run normalizes by" in found
    assert "0.485, 0.456, 0.406 and 0.229, 0.224, 0.225. Use --set 'preprocess.mean=[0.5, 0.5, 0.5]'" in found
    older = weights.model_copy(update={"mean": None, "std": None})  # of a recipe from before these fields
    assert said(recipe.replaced({"model.weights": older.model_dump(mode="json"), "preprocess.std": [1, 1, 1]})) == []


def test_a_batch_of_more_images_than_there_are() -> None:
    recipe = custom("mu/4", training__batch_size=100)
    assert said(recipe, images=100) == []
    found, = said(recipe, images=99)
    assert found.startswith("a batch of 100 is more than the 99 training images")


def test_a_warmup_that_outlasts_the_run() -> None:
    recipe = custom("B/16", schedule__warmup=10_000)
    found, = said(recipe, steps=2_500)
    assert "a warmup of 10,000 steps in a run of 2,500: the learning rate only rises, to 0.25 of what" in found
    assert said(recipe, steps=10_001) == said(recipe, steps=None) == said(custom("B/16", schedule__warmup=1.0)) == []


def test_a_sigmoid_for_many_classes_without_a_bias() -> None:
    recipe = custom("B/16")
    found, = said(recipe, classes=1_000, loss="sigmoid")
    assert "--set model.settings.head_bias=-6.9" in found
    assert said(recipe, classes=10, loss="sigmoid") == said(recipe, classes=1_000) == []
    assert said(recipe.replaced({"model.settings.head_bias": -6.9}), classes=1_000, loss="sigmoid") == []


def test_a_batch_that_leaves_its_learning_rate_behind() -> None:
    recipe = tiny_recipe()
    assert "optimizer" not in recipe.replaced({"training.batch_size": 64}).reasons  # as it was
    other = recipe.replaced({"training.batch_size": 256})
    assert other.reasons["optimizer"] == "the learning rate stays that of batches of 64"
    both = recipe.replaced({"training.batch_size": 256, "optimizer.learning_rate": 1e-3})
    assert "optimizer" not in both.reasons
    assert other.identity() == recipe.replaced({"training.batch_size": 256, "name": "same"}).identity()


def test_small_pictures_that_would_be_moved_out_of_sight_are_warned_of() -> None:
    strong = Augmentation(randaugment={"layers": 2, "magnitude": 15}, trivial_augment=True)
    assert out_of_sight(strong, (224, 224)) == []
    assert out_of_sight(Augmentation(randaugment={"layers": 0, "magnitude": 15}), (28, 28)) == []
    rand, trivial = out_of_sight(strong, (28, 32))
    assert "RandAugment of magnitude 15 moves pictures by up to 150 pixels, so those of 28x32 out of sight" in rand
    assert rand.endswith("Use a magnitude of at most 1.4.")
    assert "TrivialAugment moves pictures by up to 32 pixels" in trivial
    assert len(out_of_sight(strong, (64, 64))) == 1


def test_the_box_says_them(tmp_path: Path) -> None:
    opening = train(tiny_recipe(model__name="mu/8", schedule__warmup=50, training__batch_size=32), tmp_path,
                    dry_run=True)[0]
    assert isinstance(opening, Understood)
    assert any("into 1 patch, too few" in words for words in opening.warnings)
    assert any("a warmup of 50 steps in a run of 10" in words for words in opening.warnings)
    assert "the learning rate stays that of batches of 64" in dict(opening.rows)["optimizer"]


# Numbers that are not 0 to 255.


IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
LABELS = np.arange(12) % 2


@pytest.mark.parametrize(("images", "words"), [
    (IMAGES / np.float32(255), "from 0 to 1: save (images * 255).round().astype('uint8')."),
    (IMAGES / 127.5 - 1, "from -1 to 1: save ((images + 1) * 127.5).round().astype('uint8')."),
    (IMAGES.astype(np.float16), "from 0 to 255: save (images).round().astype('uint8')."),
    ((IMAGES - 128.0) / 58, "as after subtracting a mean: save the pictures as they were before that"),
    (IMAGES > 128, "from 0 to 1: save (images * 255).round().astype('uint8')."),
    (IMAGES.astype(np.int64), "Convert them with .astype('uint8') if they are 0 to 255."),
])
def test_arrays_of_other_numbers_are_refused_with_the_way_to_bytes(tmp_path: Path, images: Any, words: str) -> None:
    from vitrail.errors import DataError

    np.savez(tmp_path / "some.npz", images=images, labels=LABELS)
    with pytest.raises(DataError) as raised:
        open_source(str(tmp_path / "some.npz"))
    assert words in str(raised.value)


@pytest.mark.parametrize(("images", "words"), [
    ((IMAGES > 128).astype(np.uint8), "above 1 of 255, so all look black. If 1 means white, save images * 255."),
    (IMAGES // 16 + 1, "above 16 of 255, so all look black. If 16 means white, save images * 15."),
    (IMAGES * 0, "above 0 of 255, so all look black."),
])
def test_pictures_that_are_nearly_black_are_warned_of(tmp_path: Path, images: Any, words: str) -> None:
    np.savez(tmp_path / "some.npz", images=images, labels=LABELS)
    assert any(words in warning for warning in open_source(str(tmp_path / "some.npz")).warnings)
    np.savez(tmp_path / "plain.npz", images=IMAGES, labels=LABELS)
    assert not any("black" in warning for warning in open_source(str(tmp_path / "plain.npz")).warnings)


def test_local_crops_that_are_larger_than_the_whole() -> None:
    crops: dict[str, Any] = {"objective__name": "dino", "augmentation__crop": "none",
                             "augmentation__multi_crop": {"local": 8, "local_size": 64}}
    found, = said(custom("S/4", 32, **crops))
    assert "local crops of 64x64 pixels are larger than the global ones of 32x32" in found
    assert said(custom("S/4", 64, **crops)) == []
    crops["augmentation__multi_crop"]["local"] = 0
    assert said(custom("S/4", 32, **crops)) == []
