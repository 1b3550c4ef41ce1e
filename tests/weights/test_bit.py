"""BiT's own files: the original numbers through `load`, every way to write the keys, and back bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models.small import awake, pictures, small
from published import GOLDEN, Arrays, arrays_of, assert_agree, changed, expected_of, faint, in_bf16, saved

from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError, UsageError
from vitrail.models import BiTConfig, configure, describe
from vitrail.models.bit import KNOWN_NAMES
from vitrail.weights import FORMATS, Told, bit
from vitrail.weights.opened import Opened

FILE = GOLDEN / "bit_resnet.npz"
CONVOLUTION = "standardized_conv2d"


def tiny(folder: Path, **overrides: object) -> Arrays:
    """A small file of ours."""
    config = small(family="bit", **overrides)
    return dict(np.load(weights.write(Bundle(awake(config), Preprocess(size=config.image_size)), folder / "x", "bit")))


@torch.inference_mode()
def test_original_numbers() -> None:
    values = expected_of("bit_resnet")
    bundle = weights.load(FILE, image_size=64)
    assert_agree(bundle.model(values["images"]), values["logits"])
    config = bundle.model.config
    assert (config.width, config.depths) == (0.5, (1, 1, 1, 1))
    assert (config.norm_eps, config.standardize, config.standardize_eps) == (1e-5, "variance", 1e-10)
    assert bundle.provenance == {"format": "bit", "file": "bit_resnet.npz"}
    assert bundle.preprocess == Preprocess(size=64)  # squashed, values -1 to 1
    raw = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert_agree(bundle.logits(raw), bundle.model((raw.float() - 127.5) / 127.5))


def test_round_trip_is_bit_exact(tmp_path: Path) -> None:
    arrays, bundle = arrays_of("bit_resnet"), weights.load(FILE)
    back = dict(np.load(weights.write(bundle, tmp_path / "back", "bit"), allow_pickle=False))
    assert back.keys() == arrays.keys()
    for key, value in arrays.items():
        assert back[key].dtype == value.dtype
        assert np.array_equal(back[key], value), key
    again = weights.load(tmp_path / "back")
    assert again.model.config == bundle.model.config
    assert again.preprocess == bundle.preprocess


def counted(arrays: Arrays) -> Arrays:
    """Every convolution with a number, as TensorFlow gives them."""
    return {key.replace(f"/{CONVOLUTION}/", f"/{CONVOLUTION}_{number}/"): value
            for number, (key, value) in enumerate(arrays.items(), start=9)}


def under(prefix: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {prefix + key.removeprefix("resnet/"): value for key, value in arrays.items()}


@pytest.mark.parametrize("way", [
    counted, under(""), under("params/resnet/"), under("opt/target/resnet/"), lambda arrays: under("")(counted(arrays)),
    lambda arrays: dict(reversed(arrays.items())),
    lambda arrays: {key: np.asfortranarray(value) for key, value in arrays.items()},
    lambda arrays: {key: value.astype(">f8") for key, value in arrays.items()},
], ids=["counted", "no prefix", "params", "optimizer", "counted, no prefix", "reversed", "column-major", "float64"])
def test_every_way_to_write_the_keys(tmp_path: Path, way: Callable[[Arrays], Arrays]) -> None:
    arrays = tiny(tmp_path)
    plain = weights.load(tmp_path / "x").model
    read = weights.load(saved(tmp_path, way(arrays))).model
    assert read.config == plain.config
    assert all(torch.equal(read.state_dict()[name], value) for name, value in plain.state_dict().items())


def test_bfloat16_as_two_bytes_of_void(tmp_path: Path) -> None:
    halves, values = in_bf16(tiny(tmp_path))
    read = weights.load(saved(tmp_path, halves, "halves")).model.state_dict()
    plain = weights.load(saved(tmp_path, values, "values")).model.state_dict()
    assert all(torch.equal(read[name], value) for name, value in plain.items())


@pytest.mark.parametrize("name", [*KNOWN_NAMES, "R26x0.125", "R50x1.5", "R101x0.25"])
def test_models_are_named_from_shapes_alone(name: str) -> None:
    config = configure(name, classes=21843)
    assert isinstance(config, BiTConfig)
    shapes = {key: shape for rule in bit.rules(config, "resnet/") for key, shape in rule.theirs.items()}
    assert sum(map(math.prod, shapes.values())) == describe(config).parameters
    opened = Opened(Path("x"), "npz", shapes)
    assert FORMATS["bit"].recognize(opened)
    assert FORMATS["bit"].read(opened, Told()).config.model == config


@st.composite
def bit_models(draw: st.DrawFn) -> BiTConfig:
    return BiTConfig(depths=draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)),
                     width=draw(st.sampled_from([0.125, 0.25, 0.375])), channels=draw(st.integers(1, 4)),
                     classes=draw(st.integers(0, 4)), image_size=(40, 24))


@given(bit_models())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@torch.inference_mode()
def test_any_model_that_the_format_can_hold(tmp_path: Path, config: BiTConfig) -> None:
    written = awake(config)
    read = weights.load(weights.write(Bundle(written, Preprocess(size=(40, 24))), tmp_path / "any", "bit"), (40, 24))
    assert read.model.config.model_dump(exclude={"name"}) == config.model_dump(exclude={"name"})
    assert torch.equal(read.model(pictures(config)), written(pictures(config)))


# Sizes.


def test_the_size_is_assumed_aloud_unless_it_is_told() -> None:
    assumed, told = weights.load(FILE), weights.load(FILE, image_size=(48, 80))
    assert assumed.model.config.image_size == assumed.preprocess.size == (224, 224)
    assert "224 x 224 pixels are assumed" in assumed.provenance["notes"][0]
    assert told.model.config.image_size == told.preprocess.size == (48, 80)
    assert "notes" not in told.provenance
    assert told.model.config.grid == (2, 3)
    state = told.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in assumed.model.state_dict().items())


def test_a_size_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(UsageError, match=r"images of 4x4 pixels: .* use at least 5 pixels"):
        weights.load(FILE, image_size=4)


# Other numbers, other models.


@torch.inference_mode()
def test_another_epsilon_is_written_so_that_answers_stay(tmp_path: Path) -> None:
    config = small(family="bit", standardize_eps=1e-8)
    written = faint(awake(config), 1e-4)
    read = weights.load(weights.write(Bundle(written, Preprocess(size=24)), tmp_path / "x", "bit"))
    assert read.model.config.standardize_eps == 1e-10
    assert_agree(read.model(pictures(config)), written(pictures(config)))


@pytest.mark.parametrize(("family", "fields", "said"), [
    ("bit", {"norm_eps": 1e-6}, "norm_eps is 1e-06, not 1e-05"),
    ("bit", {"standardize": "deviation"}, "standardize is 'deviation', not 'variance'"),
    ("vit", {}, "cannot hold custom: it is for BiT ResNets"), ("hybrid", {}, "it is for BiT ResNets")])
def test_a_model_that_the_format_cannot_hold(tmp_path: Path, family: str, fields: dict[str, object],
                                             said: str) -> None:
    config = small(family=family, **fields)
    with pytest.raises(BundleError, match=f"'bit'.*{said}"):
        weights.write(Bundle(awake(config), Preprocess(size=config.image_size)), tmp_path / "out", "bit")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("form", "said"), [("official", "plain ViTs and hybrids"), ("big_vision", "plain ViTs"),
                                            ("huggingface", "plain ViTs")])
def test_formats_that_cannot_hold_a_resnet(tmp_path: Path, form: str, said: str) -> None:
    config = small(family="bit")
    with pytest.raises(BundleError, match=f"'{form}' cannot hold custom: it is for {said}"):
        weights.write(Bundle(awake(config), Preprocess(size=config.image_size)), tmp_path / "out", form)


def test_a_file_without_a_head_gives_features(tmp_path: Path) -> None:
    arrays = tiny(tmp_path)
    whole = weights.load(tmp_path / "x").model
    model = weights.load(saved(tmp_path, {key: value for key, value in arrays.items() if "head" not in key})).model
    assert model.config.classes == 0
    assert torch.equal(model(pictures(whole.config)), whole.embed(pictures(whole.config)))


def test_an_empty_head_is_said_aloud(tmp_path: Path) -> None:
    arrays = tiny(tmp_path)
    arrays["resnet/head/conv2d/kernel"] *= 0
    with pytest.warns(UserWarning, match="its head is all zeros"):
        weights.load(saved(tmp_path, arrays))


# What does not fit.

UNIT = "resnet/block2/unit02/"


@pytest.mark.parametrize(("change", "said"), [
    ({f"{UNIT}b/group_norm/beta": None}, f"{UNIT}b/group_norm/beta is missing"),
    ({f"{UNIT}gate/kernel": (3,)}, f"{UNIT}gate/kernel is not known"),
    ({f"{UNIT}b/{CONVOLUTION}/kernel": (3, 3, 8, 16)}, r"kernel is \(3, 3, 8, 16\), not \(3, 3, 16, 16\)"),
    ({f"{UNIT}a/{CONVOLUTION}_3/kernel": (1, 1, 64, 16)}, f"{UNIT}a/{CONVOLUTION}/kernel twice"),
    ({"resnet/block2/unit04/a/group_norm/beta": (64,)}, "unit03/a/standardized_conv2d/kernel is missing"),
    ({"resnet/block4/unit01/a/group_norm/beta": (64,)}, "block3/unit01/a/standardized_conv2d/kernel is missing"),
    ({f"resnet/root_block/{CONVOLUTION}/kernel": (7, 7, 3)}, "4 axes are expected"),
    ({f"resnet/root_block/{CONVOLUTION}/kernel": (7, 7, 3, 12)}, "12 channels at the root, which is no multiple of 8"),
    ({f"resnet/root_block/{CONVOLUTION}/kernel": (7, 7, 3, 16)}, r"is \(8,\), not \(16,\)"),
    ({"resnet/head/conv2d/kernel": (64, 5)}, "4 axes are expected"),
    ({f"resnet/block{number}/unit01/x": (1,) for number in range(3, 20)}, "depths: .* at most 6 items"),
    ({f"resnet/block1/unit{'9' * 5000}/a": (1,)}, "is not known"),
    ({"opt/state/step": (1,)}, "opt/state/step is not known"),
])
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, tuple[int, ...] | None], said: str) -> None:
    path = saved(tmp_path, changed(tiny(tmp_path), change, np.zeros))
    with pytest.raises(BundleError, match=said):
        weights.load(path)


def test_a_number_that_is_not_finite(tmp_path: Path) -> None:
    arrays = tiny(tmp_path)
    arrays[f"{UNIT}c/{CONVOLUTION}/kernel"][0, 0, 1, 2] = np.nan
    with pytest.raises(BundleError, match=f"{UNIT}c/{CONVOLUTION}/kernel holds numbers that are not finite"):
        weights.load(saved(tmp_path, arrays))
