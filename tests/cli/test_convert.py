"""`vitrail convert`, and published weights wherever a command takes a Bundle."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_cli import Outcome, vitrail_cli  # noqa: F401

import vitrail
from vitrail import weights

GOLDEN = Path(__file__).parents[1] / "golden"


def test_convert_and_back(vitrail_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    there: Outcome = vitrail_cli("convert", GOLDEN / "vit_token.npz", "bundle")
    assert there.code == 0
    assert "7 classes, images of 48 x 48" in there.out
    assert vitrail_cli("convert", "bundle", "back", "--to", "official").code == 0
    before, after = np.load(GOLDEN / "vit_token.npz"), np.load(tmp_path / "back")
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert vitrail_cli("convert", "bundle", "large", "--image-size", "64").code == 0
    assert vitrail.load("large").model.config.image_size == (64, 64)
    unknown = vitrail_cli("convert", "bundle", "x", "--to", "offical")
    assert (unknown.code, "Did you mean 'official'?" in unknown.err) == (2, True)


def test_predict_and_describe_take_published_weights(vitrail_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    Image.fromarray(np.zeros((50, 60, 3), np.uint8)).save("picture.png")
    shutil.copy(GOLDEN / "big_vision_map.npz", "file")
    answer = vitrail_cli("predict", "file", "picture.png", "--json")
    assert answer.code == 0
    assert len(json.loads(answer.out)["top"]) == 5
    facts = json.loads(vitrail_cli("describe", "file", "--json").out)
    assert (facts["parameters"], facts["heads"], facts["pooling"]) == (33223, 4, "attention")
    assert facts["numerics"] == "gelu-tanh, epsilon 1e-06, positions resampled bilinear-corners"
    larger = json.loads(vitrail_cli("describe", "file", "--image-size", "64", "--json").out)
    assert larger["grid"] == [8, 8]


def test_resnets_and_hybrids(vitrail_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    bit = GOLDEN / "bit_resnet.npz"
    there = vitrail_cli("convert", bit, "folder", "--to", "timm", "--image-size", "48x80")
    assert (there.code, "7 classes, images of 48 x 80" in there.out) == (0, True)
    facts = json.loads(vitrail_cli("describe", "folder", "--json").out)
    assert (facts["parameters"], facts["width"], facts["image_size"]) == (2014503, 0.5, [48, 80])
    assert vitrail_cli("convert", bit, "back", "--to", "bit").err.startswith("note: The file does not say what image")
    before, after = np.load(bit), np.load(tmp_path / "back")
    assert all(np.array_equal(before[key], after[key]) for key in before)
    facts = json.loads(vitrail_cli("describe", GOLDEN / "hybrid_two_stages.npz", "--json").out)
    assert (facts["parameters"], facts["stem_units"], facts["stem_width"]) == (164839, [2, 1], 0.5)
    refused = vitrail_cli("convert", bit, "out", "--to", "huggingface")
    assert (refused.code, "it is for plain ViTs" in refused.err) == (1, True)
    Image.fromarray(np.zeros((50, 60, 3), np.uint8)).save("picture.png")
    assert vitrail_cli("predict", "back", "picture.png", "--json").code == 0


@pytest.mark.parametrize(("name", "size", "said"), [
    ("bit_resnet", "4", "use at least 5 pixels"), ("hybrid_two_stages", "100", "use 96 or 104")])
def test_a_size_that_cannot_be_described(vitrail_cli, name: str, size: str, said: str) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    refused = vitrail_cli("describe", GOLDEN / f"{name}.npz", "--image-size", size)
    assert (refused.code, said in refused.err) == (2, True)


def test_an_empty_head_does_not_answer(vitrail_cli) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    arrays = dict(np.load(GOLDEN / "vit_token.npz"))
    np.savez("empty.npz", **(arrays | {"head/kernel": np.zeros_like(arrays["head/kernel"])}))
    refused = vitrail_cli("predict", "empty.npz", "x.png")
    assert (refused.code, "heads were withheld" in refused.err) == (1, True)
    np.savez("headless.npz", **{key: value for key, value in arrays.items() if "head" not in key})
    refused = vitrail_cli("predict", "headless.npz", "x.png")
    assert (refused.code, "has no head" in refused.err) == (1, True)
    assert vitrail_cli("convert", "empty.npz", "bundle").err.startswith("note: its head is all zeros")


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch canary",)


def test_pickles_are_converted_as_weights_only(vitrail_cli) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    from safetensors.torch import load_file

    weights.write(timm_bundle(), "folder", "timm")
    state = load_file("folder/model.safetensors")
    torch.save({"model": state}, "weights.pth")
    refused = vitrail_cli("predict", "weights.pth", "x.png")
    assert (refused.code, "vitrail convert weights.pth" in refused.err) == (1, True)
    assert vitrail_cli("convert", "weights.pth", "bundle", "--heads", "2").code == 0
    assert torch.equal(vitrail.load("bundle").model.head.weight, state["head.weight"])
    for name, held in (("trap.pth", {"head.weight": Trap()}), ("list.pth", [1, 2])):
        torch.save(held, name)
        refused = vitrail_cli("convert", name, "out")
        assert refused.code == 1, name
        assert name in refused.err
    torch.save({"a": Trap()}, "old.pth", _use_new_zipfile_serialization=False)
    assert "older pickles are not opened" in vitrail_cli("convert", "old.pth", "out").err
    assert not Path("canary").exists()
    assert not Path("out").exists()


def timm_bundle() -> vitrail.Bundle:
    config = vitrail.ViTConfig(image_size=24, patch=8, width=16, depth=1, heads=2, mlp=24, classes=3,
                               feedforward="gelu", resampling="bicubic-antialias")
    torch.manual_seed(0)
    model = vitrail.ViT(config).eval()
    torch.nn.init.normal_(model.head.weight)
    return vitrail.Bundle(model, vitrail.Preprocess(size=24))


@pytest.mark.parametrize("size", ["50", "0x8"])
def test_a_size_that_does_not_fit(vitrail_cli, size: str) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    assert vitrail_cli("convert", GOLDEN / "vit_token.npz", "out", "--image-size", size).code == 2


def test_a_profile_is_said_and_shown(vitrail_cli) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    facts = json.loads(vitrail_cli("describe", GOLDEN / "vit_token.npz", "--profile", "deit", "--json").out)
    assert facts["numerics"] == "gelu, epsilon 1e-06, positions resampled bicubic"
    assert facts["preprocess"]["mean"] == [0.485, 0.456, 0.406]
    assert vitrail_cli("convert", GOLDEN / "vit_token.npz", "bundle", "--profile", "deit").code == 0
    assert vitrail.load("bundle").provenance["profile"] == "deit"
    wrong = vitrail_cli("describe", GOLDEN / "vit_token.npz", "--profile", "diet")
    assert (wrong.code, "Did you mean 'deit'?" in wrong.err) == (2, True)
    assert vitrail_cli("describe", "B/16", "--profile", "deit").code == 2


def test_names_on_the_hub_are_taken_by_every_command(vitrail_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    """Offline here: each says where it looked."""
    for command in (("describe", "hf:me/none"), ("predict", "hf:me/none", "x.png"),
                    ("evaluate", "hf:me/none", "digits"), ("convert", "hf:me/none", "out")):
        refused = vitrail_cli(*command)
        assert (refused.code, "models--me--none" in refused.err) == (1, True), command
    assert not Path("out").exists()


def test_push_after_writing(vitrail_cli, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    refused = vitrail_cli("convert", GOLDEN / "vit_token.npz", "early", "--push", "panes")
    assert (refused.code, Path("early").exists()) == (2, False)
    offline = vitrail_cli("convert", GOLDEN / "vit_token.npz", "out", "--push", "me/panes")
    assert (offline.code, "out is written, but was not pushed to me/panes" in offline.err) == (1, True)
    assert vitrail.load("out").model.config.classes == 7
    monkeypatch.setattr("vitrail.weights.push.push", lambda *given: f"https://hub/{given[2]}")
    pushed = vitrail_cli("convert", GOLDEN / "vit_token.npz", "again", "--push", "me/panes")
    assert pushed.out.splitlines()[1] == "pushed to https://hub/me/panes"
