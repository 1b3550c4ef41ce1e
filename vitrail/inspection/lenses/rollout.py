"""Attention through all layers, over the images, as the paper's Figure 6."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from vitrail.inspection.drawing import lit, pixels, spread
from vitrail.inspection.lens import Lens, Look, Subject, rounded
from vitrail.inspection.lenses.attention import enlarged, rows_drawing
from vitrail.inspection.rollout import rollout

PER_ROW = 3
CAPTION = ("Which patches the answer comes from, when attention is followed through all layers: heads averaged, the "
           "shortcuts counted as attention to oneself, layers multiplied (attention rollout; Figure 6 of the ViT "
           "paper). Light falls on the image from its least to its most important patch. Rollout follows attention "
           "alone, not what is done with it: the lens attribution tells which class a patch speaks for.")


def look(subject: Subject) -> Look:
    maps = rollout(subject.bundle, subject.few, subject.batch_size)
    pairs = [(enlarged(image), lit(enlarged(image), spread(one)))
             for image, one in zip(pixels(subject.few), maps, strict=True)]
    columns = min(PER_ROW, len(pairs))
    shown: list[np.ndarray | None] = [picture for pair in pairs for picture in pair]
    shown += [None] * (-len(shown) % (2 * columns))
    rows = [shown[start : start + 2 * columns] for start in range(0, len(shown), 2 * columns)]
    return Look(
        numbers={"images": list(subject.names[: len(maps)]), "rollout": rounded(maps, 6)},
        drawings=(rows_drawing("rollout", rows, ["image", "rollout"] * columns, (), "images beside their rollouts"),),
        caption=CAPTION,
        found=words(maps))


def words(maps: Float[np.ndarray, "images rows columns"]) -> str:
    patches = maps[0].size
    count = tenth(patches)
    return (f"The {count} of {patches} patches that count most {'has' if count == 1 else 'have'} "
            f"{100 * top_tenth(maps):.0f} % of the rollout; {100 * count / patches:.0f} % would be even.")


def tenth(patches: int) -> int:
    return max(round(0.1 * patches), 1)


def top_tenth(maps: Float[np.ndarray, "images rows columns"]) -> float:
    ordered = np.sort(maps.reshape(len(maps), -1), axis=1)[:, ::-1]
    count = tenth(ordered.shape[1])
    return float((ordered[:, :count].sum(1) / ordered.sum(1).clip(min=1e-12)).mean())


LENS = Lens("rollout", "Which patches does the answer come from?", look)
