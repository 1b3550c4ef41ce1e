"""Models by their names in the literature."""

from __future__ import annotations

from typing import Any

import pytest

from vitrail.errors import UnknownNameError, UsageError
from vitrail.models import configure, create
from vitrail.models.vit.variants import KNOWN_NAMES, SIZES


@pytest.mark.parametrize("name", KNOWN_NAMES)
def test_every_known_name(name: str) -> None:
    size, patch = name.split("/")
    config = configure(name, image_size=16 * int(patch))
    assert (config.width, config.depth, config.mlp, config.heads) == SIZES[size]
    assert config.patch == (int(patch), int(patch))
    assert config.name == name


@pytest.mark.parametrize(
    ("size", "shape"),
    [("Ti", (192, 12, 768, 3)), ("S", (384, 12, 1536, 6)), ("B", (768, 12, 3072, 12)), ("L", (1024, 24, 4096, 16)),
     ("H", (1280, 32, 5120, 16)), ("g", (1408, 40, 6144, 16)), ("G", (1664, 48, 8192, 16))],
)
def test_sizes_of_the_papers(size: str, shape: tuple[int, ...]) -> None:
    assert SIZES[size] == shape


def test_any_patch_and_any_image_size() -> None:
    config = configure("S/16x32", image_size=(224, 160), classes=10)
    assert config.patch == (16, 32)
    assert config.grid == (14, 5)


@pytest.mark.parametrize(
    ("name", "nearest"), [("VIT-B/16", "B/16"), ("B16", "B/16"), ("B-16", "B/16"), ("X/14", "/14"),
                          ("So400/14", "So400m/14"), ("B/0", "B/"), ("B/16x", "B/16"), ("B/16/2", "B/16")],
)
def test_an_unknown_name_names_the_nearest_and_all(name: str, nearest: str) -> None:
    with pytest.raises(UnknownNameError) as refused:
        configure(name)
    message = str(refused.value)
    assert repr(name) in message
    assert nearest in message.split("Did you mean")[1].split("?")[0]
    assert all(known in message for known in KNOWN_NAMES)


def test_a_name_like_no_other_lists_all() -> None:
    with pytest.raises(UnknownNameError, match="Known: mu/4") as refused:
        configure("qqq")
    assert "Did you mean" not in str(refused.value)


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'pooling'"):
        configure("B/16", poling="mean")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [({"image_size": 225}, "Model B/16: image height 225 is not divisible by the patch size 16; use 224 or 240"),
     ({"positions": "learnt"}, "Model B/16: positions: Input should be 'none', 'learned'"),
     ({"heads": 7}, "Model B/16: width 768 is not divisible by 7 heads")],
)
def test_what_does_not_fit_is_a_usage_error(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        configure("B/16", **overrides)
    assert str(refused.value).startswith(said)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("kind", "place"), [("learned", "stem"), ("sincos-2d", "stem"), ("relative", "every"), ("relative-bias", "every"),
                        ("rotary-2d", "shared")]
)
def test_positions_stand_where_they_usually_do(kind: str, place: str) -> None:
    assert configure("Ti/16", positions=kind).positions_at == place


def test_create_builds_what_was_asked_for() -> None:
    model = create("mu/8", classes=3, image_size=(16, 24), pooling="mean")
    assert model.config.classes == 3
    assert model.config.grid == (2, 3)
