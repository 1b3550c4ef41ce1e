from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from tiny_models import tiny

from vitrail.inspection import position_similarity
from vitrail.models import create


@pytest.mark.parametrize("placement", ["stem", "every", "shared"])
def test_learned_table_agrees_with_scikit_learn(placement: str) -> None:
    model = tiny(positions="learned", positions_at=placement, registers=2)
    tiles = position_similarity(model).tiles
    table = model.encoder.positions.tables[0].table.detach().numpy()  # type: ignore[operator, union-attr]
    assert tiles is not None
    assert tiles.shape == (3, 2, 3, 2)
    assert tiles.reshape(6, 6) == pytest.approx(cosine_similarity(table), abs=1e-6)


def test_two_tables_make_a_cross() -> None:
    """With unit vectors for rows and columns, a patch is half like those in its row and half like its column's."""
    model = tiny(positions="learned-2d")
    positions = model.encoder.positions.tables[0]
    with torch.no_grad():
        positions.rows.copy_(torch.eye(3, 8))  # type: ignore[operator, union-attr]
        positions.columns.copy_(torch.eye(2, 8))  # type: ignore[operator, union-attr]
    tiles = position_similarity(model).tiles
    assert tiles is not None
    assert tiles[1, 0] == pytest.approx(np.array([[0.5, 0], [1, 0.5], [0.5, 0]]))


def test_sines_and_cosines_fall_off_with_distance() -> None:
    tiles = position_similarity(tiny(positions="sincos-2d")).tiles
    assert tiles is not None
    assert np.diagonal(tiles.reshape(6, 6)) == pytest.approx(np.ones(6))
    assert tiles[0, 0, 0, 0] > tiles[0, 0, 1, 0] > tiles[0, 0, 2, 0]


def test_a_table_of_zeros_is_like_nothing() -> None:
    model = tiny(positions="learned")
    torch.nn.init.zeros_(model.encoder.positions.tables[0].table)  # type: ignore[arg-type, union-attr]
    assert position_similarity(model).tiles == pytest.approx(np.zeros((3, 2, 3, 2)))


@pytest.mark.parametrize(("kind", "why"), [("none", "no position"), ("relative", "scores"),
                                          ("relative-bias", "scores"), ("rotary-2d", "turn")])
def test_what_adds_nothing_says_why(kind: str, why: str) -> None:
    similarity = position_similarity(tiny(positions=kind))
    assert similarity.tiles is None
    assert why in similarity.reason


def test_a_huge_grid_is_not_compared() -> None:
    similarity = position_similarity(tiny(image_size=(320, 256), depth=1))
    assert similarity.tiles is None
    assert similarity.reason == "5,120 places are too many to compare with one another."


def test_an_axial_vit_has_a_vits_and_an_axial_resnet_says_why_not() -> None:
    model = create("axial-mu/4", image_size=(12, 8), positions="learned")
    table = model.get_parameter("encoder.positions.tables.0.table").detach().numpy()
    tiles = position_similarity(model).tiles
    assert tiles is not None
    assert tiles.reshape(6, 6) == pytest.approx(cosine_similarity(table), abs=1e-6)
    similarity = position_similarity(create("axial-R26x0.25", image_size=16, depths=(1,)))
    assert similarity.tiles is None
    assert "attention scores" in similarity.reason


def test_a_resnet_has_none_and_a_hybrid_those_of_its_grid() -> None:
    similarity = position_similarity(create("R26x0.25", image_size=16, depths=(1,)))
    assert similarity.tiles is None
    assert "no position embeddings" in similarity.reason
    tiles = position_similarity(create("R26x0.25+mu/4", image_size=(16, 8))).tiles
    assert tiles is not None
    assert tiles.shape == (4, 2, 4, 2)
