"""Bundle: a trained model with everything that an answer needs, as one folder and one object.

    BUNDLE/config.json         model, preprocessing, classes, activation, provenance
          /model.safetensors   weights; the same JSON and a SHA-256 in its header, so this one file is enough
          /manifest.json       SHA-256 of each file
          /mae_decoder.safetensors    after masked pre-training (mae): the decoder, for more of it
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vitrail.data.jpeg import upright_pixels
from vitrail.data.modes import Color, pillow_orientation, to_rgb
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError, ImageError, UsageError
from vitrail.files import MANIFEST, recover_folder, staged_folder, verify_manifest, write_json
from vitrail.models import FAMILIES, AnyConfig, Model, ModelConfig, build, describe
from vitrail.models.another_head import with_head
from vitrail.vocabulary import Picture, RawImages

FORMAT_VERSION: Literal[1] = 1
CONFIG, WEIGHTS, DECODER = "config.json", "model.safetensors", "mae_decoder.safetensors"
HEADER_KEY, CHECKSUM_KEY = "vitrail.config", "vitrail.sha256"
LARGEST_CONFIG = 64 * 2**20  # bytes; 21,843 class names need one

HEADLESS = "it has no head: it gives features, not answers. Fine-tune it on your images first."
WITHHELD = ("its head is all zeros, as in the published ImageNet-21k files, whose heads were withheld: its answers "
            "mean nothing. Its features are real: fine-tune it, or use model.embed.")
NEW_HEAD = "its head is new, all zeros: its answers mean nothing before it has been trained."

Activation = Literal["softmax", "sigmoid", "none"]
Picturelike = str | Path | bytes | np.ndarray | Image.Image


class Answer(NamedTuple):
    """One class with its probability (or its score, where the activation is "none")."""

    name: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks of an answer
    probability: float


class BundleConfig(BaseModel):
    """What `config.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    library_name: Literal["vitrail"] = "vitrail"
    format_version: Literal[1] = FORMAT_VERSION
    model: AnyConfig
    preprocess: Preprocess
    classes: tuple[str, ...] | None
    activation: Activation
    provenance: dict[str, Any]


class MaskedDecoder(NamedTuple):
    """What guesses the masked patches in a masked autoencoder: no answer needs it, but more pre-training goes on with
    it. `weights` by the names of `objectives.mae_decoder.Decoder`."""

    heads: int
    weights: dict[str, Tensor]


@dataclass
class Bundle:
    """Weights, model config, preprocessing, class names and provenance. `model` maps normalized images to logits."""

    model: Model
    preprocess: Preprocess
    classes: tuple[str, ...] | None = None
    activation: Activation = "softmax"
    provenance: dict[str, Any] = field(default_factory=dict)
    decoder: MaskedDecoder | None = None

    def __post_init__(self) -> None:
        classes = self.model.config.classes
        if self.classes is not None and len(self.classes) != classes:
            raise BundleError(f"{len(self.classes)} class names for a model with {classes} outputs.")

    @property
    def config(self) -> BundleConfig:
        return BundleConfig(model=self.model.config, preprocess=self.preprocess, classes=self.classes,
                            activation=self.activation, provenance=self.provenance)

    def save(self, folder: str | Path) -> Path:
        """Write the folder atomically; an older Bundle there is replaced only when the new one is complete."""
        folder = Path(folder)
        config = self.config.model_dump(mode="json")
        with staged_folder(folder) as staged:
            write_json(staged / CONFIG, config)
            weights = {name: value.detach().float().contiguous().cpu() for name, value in
                       self.model.state_dict().items()}
            text = json.dumps(config)
            save_file(weights, staged / WEIGHTS,
                      {"format": "pt", HEADER_KEY: text, CHECKSUM_KEY: checksum(text, weights)})
            if self.decoder is not None:
                save_file({name: value.detach().float().contiguous().cpu() for name, value in
                           self.decoder.weights.items()}, staged / DECODER, {"heads": str(self.decoder.heads)})
        return folder

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read a Bundle folder, a run folder that holds one, or a `model.safetensors` written by `save`.

        Checksums are verified first; sizes are checked against the weights before anything is built.
        Raises BundleError.
        """
        path = find_bundle(Path(path))
        if path.is_dir():
            held = verify_manifest(path, needed=(CONFIG, WEIGHTS))
            bundle = read_weights(path / WEIGHTS, read_config(path / CONFIG))
            return replace(bundle, decoder=read_decoder(path / DECODER)) if DECODER in held else bundle
        return read_weights(path, None)

    def with_classes(self, classes: Sequence[str]) -> Bundle:
        """For other classes: the whole pre-training head goes, a linear layer of zeros comes (the paper's rule for
        fine-tuning). All other weights are shared with this Bundle."""
        if isinstance(classes, str) or len(set(classes)) != len(classes) or not classes:
            raise UsageError(f"with_classes takes a list of different names, not {classes!r}.")
        return replace(self, model=with_head(self.model, len(classes)), classes=tuple(classes), activation="softmax",
                       provenance=self.provenance | {"head": "new"})

    def without_head(self) -> Bundle:
        """For features: `model(images)` is then `model.embed(images)`. All weights are shared with this Bundle."""
        return replace(self, model=with_head(self.model, 0), classes=None, activation="none")

    def silence(self) -> str | None:
        """Why its answers would mean nothing, or None. A run of our own that has learned nothing yet may answer."""
        if self.model.config.classes == 0:
            return HEADLESS
        reason = NEW_HEAD if self.provenance.get("head") == "new" else WITHHELD
        if reason == WITHHELD and "format" not in self.provenance:
            return None
        kernels = [weight for weight in self.model.get_submodule("head").parameters() if weight.dim() > 1]
        return None if any(bool(kernel.any()) for kernel in kernels) else reason

    def refuse_silence(self) -> None:
        """Raises BundleError where answers would mean nothing."""
        if reason := self.silence():
            raise BundleError(f"{self.model.config.name} cannot answer: {reason}")

    def to(self, device: str | torch.device) -> Bundle:
        self.model.to(device)
        return self

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @torch.inference_mode()
    def logits(self, raw: RawImages) -> Float[Tensor, "batch classes"]:
        """Logits for uint8 images as `preprocess.apply` makes them."""
        parameter = next(self.model.parameters())
        was_training = self.model.training
        self.model.eval()
        images = self.preprocess.normalize(raw.to(parameter.device)).to(parameter.dtype)
        logits = self.model(images).float()
        self.model.train(was_training)
        return logits

    def scores(self, raw: RawImages) -> Float[Tensor, "batch classes"]:
        """Probabilities for uint8 images (or logits, where the activation is "none")."""
        logits = self.logits(raw)
        if self.activation == "none":
            return logits
        return logits.softmax(-1) if self.activation == "softmax" else logits.sigmoid()

    def predict(self, images: Picturelike | Sequence[Picturelike], top: int = 5) -> list[list[Answer]]:
        """The `top` classes of each image, most probable first. Images are paths, bytes, arrays or Pillow images.

        Raises ImageError for the first that cannot be read, BundleError where answers would mean nothing.
        """
        self.refuse_silence()
        if top < 1:
            raise UsageError(f"top={top} classes cannot be named: it must be at least 1.")
        if isinstance(images, str | Path | bytes | np.ndarray | Image.Image):
            return self.predict([images], top)
        if not isinstance(images, list | tuple):
            raise UsageError(f"predict takes paths, bytes, uint8 arrays or Pillow images, or a list of them, not "
                             f"{type(images).__name__}.")
        answers: list[list[Answer]] = []
        for start in range(0, len(images), 64):
            raw = torch.stack([self.read(image) for image in images[start : start + 64]])
            answers.extend(self.rank(self.scores(raw), top))
        return answers

    def read(self, image: Picturelike) -> UInt8[Tensor, "3 height width_px"]:
        """Any way to hand over one picture -> what the model was trained on, by the one documented conversion."""
        if isinstance(image, Image.Image):
            return self.preprocess.apply(pixels_of(image, self.preprocess.background))
        if isinstance(image, (bytes, np.ndarray)):
            return self.preprocess.read(image, "image")
        try:
            return self.preprocess.read(Path(image).read_bytes(), str(image))
        except OSError as error:
            raise ImageError(str(image), error.strerror or "cannot be read") from None

    def rank(self, scores: Float[Tensor, "batch classes"], top: int) -> list[list[Answer]]:
        """The best classes of each row by name."""
        values, indices = scores.cpu().topk(min(top, scores.shape[1]))
        return [[Answer(self.class_name(index), index, value) for value, index in zip(row, order, strict=True)]
                for row, order in zip(values.tolist(), indices.tolist(), strict=True)]

    def class_name(self, index: int) -> str:
        return self.classes[index] if self.classes is not None else str(index)


def pixels_of(image: Image.Image, background: Color) -> Picture:
    """A Pillow image as the same file would be decoded."""
    if 0 in image.size:
        raise ImageError("image", f"there are no pixels in {image.width} x {image.height}")
    try:
        return upright_pixels(to_rgb(image, background), pillow_orientation(image))
    except Exception as error:  # Pillow reads lazily, and raises almost anything on a damaged file
        raise ImageError("image", f"Pillow cannot convert it from mode {image.mode} ({error})") from error


def find_bundle(path: Path) -> Path:
    """The Bundle folder or weights file that `path` means; a run folder means the Bundle in it."""
    recover_folder(path)
    if (path / "bundle").is_dir() or (path / ".old-bundle").is_dir():
        recover_folder(path / "bundle")
        path = path / "bundle"
    if not path.exists():
        raise BundleError(f"There is no Bundle at {path}, nor other weights. Give a run folder, a Bundle folder, its "
                          "model.safetensors, or published weights.")
    if path.name == WEIGHTS and (path.parent / MANIFEST).exists() and (path.parent / CONFIG).exists():
        return path.parent  # its checksums are there
    if path.is_dir() and not (path / CONFIG).exists():
        held = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
        raise BundleError(f"{path} is not a Bundle: it has no {CONFIG} (it holds {held}). "
                          "Give a run folder, a Bundle folder or its model.safetensors.")
    return path


def read_config(path: Path) -> BundleConfig:
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise BundleError(f"{path} is larger than {LARGEST_CONFIG // 2**20} MiB: this is not a Bundle's config.")
        return parse_config(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read: {error}.") from error


def header_config(path: Path) -> BundleConfig:
    """The config of a Bundle folder or weights file (as `find_bundle` gives it), without reading the weights."""
    if path.is_dir():
        return read_config(path / CONFIG)
    try:
        with safe_open(path, framework="pt") as file:
            return config_in(file.metadata(), path)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} cannot be read as safetensors: {error}.") from error


def config_in(header: dict[str, str] | None, path: Path) -> BundleConfig:
    if HEADER_KEY not in (header or {}):
        raise BundleError(f"{path} has no {HEADER_KEY!r} in its header: it was not written by vitrail.")
    return parse_config((header or {})[HEADER_KEY], path)


def parse_config(text: str, path: Path) -> BundleConfig:
    try:
        return BundleConfig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        section, *inner = first["loc"] or ("the document",)
        if section == "model" and inner and inner[0] in FAMILIES:
            del inner[0]  # pydantic names the family that it tried
        where = ".".join(map(str, (section, *inner)))
        raise BundleError(f"{path} is not a Bundle this version understands: {where}: {first['msg']}.") from error


def read_weights(path: Path, config: BundleConfig | None) -> Bundle:
    """Weights and, where `config` is None, config and checksum from the header. Nothing is allocated unchecked."""
    try:
        with safe_open(path, framework="pt") as file:
            alone, header = config is None, file.metadata() or {}
            config = config or config_in(header, path)
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            model = empty_model(config.model, shapes, path)
        weights = {name: read_tensor(path, name) for name in shapes}
        marked = header.keys() == {"format", HEADER_KEY, CHECKSUM_KEY} and header["format"] == "pt"
        if alone and not (marked and header[CHECKSUM_KEY] == checksum(header[HEADER_KEY], weights)):
            raise BundleError(f"{path} has changed since it was written (its checksum differs). "
                              "Use another copy; a damaged file is never loaded.")
        model.load_state_dict(weights, assign=True)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} cannot be read as safetensors: {error}.") from error
    return Bundle(model.eval().requires_grad_(False), config.preprocess, config.classes, config.activation,
                  dict(config.provenance))


def read_tensor(path: Path, name: str) -> Tensor:
    """One tensor in float32. Copied: in the mapped file it lies at any address, and sums may round differently there.
    The file is mapped anew for each: what was read of a mapping stays in memory as long as it."""
    with safe_open(path, framework="pt") as file:
        tensor: Tensor = file.get_tensor(name).to(torch.float32, copy=True)
    return tensor


def read_decoder(path: Path) -> MaskedDecoder:
    try:
        with safe_open(path, framework="pt") as file:
            said, names = (file.metadata() or {}).get("heads", ""), list(file.keys())
        weights = {name: read_tensor(path, name) for name in names}
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} cannot be read as safetensors: {error}.") from error
    if not (said.isascii() and said.isdigit() and int(said[:9]) > 0):
        raise BundleError(f"{path} does not say how many attention heads the decoder has: it is damaged.")
    return MaskedDecoder(int(said[:9]), weights)


def checksum(config: str, weights: dict[str, Tensor]) -> str:
    """SHA-256 of everything in a weights file: the folder's manifest does not travel with it."""
    digest = hashlib.sha256(config.encode())
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.numpy().data)
    return digest.hexdigest()


def empty_model(config: ModelConfig, shapes: dict[str, tuple[int, ...]], path: Path) -> Model:
    """The model on no device at all, once the number of parameters and every shape agree with the file."""
    held = sum(math.prod(shape) for shape in shapes.values())
    wanted = describe(config).parameters
    if held != wanted:
        raise BundleError(f"{path} holds {held:,} parameters, but its config describes {wanted:,}.")
    if config.layers > len(shapes):  # a great many tiny layers would take hours even to name
        raise BundleError(f"{path} holds {len(shapes):,} tensors, but its config describes {config.layers:,} layers.")
    with torch.device("meta"):
        model = build(config)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    differing = describe_differences(expected, shapes)
    if differing:
        raise BundleError(f"{path} does not fit its config: {'; '.join(differing)}.")
    return model


def describe_differences(expected: dict[str, tuple[int, ...]], given: dict[str, tuple[int, ...]],
                         most: int = 5) -> list[str]:
    """What two sets of named shapes disagree in, a phrase each."""
    rows = [f"{name} is missing" for name in expected if name not in given]
    rows += [f"{name} is not known" for name in given if name not in expected]
    rows += [f"{name} is {given[name]}, not {expected[name]}" for name in expected
             if name in given and given[name] != expected[name]]
    return [*rows[:most], f"and {len(rows) - most} more"] if len(rows) > most else rows

