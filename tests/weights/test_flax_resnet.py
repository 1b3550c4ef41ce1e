"""The ResNet in front of official hybrids. What they share with plain ViTs (prefixes, numberings, bf16, the official
numbers, the way back) is tested in test_flax.py, with the case `hybrid_two_stages`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models.small import awake, pictures, small
from published import GOLDEN, arrays_of, assert_agree, changed, expected_of, saved
from scipy import ndimage

from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError, UsageError
from vitrail.models import HybridConfig, configure, describe
from vitrail.models.hybrid import KNOWN_NAMES
from vitrail.weights import FORMATS, Told, flax
from vitrail.weights.opened import Opened

CASE = "hybrid_two_stages"
POSITIONS = "Transformer/posembed_input/pos_embedding"
UNIT = "block2/unit1/"


def written(folder: Path, **overrides: object) -> Bundle:
    config = small(family="hybrid", **overrides)
    bundle = Bundle(awake(config), Preprocess(size=config.image_size))
    weights.write(bundle, folder / "x", "official")
    return bundle


@torch.inference_mode()
def test_norms_of_one_axis_are_read_too(tmp_path: Path) -> None:
    """As the official code has them in memory. Published files have [1, 1, 1, channels], and so they are written."""
    arrays = {key: value.squeeze() if "/gn" in f"/{key}" else value for key, value in arrays_of(CASE).items()}
    assert arrays["gn_root/scale"].shape == (32,)
    values = expected_of(CASE)
    bundle = weights.load(saved(tmp_path, arrays))
    assert_agree(bundle.model(values["images"]), values["logits"])
    back = np.load(weights.write(bundle, tmp_path / "back", "official"))
    assert back["gn_root/scale"].shape == (1, 1, 1, 32)


@pytest.mark.parametrize("name", [*KNOWN_NAMES, "R50x2+B/16", "R101+L/16"])
@pytest.mark.parametrize("prefix", ["", "opt/target/"])
def test_models_are_named_from_shapes_alone(name: str, prefix: str) -> None:
    config = configure(name, classes=21843)
    assert isinstance(config, HybridConfig)
    dialect = flax.replace(flax.OFFICIAL, prefix=prefix)
    shapes = {key: shape for rule in flax.rules(config, dialect) for key, shape in rule.theirs.items()}
    assert sum(map(math.prod, shapes.values())) == describe(config).parameters
    opened = Opened(Path("x"), "npz", shapes)
    assert [form for form, known in FORMATS.items() if known.recognize(opened)] == ["official"]
    assert FORMATS["official"].read(opened, Told()).config.model == config


@st.composite
def hybrids(draw: st.DrawFn) -> HybridConfig:
    depths = draw(st.lists(st.integers(1, 2), max_size=3))
    stride = 4 * 2 ** max(len(depths) - 1, 0)
    patch = draw(st.integers(1, 2)) * stride
    side = draw(st.integers(2, 3)) * patch
    return HybridConfig(stem_depths=depths, stem_width=draw(st.sampled_from([0.25, 0.375])), patch=patch,
                        image_size=(side, side), width=8, depth=1, heads=2, mlp=6, classes=draw(st.integers(0, 3)),
                        channels=draw(st.integers(1, 4)), pooling=draw(st.sampled_from(["token", "mean"])),
                        head_hidden=draw(st.one_of(st.none(), st.integers(1, 5))))


@given(hybrids())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@torch.inference_mode()
def test_any_hybrid(tmp_path: Path, config: HybridConfig) -> None:
    model = awake(config)
    read = weights.load(weights.write(Bundle(model, Preprocess(size=config.image_size)), tmp_path / "any", "official"))
    assert read.model.config.model_dump(exclude={"name"}) == config.model_dump(exclude={"name"})
    assert torch.equal(read.model(pictures(config)), model(pictures(config)))


@torch.inference_mode()
def test_another_image_size_as_the_official_code_has_it(tmp_path: Path) -> None:
    """A file whose table was resized by `scipy.ndimage.zoom`, as `checkpoint.load_pretrained` does."""
    arrays = arrays_of(CASE)
    table = arrays[POSITIONS]
    grid = ndimage.zoom(table[0, 1:].reshape(8, 8, -1), (12 / 8, 12 / 8, 1), order=1)
    arrays[POSITIONS] = np.concatenate((table[:, :1], grid.reshape(1, 144, -1)), axis=1)
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    expected = weights.load(saved(tmp_path, arrays)).model(images)
    resized = weights.load(GOLDEN / f"{CASE}.npz", image_size=96)
    assert resized.model.config.image_size == resized.preprocess.size == (96, 96)
    assert resized.model.encoder.positions.tables[0].table.shape == (144, 32)
    assert_agree(resized.model(images), expected)
    assert_agree(weights.load(GOLDEN / f"{CASE}.npz").model(images), expected)


def test_patches_must_divide_the_image() -> None:
    with pytest.raises(UsageError, match="100 is not divisible by the patch size 8"):
        weights.load(GOLDEN / f"{CASE}.npz", image_size=100)


@pytest.mark.parametrize(("fields", "said"), [
    ({"stem_norm_eps": 1e-5}, "stem_norm_eps is 1e-05, not 1e-06"),
    ({"stem_standardize": "variance"}, "stem_standardize is 'variance', not 'deviation'"),
    ({"stem_standardize_eps": 1e-8}, "stem_standardize_eps is 1e-08"), ({"feedforward": "gelu"}, "feedforward is")])
def test_other_numbers_are_not_written(tmp_path: Path, fields: dict[str, object], said: str) -> None:
    with pytest.raises(BundleError, match=f"'official'.*{said}"):
        written(tmp_path, **fields)


def test_big_vision_has_no_hybrids(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="'big_vision' cannot hold custom: it is for plain ViTs"):
        weights.write(written(tmp_path), tmp_path / "out", "big_vision")


@pytest.mark.parametrize(("change", "said"), [
    ({f"{UNIT}gn2/bias": None}, f"{UNIT}gn2/bias is missing"),
    ({f"{UNIT}gate/kernel": (3,)}, f"{UNIT}gate/kernel is not known"),
    ({f"{UNIT}gn3/bias": (256,)}, rf"{UNIT}gn3/bias is \(256,\), not \(1, 1, 1, 256\)"),
    ({"block4/unit1/conv1/kernel": (1, 1, 256, 64)}, "block3/unit1/conv1/kernel is missing"),
    ({"conv_root/kernel": (7, 7, 32)}, "conv_root/kernel is .* 4 axes are expected"),
    ({"conv_root/kernel": (7, 7, 3, 12)}, "12 channels at the root, which is no multiple of 8"),
    ({"embedding/kernel": (1, 1, 128, 32)}, r"embedding/kernel is \(1, 1, 128, 32\), not \(1, 1, 256, 32\)"),
    ({f"block{number}/unit1/x": (1,) for number in range(3, 9)}, "stem_depths: .* at most 6 items"),
])
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, tuple[int, ...] | None], said: str) -> None:
    path = saved(tmp_path, changed(arrays_of(CASE), change, np.zeros))
    with pytest.raises(BundleError, match=said):
        weights.load(path)
