from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from vitrail.data.source import open_source
from vitrail.errors import DataError, UnknownNameError, UsageError
from vitrail.models import describe
from vitrail.studies.compute.published import TABLE_6
from vitrail.studies.data_size import DataSize
from vitrail.studies.data_size.plan import plan, sizes_of
from vitrail.studies.data_size.published import MODELS, TABLE_5, in_the_paper
from vitrail.studies.recipes_of import drawn


@pytest.mark.parametrize(("images", "classes", "sizes"), [
    (54_000, 10, (844, 1688, 3375, 6750, 13500, 27000, 54000)), (640, 10, (40, 80, 160, 320, 640)),
    (130, 2, (8, 16, 32, 65, 130))])
def test_sizes_are_halves(images: int, classes: int, sizes: tuple[int, ...]) -> None:
    assert sizes_of(images, classes) == sizes


def test_ten_images_are_too_few() -> None:
    with pytest.raises(DataError, match=r"10 training images of 2 classes are too few .* need 128\."):
        sizes_of(10, 2)
    with pytest.raises(UsageError, match="--sizes 9 is not possible here: 3 to 5"):
        sizes_of(640, 10, 9)
    assert len(sizes_of(640, 10, 3)) == 3


def test_seeds_stand_at_the_ends_and_come_after_a_first_look_at_every_size() -> None:
    source = open_source("fashion:embedded")
    found = plan(source, [None, "R26x0.25"])
    assert found.models == ("Ti/4 (128x6)", "R26x0.25")
    ours = [cell for cell in found.cells if cell.labels["model"] == "Ti/4 (128x6)"]
    seeds = {size: sorted(cell.recipe.seed for cell in ours if cell.images == size) for size in found.sizes}
    assert list(map(len, seeds.values())) == [3, 3, *[1] * (len(found.sizes) - 4), 3, 3]
    first = found.cells[: 2 * len(found.sizes)]
    assert {cell.recipe.seed for cell in first} == {0}
    assert [cell.images for cell in first] == sorted((cell.images for cell in first), reverse=True)
    assert len({cell.key for cell in found.cells}) == len(found.cells)


def test_parts_lie_within_one_another_and_what_is_held_out_is_the_same() -> None:
    found = plan(open_source("digits"), [None])
    opened = [cell.recipe.data.open() for cell in found.cells if cell.recipe.seed == 0]
    names = [set(source.splits["train"].names) for source in opened]
    assert all(outer > inner for outer, inner in pairwise(names))
    assert [len(one) for one in names] == [cell.labels["images"] for cell in found.cells if cell.recipe.seed == 0]
    assert len({tuple(source.splits["test"].names) for source in opened}) == 1
    other = [cell for cell in found.cells if cell.recipe.seed == 1][-1].recipe.data.open().splits["train"].names
    assert len(other) == len(names[-1])
    assert set(other) != names[-1]


@pytest.mark.parametrize("rule", ["recipe", "epochs", "steps"])
def test_lengths_follow_the_rule_and_rates_are_the_same(rule: str) -> None:
    found = plan(open_source("fashion:embedded"), [None], rule=rule)
    last, first = found.first_look[0], found.first_look[-1]
    assert first.recipe.optimizer == last.recipe.optimizer
    assert first.recipe.model == last.recipe.model
    if rule == "epochs":
        assert first.recipe.schedule.epochs == last.recipe.schedule.epochs
        assert first.samples < last.samples / 20
    elif rule == "steps":
        assert first.recipe.schedule.steps == last.recipe.schedule.steps
    else:
        assert (first.recipe.schedule.epochs or 0) > 5 * (last.recipe.schedule.epochs or 1)
        assert first.samples < last.samples


def test_the_size_that_is_told_is_the_size_that_is_trained_on() -> None:
    source = open_source("fashion:embedded")
    for fraction in (0.5, 0.123, 0.01):
        part = open_source("fashion:embedded", fraction=fraction).splits["train"]
        assert drawn(source, fraction) == len(part)


def test_what_a_study_cannot_be_made_of() -> None:
    source = open_source("digits")
    with pytest.raises(UnknownNameError, match="Did you mean 'epochs'"):
        plan(source, [None], rule="epoch")
    with pytest.raises(DataError, match="a single class"):
        plan(replace(source, classes=("one",)), [None])
    with pytest.raises(DataError, match="no labels"):
        plan(replace(source, classes=()), [None])
    with pytest.raises(DataError, match="several labels"):
        plan(replace(source, multilabel=True), [None])
    with pytest.raises(DataError, match="nothing out"):
        plan(replace(source, splits={"train": source.splits["train"]}), [None])
    with pytest.raises(UsageError, match="0 seeds"):
        plan(source, [None], seeds=0)
    few = replace(source, splits=source.splits | {"train": source.splits["train"].subset(np.arange(20))})
    with pytest.raises(DataError, match="too few"):
        plan(few, [None])


