"""The masked autoencoder: what is masked, what the model gets to see, what is to be guessed, and who learns from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from models.memory import each
from torch import Tensor

from vitrail.data.preprocess import Preprocess
from vitrail.errors import UsageError
from vitrail.models import create, describe
from vitrail.models.vit.attention import AttentionCore
from vitrail.objectives import MaeSettings, MaskedAutoencoder
from vitrail.objectives.mae import Masking, count, draw, standardized
from vitrail.objectives.mae_decoder import DecoderSettings, sines
from vitrail.objectives.masked_patch import HIDDEN
from vitrail.objectives.patch_targets import cut, joined
from vitrail.vocabulary import Batch, Tokens

SMALL = DecoderSettings(width=24, depth=2, heads=3)
PREPROCESS = Preprocess(size=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def batch_of(images: Tensor, first: int = 0) -> Batch:
    places = torch.arange(first, first + len(images))
    return Batch({"image": images}, torch.zeros(len(images), dtype=torch.int64), places, places)


def objective(masked: float = 0.75, normalized: bool = True, **fields: Any) -> MaskedAutoencoder:
    torch.manual_seed(0)
    model = create("mu/4", classes=0, image_size=16, **fields)
    return MaskedAutoencoder(model, PREPROCESS.normalize,
                             MaeSettings(masked=masked, normalized=normalized, decoder=SMALL))


def pictures(count: int, seed: int = 0) -> Tensor:
    """Smooth ones, of which a patch tells about its neighbors."""
    coarse = torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(seed)) * 255
    return F.interpolate(coarse, (16, 16), mode="bilinear").to(torch.uint8)


def inverted(images: Tensor, places: Tensor) -> Tensor:
    """The pictures with other pixels in these patches of each."""
    patches = cut(images, (4, 4)).clone()
    index = places[..., None, None, None].expand(-1, -1, 3, 4, 4)
    return joined(patches.scatter(1, index, 255 - patches.gather(1, index)), (16, 16))


# Masks.


def test_of_a_hundred_thousand_patches_as_many_are_masked_as_should_be() -> None:
    images, patches = 2000, 50
    seen, masked = draw(0, torch.arange(images), patches, 37)

    def within(found: int, of: int, share: float) -> bool:
        return abs(found - of * share) < 4 * np.sqrt(of * share * (1 - share))

    assert torch.equal(torch.cat((seen, masked), dim=1).sort(dim=1).values, torch.arange(patches).expand(images, -1))
    assert all(within(int(one), images, 0.74) for one in torch.bincount(masked.flatten(), minlength=patches))
    both = ((masked == 0).any(1) & (masked == 1).any(1)).sum()  # patches are drawn apart, but for their number
    assert within(int(both), images, 37 / 50 * 36 / 49)


def test_an_image_is_masked_alike_wherever_it_stands_in_a_batch_and_otherwise_by_another_seed() -> None:
    whole, part = draw(3, torch.arange(8), 16, 12), draw(3, torch.arange(5, 7), 16, 12)
    assert all(torch.equal(ours[5:7], theirs) for ours, theirs in zip(whole, part, strict=True))
    assert not torch.equal(draw(4, torch.arange(8), 16, 12).masked, whole.masked)


@pytest.mark.parametrize("pooling", ["token", "mean", "attention"])
@pytest.mark.parametrize("masked", [0.75, 0.5])
def test_what_it_holds_is_foretold(pooling: str, masked: float) -> None:
    """Of the encoder the tokens that are seen, of the decoder all: what autograd keeps for an image, in bf16."""
    model = create("Ti/8", classes=0, image_size=64, pooling=pooling, depth=4)
    settings = MaeSettings(masked=masked, decoder=DecoderSettings(width=96, depth=2, heads=3))
    made = MaskedAutoencoder(model, PREPROCESS.normalize, settings).bfloat16().train()
    for part in made.modules():
        if isinstance(part, AttentionCore):
            part.kernel = "products"
    held = each(lambda count: made.losses(batch_of(torch.zeros(count, 3, 64, 64, dtype=torch.uint8))), batch=4)
    told = sum(times * describe(config).activation_bytes for times, config in made.passes())
    assert told == pytest.approx(held, rel=0.05)


# What the model sees.


@pytest.mark.parametrize("fields", [{}, {"pooling": "mean", "positions": "sincos-2d"},
                                    {"positions": "relative", "positions_at": "every"}])
def test_masked_patches_are_invisible_to_the_bit(fields: dict[str, Any]) -> None:
    made, images = objective(**fields).eval(), pictures(3)
    masking = made.masking(batch_of(images))
    before = made.encoded(images, masking.seen)
    assert before.shape[1] == made.model.config.prefix + 4
    assert torch.equal(made.encoded(inverted(images, masking.masked), masking.seen), before)
    assert torch.equal(made.predicted(inverted(images, masking.masked), masking), made.predicted(images, masking))
    for place in range(4):  # each of those that are seen counts
        assert not torch.allclose(made.encoded(inverted(images, masking.seen[:, place : place + 1]), masking.seen),
                                  before)


@pytest.mark.parametrize("fields", [
    {}, {"registers": 2}, {"pooling": "mean", "positions": "sincos-2d"}, {"positions": "learned-2d"},
    {"positions": "learned", "positions_at": "every"}, {"positions": "relative", "positions_at": "shared"},
    {"positions": "relative-bias", "positions_at": "shared"}, {"positions": "rotary-2d", "positions_at": "shared"}])
def test_the_encoder_says_what_the_model_says_of_these_patches_at_their_places(fields: dict[str, Any]) -> None:
    """The other way round: all patches are embedded first, and then some are taken."""
    made, images = objective(**fields).eval(), pictures(3)
    for part in made.model.parameters():  # also what starts from zeros
        torch.nn.init.normal_(part, std=0.1)
    seen = made.masking(batch_of(images)).seen
    tokens = made.model.patchify(PREPROCESS.normalize(images))
    chosen = torch.stack([values[places] for values, places in zip(tokens.values, seen, strict=True)])
    expected = made.model.encode_tokens(Tokens(chosen, tokens.places[seen], tokens.grid))
    assert torch.allclose(made.encoded(images, seen), expected, atol=1e-5)
    moved = made.encoded(images, seen.roll(1, 1))
    assert torch.allclose(moved[:, -4:], expected[:, -4:].roll(1, 1), atol=1e-5)  # places travel with their patches


# What is to be guessed.


def test_the_target_is_that_of_each_masked_patch() -> None:
    """By the formulas, patch by patch."""
    images = pictures(2)
    plain, made = objective(normalized=False), objective()
    masking = made.masking(batch_of(images))
    normalized = (images / 255 - torch.tensor(PREPROCESS.mean)[:, None, None]) / torch.tensor(
        PREPROCESS.std)[:, None, None]
    for image in range(2):
        for number, place in enumerate(masking.masked[image].tolist()):
            row, column = place // 4 * 4, place % 4 * 4
            pixels = normalized[image, :, row : row + 4, column : column + 4].flatten()
            variance = (pixels - pixels.mean()).square().sum() / 47
            assert torch.allclose(plain.targets(images, masking)[image, number], pixels, atol=1e-5)
            assert torch.allclose(made.targets(images, masking)[image, number],
                                  (pixels - pixels.mean()) / (variance + 1e-6).sqrt(), atol=1e-4)


def test_a_patch_of_one_color_has_a_target_of_zeros() -> None:
    pixels = torch.full((1, 1, 48), 0.7)
    assert standardized(pixels).abs().max() < 1e-3


def test_the_loss_is_of_masked_patches_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess that is right but for one pixel has that pixel's error; patches that are seen are not even guessed."""
    made, images = objective(), pictures(2)
    right = made.targets(images, made.masking(batch_of(images)))
    wrong = right.clone()
    wrong[1, 7, 5] += 3.0
    for guess, loss in ((right, 0.0), (wrong, 9 / (2 * 12 * 48))):
        monkeypatch.setattr(made, "predicted", lambda raw, masking, guess=guess: guess)
        assert made(batch_of(images)).total.item() == pytest.approx(loss)


