from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_models import pictures, tiny
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError, NothingToSeeError, UsageError
from vitrail.inspection.explained import Explained, explained
from vitrail.inspection.integrated_gradients import integrated_gradients
from vitrail.inspection.occlusion import occlusion
from vitrail.inspection.panes import panes_of
from vitrail.inspection.relevance import relevance
from vitrail.inspection.trial import trial
from vitrail.models import ViT


def awake(**overrides: Any) -> ViT:
    """Its head, too, is drawn at random."""
    model = tiny(**overrides)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter)
    return model


def bundle_of(**overrides: Any) -> Bundle:
    return Bundle(awake(**overrides), Preprocess(size=(12, 8)), ("a", "b", "c"))


def scores(asked: Explained, raw: Tensor) -> Tensor:
    images = torch.cat([asked.images(image) for image in range(len(raw))])
    with torch.no_grad():
        return asked.score(images, torch.arange(len(raw)))


def test_without_a_target_it_is_the_models_own_answer() -> None:
    bundle, raw = bundle_of(), pictures(5)
    asked = explained(bundle, raw, batch_size=2)
    probabilities = bundle.scores(raw)
    assert asked.classes is not None
    assert asked.classes.tolist() == probabilities.argmax(1).tolist()
    assert torch.allclose(scores(asked, raw), probabilities.max(1).values, atol=1e-6)
    assert asked.names == ["abc"[index] for index in asked.classes.tolist()]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_the_number_of_a_class_is_what_the_bundle_says(activation: Any) -> None:
    bundle, raw = Bundle(awake(), Preprocess(size=(12, 8)), activation=activation), pictures(3)
    asked = explained(bundle, raw, target=2)
    assert torch.allclose(scores(asked, raw), bundle.scores(raw)[:, 2], atol=1e-6)
    assert asked.unit == ("logit" if activation == "none" else "probability")
    evidence = asked.evidence(asked.images(1), torch.tensor([1]))
    assert torch.allclose(evidence, bundle.logits(raw)[1, 2], atol=1e-5)


@pytest.mark.parametrize("headless", [True, False], ids=["no head", "a published head of zeros"])
def test_without_a_head_it_is_the_embedding(headless: bool) -> None:
    model = tiny()
    bundle = Bundle(model, Preprocess(size=(12, 8)), provenance={"format": "flax"})
    bundle = bundle.without_head() if headless else bundle
    asked = explained(bundle, pictures(2))
    assert asked.unit == "similarity"
    assert torch.allclose(scores(asked, pictures(2)), torch.ones(2), atol=1e-5)
    embeddings = model.embed(bundle.preprocess.normalize(pictures(2)))
    other = asked.score(asked.images(0), torch.tensor([1]))
    assert torch.allclose(other, torch.cosine_similarity(embeddings[:1], embeddings[1:]), atol=1e-5)


def test_the_evidence_of_an_embedding_has_a_slope_where_its_similarity_has_none() -> None:
    asked = explained(bundle_of().without_head(), pictures(1))
    slopes = []
    for number in (asked.score, asked.evidence):
        images = asked.images(0).requires_grad_()
        slopes.append(torch.autograd.grad(number(images, torch.tensor([0])).sum(), images)[0].abs().max())
    assert slopes[0] < 1e-5 < 1e-3 < slopes[1]


@pytest.mark.parametrize("target", [3, -1])
def test_a_class_that_is_not_there(target: int) -> None:
    with pytest.raises(UsageError, match=rf"no class {target} .* counted from 0 to 2 \(a to c\)"):
        explained(bundle_of(), pictures(), target=target)


def test_a_class_of_a_model_without_a_head() -> None:
    with pytest.raises(BundleError, match="no head"):
        explained(bundle_of().without_head(), pictures(), target=0)


