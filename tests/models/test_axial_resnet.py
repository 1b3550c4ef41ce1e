"""AxialResNet: its attention against the formula of Axial-DeepLab, its tables by location, and its config."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from models.small import awake, pictures, small
from vitrail.models import AxialResNetConfig, BiT, configure
from vitrail.models.axial_resnet import AxialAttention, AxialResNet, RowAttention
from vitrail.models.convolution import StandardizedConv, Style
from vitrail.training.optimizer import kernel_names

STYLE = Style("centered", 1e-5, "variance", 1e-10)


def row_attention(channels: int = 16, heads: int = 2, places: int = 5) -> RowAttention:
    torch.manual_seed(0)
    part = RowAttention(STYLE, channels, heads, places).double()
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter)
    return part


def maps(rows: int, columns: int, channels: int = 16) -> Tensor:
    return torch.randn(2, channels, rows, columns, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def parts_of(part: RowAttention, values: Tensor) -> list[Tensor]:
    """Queries, keys and values, each [batch, heads, width, rows, columns]."""
    head = part.norm(F.conv2d(values, part.qkv.kernel())).unflatten(1, (part.heads, -1))
    quarter = head.shape[2] // 4
    return [head[:, :, :quarter], head[:, :, quarter : 2 * quarter], head[:, :, 2 * quarter :]]


def formula(part: RowAttention, values: Tensor) -> Tensor:
    """2003.07853, equation 5, over all pairs of cells of the map, where a cell sees no other row."""
    q, k, v = (each.flatten(3) for each in parts_of(part, values))
    rows, columns = values.shape[2:]
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    answer = torch.zeros_like(v)
    for i, (row, column) in enumerate(cells):
        seen = [(j, column - other + part.places - 1) for j, (line, other) in enumerate(cells) if line == row]
        scores = torch.stack([
            (q[..., i] * k[..., j]).sum(2) + (q[..., i] * part.query_offsets[offset]).sum(2)
            + (k[..., j] * part.key_offsets[offset]).sum(2) for j, offset in seen], -1) / math.sqrt(q.shape[2])
        shares = scores.exp() / scores.exp().sum(-1, keepdim=True)
        for place, (j, offset) in enumerate(seen):
            answer[..., i] += shares[..., place, None] * (v[..., j] + part.value_offsets[offset])
    return answer.flatten(1, 2).unflatten(2, (rows, columns))


@pytest.mark.parametrize(("rows", "heads"), [(3, 2), (1, 1), (2, 4)])
def test_it_is_the_formula_of_the_reference(rows: int, heads: int) -> None:
    part, values = row_attention(heads=heads), maps(rows, 5)
    torch.testing.assert_close(part(values), formula(part, values))


def test_without_tables_one_row_is_plain_attention() -> None:
    part, values = row_attention(), maps(1, 5)
    for table in (part.query_offsets, part.key_offsets, part.value_offsets):
        torch.nn.init.zeros_(table)
    q, k, v = (each[..., 0, :].transpose(2, 3) for each in parts_of(part, values))
    plain = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).flatten(1, 2)
    torch.testing.assert_close(part(values)[:, :, 0], plain)


@pytest.mark.parametrize(("table", "offset", "moved"), [
    ("query_offsets", 1, 1), ("query_offsets", -2, -2), ("key_offsets", 1, 1), ("key_offsets", 0, 0)])
def test_a_table_of_one_offset_looks_that_far_away(table: str, offset: int, moved: int) -> None:
    """Queries and keys of one, and a score for one offset alone: each place takes the value so many places before."""
    part, values = row_attention(heads=1), maps(2, 5)
    with torch.no_grad():
        for each in (part.query_offsets, part.key_offsets, part.value_offsets):
            each.zero_()
        part.norm.weight[:16], part.norm.bias[:16] = 0.0, 1.0
        getattr(part, table)[offset + part.places - 1] = 50.0
    original, answer = parts_of(part, values)[2][:, 0], part(values)
    for column in range(5):
        if 0 <= column - moved < 5:
            torch.testing.assert_close(answer[..., column], original[..., column - moved])
        else:
            torch.testing.assert_close(answer[..., column], original.mean(-1))


def test_a_vector_is_added_to_each_value_by_its_offset() -> None:
    """Without values and scores, what is left is the mean of the vectors of the offsets that a place has."""
    part = row_attention(heads=1)
    with torch.no_grad():
        part.norm.weight.zero_()
        part.norm.bias.zero_()
    answer = part(maps(2, 5))
    for column in range(5):
        expected = part.value_offsets[column : column + 5].mean(0)  # offsets column - 4 to column, lowest first
        torch.testing.assert_close(answer[:, :, :, column], expected[None, :, None].expand(2, 16, 2))


@pytest.mark.parametrize("columns", [1, 2, 4, 5, 7, 9, 12])
def test_on_another_map_tables_are_read_by_location(columns: int) -> None:
    """NumPy's interpolation between offsets, which are scaled so that the ends of the lines meet."""
    part = row_attention(places=5)
    pairs = part.by_pair(part.value_offsets, columns).detach().numpy()
    table, scale = part.value_offsets.detach().numpy(), 4 / max(columns - 1, 1)
    for query in range(columns):
        for key in range(columns):
            expected = [np.interp((query - key) * scale, range(-4, 5), number) for number in table.T]
            assert pairs[query, key] == pytest.approx(np.array(expected), abs=1e-6)


