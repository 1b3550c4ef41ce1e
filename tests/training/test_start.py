"""What a run from trained weights starts with: their representation, and the head that its images ask for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models.small import awake, pictures, small

from vitrail.bundle import Activation, Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.training.start import start

NAMES = ("ant", "bee", "cat", "dog", "elk")


def bundle_of(activation: Activation = "softmax", names: tuple[str, ...] | None = NAMES, **fields: Any) -> Bundle:
    config = small(**fields)
    model = awake(config).requires_grad_(False)
    return Bundle(model, Preprocess(size=config.image_size), names, activation)


@pytest.mark.parametrize("fields", [{"head_hidden": 7, "head_bias": -10.0}, {"pooling": "attention"},
                                    {"family": "bit"}, {"family": "hybrid"}], ids=str)
def test_a_new_head_of_zeros_on_the_same_representation(fields: dict[str, Any]) -> None:
    bundle = bundle_of(**fields)
    own = fields | {"head_hidden": None, "head_bias": -3.0, "classes": 2} if "head_hidden" in fields else fields
    wanted = small(**{**own, "classes": 2})
    images, before = pictures(bundle.model.config), bundle.without_head().model if "family" not in fields else None
    model = start(bundle, wanted, ("x", "y"), "softmax", "new")
    assert model.config == wanted
    assert model.training
    assert torch.equal(model(images), torch.full((2, 2), wanted.head_bias))
    if before is not None:
        torch.testing.assert_close(model.eval().embed(images), before(images))


def test_its_parameters_are_as_those_of_a_model_of_our_own() -> None:
    """Dense, each with memory of its own size, and all of them learn: so they compute as fast."""
    from vitrail.models.vit.another_size import at_size

    bundle = bundle_of()
    other = Bundle(at_size(bundle.model, (48, 20), (12, 5)), bundle.preprocess, NAMES)
    model = start(other, small(image_size=(48, 20), patch=(12, 5), classes=2), ("x", "y"), "softmax", "new")
    for name, parameter in model.named_parameters():
        assert parameter.is_contiguous(), name
        assert parameter.requires_grad, name
        assert parameter.dtype == torch.float32, name
        assert parameter.untyped_storage().nbytes() == 4 * parameter.numel(), name


@pytest.mark.parametrize("fields", [{}, {"head_hidden": 7}, {"pooling": "distilled"}, {"family": "bit"}], ids=str)
def test_a_kept_head_answers_in_the_order_of_the_images(fields: dict[str, Any]) -> None:
    bundle = bundle_of(**fields)
    images = pictures(bundle.model.config)
    expected = bundle.model(images)[:, [4, 1, 0, 3, 2]]
    model = start(bundle, bundle.model.config, ("elk", "bee", "ant", "dog", "cat"), "softmax", "keep").eval()
    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize(("bundle", "classes", "loss", "said"), [
    (bundle_of(), ("ant", "bee", "cow", "fox"), "softmax",
     "other classes.*only in the weights: cat, dog, elk; only in the images: cow, fox. Leave out model.head=keep"),
    (bundle_of(names=None), NAMES, "softmax", "do not say which classes their 5 answers are"),
    (bundle_of("sigmoid"), NAMES, "softmax", "trained with a sigmoid.*this run trains with a softmax"),
    (bundle_of(names=None, classes=0), NAMES, "softmax", "no head to keep: it has no head"),
])
def test_heads_that_cannot_be_kept(bundle: Bundle, classes: tuple[str, ...], loss: str, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        start(bundle, bundle.model.config, classes, loss, "keep")


def test_a_run_chooses_its_dropout_and_nothing_else() -> None:
    chosen = small(dropout=0.1, drop_path=0.2, classes=2)
    assert start(bundle_of(), chosen, ("x", "y"), "softmax", "new").config == chosen
    with pytest.raises(BundleError, match=r"depth is 2, not 3; feedforward is gelu-tanh, not gelu.*dropout, drop_path"):
        start(bundle_of(), small(depth=3, feedforward="gelu", classes=2), ("x", "y"), "softmax", "new")
