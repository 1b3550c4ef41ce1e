from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ablation_rows import Outcome, filled, planned, row
from scipy.stats import t

from vitrail.errors import DataError
from vitrail.studies.ablations import ABLATIONS, AblationStudy
from vitrail.studies.ablations.plan import Plan
from vitrail.studies.page import write_study
from vitrail.studies.question import findings

NOISE = (0.0, 0.012, -0.007)
"""What a seed does to all variants alike, which pairs take away."""

WOBBLE = {"token": (0.001, -0.001, 0.0), "mean": (0.0, 0.002, -0.002)}


def at_their_rates(peaks: dict[str, int], gap: float = 0.2) -> tuple[Plan, Outcome]:
    """Accuracy of each pooling by how far its rate, by number, is from its best one."""
    asked = planned("head")

    def outcome(variant: str, rate: float, seed: int) -> tuple[float, float]:
        kind = "mean" if variant == "mean-same-rate" else variant
        away = abs(asked.rates(asked.by_name["mean"]).index(rate) - peaks[kind])
        wobble = WOBBLE.get(kind, (0.0, 0.001, 0.0))[seed]
        return 0.9 - gap * away, 0.9 - gap * away + NOISE[seed] + wobble

    return asked, outcome


def test_a_gap_that_the_rate_explains() -> None:
    asked, outcome = at_their_rates({"token": 1, "mean": 0, "attention": 1})
    found = AblationStudy(asked).answer(filled(asked, outcome))
    assert any("The learning rate explains the gap here: 20.0 points at one rate" in words for words in found.sentences)
    token = next(words for words in found.sentences if words.startswith("Class token against mean pooling at the"))
    assert "+20.0 points (+19.6 to +20.4, 3 seeds). Paper: mean pooling is far behind" in token
    assert token.endswith("Held here.")
    own = next(words for words in found.sentences if words.startswith("Mean pooling against class token:"))
    assert "no evidence of a difference" in own
    assert own.endswith("Held here: at most 1 point apart.")
    assert [one["verdict"] for one in found.numbers["claims"]] == ["held", "held"]
    gaps = 100 * (np.array(WOBBLE["mean"]) - WOBBLE["token"])
    low, high = t.interval(0.9, 2, gaps.mean(), gaps.std(ddof=1) / np.sqrt(3))
    points = found.numbers["claims"][1]["points"]
    assert (points["low"], points["high"]) == pytest.approx((low, high))
    assert any("Mean pooling (0.0003333): the best rate is the last that was tried" in words for words in found.doubts)


@pytest.mark.parametrize(("gap", "said"), [
    (0.03, "Held here."), (0.003, "Not held here: less than 1 point apart."),
    (-0.03, "Not held here: it is the other way round.")])
def test_far_behind_is_more_than_behind(gap: float, said: str) -> None:
    def outcome(variant: str, rate: float, seed: int) -> tuple[float, float]:
        return 0.5, 0.7 + NOISE[seed] + (gap if variant == "token" else WOBBLE["mean"][seed])

    asked = planned("head", factors=(1,))
    found = AblationStudy(asked).answer(filled(asked, outcome))
    token = next(words for words in found.sentences if words.startswith("Class token against mean pooling at the"))
    assert token.endswith(f"mean pooling is far behind at that rate (Figure 9). {said}")


def test_the_same_best_rate_leaves_nothing_to_explain() -> None:
    asked, outcome = at_their_rates({"token": 1, "mean": 1, "attention": 1})
    found = AblationStudy(asked).answer(filled(asked, outcome))
    assert any("nothing that adjusting the rate could explain" in words for words in found.sentences)


def test_equal_variants_are_no_evidence_and_too_little_to_say_equal_is_said_so() -> None:
    asked = planned("positions")

    def outcome(variant: str, rate: float, seed: int) -> tuple[float, float]:
        apart = (0.03 if seed == 1 else -0.02) if variant == "relative" else 0.0
        return 0.5, 0.7 + NOISE[seed] + apart

    found = AblationStudy(asked).answer(filled(asked, outcome))
    assert [one["verdict"] for one in found.numbers["claims"]] == [
        "not seen", "not seen", "not seen", "held", "not seen", "held", "held"]
    assert "Too close to tell from it: " in found.sentences[1]
    assert "Behind it" not in found.sentences[1]
    wide = next(words for words in found.sentences if words.startswith("Relative against 1-D at the stem"))
    assert wide.endswith("no difference to speak of, -0.2 points (Table 8). Cannot be seen at this scale.")
    assert any("7 comparisons at 90 % each" in words for words in found.doubts)
    assert any("No learning rate was tuned" in words for words in found.doubts)
    assert any("5-shot" in words for words in found.doubts)


