"""Which patches speak for the answer, by several explanations, and which of these to trust."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.inspection.drawing import QUIET, pixels, tidy
from vitrail.inspection.explained import Explained, explained
from vitrail.inspection.explanations import SIGNED, Explanations, explanations
from vitrail.inspection.lens import Drawing, Lens, Look, Subject, rounded
from vitrail.inspection.lenses.answers import affordable, answers, apart, fewer, in_light
from vitrail.inspection.lenses.attention import enlarged
from vitrail.inspection.occlusion import COVERS
from vitrail.inspection.trial import DRAWS, MIDDLE, RANDOM, STEPS, SURE, Trial, trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_TRIED = 16
PASSES = 2 * (6 + DRAWS) * STEPS + COVERS + 40
"""Through the model, for one image, about; a gradient takes as long as three."""

CAPTION = ("Light falls on the patches that speak for the answer beside the image; dark ones do nothing, or speak "
           "against it. Each picture has a scale of its own; where little stands out, it stays dim. Relevance is "
           "attention through all layers, weighted by its gradient (Chefer et al.); integrated gradients add up what "
           "each pixel does on the way from an empty image; occlusion covers one pane after the other; rollout and the "
           "last layer's attention know nothing of the answer. Explanations differ, and a convincing picture proves "
           "nothing, so the curves try them: patches are taken away (left) or put back (right) in the order of each "
           "explanation, the most important first. What is taken away leaves the mean color, and what is put back goes "
           "into the image's own blur, so the left curves do not end where the right ones begin. A good explanation "
           "falls early on the left and rises early on the right. Its worth is the area under the right curve minus "
           "that under the left one. It has to beat a random order, and to be more than a guess, the order from the "
           "middle outward. Occlusion has a head start: it was made by covering, too.")


def look(subject: Subject) -> Look:
    raw = subject.raw[: affordable(subject, PASSES, MOST_TRIED)]
    asked = explained(subject.bundle, raw, subject.target, subject.batch_size)
    found = explanations(asked, subject.batch_size)
    tried = trial(asked, found.panes, found.maps, subject.batch_size)
    shown = min(subject.shown, len(raw))
    return Look(
        numbers=numbers(subject, asked, found, tried, shown),
        drawings=(pictures(subject, asked, found, tried, shown), curves(asked, tried)),
        caption=CAPTION + left_out(found) + fewer(subject, len(raw), MOST_TRIED), found=words(asked, tried),
        measures={f"{order} is worth": float(worth) for order, worth in
                  zip(tried.orders, tried.worth.mean(1), strict=True)})


def numbers(subject: Subject, asked: Explained, found: Explanations, tried: Trial, shown: int) -> dict[str, Any]:
    deletion, insertion = tried.areas
    return {
        "images": list(subject.names[:shown]), "explained": asked.names[:shown], "unit": asked.unit,
        "maps": {name: [[[float(f"{value:.4g}") for value in row] for row in one] for one in map[:shown].tolist()]
                 for name, map in found.maps.items()},
        "left_out": found.left_out,
        "integrated_gradients": {"start": found.gradients.start, "steps": found.gradients.steps,
                                 "made": rounded(found.gradients.made, 5),
                                 "summed": rounded(found.gradients.summed, 5),
                                 "missing_share": round(found.gradients.missing, 5)},
        "trial": {"images": deletion.shape[1], "panes": found.panes.count,
                  "fractions": rounded(tried.fractions, 4),
                  "deletion": by_order(tried.deletion.mean(1), tried.orders),
                  "insertion": by_order(tried.insertion.mean(1), tried.orders),
                  "deletion_area": by_order(deletion.mean(1), tried.orders),
                  "insertion_area": by_order(insertion.mean(1), tried.orders),
                  "better_than_random": {name: round(gain, 5) for name, gain in tried.gain.items()},
                  "standard_error": round(tried.error, 5), "trusted": tried.trusted}}


def by_order(values: np.ndarray, orders: Sequence[str]) -> dict[str, Any]:
    return dict(zip(orders, rounded(values, 5), strict=True))


def words(asked: Explained, tried: Trial) -> str:
    """Which explanation did best, and by how much. What few images do not show may still be so."""
    count = tried.deletion.shape[1]
    over = "On this image" if count == 1 else f"Over {count} images"
    worth = dict(zip(tried.orders, tried.worth.mean(1), strict=True))
    if not tried.trusted:
        most, chance = apart(max(worth[name] for name in tried.gain if name != MIDDLE), worth[RANDOM],
                             error=tried.error)
        areas = (f"Even the best is worth no more than a random order ({most})." if most == chance else
                 f"The best is worth {most}, a random order {chance}; {SURE:g} standard errors of "
                 f"{tried.error:.2g} would have to lie between them.")
        return f"{over}, no explanation is shown to be better than a random order: trust none of them here. {areas}"
    best = tried.trusted[0]
    area, chance, middle = apart(worth[best], worth[RANDOM], worth[MIDDLE], error=tried.error)
    sums = f"it is worth {area}, a random order {chance} (standard error {tried.error:.1g})"
    guess = worth[MIDDLE] > worth[best] - SURE * tried.error
    said = (f"{over}, {best} does best: {sums}. But an order from the middle outward is not clearly worse ({middle}), "
            "so it is not shown to be more than a guess." if guess else f"{over}, trust {best} most: {sums}.")
    alike = [name for name in tried.trusted[1:] if worth[best] - worth[name] < tried.error]
    if alike:
        said += f" These images do not tell it apart from {', '.join(alike)}."
    others = [name for name in tried.gain if name != MIDDLE and name not in tried.trusted]
    return said + (f" Not shown to be better than random: {', '.join(others)}." if others else "")


def left_out(found: Explanations) -> str:
    if not found.left_out:
        return ""
    return f" Not here: {', '.join(found.left_out)}. {next(iter(found.left_out.values()))}"


# Pictures.


def pictures(subject: Subject, asked: Explained, found: Explanations, tried: Trial, shown: int) -> Drawing:
    rows = []
    for number, image in enumerate(map(enlarged, pixels(subject.raw[:shown]))):
        rows.append([(image, ""), *((in_light(image, maps[number], name in SIGNED), "")
                                    for name, maps in found.maps.items())])
    return answers("attribution", rows, ["image", *found.maps], subject.names, asked, tried.deletion[0, :, 0],
                         "images, each beside its explanations")


# Curves.

LOOKS = (("#0072b2", "-", "o"), ("#d55e00", "--", "s"), ("#009e73", "-.", "^"),
         ("#cc79a7", (0, (5, 1, 1, 1, 1, 1)), "D"), ("#b8860b", (0, (3, 1.5)), "v"))
"""Color, dashes and marker: each alone is enough to tell the lines apart (colors of Okabe and Ito)."""


def curves(asked: Explained, tried: Trial) -> Drawing:
    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, lines, title in ((left, tried.deletion, "taken away"), (right, tried.insertion, "put back")):
            for number, (order, line) in enumerate(zip(tried.orders, lines.mean(1), strict=True)):
                axes.plot(100 * tried.fractions, line, label=order, **looks(order, number))
            tidy(axes, f"% of the patches {title}", "")
        if asked.unit != "logit":
            left.set_ylim(min(left.get_ylim()[0], 0))  # a model that has learned nothing shall not look as if it had
        left.set_ylabel(asked.unit)
        figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)

    return Drawing("attribution-trial", draw, 8.8, 3.2,
                   "how the answer falls and returns as patches are taken away and put back, by explanation")


def looks(order: str, number: int) -> dict[str, Any]:
    if order in (MIDDLE, RANDOM):
        dotted = order == MIDDLE
        return {"color": QUIET, "linestyle": ":" if dotted else "-", "linewidth": 1.5 if dotted else 2.5, "zorder": 1}
    color, dashes, marker = LOOKS[number % len(LOOKS)]
    return {"color": color, "linestyle": dashes, "marker": marker, "markersize": 4, "linewidth": 1.3}


def passes(subject: Subject) -> int:
    return affordable(subject, PASSES, MOST_TRIED) * PASSES


LENS = Lens("attribution", "What speaks for the answer, and which picture of it can be trusted?", look, passes)
