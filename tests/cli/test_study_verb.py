"""`vitrail study data`, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli import vitrail_cli  # noqa: F401

ASKED = ("study", "data", "digits", "--models", "mu/4", "--sizes", 3, "--seeds", 1, "--set", "schedule.steps=3")


def test_sentences_a_page_a_figure_and_numbers_and_nothing_is_trained_twice(vitrail_cli):  # noqa: F811
    first = vitrail_cli(*ASKED, "--target", 0.99)
    assert first.code == 0, first.err
    assert "[what I understood]" in first.err
    assert "run 1 of 3: mu/4 on 1,293 images, seed 0" in first.err
    assert "of the test images rightly after training on 1,293" in first.out
    assert "99.0 % is out of reach" in first.out or "99.0 % needs" in first.out
    folder = Path("studies/data-mu4")
    assert {path.name for path in folder.iterdir()} == {
        "study.html", "study.md", "study.json", "study.svg", "study.png"}
    text = (folder / "study.md").read_text()
    assert "![test error against the number of training images, by model](study.svg)" in text
    assert "| training images | mu/4 |\n| --- | --- |\n| " in text
    assert "| 1,293 | " in text
    page = (folder / "study.html").read_text()
    assert "How the error falls" in page
    assert "http" not in page.split("</style>")[1]
    second = vitrail_cli(*ASKED, "--json")
    assert "3, all done" in second.err
    value = json.loads(second.out)
    assert [point["images"] for point in value["models"][0]["points"]] == value["sizes"]
    assert set(value["models"][0]["rivals"]["2"]) == {"last value", "M1", "M2", "M3"}
    assert len(Path("studies/ledger.jsonl").read_text().splitlines()) == 3


def test_a_budget_of_time_says_what_it_left_out(vitrail_cli):  # noqa: F811
    hurried = (*ASKED[:5], "--time", "0.000001s", *ASKED[-2:])
    outcome = vitrail_cli(*hurried)
    assert outcome.code == 3
    assert "Give it more --time" in outcome.err
    assert vitrail_cli(*ASKED).code == 0
    outcome = vitrail_cli(*hurried)
    assert outcome.code == 0, outcome.err
    assert "did not fit into the time. The same command goes on" in outcome.err


def test_a_dry_run_trains_nothing(vitrail_cli):  # noqa: F811
    outcome = vitrail_cli("study", "data", "fashion:embedded", "--dry-run")
    assert outcome.code == 0, outcome.err
    assert "training images; each size as long as the default recipe trains so many" in " ".join(outcome.err.split())
    assert not Path("studies").exists()


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("data", "digits", "--target", "1"), 2, "not an accuracy that can be aimed at"),
    (("data", "digits", "--rule", "epoch"), 2, "Did you mean 'epochs'"),
    (("data", "digits", "--sizes", "9"), 2, "9 sizes are not possible here"),
    (("data", "digits", "--time", "soon"), 2, "is not a length of time"),
    (("data", "digits", "--set", "schedule.seconds=60"), 2, "--time is for the whole study"),
    (("data", "digits", "--models", "S16"), 2, "S16"),
    (("data", "nowhere/"), 3, "nowhere"),
    (("data", "digits", "--out", "a-file"), 2, "is a file"),
    (("date", "digits"), 2, "Did you mean \"data\""),
])
def test_mistakes_in_a_study(vitrail_cli, arguments, code, message):  # noqa: F811
    Path("a-file").write_text("")
    outcome = vitrail_cli("study", *arguments)
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert outcome.out == ""


def test_the_questions_are_listed(vitrail_cli):  # noqa: F811
    assert "How much data do I need? Train on parts" in " ".join(vitrail_cli("study", "--help").out.split())
