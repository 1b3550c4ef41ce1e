"""The stack: where positions act, where dropout stands, how stochastic depth grows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.small import awake, pictures, small
from vitrail.models import ViT
from vitrail.models.vit.positions import Position


@pytest.mark.parametrize(("depth", "expected"), [(1, [0.0]), (2, [0.0, 0.3]), (4, [0.0, 0.1, 0.2, 0.3])])
def test_stochastic_depth_grows_linearly_to_its_rate(depth: int, expected: list[float]) -> None:
    model = ViT(small(depth=depth, drop_path=0.3))
    for number in (1, 2):
        rates = [getattr(block, f"branch{number}").drop_path for block in model.encoder.blocks]
        assert rates == pytest.approx(expected)


def test_dropout_stands_exactly_where_the_paper_has_it() -> None:
    model = ViT(small(dropout=0.1, depth=2, pooling="attention", head_hidden=8))
    active = {name for name, part in model.named_modules() if isinstance(part, nn.Dropout) and part.p > 0}
    assert active == {"encoder.dropout"} | {
        f"encoder.blocks.{layer}.{part}.dropout" for layer in range(2) for part in ("attention", "feed_forward")}


def test_dropout_follows_positions_output_projection_and_both_dense_layers() -> None:
    """What enters each dropout, and how often, in one forward pass."""
    config = small(dropout=0.1, depth=2)
    model = awake(config).train()
    entered: list[tuple[str, Tensor]] = []
    made: dict[str, Tensor] = {}
    for name, part in model.named_modules():
        if isinstance(part, nn.Dropout):
            part.register_forward_pre_hook(lambda part, given, name=name: entered.append((name, given[0])))
        if name.endswith(("qkv", ".out", "contract", "core")):
            part.register_forward_hook(lambda part, given, result, name=name: made.__setitem__(name, result))
    images = pictures(config)
    model(images)
    assert [name for name, _ in entered] == ["encoder.dropout", *(
        f"encoder.blocks.{layer}.{part}.dropout" for layer in range(2)
        for part in ("attention", "feed_forward", "feed_forward"))]
    block = "encoder.blocks.0."
    tokens = model.patchify(images)
    positioned = model.encoder.positions.at(0).add(model.prefix(tokens.values), tokens)
    assert torch.equal(entered[0][1], positioned)
    assert torch.equal(entered[1][1], made[block + "attention.out"])
    assert entered[2][1].shape[-1] == config.mlp
    assert torch.equal(entered[3][1], made[block + "feed_forward.contract"])


def test_dropout_is_silent_in_evaluation() -> None:
    config = small(dropout=0.5, drop_path=0.5)
    model, images = awake(config), pictures(config)
    assert torch.equal(model(images), model(images))
    model.train()
    assert not torch.equal(model(images), model(images))


def test_a_norm_before_the_first_block_follows_positions_and_dropout() -> None:
    config = small(depth=2, pre_norm=True, dropout=0.1)
    model = awake(config).train()
    entered: list[Tensor] = []
    dropped: list[Tensor] = []
    model.encoder.dropout.register_forward_hook(lambda part, given, result: dropped.append(result))
    model.encoder.blocks[0].register_forward_pre_hook(lambda part, given: entered.append(given[0]))
    model(pictures(config))
    assert torch.equal(entered[0], model.encoder.pre_norm(dropped[0]))
    assert not torch.equal(entered[0], dropped[0])


class Marked(Position):
    def __init__(self, calls: list[str], name: str) -> None:
        super().__init__()
        self.calls, self.name = calls, name

    def add(self, values: Tensor, tokens: Any) -> Tensor:
        self.calls.append(f"add {self.name}")
        return values

    def rotate(self, values: Tensor, tokens: Any) -> Tensor:
        self.calls.append(f"rotate {self.name}")
        return values

    def bias(self, queries: Tensor, tokens: Any) -> None:
        self.calls.append(f"bias {self.name}")


@pytest.mark.parametrize(
    ("place", "acting"), [("stem", ["0", None, None]), ("shared", ["0", "0", "0"]), ("every", ["0", "1", "2"])]
)
def test_positions_act_at_the_layers_of_their_placement(place: str, acting: list[str | None]) -> None:
    config = small(depth=3, positions_at=place)
    model = ViT(config)
    positions, calls = model.encoder.positions, []
    assert len(positions.tables) == (3 if place == "every" else 1)
    for index in range(len(positions.tables)):
        positions.tables[index] = Marked(calls, str(index))
    model(pictures(config))
    assert calls == [f"{what} {name}" for name in acting if name is not None
                     for what in ("add", "rotate", "rotate", "bias")]


@pytest.mark.parametrize(("place", "layers"), [("stem", {0}), ("shared", {0, 1, 2}), ("every", {0, 1, 2})])
def test_the_table_reaches_the_values_of_those_layers(place: str, layers: set[int]) -> None:
    """With blocks that change nothing, the sum at the end counts how often each table was added."""
    config = small(depth=3, positions_at=place)
    model = awake(config)
    for block in model.encoder.blocks:
        block.attention.out.weight.data.zero_()
        block.attention.out.bias.data.zero_()
        block.feed_forward.contract.weight.data.zero_()
        block.feed_forward.contract.bias.data.zero_()
    tokens = model.patchify(pictures(config))
    values = model.prefix(tokens.values)
    tables = [model.encoder.positions.at(layer) for layer in range(3)]
    added = sum(torch.cat((table.class_position, table.table)) for layer, table in enumerate(tables)
                if layer in layers)
    torch.testing.assert_close(model.encoder(values, tokens), values + added)
    assert len({id(tables[layer]) for layer in layers}) == len(model.encoder.positions.tables)


@pytest.mark.parametrize("pooling", ["token", "mean"])
def test_recomputed_blocks_give_the_same_gradients_and_keep_less(pooling: str) -> None:
    """With dropout and stochastic depth: what was drawn forward is drawn again."""
    config = small(depth=3, dropout=0.2, drop_path=0.3, pooling=pooling)
    gradients, held = [], []
    for recompute in (False, True):
        model, images = awake(config).train(), pictures(config, batch=4)
        model.encoder.recompute = recompute
        kept: dict[int, int] = {}

        def pack(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        torch.manual_seed(5)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            answers = model(images)
        answers.square().sum().backward()
        gradients.append({name: value.grad for name, value in model.named_parameters()})
        held.append(sum(kept.values()))
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value)
    assert held[1] < 0.6 * held[0]
