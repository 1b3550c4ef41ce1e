"""The published keys of BiT and of the hybrids' ResNet -> the names of our parameters."""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import Tensor

from models.official import GOLDEN, Numbers, named, numberless
from vitrail.models import BiT, BiTConfig, Hybrid, HybridConfig


def reference_bit() -> tuple[BiT, dict[str, Tensor]]:
    given = json.loads((GOLDEN / "bit_resnet.json").read_text())
    numbers = dict(np.load(GOLDEN / "bit_resnet.npz").items())
    config = BiTConfig(depths=given["block_units"], width=given["width_factor"], classes=given["num_classes"],
                       image_size=given["image_size"])
    model = BiT(config).eval()
    model.load_state_dict(tensors(bit_names(numbers, config)))
    return model, outputs_of("bit_resnet")


def reference_hybrid() -> tuple[Hybrid, dict[str, Tensor]]:
    given = json.loads((GOLDEN / "hybrid_two_stages.json").read_text())
    numbers = {numberless(key): value for key, value in np.load(GOLDEN / "hybrid_two_stages.npz").items()}
    encoder, stem = given["transformer"], given["resnet"]
    config = HybridConfig(
        stem_depths=stem["num_layers"], stem_width=stem["width_factor"], classes=given["num_classes"],
        image_size=given["image_size"], patch=8 * given["patches"]["size"][0], width=given["hidden_size"],
        depth=encoder["num_layers"], heads=encoder["num_heads"], mlp=encoder["mlp_dim"])
    model = Hybrid(config).eval()
    model.load_state_dict(tensors(hybrid_names(numbers, config)))
    return model, outputs_of("hybrid_two_stages")


def tensors(numbers: Numbers) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value.copy()) for key, value in numbers.items()}


def outputs_of(case: str) -> dict[str, Tensor]:
    outputs = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / f"{case}.io.npz").items()}
    return outputs | {"images": outputs["images"].permute(0, 3, 1, 2)}


def bit_names(numbers: Numbers, config: BiTConfig) -> Numbers:
    result = {"root.weight": kernel(numbers, "resnet/root_block/standardized_conv2d"),
              "head.weight": kernel(numbers, "resnet/head/conv2d")[:, :, 0, 0],
              "head.bias": numbers["resnet/head/conv2d/bias"], **bit_norm(numbers, "resnet/", "norm")}
    for number, units in enumerate(config.depths):
        for unit in range(units):
            there, here = f"resnet/block{number + 1}/unit{unit + 1:02}/", f"stages.{number}.{unit}."
            for place, letter in enumerate("abc", start=1):
                result[f"{here}conv{place}.weight"] = kernel(numbers, f"{there}{letter}/standardized_conv2d")
                result |= bit_norm(numbers, f"{there}{letter}/", f"{here}norm{place}")
            if unit == 0:
                result[f"{here}projection.weight"] = kernel(numbers, f"{there}a/proj/standardized_conv2d")
    return result


def bit_norm(numbers: Numbers, there: str, here: str) -> Numbers:
    return {f"{here}.weight": numbers[f"{there}group_norm/gamma"], f"{here}.bias": numbers[f"{there}group_norm/beta"]}


def hybrid_names(numbers: Numbers, config: HybridConfig) -> Numbers:
    result = named(numbers, config)
    for name in ("weight", "bias"):
        result[f"patchify.embedding.{name}"] = result.pop(f"patchify.{name}")
    stem = "patchify.stem."
    result |= {f"{stem}root.weight": kernel(numbers, "conv_root"), **hybrid_norm(numbers, "gn_root", f"{stem}norm")}
    for number, units in enumerate(config.stem_depths):
        for unit in range(units):
            there, here = f"block{number + 1}/unit{unit + 1}/", f"{stem}stages.{number}.{unit}."
            for place in "123":
                result[f"{here}conv{place}.weight"] = kernel(numbers, f"{there}conv{place}")
                result |= hybrid_norm(numbers, f"{there}gn{place}", f"{here}norm{place}")
            if unit == 0:
                result[f"{here}projection.weight"] = kernel(numbers, f"{there}conv_proj")
                result |= hybrid_norm(numbers, f"{there}gn_proj", f"{here}projection_norm")
    return result


def hybrid_norm(numbers: Numbers, there: str, here: str) -> Numbers:
    """Stored as [1, 1, 1, channels] in older files."""
    return {f"{here}.weight": numbers[f"{there}/scale"].ravel(), f"{here}.bias": numbers[f"{there}/bias"].ravel()}


def kernel(numbers: Numbers, there: str) -> np.ndarray:
    """[height, width, inputs, outputs] -> [outputs, inputs, height, width]"""
    return numbers[f"{there}/kernel"].transpose(3, 2, 0, 1)