@pytest.mark.parametrize(("raw", "words"), [
    (torch.zeros(1, 3, 12, 10, dtype=torch.uint8), r"12x10 pixels .* whole patches of 4x4\. .*12x8"),
    (torch.zeros(1, 3, 12, 8), "uint8"),
    (torch.zeros(0, 3, 12, 8, dtype=torch.uint8), "at least one"),
    (torch.zeros(1, 1, 12, 8, dtype=torch.uint8), r"\[batch, 3, height, width\].*\[1, 1, 12, 8\]"),
    (torch.zeros(3, 12, 8, dtype=torch.uint8), r"\[3, 12, 8\]")],
    ids=["another size", "floats", "none", "grey", "one alone"])
def test_images_that_do_not_fit(raw: Tensor, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        explained(bundle_of(), raw)


def test_images_of_another_size_that_are_made_of_whole_patches() -> None:
    asked = explained(bundle_of(), pictures(1, (20, 12)))
    assert relevance(asked).shape == occlusion(asked).falls.shape == (1, 5, 3)
    assert integrated_gradients(asked).over_panes.shape == (1, 5, 3)


def test_a_diverged_model_is_refused() -> None:
    bundle = bundle_of()
    with torch.no_grad():
        bundle.model.get_submodule("head").weight[0, 0] = torch.nan  # type: ignore[index, operator]
    with pytest.raises(NothingToSeeError, match="not finite"):
        explained(bundle, pictures())


def try_all(asked: Explained) -> object:
    panes = panes_of(asked.bundle.model, asked.raw)
    return trial(asked, panes, {"even": torch.zeros(len(asked.raw), *panes.grid).numpy()})


@pytest.mark.parametrize("explain", [relevance, integrated_gradients, occlusion, try_all])
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_as_it_was(explain: Callable[[Explained], object], fails: bool, monkeypatch: Any) -> None:
    """Also after an error in the middle of it: weights, what learns, gradients, training or not, hooks."""
    bundle = bundle_of(dropout=0.5, drop_path=0.5)
    model = bundle.model.train()
    model.get_submodule("norm").eval()
    model.get_submodule("patchify").requires_grad_(False)
    asked = explained(bundle, pictures(1))
    before = {name: (value.clone(), value.requires_grad) for name, value in model.named_parameters()}
    modes = [part.training for part in model.modules()]
    if fails:
        calls = []

        def broken(self: Explained, images: Tensor, of: Tensor) -> Tensor:
            calls.append(self.bundle.model(images))
            raise RuntimeError("in the middle")

        monkeypatch.setattr(Explained, "evidence", broken)
        monkeypatch.setattr(Explained, "score", broken)
        with pytest.raises(RuntimeError, match="in the middle"):
            explain(asked)
        assert calls
    else:
        explain(asked)
    assert [part.training for part in model.modules()] == modes
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name][0])
        assert value.requires_grad == before[name][1]
        assert value.grad is None
    assert not any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in model.modules())


@pytest.mark.parametrize("explain", [relevance, lambda asked: integrated_gradients(asked).pixels,
                                     lambda asked: occlusion(asked).falls])
def test_training_mode_and_the_callers_own_mode_change_nothing(explain: Callable[[Explained], Any]) -> None:
    bundle = bundle_of(dropout=0.5, drop_path=0.5)
    expected = explain(explained(bundle, pictures(2)))
    bundle.model.train()
    with torch.inference_mode():
        found = explain(explained(bundle, pictures(2)))
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("explain", [relevance, lambda asked: integrated_gradients(asked).over_panes,
                                     lambda asked: occlusion(asked).falls])
def test_half_precision_says_nearly_the_same(explain: Callable[[Explained], Any]) -> None:
    exact = explain(explained(bundle_of(), pictures(2), target=1))
    bundle = bundle_of()
    bundle.model.bfloat16()
    rough = explain(explained(bundle, pictures(2), target=1))
    assert rough.dtype == "float32"
    assert rough == pytest.approx(exact, abs=0.1 * float(abs(exact).max()))
    assert rough != pytest.approx(exact, abs=1e-6 * float(abs(exact).max()))
