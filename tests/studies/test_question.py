"""What all studies say of their images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tiny import tiny_recipe

from vitrail.data.source import open_source
from vitrail.studies.cell import Cell
from vitrail.studies.question import held_out, source_doubts

DIGITS = open_source("digits")


def row(**test: Any) -> dict[str, Any]:
    return {"result": {"test": {"top1": 0.5, "images": 10} | test}}


def test_what_the_images_say_against_an_answer() -> None:
    cells = [Cell(tiny_recipe(), "digits", 64)]
    assert source_doubts(DIGITS, cells, [row(split="test", unreadable=0)]) == []
    warned = replace(DIGITS, warnings=("two of them are alike",))
    assert source_doubts(warned, cells, []) == ["two of them are alike"]
    (unread,) = source_doubts(DIGITS, cells, [row(unreadable=3), row(unreadable=3)])
    assert unread == "3 of the test images could not be read and count as wrong for all models."
    (replaced,) = source_doubts(DIGITS, cells, [row() | {"replaced": 2}])
    assert replaced.startswith("Some training images could not be read")


def test_validation_in_the_place_of_a_test_is_said() -> None:
    untested = replace(DIGITS, splits={name: split for name, split in DIGITS.splits.items() if name != "test"})
    assert (held_out(DIGITS), held_out(untested)) == ("test images", "validation images")
    for keep, flattered in (("best", True), ("last", False)):
        (said,) = source_doubts(untested, [Cell(tiny_recipe(evaluation__keep=keep), "digits", 64)], [row(split="val")])
        assert ("flatters" in said) == flattered
