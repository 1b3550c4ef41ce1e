"""Google's files: the official numbers through `load`, whichever way the keys are written, and back bit for bit."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models.small import awake, pictures
from published import (
    BIG_VISION,
    FORMAT,
    GOLDEN,
    OFFICIAL,
    Arrays,
    arrays_of,
    assert_agree,
    expected_of,
    in_bf16,
    prefixed,
    renumbered,
    saved,
    scanned,
)

from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError, UsageError
from vitrail.models import ViTConfig
from vitrail.weights import FORMATS, Told, flax, npz
from vitrail.weights.opened import look_into

CASES = (*OFFICIAL, *BIG_VISION)
each_case = pytest.mark.parametrize("name", CASES)


def size_of(name: str) -> tuple[int, int]:
    _, _, height, width = expected_of(name)["images"].shape
    return height, width


def assert_same_weights(given: Bundle, expected: Bundle) -> None:
    state = given.model.state_dict()
    for name, value in expected.model.state_dict().items():
        assert torch.equal(state[name], value), name


# The official numbers.


@each_case
@torch.inference_mode()
def test_official_numbers(name: str) -> None:
    values = expected_of(name)
    bundle = weights.load(GOLDEN / f"{name}.npz", image_size=size_of(name))
    assert_agree(bundle.model(values["images"]), values["logits"])
    assert_agree(bundle.model.embed(values["images"]), values["pre_logits"])
    assert bundle.provenance == {"format": FORMAT[name], "file": f"{name}.npz"}


@pytest.mark.parametrize("name", ["vit_token", "vit_gap_linen_names"])
@pytest.mark.parametrize("at_load", [True, False])
@torch.inference_mode()
def test_official_numbers_at_another_image_size(name: str, at_load: bool) -> None:
    values = expected_of(name)
    images = values["images_resized"]
    bundle = weights.load(GOLDEN / f"{name}.npz", image_size=tuple(images.shape[-2:]) if at_load else None)
    assert_agree(bundle.model(images), values["logits_resized"])
    if at_load:
        assert bundle.model.config.image_size == bundle.preprocess.size == tuple(images.shape[-2:])
        table = bundle.model.encoder.positions.tables[0]
        assert_agree(torch.cat((table.class_position, table.table)), values["pos_embedding_resized"][0])


@torch.inference_mode()
def test_the_numbers_are_taken_in_the_raw_too() -> None:
    """uint8 through the Bundle's own preprocessing: values -1 to 1."""
    bundle = weights.load(GOLDEN / "vit_token.npz")
    raw = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    assert_agree(bundle.logits(raw), bundle.model((raw.float() - 127.5) / 127.5))


# Every way to write the keys.

WAYS: dict[str, Callable[[Arrays], Arrays]] = {
    "old optimizer": lambda arrays: prefixed(arrays, "opt/target/") | {"opt/state/step": np.ones(())},
    "params": lambda arrays: prefixed(arrays, "params/"),
    "two towers": lambda arrays: prefixed(arrays, "params/img/") | {"params/txt/head/bias": np.ones(3, np.float32),
                                                                   "params/t": np.ones((), np.float32)},
    "no prefix": lambda arrays: prefixed(arrays, ""),
    "the other numbering": renumbered,
    "scan": scanned,
    "scan, the other numbering, prefix": lambda arrays: scanned(renumbered(prefixed(arrays, "params/"))),
    "other order": lambda arrays: dict(reversed(arrays.items())),
    "column-major": lambda arrays: {key: np.asfortranarray(value) for key, value in arrays.items()},
    "float64": lambda arrays: {key: value.astype(np.float64) for key, value in arrays.items()},
    "big-endian": lambda arrays: {key: value.astype(">f4") for key, value in arrays.items()},
    "old attention pooling": lambda arrays: {key.replace("MAPHead_0/", ""): value for key, value in arrays.items()},
}


@each_case
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_the_keys(tmp_path: Path, name: str, way: str) -> None:
    plain = weights.load(GOLDEN / f"{name}.npz", image_size=size_of(name))
    path = saved(tmp_path, WAYS[way](arrays_of(name)))
    assert_same_weights(weights.load(path, image_size=size_of(name)), plain)


@each_case
@pytest.mark.parametrize("way", [dict, scanned])
def test_bfloat16_as_two_bytes_of_void(tmp_path: Path, name: str, way: Callable[[Arrays], Arrays]) -> None:
    halves, values = in_bf16(way(arrays_of(name)))
    read = weights.load(saved(tmp_path, halves, "halves"), image_size=size_of(name))
    assert_same_weights(read, weights.load(saved(tmp_path, values, "values"), image_size=size_of(name)))


