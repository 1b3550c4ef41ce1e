"""Logistic regression on frozen features: L-BFGS to convergence, the penalty chosen on a dev split."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from vitrail.evaluation.frozen.dev_split import held_out
from vitrail.evaluation.frozen.readout import Readout, whitening

PENALTIES = tuple(10.0**power for power in range(1, -7, -1))
"""Per image, strongest first: each solution is where the next one starts."""

USUAL = 1e-2
"""Where every class has a single image, and nothing can be held out to choose by."""

STEPS = 200


def logistic(features: Float[np.ndarray, "images width"], labels: Int[np.ndarray, " images"], classes: int,
             seed: int = 0) -> tuple[Readout, float]:
    """The readout of all images, and the penalty that was best on a fifth of them. Of equal ones the strongest."""
    penalty = choose_penalty(features, labels, classes, seed)
    return fit(features, labels, classes, (penalty,))[0], penalty


def choose_penalty(features: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> float:
    held = held_out(labels, seed)
    if not held.any():
        return USUAL
    readouts = fit(features[~held], labels[~held], classes, PENALTIES)
    right = [int((readout.predict(features[held]) == labels[held]).sum()) for readout in readouts]
    return PENALTIES[int(np.argmax(right))]


def fit(features: Float[np.ndarray, "images width"], labels: Int[np.ndarray, " images"], classes: int,
        penalties: tuple[float, ...]) -> list[Readout]:
    """A readout for each penalty: the least of mean cross-entropy + penalty / 2 * |weights|^2, in float64. The bias
    is free. scikit-learn's C is 1 / (penalty * images)."""
    whiten = whitening(features)
    inputs, targets = torch.from_numpy(whiten(features)).double(), torch.from_numpy(np.asarray(labels))
    weights = torch.zeros(inputs.shape[1], classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    readouts = []
    for penalty in penalties:
        minimize(inputs, targets, weights, bias, penalty)
        readouts.append(Readout(whiten, weights.detach().float().numpy().copy(), bias.detach().float().numpy().copy()))
    return readouts


def minimize(inputs: Tensor, targets: Tensor, weights: Tensor, bias: Tensor, penalty: float) -> None:
    """Move weights and bias, in place, to the least loss."""
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=STEPS, history_size=20, tolerance_grad=1e-7,
                                  tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(inputs @ weights + bias, targets) + penalty / 2 * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
