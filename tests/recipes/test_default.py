"""What is chosen when nobody says anything, from ten images a class to a million, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from vitrail.briefing import augmentation_words
from vitrail.data.source import Source, Split
from vitrail.models import ViTConfig
from vitrail.models.names import configure
from vitrail.recipe import Recipe
from vitrail.recipes import RECIPES
from vitrail.workshop import known_mistakes

WEIGHTS = Path(__file__).parents[1] / "golden" / "vit_token.npz"


class Blank:
    """Pictures of one size, of which nothing else is known."""

    def __init__(self, height: int, width: int) -> None:
        self.picture = np.broadcast_to(np.uint8(0), (height, width, 3))

    def read(self, key: int) -> np.ndarray:
        return self.picture


class Numbered:
    """As many names as wanted, without a list of them."""

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return f"picture {index}"


def source(images: int, size: tuple[int, int], classes: int = 10, **more: Any) -> Source:
    split = Split(Numbered(), np.arange(images), np.zeros(images, np.int64), Blank(*size))  # type: ignore[arg-type]
    return Source("photos", "blank", tuple(map(str, range(classes))), {"train": split}, "", **more)


class Row(NamedTuple):
    """`shape`: width x layers; `words`: augmentation as the box has it."""

    images: int
    size: tuple[int, int]
    model: str
    shape: str
    seen: tuple[int, int]
    patches: int
    batch: int
    epochs: int
    steps: int
    rate: float
    words: str


SOME = "random parts, resized, flipped"
VARIED = "random parts, resized (inception crop), flipped, RandAugment (2 of magnitude 10), mixed (mixup 0.2)"
TABLE = [
    Row(16, (300, 400), "Ti/8", "128x4", (64, 64), 64, 16, 1000, 1000, 1e-3, SOME),
    Row(80, (300, 400), "Ti/8", "128x4", (64, 64), 64, 32, 1000, 2500, 1e-3, SOME),
    Row(800, (300, 400), "Ti/8", "128x4", (64, 64), 64, 32, 145, 3625, 1e-3, SOME),
    Row(3_999, (300, 400), "Ti/8", "128x4", (64, 64), 64, 64, 45, 2812, 1e-3, SOME),
    Row(4_000, (300, 400), "Ti/8", "128x6", (96, 96), 144, 128, 45, 1407, 1e-3, SOME),
    Row(19_999, (300, 400), "Ti/8", "128x6", (96, 96), 144, 128, 25, 3907, 1e-3, SOME),
    Row(20_000, (300, 400), "S/16", "384x12", (224, 224), 196, 256, 90, 7032, 5e-4, VARIED),
    Row(300_000, (300, 400), "S/16", "384x12", (224, 224), 196, 1024, 90, 26368, 1e-3, VARIED),
    Row(1_000_000, (375, 500), "S/16", "384x12", (224, 224), 196, 1024, 90, 87891, 1e-3, VARIED),
    # small pictures
    Row(80, (28, 28), "Ti/4", "128x4", (28, 28), 49, 32, 1000, 2500, 1e-3, "moved a little, flipped"),
    Row(5_000, (28, 28), "Ti/4", "128x6", (28, 28), 49, 128, 40, 1563, 1e-3, "moved a little, flipped"),
    Row(54_000, (28, 28), "Ti/4", "128x6", (28, 28), 49, 128, 22, 9282, 1e-3, "flipped"),  # docs/results.md
    Row(1_000_000, (32, 32), "Ti/4", "192x12", (32, 32), 64, 1024, 20, 19532, 1e-3, "flipped"),
    Row(1_000, (8, 8), "Ti/2", "128x4", (8, 8), 16, 64, 120, 1875, 1e-3, "moved a little, flipped"),
    # neither small nor large: never enlarged
    Row(100_000, (64, 64), "S/8", "384x12", (64, 64), 64, 256, 90, 35157, 5e-4, VARIED.replace(
        ", RandAugment (2 of magnitude 10)", "")),
    Row(1_000, (58, 90), "Ti/8", "128x4", (56, 56), 49, 64, 120, 1875, 1e-3, SOME),
    # long ones keep their shape
    Row(1_000, (40, 1000), "Ti/8", "128x4", (16, 320), 80, 64, 120, 1875, 1e-3, SOME),
    Row(30_000, (1000, 120), "S/16", "384x12", (640, 80), 200, 256, 90, 10547, 5e-4, VARIED.replace(
        ", RandAugment (2 of magnitude 10)", "")),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.images} of {row.size[0]}x{row.size[1]}")
def test_the_table(row: Row) -> None:
    recipe = RECIPES["default"](source(row.images, row.size))
    config = recipe.model.configure(10, recipe.preprocess.size)
    assert isinstance(config, ViTConfig)
    batch = recipe.training.batch_size
    steps = recipe.schedule.total_steps(row.images, batch)
    assert Row(row.images, row.size, recipe.model.name, f"{config.width}x{config.depth}", config.image_size,
               config.grid[0] * config.grid[1], batch, int(recipe.schedule.epochs or 0), steps or 0,
               recipe.optimizer.learning_rate, ", ".join(augmentation_words(recipe.augmentation))) == row
    assert recipe.reasons.keys() == {"images", "model", "optimizer", "length"}
    assert known_mistakes(recipe, config, row.images, steps, "softmax") == []


def reasons(images: int, size: tuple[int, int] = (300, 400), **asked: Any) -> dict[str, str]:
    found: dict[str, str] = RECIPES["default"](source(images, size), **asked).reasons
    return found


def test_reasons_are_those_of_the_choice() -> None:
    few, many = reasons(80), reasons(1_000_000)
    assert few["model"] == ("a very small one for 80 training images, from scratch; trained weights know more than so "
                            "few can teach: --weights FILE")
    assert few["length"] == "few images are seen often (1000 times each)"
    assert many["model"] == "a medium one for 1,000,000 training images, from scratch"
    assert "the published length" in many["length"]
    assert "--epochs 30" in many["length"]
    assert many["optimizer"].startswith("0.001 for batches of 1024")
    assert "by heart" in many["images"]
    assert reasons(1_000, (40, 1000))["images"] == "your images are about 40x1000, and keep their shape"
    assert reasons(1_000, (60, 80), image_size=(224, 224))["images"] == (
        "your images are about 60x80, and are enlarged, which costs time and adds no detail: leave out --image-size")
    assert reasons(1_000, (6, 6), model="S/32")["images"].endswith("adds no detail: smaller patches need less, --model")
    assert reasons(10_000, model="S/8")["model"] == "asked for"


@pytest.mark.parametrize("images", [80, 5_000, 60_000, 1_000_000])
@pytest.mark.parametrize("name", ["B/16", "B/32", "H/14", "L/16", "S/12", "R50+B/16", "R+Ti/16", "axial-B/32", "R50x1",
                                  "axial-R26x0.25"])
def test_a_model_that_is_asked_for_gets_pictures_that_its_patches_divide(name: str, images: int) -> None:
    recipe = RECIPES["default"](source(images, (300, 400)), model=name)
    config = recipe.model.configure(10, recipe.preprocess.size)
    if hasattr(config, "patch"):
        assert config.grid[0] * config.grid[1] >= 16
    wide = configure(name, image_size=recipe.preprocess.size).family in ("vit", "hybrid", "axial-vit") and (
        config.width >= 768)
    assert recipe.optimizer.learning_rate == (3e-4 if wide else 1e-3 if images in (80, 5_000, 1_000_000) else 5e-4)
    said = known_mistakes(recipe, config, 10**9, 10**6, "softmax")
    assert said == []


def test_what_is_asked_for_stays(tmp_path: Path) -> None:
    recipe = RECIPES["default"](source(1_000_000, (300, 400)), model="S/16", image_size=(160, 192))
    assert (recipe.model.name, recipe.preprocess.size) == ("S/16", (160, 192))
    small = RECIPES["default"](source(1_000, (28, 28)), model="B/16")
    assert small.preprocess.size == (32, 32)  # 4 patches, of which the box warns
    several = RECIPES["default"](source(5_000, (28, 28), multilabel=True))
    assert several.objective.label_smoothing == 0


@pytest.mark.parametrize(("images", "batch", "epochs", "steps"), [
    (16, 16, 318, 318), (80, 32, 68, 170), (5_000, 64, 6, 469), (99_999, 64, 5, 7813), (1_000_000, 256, 5, 19532),
])
def test_the_table_with_weights(images: int, batch: int, epochs: int, steps: int) -> None:
    recipe: Recipe = RECIPES["default"](source(images, (300, 400)), weights=str(WEIGHTS))
    assert recipe.name == "finetune"
    assert (recipe.training.batch_size, recipe.schedule.epochs) == (batch, epochs)
    assert recipe.schedule.total_steps(images, batch) == steps
    assert recipe.preprocess.size == (48, 48)  # that of the weights
    assert recipe.augmentation.area == (0.5, 1.0)
    assert recipe.reasons.keys() == {"images", "model", "optimizer", "length"}
    config = recipe.model.configure(10, recipe.preprocess.size)
    assert known_mistakes(recipe, config, images, steps, "softmax") == []
