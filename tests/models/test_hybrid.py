"""Hybrids against the official implementation, and what their names and configs promise."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from models.official_resnet import reference_hybrid
from models.small import awake, pictures, small
from vitrail.models import Hybrid, HybridConfig, ViT, ViTConfig, configure
from vitrail.models.hybrid import merged
from vitrail.training.optimizer import kernel_names


@torch.inference_mode()
def test_logits_of_the_original() -> None:
    model, numbers = reference_hybrid()
    for ours, expected in ((model(numbers["images"]), numbers["logits"]),
                           (model.embed(numbers["images"]), numbers["pre_logits"])):
        assert float((ours - expected).abs().max()) < 1e-5 * float(expected.abs().max())


@torch.inference_mode()
def test_the_protocol_of_the_vit_with_patches_of_the_feature_map() -> None:
    config = small(family="hybrid")
    model, images = awake(config), pictures(config)
    tokens = model.patchify(images)
    assert tokens.grid == config.grid == (3, 4)
    assert model.patchify.stem(images).shape == (2, config.stem_channels, 6, 4)
    torch.testing.assert_close(model(images), model.head(model.hidden(model.pool(model.encode_tokens(tokens)))))
    assert model.feature_map(images).shape == (2, config.width, 3, 4)


@torch.inference_mode()
def test_another_image_size_resamples_the_positions() -> None:
    config = small(family="hybrid", patch=4)
    model = awake(config)
    assert model.patchify(torch.randn(1, 3, 32, 20)).grid == (8, 5)
    assert model(torch.randn(1, 3, 32, 20)).shape == (1, 5)


@pytest.mark.parametrize(("name", "depths", "patch", "kernel"), [
    ("R50+B/16", (3, 4, 9), 16, 1), ("R50+L/32", (3, 4, 6, 3), 32, 1), ("R26+S/32", (2, 2, 2, 2), 32, 1),
    ("R26+B/32", (2, 2, 2, 2), 32, 1), ("R+Ti/16", (), 32, 8), ("R101+L/16", (3, 4, 26), 16, 1),
    ("R26+Ti/4", (8,), 4, 1), ("R26+Ti/8", (2, 6), 8, 1), ("R50+B/64", (3, 4, 6, 3), 64, 2),
    ("R26+S/12", (8,), 12, 3), ("R+S/8", (), 16, 4)])
def test_names_say_the_stages(name: str, depths: tuple[int, ...], patch: int, kernel: int) -> None:
    config = configure(name, image_size=2 * patch)
    assert isinstance(config, HybridConfig)
    assert config.stem_depths == depths
    assert config.patch == (patch, patch)
    assert config.on_features.patch == (kernel, kernel)
    assert config.on_features.image_size == (2 * kernel, 2 * kernel)


def test_no_layer_is_lost_where_stages_are() -> None:
    assert all(sum(merged((3, 4, 6, 3), patch)) == 16 for patch in (4, 8, 16, 32, 48, 64))


def test_the_official_tokens() -> None:
    assert configure("R+Ti/16").grid == configure("R50+L/32").grid == (7, 7)
    assert configure("R50+B/16").grid == (14, 14)


def test_the_width_of_the_resnet_may_be_said() -> None:
    one, plain = configure("R50x1+B/16"), configure("R50+B/16")
    assert one.model_dump(exclude={"name"}) == plain.model_dump(exclude={"name"})
    wide = configure("R50x2+B/16")
    assert isinstance(wide, HybridConfig)
    assert wide.stem_channels == 2048


def test_a_hybrid_is_a_vit_but_its_config_is_its_own() -> None:
    config = small(family="hybrid")
    assert isinstance(Hybrid(config), ViT)
    assert type(config.on_features) is ViTConfig
    assert type(config.at_size((32, 32))) is HybridConfig


def test_a_new_unit_does_nothing() -> None:
    """Its last norm starts at scale 0, so only the shortcut passes."""
    config = small(family="hybrid", stem_depths=(3,))
    units = Hybrid(config).patchify.stem.stages[0]
    assert not any(unit.norm3.weight.any() for unit in units)  # type: ignore[union-attr]
    values = torch.rand(1, config.stem_channels, 4, 4)
    assert torch.equal(units[1](values), values)  # type: ignore[index]


def test_kernels_of_the_resnet_are_decayed_and_norms_are_not() -> None:
    names = {name for name in kernel_names(Hybrid(small(family="hybrid"))) if name.startswith("patchify")}
    stem = "patchify.stem."
    assert names == {"patchify.embedding.weight", f"{stem}root.weight", f"{stem}stages.0.0.projection.weight",
                     *(f"{stem}stages.0.0.conv{place}.weight" for place in (1, 2, 3))}


@pytest.mark.parametrize(("fields", "said"), [
    ({"patch": 6}, "patch 6x6 is no multiple of 4"), ({"image_size": 20}, "image height 20 is not divisible by"),
    ({"stem_width": 0.3}, "use 0.25 or 0.375"), ({"stem_depths": (0,)}, "greater than 0"), ({"width": 15}, "2 heads"),
    ({"image_size": 4, "patch": 4, "stem_width": 0.25}, "use at least 5 pixels a side")])
def test_what_does_not_fit_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        small(**{"family": "hybrid", "image_size": 24} | fields)
