"""What comes out of training: written and read bit for bit, refused when damaged or hostile, the same for any image."""

from __future__ import annotations

import io
import json
import resource
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models.small import awake, small
from PIL import Image
from safetensors.torch import load_file, save_file

from vitrail.bundle import CHECKSUM_KEY, CONFIG, HEADER_KEY, WEIGHTS, Bundle, checksum
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError, ImageError, SaveError, UsageError
from vitrail.files import MANIFEST, write_manifest

NAMES = ("ankle boot", "Öl 油", "<script>", "a|b", "")


def bundle(**fields: Any) -> Bundle:
    config = small(**fields)
    preprocess = Preprocess(size=config.image_size, resize="crop", crop_fraction=0.9, background=(10, 200, 30))
    return Bundle(awake(config), preprocess, NAMES, provenance={"seed": 3, "source": "made up", "scores": [0.5, None]})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return bundle().save(tmp_path / "run" / "bundle")


def assert_same(given: Bundle, expected: Bundle) -> None:
    assert given.config == expected.config
    state = given.model.state_dict()
    assert list(state) == list(expected.model.state_dict())
    for name, value in expected.model.state_dict().items():
        assert torch.equal(state[name], value), name


# There and back.


@pytest.mark.parametrize(
    "fields", [{}, {"positions": "relative", "positions_at": "every", "registers": 2}, {"pooling": "attention"},
               {"positions": "relative-bias", "positions_at": "shared"},
               {"positions": "none", "pooling": "mean", "head_hidden": 4, "layer_scale": 0.1},
               {"family": "bit"}, {"family": "hybrid"}, {"family": "hybrid", "stem_depths": ()},
               {"family": "axial-vit"}, {"family": "axial-resnet"}], ids=str)
def test_round_trip_is_bit_exact(tmp_path: Path, fields: dict[str, Any]) -> None:
    written = bundle(**fields)
    folder = written.save(tmp_path / "bundle")
    read = Bundle.load(folder)
    assert_same(read, written)
    raw = torch.randint(0, 256, (2, 3, 24, 16), dtype=torch.uint8)
    assert torch.equal(read.scores(raw), written.scores(raw))
    assert not read.model.training
    assert not any(parameter.requires_grad for parameter in read.model.parameters())


@pytest.mark.parametrize("given", ["run", "run/bundle", "run/bundle/model.safetensors"])
def test_run_folder_bundle_folder_and_file_all_mean_the_bundle(saved: Path, given: str) -> None:
    assert_same(Bundle.load(saved.parents[1] / given), bundle())


def test_from_inside_its_folder(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved)
    assert_same(Bundle.load("."), bundle())
    assert_same(Bundle.load(WEIGHTS), bundle())


def test_the_one_file_is_enough(saved: Path, tmp_path: Path) -> None:
    alone = shutil.copy(saved / WEIGHTS, tmp_path / "elsewhere.safetensors")
    shutil.rmtree(saved)
    assert_same(Bundle.load(alone), bundle())


def test_config_json_is_what_the_design_promises(saved: Path) -> None:
    config = json.loads((saved / CONFIG).read_text(encoding="utf-8"))
    assert (config["library_name"], config["format_version"]) == ("vitrail", 1)
    assert config["classes"] == list(NAMES)
    assert {"model", "preprocess", "activation", "provenance"} < set(config)
    assert sorted(path.name for path in saved.iterdir()) == [CONFIG, MANIFEST, WEIGHTS]


def test_weights_of_any_precision_are_stored_in_float32(tmp_path: Path) -> None:
    written = bundle()
    written.model.bfloat16()
    values = load_file(written.save(tmp_path / "bundle") / WEIGHTS)
    assert {value.dtype for value in values.values()} == {torch.float32}
    assert torch.equal(values["head.weight"], written.model.head.weight.float())


