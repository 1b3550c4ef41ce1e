"""`vitrail probe`, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_cli import vitrail_cli  # noqa: F401

import vitrail
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import UsageError


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = vitrail.create("mu/4", classes=0, image_size=8)
    return Bundle(model, Preprocess(size=8), activation="none").save(tmp_path / "features")


@pytest.mark.usefixtures("bundle")
def test_a_table_with_files_beside_it(vitrail_cli):  # noqa: F811
    outcome = vitrail_cli("probe", "features", "digits", "--shots", 1, 5, "--out", "found", "--cache", "cache")
    assert outcome.code == 0
    assert "[what I understood]" in outcome.err
    assert "1, 5 of each class, 3 draws each" in outcome.err
    rows = [line.split("  ")[0].strip() for line in outcome.out.splitlines() if " % (" in line]
    assert rows == ["few-shot 1 shot", "few-shot 5 shots", "knn k=20"]
    assert outcome.out.splitlines()[-1] == "next: vitrail train digits --weights features"
    assert sorted(path.name for path in Path("found").iterdir()) == [
        "accuracy.png", "accuracy.svg", "probe.json", "probe.md"]
    assert Path("found/probe.md").read_text().startswith("| method | learned from | digits |")
    assert json.loads(Path("found/probe.json").read_text())["width"] == 32


@pytest.mark.usefixtures("bundle")
def test_json_and_markdown(vitrail_cli):  # noqa: F811
    asked = ("probe", "features", "digits", "--method", "few-shot", "--shots", 2, "--seeds", 2, "--cache", "cache")
    value = json.loads(vitrail_cli(*asked, "--json").out)
    score, = value["scores"]
    assert (score["shots"], score["images"], len(score["accuracies"]), score["over"]) == (2, 20, 2, "draws")
    assert vitrail_cli(*asked, "--markdown").out.splitlines()[2].startswith("| few-shot 2 shots | 20 images | ")


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("features",), 2, "nothing to measure on"),
    (("features", "digits", "--method", "knnn"), 2, "Did you mean 'knn'"),
    (("features", "digits", "--shots", "0"), 2, "from 1 on"),
    (("features", "digits", "--neighbors", "1.5"), 2, "1.5 is not a whole number"),
    (("features", "digits", "--layer", "12"), 2, "Known: embedding, patches, both"),
    (("features", "digits", "--json", "--markdown"), 2, "Give one of"),
    (("features", "digits", "--out", "features/config.json"), 2, "is a file"),
    (("features", "features"), 3, "features"),
    (("features", "digits", "digits"), 2, "digits is given twice"),
    (("features", "digits", "--cache", "features/config.json"), 2, "--cache features/config.json is a file"),
    (("features", "digits", "--cache", "/proc/x"), 2, "--cache /proc/x cannot be made or written to"),
    (("nowhere", "digits"), 1, "no Bundle at nowhere"),
])
def test_mistakes_are_explained(vitrail_cli, arguments, code, message):  # noqa: F811
    outcome = vitrail_cli("probe", *arguments)
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert outcome.out == ""


@pytest.mark.usefixtures("bundle")
def test_fine_tuning_has_its_own_run_folders(vitrail_cli) -> None:  # noqa: F811
    asked = ("probe", "features", "digits", "--method", "finetune", "--images", 20, 40, "--seeds", 1, "--steps", 1)
    outcome = vitrail_cli(*asked, "--json", "--out", "found")
    assert [score["images"] for score in json.loads(outcome.out)["scores"]] == [20, 40]
    assert "recipe finetune, 20, 40 training images, 1 draw; runs in found/runs" in outcome.err
    assert len(list(Path("found/runs").glob("*/*/bundle"))) == 2
    outcome = vitrail_cli("probe", "features", "digits", "--images", 20)
    assert (outcome.code, outcome.out) == (2, "")
    assert "add --method finetune" in outcome.err


@pytest.mark.usefixtures("bundle")
def test_a_folder_that_cannot_be_made_is_told_before_anything_is_computed(vitrail_cli):  # noqa: F811
    Path("file").write_text("")
    outcome = vitrail_cli("probe", "features", "digits", "--out", "file/inside")
    assert outcome.code == 2
    assert "cannot be made" in outcome.err
    assert "features of" not in outcome.err


@pytest.mark.usefixtures("bundle")
def test_the_model_looks_at_the_size_that_is_asked_for(vitrail_cli):  # noqa: F811
    outcome = vitrail_cli("probe", "features", "digits", "--shots", 1, "--seeds", 1, "--image-size", "12x16")
    assert outcome.code == 0, outcome.err
    assert "images of 12 x 16 pixels" in outcome.err
    assert vitrail_cli("probe", "features", "digits", "--image-size", "9").code == 2
    found = vitrail.probe("features", "digits", methods="knn", image_size=(12, 16))
    assert [score.method for score in found.scores] == ["knn"]
    with pytest.raises(UsageError, match="A Bundle has its size"):
        vitrail.probe(vitrail.load("features"), "digits", image_size=8)
