"""What every registered part promises, asked of each in turn: a new entry in a registry is tested on arrival."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from models.small import CONFIG, EVERY_POSITION, awake, pictures, small
from torch import Tensor

from vitrail.models import FAMILIES, BiTConfig, Family, ViT, build, configure
from vitrail.models.axial import ADDED
from vitrail.models.names import NAMINGS
from vitrail.models.vit.attention import AttentionCore, Kernel
from vitrail.models.vit.config import PLACEMENTS, FeedForwardKind, PositionKind
from vitrail.models.vit.config import Pooling as PoolingKind
from vitrail.models.vit.positions import POSITIONS
from vitrail.models.vit.variants import SIZES

VARIATIONS: dict[str, dict[str, Any]] = {
    **{f"{kind} positions, {place}": {"positions": kind, "positions_at": place, "registers": 1}
       for kind, place in EVERY_POSITION},
    **{f"{pooling} pooling, {kind}": {"pooling": pooling or "token", "feedforward": kind or "gelu-tanh"}
       for pooling, kind in zip_longest(get_args(PoolingKind), get_args(FeedForwardKind))},
    "rotary positions across the grid": {"positions": "rotary-2d", "positions_at": "shared", "registers": 1,
                                         "rotary_unit": "grid"},
    "BiT": {"family": "bit"},
    "BiT, one stage": {"family": "bit", "depths": (2,), "channels": 1, "standardize": "deviation"},
    "BiT, odd sides": {"family": "bit", "image_size": (23, 17)},
    **{f"hybrid, {kind} positions": {"family": "hybrid", "positions": kind, "positions_at": places[0], "registers": 1}
       for kind, places in PLACEMENTS.items()},
    "hybrid, root alone": {"family": "hybrid", "stem_depths": (), "channels": 1, "pooling": "mean"},
    "hybrid, two stages": {"family": "hybrid", "stem_depths": (1, 2), "patch": 8, "pooling": "attention",
                           "stem_standardize": "variance"},
    **{f"axial, {kind} positions": {"family": "axial-vit", "positions": kind, "positions_at": PLACEMENTS[kind][-1]}
       for kind in ADDED},
    "axial, attention pooling": {"family": "axial-vit", "pooling": "attention", "head_hidden": 6, "layer_scale": 0.1,
                                 "drop_path": 0.2, "channels": 1, "feedforward": "swiglu"},
    "axial ResNet": {"family": "axial-resnet"},
    "axial ResNet, odd sides": {"family": "axial-resnet", "image_size": (23, 17), "depths": (1, 1), "heads": 4},
    "norm first, no bias of patches, projected": {"pre_norm": True, "patch_bias": False, "projection": 10},
    "everything else": {"registers": 3, "head_hidden": 6, "layer_scale": 0.1, "qkv_bias": False, "drop_path": 0.2,
                        "dropout": 0.1, "channels": 1},
}
each_variation = pytest.mark.parametrize("fields", VARIATIONS.values(), ids=VARIATIONS)


def with_kernel(model: Any, kernel: Kernel) -> Any:
    for part in model.modules():
        if isinstance(part, AttentionCore):
            part.kernel = kernel
    return model


def test_registries_and_types_name_the_same_things() -> None:
    assert set(POSITIONS) == set(PLACEMENTS) == set(get_args(PositionKind))
    assert set(FAMILIES) == set(NAMINGS) == set(get_args(Family))


@each_variation
@pytest.mark.parametrize("kernel", ["fused", "products"])
def test_forward_and_backward_are_finite_and_reach_every_parameter(fields: dict[str, Any], kernel: Kernel) -> None:
    config = small(**fields)
    model = with_kernel(awake(config), kernel).train()
    torch.manual_seed(0)
    logits = model(pictures(config, batch=16))
    assert logits.shape == (16, config.classes)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.numel():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


@each_variation
def test_gradients_are_the_slopes(fields: dict[str, Any]) -> None:
    """Along one random direction through all parameters, in float64."""
    config = small(**fields)
    model, images = awake(config).double(), pictures(config).double()
    parameters = list(model.parameters())
    generator = torch.Generator().manual_seed(4)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    slopes = torch.autograd.grad(model(images).sin().sum(), parameters)
    expected = sum(float((slope * step).sum()) for slope, step in zip(slopes, direction, strict=True))
    values = []
    with torch.no_grad():
        for side in (1e-6, -2e-6):
            for parameter, step in zip(parameters, direction, strict=True):
                parameter.add_(step, alpha=side)
            values.append(float(model(images).sin().sum()))
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(expected, rel=1e-3, abs=1e-3)


@each_variation
@torch.inference_mode()
def test_evaluation_repeats_itself_and_does_not_mix_images(fields: dict[str, Any]) -> None:
    config = small(**fields)
    model, images = awake(config), pictures(config, batch=3)
    logits = model(images)
    assert torch.equal(model(images), logits)
    torch.testing.assert_close(model(images[1:2]), logits[1:2], atol=1e-5, rtol=1e-5)


@each_variation
@torch.inference_mode()
def test_both_kernels_answer_alike(fields: dict[str, Any]) -> None:
    config = small(**fields)
    model, images = awake(config), pictures(config)
    torch.testing.assert_close(with_kernel(model, "products")(images), with_kernel(model, "fused")(images),
                               atol=1e-4, rtol=1e-4)


@each_variation
@torch.inference_mode()
def test_config_and_weights_travel(fields: dict[str, Any]) -> None:
    config = small(**fields)
    model, images = awake(config), pictures(config)
    other = build(CONFIG.validate_python(json.loads(json.dumps(config.model_dump(mode="json"))))).eval()
    assert other.config == config
    assert not torch.equal(other(images), model(images))
    other.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    assert torch.equal(other(images), model(images))


@each_variation
@torch.inference_mode()
def test_bf16_stays_bf16_and_near(fields: dict[str, Any]) -> None:
    config = small(**fields)
    model, images = awake(config, std=0.1), pictures(config)
    exact = model(images)
    rounded = model.bfloat16()(images.bfloat16())
    assert rounded.dtype == torch.bfloat16
    assert float((rounded.float() - exact).abs().max()) < 0.1 * float(exact.abs().max()) + 0.02


@each_variation
@torch.inference_mode()
def test_the_protocol_of_all_families(fields: dict[str, Any]) -> None:
    config = small(**fields)
    model, images = awake(config), pictures(config)
    assert model.embed(images).shape == (2, config.embedding)
    features = config.embedding if isinstance(config, BiTConfig) else config.width
    assert model.feature_map(images).shape == (2, features, *config.grid)
    torch.testing.assert_close(model.head(model.embed(images)), model(images))


@each_variation
def test_torch_export(fields: dict[str, Any]) -> None:
    config = small(**fields)
    model, images = awake(config), pictures(config)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (images,), dynamic_shapes=({0: batch},))
    for given in (images, pictures(config, batch=5)):
        torch.testing.assert_close(program.module()(given), model(given))


COMPILE = """
import json, sys, torch
sys.path.insert(0, "tests")
from models.small import awake, pictures, small
for number, (name, fields) in enumerate(json.load(sys.stdin).items()):
    torch._dynamo.reset()
    config = small(**fields)
    model, images = awake(config), pictures(config)
    backend = "aot_eager" if number % 5 == 0 else "eager"  # the first also traces the backward pass, and takes longer
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    logits = compiled(images)
    torch.testing.assert_close(logits, model(images), msg=name)
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.numel()), name
    print(name)
"""


def test_torch_compile_in_one_graph() -> None:
    """In a process of its own: the checks of shapes that tests switch on are no part of a graph."""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-W", "error", "-c", COMPILE], input=json.dumps(VARIATIONS), text=True,
                          capture_output=True, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, timeout=300)
    assert done.stdout.splitlines() == list(VARIATIONS), done.stderr[-3000:]


@pytest.mark.parametrize("size", SIZES)
def test_every_size_answers_for_the_image_it_was_made_for(size: str) -> None:
    """Without memory: on the meta device, one block of it."""
    config = configure(f"{size}/14", classes=11, image_size=(56, 70), depth=1)
    with torch.device("meta"):
        logits: Tensor = ViT(config)(torch.zeros(2, 3, 56, 70))
    assert logits.shape == (2, 11)
    assert config.head_width * config.heads == config.width
