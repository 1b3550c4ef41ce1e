"""vitrail describe MODEL"""

from __future__ import annotations

import json as json_format
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vitrail.cli.numbers import Count
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from vitrail.models import ModelConfig


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
        A name such as S/16, R50x1 or R50+B/16, or a run folder, a Bundle or published weights in any format that
        vitrail reads, also on the Hugging Face hub: hf:OWNER/NAME.
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
    from pathlib import Path

    from vitrail import weights
    from vitrail.cli.train import parse_size, settings
    from vitrail.models import configure
    from vitrail.models import describe as account_for

    changes = settings(set_) | ({"image_size": parse_size(image_size)} if image_size else {})
    changes |= {name: value for name, value in (("classes", classes), ("heads", heads)) if value}
    kept = None
    if weights.is_hub_name(model) or Path(model).exists():
        if set_ or classes:
            raise UsageError(f"{model} is a trained model: its classes and settings are fixed. Leave out --set and "
                             "--classes, or describe a model by its name.")
        kept = weights.read(model, weights.Told(changes.get("image_size"), heads, profile)).config
        config = at_size(kept.model, changes.get("image_size", kept.model.image_size))
    elif profile:
        raise UsageError(f"--profile is for weights; {model} is a name. Change its numbers: --set feedforward=gelu")
    else:
        config = configure(model, **changes)
    account = account_for(config)
    facts: dict[str, Any] = {
        "name": config.name, "parameters": account.parameters, "macs": account.macs,
        "image_size": list(config.image_size), "grid": list(config.grid), **structure(config),
        "classes": config.classes, "activation_bytes": account.activation_bytes,
    }
    if kept is not None:
        facts |= {"class_names": kept.classes, "activation": kept.activation,
                  "preprocess": kept.preprocess.model_dump(mode="json"), "provenance": kept.provenance}
    if json:
        print(json_format.dumps(facts))
        return 0
    words = facts | {
        "parameters": f"{account.parameters:,}", "macs": f"{account.macs / 1e9:.3g} G multiply-adds forward, one image",
        "activation_bytes": f"{account.activation_bytes / 2**20:.3g} MiB an image in training (bf16)",
    }
    words |= {name: "x".join(map(str, facts[name])) for name in ("image_size", "grid", "patch") if name in facts}
    words |= {name: "-".join(map(str, facts[name])) or "none" for name in ("units", "stem_units") if name in facts}
    if kept is not None:
        words |= {"class_names": ", ".join(kept.classes or ()) or None, "preprocess": str(kept.preprocess),
                  "provenance": json_format.dumps({name: value for name, value in kept.provenance.items()
                                                   if name != "recipe"})}
    for name, value in words.items():
        print(f"{name.replace('_', ' '):<17} {value}")
    return 0


def at_size(config: ModelConfig, size: tuple[int, int]) -> ModelConfig:
    from pydantic import ValidationError

    from vitrail.weights.known import first_reason

    try:
        return config.at_size(size)
    except ValidationError as error:
        raise UsageError(f"--image-size {size[0]}x{size[1]}: {first_reason(error)}.") from error


def structure(config: ModelConfig) -> dict[str, Any]:
    """What the family is made of."""
    from vitrail.models import BiTConfig, HybridConfig

    if isinstance(config, BiTConfig):
        return {"units": list(config.depths), "width": config.width, "embedding": config.embedding}
    stem = {"stem_units": list(config.stem_depths), "stem_width": config.stem_width} if isinstance(
        config, HybridConfig) else {}
    return {
        "patch": list(config.patch), **stem, "tokens": config.tokens, "width": config.width, "depth": config.depth,
        "heads": config.heads, "mlp": config.mlp, "positions": f"{config.positions} at {config.positions_at}",
        "pooling": config.pooling,
        "numerics": f"{config.feedforward}, epsilon {config.norm_eps:g}, positions resampled {config.resampling}",
    }
