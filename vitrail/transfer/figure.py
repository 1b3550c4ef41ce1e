"""Accuracy against shots, for a paper or a page: a line for each source, told apart by marker and dash as by color."""

from __future__ import annotations

import io

from vitrail.evaluation.writers import printable
from vitrail.transfer.scores import Probed, Score

STYLES = [("#1f4e9c", "o", "-"), ("#a3203a", "s", "--"), ("#1b7f4d", "^", "-."), ("#8a5a00", "D", ":"),
          ("#5b3a8c", "v", (0, (5, 1))), ("#006d77", "P", (0, (1, 1)))]
"""Color, marker and dash."""


def figure(probed: Probed, kind: str) -> bytes | None:
    """An "svg" or "png"; None where no few-shot accuracy was measured. What was learned from all images, or as many
    as there may be, stands as a thin line with its name where there is one source."""
    curves = {source.source: [score for score in probed.scores if score.source == source.source and score.shots]
              for source in probed.sources}
    if not any(curves.values()):
        return None
    from matplotlib import rc_context  # half a second to import
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "probe", "font.size": 10}):
        drawn = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = drawn.subplots()
        for number, (name, scores) in enumerate(curves.items()):
            color, marker, dash = STYLES[number % len(STYLES)]
            means = [100 * score.mean for score in scores]
            below = [100 * (score.mean - score.interval[0]) for score in scores]
            above = [100 * (score.interval[1] - score.mean) for score in scores]
            axes.errorbar([shots_of(score) for score in scores], means, (below, above), color=color, marker=marker,
                          linestyle=dash, capsize=3, markersize=5, label=plain(name))
        others = [score for score in probed.scores if score.shots is None] if len(curves) == 1 else []
        for number, score in enumerate(sorted(others, key=lambda one: one.mean)):
            place, side = [(0.01, "left"), (0.5, "center"), (0.99, "right")][number % 3]  # lines may lie close together
            axes.axhline(100 * score.mean, color="0.45", linewidth=0.9)
            axes.annotate(said(score),
                          (place, 100 * score.mean), xycoords=("axes fraction", "data"), fontsize=8, color="0.3",
                          va="bottom", ha=side)
        ticks = sorted({shots_of(score) for scores in curves.values() for score in scores})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("images of each class")
        axes.set_ylabel("test accuracy, %")
        axes.set_title(plain(f"{probed.model}: least squares on frozen features, 95 % intervals"), fontsize=10)
        axes.grid(axis="y", linewidth=0.5, color="0.85")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right")
        buffer = io.BytesIO()
        drawn.savefig(buffer, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def said(score: Score) -> str:
    """The method, its setting, and how many images it learned from, where the setting does not say so."""
    number = f"{score.images:,} images"
    return ", ".join(dict.fromkeys((f"{score.method} {score.setting}".strip(), *(
        [] if score.setting == number else [number]))))


def shots_of(score: Score) -> int:
    assert score.shots is not None
    return score.shots


def plain(name: str) -> str:
    """A dollar sign would begin a formula."""
    return printable(name).replace("$", r"\$")
