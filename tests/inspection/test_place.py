from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import cosine_similarity
from tiny_models import pictures, tiny

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.inspection import position_similarity
from vitrail.inspection.place import PENALTIES, places_read, read_off
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


def test_without_positions_it_says_so() -> None:
    similarity = position_similarity(tiny(positions="none"))
    assert similarity.tiles is None
    assert "no position" in similarity.reason


def test_rotary_positions_leave_the_mean_cosine_of_the_turns() -> None:
    """Of a head with two pairs: one turns with the row, one with the column, by a radian a patch."""
    similarity = position_similarity(tiny(positions="rotary-2d", width=8))
    assert similarity.kind == "turned"
    assert similarity.tiles is not None
    rows, columns = np.indices((3, 2))
    expected = (np.cos(rows - 1) + np.cos(columns - 0)) / 2
    assert similarity.tiles[1, 0] == pytest.approx(expected, abs=1e-6)


def test_a_bias_by_offset_is_shown_as_shares_of_the_largest() -> None:
    """Both heads favor the patch below (query minus key: -1 row, 0 columns), one of them twice as much."""
    model = tiny(positions="relative-bias", pooling="mean")
    with torch.no_grad():
        table = model.encoder.positions.tables[0].table  # type: ignore[union-attr]
        table.zero_()  # type: ignore[operator]
        table[(2 - 1) * 3 + 1] = torch.tensor([1.0, 2.0])  # type: ignore[index, operator]
    similarity = position_similarity(model)
    assert similarity.kind == "favored"
    assert similarity.tiles is not None
    expected = np.zeros((3, 2))
    expected[2, 1] = 1
    assert similarity.tiles[1, 1] == pytest.approx(expected)
    assert similarity.tiles[2, 1] == pytest.approx(np.zeros((3, 2)))


def test_relative_attention_is_shown_by_the_vectors_of_its_offsets() -> None:
    model = tiny(positions="relative")
    keys = model.encoder.positions.tables[0].offset_keys.detach().numpy()  # type: ignore[operator, union-attr]
    alike = np.mean([cosine_similarity(one, one[6:7])[:, 0] for one in keys], axis=0)  # offsets -6 to 6
    similarity = position_similarity(model)
    assert similarity.kind == "offsets"
    assert similarity.tiles is not None
    flat = similarity.tiles.reshape(6, 6)
    assert np.diag(flat) == pytest.approx(np.ones(6))
    assert flat[4, 1] == pytest.approx(alike[6 + 3])
    assert flat[0, 5] == pytest.approx(alike[6 - 5])


def test_places_are_read_off_where_they_stand_and_nowhere_else() -> None:
    """Features that hold the row, and noise: rows can be read off, columns cannot."""
    numbers = np.random.default_rng(0)
    features = numbers.normal(size=(8, 5, 4, 3))
    features[:, 0] = np.arange(4)[None, :, None]
    rows, columns = read_off(features)
    assert rows > 0.99
    assert columns < 0.1


def test_places_read_agree_with_scikit_learn() -> None:
    features = np.random.default_rng(1).normal(size=(6, 4, 3, 5)) + np.arange(5) * 0.4
    places = np.moveaxis(np.indices((3, 5)), 0, -1).reshape(-1, 2)

    def told(known: np.ndarray, new: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        rows, others = (part.transpose(0, 2, 3, 1).reshape(-1, 4) for part in (known, new))
        spread = np.trace(np.cov(rows.T, bias=True)) * len(rows) / 4
        read = Ridge(alpha=penalty * spread).fit(rows, np.tile(places, (len(known), 1))).predict(others)
        aims = np.tile(places, (len(new), 1))
        return ((aims - read) ** 2).mean(0), r2_score(aims, read, multioutput="raw_values")

    chosen = np.argmin([told(features[:2], features[2:3], penalty)[0] + told(features[2:3], features[:2], penalty)[0]
                        for penalty in PENALTIES], axis=0)
    expected = [told(features[:3], features[3:], PENALTIES[best])[1][side] for side, best in enumerate(chosen)]
    assert read_off(features) == pytest.approx(expected)


def test_more_numbers_than_patches_are_not_read_by_chance() -> None:
    """Two images to learn from, of 20 patches with 60 numbers each, of which one holds the row."""
    features = np.random.default_rng(2).normal(size=(4, 60, 5, 4)).astype(np.float32)
    features[:, 0] = 3 * np.arange(5)[None, :, None]
    rows, columns = read_off(features)
    assert rows > 0.5
    assert columns > -0.2


def test_learned_places_enter_the_first_block() -> None:
    model = tiny(positions="learned", width=64)
    with torch.no_grad():
        model.encoder.positions.tables[0].table.copy_(10 * torch.eye(6, 64))  # type: ignore[operator, union-attr]
    read = places_read(Bundle(model, Preprocess(size=(12, 8))), pictures(8))
    assert read is not None
    assert read.layers == ("before block 1", "block 1", "block 2", "block 3")
    assert min(read.rows[0], read.columns[0]) > 0.9


def test_too_few_images_to_read_places_off() -> None:
    assert places_read(Bundle(tiny(), Preprocess(size=(12, 8))), pictures(3)) is None


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
    assert "no one picture" in similarity.reason


def test_a_resnet_has_none_and_a_hybrid_those_of_its_grid() -> None:
    similarity = position_similarity(create("R26x0.25", image_size=16, depths=(1,)))
    assert similarity.tiles is None
    assert "no position embeddings" in similarity.reason
    tiles = position_similarity(create("R26x0.25+mu/4", image_size=(16, 8))).tiles
    assert tiles is not None
    assert tiles.shape == (4, 2, 4, 2)
