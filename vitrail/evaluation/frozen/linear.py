"""The linear probe: SGD on frozen features, all learning rates side by side in one pass, the best by a dev split.

The layers share nothing but the images, so that each is what it would be alone; one product serves them all.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.nn import functional

from vitrail.evaluation.frozen.dev_split import held_out
from vitrail.evaluation.frozen.readout import Readout, whitening

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
USUAL = 1e-2
"""Where every class has a single image, and nothing can be held out to choose by."""

STEPS, BATCH, MOMENTUM = 2_000, 128, 0.9


def linear(features: Float[np.ndarray, "images width"], labels: Int[np.ndarray, " images"], classes: int,
           seed: int = 0) -> tuple[Readout, float]:
    """The readout of all images, and the learning rate that was best on a fifth of them."""
    rate = choose_rate(features, labels, classes, seed)
    return descend(features, labels, classes, (rate,), seed)[0], rate


def choose_rate(features: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> float:
    held = held_out(labels, seed)
    if not held.any():
        return USUAL
    readouts = descend(features[~held], labels[~held], classes, RATES, seed)
    right = [int((readout.predict(features[held]) == labels[held]).sum()) for readout in readouts]
    return RATES[int(np.argmax(right))]


@torch.no_grad()
def descend(features: Float[np.ndarray, "images width"], labels: Int[np.ndarray, " images"], classes: int,
            rates: tuple[float, ...], seed: int, steps: int | None = None) -> list[Readout]:
    """A readout for each learning rate, after `steps` (2,000 without) of SGD with momentum from zeros, the rate falling
    to 0 as a cosine; the loss is the cross-entropy. Every rate sees the same images in the same order."""
    steps = STEPS if steps is None else steps
    whiten = whitening(features)
    inputs, targets = torch.from_numpy(whiten(features)), torch.from_numpy(np.asarray(labels))
    inputs = functional.pad(inputs, (0, 1), value=1.0)  # the bias is one more weight
    peaks = torch.tensor(rates).repeat_interleave(classes)
    weights = torch.zeros(inputs.shape[1], len(rates) * classes)
    velocity = torch.zeros_like(weights)
    generator = np.random.default_rng(seed)
    order = np.empty(0, np.int64)
    for step in range(steps):
        while len(order) < BATCH:
            order = np.concatenate([order, generator.permutation(len(inputs))])
        rows, order = torch.from_numpy(order[:BATCH]), order[BATCH:]
        velocity.mul_(MOMENTUM).add_(gradient(inputs[rows], targets[rows], weights, classes))
        weights.sub_(peaks * (0.5 + 0.5 * math.cos(math.pi * step / steps)) * velocity)
    each = weights.unflatten(1, (len(rates), classes)).unbind(1)
    return [Readout(whiten, one[:-1].numpy().copy(), one[-1].numpy().copy()) for one in each]


def gradient(inputs: Float[torch.Tensor, "batch width"], targets: Int[torch.Tensor, " batch"],
             weights: Float[torch.Tensor, "width layers_classes"],
             classes: int) -> Float[torch.Tensor, "width layers_classes"]:
    """Of the mean cross-entropy of each layer: inputs' (softmax - one-hot) / batch."""
    scores = (inputs @ weights).unflatten(1, (-1, classes))
    errors = scores.softmax(-1) - functional.one_hot(targets, classes)[:, None]
    return inputs.T @ errors.flatten(1) / len(inputs)
