from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from seen_patch import SEEN, bright, looking_at_one_patch
from tiny_models import pictures
from written_out import doubled, relevance_by_hand

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import NothingToSeeError, UsageError
from vitrail.inspection import relevance as module
from vitrail.inspection.explained import explained
from vitrail.inspection.relevance import relevance
from vitrail.inspection.trace import weighted
from vitrail.models import ViT, create


def drawn(name: str = "mu/4", **overrides: Any) -> ViT:
    """Every number of it drawn at random, so that all of it matters."""
    torch.manual_seed(3)
    settings = {"image_size": (12, 8), "width": 16, "depth": 2, "heads": 2, "mlp": 32, "classes": 3} | overrides
    model: Any = create(name, **settings)
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(std=0.5)
    return model.eval()


def bundle_of(model: Any, size: tuple[int, int] = (12, 8)) -> Bundle:
    return Bundle(model, Preprocess(size=size))


@pytest.mark.parametrize("overrides", [
    {"pooling": "token"}, {"pooling": "token", "registers": 2}, {"pooling": "mean", "registers": 1},
    {"pooling": "token+mean"}, {"pooling": "attention", "registers": 1}, {"name": "axial-mu/4"},
    {"name": "axial-mu/4", "pooling": "attention"}], ids=str)
def test_equals_gradients_written_out_in_float64(overrides: dict[str, Any]) -> None:
    model = drawn(**overrides)
    bundle, raw = bundle_of(model), pictures(3)
    found = relevance(explained(bundle, raw, target=0), batch_size=2)
    patches = model.double().patchify(bundle.preprocess.normalize(raw).double()).values
    config = model.config
    for image, one in enumerate(found):
        expected = relevance_by_hand(doubled(model), patches[image], (3, 2), 0, heads=2, depth=2, prefix=config.prefix,
                                     pooling=config.pooling, axial="axial" in config.name)
        assert expected.std() > 1e-3 * expected.mean()
        assert one == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-6)


def test_a_hybrid_is_explained_on_its_patches() -> None:
    model = drawn("R+Ti/16", image_size=(64, 32), stem_width=0.125)
    bundle, raw = bundle_of(model, (64, 32)), pictures(1, (64, 32))
    found = relevance(explained(bundle, raw, target=0))
    patches = model.double().patchify(bundle.preprocess.normalize(raw).double()).values
    expected = relevance_by_hand(doubled(model), patches[0], (2, 1), 0, heads=2, depth=2, prefix=1, pooling="token")
    assert found[0] == pytest.approx(expected.numpy(), rel=1e-4)


def test_finds_the_one_patch_that_is_looked_at() -> None:
    for one in relevance(explained(looking_at_one_patch(), bright(), target=1)):
        assert np.unravel_index(one.argmax(), one.shape) == SEEN
        assert one.sum() - one.max() < 0.01 * one.max()


def test_what_speaks_against_a_class_is_not_shown() -> None:
    """The brightness of that patch lowers class 1 when its weight is turned round."""
    bundle = looking_at_one_patch()
    with torch.no_grad():
        bundle.model.get_submodule("head").weight.neg_()  # type: ignore[operator, union-attr]
    assert relevance(explained(bundle, bright(), target=1)).max() < 1e-3


def test_a_model_that_says_the_same_of_every_image_has_none() -> None:
    model = drawn()
    torch.nn.init.zeros_(model.head.weight)  # type: ignore[arg-type, union-attr]
    assert not relevance(explained(bundle_of(model), pictures())).any()


@pytest.mark.parametrize("positions", ["relative", "rotary-2d", "relative-bias", "none"])
def test_positions_inside_attention_are_followed(positions: str) -> None:
    """The answer is that of the fused kernel, so its weights were those that were explained."""
    at = {"relative": "every", "rotary-2d": "shared", "relative-bias": "every", "none": "stem"}[positions]
    model = drawn(positions=positions, positions_at=at, width=32)
    asked = explained(bundle_of(model), pictures())
    assert relevance(asked).std() > 0


def test_blocks_that_are_computed_again_in_the_backward_pass() -> None:
    model = drawn()
    asked = explained(bundle_of(model), pictures())
    expected = relevance(asked)
    model.encoder.recompute = True
    assert relevance(asked) == pytest.approx(expected, abs=1e-6)


def test_a_large_model_takes_one_image_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = explained(bundle_of(drawn()), pictures(3))
    expected, sizes = relevance(asked), []
    flow = module.flow
    monkeypatch.setattr(module, "MEMORY", 1)
    monkeypatch.setattr(module, "flow", lambda asked, model, part: sizes.append(part) or flow(asked, model, part))
    assert relevance(asked) == pytest.approx(expected, abs=1e-6)
    assert sizes == [slice(0, 1), slice(1, 2), slice(2, 3)]


@pytest.mark.parametrize("name", ["R26x0.25", "axial-R26x0.25"])
def test_resnets_say_why_not(name: str) -> None:
    bundle = bundle_of(create(name, image_size=16, depths=(1,)).eval(), (16, 16))
    with pytest.raises(NothingToSeeError, match="no attention to look at"):
        relevance(explained(bundle, pictures(1, (16, 16))))


def test_a_compiled_model_is_refused() -> None:
    model = drawn()
    with pytest.raises(UsageError, match="eager"), weighted(torch.compile(model, backend="eager"), print):  # type: ignore[arg-type]
        pass
