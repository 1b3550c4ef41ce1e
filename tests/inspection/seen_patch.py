"""A Vision Transformer that looks at one patch only: its queries ask for one position embedding, and the class answers
how bright that patch is."""

from __future__ import annotations

import torch
from tiny_models import tiny

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess

SEEN = (1, 0)
"""Row and column of that patch, in a grid of three by two."""


def looking_at_one_patch() -> Bundle:
    """One layer, one head. Numbers 0 to 6 of a token say where it is, 8 its brightness; the class token's query matches
    the key of the patch at SEEN, its value goes to number 9, and class 1 reads it."""
    model = tiny(depth=1, heads=1, width=16, positions="learned")
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
        block = model.encoder.blocks[0]
        model.patchify.weight[8] = 20.0 / model.patchify.weight[0].numel()  # type: ignore[index]
        places = model.encoder.positions.tables[0]
        places.class_position[0, 0] = 20.0  # type: ignore[index, operator, union-attr]
        places.table[:, 1:7] = 20 * torch.eye(6)  # type: ignore[index, operator, union-attr]
        for norm in (block.norm1, block.norm2, model.norm):  # type: ignore[union-attr]
            norm.weight.fill_(1.0)  # type: ignore[operator, union-attr]
        seen = 1 + 2 * SEEN[0] + SEEN[1]
        qkv = block.attention.qkv.weight.view(3, 16, 16)  # type: ignore[union-attr, operator]
        qkv[0, 0, :7] = 8.0  # every token asks the same
        qkv[1, 0, seen] = 8.0
        qkv[2, 1, 8] = 1.0
        block.attention.out.weight[9, 1] = 10.0  # type: ignore[index, union-attr]
        model.head.weight[1, 9] = 3.0
    return Bundle(model, Preprocess(size=(12, 8)))


def bright(count: int = 3) -> torch.Tensor:
    """Light images with some noise."""
    drawn = torch.Generator().manual_seed(2)
    return torch.randint(190, 256, (count, 3, 12, 8), dtype=torch.uint8, generator=drawn)