def test_saving_again_replaces(saved: Path) -> None:
    other = bundle()
    other.model.head.weight.data.add_(1)
    other.save(saved)
    assert_same(Bundle.load(saved), other)
    assert [path.name for path in saved.parent.iterdir()] == ["bundle"]


def test_class_names_must_fit_the_outputs() -> None:
    with pytest.raises(BundleError, match="2 class names for a model with 5 outputs"):
        Bundle(awake(small()), Preprocess(size=(24, 16)), ("a", "b"))


def test_a_full_disk_keeps_the_older_bundle(saved: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    larger = bundle(depth=6)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.raises(SaveError, match="What stood there before is untouched"):
            larger.save(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_same(Bundle.load(saved), bundle())
    assert [path.name for path in saved.parent.iterdir()] == ["bundle"]


def test_a_crash_between_the_two_renames_is_mended_on_loading(saved: Path) -> None:
    saved.rename(saved.with_name(".old-bundle"))
    assert_same(Bundle.load(saved.parent), bundle())
    saved.rename(saved.with_name(".old-bundle"))
    assert_same(Bundle.load(saved), bundle())


# Damage.


@pytest.mark.parametrize(("family", "changes", "said"), [
    ("bit", {"depths": [10**12, 1]}, "parameters, but its config describes"),
    ("bit", {"width": 64}, "parameters, but its config describes"),
    ("bit", {"depths": [1] * 100}, "model.depths: Tuple should have at most 6 items"),
    ("axial-resnet", {"depths": [10**12, 1]}, "parameters, but its config describes"),
    ("axial-resnet", {"image_size": [10**9, 10**9]}, "parameters, but its config describes"),
    ("axial-resnet", {"heads": 10**9}, "1000000000 heads with queries half as wide"),
    ("axial-vit", {"depth": 10**12}, "parameters, but its config describes"),
    ("axial-vit", {"registers": 4}, "4 registers stand in no row"),
    ("hybrid", {"stem_depths": [10**12]}, "parameters, but its config describes"),
    ("hybrid", {"stem_width": 10**9}, "model.stem_width: Input should be less than or equal to 64"),
    ("hybrid", {"stem_root": 8}, "model.stem_root: Extra inputs are not permitted"),
])
def test_a_hostile_resnet_is_refused_at_once(tmp_path: Path, family: str, changes: dict[str, Any], said: str) -> None:
    saved = bundle(family=family).save(tmp_path / "bundle")
    config = json.loads((saved / CONFIG).read_text())
    config["model"].update(changes)
    (saved / CONFIG).write_text(json.dumps(config))
    write_manifest(saved)
    refused(saved, said)


def refused(path: Path, *said: str) -> None:
    started = time.perf_counter()
    with pytest.raises(BundleError) as error:
        Bundle.load(path)
    assert time.perf_counter() - started < 2
    for words in said:
        assert words in str(error.value)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, MANIFEST])
def test_a_changed_byte_is_refused(saved: Path, name: str) -> None:
    file = saved / name
    whole = file.read_bytes()
    places = {0, len(whole) - 1, *np.random.default_rng(0).integers(0, len(whole), 50).tolist()}
    for offset in places:
        file.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1 << offset % 8]) + whole[offset + 1 :])
        refused(saved)
    file.write_bytes(whole)
    assert_same(Bundle.load(saved), bundle())


def test_a_changed_byte_of_the_one_file_is_refused(saved: Path, tmp_path: Path) -> None:
    whole, alone = (saved / WEIGHTS).read_bytes(), tmp_path / "alone.safetensors"
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    generator = np.random.default_rng(0)
    places = [*range(12), *generator.integers(0, header, 60), *generator.integers(header, len(whole), 30)]
    for offset in places:
        alone.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1 << int(offset) % 8]) + whole[offset + 1 :])
        refused(alone)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, MANIFEST])
