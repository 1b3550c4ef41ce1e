"""Published masked autoencoders go on with their decoder: the same guesses and the same loss as their own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as peers
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny import last, tiny_recipe, train
from torch import Tensor

from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import open_source
from vitrail.errors import BundleError
from vitrail.events import Understood
from vitrail.objectives import MaeSettings, MaskedAutoencoder
from vitrail.objectives.mae import Masking
from vitrail.objectives.mae_decoder import DecoderSettings
from vitrail.recipes import RECIPES
from vitrail.recipes.finetune import weights_settings
from vitrail.workshop.decoding import take_decoder

SHAPE: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 16,
    "patch_size": 4, "decoder_hidden_size": 64, "decoder_num_hidden_layers": 3, "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 256}
FIXED = ("vit.embeddings.position_embeddings", "decoder.decoder_pos_embed")


def peer_in(folder: Path, **fields: Any) -> Any:
    """A small one of `transformers`, with weights that leave nothing asleep, saved."""
    torch.manual_seed(0)
    peer = peers.ViTMAEForPreTraining(peers.ViTMAEConfig(**SHAPE | fields)).eval()
    for name, value in peer.named_parameters():
        if name not in FIXED:
            mean = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            torch.nn.init.normal_(value, mean, std=0.3 if value.dim() > 1 else 0.1)
    peer.vit.embeddings.initialize_weights()  # which this version of transformers leaves out
    peer.decoder.initialize_weights(16)
    assert peer.decoder.decoder_pos_embed.std() > 0.1
    peer.save_pretrained(folder)
    return peer


def as_the_authors_have_it(folder: Path, *, drop: str = "", heads: int | None = None) -> Path:
    """The same weights by the names of the authors' code, in one file; without keys that start with `drop`."""
    theirs = load_file(folder / "model.safetensors")
    renamed: dict[str, Tensor] = {}
    for name, value in theirs.items():
        new = name.removeprefix("vit.").removeprefix("decoder.").replace("embeddings.patch_embeddings.projection",
                                                                         "patch_embed.proj")
        for old, word in (("decoder_encoder.layer.", "decoder_blocks."), ("encoder.layer.", "blocks."),
                          ("embeddings.position_embeddings", "pos_embed"), ("embeddings.cls_token", "cls_token"),
                          ("layernorm_before", "norm1"), ("layernorm_after", "norm2"), ("layernorm.", "norm."),
                          ("attention.output.dense", "attn.proj"), ("intermediate.dense", "mlp.fc1"),
                          ("output.dense", "mlp.fc2")):
            new = new.replace(old, word)
        if "attention.attention.query" in new:
            parts = [theirs[name.replace("query", part)] for part in ("query", "key", "value")]
            renamed[new.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
        elif "attention.attention" not in new and not (drop and new.startswith(drop)):
            renamed[new] = value.contiguous()
    (folder / "authors").mkdir()
    save_file(renamed, folder / "authors" / "mae.safetensors")
    return folder / "authors" / "mae.safetensors"


def with_older_names(folder: Path) -> Path:
    """As the folders on the hub have them."""
    held = load_file(folder / "model.safetensors")
    save_file({name.replace("decoder_encoder.layer", "decoder_layers"): value for name, value in held.items()},
              folder / "model.safetensors")
    return folder


def objective_of(path: Path, normalized: bool = True) -> MaskedAutoencoder:
    bundle = weights.load(path, heads=4)
    torch.manual_seed(1)
    made = MaskedAutoencoder(bundle.model, bundle.preprocess.normalize, MaeSettings(
        normalized=normalized, decoder=DecoderSettings(width=64, depth=3, heads=2)))
    found = weights.read(path, weights.Told(heads=4)).decoder()
    assert found is not None
    assert found[:5] == (64, 3, 2, 256, 48)
    state = found.load()
    assert torch.allclose(made.decoder.table, state.pop("table"), atol=1e-6)
    made.decoder.load_state_dict(state)
    return made.eval()


@pytest.mark.parametrize("layout", ["folder", "older folder", "authors"])
@pytest.mark.parametrize("normalized", [True, False])
@torch.inference_mode()
def test_their_guesses_and_their_loss(layout: str, normalized: bool, tmp_path: Path) -> None:
    """In double precision: what processors round differently in fp32 would hide small mistakes."""
    epsilon = 1e-6 if layout == "authors" else 1e-12
    peer = peer_in(tmp_path, norm_pix_loss=normalized, layer_norm_eps=epsilon)
    path = {"folder": lambda path: path, "older folder": with_older_names,
            "authors": as_the_authors_have_it}[layout](tmp_path)
    made = objective_of(path, normalized).double()
    raw = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    noise = torch.rand(5, 16)
    theirs = peer.double()(made.normalize(raw).double(), noise=noise)
    order = noise.argsort(1)
    masking = Masking(order[:, :4].sort(1).values, order[:, 4:].sort(1).values)
    assert torch.equal(theirs.mask.nonzero()[:, 1].reshape(5, 12), masking.masked)
    guesses = theirs.logits[torch.arange(5)[:, None], masking.masked]
    ours = made.predicted(raw, masking).unflatten(-1, (3, 4, 4)).permute(0, 1, 3, 4, 2).flatten(2)
    assert guesses.std((0, 1)).mean() > 0.3  # patch by patch something else
    assert torch.allclose(ours.double(), guesses, rtol=1e-6, atol=1e-6)
    loss = torch.nn.functional.mse_loss(made.predicted(raw, masking), made.targets(raw, masking))
    assert loss.item() == pytest.approx(theirs.loss.item(), rel=1e-6)


@pytest.mark.usefixtures("capsys")
def test_a_pickle_of_the_authors_is_converted_with_its_decoder(tmp_path: Path) -> None:
    from vitrail.cli.convert import convert

    peer_in(tmp_path)
    pickle = tmp_path / "mae.pth"
    torch.save({"model": load_file(as_the_authors_have_it(tmp_path))}, pickle)
    assert convert(pickle, tmp_path / "converted", heads=4) == 0
    assert convert(tmp_path / "converted", tmp_path / "again") == 0
    wanted = objective_of(tmp_path / "authors" / "mae.safetensors").decoder.state_dict()
    for folder in ("converted", "again"):
        found = weights.read(tmp_path / folder).decoder()
        assert found is not None
        assert found[:5] == (64, 3, 2, 256, 48)
        held = found.load()
        assert held.keys() == wanted.keys()
        assert all(torch.equal(held[name], value) for name, value in wanted.items())
    assert convert(tmp_path / "converted", tmp_path / "written", to="timm") == 0
    assert weights.read(tmp_path / "written").decoder() is None


# Which decoder a run goes on with, and what it says of it.


def photos(folder: Path) -> str:
    folder.mkdir()
    for number in range(10):
        Image.new("RGB", (16, 16), (25 * number, 100, 50)).save(folder / f"{number}.png")
    return str(folder)


def learning(path: Path, source: str, folder: Path, **changes: Any) -> tuple[str, dict[str, Tensor]]:
    """What a run says of what it learns, and its decoder's weights after a step of almost nothing."""
    recipe = RECIPES["pretrain"](open_source(source, labeled=False), weights=str(path), objective="mae")
    recipe = recipe.replaced({"schedule.steps": 2, "training.batch_size": 4, "optimizer.learning_rate": 1e-30,
                              "training.precision": "fp32", **changes})
    events = train(recipe, folder, stop_after=1)
    assert isinstance(events[0], Understood)
    words = dict(events[0].rows)["learning"]
    resumed = train(recipe, folder, resume=True)
    assert isinstance(resumed[0], Understood)
    assert dict(resumed[0].rows)["learning"] == words
    assert last(resumed).steps == 2
    held = load_file(next((folder / "checkpoints").glob("*2/weights.safetensors")))
    return words, {name: value for name, value in held.items() if "decoder" in name}


def test_a_run_goes_on_with_the_decoder_of_the_file(tmp_path: Path) -> None:
    peer = peer_in(tmp_path / "mae")
    words, held = learning(tmp_path / "mae", photos(tmp_path / "photos"), tmp_path / "run")
    assert f"a decoder of 3 layers, 64 wide and from {tmp_path / 'mae'}, guesses" in words
    kept = next(value for name, value in held.items() if name.endswith("decoder.embed.weight"))
    assert torch.equal(kept, peer.decoder.decoder_embed.weight.detach())


@pytest.mark.parametrize("average", [None, 0.5])
@pytest.mark.parametrize("keep", ["last", "best"])
def test_what_mae_learned_is_gone_on_from_with_its_decoder(keep: str, average: float | None, tmp_path: Path) -> None:
    small = {"decoder": {"width": 16, "depth": 2, "heads": 1}}
    recipe = tiny_recipe(objective__name="mae", objective__mae=small, training__average=average, evaluation__keep=keep,
                         schedule__steps=3)
    learned = last(train(recipe, tmp_path / "first")).bundle.decoder
    assert learned is not None
    started = weights_settings(str(tmp_path / "first"), (8, 8)).model_dump(mode="json")
    still = recipe.replaced({"model.weights": started, "optimizer.learning_rate": 1e-30, "schedule.steps": 1,
                             "training.average": None})
    events = train(still, tmp_path / "second")
    assert isinstance(events[0], Understood)
    assert f"16 wide and from {tmp_path / 'first'}, guesses" in dict(events[0].rows)["learning"]
    again = last(events).bundle.decoder
    assert again is not None
    assert learned.weights.keys() == again.weights.keys()
    assert all(torch.allclose(value, again.weights[name], atol=1e-6) for name, value in learned.weights.items())
    labeled = tiny_recipe(model__weights=started, schedule__steps=1, model__settings={})
    assert last(train(labeled, tmp_path / "labels")).bundle.decoder is None
    assert not (tmp_path / "labels" / "bundle" / "mae_decoder.safetensors").exists()


@pytest.mark.parametrize(("harm", "words"), [
    (lambda held: {name: value for name, value in held.items() if name != "norm.bias"}, "norm.bias is missing"),
    (lambda held: held | {"gate": torch.zeros(1)}, "gate is not known"),
    (lambda held: held | {"embed.weight": torch.zeros(3, 3)}, "embed.weight is"),
    (lambda held: {"mask": held["mask"]}, "is missing")])
def test_a_decoder_that_does_not_fit_its_bundle_is_told(harm: Any, words: str, tmp_path: Path) -> None:
    peer_in(tmp_path / "mae")
    bundle = weights.load(tmp_path / "mae", decoder=True)
    assert bundle.decoder is not None
    bundle.decoder = bundle.decoder._replace(weights=harm(bundle.decoder.weights))
    bundle.save(tmp_path / "bundle")
    with pytest.raises(BundleError, match=words):
        made_with(tmp_path / "bundle", 16)


def test_a_decoder_file_that_was_changed_keeps_its_bundle_from_loading(tmp_path: Path) -> None:
    peer_in(tmp_path / "mae")
    weights.load(tmp_path / "mae", decoder=True).save(tmp_path / "bundle")
    file = tmp_path / "bundle" / "mae_decoder.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BundleError, match="has changed"):
        Bundle.load(tmp_path / "bundle")
    with pytest.raises(BundleError, match="cannot be read"):
        weights.read(tmp_path / "bundle").decoder()
    save_file({"mask": torch.zeros(4)}, file, {"heads": "no"})
    with pytest.raises(BundleError, match="how many attention heads"):
        weights.read(tmp_path / "bundle").decoder()


@pytest.mark.parametrize(("changes", "words"), [
    ({"objective.mae.decoder.width": 48}, "is 64 wide instead of 48, 256 wide inside instead of 192"),
    ({"objective.mae.decoder.depth": 1}, "is 3 deep instead of 1"),
    ({"objective.mae.decoder.heads": 4}, "is of 2 heads instead of 4"),
])
def test_a_decoder_of_another_shape_is_drawn_anew_and_says_so(changes: dict[str, Any], words: str,
                                                              tmp_path: Path) -> None:
    peer_in(tmp_path / "mae")
    said, _ = learning(tmp_path / "mae", photos(tmp_path / "photos"), tmp_path / "run", **changes)
    assert f"and new, since the one in {tmp_path / 'mae'} {words}, guesses" in said


def test_weights_without_a_decoder_get_a_new_one(tmp_path: Path) -> None:
    peer_in(tmp_path / "mae").vit.save_pretrained(tmp_path / "encoder")
    words, held = learning(tmp_path / "encoder", photos(tmp_path / "photos"), tmp_path / "run")
    assert f"a decoder of 1 layer, 32 wide and new, since {tmp_path / 'encoder'} holds none, guesses" in words
    assert held


def made_with(path: Path, size: int) -> MaskedAutoencoder:
    """An objective for images of this size that was offered the file's decoder."""
    started = weights_settings(str(path), (size, size)).model_dump(mode="json")
    recipe = tiny_recipe(objective__name="mae", preprocess__size=[size, size], model__weights=started,
                         objective__mae={"decoder": {"width": 64, "depth": 3, "heads": 2}})
    torch.manual_seed(1)
    made = MaskedAutoencoder(weights.load(path, size).model, Preprocess(size=size).normalize, recipe.objective.mae)
    take_decoder(made, recipe, going_on=False)
    return made


def test_positions_that_are_no_sines_and_cosines_belong_to_another_decoder(tmp_path: Path) -> None:
    peer = peer_in(tmp_path)
    taken = made_with(tmp_path, 16)
    assert torch.equal(taken.decoder.embed.weight, peer.decoder.decoder_embed.weight)
    held = load_file(tmp_path / "model.safetensors")
    held["decoder.decoder_pos_embed"] += torch.randn(1, 17, 64)
    save_file(held, tmp_path / "model.safetensors")
    left = made_with(tmp_path, 16)
    assert "other positions than sines and cosines, guesses" in left.words()
    assert not torch.equal(left.decoder.embed.weight, peer.decoder.decoder_embed.weight)


def test_at_another_image_size_the_decoder_is_taken_and_its_positions_are_those_of_the_new_grid(
        tmp_path: Path) -> None:
    peer = peer_in(tmp_path)
    made = made_with(tmp_path, 24)
    assert f"and from {tmp_path}" in made.words()
    assert torch.equal(made.decoder.embed.weight, peer.decoder.decoder_embed.weight)
    assert made.decoder.table.shape == (36, 64)


@pytest.mark.parametrize("layout", ["folder", "authors"])
def test_a_part_of_a_decoder_is_no_decoder(layout: str, tmp_path: Path) -> None:
    """The encoder is read all the same."""
    peer_in(tmp_path)
    if layout == "authors":
        path = as_the_authors_have_it(tmp_path, drop="decoder_norm")
    else:
        path = tmp_path
        held = load_file(path / "model.safetensors")
        save_file({name: value for name, value in held.items() if "decoder_norm" not in name},
                  path / "model.safetensors")
    bundle = weights.load(path, heads=4)
    assert isinstance(bundle, Bundle)
    assert any("decoder of pre-training" in note for note in bundle.provenance["notes"])
    found = weights.read(path, weights.Told(heads=4)).decoder()
    assert found is not None
    with pytest.raises(BundleError, match=r"decoder_norm\.weight is missing"):
        found.load()


def test_a_config_that_says_nonsense_of_the_decoder_is_not_believed(tmp_path: Path) -> None:
    peer_in(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"decoder_num_attention_heads": "many"}))
    found = weights.read(tmp_path).decoder()
    assert found is not None
    assert found.heads == 2  # as wide as in all that are published: 32


@pytest.mark.parametrize("said", [3, -2, 64])
def test_a_decoder_that_cannot_be_is_not_chosen(said: int, tmp_path: Path) -> None:
    peer_in(tmp_path / "mae")
    settings = json.loads((tmp_path / "mae" / "config.json").read_text())
    (tmp_path / "mae" / "config.json").write_text(json.dumps(settings | {"decoder_num_attention_heads": said}))
    source = open_source(photos(tmp_path / "photos"), labeled=False)
    chosen = RECIPES["pretrain"](source, weights=str(tmp_path / "mae"), objective="mae").objective.mae.decoder
    assert (chosen.width, chosen.heads) == {3: (32, 1), -2: (64, 2), 64: (64, 64)}[said]


def test_other_files_have_no_decoder(tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "golden" / "vit_token.npz"
    assert weights.read(golden).decoder() is None
    weights.load(golden).save(tmp_path / "bundle")
    assert weights.read(tmp_path / "bundle").decoder() is None
