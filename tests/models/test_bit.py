"""BiT against the original implementation, and what its config promises."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from models.official_resnet import reference_bit
from models.small import awake, pictures, small
from vitrail.models import BiT, BiTConfig, configure, describe
from vitrail.models.bit import DEPTHS
from vitrail.models.convolution import StandardizedConv
from vitrail.training.optimizer import kernel_names


@torch.inference_mode()
def test_logits_of_the_original() -> None:
    model, numbers = reference_bit()
    expected = numbers["logits"]
    assert float((model(numbers["images"]) - expected).abs().max()) < 1e-5 * float(expected.abs().max())


@torch.inference_mode()
def test_the_protocol() -> None:
    config = small(family="bit", image_size=(40, 24), depths=(1, 1, 1))
    model, images = awake(config), pictures(config)
    assert model.feature_map(images).shape == (2, config.embedding, *config.grid)
    torch.testing.assert_close(model.embed(images), model.feature_map(images).mean((2, 3)))
    torch.testing.assert_close(model(images), model.head(model.embed(images)))


@torch.inference_mode()
def test_without_classes_it_gives_its_embedding() -> None:
    config = small(family="bit", classes=0)
    model, images = awake(config), pictures(config)
    assert torch.equal(model(images), model.embed(images))
    assert describe(config).parameters == sum(parameter.numel() for parameter in model.parameters())


def test_any_other_image_size_is_read() -> None:
    config = small(family="bit")
    assert awake(config)(torch.randn(1, 3, 50, 70)).shape == (1, 5)
    assert config.at_size((50, 70)).grid == (7, 9)


def test_it_starts_as_the_papers_code_does() -> None:
    model = BiT(small(family="bit", head_bias=-10.0))
    assert not model.head.weight.any()
    assert (model.head.bias == -10).all()
    for part in model.modules():
        if isinstance(part, torch.nn.GroupNorm):
            assert (part.weight == 1).all()
            assert not part.bias.any()
        if isinstance(part, StandardizedConv):
            fan_in = part.weight[0].numel()
            assert part.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.25)
            assert part.weight.abs().max() < 2.3 * fan_in**-0.5  # cut at two standard deviations


def test_the_stride_is_on_the_3x3_and_the_first_stage_has_none() -> None:
    model = BiT(small(family="bit", depths=(2, 2)))
    strides = {name: part.stride for name, part in model.named_modules() if isinstance(part, StandardizedConv)}
    assert {name for name, stride in strides.items() if stride == 2} == {
        "root", "stages.1.0.conv2", "stages.1.0.projection"}


def test_kernels_are_decayed_and_norms_are_not() -> None:
    model = BiT(small(family="bit", depths=(1,)))
    assert kernel_names(model) == {"root.weight", "head.weight", "stages.0.0.projection.weight",
                                   *(f"stages.0.0.conv{place}.weight" for place in (1, 2, 3))}


@pytest.mark.parametrize(("layers", "depths"), DEPTHS.items())
def test_depths_count_their_layers(layers: str, depths: tuple[int, ...]) -> None:
    """Three convolutions a unit, the root and the head."""
    assert 3 * sum(depths) + 2 == int(layers)
    assert configure(f"R{layers}x2").depths == depths  # type: ignore[union-attr]


@pytest.mark.parametrize(("fields", "said"), [
    ({"depths": ()}, "at least 1 item"), ({"depths": (1, 0)}, "greater than 0"), ({"width": 0}, "greater than 0"),
    ({"width": 0.2}, "use 0.125 or 0.25"), ({"image_size": 4, "depths": (1, 1)}, "use at least 9 pixels"),
    ({"heads": 3}, "Extra inputs"), ({"depths": (1,) * 7}, "at most 6 items")])
def test_what_does_not_fit_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        BiTConfig(**{"depths": (1,), "width": 0.25, "image_size": 32} | fields)  # type: ignore[arg-type]
