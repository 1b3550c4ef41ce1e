"""`vitrail train --weights` as a person types it: from every format, at other sizes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models.small import awake, small
from test_cli import draw_photos, vitrail_cli  # noqa: F401

import vitrail
from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess

GOLDEN = Path(__file__).parents[1] / "golden"
FORMATS: dict[str, dict[str, Any]] = {
    "official": {}, "big_vision": {"pooling": "attention", "head_hidden": 6},
    "timm": {"feedforward": "gelu", "resampling": "bicubic-antialias", "registers": 2},
    "huggingface": {"feedforward": "gelu", "resampling": "bicubic", "norm_eps": 1e-12},
    "vitrail": {"positions": "relative", "positions_at": "every", "layer_scale": 0.1},
}


def published(folder: Path, form: str) -> Path:
    config = small(image_size=(32, 32), patch=(8, 8), **FORMATS[form])
    bundle = Bundle(awake(config).eval(), Preprocess(size=32), ("a", "b", "c", "d", "e"))
    return weights.write(bundle, folder / "published", form)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_where_a_run_can_start(form: str, vitrail_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    path = published(tmp_path, form)
    photos = draw_photos(tmp_path / "photos", 4)
    outcome = vitrail_cli("train", photos, "--weights", path, "--steps", "2", "--image-size", "48x32", "--out", "run")
    assert outcome.code == 0, outcome.err
    said = " ".join(outcome.err.split())
    assert f"published ({form}): its whole head goes, zeros for 2 classes come; positions resampled from 4x" in said
    given, bundle = vitrail.load(path), vitrail.load("run")
    assert bundle.classes == ("blue", "red")
    for field in ("feedforward", "norm_eps", "pooling", "resampling", "registers", "width", "patch", "layer_scale"):
        assert getattr(bundle.model.config, field) == getattr(given.model.config, field), field
    assert bundle.model.config.head_hidden is None
    assert bundle.preprocess == given.preprocess.model_copy(update={"size": (48, 32)})
    before, after = given.model.state_dict(), bundle.model.state_dict()
    changed = {name: float((after[name] - before[name]).abs().max()) for name in after
               if after[name].numel() and not name.startswith(("head.", "encoder.positions"))}
    assert 0 < max(changed.values()) < 0.01  # two gentle steps away from the given weights, not drawn afresh
    assert vitrail_cli("predict", "run", photos, "--json").code == 0


@pytest.mark.parametrize(("form", "fields"), [
    ("bit", {"family": "bit"}), ("official", {"family": "hybrid", "patch": (8, 8)}),
    ("timm", {"family": "bit", "standardize_eps": 1e-8}),
])
def test_resnets_and_hybrids_are_where_a_run_can_start(form: str, fields: dict[str, Any], vitrail_cli,  # type: ignore[no-untyped-def]  # noqa: F811
                                                       tmp_path: Path) -> None:
    bundle = Bundle(awake(small(image_size=(32, 32), **fields)), Preprocess(size=32), ("a", "b", "c", "d", "e"))
    path = weights.write(bundle, tmp_path / "published", form)
    photos = draw_photos(tmp_path / "photos", 4)
    outcome = vitrail_cli("train", photos, "--weights", path, "--steps", "2", "--image-size", "32x48", "--out", "run")
    assert outcome.code == 0, outcome.err
    assert f"published ({form}): its whole head goes, zeros for 2 classes come" in " ".join(outcome.err.split())
    run = vitrail.load("run")
    assert (run.classes, run.model.config.image_size) == (("blue", "red"), (32, 48))


def test_another_patch(vitrail_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    config = vitrail.create("mu/8", classes=3, image_size=32).config
    Bundle(awake(config), Preprocess(size=32)).save(tmp_path / "mu")
    photos = draw_photos(tmp_path / "photos", 4)
    outcome = vitrail_cli("train", photos, "-w", "mu", "--model", "mu/16", "--steps", "1", "--out", "run")
    assert outcome.code == 0, outcome.err
    assert "patches resized from 8x8 to 16x16 pixels" in " ".join(outcome.err.split())
    assert vitrail.load("run").model.config.name == "mu/16"
    assert vitrail_cli("convert", "mu", "mu16", "--patch", "16").code == 0
    loaded = vitrail.load("mu16")
    assert torch.equal(loaded.model.patchify.weight, vitrail.load("mu", patch=16).model.patchify.weight)
    assert loaded.provenance["notes"] == ["Positions resampled from 4x4 to 2x2 (bilinear-corners).",
                                          "Patches resized from 8x8 to 16x16 pixels (pseudo-inverse)."]


def test_an_empty_head_is_no_loss_and_resuming_needs_no_weights(vitrail_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    arrays = dict(np.load(GOLDEN / "vit_token.npz"))
    np.savez("empty.npz", **(arrays | {"head/kernel": np.zeros_like(arrays["head/kernel"])}))
    photos = draw_photos(tmp_path / "photos", 4)
    assert vitrail_cli("train", photos, "--weights", "empty.npz", "--steps", "1", "--out", "run").code == 0
    Path("empty.npz").unlink()
    outcome = vitrail_cli("train", "--resume", "--out", "run", "--steps", "2")
    assert outcome.code == 0, outcome.err
    assert vitrail.load("run").provenance["step"] == 2
    refused = vitrail_cli("train", "--resume", "--out", "run", "--weights", "other")
    assert (refused.code, "keeps its model, weights" in refused.err) == (2, True)
    again = vitrail_cli("train", "--recipe", "run/recipe.json", "--out", "again")
    assert (again.code, "no Bundle at empty.npz" in again.err) == (1, True)
    np.savez("moved.npz", **arrays)
    again = vitrail_cli("train", "--recipe", "run/recipe.json", "--weights", "moved.npz", "--out", "again")
    assert again.code == 0, again.err


def test_a_head_is_kept_where_the_classes_are_the_same(vitrail_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    config = small(image_size=(32, 32), classes=2)
    Bundle(awake(config), Preprocess(size=32), ("red", "blue")).save(tmp_path / "first")
    photos = draw_photos(tmp_path / "photos", 4)
    keep = ("--weights", "first", "--set", "model.head=keep", "--steps", "1")
    outcome = vitrail_cli("train", photos, *keep, "--out", "run")
    assert outcome.code == 0, outcome.err
    assert "its head is kept" in outcome.err
    (photos / "red").rename(photos / "green")
    refused = vitrail_cli("train", photos, *keep, "--out", "other")
    assert refused.code == 1
    assert "only in the weights: red; only in the images: green" in refused.err


REFUSED = [
    (("--weights", "nowhere"), 1, "no Bundle at nowhere"),
    (("--weights", "text"), 1, "no weights that vitrail knows"),
    (("--weights", "folder"), 1, "is not a Bundle"),
    (("--weights", "gray.npz"), 2, "takes images of 1 channels; pictures have 3"),
    (("--weights", "token.npz", "--model", "B/16"), 2, "width is 48, not 768"),
    (("--weights", "token.npz", "--model", "R50x1"), 2, "family is vit, not bit"),
    (("--weights", "token.npz", "--image-size", "50"), 2, "50 is not divisible by the patch size 8"),
    (("--weights", "token.npz", "--recipe", "demo"), 2, "starts from scratch"),
    (("--weights", "token.npz", "--set", "model.settings.depth=4"), 1, "depth is 3, not 4"),
    (("--weights", "token.npz", "--set", "model.head=new_one"), 2, "'new' or 'keep'"),
    (("--weights", "token.npz", "--set", "model.head=keep"), 1, "do not say which classes their 7 answers are"),
    (("--weights", "bit", "--set", "model.settings.pooling=mean"), 2, "Unknown model setting 'pooling'"),
    (("--recipe", "finetune"), 2, "Give them: --weights FILE"),
    (("--set", "model.head=keep"), 2, "needs weights whose head is to be kept"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), REFUSED, ids=[" ".join(case[0]) for case in REFUSED])
def test_what_is_refused(arguments: tuple[str, ...], code: int, words: str, vitrail_cli,  # type: ignore[no-untyped-def]  # noqa: F811
                         tmp_path: Path) -> None:
    arrays = dict(np.load(GOLDEN / "vit_token.npz"))
    np.savez("token.npz", **arrays)
    np.savez("gray.npz", **(arrays | {"embedding/kernel": arrays["embedding/kernel"][:, :, :1]}))
    Path("text").write_text("dear")
    Path("folder").mkdir()
    config = small(family="bit", image_size=(32, 32))
    Bundle(awake(config), Preprocess(size=32)).save("bit")
    outcome = vitrail_cli("train", "digits", *arguments, "--out", "run", "--dry-run")
    assert outcome.code == code, outcome.err
    assert words in " ".join((outcome.err + outcome.out).split())
    assert not Path("run").exists() or not list(Path("run").glob("[!.]*"))


def test_describe_says_which_head_and_what_was_assumed(vitrail_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    arrays = dict(np.load(GOLDEN / "vit_token.npz"))
    np.savez("zero.npz", **(arrays | {"head/kernel": np.zeros_like(arrays["head/kernel"])}))
    np.savez("none.npz", **{key: value for key, value in arrays.items() if "head" not in key})
    heads = {"zero.npz": "zero", "none.npz": "none", GOLDEN / "vit_token.npz": "linear",
             GOLDEN / "vit_token_prelogits.npz": "tanh, linear", published(tmp_path, "huggingface"): "linear",
             published(tmp_path / "two", "vitrail"): "linear"}
    for path, head in heads.items():
        facts = json.loads(vitrail_cli("describe", path, "--json").out)
        assert facts["head"] == head, path
    assert (facts["format"], facts["assumed"], facts["resampled"]) == ("vitrail", [], [])
    assert "all zeros: it gives features, and can be fine-tuned" in vitrail_cli("describe", "zero.npz").out
    said = vitrail_cli("describe", GOLDEN / "big_vision_gap_sincos.npz").out
    assert "fixed sines and cosines are assumed" in said
    larger = json.loads(vitrail_cli("describe", GOLDEN / "vit_token.npz", "--image-size", "64", "--json").out)
    assert larger["resampled"] == ["positions resampled from 6x6 to 8x8 (bilinear-corners)"]
    refused = vitrail_cli("describe", GOLDEN / "vit_token.npz", "--image-size", "50")
    assert (refused.code, "not divisible by the patch size 8" in refused.err) == (2, True)


def test_a_teacher(vitrail_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    photos = draw_photos(tmp_path / "photos", 4)
    assert vitrail_cli("train", photos, "--steps", "1", "--model", "mu/8", "--out", "large").code == 0
    taught = ("train", photos, "--teacher", "large", "--steps", "1", "--model", "mu/8", "--image-size", "16")
    soft = vitrail_cli(*taught, "--set", "objective.distillation=soft", "--set", "objective.teacher_share=0.9",
                       "--out", "run")
    assert soft.code == 0, soft.err
    assert "all of its answers count, at temperature 3, for 0.9 of the loss" in " ".join(soft.err.split())
    assert vitrail.load("run").provenance["recipe"]["objective"]["teacher"]["path"] == "large"
    missing = vitrail_cli("train", photos, "--teacher", "nowhere", "--out", "other")
    assert (missing.code, "There is no Bundle at nowhere" in missing.err) == (1, True)
    other = vitrail_cli("train", "digits", "--teacher", "large", "--out", "other")
    assert other.code == 1
    assert "only in the teacher: blue, red; only in the images: 0, 1" in " ".join(other.err.split())
    again = vitrail_cli("train", "--resume", "--teacher", "large", "--out", "run")
    assert (again.code, "keeps its model, weights, teacher" in " ".join(again.err.split())) == (2, True)
