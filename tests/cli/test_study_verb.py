"""`vitrail study data`, as a user meets it."""

from __future__ import annotations

import json
import shutil
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
    (folder,) = Path("studies").glob("data-digits-mu_4-*")
    assert {path.name for path in folder.iterdir()} == {
        "study.html", "study.md", "study.json", "study.svg", "study.png"}
    text = (folder / "study.md").read_text()
    assert "![test error against the number of training images, by model](study.svg)" in text
    assert "| training images | mu/4 |\n| --- | --- |\n| " in text
    assert "| 1,293 | " in text
    page = (folder / "study.html").read_text()
    assert "How the error falls" in page
    assert "http" not in page.split("</style>")[1]
    shutil.rmtree("studies/cells")  # finished runs are not needed any more
    second = vitrail_cli(*ASKED, "--json")
    assert "3, all done" in second.err
    value = json.loads(second.out)
    assert [point["images"] for point in value["models"][0]["points"]] == value["sizes"]
    assert {point["seed"] for point in value["models"][0]["points"]} == {0}
    assert value["models"][0]["accuracy"]["count"] == 1
    assert 0 <= value["models"][0]["target"]["unreachable"] <= 1
    assert value["options"]["--set"] == "schedule.steps=3"
    assert any("set by hand" in words for words in value["doubts"])
    assert set(value["models"][0]["rivals"]["2"]) == {"last value", "M1", "M2", "M3"}
    assert len(Path("studies/ledger.jsonl").read_text().splitlines()) == 3


def test_a_budget_of_time_says_what_it_left_out(vitrail_cli):  # noqa: F811
    hurried = (*ASKED[:5], "--time", "0.000001s", *ASKED[-2:])
    outcome = vitrail_cli(*hurried)
    assert outcome.code == 3
    assert "Give it more --time" in outcome.err
    assert vitrail_cli(*ASKED).code == 0
    outcome = vitrail_cli(*hurried, "--quiet")
    assert outcome.code == 0, outcome.err
    assert outcome.err.startswith("note: mu/4: ")  # what speaks against the answer is no progress
    assert "runs did not fit into the time: mu/4 on " in outcome.err
    assert "The same command goes on with them" in outcome.err


def test_a_dry_run_trains_nothing(vitrail_cli):  # noqa: F811
    outcome = vitrail_cli("study", "data", "fashion:embedded", "--dry-run")
    assert outcome.code == 0, outcome.err
    assert "training images; each size as long as the default recipe trains so many" in " ".join(outcome.err.split())
    assert not Path("studies").exists()
    value = json.loads(vitrail_cli(*ASKED, "--dry-run", "--json").out)
    assert (value["runs"], value["left"], len(value["missing"])) == (3, 3, 3)
    assert not Path("studies").exists()


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("data", "digits", "--target", "1"), 2, "not an accuracy that can be aimed at"),
    (("data", "digits", "--rule", "epoch"), 2, "Did you mean 'epochs'"),
    (("data", "digits", "--sizes", "9"), 2, "--sizes 9 is not possible here"),
    (("data", "digits", "--time", "soon"), 2, "is not a length of time"),
    (("data", "digits", "--set", "schedule.seconds=60"), 2, "--time is for the whole study"),
    (("data", "digits", "--models", "S16"), 2, "S16"),
    (("data", "digits", "--set", "training.batch_size=100000000"), 2, "less than or equal to 131072"),
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
    words = " ".join(vitrail_cli("study", "--help").out.replace("│", " ").split())
    assert "How much data do I need? Train on parts" in words
    assert "compare the frontiers" in words


COMPUTE = ("study", "compute", "digits", "--seeds", 1, "--models", "mu/4")


def test_compute_of_two_families_with_the_papers_numbers_beside_them(vitrail_cli):  # noqa: F811
    asked = (*COMPUTE, "R26x0.5", "--lengths", 0.004, "1/100")
    first = vitrail_cli(*asked)
    assert first.code == 0, first.err
    assert "ViTs mu/4 ResNets R26x0.5" in " ".join(first.err.split())
    assert "run 4 of 4: R26x0.5 for 0.97 epochs, seed 0" in first.err
    assert "the paper's own numbers (Table 6) say: For the same accuracy ResNets need 3.4 times" in first.out
    (folder,) = Path("studies").glob("compute-digits-mu_4-R26x0.5-lengths-1_250_1_100-seeds-1-*")
    assert {path.name for path in folder.iterdir()} == {
        "study.html", "study.md", "study.json", "study.svg", "study.png", "paper.svg", "paper.png"}
    page = (folder / "study.html").read_text()
    assert "What compute buys here" in page
    assert "http" not in page.split("</style>")[1]
    value = json.loads(vitrail_cli(*asked, "--json").out)
    assert [len(family["points"]) for family in value["families"]] == [2, 2]
    assert len(Path("studies/ledger.jsonl").read_text().splitlines()) == 4


def test_compute_in_a_budget_of_time_answers_from_what_is_there(vitrail_cli):  # noqa: F811
    assert vitrail_cli(*COMPUTE, "--lengths", 0.004).code == 0
    outcome = vitrail_cli(*COMPUTE, "--lengths", 0.004, 1, "--time", "0.000001s")
    assert outcome.code == 0, outcome.err
    assert "1 of 2 runs did not fit into the time" in outcome.err
    assert "1 of their 1 finished settings lies on the frontier" in outcome.out


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("--lengths", "0"), 2, "--lengths 0 is not possible"),
    (("--lengths", "1/2", "soon"), 2, "--lengths soon is no number"),
    (("--set", "schedule.steps=3"), 2, "--set schedule.steps would make all lengths of this study the same"),
    (("--set", "schedule.seconds=3"), 2, "--time is for the whole study"),
    (("--models", "R26x0.125"), 2, "an image of 8x8 pixels"),
    (("--models", "L17/16"), 2, "L17/16"),
    (("--seeds", "0"), 2, "0 is not a whole number from 1 on"),
])
def test_mistakes_in_a_study_of_compute(vitrail_cli, arguments, code, message):  # noqa: F811
    outcome = vitrail_cli("study", "compute", "digits", *arguments)
    assert outcome.code == code, outcome.err
    assert message in " ".join(outcome.err.replace("│", " ").split())
    assert outcome.out == ""
    assert not Path("studies").exists()


def test_an_answer_whose_page_cannot_be_written_is_given_all_the_same(vitrail_cli):  # noqa: F811
    assert vitrail_cli(*ASKED).code == 0
    (page,) = Path("studies").glob("data-digits-mu_4-*")
    shutil.rmtree(page)
    page.write_text("in its place")
    outcome = vitrail_cli(*ASKED)
    assert outcome.code == 1
    assert "of the test images rightly after training on 1,293" in outcome.out
    assert "note: mu/4" in outcome.err
    assert str(page) in outcome.err
