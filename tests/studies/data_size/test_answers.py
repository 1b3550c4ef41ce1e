from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from vitrail.errors import DataError, UsageError
from vitrail.studies.data_size.answers import answer
from vitrail.studies.data_size.pairs import measured_words, pair_words
from vitrail.studies.fit.curve import Curve
from vitrail.studies.fit.outlook import Swap
from vitrail.studies.numerals import rounded

SIZES = [500 * 2**power for power in range(7)]


def rows(model: str, e: float, c: float, first: float, sizes: list[int] = SIZES) -> list[dict[str, Any]]:
    return [{"labels": {"model": model, "images": size}, "result": {"test": {
        "top1": 1 - (e + (first - e) * (size / 500) ** -c), "images": 10_000, "split": "test"}}} for size in sizes]


def test_a_reachable_target_is_answered_with_an_interval() -> None:
    told = answer(rows("S/16", 0.02, 0.4, 0.4), ["S/16"], target=0.93)
    text = " ".join(told.sentences)
    needed = 500 * (0.38 / 0.05) ** (1 / 0.4) - 32_000
    said = next(words for words in told.sentences if words.startswith("93.0 % needs about"))
    middle, low, high = (float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", said)[2:5])
    assert low < needed < high
    assert low < middle < high
    assert "names 90.8 % (90.1 % to 91.4 %, 1 seed) of the test images" in text
    assert "Twice as many images (64,000) would bring about 9" in text
    assert "within it" in text
    assert told.doubts == ("Every setting was trained with one seed so far: how much is chance, is not known.",)


def test_sizes_that_are_asked_about_are_answered_and_far_ones_doubted() -> None:
    told = answer(rows("S/16", 0.02, 0.4, 0.4), ["S/16"], at=(1_000, 64_000, 200_000))
    for size in (1_000, 64_000, 200_000):
        said = next(words for words in told.sentences if words.startswith(f"{size:,} images would bring about"))
        low, high = (float(number) for number in re.findall(r"[\d.]+", said.split("(")[1])[:2])
        assert low < 100 * (1 - (0.02 + 0.38 * (size / 500) ** -0.4)) < high
    assert not any(words.startswith("Twice") for words in told.sentences)  # it is among them
    assert [words.split(" is ")[0] for words in told.doubts[:-1]] == ["200,000"]
    assert "6.2 times the largest size" in told.doubts[0]


def test_a_target_beyond_the_floor_and_one_that_is_reached() -> None:
    flat = rows("S/16", 0.2, 1.5, 0.5)
    assert "99.0 % is out of reach by more images alone" in " ".join(answer(flat, ["S/16"], 0.99).sentences)
    assert "50.0 % is reached already" in " ".join(answer(flat, ["S/16"], 0.5).sentences)


@pytest.mark.parametrize("target", [0.0, 1.0, 1.5, -0.1])
def test_a_target_that_is_none(target: float) -> None:
    with pytest.raises(UsageError, match="not an accuracy that can be aimed at"):
        answer(rows("S/16", 0.02, 0.4, 0.4), ["S/16"], target)


def test_two_models_that_change_places() -> None:
    told = answer(rows("ViT", 0.0, 0.5, 0.6) + rows("ResNet", 0.02, 0.25, 0.35), ["ViT", "ResNet"])
    best, words, vit, resnet = told.sentences
    interval = r"\(\d+.\d % to \d+.\d %, 1 seed\)"
    assert re.fullmatch(rf"With 32,000 images ViT came out ahead: 92\.5 % {interval}; ResNet 8.+ {interval}\.", best)
    assert words.startswith("ViT and ResNet: ResNet is ahead up to 2,000 images, it is too close to tell at 4,000, "
                            "ViT is ahead from 8,000 on; there is no")
    assert "no evidence" in words
    assert vit.startswith("ViT names 92.5 %")
    assert "Twice as many" in vit
    assert resnet.startswith("ResNet names")


def test_two_models_that_do_not() -> None:
    told = answer(rows("ViT", 0.0, 0.3, 0.6) + rows("ResNet", 0.0, 0.3, 0.4), ["ViT", "ResNet"])
    assert told.sentences[1].startswith("ResNet is ahead of ViT at every size; there is no evidence that they change")


def test_a_swap_that_may_come_is_called_open() -> None:
    one, other = (Curve(np.array(SIZES, float), np.linspace(0.5, 0.2, 7) * factor) for factor in (1, 1.02))
    words = {probability: pair_words("A", one, "B", other, Swap(0, probability, None, 128_000.0))
             for probability in (0.1, 0.4)}
    assert words[0.1] == "A is ahead of B at every size; there is no evidence that they change places before 128,000 " \
        "(probability 10 %)."
    assert words[0.4].endswith("whether they change places before 128,000 is open (probability 40 %).")


def test_who_is_ahead_is_said_only_where_it_can_be_told() -> None:
    sizes, level = np.array([100.0, 200, 400, 800]), np.array([0.4, 0.3, 0.2, 0.15])

    def words(*factors: float) -> str:
        return measured_words("A", Curve(sizes, level, 0.02), "B", Curve(sizes, level * factors, 0.02))

    assert words(1.01, 0.99, 1.02, 1.0) == "A and B are too close to tell apart at every size"
    assert words(1.1, 1.2, 1.3, 1.4) == "A is ahead of B at every size"
    assert words(0.9, 0.8, 0.8, 0.7) == "B is ahead of A at every size"
    assert words(1.1, 1.0, 0.99, 0.8) == ("A and B: A is ahead up to 100 images, it is too close to tell from 200 to "
                                          "400, B is ahead from 800 on")
    assert words(0.8, 1.2, 1.0, 1.0).endswith(
        "up to 100 images, A is ahead at 200, it is too close to tell from 400 on")


def test_the_best_of_two_that_are_alike_is_not_the_best() -> None:
    told = answer(rows("ViT", 0.02, 0.4, 0.4) + rows("ResNet", 0.0205, 0.4, 0.4), ["ViT", "ResNet"])
    assert told.sentences[0].endswith("Whether it is better than ResNet is too close to tell.")


def test_no_error_at_all_is_an_answer() -> None:
    told = answer([*rows("ViT", 0.0, 0.5, 0.1, SIZES[:-1]), *rows("ViT", 0.0, 0.0, 0.0, SIZES[-1:])], ["ViT"])
    assert told.sentences[0].startswith("ViT names 100.0 % (100.0 % to 100.0 %, 1 seed) of the test images rightly")
    assert any("with 32,000 training images every one that is asked is right" in words for words in told.doubts)
    assert "99.0 % is reached already" in " ".join(answer(rows("ViT", 0.0, 0.0, 0.0), ["ViT"], 0.99).sentences)


def test_what_was_hardly_learned_and_hardly_asked_is_doubted() -> None:
    poor = rows("ViT", 0.1, 0.5, 0.88)
    for row in poor:
        row["result"]["test"] |= {"images": 200, "split": "val"}
    told = answer(poor, ["ViT"], classes=10)
    assert "of the validation images rightly" in told.sentences[0]
    assert any("with 500 images it is hardly better than guessing" in words for words in told.doubts)
    assert any("200 images, which are few" in words for words in told.doubts)
    seeds = [row for row in poor for _ in range(2)]
    assert not any("one seed" in words for words in answer(seeds, ["ViT"]).doubts)


def test_few_sizes_say_so() -> None:
    told = answer(rows("ViT", 0.0, 0.3, 0.6, SIZES[:2]), ["ViT"])
    assert told.sentences == ("ViT: 2 sizes are finished, and 3 are needed to say how it goes on.",)
    assert answer(rows("ViT", 0.0, 0.3, 0.6, SIZES[:1]), ["ViT"]).sentences[0].startswith("ViT: 1 size is finished")
    with pytest.raises(DataError, match="No cell of this study is finished"):
        answer([], ["ViT"])


def test_a_curve_that_rises_is_doubted() -> None:
    bent = rows("ViT", 0.0, 0.3, 0.6)
    bent[3]["result"]["test"]["top1"] = 0.3
    assert any("not monotone" in words for words in answer(bent, ["ViT"]).doubts)


def test_numbers_have_two_digits() -> None:
    assert [rounded(value) for value in (3.2, 47.0, 1_932, 123_456)] == ["3", "47", "1,900", "120,000"]
    assert np.isfinite(float(rounded(9.99)))
