"""What the answer needs: panes covered one at a time."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from vitrail.inspection.drawing import pixels
from vitrail.inspection.explained import Explained, explained
from vitrail.inspection.lens import Lens, Look, Subject, rounded
from vitrail.inspection.lenses.answers import affordable, answers, apart, fewer, in_light
from vitrail.inspection.lenses.attention import enlarged
from vitrail.inspection.occlusion import COVERS, Fill, Occlusion, occlusion
from vitrail.inspection.panes import panes_of

FILLS: dict[str, Fill] = {"under its own blur": "blur", "under the mean color": "mean"}

CAPTION = ("One pane of the image after the other is covered ({rows} by {columns} panes), and the model answers again. "
           "Light falls where the {unit} falls most; in the dark a cover changes nothing, or even helps. The two "
           "pictures of an image share one scale, up to the larger of the numbers beneath them: how far the {unit} "
           "falls under the worst cover. A cover is itself something to see, a grey square on a black ground above "
           "all: trust what both fillings show. Where the model is sure, one pane alone may change little, because the "
           "others tell it the same.")


def look(subject: Subject) -> Look:
    raw = subject.few[: affordable(subject, len(FILLS) * COVERS, subject.shown)]
    asked = explained(subject.bundle, raw, subject.target, subject.batch_size)
    found = {title: occlusion(asked, fill, subject.batch_size) for title, fill in FILLS.items()}
    by_blur, by_mean = found.values()
    rows, columns = by_mean.panes.grid
    shown = [enlarged(image) for image in pixels(raw)]
    tops = np.maximum(by_blur.falls.max((1, 2)), by_mean.falls.max((1, 2)))
    pictures = [[(image, ""), *((in_light(image, one.falls[number], True, float(tops[number])),
                                 worst(one.falls[number])) for one in found.values())]
                for number, image in enumerate(shown)]
    return Look(
        numbers={"images": list(subject.names[: len(shown)]), "explained": asked.names, "unit": asked.unit,
                 "whole": rounded(by_mean.whole, 5),
                 "falls": {fill: rounded(one.falls, 5) for fill, one in zip(FILLS.values(), found.values(),
                                                                                strict=True)},
                 "agreement": agreement(by_mean, by_blur)},
        drawings=(answers("occlusion", pictures, ["image", *FILLS], subject.names, asked, by_mean.whole,
                          "images, each beside what the answer needs"),),
        caption=CAPTION.format(rows=rows, columns=columns, unit=asked.unit) + fewer(subject, len(raw), subject.shown),
        found=words(asked, found, agreement(by_mean, by_blur)),
        measures={f"{asked.unit} of the whole image": float(by_mean.whole.mean()),
                  **{f"{asked.unit} behind the worst cover, {title}": float(behind(one).mean())
                     for title, one in found.items()},
                  "the two fillings agree by": agreement(by_mean, by_blur)})


def behind(found: Occlusion) -> Float[np.ndarray, " images"]:
    """What is left of each image's score under its worst cover."""
    left: np.ndarray = found.whole - found.falls.max((1, 2))
    return left


def worst(falls: Float[np.ndarray, "rows columns"]) -> str:
    return f"falls by {falls.max():.2g}" if falls.max() > 0 else "never falls"


def agreement(one: Occlusion, other: Occlusion) -> float:
    """Correlation of the two, over all panes of all images; 0 where one does not vary."""
    first, second = (found.falls - found.falls.mean((1, 2), keepdims=True) for found in (one, other))
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return round(float((first * second).sum()) / scale, 4) if scale > 0 else 0.0


def words(asked: Explained, found: dict[str, Occlusion], agreed: float) -> str:
    title, strongest = max(found.items(), key=lambda one: float(one[1].falls.max((1, 2)).mean()))
    left = behind(strongest)
    over = "of the image" if len(left) == 1 else f"of {len(left)} images in the mean"
    whole, covered = apart(float(strongest.whole.mean()), float(left.mean()))
    return (f"The worst single cover, {title}, takes the {asked.unit} from {whole} to {covered} ({over}). "
            f"The two fillings agree to {agreed:.2f}, 1 would be fully.")


def passes(subject: Subject) -> int:
    covers = panes_of(subject.bundle.model, subject.raw).coarser(COVERS).count
    return affordable(subject, len(FILLS) * COVERS, subject.shown) * len(FILLS) * (covers + 1)


LENS = Lens("occlusion", "Which part does the answer need?", look, passes)