def test_guesses_come_back_at_the_places_of_their_masks() -> None:
    """A decoder that looks at nothing but positions says of each mask where it is."""
    made, images = objective(), pictures(3)
    decoder = made.decoder
    for block in decoder.stack.blocks:
        for part in (block.attention.out, block.feed_forward.contract):  # type: ignore[union-attr]
            torch.nn.init.zeros_(part.weight)
            torch.nn.init.zeros_(part.bias)
    torch.nn.init.zeros_(decoder.mask)
    torch.nn.init.eye_(decoder.prediction.weight)
    masking = made.masking(batch_of(images))
    table = F.layer_norm(sines((4, 4), 24), (24,), eps=1e-6)
    assert torch.allclose(made.predicted(images, masking)[..., :24], table[masking.masked], atol=1e-5)


def test_masks_may_stand_in_any_order() -> None:
    made, images = objective().eval(), pictures(2)
    masking = made.masking(batch_of(images))
    other = Masking(masking.seen.flip(1), masking.masked.roll(5, 1))
    assert torch.allclose(made.predicted(images, other), made.predicted(images, masking).roll(5, 1), atol=1e-5)


def test_positions_of_the_decoder_are_the_published_ones() -> None:
    """As its code has them: the column first, then the row, each as sines and cosines of the same eight waves."""
    table = sines((3, 5), 32)
    for place in range(15):
        row, column = divmod(place, 5)
        waves = [10_000 ** -(number / 8) for number in range(8)]
        expected = [function(where * wave) for where in (column, row) for function in (np.sin, np.cos)
                    for wave in waves]
        assert np.allclose(table[place], expected, atol=1e-6)


