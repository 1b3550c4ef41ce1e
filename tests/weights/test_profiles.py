"""Whose numbers a file has: what its format implies, and what the user says instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from published import GOLDEN, assert_agree, expected_of
from safetensors.torch import load_file, save_file

import vitrail
from vitrail import weights
from vitrail.errors import BundleError, UnknownNameError
from vitrail.models.vit.feedforward import FeedForward
from vitrail.weights.profiles import PROFILES

TOKEN = GOLDEN / "vit_token.npz"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A timm file that stands alone, with a head width that is not usual."""
    config = vitrail.ViTConfig(image_size=24, patch=8, width=16, depth=1, heads=2, mlp=24, classes=3,
                               feedforward="gelu", resampling="bicubic-antialias")
    model = vitrail.ViT(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    weights.write(vitrail.Bundle(model, vitrail.Preprocess(size=24)), tmp_path / "timm", "timm")
    save_file(load_file(tmp_path / "timm" / "model.safetensors"), tmp_path / "bare")
    return tmp_path / "bare"


@pytest.mark.parametrize(("name", "profile"), [("vit_token", "official"), ("big_vision_map", "big_vision"),
                                               ("bare", "timm")])
def test_the_table_agrees_with_what_formats_imply(bare: Path, name: str, profile: str) -> None:
    """Said or not, the numbers are the same."""
    path = bare if name == "bare" else GOLDEN / f"{name}.npz"
    implied = weights.read(path, weights.Told(heads=2)).config
    said = weights.read(path, weights.Told(heads=2, profile=profile)).config
    assert (said.model, said.preprocess) == (implied.model, implied.preprocess)
    assert said.provenance["profile"] == profile


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_a_model_that_runs(name: str) -> None:
    bundle = weights.load(TOKEN, profile=name)
    profile, config = PROFILES[name], bundle.model.config
    assert isinstance(config, vitrail.ViTConfig)
    assert (config.feedforward, config.norm_eps, config.resampling) == profile[:3]
    assert (bundle.preprocess.mean, bundle.preprocess.std) == profile.values
    assert bundle.preprocess.resize == ("squash" if profile.shown is None else "crop")
    assert torch.equal(bundle.model.head.weight, weights.load(TOKEN).model.head.weight)
    assert not any(one.requires_grad for one in bundle.model.parameters())
    assert bundle.model(torch.zeros(1, 3, 48, 48)).isfinite().all()


@torch.inference_mode()
def test_a_profile_changes_the_numbers_and_nothing_else() -> None:
    """The exact GELU in every layer; the official numbers come back with their own profile."""
    io = expected_of("vit_token")
    (images,) = [value for key, value in io.items() if key == "images"]
    official = weights.load(TOKEN, profile="official").model(images)
    assert_agree(official, weights.load(TOKEN).model(images), 0.0)
    exact = weights.load(TOKEN, profile="timm").model
    by_hand = weights.load(TOKEN).model
    for part in by_hand.modules():
        if isinstance(part, FeedForward):
            part.kind = "gelu"
    assert torch.equal(exact(images), by_hand(images))
    difference = float((exact(images) - official).abs().max() / official.abs().max())
    assert 1e-6 < difference < 1e-2  # the two kinds of GELU differ by at most 5e-4


@torch.inference_mode()
def test_another_rule_for_positions() -> None:
    bundle = weights.load(TOKEN, 64, profile="deit")
    table = weights.load(TOKEN).model.encoder.positions.tables[0].table
    wanted = torch.nn.functional.interpolate(table.unflatten(0, (6, 6)).permute(2, 0, 1)[None], (8, 8), mode="bicubic")
    assert torch.equal(bundle.model.encoder.positions.tables[0].table, wanted[0].permute(1, 2, 0).flatten(0, 1))


def test_gated_layers_stay_gated(bare: Path, tmp_path: Path) -> None:
    config = vitrail.ViTConfig(image_size=24, patch=8, width=16, depth=1, heads=2, mlp=24, classes=3,
                               feedforward="swiglu", resampling="bicubic-antialias")
    weights.write(vitrail.Bundle(vitrail.ViT(config).eval(), vitrail.Preprocess(size=24)), tmp_path / "gated", "timm")
    model = weights.read(tmp_path / "gated", weights.Told(profile="official")).config.model
    assert isinstance(model, vitrail.ViTConfig)
    assert (model.feedforward, model.resampling) == ("swiglu", "bilinear-corners")


def test_of_a_resnet_only_the_pictures_differ() -> None:
    path = GOLDEN / "bit_resnet.npz"
    plain, said = weights.read(path).config, weights.read(path, weights.Told(profile="deit")).config
    assert said.model == plain.model
    assert said.preprocess.mean == (0.485, 0.456, 0.406) != plain.preprocess.mean


def test_what_is_assumed_is_said_unless_the_user_says_it(bare: Path) -> None:
    notes = weights.read(bare, weights.Told(heads=2)).config.provenance["notes"]
    assert notes == ["The file does not say its numbers: those of timm are assumed (gelu, epsilon 1e-06, images of "
                     "mean 0.5 and standard deviation 0.5). Say otherwise: vitrail convert FILE OUT --profile NAME "
                     f"({', '.join(PROFILES)})."]
    assert "notes" not in weights.read(bare, weights.Told(heads=2, profile="deit")).config.provenance


def test_a_wrong_name_has_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'big_vision'"):
        weights.load(TOKEN, profile="bigvision")


def test_a_bundle_knows_its_own(tmp_path: Path) -> None:
    weights.load(TOKEN).save(tmp_path / "imported")
    assert vitrail.load(tmp_path / "imported", profile="augreg").preprocess.crop_fraction == 0.875  # once foreign
    own = vitrail.Bundle(vitrail.create("mu/8", classes=3, image_size=32), vitrail.Preprocess(size=32))
    own.save(tmp_path / "own")
    with pytest.raises(BundleError, match="leave out --profile augreg"):
        vitrail.load(tmp_path / "own", profile="augreg")


def test_the_choice_travels_with_the_bundle(tmp_path: Path) -> None:
    weights.load(TOKEN, profile="deit").save(tmp_path / "bundle")
    again = vitrail.load(tmp_path / "bundle")
    assert (again.model.config.feedforward, again.provenance["profile"]) == ("gelu", "deit")
    assert json.loads((tmp_path / "bundle" / "config.json").read_text())["provenance"]["profile"] == "deit"


def test_a_profile_says_what_it_replaces() -> None:
    bundle = weights.load(GOLDEN / "vit_token.npz", profile="timm")
    (note,) = (note for note in bundle.provenance["notes"] if "replaces" in note)
    assert note == ("--profile timm replaces resampling bilinear-corners by bicubic-antialias, feedforward gelu-tanh "
                    "by gelu.")