def test_positions_that_help_and_a_claim_that_does_not_hold() -> None:
    asked = planned("positions")
    accuracy = {"none": 0.6, "1d-stem": 0.7, "2d-stem": 0.5}

    def outcome(variant: str, rate: float, seed: int) -> tuple[float, float]:
        return 0.5, accuracy.get(variant, 0.69) + NOISE[seed]

    found = AblationStudy(asked).answer(filled(asked, outcome))
    verdicts = {(one["first"], one["second"]): one["verdict"] for one in found.numbers["claims"]}
    assert verdicts["1d-stem", "none"] == "held"
    assert verdicts["2d-stem", "none"] == "not held"
    assert verdicts["2d-stem", "1d-stem"] == "not held"
    assert found.sentences[0].startswith("1-D at the stem came out ahead: 70.2 % (")
    assert "Behind it: no positions (10.0 points behind, interval +9.7 to +10.3); 1-D at every layer (" in (
        found.sentences[1])
    assert any(words.endswith("Not held here: it is the other way round.") for words in found.sentences)
    rows = {row[0]: row for row in found.tables[0].rows}
    assert rows["no positions"][-1] == "61.4 %"
    assert rows["1-D at the stem"][3].startswith("+10.0 (")


def test_who_has_fewer_seeds_is_compared_by_those_that_all_have() -> None:
    """By its one seed the last variant is ahead of all; the others' second ones were lower, and say nothing of it."""
    asked = planned("positions", seeds=2)
    seeds = {0: 0.7, 1: 0.5}
    rows = filled(asked, lambda variant, rate, seed: (0.5, seeds[seed] + (0.1 if variant == "relative" else 0.0)))
    late = next(cell for cell in asked.cells(rows) if cell.labels["variant"] == "relative" and cell.recipe.seed == 1)
    whole, without = AblationStudy(asked).answer(rows), AblationStudy(asked).answer(
        {key: row for key, row in rows.items() if key != late.key})
    assert whole.sentences[0].startswith("Relative came out ahead: 70.0 % (")
    assert without.sentences[0] == "Relative came out ahead: 80.0 % of the held-out images right."
    assert without.sentences[1] == "By the one seed that all have, nobody knows how much of that is chance."


def test_one_seed_says_the_difference_and_that_chance_is_unknown() -> None:
    asked = planned("optimizer", seeds=1)
    found = AblationStudy(asked).answer(filled(asked, lambda variant, rate, seed: (
        0.8, 0.81 if variant == "adam" else 0.8)))
    assert "By the one seed that all have, nobody knows how much of that is chance" in found.sentences[1]
    assert "+1.0 points with one seed, so that chance is unknown" in found.sentences[2]
    assert found.sentences[2].endswith("Whether that holds here takes more seeds.")
    assert found.numbers["claims"][0]["verdict"] == "unknown"


@pytest.mark.parametrize("most", range(1, 17))
def test_what_is_finished_is_answered_at_any_time(most: int) -> None:
    asked, outcome = at_their_rates({"token": 1, "mean": 0, "attention": 2})
    rows = filled(asked, outcome, most)
    assert len(rows) == most
    found = AblationStudy(asked).answer(rows)
    assert found.sentences
    if most == 1:
        assert found.sentences[0] == "Only class token is finished: 90.1 % of the held-out images right."
        assert "not finished yet. Paper: mean pooling is far behind" in found.sentences[1]
        assert any("Not all rates are tried yet: class token, mean pooling" in words for words in found.doubts)


def test_nothing_finished_and_everything_diverged() -> None:
    asked = planned("optimizer", seeds=1)
    with pytest.raises(DataError, match="No run of this study is finished"):
        AblationStudy(asked).answer({})
    rows = {cell.key: row(cell, 0, 0) | {"result": {"diverged": "no"}} for cell in asked.cells({})}
    with pytest.raises(DataError, match="Every run diverged: try lower --rates"):
        AblationStudy(asked).answer(rows)
    one = asked.grid["sgd"][asked.rates(asked.by_name["sgd"])[2]]
    rows = filled(asked, lambda variant, rate, seed: (0.5, 0.5)) | {one.key: rows[one.key]}
    assert any(words.startswith("The loss stopped being finite: SGD with momentum, learning rate")
               for words in AblationStudy(asked).answer(rows).doubts)


