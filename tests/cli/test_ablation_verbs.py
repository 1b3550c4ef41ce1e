"""`vitrail study head` and the others, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli import vitrail_cli  # noqa: F401

from vitrail.cli.ablations import VERBS
from vitrail.studies.ablations import ABLATIONS

SHORT = ("--model", "mu/4", "--set", "schedule.steps=3")


def test_every_ablation_has_a_verb_that_says_what_it_asks(vitrail_cli):  # noqa: F811
    assert VERBS.keys() == ABLATIONS.keys()
    listed = " ".join(vitrail_cli("study", "--help").out.split())
    for name in VERBS:
        assert name in listed
        told = vitrail_cli("study", name, "--help").out
        assert f"vitrail study {name} photos/" in told
        assert "?" in told


def test_head_from_a_budget_to_a_page(vitrail_cli):  # noqa: F811
    asked = ("study", "head", "digits", *SHORT, "--seeds", 2)
    hurried = vitrail_cli(*asked, "--time", "0.000001s")
    assert hurried.code == 3
    assert "Give it more --time" in hurried.err
    first = vitrail_cli(*asked)
    assert first.code == 0, first.err
    assert "run 1 of 14: class token, learning rate 0.001, seed 0" in first.err
    assert "Mean pooling against class token: " in first.out
    (folder,) = Path("studies").glob("head-digits-mu_4-*")
    assert {"study.html", "study.png", "rates.png"} <= {path.name for path in folder.iterdir()}
    lines = len(Path("studies/ledger.jsonl").read_text().splitlines())
    second = vitrail_cli(*asked, "--json")
    assert "14, all done" in second.err
    value = json.loads(second.out)
    assert [len(one["scores"]) for one in value["variants"]] == [2, 2, 2, 2]
    assert len(Path("studies/ledger.jsonl").read_text().splitlines()) == lines


def test_masked_patch_measures_frozen_features_before_and_after(vitrail_cli):  # noqa: F811
    outcome = vitrail_cli("study", "masked-patch", "digits", "--model", "mu/4", "--set", "schedule.steps=3", "--seeds",
                          1, "--json")
    assert outcome.code == 0, outcome.err
    assert "after step 0: " in outcome.err
    assert "after step 3: " in outcome.err
    value = json.loads(outcome.out)
    assert [list(one["scores"]) for one in value["variants"]] == [["0"]] * 5
    row = json.loads(Path("studies/ledger.jsonl").read_text().splitlines()[0])
    assert set(row["result"]["probe"]) == {"few_shot_10", "knn_20"}
    assert row["result"]["test"] == {"split": "test", "top1": row["result"]["probe"]["few_shot_10"], "images": 359,
                                     "by": "few_shot_10"}
    assert 0.1 < row["result"]["floor"] < 1


def test_a_rate_that_is_far_too_high_is_a_result(vitrail_cli):  # noqa: F811
    outcome = vitrail_cli("study", "optimizer", "digits", *SHORT, "--rates", "1", "1e30", "--seeds", 1)
    assert outcome.code == 0, outcome.err
    assert "The loss stopped being finite: SGD with momentum, learning rate 7.5e+27" in " ".join(outcome.err.split())
    assert "all done" in vitrail_cli("study", "optimizer", "digits", *SHORT, "--rates", "1", "1e30", "--seeds", 1).err


@pytest.mark.parametrize("name", ["positions", "shape", "patch"])
def test_others_are_planned_without_training(vitrail_cli, name):  # noqa: F811
    outcome = vitrail_cli("study", name, "fashion:embedded", "--dry-run", "--set", "training.batch_size=8")
    assert outcome.code == 0, outcome.err
    assert not Path("studies").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (("head", "digits", "--rates", "0", "1"), "0 is no multiple of a learning rate"),
    (("head", "digits", "--rates=-1"), "-1 is no multiple of a learning rate"),
    (("head", "digits", "--rates", "fast"), "fast is no number such as 0.3, 1/3 or 3"),
    (("head", "digits", "--rates", "1/0"), "1/0 is no number"),
    (("head", "digits", "--rates", "1e999"), "1e999 is no number"),
    (("head", "digits", "--seeds", "0"), "0 is not a whole number from 1 on"),
    (("head", "digits", "--model", "R26x1"), "is a ResNet: this question needs a model with tokens"),
    (("positions", "digits", "--set", "schedule.seconds=9"), "schedule.seconds is not possible"),
    (("patch", "digits", "--model", "mu/1", "--set", "preprocess.size=[13,13]"), "no second patch size"),
    (("optimizer", "digits", "--set", "optimizer.learning_rate=0.1"), "one rate"),
    (("masked-patch", "digits", "--model", "R26x1"), "patches that see nothing of one another"),
    (("masked-patch", "digits", "--model", "mu/8"), "sees a picture as a single patch"),
])
def test_mistakes_in_an_ablation(vitrail_cli, arguments, message):  # noqa: F811
    outcome = vitrail_cli("study", *arguments)
    assert outcome.code == 2, outcome.err
    assert message in " ".join(outcome.err.split())
    assert outcome.out == ""
