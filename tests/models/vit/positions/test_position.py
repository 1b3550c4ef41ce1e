"""The three ports do nothing unless a kind uses them."""

from __future__ import annotations

import torch

from models.small import EVERY_POSITION, awake, small, tokens_on
from vitrail.models.vit.config import INSIDE
from vitrail.models.vit.positions import POSITIONS, Position
from vitrail.models.vit.positions.position import patch_index

PORTS = {"none": set(), "learned": {"add"}, "learned-2d": {"add"}, "sincos-2d": {"add"}, "relative": {"bias"},
         "relative-bias": {"bias"}, "rotary-2d": {"rotate"}}


def test_every_kind_uses_its_port_and_no_other() -> None:
    assert set(POSITIONS) == set(PORTS)
    tokens = tokens_on((3, 4), 16)
    values, queries = torch.randn(2, 13, 16), torch.randn(2, 2, 13, 8)
    for kind, place in EVERY_POSITION:
        position = awake(small(positions=kind, positions_at=place)).encoder.positions.at(0)
        used = {"add"} if not torch.equal(position.add(values, tokens), values) else set()
        used |= {"rotate"} if not torch.equal(position.rotate(queries, tokens), queries) else set()
        used |= {"bias"} if position.bias(queries, tokens) is not None else set()
        assert used == PORTS[kind], (kind, place)


def test_kinds_that_act_inside_attention_see_all_queries() -> None:
    assert {kind for kind, ports in PORTS.items() if ports & {"rotate", "bias"}} == INSIDE


def test_patch_index_is_reading_order() -> None:
    assert patch_index(tokens_on((3, 4), 16)).tolist() == list(range(12))


def test_the_plain_position_has_no_parameters() -> None:
    assert not list(Position().parameters())
