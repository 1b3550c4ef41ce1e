"""`vitrail pretrain` as a user types it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from attempts import Attempts
from PIL import Image
from test_cli import vitrail_cli  # noqa: F401

import vitrail


def photos(folder: Path) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(20):
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


SHORT = ["--steps", "2", "--model", "mu/4", "--set", "training.batch_size=4", "-q"]


def said(attempts: Attempts, folder: Path, *arguments: str) -> tuple[int, str]:
    running = attempts.start(list(arguments), folder)
    code, words = running.code(), running.words()
    assert "Traceback" not in words
    return code, words


def test_from_pictures_without_labels_to_a_model_that_is_trained_on_some(attempts: Attempts, tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    code, words = said(attempts, tmp_path, "pretrain", "photos", "--out", "first", "--target", "pixels",
                       "--corrupted", "0.25", *SHORT)
    assert code == 0, words
    assert "test: loss" in words
    assert "next:   vitrail train LABELED_IMAGES --weights first" in words
    kept = json.loads((tmp_path / "first" / "recipe.json").read_text())
    assert kept["objective"]["masked_patch"] == {"target": "pixels", "corrupted": 0.25}
    assert "What it guesses" in (tmp_path / "first" / "report.html").read_text()
    code, words = said(attempts, tmp_path, "pretrain", "photos", "--weights", "first", "--out", "second",
                       "--steps", "1", "-q")
    assert code == 0, words
    code, words = said(attempts, tmp_path, "train", "digits", "--weights", "second", "--out", "third", "--steps", "1",
                       "-q")
    assert code == 0, words
    assert "test accuracy" in words
    assert said(attempts, tmp_path, "predict", "second", "photos/0.png")[0] == 1


def test_a_masked_autoencoder_chooses_a_decoder_in_proportion_and_pictures_without_more_than_crops(
        attempts: Attempts, tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    code, words = said(attempts, tmp_path, "pretrain", "photos", "--objective", "mae", "--masked", "0.5", "--out",
                       "first", "--steps", "1", "-m", "Ti/4", "-q")
    assert code == 0, words
    kept = json.loads((tmp_path / "first" / "recipe.json").read_text())
    assert kept["objective"]["mae"] == {"masked": 0.5, "normalized": True,
                                        "decoder": {"width": 96, "depth": 4, "heads": 3}}
    assert kept["augmentation"]["brightness"] == 0
    assert kept["augmentation"]["area"] == [0.2, 1]
    assert "What it guesses" in (tmp_path / "first" / "report.html").read_text()


def test_self_distillation_chooses_crops_and_heads_in_proportion(attempts: Attempts, tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    code, words = said(attempts, tmp_path, "pretrain", "photos", "--objective", "dino", "--set",
                       "objective.dino.koleo.weight=0.1", "--out", "first", "--steps", "1", "-m", "mu/4", "-q")
    assert code == 0, words
    kept = json.loads((tmp_path / "first" / "recipe.json").read_text())
    crops, heads = kept["augmentation"]["multi_crop"], kept["objective"]["dino"]
    assert kept["augmentation"]["crop"] == "none"
    assert [2 * side for side in crops["local_size"]] == kept["preprocess"]["size"]
    assert crops["local_area"][0] == min(0.5, crops["local_size"][0] ** 2 / 16**2)  # none is enlarged
    assert (heads["prototypes"], heads["hidden"], heads["bottleneck"]) == (256, 128, 32)
    assert heads["koleo"]["weight"] == 0.1
    assert kept["optimizer"]["learning_rate"] == 5e-4 * kept["training"]["batch_size"] / 256
    assert "What it sees" in (tmp_path / "first" / "report.html").read_text()
    code, words = said(attempts, tmp_path, "pretrain", "photos", "--objective", "dino", "--out", "plain", "--steps",
                       "1", "-m", "mu/4", "-q")
    assert code == 0, words
    page = (tmp_path / "plain" / "report.html").read_text()
    assert "images; an answer without any preference would have 5.545." in page  # ln(256)
    captions = re.findall(r'<span title="([^"]*)"', page)
    assert captions
    assert all(re.fullmatch(r"\d+\.png", caption) for caption in captions)


def test_features_are_measured_on_other_images_on_the_way(attempts: Attempts, tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    code, words = said(attempts, tmp_path, "pretrain", "photos", "--out", "first", "--probe-every", "1", "--probe-on",
                       "digits", "--set", "evaluation.probe_images=60", *SHORT)
    assert code == 0, words
    assert "frozen features: 10-shot " in words
    assert "20 nearest neighbors " in words
    assert "right on 60 val images of digits" in words


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["train", "photos", *SHORT], 3, "no class folders"),
    (["train", "photos", "--recipe", "pretrain", "--dry-run", *SHORT], 0, ""),
    (["pretrain", "photos", "--probe-every", "1", *SHORT], 3, "Name a labeled source: --probe-on SOURCE"),
    (["pretrain", "photos", "--probe-every", "0", *SHORT], 2, "greater than 0"),
    (["pretrain", "photos", "--probe-on", "digits", *SHORT], 2, "how often: --probe-every 1"),
    (["pretrain", "photos", "--lr", "search", *SHORT], 2, "without labels there is none"),
    (["pretrain", "photos", "--target", "colour"], 2, "mean-color"),
    (["pretrain", "photos", "--corrupted", "1", *SHORT], 2, "less than 1"),
    (["pretrain", "photos", "--recipe", "augreg"], 2, "learns labels"),
    (["pretrain", "photos", "--recipe", "paper_mask"], 2, "paper_masked_patch"),
    (["pretrain"], 2, "Nothing to learn from"),
    (["pretrain", "trained"], 3, "trained holds a trained model, and images are needed here"),
    (["pretrain", "photos", "--out", "photos/0.png", *SHORT], 2, "photos/0.png is a file. Choose another --out"),
    (["pretrain", "photos", "--model", "R26x0.25", "--image-size", "32", "--steps", "1"], 2, "cannot guess"),
    (["pretrain", "photos", "--objective", "simclr"], 2, "masked-patch"),
    (["pretrain", "photos", "--objective", "mae", "--masked", "1", *SHORT], 2, "error: --masked: "),
    (["pretrain", "photos", "--objective", "mae", "--corrupted", "0.3", *SHORT], 2, "an option of masked-patch"),
    (["pretrain", "photos", "--masked", "0.3", *SHORT], 2, "--masked is an option of mae"),
    (["pretrain", "--resume", "--out", "photos", "--target", "pixels"], 2, "keeps what it guesses"),
])
def test_mistakes_end_in_a_message(attempts: Attempts, tmp_path: Path, arguments: list[str], code: int,
                                   words: str) -> None:
    photos(tmp_path / "photos")
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "model.safetensors").write_bytes(b"")
    found, spoken = said(attempts, tmp_path, *arguments)
    assert found == code, spoken
    assert words in " ".join(spoken.split())


@pytest.mark.parametrize(("arguments", "words"), [
    (("--objective", "dino", "--target", "pixels"), "--target is an option of masked-patch"),
    (("--objective", "dino", "--set", "objective.dino.koleo=0.1"), "objective.dino.koleo: has settings of its own"),
    (("--objective", "dino", "--set", "objective.dino.bar=1"), "objective.dino.momentum")])
def test_options_of_another_objective_and_groups_of_settings(vitrail_cli, arguments, words):  # noqa: F811
    outcome = vitrail_cli("pretrain", "digits", *arguments)
    assert outcome.code == 2
    assert words in " ".join(outcome.err.split())
    assert len(outcome.err) < 1_500


def test_a_run_of_another_objective_is_not_gone_on_with(vitrail_cli, tmp_path):  # noqa: F811
    photos(tmp_path / "photos")
    short = [*SHORT, "--out", "first", "--resume-or-start"]
    assert vitrail_cli("pretrain", "photos", "--objective", "mae", *short).code == 0
    outcome = vitrail_cli("pretrain", "photos", "--objective", "dino", *short)
    assert outcome.code == 2
    assert "first holds a run that learns by mae, not by dino. Choose another --out." in outcome.err
    loaded = vitrail.load("first")
    assert loaded.decoder is not None
    assert vitrail.load(loaded.save("copy")).decoder.heads == loaded.decoder.heads
