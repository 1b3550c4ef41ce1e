"""What all files of ResNets have in common, against the models themselves."""

from __future__ import annotations

import pytest
import torch
from models.small import awake, pictures, small
from published import assert_agree, faint

from vitrail.models import BiT, Hybrid, configure
from vitrail.models.convolution import unit_sizes
from vitrail.weights.known import name_of
from vitrail.weights.resnet import NORMS, depths_of, kernels, with_epsilon


@pytest.mark.parametrize("name", ["R26x0.25", "R26x0.25+Ti/16"])
def test_every_kernel_of_a_unit_is_named(name: str) -> None:
    config = configure(name, image_size=32)
    with torch.device("meta"):
        stages = BiT(config).stages if name == "R26x0.25" else Hybrid(config).patchify.stem.stages  # type: ignore[arg-type]
    held = {key: tuple(value.shape) for key, value in stages.state_dict().items()}
    for size in unit_sizes(16, (2, 2, 2, 2) if name == "R26x0.25" else (2, 2, 4)):
        before = f"{size.stage}.{size.number}."
        for kernel, shape in kernels(size).items():
            assert held.pop(f"{before}{kernel}.weight") == shape
            for part in ("weight", "bias"):
                held.pop(f"{before}{NORMS[kernel]}.{part}", None)
    assert not held


def test_units_are_counted_in_the_order_of_their_numbers() -> None:
    names = [f"block{stage}/unit{unit}/{part}" for stage, units in ((10, 1), (2, 3), (1, 2)) for unit in range(units)
             for part in ("a", "b")]
    assert depths_of(["other", *names, "block1/unit1234/a"], r"block(\d{1,3})/unit(\d{1,3})/") == (2, 3, 1)


@torch.inference_mode()
def test_another_epsilon_leaves_the_answers() -> None:
    model = faint(awake(small(family="bit", standardize_eps=1e-4)), 0.01)
    images = pictures(model.config)
    other = with_epsilon(model, 1e-8)
    assert other.config.standardize_eps == 1e-8
    assert_agree(other(images), model(images))
    unscaled = BiT(other.config).eval()
    unscaled.load_state_dict(model.state_dict())
    assert (unscaled(images) - model(images)).abs().max() > 0.01 * model(images).abs().max()
    assert with_epsilon(other, 1e-8) is other


@pytest.mark.parametrize("name", [
    "B/16", "L/16x32", "R50x1", "R152x4", "R26x0.25", "R50+B/16", "R50+L/32", "R26+S/32", "R+Ti/16", "R50x2+B/16",
    "R26x0.5+Ti/8"])
def test_names_are_found_again(name: str) -> None:
    config = configure(name, image_size=64)
    assert name_of(config.model_copy(update={"name": "custom"})) == name


@pytest.mark.parametrize(("name", "fields"), [
    ("R50x1", {"depths": (3, 4, 6, 4)}), ("R50+B/16", {"stem_depths": (3, 4, 8)}), ("R50+B/16", {"heads": 6}),
    ("R+Ti/16", {"stem_width": 0.5}), ("B/16", {"mlp": 3000})])
def test_what_is_no_size_of_the_literature_has_no_name(name: str, fields: dict[str, object]) -> None:
    assert name_of(configure(name).model_copy(update=fields)) == "custom"
