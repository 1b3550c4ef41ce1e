"""The recipe for trained weights: what it takes from them, what it chooses, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from models.small import awake, small

from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import open_source
from vitrail.errors import UnknownNameError, UsageError
from vitrail.files import sha256
from vitrail.models import configure
from vitrail.recipe import Recipe
from vitrail.recipes import RECIPES

GOLDEN = Path(__file__).parents[1] / "golden"
TOKEN = GOLDEN / "vit_token.npz"
DIGITS = open_source("digits")


def chosen(path: Path, **arguments: Any) -> Recipe:
    return RECIPES["default"](DIGITS, weights=str(path), **arguments)


def saved(folder: Path, **fields: Any) -> Path:
    """A Bundle with unusual preprocessing."""
    config = small(**fields)
    preprocess = Preprocess(size=config.image_size, resize="crop", crop_fraction=0.9, interpolation="bicubic",
                            mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), background=(9, 8, 7))
    return Bundle(awake(config), preprocess).save(folder / "bundle")


def test_model_numbers_and_preprocessing_come_from_the_weights(tmp_path: Path) -> None:
    fields = {"feedforward": "gelu", "norm_eps": 1e-12, "resampling": "bicubic", "registers": 2, "layer_scale": 0.5}
    path = saved(tmp_path, **fields, head_hidden=7, head_bias=-10.0)
    recipe = chosen(path)
    model = recipe.model.configure(3, recipe.preprocess.size)
    assert model == small(**fields, classes=3, name="vit")
    assert recipe.preprocess == Bundle.load(path).preprocess
    given = recipe.model.weights
    assert given is not None
    assert (given.path, given.format, given.head_hidden) == (str(path), "vitrail", 7)
    assert given.sha256 == sha256(path / "model.safetensors")
    assert recipe.replaced({"model.head": "keep"}).model.configure(3, (24, 16)).head_hidden == 7


def test_another_size_and_another_patch() -> None:
    recipe = chosen(TOKEN, image_size=(64, 32))
    assert recipe.preprocess.size == (64, 32)
    assert recipe.model.configure(10, (64, 32)).grid == (8, 4)
    with pytest.raises(UsageError, match="50 is not divisible by the patch size 8; use 48 or 56"):
        chosen(TOKEN, image_size=(50, 50))


def test_a_name_must_be_of_the_same_size_but_for_its_patch(tmp_path: Path) -> None:
    config = configure("mu/8", image_size=32, classes=3)
    path = Bundle(awake(config), Preprocess(size=32)).save(tmp_path / "mu")
    assert chosen(path, model="mu/8").model.name == "mu/8"
    other = chosen(path, model="mu/16")
    assert (other.model.name, other.model.settings) == ("mu/16", {})
    with pytest.raises(UsageError, match=r"are mu/8, not Ti/8: width is 32, not 192; depth is 1, not 12; .*--model"):
        chosen(path, model="Ti/8")
    with pytest.raises(UsageError, match="are mu/8, not R50x1: family is vit, not bit"):
        chosen(path, model="R50x1")
    with pytest.raises(UnknownNameError, match="Did you mean 'mu/8'"):
        chosen(path, model="mu-8")
    with pytest.raises(UsageError, match="32 is not divisible by the patch size 5"):
        chosen(path, model="mu/5")


def test_wider_models_take_smaller_steps() -> None:
    from vitrail.recipes.finetune import choose_rate

    rates = [choose_rate(configure(name)) for name in ("mu/4", "Ti/16", "S/16", "B/16", "L/16")]
    assert rates == sorted(rates, reverse=True)
    assert rates[1:] == [2e-4, 4e-5, 2e-5, 2e-5]
    assert choose_rate(configure("mu/4")) == 1e-3
    assert choose_rate(configure("R50x1")) == 4e-5


def test_every_choice_has_its_reason() -> None:
    recipe = chosen(TOKEN)
    assert {"images", "model", "optimizer", "length"} <= recipe.reasons.keys()
    assert "yours are about 8x8" in recipe.reasons["images"]
    assert "optimizer" not in recipe.replaced({"optimizer.learning_rate": 1e-5}).reasons
    assert RECIPES["finetune"](DIGITS, weights=str(TOKEN)) == recipe


def test_what_has_no_meaning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Give them: --weights FILE"):
        RECIPES["finetune"](DIGITS)
    with pytest.raises(UsageError, match="starts from scratch"):
        RECIPES["demo"](DIGITS, weights=str(TOKEN))
    with pytest.raises(UsageError, match="head=keep needs weights"):
        RECIPES["default"](DIGITS).replaced({"model.head": "keep"})
    with pytest.raises(UsageError, match="images of 1 channels; pictures have 3"):
        chosen(saved(tmp_path, channels=1))
    bit = saved(tmp_path / "bit", family="bit", image_size=(32, 32))
    with pytest.raises(UnknownNameError, match="model setting 'pooling'"):
        chosen(bit).replaced({"model.settings.pooling": "mean"})


def test_the_same_weights_elsewhere_are_the_same_run(tmp_path: Path) -> None:
    recipe = chosen(TOKEN)
    assert recipe.replaced({"model.weights.path": "elsewhere.npz"}).identity() == recipe.identity()
    assert recipe.replaced({"model.weights.sha256": "0"}).identity() != recipe.identity()
    assert weights.read(TOKEN).sha256() == sha256(TOKEN)
