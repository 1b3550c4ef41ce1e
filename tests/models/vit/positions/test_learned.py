"""Learned tables: what is added where, also at another grid, for subsets, with class token and registers."""

from __future__ import annotations

import torch

from models.small import awake, small, tokens_on
from vitrail.models.vit.positions.learned import Learned, Learned2D
from vitrail.models.vit.resize import resize_table
from vitrail.vocabulary import Tokens


def learned(kind: str, **fields: object) -> Learned | Learned2D:
    table = awake(small(positions=kind, **fields)).encoder.positions.tables[0]
    assert isinstance(table, (Learned, Learned2D))
    return table


def test_1d_adds_one_row_to_each_patch_in_reading_order() -> None:
    table = learned("learned", registers=2)
    tokens, values = tokens_on((3, 4), 16), torch.zeros(2, 15, 16)
    added = table.add(values, tokens)[0]
    assert torch.equal(added[0], table.class_position[0])
    assert not added[1:3].any()  # registers have no place
    assert torch.equal(added[3:], table.table)


def test_2d_is_the_row_beside_the_column() -> None:
    table = learned("learned-2d")
    assert isinstance(table, Learned2D)
    constructed = torch.stack([torch.cat((table.rows[row], table.columns[column]))
                               for row in range(3) for column in range(4)])
    tokens = tokens_on((3, 4), 16)
    added = table.add(torch.zeros(2, 13, 16), tokens)[1]
    assert torch.equal(added[1:], constructed)
    assert torch.equal(added[0], table.class_position[0])


def test_a_subset_takes_the_rows_of_its_places() -> None:
    for kind in ("learned", "learned-2d"):
        table = learned(kind)
        tokens = tokens_on((3, 4), 16)
        whole = table.add(torch.zeros(2, 13, 16), tokens)[0, 1:]
        kept = torch.tensor([[11, 0, 6], [2, 2, 1]])
        subset = Tokens(tokens.values[:, :3], tokens.places[kept], tokens.grid)
        assert torch.equal(table.add(torch.zeros(2, 4, 16), subset)[:, 1:], whole[kept])


def test_another_grid_is_resampled_by_location() -> None:
    table = learned("learned")
    tokens = tokens_on((5, 7), 16)
    added = table.add(torch.zeros(2, 36, 16), tokens)[0]
    resized = resize_table(table.table.unflatten(0, (3, 4)), (5, 7))
    torch.testing.assert_close(added[1:], resized.flatten(0, 1))
    assert torch.equal(added[0], table.class_position[0])  # kept apart, unchanged


def test_2d_resampled_is_its_axes_resampled() -> None:
    """Interpolating the two lines is the same as interpolating the whole picture."""
    table = learned("learned-2d")
    torch.testing.assert_close(table.on_grid((5, 7)), resize_table(table.on_grid((3, 4)), (5, 7)))


def test_tables_start_at_the_papers_deviation() -> None:
    torch.manual_seed(0)
    for kind in ("learned", "learned-2d"):
        table = Learned(small(positions=kind, width=128, image_size=64, patch=4)) if kind == "learned" else \
            Learned2D(small(positions=kind, width=512, image_size=64, patch=4))
        table.initialize()
        for name, parameter in table.named_parameters():
            assert abs(float(parameter.detach().std()) - 0.02) < 0.003, name
