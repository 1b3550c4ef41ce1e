"""vitrail describe MODEL"""

from __future__ import annotations

import json as json_format
from typing import Annotated

from cyclopts import Parameter


def describe(
    model: str, /, *,
    image_size: str | None = None,
    classes: int | None = None,
    heads: int | None = None,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = (),
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """What a model is and costs: parameters, multiply-adds, memory. Nothing is built.

        vitrail describe B/16 --image-size 384

        vitrail describe runs/demo-1 --json

    Parameters
    ----------
    model
        A name such as S/16, or a run folder, a Bundle or published weights in any format that vitrail reads.
    image_size
        Pixels, as 224 or 160x224 (height x width).
    classes
        Number of outputs; 1000 without.
    heads
        Attention heads, for a file that does not tell.
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
    if Path(model).exists():
        kept = weights.read(model, weights.Told(changes.get("image_size"), heads)).config
        config = kept.model.at_size(changes.get("image_size", kept.model.image_size))
    else:
        config = configure(model, **changes)
    account = account_for(config)
    facts = {
        "name": config.name, "parameters": account.parameters, "macs": account.macs,
        "image_size": list(config.image_size), "patch": list(config.patch), "grid": list(config.grid),
        "tokens": config.tokens, "width": config.width, "depth": config.depth, "heads": config.heads,
        "mlp": config.mlp, "positions": f"{config.positions} at {config.positions_at}", "pooling": config.pooling,
        "numerics": f"{config.feedforward}, epsilon {config.norm_eps:g}, positions resampled {config.resampling}",
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
        "image_size": "x".join(map(str, config.image_size)), "patch": "x".join(map(str, config.patch)),
        "grid": "x".join(map(str, config.grid)),
        "activation_bytes": f"{account.activation_bytes / 2**20:.3g} MiB an image in training (bf16)",
    }
    if kept is not None:
        words |= {"class_names": ", ".join(kept.classes or ()) or None, "preprocess": str(kept.preprocess),
                  "provenance": json_format.dumps({name: value for name, value in kept.provenance.items()
                                                   if name != "recipe"})}
    for name, value in words.items():
        print(f"{name.replace('_', ' '):<17} {value}")
    return 0