def test_half_of_a_model_has_half_of_each_hidden_dimension() -> None:
    found = plan(open_source("digits"), [None, "half", "half:B/4", "half:R26x1"])
    whole, half, paper, resnet = (cell.recipe.model.configure(10, (8, 8)) for cell in found.cells[:4])
    assert (half.width, half.mlp, half.depth, half.heads) == (whole.width / 2, whole.mlp / 2, whole.depth, whole.heads)
    assert (paper.width, paper.mlp, paper.depth) == (384, 1536, 12)
    assert (resnet.width, resnet.depths) == (0.5, (2, 2, 2, 2))
    assert found.models == (f"Ti/2 ({whole.width}x4)", f"Ti/2 ({half.width}x4)", "B/4 (384x12)",
                            "R26x0.5")
    with pytest.raises(UsageError, match="trained weights have the shape"):
        plan(open_source("digits"), ["half"], weights="model.safetensors")


def test_a_family_by_its_name_is_a_model_that_costs_as_much_as_the_others() -> None:
    found = plan(open_source("digits"), ["vit", "resnet", "hybrid", "half:hybrid"])
    models = {cell.labels["model"]: cell.recipe.model.configure(10, (8, 8)) for cell in found.cells}
    vit, resnet, hybrid, half = (models[name] for name in found.models)
    assert [model.family for model in (vit, resnet, hybrid, half)] == ["vit", "bit", "hybrid", "hybrid"]
    assert describe(vit).macs == pytest.approx(describe(resnet).macs, rel=0.1)  # so small a hybrid has larger tokens
    assert (half.width, half.stem_width) == (hybrid.width / 2, hybrid.stem_width / 2)
    assert found.models[0] == plan(open_source("digits"), [None]).models[0]
    assert found.models[1] == plan(open_source("digits"), ["bit"]).models[0]
    with pytest.raises(UsageError, match="trained weights have the shape"):
        plan(open_source("digits"), ["resnet"], weights="model.safetensors")


def test_another_validation_split_is_taken_from_the_images_that_are_counted() -> None:
    source = open_source("digits")
    found = plan(source, ["mu/4"], changes={"data.validation": 0.0})
    whole = len(source.splits["train"]) + len(source.splits["val"])
    assert found.sizes[-1] == found.cells[0].images == whole
    assert found.cells[0].recipe.evaluation.keep == "last"
    assert all(cell.recipe.data.validation == 0.0 for cell in found.cells)


def test_the_parts_are_not_for_settings_to_choose() -> None:
    with pytest.raises(UsageError, match="is what this study varies"):
        plan(open_source("digits"), ["mu/4"], changes={"data.fraction": 0.5})


def test_a_study_of_smaller_parts_trains_the_same_cells_as_the_whole_one() -> None:
    source = open_source("digits")
    whole, part = (plan(source, ["mu/4", "R26x0.5"], upto=upto) for upto in (None, 500))
    assert part.sizes == tuple(size for size in whole.sizes if size <= 500)
    assert {cell.key for cell in part.cells} == {cell.key for cell in whole.cells if cell.images <= 500}
    assert DataSize(part).folder != DataSize(whole).folder
    with pytest.raises(UsageError, match="--upto 100 leaves 2 of the sizes"):
        plan(source, ["mu/4"], upto=100)


def test_sizes_too_far_away_are_refused_before_anything_is_trained() -> None:
    part = plan(open_source("digits"), ["mu/4"])
    with pytest.raises(UsageError, match="11 times the largest size"):
        DataSize(part, at=(11 * part.sizes[-1],))
    assert DataSize(part, at=(11 * part.sizes[-1],), force=True).at
    assert DataSize(part, at=(10 * part.sizes[-1],)).at


def test_the_papers_table_agrees_with_its_other_one() -> None:
    longest = {row.model: row.imagenet for row in TABLE_6}  # of two lengths the longer comes last
    told = dict(zip(MODELS, TABLE_5[303_000_000], strict=True))
    assert {name: value for name, value in told.items() if name != "H/14"} == {
        name: longest[name] for name in MODELS if name != "H/14"}
    assert told["H/14"] == pytest.approx(longest["H/14"], abs=0.05)  # 88.04 there, 88.08 here
    assert [len(row) for row in in_the_paper().rows] == 3 * [len(in_the_paper().columns)]