def test_a_table_of_one_place_serves_any_line() -> None:
    part = row_attention(places=1)
    assert torch.equal(part.by_pair(part.value_offsets, 3), part.value_offsets[0].expand(3, 3, -1))


def test_rows_may_change_places_and_a_mirror_turns_the_tables() -> None:
    part, values = row_attention(), maps(3, 5)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(part(values[:, :, order]), part(values)[:, :, order])
    expected = part(values).flip(3)
    with torch.no_grad():
        for table in (part.query_offsets, part.key_offsets, part.value_offsets):
            table.copy_(table.flip(0))
    torch.testing.assert_close(part(values.flip(3)), expected)


def test_rows_then_columns_then_the_mean_of_2x2() -> None:
    torch.manual_seed(0)
    part = AxialAttention(STYLE, 16, 2, (4, 5), stride=2).double()
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter)
    values = maps(4, 5)
    inner = part.column(part.row(values).mT).mT
    expected = torch.stack([torch.stack([inner[:, :, row : row + 2, column : column + 2].mean((2, 3))
                                         for column in (0, 2, 4)], -1) for row in (0, 2)], -2)
    torch.testing.assert_close(part(values), expected)
    assert not torch.allclose(inner, part.row(part.column(values.mT).mT), atol=0.1)


def test_the_only_kernel_wider_than_one_is_the_root() -> None:
    model = AxialResNet(small(family="axial-resnet", depths=(2, 2)))
    sides = {name: part.side for name, part in model.named_modules() if isinstance(part, StandardizedConv)}
    assert {name for name, side in sides.items() if side > 1} == {"root"}
    assert {name: part.stride for name, part in model.named_modules() if isinstance(part, AxialAttention)} == {
        "stages.0.0.conv2": 1, "stages.0.1.conv2": 1, "stages.1.0.conv2": 2, "stages.1.1.conv2": 1}


@pytest.mark.parametrize("size", [(24, 16), (23, 17), (50, 70)])
@torch.inference_mode()
def test_tables_have_the_places_of_the_maps_that_they_meet(size: tuple[int, int]) -> None:
    config = small(family="axial-resnet", image_size=size, depths=(1, 2, 1), width=0.25)
    model, seen = awake(config), []
    for part in model.modules():
        if isinstance(part, RowAttention):
            part.register_forward_pre_hook(lambda layer, given: seen.append((layer.places, given[0].shape[3])))
    model(pictures(config))
    assert len(seen) == 8
    assert all(places == columns for places, columns in seen)


@torch.inference_mode()
def test_the_protocol_at_any_image_size() -> None:
    config = small(family="axial-resnet")
    model = awake(config)
    assert isinstance(model, BiT)
    for images in (pictures(config), torch.randn(2, 3, 50, 70), torch.randn(2, 3, 9, 9)):
        features = model.feature_map(images)
        torch.testing.assert_close(model(images), model.head(features.mean((2, 3))))
    other = config.at_size((50, 70))
    assert type(other) is AxialResNetConfig
    assert model.feature_map(torch.randn(2, 3, 50, 70)).shape[2:] == other.grid == (7, 9)


def test_it_starts_with_tables_as_wide_as_the_reference_has_them() -> None:
    model = AxialResNet(small(family="axial-resnet", width=1.0, depths=(1,), image_size=224, heads=8))
    for part in model.modules():
        if isinstance(part, RowAttention):
            for table in (part.query_offsets, part.key_offsets, part.value_offsets):
                assert float(table.detach().std()) == pytest.approx(8**-0.5, rel=0.15)
    assert not model.head.weight.any()


def test_kernels_are_decayed_and_tables_are_not() -> None:
    unit = "stages.0.0."
    assert kernel_names(AxialResNet(small(family="axial-resnet", depths=(1,)))) == {
        "root.weight", "head.weight", f"{unit}projection.weight", f"{unit}conv1.weight", f"{unit}conv3.weight",
        f"{unit}conv2.row.qkv.weight", f"{unit}conv2.column.qkv.weight"}


@pytest.mark.parametrize(("name", "depths", "width"), [
    ("axial-R50", (3, 4, 6, 3), 1.0), ("axial-R50x0.5", (3, 4, 6, 3), 0.5), ("axial-R26x0.25", (2, 2, 2, 2), 0.25),
    ("axial-R50x1", (3, 4, 6, 3), 1.0), ("axial-R101", (3, 4, 23, 3), 1.0)])
def test_names_say_depth_and_width(name: str, depths: tuple[int, ...], width: float) -> None:
    config = configure(name)
    assert isinstance(config, AxialResNetConfig)
    assert (config.name, config.depths, config.width, config.heads) == (name, depths, width, 8)


@pytest.mark.parametrize(("fields", "said"), [
    ({"width": 0.375}, "use width 0.25 or 0.5, or other heads"), ({"heads": 0}, "greater than 0"),
    ({"heads": 3, "width": 0.25}, "3 heads with queries half as wide"), ({"heads": 16, "width": 0.25}, "or 1, or"),
    ({"width": 0.2}, "use 0.125 or 0.25"), ({"image_size": 4, "depths": (1, 1)}, "use at least 9 pixels")])
def test_what_does_not_fit_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        AxialResNetConfig(**{"depths": (1,), "width": 0.25, "image_size": 32} | fields)
