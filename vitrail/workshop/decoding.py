"""The decoder of a masked autoencoder: from the file of the weights it goes on from, and into the Bundle at the end."""

from __future__ import annotations

import torch

from vitrail import weights as published
from vitrail.bundle import MaskedDecoder, describe_differences
from vitrail.errors import BundleError
from vitrail.objectives import MaskedAutoencoder, Objective
from vitrail.recipe import Recipe
from vitrail.training.average import Average
from vitrail.training.precision import Weights
from vitrail.weights.contract import PretrainedDecoder

CLOSE = 1e-3
"""Positions that differ by less are the same sines and cosines."""


def take_decoder(objective: Objective, recipe: Recipe, *, going_on: bool) -> None:
    """Have the objective's decoder start from that of the recipe's weights, and say where it is from. A run that goes
    on has its own in its checkpoint. Raises BundleError where the file holds a part of a decoder only."""
    given = recipe.model.weights
    if given is None or not isinstance(objective, MaskedAutoencoder):
        return
    found = published.read(given.path, published.Told(recipe.preprocess.size)).decoder()
    if found is None:
        objective.origin = f" and new, since {given.path} holds none"
    elif differing := differences(objective, found):
        objective.origin = f" and new, since the one in {given.path} {differing}"
    else:
        state = found.load()
        table, theirs = objective.decoder.table, state.pop("table", None)
        if theirs is not None and table.shape == theirs.shape and not torch.allclose(table.cpu(), theirs, atol=CLOSE):
            objective.origin = f" and new, since the one in {given.path} has other positions than sines and cosines"
            return
        wanted, held = ({name: tuple(value.shape) for name, value in part.items()}
                        for part in (objective.decoder.state_dict(), state))
        if misfit := describe_differences(wanted, held):
            raise BundleError(f"The decoder in {given.path} does not fit its model: {'; '.join(misfit)}.")
        objective.origin = f" and from {given.path}"
        if not going_on:
            objective.decoder.load_state_dict(state)


def decoder_of(objective: Objective, weights: Weights, average: Average | None) -> MaskedDecoder | None:
    """What was learned beside the model, for its Bundle (collective)."""
    if not isinstance(objective, MaskedAutoencoder):
        return None
    held = weights.export(objective.decoder, None if average is None else average.values)
    return MaskedDecoder(objective.settings.decoder.heads, held)


def differences(objective: MaskedAutoencoder, found: PretrainedDecoder) -> str:
    """How a decoder is of another shape than the one that the recipe asks for."""
    config, outputs = objective.decoder.config, objective.decoder.prediction.out_features
    ours = {"{} wide": config.width, "{} deep": config.depth, "of {} heads": config.heads, "{} wide inside": config.mlp,
            "for {} numbers in a patch": outputs}
    theirs = (found.width, found.depth, found.heads, found.mlp, found.outputs)
    words = [f"{word.format(there)} instead of {here}" for (word, here), there in zip(ours.items(), theirs, strict=True)
             if here != there]
    return f"is {', '.join(words)}" if words else ""