def test_a_cut_file_is_refused(saved: Path, name: str) -> None:
    whole = (saved / name).read_bytes()
    for length in (0, 1, 7, 8, len(whole) // 2, len(whole) - 2):  # the last byte of JSON is an empty line
        (saved / name).write_bytes(whole[:length])
        refused(saved)


def test_the_one_file_cut_is_refused(saved: Path, tmp_path: Path) -> None:
    whole, alone = (saved / WEIGHTS).read_bytes(), tmp_path / "alone.safetensors"
    for length in (0, 1, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        alone.write_bytes(whole[:length])
        refused(alone, "alone.safetensors")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, MANIFEST])
def test_a_missing_file_is_refused(saved: Path, name: str) -> None:
    (saved / name).unlink()
    refused(saved, name)


def test_what_is_no_bundle_says_so(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "There is no Bundle at", "nowhere", "model.safetensors")
    refused(tmp_path, "is not a Bundle", "it holds nothing")
    (tmp_path / "cat.jpg").write_bytes(b"x")
    refused(tmp_path, "it holds cat.jpg")
    refused(tmp_path / "cat.jpg", "cannot be read as safetensors")


def test_safetensors_of_others_are_refused(tmp_path: Path) -> None:
    save_file({"head.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", "vitrail.config", "not written by vitrail")


# Bundles from strangers: the checksums are theirs, so everything else has to hold.


def forge(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the config in all its places, and make every checksum right again."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    change(config)
    write_text(folder, json.dumps(config))


def write_text(folder: Path, text: str, weights: dict[str, torch.Tensor] | None = None) -> None:
    weights = load_file(folder / WEIGHTS) if weights is None else weights
    (folder / CONFIG).write_text(text)
    save_file(weights, folder / WEIGHTS,
              {"format": "pt", HEADER_KEY: text, CHECKSUM_KEY: checksum(text, as_floats(weights))})
    write_manifest(folder)


def as_floats(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.float() for name, value in weights.items()}


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "deep": (lambda c: c["model"].update(depth=10**9), "parameters, but its config describes"),
    "wide": (lambda c: c["model"].update(width=2 * 10**9, mlp=10**12), "parameters, but its config describes"),
    "large numbers": (lambda c: c["model"].update(depth=10**30), "config describes"),
    "many classes": (lambda c: c["model"].update(classes=10**12), "parameters, but its config describes"),
    "large image": (lambda c: c["model"].update(image_size=[8 * 10**9, 4 * 10**9]), "config describes"),
    "many registers": (lambda c: c["model"].update(registers=10**10), "config describes"),
    "other width": (lambda c: c["model"].update(width=32), "config describes"),
    "negative": (lambda c: c["model"].update(depth=-1), "model.depth: Input should be greater than 0"),
    "unknown key": (lambda c: c["model"].update(hooks="os.system"), "model.hooks: Extra inputs are not permitted"),
    "unknown section": (lambda c: c.update(code="x"), "code: Extra inputs are not permitted"),
    "missing": (lambda c: c.pop("preprocess"), "preprocess: Field required"),
    "other version": (lambda c: c.update(format_version=2), "format_version: Input should be 1"),
    "other library": (lambda c: c.update(library_name="timm"), "library_name: Input should be 'vitrail'"),
    "other family": (lambda c: c["model"].update(family="cnn"), "expected tags: 'vit', 'bit', 'hybrid'"),
    "another family": (lambda c: c["model"].update(family="bit"), "model.depths: Field required"),
    "text for a number": (lambda c: c["model"].update(depth="two"), "model.depth"),
    "true for a number": (lambda c: c["model"].update(norm_eps="NaN"), "model.norm_eps"),
    "not a number": (lambda c: c["model"].update(head_bias=float("nan")), "model.head_bias"),
    "infinite": (lambda c: c["preprocess"].update(std=[0.5, float("inf"), 0.5]), "preprocess.std"),
    "zero deviation": (lambda c: c["preprocess"].update(std=[0.5, 0, 0.5]), "preprocess.std"),
    "huge preprocessing": (lambda c: c["preprocess"].update(size=[10**7, 10**7]), "preprocess.size"),
    "too few names": (lambda c: c.update(classes=["a"]), "1 class names for a model with 5 outputs"),
    "names of numbers": (lambda c: c.update(classes=[1, 2, 3, 4, 5]), "classes.0"),
    "activation": (lambda c: c.update(activation="exec"), "activation"),
    "other mlp, same count": (lambda c: c["model"].update(heads=4, positions="learned-2d"), "config describes"),
}


@pytest.mark.parametrize(("change", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_config_is_refused_at_once(saved: Path, tmp_path: Path, change: Any, said: str) -> None:
    forge(saved, change)
    refused(saved, said)
    alone = shutil.copy(saved / WEIGHTS, tmp_path / "alone.safetensors")
    refused(Path(alone), said)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", "[" * 200_000, '{"a":' * 100_000, "\ud800".encode("utf-8", "surrogatepass").decode(
        "utf-8", "replace"), '{"model": NaN}', "1e999999"], ids=lambda text: text[:10])
def test_json_of_any_kind_is_refused(saved: Path, text: str) -> None:
    write_text(saved, text)
    refused(saved, CONFIG)


def test_bytes_that_are_no_text_are_refused(saved: Path) -> None:
    (saved / CONFIG).write_bytes(b"\xff\xfe{}")
    write_manifest(saved)
    refused(saved, "cannot be read")


def test_a_config_larger_than_any_is_refused_unread(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrail.bundle.LARGEST_CONFIG", 100)
    refused(saved, "is larger than")


def test_the_right_number_of_parameters_in_wrong_shapes_is_refused(saved: Path) -> None:
    weights = load_file(saved / WEIGHTS)
    weights["head.weight"] = weights["head.weight"].T.contiguous()
    write_text(saved, (saved / CONFIG).read_text(encoding="utf-8"), weights)
    refused(saved, "head.weight is (16, 5), not (5, 16)")
    weights["head.wait"] = weights.pop("head.weight")
    write_text(saved, (saved / CONFIG).read_text(encoding="utf-8"), weights)
    refused(saved, "head.weight is missing", "head.wait is not known")


def test_a_million_tiny_layers_in_one_tensor_are_refused_at_once(saved: Path) -> None:
    def tiny(config: dict[str, Any]) -> None:
        config["model"] |= {"width": 1, "heads": 1, "mlp": 1, "depth": 100_000, "positions": "none", "patch": [8, 4]}

    forge(saved, tiny)
    config = json.loads((saved / CONFIG).read_text(encoding="utf-8"))
    from vitrail.models import ViTConfig, describe

    count = describe(ViTConfig(**config["model"])).parameters
    write_text(saved, json.dumps(config), {"all": torch.zeros(count)})
    refused(saved, "holds 1 tensors, but its config describes 100,000 layers")


def test_whole_numbers_for_weights_become_floats(saved: Path) -> None:
    weights = {name: value.to(torch.int32) for name, value in load_file(saved / WEIGHTS).items()}
    write_text(saved, (saved / CONFIG).read_text(encoding="utf-8"), weights)
    assert {value.dtype for value in Bundle.load(saved).model.state_dict().values()} == {torch.float32}


# Answers.


def picture(height: int = 30, width: int = 40, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_a_path_its_bytes_its_pixels_and_pillow_give_one_answer(tmp_path: Path) -> None:
    image = Image.fromarray(picture())
    path = tmp_path / "a.png"
    image.save(path)
    answers = bundle().predict([path, str(path), path.read_bytes(), picture(), image, Image.open(path)])
    assert len(answers) == 6
    for row in answers:
        assert [answer[:2] for answer in row] == [answer[:2] for answer in answers[0]]
        assert [answer[2] for answer in row] == pytest.approx([answer[2] for answer in answers[0]], rel=1e-5)


ODD: dict[str, Callable[[], Image.Image]] = {
    "1": lambda: Image.fromarray(picture()).convert("1"),
    "L": lambda: Image.fromarray(picture()).convert("L"),
    "LA": lambda: Image.fromarray(picture(channels=4)).convert("LA"),
    "P": lambda: Image.fromarray(picture()).quantize(16),
    "RGBA": lambda: Image.fromarray(picture(channels=4)),
    "CMYK": lambda: Image.fromarray(picture()).convert("CMYK"),
    "I;16": lambda: Image.fromarray(picture()[..., 0].astype(np.uint16) * 257),
    "F": lambda: Image.fromarray(picture()[..., 0].astype(np.float32)),
}
STORED = {"CMYK": "TIFF", "F": "TIFF"}


@pytest.mark.parametrize("mode", ODD)
def test_odd_pillow_modes_are_read_as_the_same_file_would_be(mode: str) -> None:
    image, ours = ODD[mode](), bundle()
    assert image.mode == mode
    assert torch.equal(ours.read(image), ours.read(encoded(image, STORED.get(mode, "PNG"))))


@pytest.mark.parametrize("mode", ["PA", "HSV", "YCbCr", "RGBX", "RGBa", "LAB", "I", "I;16B"])
def test_modes_that_only_live_in_memory(mode: str) -> None:
    middle = {"RGBa": "RGBA", "LAB": None, "I;16B": None, "PA": "P"}.get(mode, "RGB")
    image = Image.new(mode, (20, 30)) if middle is None else \
        Image.fromarray(picture(channels=4)).convert("RGB" if middle == "P" else "RGBA").convert(middle).convert(mode)
    assert bundle().read(image).shape == (3, 24, 16)


def test_pillow_images_are_turned_upright_as_files_are(tmp_path: Path) -> None:
    image, exif = Image.fromarray(picture()), Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG"):
        path = tmp_path / f"turned.{kind.lower()}"
        image.save(path, kind, exif=exif)
        with Image.open(path) as opened:
            assert torch.equal(bundle().read(opened), bundle().read(path))


def test_transparency_lies_over_the_background_of_the_bundle() -> None:
    ours = bundle()
    read = ours.read(Image.new("RGBA", (40, 30), (0, 0, 0, 0)))
    assert read[:, 0, 0].tolist() == [10, 200, 30]


@pytest.mark.parametrize(
    ("given", "said"),
    [(b"", "the file is empty"), (b"no picture", "not a picture"),
     (np.zeros((2, 2, 4), np.uint8), "pixels must be uint8"),
     (np.zeros((2, 2), np.float32), "pixels must be uint8"), ("nowhere.png", "nowhere.png: No such file"),
     (Path("/"), "Is a directory"), (Image.new("RGB", (0, 0)), "no pixels in 0 x 0")],
    ids=lambda value: str(value)[:20])
def test_what_cannot_be_read_is_an_image_error(given: Any, said: str) -> None:
    with pytest.raises(ImageError) as error:
        bundle().predict([given])
    assert said in str(error.value)


def test_a_truncated_file_opened_by_pillow_is_an_image_error() -> None:
    cut = encoded(Image.fromarray(picture(200, 200)), "JPEG")[:3000]
    with pytest.raises(ImageError, match="image: Pillow cannot convert it"):
        bundle().predict(Image.open(io.BytesIO(cut)))


def test_the_limit_on_pixels_is_the_bundles_own(tmp_path: Path) -> None:
    ours = bundle()
    ours.preprocess = ours.preprocess.model_copy(update={"max_pixels": 1000})
    Image.fromarray(picture()).save(tmp_path / "large.png")
    with pytest.raises(ImageError, match="more than the limit"):
        ours.predict(tmp_path / "large.png")


def test_answers_are_ranked_named_and_sum_to_one() -> None:
    ours = bundle()
    (row,) = ours.predict(picture(), top=99)
    assert {answer.name for answer in row} == set(NAMES)
    assert all(NAMES[answer.index] == answer.name for answer in row)
    assert [answer.probability for answer in row] == sorted((answer.probability for answer in row), reverse=True)
    assert sum(answer.probability for answer in row) == pytest.approx(1, abs=1e-5)
    assert len(ours.predict(picture(), top=2)[0]) == 2
    assert ours.predict([]) == []


def test_without_names_a_class_is_its_number() -> None:
    ours = bundle()
    ours.classes = None
    assert all(answer.name == str(answer.index) for answer in ours.predict(picture())[0])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_activations(activation: Any) -> None:
    ours = bundle()
    ours.activation = activation
    raw = torch.randint(0, 256, (2, 3, 24, 16), dtype=torch.uint8)
    logits = ours.model(ours.preprocess.normalize(raw)).detach()
    expected = {"softmax": logits.exp() / logits.exp().sum(1, keepdim=True), "sigmoid": 1 / (1 + (-logits).exp()),
                "none": logits}[activation]
    torch.testing.assert_close(ours.scores(raw), expected)


def test_asking_does_not_change_the_mode_of_the_model() -> None:
    ours = bundle(dropout=0.5)
    ours.model.train()
    first, second = ours.predict([picture(), picture()])
    assert first == second
    assert ours.model.training


def test_many_images_are_answered_in_order() -> None:
    ours = bundle()
    images = [np.full((24, 16, 3), value, np.uint8) for value in range(0, 250, 3)]
    assert len(images) > 64
    together = ours.predict(images)
    for place in (0, 63, 64, len(images) - 1):
        alone = ours.predict(images[place])[0]
        assert [answer.index for answer in alone] == [answer.index for answer in together[place]]
        assert [answer.probability for answer in alone] == pytest.approx(
            [answer.probability for answer in together[place]], abs=1e-5)


# Heads.


def test_other_classes_are_learned_on_the_same_features() -> None:
    given = bundle(head_hidden=4)
    other = given.with_classes(["cat", "dog"])
    images = torch.randint(0, 256, (2, 3, *given.preprocess.size), dtype=torch.uint8)
    assert other.classes == ("cat", "dog")
    assert torch.equal(other.logits(images), torch.zeros(2, 2))
    features = given.without_head()
    assert torch.equal(other.model.embed(images.float()), features.model(images.float()))
    with pytest.raises(BundleError, match="head is new, all zeros"):
        other.predict(np.zeros((9, 9, 3), np.uint8))
    torch.nn.init.ones_(other.model.head.weight)
    assert {answer.name for answer in other.predict(np.zeros((9, 9, 3), np.uint8))[0]} == {"cat", "dog"}
    for names in ("cat", [], ["cat", "cat"]):
        with pytest.raises(UsageError, match="list of different names"):
            given.with_classes(names)


def test_without_a_head_or_with_an_empty_one_there_are_no_answers(tmp_path: Path) -> None:
    """Not in Python either, nor after a round trip; features are there all the same."""
    from vitrail.data.source import open_source
    from vitrail.evaluation import evaluate
    from vitrail.evaluation.predictions import predict_files

    config = small(classes=10)
    withheld = Bundle(awake(config), Preprocess(size=config.image_size), provenance={"format": "official"})
    torch.nn.init.zeros_(withheld.model.head.weight)
    digits = open_source("digits").splits["test"]
    for silent, said in ((withheld, "heads were withheld"), (bundle().without_head(), "has no head")):
        again = Bundle.load(silent.save(tmp_path / said))
        for ask in (lambda b: b.predict(np.zeros((9, 9, 3), np.uint8)), lambda b: evaluate(b, digits),
                    lambda b: list(predict_files(b, ["x.png"]))):
            with pytest.raises(BundleError, match=said):
                ask(again)
        assert again.model.embed(torch.zeros(1, 3, *again.preprocess.size)).shape == (1, 16)
    assert bundle().silence() is None
