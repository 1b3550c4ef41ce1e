"""The published key format -> the names of our parameters, for the reference values in `tests/golden`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitrail.models import ViT, ViTConfig

GOLDEN = Path(__file__).parents[1] / "golden"
Numbers = dict[str, np.ndarray]


def reference(name: str) -> tuple[ViT, dict[str, Tensor]]:
    """A model with the reference weights, and what was put in and came out (images as [batch, 3, height, width])."""
    given = json.loads((GOLDEN / f"{name}.json").read_text())
    numbers = {numberless(key): value for key, value in np.load(GOLDEN / f"{name}.npz").items()}
    config = config_from(given)
    model = ViT(config).eval()
    model.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in named(numbers, config).items()})
    outputs = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / f"{name}.io.npz").items()}
    return model, {key: value.permute(0, 3, 1, 2) if key.startswith("images") else value
                   for key, value in outputs.items()}


def config_from(given: dict[str, Any]) -> ViTConfig:
    encoder = given.get("transformer", given)
    pooling = given.get("classifier") or given.get("pool_type")
    return ViTConfig(
        image_size=tuple(given["image_size"]), classes=given["num_classes"],
        patch=tuple(given["patches"]["size"] if "patches" in given else given["patch_size"]),
        width=given.get("hidden_size") or given["width"], depth=encoder.get("num_layers") or encoder["depth"],
        heads=encoder["num_heads"], mlp=encoder["mlp_dim"], head_hidden=given.get("representation_size"),
        positions="sincos-2d" if given.get("posemb") == "sincos2d" else "learned",
        pooling={"token": "token", "gap": "mean", "map": "attention"}[pooling],
    )


def numberless(key: str) -> str:
    """Both ways of numbering the parts of a block, and the prefix of one of them, to one name."""
    key = key.removeprefix("params/").replace("Transformer/posembed_input/pos_embedding", "pos_embedding")
    for pattern, plain in ((r"LayerNorm_0(?=/)", "norm1"), (r"LayerNorm_[12]", "norm2"), (r"MlpBlock_\d", "mlp"),
                           (r"MultiHeadDotProductAttention_\d", "attention")):
        key = re.sub(pattern, plain, key)
    return key


def named(numbers: Numbers, config: ViTConfig) -> Numbers:
    result: Numbers = {
        "patchify.weight": numbers["embedding/kernel"].transpose(3, 2, 0, 1),
        "patchify.bias": numbers["embedding/bias"],
        "prefix.class_token": numbers["cls"][0] if "cls" in numbers else np.zeros((0, config.width), np.float32),
        "prefix.registers": np.zeros((0, config.width), np.float32),
    }
    if "pos_embedding" in numbers:
        positions = numbers["pos_embedding"][0]
        result["encoder.positions.tables.0.class_position"] = positions[: config.class_tokens]
        result["encoder.positions.tables.0.table"] = positions[config.class_tokens :]
    for layer in range(config.depth):
        there, here = f"Transformer/encoderblock_{layer}/", f"encoder.blocks.{layer}."
        result |= norm(numbers, there + "norm1", here + "norm1") | norm(numbers, there + "norm2", here + "norm2")
        result |= joined(numbers, there + "attention", here + "attention.qkv", ("query", "key", "value"))
        result |= out(numbers, there + "attention/out", here + "attention.out")
        result |= dense(numbers, there + "mlp/Dense_0", here + "feed_forward.expand")
        result |= dense(numbers, there + "mlp/Dense_1", here + "feed_forward.contract")
    result |= norm(numbers, "Transformer/encoder_norm", "norm") | dense(numbers, "head", "head")
    if config.head_hidden:
        result |= dense(numbers, "pre_logits", "hidden.linear")
    if config.pooling == "attention":
        attention = "MAPHead_0/attention"
        result["pool.probe"] = numbers["MAPHead_0/probe"][0]
        result |= joined(numbers, attention, "pool.query", ("query",))
        result |= joined(numbers, attention, "pool.key_value", ("key", "value"))
        result |= out(numbers, attention + "/out", "pool.out") | norm(numbers, "MAPHead_0/norm1", "pool.norm")
        result |= dense(numbers, "MAPHead_0/mlp/Dense_0", "pool.feed_forward.expand")
        result |= dense(numbers, "MAPHead_0/mlp/Dense_1", "pool.feed_forward.contract")
    return result


def norm(numbers: Numbers, there: str, here: str) -> Numbers:
    return {f"{here}.weight": numbers[f"{there}/scale"], f"{here}.bias": numbers[f"{there}/bias"]}


def dense(numbers: Numbers, there: str, here: str) -> Numbers:
    return {f"{here}.weight": numbers[f"{there}/kernel"].T, f"{here}.bias": numbers[f"{there}/bias"]}


def joined(numbers: Numbers, there: str, here: str, parts: tuple[str, ...]) -> Numbers:
    """Layers [width, heads, head width], side by side as one."""
    kernels = [numbers[f"{there}/{part}/kernel"] for part in parts]
    return {f"{here}.weight": np.concatenate([kernel.reshape(len(kernel), -1).T for kernel in kernels]),
            f"{here}.bias": np.concatenate([numbers[f"{there}/{part}/bias"].ravel() for part in parts])}


def out(numbers: Numbers, there: str, here: str) -> Numbers:
    kernel = numbers[f"{there}/kernel"]
    return {f"{here}.weight": kernel.reshape(-1, kernel.shape[-1]).T, f"{here}.bias": numbers[f"{there}/bias"]}