@torch.inference_mode()
def test_big_vision_class_token_without_a_place_of_its_own(tmp_path: Path) -> None:
    """big_vision adds positions before the class token joins; the same model as the official one with both merged."""
    arrays = arrays_of("vit_token")
    table = arrays.pop("Transformer/posembed_input/pos_embedding")
    merged = prefixed(renumbered(arrays), "params/") | {
        "params/cls": arrays["cls"] + table[:, :1], "params/pos_embedding": table[:, 1:]}
    bundle = weights.load(saved(tmp_path, merged))
    assert bundle.provenance["format"] == "big_vision"
    values = expected_of("vit_token")
    assert_agree(bundle.model(values["images"]), values["logits"])
    official = weights.load(GOLDEN / "vit_token.npz")
    back = dict(np.load(weights.write(official, tmp_path / "merged", "big_vision")))
    assert back.keys() == merged.keys()
    assert all(np.array_equal(back[key], merged[key]) for key in merged)


def test_big_vision_class_token_with_a_place(tmp_path: Path) -> None:
    arrays = arrays_of("vit_token")
    arrays["pos_embedding"] = arrays.pop("Transformer/posembed_input/pos_embedding")
    assert_same_weights(weights.load(saved(tmp_path, arrays)), weights.load(GOLDEN / "vit_token.npz"))


def test_big_vision_tanh_head(tmp_path: Path) -> None:
    """rep_size: sines and cosines, average pooling and `pre_logits`, as the better plain ViT has it."""
    random = np.random.default_rng(0)
    arrays = arrays_of("big_vision_gap_sincos")
    arrays["params/pre_logits/kernel"] = random.normal(size=(32, 32)).astype(np.float32)
    arrays["params/pre_logits/bias"] = random.normal(size=32).astype(np.float32)
    path = saved(tmp_path, arrays)
    bundle = weights.load(path, image_size=48)
    assert (bundle.model.config.head_hidden, bundle.model.config.positions) == (32, "sincos-2d")
    back = dict(np.load(weights.write(bundle, tmp_path / "back", "big_vision")))
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[key], arrays[key]) for key in arrays)


def test_a_file_without_a_head_gives_features(tmp_path: Path) -> None:
    arrays = {key: value for key, value in arrays_of("vit_token").items() if not key.startswith("head/")}
    bundle = weights.load(saved(tmp_path, arrays))
    values = expected_of("vit_token")
    assert bundle.model.config.classes == 0
    with torch.inference_mode():
        assert_agree(bundle.model(values["images"]), values["pre_logits"])


# There and back.


@each_case
def test_round_trip_is_bit_exact(tmp_path: Path, name: str) -> None:
    arrays = arrays_of(name)
    bundle = weights.load(GOLDEN / f"{name}.npz", image_size=size_of(name))
    back = dict(np.load(weights.write(bundle, tmp_path / "back", FORMAT[name]), allow_pickle=False))
    assert back.keys() == arrays.keys()
    for key, value in arrays.items():
        assert back[key].dtype == value.dtype
        assert np.array_equal(back[key], value), key
    again = weights.load(tmp_path / "back", image_size=size_of(name))
    assert_same_weights(again, bundle)
    assert again.model.config == bundle.model.config
    assert again.preprocess == bundle.preprocess


@st.composite
def flax_models(draw: st.DrawFn) -> tuple[ViTConfig, str]:
    form = draw(st.sampled_from(["official", "big_vision"]))
    poolings = ["token", "mean"] + ["attention"] * (form == "big_vision")
    patch = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    heads = draw(st.integers(1, 3))
    return ViTConfig(
        patch=patch, image_size=(rows * patch[0], columns * patch[1]), heads=heads, depth=draw(st.integers(1, 12)),
        width=heads * 4 * draw(st.integers(1, 2)), mlp=draw(st.integers(1, 9)), classes=draw(st.integers(0, 4)),
        pooling=draw(st.sampled_from(poolings)), head_hidden=draw(st.one_of(st.none(), st.integers(1, 5))),
        positions=draw(st.sampled_from(["learned"] + ["sincos-2d"] * (form == "big_vision")))), form


@given(flax_models())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@torch.inference_mode()
def test_any_model_that_the_format_can_hold(tmp_path: Path, drawn: tuple[ViTConfig, str]) -> None:
    config, form = drawn
    written = Bundle(awake(config), Preprocess(size=config.image_size))
    path = weights.write(written, tmp_path / "any", form)
    read = weights.load(path, image_size=config.image_size)
    assert read.provenance["format"] == form
    assert read.model.config.model_dump(exclude={"name"}) == config.model_dump(exclude={"name"})
    images = pictures(config)
    if form == "official":
        assert_same_weights(read, written)
        assert torch.equal(read.model(images), written.model(images))
    assert_agree(read.model(images), written.model(images))


