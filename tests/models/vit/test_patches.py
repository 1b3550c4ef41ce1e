"""Pixels -> tokens: the product and the convolution are one map, and every patch knows its place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.small import pictures, small
from vitrail.models.vit.patches import PatchEmbedding, places_of


def embedding(patch: object, image: object, channels: int = 3) -> PatchEmbedding:
    torch.manual_seed(0)
    part = PatchEmbedding(small(patch=patch, image_size=image, channels=channels))
    with torch.no_grad():
        part.weight.normal_()
        part.bias.normal_()
    return part


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("patch", "image", "channels"),
                         [(8, 32, 3), (4, (8, 20), 3), ((8, 4), (24, 16), 3), ((1, 5), (3, 15), 1), (16, 16, 4)])
def test_the_product_is_the_convolution(patch: object, image: object, channels: int, dtype: torch.dtype) -> None:
    part = embedding(patch, image, channels).to(dtype)
    images = pictures(small(patch=patch, image_size=image, channels=channels)).to(dtype).requires_grad_()
    results: list[tuple[Tensor, ...]] = []
    for as_product in (True, False):
        part.as_product = as_product
        values = part(images).values
        inputs = (images, part.weight, part.bias)
        results.append((values, *torch.autograd.grad(values.square().sum(), inputs)))
    for product, convolution in zip(*results, strict=True):
        scale = float(convolution.detach().abs().max())
        tolerance = (1e-12 if dtype == torch.float64 else 1e-5) * scale
        torch.testing.assert_close(product, convolution, atol=tolerance, rtol=0)


def test_one_token_is_one_patch_times_the_weight() -> None:
    part, images = embedding((8, 4), (24, 16)), pictures(small())
    tokens = part(images)
    place = tokens.places.tolist().index([1, 2])
    by_hand = torch.einsum("chw,dchw->d", images[1, :, 8:16, 8:12], part.weight) + part.bias
    torch.testing.assert_close(tokens.values[1, place], by_hand)


def test_places_are_rows_and_columns_in_reading_order() -> None:
    tokens = embedding((8, 4), (24, 16))(pictures(small()))
    assert tokens.grid == (3, 4)
    assert tokens.places.tolist() == [[row, column] for row in range(3) for column in range(4)]
    assert places_of((1, 1), torch.device("cpu")).tolist() == [[0, 0]]


@pytest.mark.parametrize("as_product", [True, False])
def test_without_a_bias(as_product: bool) -> None:
    part, images = embedding((8, 4), (24, 16)), pictures(small())
    bare = PatchEmbedding(small(patch_bias=False))
    bare.as_product = as_product
    bare.load_state_dict({"weight": part.weight})
    torch.testing.assert_close(bare(images).values, part(images).values - part.bias)


@pytest.mark.parametrize("as_product", [True, False])
def test_what_does_not_fill_a_patch_is_left_out_by_both(as_product: bool) -> None:
    part, images = embedding((8, 4), (24, 16)), pictures(small(image_size=(32, 20)))
    part.as_product = as_product
    torch.testing.assert_close(part(images[..., :27, :18]).values, part(images[..., :24, :16]).values)
