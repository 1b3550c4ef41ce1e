"""vitrail describe MODEL"""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vitrail.cli.numbers import Count
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from vitrail.models import ModelConfig
    from vitrail.weights import Reading, Told

Facts = dict[str, Any]


WEIGHTS_SUFFIXES = (".npz", ".safetensors", ".bin", ".pth", ".pt")


def describe(
    model: str, /, *,
    image_size: str | None = None,
    classes: Count | None = None,
    heads: Count | None = None,
    profile: str | None = None,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = (),
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """What a model is and costs: parameters, multiply-adds, memory. Nothing is built.

        vitrail describe B/16 --image-size 384

        vitrail describe R50+B/16

        vitrail describe runs/demo-1 --json

    Parameters
    ----------
    model
        A name such as S/16, R50x1, R50+B/16 or axial-B/32, or a run folder, a Bundle or published weights in any
        format that vitrail reads, also on the Hugging Face hub: hf:OWNER/NAME.
    image_size
        Pixels, as 224 or 160x224 (height x width).
    classes
        Number of outputs; 1000 without.
    heads
        Attention heads, for a file that does not tell.
    profile
        Whose numbers weights have, where their format implies others: official, timm, deit, dino, ...
    set_
        Change one field of the model: --set positions=rotary-2d. May be given again.
    json
        Print JSON on stdout.
    """
    from vitrail.cli.run_options import parse_size, settings
    from vitrail.models import configure
    from vitrail.weights import Told, is_hub_name

    size = parse_size(image_size) if image_size else None
    if is_hub_name(model) or Path(model).exists():
        if set_ or classes:
            raise UsageError(f"{model} is a trained model: its classes and settings are fixed. Leave out --set and "
                             "--classes, or describe a model by its name.")
        facts = facts_of_weights(model, Told(size, heads, profile))
    elif Path(model).suffix in WEIGHTS_SUFFIXES or len(Path(model).parts) > 2:
        raise UsageError(f"There is no file {model}. Give weights, a run folder, or the name of a model such as B/16.")
    elif profile:
        raise UsageError(f"--profile is for weights; {model} is a name. Change its numbers: --set feedforward=gelu")
    else:
        asked = {"image_size": size, "classes": classes, "heads": heads}
        changes = settings(set_) | {name: value for name, value in asked.items() if value}
        facts = facts_of(configure(model, **changes))
    if json:
        print(json_format.dumps(facts))
    else:
        for name, words in in_words(facts).items():
            print(f"{name.replace('_', ' '):<17} {words}")
    return 0


def facts_of(config: ModelConfig) -> Facts:
    """What a config says, and what follows from it."""
    from vitrail.models import describe as account_for

    account = account_for(config)
    return {
        "name": config.name, "parameters": account.parameters, "macs": account.macs,
        "image_size": list(config.image_size), "grid": list(config.grid), **structure(config),
        "classes": config.classes, "activation_bytes": account.activation_bytes,
    }


def structure(config: ModelConfig) -> Facts:
    """What the family is made of."""
    from vitrail.models import AxialResNetConfig, BiTConfig, HybridConfig

    if isinstance(config, BiTConfig):
        attention = {"heads": config.heads} if isinstance(config, AxialResNetConfig) else {}
        return {"units": list(config.depths), "width": config.width, "embedding": config.embedding} | attention
    stem = {"stem_units": list(config.stem_depths), "stem_width": config.stem_width} if isinstance(
        config, HybridConfig) else {}
    return {
        "patch": list(config.patch), **stem, "tokens": config.tokens, "width": config.width, "depth": config.depth,
        "heads": config.heads, "mlp": config.mlp, "positions": f"{config.positions} at {config.positions_at}",
        "pooling": config.pooling + (f", projected to {config.projection}" if config.projection else ""),
        "numerics": f"{config.feedforward}, epsilon {config.norm_eps:g}, positions resampled {config.resampling}"
                    f"{', a norm before the first block' if config.pre_norm else ''}",
    }


def facts_of_weights(path: str, told: Told) -> Facts:
    """The same of a trained model, with what its file says of classes and pictures, and what was assumed."""
    from vitrail import weights
    from vitrail.models.vit.another_size import config_at_size, describe_change

    reading = weights.read(path, told)
    kept = reading.config
    config = config_at_size(kept.model, told.image_size or kept.model.image_size)
    provenance = {name: value for name, value in kept.provenance.items() if name != "notes"}
    return facts_of(config) | {
        "format": kept.provenance.get("format", "vitrail"), "head": head_of(reading), "class_names": kept.classes,
        "activation": kept.activation, "preprocess": kept.preprocess.model_dump(mode="json"),
        "assumed": kept.provenance.get("notes", []), "resampled": describe_change(kept.model, config),
        "provenance": provenance,
    }


def head_of(reading: Reading) -> str:
    """none, zero (it cannot answer), or linear; "tanh, linear" with the pre-training head's hidden layer."""
    model = reading.config.model
    if not model.classes:
        return "none"
    if not bool(reading.part("head.weight").any()):
        return "zero"
    return "tanh, linear" if getattr(model, "head_hidden", None) else "linear"


HEADS = {"none": "none: it gives features", "zero": "all zeros: it gives features, and can be fine-tuned"}


def in_words(facts: Facts) -> dict[str, str]:
    """The facts as a person reads them."""
    words = {name: str(value) for name, value in facts.items()}
    words |= {
        "parameters": f"{facts['parameters']:,}",
        "macs": f"{facts['macs'] / 1e9:.3g} G multiply-adds forward, one image",
        "activation_bytes": f"{facts['activation_bytes'] / 2**20:.3g} MiB an image in training (bf16)",
    }
    words |= {name: "x".join(map(str, facts[name])) for name in ("image_size", "grid", "patch") if name in facts}
    words |= {name: "-".join(map(str, facts[name])) or "none" for name in ("units", "stem_units") if name in facts}
    if "provenance" not in facts:
        return words
    words |= {"head": HEADS.get(facts["head"], words["head"]), "preprocess": preprocess_words(facts["preprocess"]),
              "provenance": json_format.dumps({name: value for name, value in facts["provenance"].items()
                                               if name != "recipe"})}
    return words | {"class_names": ", ".join(facts["class_names"] or ()) or "not known",
                    "assumed": " ".join(facts["assumed"]) or "nothing",
                    "resampled": "; ".join(facts["resampled"]) or "nothing"}


def preprocess_words(preprocess: Facts) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, value)) if name == 'size' else value}"
                     for name, value in preprocess.items())
