"""Which parameters stay as they are."""

from __future__ import annotations

from typing import Any

import pytest

from vitrail.errors import UnknownNameError, UsageError
from vitrail.models import create
from vitrail.training.freeze import freeze


def tiny() -> Any:
    return create("mu/4", image_size=8, classes=3, depth=3)


@pytest.mark.parametrize(("patterns", "left"), [
    (["*", "!head"], ["head.bias", "head.weight"]),
    (["*", "!norm.bias"], ["norm.bias"]),
    (["encoder", "patchify", "prefix", "norm"], ["head.bias", "head.weight"]),
    (["*", "!*.norm1"], [f"encoder.blocks.{n}.norm1.{part}" for n in range(3) for part in ("bias", "weight")]),
    (["*", "!encoder.blocks.[12].norm2.bias"], [f"encoder.blocks.{n}.norm2.bias" for n in (1, 2)]),
])
def test_parts_are_named_as_the_model_names_them(patterns: list[str], left: list[str]) -> None:
    model = tiny()
    frozen = freeze(model, patterns)
    assert sorted(name for name, value in model.named_parameters() if value.requires_grad) == left
    assert set(frozen) == {name for name, value in model.named_parameters()} - set(left)


def test_a_number_is_not_the_beginning_of_another() -> None:
    model = create("mu/4", image_size=8, classes=3, depth=12)
    assert {name.split(".")[2] for name in freeze(model, ["encoder.blocks.1"])} == {"1"}


@pytest.mark.parametrize("pattern", ["encodr", "encoder.blocks.7", "!hed"])
def test_a_part_that_does_not_exist_names_the_nearest(pattern: str) -> None:
    with pytest.raises(UnknownNameError, match=r"encoder|head"):
        freeze(tiny(), ["*", pattern])


def test_something_must_be_left_to_train() -> None:
    with pytest.raises(UsageError, match="left to train"):
        freeze(tiny(), ["*"])
