"""Every recipe chooses something that can be trained, for the data it is given, and says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import last, train

from vitrail.data.source import Source, open_source
from vitrail.errors import DataError, UsageError
from vitrail.models.vit.config import ViTConfig
from vitrail.recipes import RECIPES, augreg
from vitrail.recipes.default import choose_movement
from vitrail.recipes.facts import Facts, survey

GOLDEN = Path(__file__).parents[1] / "golden"


def folder_of(folder: Path, height: int, width: int, per_class: int = 5) -> Source:
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return open_source(str(folder))


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in augreg.NAMED] + [next(iter(augreg.NAMED))])
def test_a_smoke_run(name: str, tmp_path: Path) -> None:
    source = open_source("fashion:embedded", validation=0.0)
    tuned = name in ("finetune", "paper_finetune", "bit")
    started: dict[str, Any] = {"weights": str(GOLDEN / "vit_token.npz")} if tuned else {"model": "mu/4"}
    recipe = RECIPES[name](source, image_size=(32, 32), **started).replaced(
        {"schedule.steps": 2, "training.batch_size": 8, "training.micro_batches": 1})
    finished = last(train(recipe.replaced({"data.validation": 0.0}), tmp_path / "run", source=source))
    assert finished.steps == 2


@pytest.mark.parametrize(("size", "image_size", "patch"), [
    ((8, 8), (8, 8), 2), ((28, 28), (28, 28), 4), ((30, 30), (32, 32), 4), ((5, 5), (5, 5), 1),
    ((300, 200), (64, 64), 8), ((58, 90), (56, 56), 8),
])
def test_sizes_follow_the_pictures(tmp_path: Path, size: tuple[int, int], image_size: tuple[int, int],
                                   patch: int) -> None:
    recipe = RECIPES["default"](folder_of(tmp_path, *size))
    config = recipe.model.configure(2, recipe.preprocess.size)
    assert config.image_size == image_size
    assert config.patch == (patch, patch)
    assert "from scratch" in recipe.reasons["model"]
    assert f"{size[0]}x{size[1]}" in recipe.reasons["images"]


def test_the_model_for_small_pictures_is_the_measured_one() -> None:
    """docs/results.md is about this one."""
    recipe = RECIPES["default"](open_source("fashion:embedded"))
    config = recipe.model.configure(10, recipe.preprocess.size)
    assert isinstance(config, ViTConfig)
    assert (config.width, config.depth, config.heads, config.mlp, config.patch) == (128, 6, 4, 512, (4, 4))


def test_only_few_small_pictures_are_moved() -> None:
    source = open_source("fashion:embedded")
    few, many = (choose_movement(source, Facts(images, 10, 28, 28), (28, 28)) for images in (5_000, 54_000))
    assert (few.crop, many.crop) == ("pad", "none")
    assert few.flip == many.flip == 0.5


def test_digits_are_not_flipped() -> None:
    assert RECIPES["default"](open_source("digits")).augmentation.flip == 0
    assert RECIPES["default"](open_source("fashion:embedded")).augmentation.flip == 0.5


def test_facts_are_read_from_headers_and_survive_bad_files(tmp_path: Path) -> None:
    source = folder_of(tmp_path, 40, 60)
    assert survey(source) == Facts(6, 2, 40, 60)
    for path in tmp_path.glob("cat/*.png"):
        path.write_bytes(b"junk")
    assert survey(source)[2:] == (40, 60)
    for path in tmp_path.glob("dog/*.png"):
        path.write_bytes(b"junk")
    with pytest.raises(DataError, match="can be opened"):
        survey(source)


def test_the_plain_vits_settings_are_for_models_with_tokens(tmp_path: Path) -> None:
    source = folder_of(tmp_path, 32, 32)
    assert RECIPES["default"](source, model="R26x0.25").model.settings == {}
    assert RECIPES["default"](source, model="axial-R26x0.25").model.settings == {}
    for name in ("R26+Ti/4", "axial-Ti/4"):
        assert RECIPES["default"](source, model=name).model.settings["positions"] == "sincos-2d"
    with pytest.raises(UsageError, match="R50\\+B/16: image height 36 is not divisible by the patch size 16; use 32"):
        RECIPES["default"](source, model="R50+B/16", image_size=(36, 36))


def test_parts_of_a_batch_are_no_more_than_its_images() -> None:
    recipe = RECIPES["paper_pretrain"](open_source("digits"), model="mu/4", image_size=(8, 8))
    assert recipe.training.micro_batches > 16
    assert recipe.replaced({"training.batch_size": 16}).training.micro_batches == 16
    with pytest.raises(UsageError, match="cannot be made of a batch of 16"):
        recipe.replaced({"training.batch_size": 16, "training.micro_batches": 17})


def test_one_frozen_part_needs_no_list() -> None:
    recipe = RECIPES["default"](open_source("digits"))
    assert recipe.replaced({"training.freeze": "encoder"}).training.freeze == ("encoder",)
    assert recipe.replaced({"training.freeze": ["encoder", "!encoder.norm"]}).training.freeze[1] == "!encoder.norm"
