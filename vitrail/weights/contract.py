"""What a format of published weights is: it knows its files by their content, reads them, and writes them.

    path --look_into--> Opened --recognize--> Format --read--> Reading --load--> Bundle --write--> path
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

from torch import Tensor

from vitrail.bundle import Bundle, BundleConfig
from vitrail.errors import BundleError
from vitrail.files import sha256
from vitrail.models import BiTConfig, HybridConfig, ViT, ViTConfig
from vitrail.vocabulary import Size
from vitrail.weights.opened import Opened


@dataclass(frozen=True)
class Told:
    """What the user says of a file, because it may not say so itself. `image_size`: of the images that the model
    shall take; positions are resampled where the file has others. `profile`: whose numbers it has (profiles.py)."""

    image_size: Size | None = None
    heads: int | None = None
    profile: str | None = None


Kind = TypeVar("Kind", ViTConfig, HybridConfig, BiTConfig)
KINDS: dict[type[Any], str] = {ViTConfig: "plain ViTs", HybridConfig: "hybrids", BiTConfig: "BiT ResNets"}


def config_of(bundle: Bundle, format_name: str, *kinds: type[Kind]) -> Kind:
    """The model's config, where it is of one of these kinds itself. Raises BundleError for all others."""
    config = bundle.model.config
    if type(config) not in kinds:
        raise BundleError(f"The format {format_name!r} cannot hold {config.name}: it is for "
                          f"{' and '.join(KINDS[kind] for kind in kinds)}.")
    return cast(Kind, config)


def plain_vit(bundle: Bundle, format_name: str) -> ViT:
    """The model, where it is a ViT with nothing in front of it. Raises BundleError for hybrids and ResNets."""
    config_of(bundle, format_name, ViTConfig)
    return cast(ViT, bundle.model)


class PretrainedDecoder(NamedTuple):
    """A masked autoencoder's, of 2111.06377, which no Bundle holds. `load` reads its weights, by the names of
    `objectives.mae_decoder.Decoder`, and its fixed positions as `table` [patches, width]. Raises BundleError."""

    width: int
    depth: int
    heads: int
    mlp: int
    outputs: int
    load: Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class Reading:
    """A file understood: its config stands, and `load` takes the memory for its weights. `image_size` of the config
    is the file's own; `load` keeps it. `part` reads one parameter by its name in our model. `file` holds the weights.
    `decoder` finds what masked pre-training can go on with beside the model.
    """

    config: BundleConfig
    load: Callable[[], Bundle]
    part: Callable[[str], Tensor]
    file: Path
    decoder: Callable[[], PretrainedDecoder | None] = lambda: None

    def sha256(self) -> str:
        """What identifies the weights. Raises BundleError where they cannot be read."""
        try:
            return sha256(self.file)
        except OSError as error:
            raise BundleError(f"{self.file} cannot be read: {error.strerror or error}.") from error


class Format(ABC):
    """One published format. Any mismatch between keys, shapes and config is a BundleError that names the keys."""

    name: ClassVar[str]
    describes: ClassVar[str]

    @abstractmethod
    def recognize(self, given: Opened) -> bool:
        """Whether the content is of this format. Never raises, never reads a tensor."""

    @abstractmethod
    def read(self, given: Opened, told: Told) -> Reading:
        """Config, preprocessing and the way to the weights. Raises BundleError."""

    @abstractmethod
    def write(self, bundle: Bundle, path: Path) -> Path:
        """Save in the published keys. Raises BundleError where the format cannot hold this model, SaveError."""
