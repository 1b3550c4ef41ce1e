"""Axial-ViT: attention along rows and columns is full attention under a mask, and what its config promises."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from models.small import awake, pictures, small, tokens_on
from vitrail.errors import UsageError
from vitrail.models import AxialViT, AxialViTConfig, configure, describe
from vitrail.models.axial import ADDED, LineAttention
from vitrail.models.vit.attention import Attention
from vitrail.models.vit.feedforward import FeedForward
from vitrail.models.vit.positions import Position
from vitrail.vocabulary import Grid, Tokens


def layer(along: Any, kernel: Any = "fused") -> LineAttention:
    torch.manual_seed(0)
    part = LineAttention(small(family="axial-vit"), along).double()
    part.core.kernel = kernel
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter)
    return part


def on(grid: Grid, width: int = 16) -> Tokens:
    tokens = tokens_on(grid, width)
    return Tokens(tokens.values.double(), tokens.places, grid)


def apply(part: Attention, tokens: Tokens) -> Tensor:
    return part(tokens.values, Position(), tokens)


def masked(part: Attention, tokens: Tokens, axis: int) -> Tensor:
    """The formula over all patches, where only those with the same place along an axis may be seen."""
    weight, bias, values, heads = part.qkv.weight, part.qkv.bias, tokens.values, part.heads
    width = values.shape[-1]
    q, k, v = ((values @ weight[start : start + width].T + bias[start : start + width]).unflatten(-1, (heads, -1))
               for start in (0, width, 2 * width))
    scores = torch.einsum("bihd,bjhd->bhij", q, k) / (width // heads) ** 0.5
    seen = tokens.places[:, None, axis] == tokens.places[None, :, axis]
    powers = scores.exp() * seen
    mixed = torch.einsum("bhij,bjhd->bihd", powers / powers.sum(-1, keepdim=True), v).flatten(2)
    return mixed @ part.out.weight.T + part.out.bias


@pytest.mark.parametrize("kernel", ["fused", "products"])
@pytest.mark.parametrize("grid", [(3, 4), (4, 3), (5, 1), (1, 5), (2, 2)])
@pytest.mark.parametrize(("along", "axis"), [("row", 0), ("column", 1)])
def test_it_is_full_attention_that_sees_one_line(along: str, axis: int, grid: Grid, kernel: str) -> None:
    part, tokens = layer(along, kernel), on(grid)
    torch.testing.assert_close(apply(part, tokens), masked(part, tokens, axis))


@pytest.mark.parametrize(("along", "grid"), [("row", (1, 7)), ("column", (7, 1))])
def test_on_one_line_it_is_plain_attention(along: str, grid: Grid) -> None:
    part, tokens, plain = layer(along), on(grid), Attention(small()).double()
    plain.load_state_dict(part.state_dict())
    torch.testing.assert_close(apply(part, tokens), apply(plain, tokens))


@pytest.mark.parametrize("along", ["row", "column"])
def test_whole_rows_and_whole_columns_may_change_places(along: str) -> None:
    part, tokens = layer(along), on((3, 4))
    rows, columns = torch.tensor([2, 0, 1]), torch.tensor([3, 1, 0, 2])

    def moved(values: Tensor) -> Tensor:
        return values.unflatten(1, (3, 4))[:, rows][:, :, columns].flatten(1, 2)

    changed = Tokens(moved(tokens.values), tokens.places, tokens.grid)
    torch.testing.assert_close(apply(part, changed), moved(apply(part, tokens)))


def test_columns_are_the_rows_of_the_turned_grid() -> None:
    column, tokens = layer("column"), on((3, 4))
    row = layer("row")

    def turned(values: Tensor, grid: Grid) -> Tensor:
        return values.unflatten(1, grid).transpose(1, 2).flatten(1, 2)

    flipped = Tokens(turned(tokens.values, (3, 4)), on((4, 3)).places, (4, 3))
    torch.testing.assert_close(apply(column, tokens), turned(apply(row, flipped), (4, 3)))


def seen_by_the_first_patch(part: Any, tokens: Tokens) -> list[list[bool]]:
    """Whose values change the first patch after a block."""
    values = tokens.values.detach().requires_grad_()
    part(values, Position(), tokens)[:, 0].square().sum().backward()
    assert values.grad is not None
    return (values.grad.abs().sum((0, 2)) > 0).unflatten(0, tokens.grid).tolist()


def test_one_block_sees_its_row_and_then_everything() -> None:
    block, tokens = awake(small(family="axial-vit")).encoder.blocks[0].double(), on((3, 4))
    assert seen_by_the_first_patch(block.row, tokens) == [[True] * 4, [False] * 4, [False] * 4]
    assert seen_by_the_first_patch(block.column, tokens) == [[True, *[False] * 3]] * 3
    assert seen_by_the_first_patch(block, tokens) == [[True] * 4] * 3


def test_each_block_is_rows_then_columns_with_an_mlp_each() -> None:
    config = small(family="axial-vit", depth=3)
    model = awake(config)
    assert [part.along for part in model.modules() if isinstance(part, LineAttention)] == ["row", "column"] * 3
    assert sum(isinstance(part, FeedForward) for part in model.modules()) == 6
    tokens = tokens_on(config.grid, config.width)
    values = tokens.values + model.encoder.positions.tables[0].table
    for block in model.encoder.blocks:
        for half in (block.row, block.column):
            values = values + half.attention(half.norm1(values), Position(), tokens)
            values = values + half.feed_forward(half.norm2(values))
    torch.testing.assert_close(model.encode_tokens(tokens), model.norm(values))


def test_stochastic_depth_drops_whole_images() -> None:
    config = small(family="axial-vit", drop_path=0.9)
    block, tokens = awake(config).encoder.blocks[-1].train(), tokens_on(config.grid, config.width, batch=32)
    moved = (block(tokens.values, Position(), tokens) != tokens.values).flatten(2).any(2)
    assert torch.equal(moved.all(1), moved.any(1))
    assert 0 < int(moved.all(1).sum()) < 32


@pytest.mark.parametrize("kind", ADDED)
@torch.inference_mode()
def test_another_image_size_is_read(kind: str) -> None:
    config = small(family="axial-vit", positions=kind)
    model, images = awake(config), torch.randn(2, 3, 40, 28)
    assert model.feature_map(images).shape == (2, 16, 5, 7)
    assert model(images).shape == (2, 5)
    other = config.at_size((40, 28))
    assert type(other) is AxialViTConfig
    assert other.grid == (5, 7)


def test_some_of_the_patches_are_refused() -> None:
    model, tokens = awake(small(family="axial-vit")), tokens_on((3, 4), 16)
    kept = Tokens(tokens.values[:, :6], tokens.places[:6], tokens.grid)
    with pytest.raises(UsageError, match="got 6 patches of a grid of 3x4: axial attention needs every patch"):
        model.encode_tokens(kept)
    each = Tokens(tokens.values, tokens.places.expand(2, -1, -1), tokens.grid)
    with pytest.raises(UsageError, match="in reading order"):
        model.encode_tokens(each)


@pytest.mark.parametrize(("fields", "said"), [
    ({"pooling": "token"}, "token pooling needs a class token, which stands in no row"),
    ({"pooling": "token+mean"}, "allowed: mean, attention"), ({"pooling": "distilled"}, "allowed: mean, attention"),
    ({"registers": 2}, "2 registers stand in no row"), ({"image_size": (25, 16)}, "image height 25"),
    ({"positions": "relative", "positions_at": "every"}, "allowed: none, learned, learned-2d, sincos-2d"),
    ({"positions": "rotary-2d", "positions_at": "shared"}, "rotary-2d positions act on the attention between")])
def test_what_does_not_fit_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        small(family="axial-vit", **fields)


@pytest.mark.parametrize(("name", "parameters", "gigamacs"), [
    ("axial-B/32", 173_277_160, 8.453), ("axial-B/16", 171_620_584, 33.512)])
def test_more_compute_than_the_vit(name: str, parameters: int, gigamacs: float) -> None:
    """Paper, appendix D.6: better than ViT-B at more compute. Twice the layers, less what is outside of them."""
    config = configure(name)
    axial, vit = describe(config), describe(configure(name.removeprefix("axial-"), pooling="mean"))
    assert (axial.parameters, axial.macs / 1e9) == (parameters, pytest.approx(gigamacs, abs=0.001))
    assert 1.9 < axial.macs / vit.macs < 2
    width, mlp = config.width, config.mlp  # type: ignore[union-attr]
    block = 4 * width * (width + 1) + 2 * width * mlp + mlp + width + 4 * width
    assert axial.parameters - vit.parameters == 12 * block


@torch.inference_mode()
def test_one_row_and_one_column_of_patches_are_no_special_case() -> None:
    for size in ((8, 4), (8, 16), (24, 4)):
        config = small(family="axial-vit", image_size=size)
        assert AxialViT(config)(pictures(config)).shape == (2, 5)