# What is counted.


@pytest.mark.parametrize("normalized", [True, False])
def test_the_constant_loss_is_that_of_the_best_constant_answer(normalized: bool) -> None:
    made, images = objective(normalized=normalized), pictures(6)
    images[0] = 130  # of one color: nothing to guess there
    made(batch_of(images[:2]))
    made(batch_of(images[2:], 2))
    targets = made.targets(images, made.masking(batch_of(images)))
    best = targets.flatten(0, 1).mean(0)
    counted = made.counted()
    assert counted is not None
    assert counted[0] == 6 * 12
    assert made.constant_loss(counted) == pytest.approx(F.mse_loss(best.expand_as(targets), targets).item(), rel=1e-5)


def test_normalized_noise_has_a_constant_loss_of_one() -> None:
    target = standardized(torch.randn(4, 500, 192))
    assert objective().constant_loss(count(target)) == pytest.approx(1, abs=0.01)


def test_counts_are_of_training_alone_and_are_taken_away() -> None:
    made, images = objective(), pictures(3)
    made.eval()(batch_of(images))
    assert len(made.counted()) == 0  # type: ignore[arg-type]
    made.train()(batch_of(images))
    assert made.counted()[0] == 3 * 12  # type: ignore[index]
    assert len(made.counted()) == 0  # type: ignore[arg-type]


# Who learns.


@pytest.mark.parametrize("fields", [{}, {"pooling": "mean"}, {"pooling": "attention"}, {"norm_at": "pooled"},
                                    {"pooling": "token+mean", "norm_at": "pooled"}, {"registers": 2},
                                    {"positions": "relative", "positions_at": "every"},
                                    {"positions": "relative-bias", "positions_at": "shared"}])
def test_everything_that_is_to_learn_gets_a_gradient(fields: dict[str, Any]) -> None:
    """Several processes wait for the gradient of every parameter; what pools the patches is not asked."""
    made = objective(**fields)
    made(batch_of(pictures(8))).total.backward()
    reached = {name for name, value in made.named_parameters() if value.grad is not None and value.grad.any()}
    learning = {name for name, value in made.named_parameters() if value.requires_grad and value.numel()}
    assert reached == learning
    assert {"decoder.mask", "decoder.prediction.weight", "model.patchify.weight"} <= learning
    assert not any(name.startswith(("model.pool", "model.head")) for name in learning)
    assert not any("table" in name for name in made.decoder.state_dict())  # fixed, and in no checkpoint


