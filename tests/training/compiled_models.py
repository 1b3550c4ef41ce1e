"""Run on its own, where shapes are not checked at every call: torch cannot compile those checks.

    python compiled_models.py captured       every kind of block, traced and not, as JSON
    python compiled_models.py runs FOLDER    losses of a run that is compiled and of one that is not, as JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny import tiny_recipe, train

import vitrail
from vitrail.events import Stepped
from vitrail.training.adapters import AdapterSettings, adapt
from vitrail.training.compiled import compile_blocks, eagerly
from vitrail.training.freeze import freeze

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("mu/4", {"depth": 4}),
    "stochastic depth": ("mu/4", {"depth": 4, "drop_path": 0.5}),
    "adapted": ("mu/4", {"depth": 10, "pooling": "mean"}),
    "frozen": ("mu/4", {"depth": 3}),
    "recomputed": ("mu/4", {"depth": 3, "dropout": 0.1}),
    "biased": ("mu/4", {"positions": "relative-bias", "pooling": "mean", "depth": 2}),
    "bf16": ("mu/4", {"depth": 2, "pooling": "mean"}),
    "axial": ("axial-mu/4", {"depth": 2}),
    "bit": ("R26x0.25", {"depths": (2,)}),
    "hybrid": ("R26+mu/4", {"stem_width": 0.25}),
    "axial resnet": ("axial-R26x0.25", {"depths": (1, 1)}),
}


def prepare(kind: str, model: Any) -> None:
    if kind == "adapted":
        adapt(model, AdapterSettings(rank=2))
    if kind == "frozen":
        freeze(model, ["encoder.blocks.0"])
    if kind == "recomputed":
        model.encoder.recompute = True
    if kind == "bf16":
        model.bfloat16()


def gradients(model: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    model.zero_grad()
    images = torch.linspace(-1, 1, 4 * 3 * 32 * 32).reshape(4, 3, 32, 32).to(next(model.parameters()).dtype)
    model.embed(images).square().sum().backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def captured(kind: str) -> dict[str, Any]:
    """What comes of a model whose blocks are traced, and then run as they were written."""
    torch._dynamo.reset()
    counted = torch._dynamo.utils.counters
    counted.clear()
    torch.manual_seed(0)
    name, settings = KINDS[kind]
    model = vitrail.create(name, classes=3, image_size=32, **settings).train()
    prepare(kind, model)
    names, expected = list(model.state_dict()), gradients(model)
    blocks = compile_blocks(model, backend="eager")
    found = gradients(model)
    graphs = counted["stats"]["unique_graphs"]
    with eagerly(True):
        model.eval()(torch.zeros(7, 3, 32, 32, dtype=next(model.parameters()).dtype))
    return {
        "same names": list(model.state_dict()) == names and found.keys() == expected.keys(),
        "apart": max(float((found[name] - value).abs().max()) / (1e-6 + float(value.abs().max()))
                     for name, value in expected.items() if value.numel()),
        "blocks": len(blocks), "graphs": graphs, "breaks": dict(counted["graph_break"]),
        "graphs of evaluation": counted["stats"]["unique_graphs"] - graphs,
    }


def runs(folder: Path) -> dict[str, Any]:
    """A short run with its blocks compiled and one without, each with validations on the way; and one with dropout
    that is compiled, and does it again with an interruption."""
    recipe = tiny_recipe(training__micro_batches=2, schedule__steps=6, evaluation__every_epochs=0.15,
                         model__settings={"depth": 2, "pooling": "mean", "positions": "none"})
    losses, weights = {}, []
    for name, compiled in (("eager", False), ("compiled", True)):
        events = train(recipe.replaced({"training.compile": compiled}), folder / name)
        losses[name] = [event.step.parts["loss"] for event in events if isinstance(event, Stepped)]
        weights.append(load_file(folder / name / "bundle" / "model.safetensors"))
    same = weights[0].keys() == weights[1].keys() and all(
        torch.allclose(weights[0][name], weights[1][name], atol=1e-4) for name in weights[0])
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    dropped = recipe.replaced({"training.compile": True, "model.settings.dropout": 0.2})
    train(dropped, folder / "whole")
    train(dropped, folder / "cut", stop_after=3)
    train(dropped, folder / "cut", resume=True)
    whole, cut = (load_file(folder / name / "bundle" / "model.safetensors") for name in ("whole", "cut"))
    return losses | {"graphs": graphs, "same weights": same,
                     "same to the bit": all(torch.equal(whole[name], cut[name]) for name in whole)}


if __name__ == "__main__":
    print(json.dumps({kind: captured(kind) for kind in KINDS} if sys.argv[1] == "captured" else
                     runs(Path(sys.argv[2]))))
