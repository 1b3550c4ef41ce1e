"""Names of every family, and how a name that is none is answered."""

from __future__ import annotations

from typing import Any

import pytest

from vitrail.errors import UnknownNameError, UsageError
from vitrail.models import ViTConfig, configure, create, family_of
from vitrail.models.names import KNOWN_NAMES, NAMINGS, describe_disagreement, settings_of


@pytest.mark.parametrize("name", KNOWN_NAMES)
def test_every_known_name_is_of_one_family(name: str) -> None:
    assert [family for family, naming in NAMINGS.items() if naming.recognize(name) is not None] == [family_of(name)]
    side = int(name.split("/")[1]) if "vit" in family_of(name) else 32
    config = configure(name, image_size=16 * side)
    assert config.family == family_of(name)
    assert config.name == name


@pytest.mark.parametrize(("name", "nearest"), [
    ("R50", "R50x"), ("r50x1", "R50x1"), ("R51x1", "R50x1"), ("R50x", "R50x"), ("R50+X/16", "R50+"),
    ("R50+B16", "R50+B/16"), ("R50-B/16", "R50+B/16"), ("R49+B/16", "R50+B/16"), ("Rx1+B/16", "+B/"),
    ("BiT-R50x1", "R50x1"), ("axial-B32", "axial-B/32"), ("axial_R50", "axial-R50"), ("axial-R51", "axial-R50"),
    ("axial-R50x", "axial-R50"), ("axial-X/16", "axial-"), ("axial-R50+B/16", "axial-B/16"), ("axial-", "axial-"),
    ("R50+B/16x32", "R50+B/"), ("R+Ti16", "R+Ti/16")])
def test_an_unknown_name_names_the_nearest_and_all(name: str, nearest: str) -> None:
    with pytest.raises(UnknownNameError) as refused:
        configure(name)
    message = str(refused.value)
    assert nearest in message.split("Did you mean")[1].split("?")[0]
    assert all(known in message for known in KNOWN_NAMES)


@pytest.mark.parametrize(("name", "setting", "nearest"), [
    ("R50x1", "poling", None), ("axial-R50", "head", "heads"), ("R50x1", "heads", "head_bias"),
    ("R50x1", "depth", "depths"), ("R50+B/16", "stem_width_", "stem_width"),
    ("B/16", "stem_width", "width")])
def test_a_setting_of_another_family_is_unknown(name: str, setting: str, nearest: str | None) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean '{nearest}'" if nearest else "Unknown model setting"):
        configure(name, **{setting: 1})


@pytest.mark.parametrize(("name", "overrides", "said"), [
    ("R26x0.3", {}, "Model R26x0.3: width 0.3 makes 19.2 channels"),
    ("R26x0.25", {"image_size": 8}, "Model R26x0.25: an image of 8x8 pixels leaves one number"),
    ("R50+B/16", {"image_size": 225}, "Model R50+B/16: image height 225 is not divisible by the patch size 16"),
    ("R50+H/14", {}, "Model R50+H/14: patch 14x14 is no multiple of 4"),
    ("axial-B/32", {"image_size": 225}, "Model axial-B/32: image height 225 is not divisible by the patch size 32"),
    ("axial-B/32", {"pooling": "token"}, "Model axial-B/32: token pooling needs a class token"),
    ("axial-R50x0.375", {}, "Model axial-R50x0.375: width 0.375 makes 24 channels, which 8 heads"),
    ("R50x0", {}, "Model R50x0: width: Input should be greater than 0")])
def test_what_does_not_fit_is_a_usage_error(name: str, overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        configure(name, **overrides)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(("name", "overrides", "called"), [
    ("B/16", {"depth": 6}, "B/16 (768x6)"), ("R50x1", {"depths": [1, 1]}, "R50x1 (units 1-1, x1)"),
    ("R50x1", {"depths": [3, 4, 6, 3]}, "R50x1"), ("R50+B/16", {"pooling": "mean"}, "R50+B/16"),
    ("R50+B/16", {"depth": 2}, "R50+B/16 (768x2, units 3-4-9, x1)"), ("R+Ti/16", {"depth": 2}, "R+Ti/16 (192x2)"),
    ("axial-B/32", {"depth": 2}, "axial-B/32 (768x2)"), ("axial-B/32", {"pooling": "attention"}, "axial-B/32"),
    ("axial-R50", {"width": 0.5}, "axial-R50 (units 3-4-6-3, x0.5)")])
def test_a_changed_shape_has_another_name(name: str, overrides: dict[str, Any], called: str) -> None:
    assert configure(name, **overrides).name == called


def test_create_builds_any_family() -> None:
    asked: dict[str, Any] = {"mu/8": {}, "R26x0.125": {"depths": (1, 1)}, "R26x0.125+mu/8": {"positions": "rotary-2d"},
                                        "axial-mu/8": {"positions": "learned-2d"}, "axial-R26x0.25": {"depths": (1, 1)}}
    for name, overrides in asked.items():
        model = create(name, classes=3, image_size=(16, 24), **overrides)
        assert model.config.classes == 3
        assert model.config.grid == (2, 3)


@pytest.mark.parametrize("name", ["B/16", "L/16x32", "R50x1", "R26x0.25", "R50+B/16", "R+Ti/16", "vit"])
@pytest.mark.parametrize("changes", [{}, {"head_bias": -10.0}, {"channels": 1}])
def test_a_config_as_a_name_and_settings_and_back(name: str, changes: dict[str, Any]) -> None:
    fields = {"width": 16, "depth": 1, "heads": 2, "mlp": 8, "patch": (16, 8), "positions": "relative",
              "positions_at": "shared", "pooling": "mean"} if name == "vit" else {}
    config = configure(name, **fields, **changes)
    again, settings = settings_of(config)
    assert again == name
    assert set(settings) == {*fields, *changes}
    assert configure(again, **settings) == config
    other = configure(again, **settings, classes=3, image_size=(64, 32))
    assert (other.classes, other.image_size) == (3, (64, 32))


def test_a_changed_size_and_a_model_without_a_name() -> None:
    changed = configure("Ti/4", width=128, heads=4, positions="sincos-2d", pooling="mean")
    assert settings_of(changed)[0] == "Ti/4"
    assert configure("Ti/4", **settings_of(changed)[1]) == changed
    nameless = ViTConfig(width=16, depth=1, heads=2, mlp=8, layer_scale=0.1)
    name, settings = settings_of(nameless)
    assert name == "vit"
    assert configure(name, **settings) == nameless.model_copy(update={"name": "vit"})


def test_what_a_name_says_otherwise() -> None:
    assert describe_disagreement("B/32", configure("B/16")) == []
    assert describe_disagreement("S/16", configure("B/16"))[0] == "width is 768, not 384"
    assert describe_disagreement("R50x1", configure("B/16")) == ["family is vit, not bit"]
    assert describe_disagreement("R50x1", configure("R50x3")) == ["width is 3.0, not 1.0"]
