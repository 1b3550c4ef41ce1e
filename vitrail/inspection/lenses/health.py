"""Signs of trouble inside a transformer; how alike layers are, of any model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.errors import NothingToSeeError
from vitrail.inspection.drawing import color_map, in_numbers, picture, tidy, whole_numbers
from vitrail.inspection.health import DEAD, HIGH, Health, health
from vitrail.inspection.lens import Drawing, Lens, Look, Subject, rounded
from vitrail.inspection.similarity import layer_similarity
from vitrail.models import ViT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_IMAGES = 4
"""Of a ResNet, for layers to be compared."""

CAPTION = ("Entropy: 0, every token attends to a single one; 1, to all alike. What a head adds: 1 is as much as the "
           f"average head of its layer, below {DEAD:g} it is called dead. Length of patches: the middle one, the "
           "longest of a hundred, the longest of all; patches more than "
           f"{HIGH:g} times as long as the middle carry notes for the whole image instead of their own content, and "
           "registers would take that from them (2309.16588). ")
ALIKE = ("Layers compared: centered kernel alignment of the features (its unbiased estimate), 1 where two layers say "
         "the same, 0 where they have nothing in common. A large bright block means that its layers hardly change "
         "anything.")


def look(subject: Subject) -> Look:
    is_transformer = isinstance(subject.bundle.model, ViT)
    if not is_transformer and len(subject.raw) < LEAST_IMAGES:
        raise NothingToSeeError(f"Layers of a ResNet are compared over images: {LEAST_IMAGES} are needed at least, "
                                f"{len(subject.raw)} given.")
    names, alike = layer_similarity(subject.bundle, subject.raw, subject.batch_size)
    numbers: dict[str, Any] = {"layers_compared": names, "alignment": none_for_nan(alike)}
    drawings, found = [matrix(names, alike)] if len(names) > 1 else [], []
    measures: dict[str, float] = {}
    if len(names) > 1:
        measures = {"first and last layer are alike by (CKA)": float(alike[0, -1])}
        found = [f"Of the layers, {names[0]} and {names[-1]} are alike by {alike[0, -1]:.2f} (1: the same)."]
    if is_transformer:
        state = health(subject.bundle, subject.raw, subject.batch_size)
        numbers |= counted(state)
        drawings = [heads("health-entropy", "attention entropy", state.entropy, state.layers, 1.0),
                    heads("health-heads", "what a head adds", state.added, state.layers, None),
                    lengths(state), *drawings]
        found = words(state) + found
        measures = compared(state) | measures
    return Look(numbers, tuple(drawings), (CAPTION if is_transformer else "") + ALIKE, " ".join(found), measures)


def compared(state: Health) -> dict[str, float]:
    return {"dead heads": len(state.dead), "attention entropy, mean of all heads": float(state.entropy.mean()),
            "patches out of proportion in the worst block, %": 100 * float(state.high.max())}


def counted(state: Health) -> dict[str, Any]:
    return {"layers": list(state.layers), "entropy": rounded(state.entropy, 4),
            "added": rounded(state.added, 4), "dead_heads": [[layer + 1, head + 1] for layer, head in state.dead],
            "patch_length_median": rounded(state.medians, 4),
            "patch_length_largest": rounded(state.lengths.max((1, 2)), 4),
            "patch_length_one_in_a_hundred": rounded(np.percentile(state.lengths, 99, axis=(1, 2)), 4),
            "patches_out_of_proportion": rounded(state.high, 6)}


def words(state: Health) -> list[str]:
    worst = int(state.high.argmax())
    heads_there = state.added.size
    dead = (f"{len(state.dead)} of {heads_there} heads add next to nothing." if state.dead
            else f"All {heads_there} heads add something.")
    if state.high[worst] == 0:
        return [dead, "No patch is out of proportion."]
    return [dead, f"After block {worst + 1}, {100 * state.high[worst]:.2g} % of the patches are more than {HIGH:g} "
            "times as long as the middle one: this model would profit from registers."]


def heads(name: str, title: str, values: np.ndarray, layers: tuple[str, ...], largest: float | None) -> Drawing:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        shown = picture(axes, values.T, cmap=color_map(), vmin=0, vmax=largest or max(float(values.max()), 1e-9),
                        interpolation="nearest", aspect="auto")
        label_axes(axes, layers, values.shape[1])
        figure.colorbar(shown, ax=axes, label=title)

    return Drawing(name, draw, max(3.6, 0.22 * len(layers) + 1.8), max(2.2, 0.16 * values.shape[1] + 1.2),
                   f"{title}, by layer and head")


def label_axes(axes: Any, layers: tuple[str, ...], heads_there: int) -> None:
    step = max(len(layers) // 12, 1)
    axes.set_xticks(range(0, len(layers), step), layers[::step], fontsize=7,
                    rotation=90 if any("," in name for name in layers) else 0)
    step = max(heads_there // 6, 1)
    axes.set_yticks(range(0, heads_there, step), [str(head + 1) for head in range(0, heads_there, step)], fontsize=7)
    axes.set_xlabel("layer")
    axes.set_ylabel("head")


def lengths(state: Health) -> Drawing:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        depth = np.arange(1, len(state.lengths) + 1)
        flat = state.lengths.reshape(len(depth), -1)
        axes.plot(depth, flat.max(1), color="#c9821b", marker="^", markersize=4, linestyle=":", label="longest")
        axes.plot(depth, np.percentile(flat, 99, axis=1), color="#b5274a", marker="s", markersize=3.5, linestyle="--",
                  label="one in a hundred")
        axes.plot(depth, np.median(flat, axis=1), color="#2553a3", marker="o", markersize=4, label="middle")
        axes.set_yscale("log")
        in_numbers(axes)
        whole_numbers(axes)
        if len(depth) == 1:
            axes.set_xlim(0.5, 1.5)
        axes.legend(frameon=False)
        tidy(axes, "after block", "length of the patches")

    return Drawing("health-lengths", draw, 4.4, 3.0, "length of the patches' vectors after each block")


def matrix(names: list[str], alike: np.ndarray) -> Drawing:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        shown = picture(axes, np.nan_to_num(alike), cmap=color_map(), vmin=0, vmax=1, interpolation="nearest")
        step = max(len(names) // 12, 1)
        ticks = range(0, len(names), step)
        short = [names[tick].split()[-1] for tick in ticks]
        axes.set_xticks(ticks, short, fontsize=7, rotation=90 if "." in short[0] else 0)
        axes.set_yticks(ticks, short, fontsize=7)
        axes.set_xlabel(names[0].split()[0])
        axes.set_ylabel(names[0].split()[0])
        figure.colorbar(shown, ax=axes, label="alike (CKA)", shrink=0.8)

    return Drawing("health-layers", draw, 4.4, 3.6, "how alike any two layers are")


def none_for_nan(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in values]


LENS = Lens("health", "Is anything wrong inside?", look)