def test_masked_patch_is_compared_with_the_model_before_training() -> None:
    asked = planned("masked-patch")
    rows = {cell.key: row(cell, 0, 0.6 + NOISE[cell.labels["seed"]], floor=0.5 + NOISE[cell.labels["seed"]])
            for cell in asked.cells({})}
    found = AblationStudy(asked).answer(rows)
    floor = next(words for words in found.sentences if "against untrained" in words)
    assert "+10.0 points" in floor
    assert floor.endswith("Held here.")
    assert found.sentences[1].startswith("Behind it: untrained (10.0 points behind, interval +9.7 to +10.3).")


@pytest.mark.parametrize("name", sorted(ABLATIONS))
def test_the_page_has_everything(name: str, tmp_path: Path) -> None:
    asked = planned(name, "fashion:embedded")
    rows: dict[str, dict[str, Any]] = {}
    while missing := [cell for cell in asked.cells(rows) if cell.key not in rows]:
        rows |= {cell.key: row(cell, 0.5, 0.7 + NOISE[cell.labels["seed"]] + 0.01 * number, floor=0.4)
                 for number, cell in enumerate(missing)}
    found = AblationStudy(asked).answer(rows)
    written = {path.name for path in write_study(tmp_path, found, ["a note"])}
    assert {"study.html", "study.json", "study.svg", "study.png"} <= written
    assert ("rates.svg" in written) == (len(asked.factors) > 1)
    page = (tmp_path / "study.html").read_text()
    for variant in asked.variants:
        assert variant.words in page.replace("&#39;", "'")
        assert variant.paper in page.replace("&#39;", "'")
    assert len(found.tables[0].rows) == len(asked.variants)
    assert all("nan" not in words for words in found.sentences)


def test_the_answer_does_not_depend_on_who_finished_what_first() -> None:
    asked, outcome = at_their_rates({"token": 1, "mean": 0, "attention": 2})
    rows = filled(asked, outcome)
    turned = dict(reversed(rows.items()))
    assert AblationStudy(asked).answer(turned).numbers == AblationStudy(asked).answer(rows).numbers
    assert [cell.key for cell in asked.cells(turned)] == [cell.key for cell in asked.cells(rows)]


def test_a_source_without_test_images_is_doubted() -> None:
    asked, outcome = at_their_rates({"token": 1, "mean": 1, "attention": 1})
    rows = filled(asked, outcome)
    untested = replace(asked, source=replace(asked.source, splits={
        name: split for name, split in asked.source.splits.items() if name != "test"}))
    assert not any("has no test images" in words for words in findings(AblationStudy(asked), rows).doubts)
    for one in rows.values():
        one["result"]["test"]["split"] = "val"
    found = findings(AblationStudy(untested), rows)
    assert any("by which the best checkpoint of each run was chosen, too" in words for words in found.doubts)
    assert "accuracy on the validation images" in found.tables[0].note


def test_runs_of_two_precisions_are_doubted() -> None:
    asked, outcome = at_their_rates({"token": 1, "mean": 1, "attention": 1})
    rows = {key: row | {"precision": "bf16"} for key, row in filled(asked, outcome).items()}
    assert not any("bf16" in words for words in AblationStudy(asked).answer(rows).doubts)
    next(iter(rows.values()))["precision"] = "fp32"
    assert any("training.precision=fp32 makes it so" in words for words in AblationStudy(asked).answer(rows).doubts)


def test_no_gap_at_one_rate_and_one_that_stays_at_each_ones_own() -> None:
    asked, outcome = at_their_rates({"token": 1, "mean": 0, "attention": 1}, gap=0.0005)
    words = AblationStudy(asked).answer(filled(asked, outcome)).sentences
    assert any(one.startswith("At one rate for both there is no gap to be seen") for one in words)
    asked, outcome = at_their_rates({"token": 1, "mean": 0, "attention": 1})
    worse = filled(asked, lambda variant, rate, seed: tuple(  # type: ignore[arg-type, return-value]
        value - 0.1 * variant.startswith("mean") for value in outcome(variant, rate, seed)))
    words = AblationStudy(asked).answer(worse).sentences
    assert any(one.startswith("The learning rate does not explain all") for one in words)
    own = asked.rates(asked.by_name["mean"])[0]

    def scattered(variant: str, rate: float, seed: int) -> tuple[float, float]:
        val, test = outcome(variant, rate, seed)
        return val, test + (0.1 * (seed - 1) if rate == own else 0.0)

    words = AblationStudy(asked).answer(filled(asked, scattered)).sentences
    assert any(one.startswith("Whether the learning rate explains the gap of 20.0 points takes") for one in words)
