"""The decoder of a published masked autoencoder (2111.06377), where the file holds it beside the encoder.

    decoder.decoder_layers.0.layernorm_before...    Hugging Face; newer versions call the layers decoder_encoder.layer
    decoder_blocks.0.norm1...                       the authors', whose encoder is laid out as timm's

The file's pixels of a patch are in the order of height, width, channels; ours are channel by channel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from torch import Tensor

from vitrail.models import ModelConfig, ViTConfig
from vitrail.weights.contract import PretrainedDecoder
from vitrail.weights.huggingface import vit
from vitrail.weights.layout import Rule, compare, finite, layer, norm, same, shape_of
from vitrail.weights.opened import Opened
from vitrail.weights.timm import DECODER, block

Block = Callable[[ViTConfig, str, str], Iterator[Rule]]

LAYERS: dict[str, Block] = {
    "decoder.decoder_layers": vit.block, "decoder.decoder_encoder.layer": vit.block,
    "decoder_blocks": lambda config, ours, theirs: block(config, ours, theirs, False)}

HEAD = 32
"""Numbers in a head of all published decoders, where the file does not say."""


def decoder_in(given: Opened, encoder: ModelConfig) -> PretrainedDecoder | None:
    """Raises BundleError where there is a part of a decoder only."""
    before = next((before for before in LAYERS if any(name.startswith(f"{before}.") for name in given.shapes)), None)
    if before is None or type(encoder) is not ViTConfig:
        return None
    prefix = "decoder." if before.startswith("decoder.") else ""
    width = shape_of(given.shapes, f"{prefix}decoder_embed.weight", 2, given.path)[0]
    depth = len({match[1] for name in given.shapes if (match := re.match(rf"{re.escape(before)}\.(\d+)\.", name))})
    inner = next((given.shapes[f"{before}.0.{name}.weight"][0] for name in ("intermediate.dense", "mlp.fc1")
                  if f"{before}.0.{name}.weight" in given.shapes), 0)
    heads = given.settings.get("decoder_num_attention_heads") if prefix else max(1, width // HEAD)
    if not isinstance(heads, int) or heads < 1:
        heads = max(1, width // HEAD)
    inside = encoder.model_copy(update={"width": width, "mlp": inner, "layer_scale": None})

    def rules() -> Iterator[Rule]:
        outputs = (*encoder.patch, encoder.channels)
        yield from layer("embed", f"{prefix}decoder_embed", width, encoder.width)
        yield same("mask", f"{prefix}mask_token", (1, 1, width))
        yield same("table", f"{prefix}decoder_pos_embed", (1, 1 + encoder.patches, width))
        for number in range(depth):
            yield from LAYERS[before](inside, f"stack.blocks.{number}.", f"{before}.{number}.")
        yield from norm("norm", f"{prefix}decoder_norm", width)
        yield from by_channel("prediction.weight", f"{prefix}decoder_pred.weight", outputs, width)
        yield from by_channel("prediction.bias", f"{prefix}decoder_pred.bias", outputs)

    numbers = encoder.channels * encoder.patch[0] * encoder.patch[1]
    return PretrainedDecoder(width, depth, heads, inner, numbers, lambda: loaded(list(rules()), given))


def by_channel(ours: str, theirs: str, outputs: tuple[int, int, int], *inputs: int) -> Iterator[Rule]:
    """Rows for the pixels of a patch."""
    height, width, channels = outputs
    yield Rule((ours,), {theirs: (height * width * channels, *inputs)},
               lambda rows: (rows.unflatten(0, outputs).movedim(2, 0).flatten(0, 2),),
               lambda rows: (rows.unflatten(0, (channels, height, width)).movedim(0, 2).flatten(0, 2),))


def loaded(rules: list[Rule], given: Opened) -> dict[str, Tensor]:
    mine = {name for rule in rules for name in rule.theirs}
    compare(rules, {name: shape for name, shape in given.shapes.items()
                    if name in mine or name.startswith("decoder.") or re.fullmatch(DECODER, name)}, given.path)
    state = {name: value.clone() for rule in rules for name, value in zip(
        rule.ours, rule.read(*(finite(given.tensor(theirs), theirs, given.path) for theirs in rule.theirs)),
        strict=True)}
    return state | {"mask": state["mask"].flatten(), "table": state["table"][0, 1:]}
