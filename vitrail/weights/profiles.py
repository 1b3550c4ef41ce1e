"""Whose numbers: what weights alone do not tell, by the code that they were trained with.

A format knows its usual profile; `--profile NAME` says that a file is of another origin. Sources: the published code
of each (docs/weights.md). Not here: the image size, which the table of positions tells.
"""

from __future__ import annotations

from typing import NamedTuple

from vitrail.bundle import BundleConfig
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError, UnknownNameError
from vitrail.models import ViTConfig

Triple = tuple[float, float, float]

HALF: tuple[Triple, Triple] = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
IMAGENET: tuple[Triple, Triple] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPENAI: tuple[Triple, Triple] = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Profile(NamedTuple):
    """`gelu`: of feed-forward layers that are not gated. `shown`: how much of a picture's shorter side is kept, or
    None where the whole picture is squashed into a square. `values`: mean and standard deviation, of 0 to 1."""

    gelu: str
    epsilon: float
    resampling: str
    shown: float | None
    interpolation: str
    values: tuple[Triple, Triple]


PROFILES: dict[str, Profile] = {
    #                     GELU        epsilon  positions resampled  shown   interpolation  values
    "official": Profile("gelu-tanh", 1e-6, "bilinear-corners", None, "bilinear", HALF),
    "augreg": Profile("gelu-tanh", 1e-6, "bilinear-corners", 0.875, "bilinear", HALF),
    "big_vision": Profile("gelu-tanh", 1e-6, "bilinear-corners", 0.875, "bilinear", HALF),
    "timm": Profile("gelu", 1e-6, "bicubic-antialias", 0.9, "bicubic", HALF),
    "deit": Profile("gelu", 1e-6, "bicubic", 0.875, "bicubic", IMAGENET),
    "mae": Profile("gelu", 1e-6, "bicubic", 0.875, "bicubic", IMAGENET),
    "dino": Profile("gelu", 1e-6, "bicubic", 0.875, "bicubic", IMAGENET),
    "dinov2": Profile("gelu", 1e-6, "bicubic", 0.875, "bicubic", IMAGENET),
    "siglip": Profile("gelu-tanh", 1e-6, "bicubic", None, "bicubic", HALF),
    "clip": Profile("gelu-quick", 1e-5, "bicubic", 1.0, "bicubic", OPENAI),
    "openclip": Profile("gelu", 1e-5, "bicubic-antialias", 1.0, "bicubic", OPENAI),
    "huggingface": Profile("gelu", 1e-12, "bicubic", None, "bilinear", HALF),
}


def profile_named(name: str) -> Profile:
    """Raises UnknownNameError, with the nearest."""
    if name not in PROFILES:
        raise UnknownNameError("profile", name, PROFILES)
    return PROFILES[name]


def assumed(name: str, model: ViTConfig, preprocess: Preprocess) -> str:
    """The note for a file that says nothing of its numbers."""
    mean, std = (", ".join(f"{value:g}" for value in sorted(set(values))) for values in (preprocess.mean,
                                                                                         preprocess.std))
    return (f"The file does not say its numbers: those of {name} are assumed ({model.feedforward}, epsilon "
            f"{model.norm_eps:g}, images of mean {mean} and standard deviation {std}). Say otherwise: "
            f"vitrail convert FILE OUT --profile NAME ({', '.join(PROFILES)}).")


def under(config: BundleConfig, name: str) -> BundleConfig:
    """The same weights, meant as this profile has it. Raises BundleError for a Bundle, which knows its own."""
    profile = profile_named(name)
    if "format" not in config.provenance:
        raise BundleError(f"A Bundle says itself whose numbers it has: leave out --profile {name}.")
    model = config.model.model_dump()
    if isinstance(config.model, ViTConfig):  # a ResNet has group norms and no GELU: only its pictures differ
        model |= {"norm_eps": profile.epsilon, "resampling": profile.resampling}
        model["feedforward"] = "swiglu" if config.model.feedforward == "swiglu" else profile.gelu
    mean, std = profile.values
    preprocess = config.preprocess.model_dump() | {
        "resize": "squash" if profile.shown is None else "crop", "crop_fraction": profile.shown or 1.0,
        "interpolation": profile.interpolation, "mean": mean, "std": std}
    return BundleConfig.model_validate(config.model_dump() | {"model": model, "preprocess": preprocess,
                                                              "provenance": config.provenance | {"profile": name}})
