from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from vitrail.data.source import open_source
from vitrail.errors import UnknownNameError, UsageError
from vitrail.studies.asked import LONGEST, option_words, options_of, page_name
from vitrail.studies.recipes_of import read_length, read_model, refuse_seeds

DIGITS = open_source("digits")


def test_only_what_is_not_as_usual_is_an_option() -> None:
    found = options_of({"schedule.steps": 3, "data.validation": 0}, rule=("recipe", "recipe"), seeds=(1, 3),
                       sizes=(None, None), weights=("a/b.npz", None), length=("1/4", None))
    assert option_words(found) == "--seeds 1 --weights a/b.npz --length 1/4 --set data.validation=0 schedule.steps=3"
    assert options_of({}, rule=("recipe", "recipe")) == {}


def test_pages_have_the_names_of_what_was_asked() -> None:
    """Whatever decides the answer decides the name; what does not, does not."""
    plain = page_name("data", DIGITS, ["Ti/2 (128x4)", "R26x1"], {})
    assert plain == "data-digits-Ti_2_128x4-R26x1"
    told = {plain} | {page_name("data", DIGITS, ["Ti/2 (128x4)", "R26x1"], options) for options in (
        {"--length": "1/4"}, {"--length": "14"}, {"--weights": "a/b.npz"}, {"--weights": "a_b.npz"}, {"--seeds": "14"})}
    assert len(told) == 6
    assert page_name("data", DIGITS, ["Ti/2 (128x4)"], {"--set": "x=" + "9" * 300}) != page_name(
        "data", DIGITS, ["Ti/2 (128x4)"], {"--set": "x=" + "9" * 301})
    assert max(map(len, told)) <= LONGEST + 7


def test_folders_of_the_same_name_have_pages_of_their_own(tmp_path: Path) -> None:
    names = set()
    for place in ("a", "b"):
        for label, color in (("x", 10), ("y", 200)):
            for number in range(8):
                file = tmp_path / place / "photos" / label / f"{place}{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (4, 4), (color + number, 0, 0)).save(file)
        source = open_source(tmp_path / place / "photos")
        names.add(page_name("data", source, ["S/16"], {}))
        names.add(page_name("data", replace(source, spec=f"{source.spec}/"), ["S/16"], {}))
    assert len(names) == 2
    assert all(name.startswith("data-photos-S_16-") for name in names)


@pytest.mark.parametrize("text", ["0", "-1", "1e-9", "1e9", "1/0", "x", "nan", "inf", ""])
def test_lengths_that_nobody_means(text: str) -> None:
    with pytest.raises(UsageError, match="--length"):
        read_length(text, "--length")


def test_models_by_their_names_with_what_only_a_study_has() -> None:
    assert read_model("half:S/16") == (True, "S/16")
    assert read_model("half") == (True, None)
    with pytest.raises(UnknownNameError, match=r"Did you mean 'vit'.* Known: vit, resnet, hybrid, half, half:NAME"):
        read_model("vt")
    with pytest.raises(UsageError, match="half: lacks the model"):
        read_model("half:")


@pytest.mark.parametrize("seeds", [0, -1, 101, 100_000])
def test_seeds_that_nobody_trains(seeds: int) -> None:
    with pytest.raises(UsageError, match="1 to 100"):
        refuse_seeds(seeds)