@pytest.mark.parametrize(("fields", "said"), [
    ({"feedforward": "gelu"}, "feedforward is 'gelu', not 'gelu-tanh'"),
    ({"norm_eps": 1e-12}, "norm_eps is 1e-12"),
    ({"positions": "learned-2d"}, "positions is 'learned-2d'"),
    ({"registers": 2}, "no place for prefix.registers"),
    ({"layer_scale": 0.1}, "no place for encoder.blocks.0.branch1.scale"),
    ({"pooling": "distilled"}, "pooling is 'distilled'"),
])
@pytest.mark.parametrize("form", ["official", "big_vision"])
def test_a_model_that_the_format_cannot_hold(tmp_path: Path, form: str, fields: dict[str, object], said: str) -> None:
    config = ViTConfig.model_validate({"patch": 4, "image_size": 8, "width": 8, "depth": 1, "heads": 2, "mlp": 8,
                                       **fields})
    with pytest.raises(BundleError, match=f"'{form}'.*{said}"):
        weights.write(Bundle(awake(config), Preprocess(size=8)), tmp_path / "out", form)
    assert not (tmp_path / "out").exists()


# Sizes, preprocessing, and what is said aloud.


@pytest.mark.parametrize(("name", "resize", "fraction"), [("vit_token", "squash", 1.0),
                                                          ("big_vision_map", "crop", 0.875)])
def test_preprocessing_is_the_formats_own(name: str, resize: str, fraction: float) -> None:
    preprocess = weights.load(GOLDEN / f"{name}.npz").preprocess
    assert preprocess == Preprocess(size=48, resize=resize, crop_fraction=fraction)  # type: ignore[arg-type]
    assert preprocess.mean == preprocess.std == (0.5, 0.5, 0.5)


def test_the_size_of_a_file_with_sines_is_assumed_aloud() -> None:
    bundle = weights.load(GOLDEN / "big_vision_gap_sincos.npz")
    assert bundle.model.config.image_size == (224, 224)
    assert "224 x 224" in bundle.provenance["notes"][0]


def test_a_table_with_as_many_places_is_taken_as_it_is() -> None:
    """6 x 6 places for 48 x 48 pixels; 4 x 9 for 32 x 72: the official code compares counts."""
    bundle = weights.load(GOLDEN / "vit_token.npz", image_size=(32, 72))
    assert_same_weights(bundle, weights.load(GOLDEN / "vit_token.npz"))
    assert bundle.model.config.grid == (4, 9)


def test_positions_that_are_no_square_need_a_size(tmp_path: Path) -> None:
    arrays = arrays_of("vit_token")
    key = "Transformer/posembed_input/pos_embedding"
    arrays[key] = arrays[key][:, :13]
    path = saved(tmp_path, arrays)
    with pytest.raises(BundleError, match="12 patches, which are no square"):
        weights.load(path)
    assert weights.load(path, image_size=(24, 32)).model.config.grid == (3, 4)


def test_patches_must_divide_the_image() -> None:
    with pytest.raises(UsageError, match="50 is not divisible by the patch size 8"):
        weights.load(GOLDEN / "vit_token.npz", image_size=50)


def test_an_all_zero_head_is_said_aloud(tmp_path: Path) -> None:
    arrays = arrays_of("vit_token")
    arrays["head/kernel"] *= 0
    with pytest.warns(UserWarning, match="all zeros, as in the published ImageNet-21k files"):
        bundle = weights.load(saved(tmp_path, arrays))
    assert "all zeros" in bundle.provenance["notes"][0]


def test_augreg_is_named_without_reading_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S/16 with 21,843 classes and no hidden layer."""
    config = ViTConfig(width=384, depth=12, heads=6, mlp=1536, classes=21843)
    path = tmp_path / "augreg"
    write_empty(path, {key: shape for rule in flax.rules(config, flax.OFFICIAL) for key, shape in rule.theirs.items()})
    with pytest.raises(BundleError, match="would inflate from"):
        weights.read(path)
    monkeypatch.setattr(npz, "MOST_INFLATED", 10_000)
    assert weights.read(path).config.model == config.model_copy(update={"name": "S/16"})


def write_empty(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Headers that say the truth over zeros that take no room: deflated by a thousand times."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for key, shape in shapes.items():
            buffer = io.BytesIO()
            np.save(buffer, np.zeros(shape, np.float32))
            archive.writestr(f"{key}.npy", buffer.getvalue())


def test_formats_are_told_apart() -> None:
    for name, form in (*FORMAT.items(), ("bit_resnet", "bit")):
        found = [each for each, known in FORMATS.items() if known.recognize(look_into(GOLDEN / f"{name}.npz"))]
        assert found == [form]


def test_heads_are_what_the_file_says() -> None:
    assert weights.read(GOLDEN / "vit_token.npz", Told(heads=12)).config.model.heads == 4