@pytest.mark.parametrize("normalized", [True, False])
def test_the_loss_falls_on_a_tiny_batch(normalized: bool) -> None:
    made, batch = objective(normalized=normalized), batch_of(pictures(8))
    optimizer = torch.optim.Adam((value for value in made.parameters() if value.requires_grad), lr=3e-3)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = made(batch).total
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert losses[-1] < 0.5 * made.constant_loss(made.counted())  # type: ignore[arg-type]


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    made, images = objective().eval(), pictures(6)
    whole = made(batch_of(images)).total
    parts = [made(batch_of(images[first : first + 2], first)).total for first in (0, 2, 4)]
    assert torch.stack(parts).mean().item() == pytest.approx(whole.item(), rel=1e-6)


def test_blocks_that_are_computed_twice_give_the_same_gradients() -> None:
    found = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = create("mu/4", classes=0, image_size=16)
        model.encoder.recompute = recompute  # type: ignore[union-attr]
        made = MaskedAutoencoder(model, PREPROCESS.normalize, MaeSettings(decoder=SMALL))
        assert made.decoder.stack.recompute == recompute
        made(batch_of(pictures(2))).total.backward()
        found.append([value.grad for value in made.parameters() if value.grad is not None])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))


# Cost and pictures.


def test_multiplications_are_counted_as_they_are_done() -> None:
    """Against what torch counts in a pass over one image, product by product."""
    from torch.utils.flop_counter import FlopCounterMode

    for fields in ({}, {"pooling": "mean", "feedforward": "swiglu"}, {"registers": 1, "pooling": "attention"}):
        made, images = objective(**fields).eval(), pictures(1)
        for part in made.modules():
            if hasattr(part, "kernel"):
                part.kernel = "products"
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            made(batch_of(images))
        assert 2 * made.macs() == counter.get_total_flops()


@pytest.mark.parametrize("normalized", [True, False])
def test_what_is_shown_differs_only_where_patches_are_masked(normalized: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made, images = objective(normalized=normalized).eval(), pictures(2)
    masking = made.masking(batch_of(images))
    for number, one in enumerate(made.shown(batch_of(images))):
        assert torch.equal(one.truth, images[number])
        for place in range(16):
            seen, guess, truth = (cut(part[None], (4, 4))[0, place] for part in one)
            if place in masking.masked[number]:
                assert seen.flatten(1).unique(dim=1).T.tolist() == [list(HIDDEN)]
            else:
                assert torch.equal(seen, truth)
                assert torch.equal(guess, truth)
    monkeypatch.setattr(made, "predicted", made.targets)  # who guesses right paints the truth
    for one in made.shown(batch_of(images)):
        assert (one.guess.int() - one.truth.int()).abs().max() <= 1


# What cannot be.


@pytest.mark.parametrize(("name", "words"), [
    ("R26x0.25", "cannot guess masked patches"), ("R26+Ti/4", "cannot guess masked patches"),
    ("axial-Ti/4", "every patch of the grid")])
def test_models_that_cannot_leave_patches_out_are_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        MaskedAutoencoder(create(name, classes=2, image_size=16), torch.Tensor.float)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="single patch"):
        MaskedAutoencoder(create("mu/4", classes=0, image_size=4), torch.Tensor.float)
    for decoder, words in (({"width": 24, "heads": 5}, "24 wide is not divisible by 5 heads"),
                           ({"width": 10, "heads": 5}, "divisible by 4, not 10"), ({"depth": 0}, "greater than 0")):
        with pytest.raises(ValueError, match=words):
            DecoderSettings.model_validate(decoder)
    for masked in (0.0, 1.0, -0.5):
        with pytest.raises(ValueError, match="masked"):
            MaeSettings(masked=masked)


@pytest.mark.parametrize(("share", "masked"), [(0.999, 15), (0.001, 1), (0.75, 12)])
def test_at_least_one_patch_is_seen_and_one_is_masked(share: float, masked: int) -> None:
    made, images = objective(share), pictures(2)
    assert [part.shape[1] for part in made.masking(batch_of(images))] == [16 - masked, masked]
    assert made(batch_of(images)).total.isfinite()
    assert f"{masked} are masked; the model sees the other {16 - masked}" in made.words()
