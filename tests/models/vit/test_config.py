"""Whatever does not fit together is said in one message: what was given and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.small import EVERY_POSITION, small
from vitrail.models import ViTConfig

WRONG: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"image_size": 225, "patch": 16}, ("height 225", "patch size 16", "224 or 240")),
    ({"image_size": (224, 100), "patch": 16}, ("width 100", "96 or 112")),
    ({"image_size": 5, "patch": 16}, ("height 5", "patch size 16; use 16")),
    ({"width": 30, "heads": 4}, ("width 30", "4 heads")),
    ({"positions": "relative", "positions_at": "stem"}, ("relative", "'stem'", "every, shared")),
    ({"positions": "relative-bias", "positions_at": "stem"}, ("relative-bias", "'stem'", "every, shared")),
    ({"rotary_unit": "pixel"}, ("rotary_unit", "'patch' or 'grid'")),
    ({"positions": "rotary-2d", "positions_at": "every"}, ("rotary-2d", "'every'", "shared")),
    ({"positions": "none", "positions_at": "every"}, ("none", "'every'", "allowed: stem")),
    ({"positions": "sincos-2d", "width": 18, "heads": 2}, ("divisible by 4", "18")),
    ({"positions": "learned-2d", "width": 15, "heads": 3}, ("even width", "15")),
    ({"positions": "rotary-2d", "positions_at": "shared", "width": 12, "heads": 2}, ("divisible by 4", "6")),
    ({"positions": "learnt"}, ("positions", "'none', 'learned'")),
    ({"pooling": "cls"}, ("pooling", "'token', 'mean', 'attention', 'token+mean' or 'distilled'")),
    ({"feedforward": "relu"}, ("feedforward", "'gelu-tanh', 'gelu', 'gelu-quick' or 'swiglu'")),
    ({"depth": 0}, ("depth", "greater than 0")),
    ({"projection": 0}, ("projection", "greater than 0")),
    ({"resampling": "nearest"}, ("resampling", "'bilinear-corners', 'bilinear', 'bilinear-antialias'")),
    ({"classes": -1}, ("classes", "greater than or equal to 0")),
    ({"registers": -1}, ("registers", "greater than or equal to 0")),
    ({"dropout": 1.0}, ("dropout", "less than 1")),
    ({"drop_path": -0.1}, ("drop_path", "greater than or equal to 0")),
    ({"norm_eps": 0}, ("norm_eps", "greater than 0")),
    ({"image_size": "large"}, ("image_size", "tuple")),
    ({"widht": 16}, ("widht", "not permitted")),
    ({"head_bias": float("nan")}, ("head_bias", "finite")),
    ({"layer_scale": float("inf")}, ("layer_scale", "finite")),
]


@pytest.mark.parametrize(("fields", "said"), WRONG, ids=lambda value: str(value)[:50])
def test_a_wrong_setting_is_named_with_what_is_allowed(fields: dict[str, Any], said: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        small(**fields)
    for words in said:
        assert words in str(refused.value)


@pytest.mark.parametrize(("kind", "place"), EVERY_POSITION)
def test_json_round_trip(kind: str, place: str) -> None:
    config = small(positions=kind, positions_at=place, layer_scale=1e-5, head_hidden=7)
    assert ViTConfig.model_validate_json(config.model_dump_json()) == config


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        small().depth = 3


def test_derived_sizes() -> None:
    config = small(registers=2)
    assert (config.grid, config.patches, config.class_tokens, config.prefix, config.tokens) == ((3, 4), 12, 1, 3, 15)
    assert (config.head_width, config.embedding) == (8, 16)
    assert small(pooling="mean").tokens == 12
    assert small(head_hidden=9).embedding == 9
    assert small(head_hidden=9, projection=7).embedding == 7


def test_at_size_checks_again() -> None:
    assert small().at_size((48, 20)).grid == (6, 5)
    with pytest.raises(ValidationError, match="height 25 is not divisible"):
        small().at_size((25, 16))
