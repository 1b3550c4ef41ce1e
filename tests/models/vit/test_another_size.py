"""A model made for another size answers as the one that resamples on every call; and patches keep their tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.small import EVERY_POSITION, awake, pictures, small
from vitrail.errors import UsageError
from vitrail.models.vit.another_size import at_size, describe_change

SIZES = [(48, 20), (16, 16), (24, 4)]


@pytest.mark.parametrize(("kind", "place"), [one for one in EVERY_POSITION if one[0] != "relative"])
@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_resampled_once_is_resampled_on_every_call(kind: str, place: str, size: tuple[int, int]) -> None:
    model = awake(small(positions=kind, positions_at=place, registers=1))
    other = at_size(model, size)
    assert other.config == model.config.at_size(size)
    images = pictures(other.config)
    assert torch.equal(other(images), model(images))


@pytest.mark.parametrize("fields", [{"family": "hybrid"}, {"family": "bit"}], ids=str)
@torch.inference_mode()
def test_other_families(fields: dict[str, Any]) -> None:
    model = awake(small(**fields, image_size=(32, 32)))
    other = at_size(model, (48, 64))
    images = pictures(other.config)
    assert torch.equal(other(images), model(images))
    with pytest.raises(UsageError, match="cannot change its patches, only a plain ViT can"):
        at_size(model, (48, 64), (16, 16))


def test_its_parameters_are_dense_and_stay_frozen_or_not() -> None:
    model = awake(small()).requires_grad_(False)
    other = at_size(model, (48, 20), (12, 5))
    for parameter in other.parameters():
        assert parameter.is_contiguous()
        assert not parameter.requires_grad
    assert not other.training
    assert at_size(model, model.config.image_size, model.config.patch) is model


@torch.inference_mode()
def test_relative_offsets_along_one_line_meet_what_every_call_reads() -> None:
    """There every offset of the new table stands for pairs that read the same."""
    model = awake(small(positions="relative", positions_at="every", pooling="mean", image_size=(8, 16)))
    other = at_size(model, (8, 28))
    images = pictures(other.config)
    torch.testing.assert_close(other(images), model(images), atol=1e-4, rtol=1e-4)
    assert other.encoder.positions.tables[0].offset_keys.shape[1] == 13


@torch.inference_mode()
def test_relative_offsets_on_a_grid_are_means_over_the_pairs_that_share_them() -> None:
    model = awake(small(positions="relative", positions_at="shared", registers=1))
    table = model.encoder.positions.tables[0]
    same = table.resampled(table.home)["offset_keys"]
    torch.testing.assert_close(same, table.offset_keys)
    table.offset_keys.copy_(torch.arange(2 * table.reach + 1.0)[None, :, None].expand_as(table.offset_keys))
    larger = table.resampled((5, 6))["offset_keys"]
    assert larger.shape[1] == 2 * (5 * 6 + model.config.prefix) - 1
    torch.testing.assert_close(larger + larger.flip(1), torch.full_like(larger, 2.0 * table.reach))  # still odd
    # from the first patch to the last: one pair alone has that offset among patches, corner on corner
    prefix, last = model.config.prefix, 5 * 6 - 1
    assert float(larger[0, -1, 0]) == 2 * table.reach
    assert float(larger[0, last + 2 * prefix + last, 0]) == pytest.approx(2 * table.reach, abs=prefix)


@pytest.mark.parametrize("positions", ["none", "learned", "sincos-2d"])
@torch.inference_mode()
def test_enlarged_patches_of_enlarged_pictures_give_the_same_answers(positions: str) -> None:
    """Each patch enlarged bilinearly by itself; the grid stays, so nothing else changes."""
    model = awake(small(positions=positions))
    other = at_size(model, (36, 28), (12, 7))
    images = pictures(model.config)
    patches = images.reshape(2, 3, 3, 8, 4, 4).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
    larger = torch.nn.functional.interpolate(patches, size=(12, 7), mode="bilinear")
    enlarged = larger.unflatten(0, (2, 3, 4)).permute(0, 3, 1, 4, 2, 5).reshape(2, 3, 36, 28)
    torch.testing.assert_close(other(enlarged), model(images), atol=1e-4, rtol=1e-4)


def test_the_change_in_words() -> None:
    before = small(name="B/8x4")
    assert describe_change(before, before.at_size((48, 20), (8, 5))) == [
        "positions resampled from 3x4 to 6x4 (bilinear-corners)",
        "patches resized from 8x4 to 8x5 pixels (pseudo-inverse)"]
    assert before.at_size((48, 48), (6, 6)).name == "B/6"
    assert describe_change(small(positions="sincos-2d"), small(positions="sincos-2d").at_size((48, 20))) == []


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match=r"custom cannot take images of 24x16 pixels: .* by the patch size 7"):
        at_size(awake(small()), (24, 16), (7, 7))
