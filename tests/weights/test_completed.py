"""A head of a thousand outputs answers in ImageNet's words, where its format says that it is ImageNet's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from published import arrays_of, saved
from safetensors.torch import load_file, save_file

import vitrail
from vitrail import weights
from vitrail.weights.class_names import SAID, imagenet1k


def thousand(folder: Path, name: str, outputs: int = 1000) -> Path:
    """Golden weights with a head of many outputs, of which number 207 always wins."""
    arrays = arrays_of(name)
    (head,) = [key.removesuffix("kernel") for key in arrays if key.endswith(("head/kernel", "head/conv2d/kernel"))]
    bias = np.zeros(outputs, np.float32)
    bias[207] = 9
    kernel = np.full((*arrays[f"{head}kernel"].shape[:-1], outputs), 1e-5, np.float32)
    return saved(folder, arrays | {f"{head}kernel": kernel, f"{head}bias": bias})


def test_the_names_are_a_thousand_different_ones() -> None:
    """Also to who does not tell upper from lower case. Places from the ILSVRC 2012 list."""
    names = imagenet1k()
    assert len(names) == len({name.casefold() for name in names}) == 1000
    known = {0: "tench", 1: "goldfish", 134: "crane (bird)", 207: "golden retriever", 281: "tabby", 340: "zebra",
             388: "giant panda", 517: "crane (machine)", 638: "maillot", 639: "tank suit", 817: "sports car",
             954: "banana", 963: "pizza", 999: "toilet tissue"}
    assert {index: names[index] for index in known} == known
    assert all(name == name.strip() and name.isprintable() and name for name in names)


@pytest.mark.parametrize("name", ["vit_token", "big_vision_map", "hybrid_two_stages", "bit_resnet"])
def test_a_thousand_outputs_answer_in_words(tmp_path: Path, name: str) -> None:
    bundle = vitrail.load(thousand(tmp_path, name))
    assert bundle.classes == imagenet1k()
    assert SAID in bundle.provenance["notes"]
    assert bundle.predict(np.zeros((50, 60, 3), np.uint8))[0][0].name == "golden retriever"
    bundle.save(tmp_path / "bundle")
    assert vitrail.load(tmp_path / "bundle").classes == imagenet1k()


@pytest.mark.parametrize("outputs", [21843, 999, 1001])
def test_other_heads_get_none(tmp_path: Path, outputs: int) -> None:
    config = weights.read(thousand(tmp_path, "vit_token", outputs)).config
    assert (config.classes, config.provenance.get("notes")) == (None, None)


def own(classes: tuple[str, ...] | None = None) -> vitrail.Bundle:
    config = vitrail.ViTConfig(image_size=24, patch=8, width=16, depth=1, heads=2, mlp=24, classes=1000,
                               feedforward="gelu", resampling="bicubic-antialias")
    torch.manual_seed(0)
    model = vitrail.ViT(config).eval()
    torch.nn.init.normal_(model.head.weight)
    return vitrail.Bundle(model, vitrail.Preprocess(size=24), classes)


def test_timm_with_and_without_settings(tmp_path: Path) -> None:
    """A bare file is taken for ImageNet's; settings that state names, or that there are none, are believed."""
    folder = weights.write(own(), tmp_path / "none", "timm")
    assert weights.load(folder).classes is None
    save_file(load_file(folder / "model.safetensors"), tmp_path / "bare")
    assert weights.load(tmp_path / "bare", heads=2).classes == imagenet1k()
    names = tuple(f"garment {number}" for number in range(1000))
    assert weights.load(weights.write(own(names), tmp_path / "named", "timm")).classes == names


def test_hugging_face_only_where_the_model_is_imagenet_s(tmp_path: Path) -> None:
    import transformers

    for name, model, expected in (("vit", transformers.ViTForImageClassification, None),
                                  ("deit", transformers.DeiTForImageClassification, imagenet1k())):
        config = getattr(transformers, f"{model.__name__.removesuffix('ForImageClassification')}Config")(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, image_size=24,
            patch_size=8, num_labels=1000)
        torch.manual_seed(0)
        model(config).save_pretrained(tmp_path / name)
        assert weights.load(tmp_path / name).classes == expected, name


def test_a_bundle_of_our_own_keeps_what_it_has(tmp_path: Path) -> None:
    own().save(tmp_path / "own")
    assert vitrail.load(tmp_path / "own").classes is None
