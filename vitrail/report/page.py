"""`write_report`: everything the page shows, gathered in the order in which it is read, and the page itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vitrail.bundle import Bundle
from vitrail.data.source import Split
from vitrail.evaluation import Evaluation
from vitrail.files import write_text
from vitrail.inspection import NO_ATTENTION, patch_filters, position_similarity
from vitrail.inspection.place import KINDS
from vitrail.models import BiTConfig, Family, HybridConfig, ViTConfig, describe
from vitrail.report import words
from vitrail.report.figures import History, learning_curves
from vitrail.report.gallery import Gallery
from vitrail.report.guesses import guess_sheet
from vitrail.report.pictures import filter_sheet, grid_of_grids
from vitrail.report.results import class_rows, matrix
from vitrail.vocabulary import Legend, Shown

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Run:
    """What only the run knows, in words ready to print.

    `trained_on`: "6,000 images of fashion". `seconds`: how long training took. `facts`: rows of "what was trained on
    what", by label. `history`: rows of `metrics.jsonl`. `measured_on`: the split of the evaluation. `notes`: what a
    reader must know, such as an early stop. `commands`: what to type next. Without labels, `headline` says in the place
    of an evaluation how well it went, and `guesses` show it, with
    their `legend`.
    """

    title: str
    trained_on: str = ""
    seconds: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    history: History = ()
    measured_on: str = "test"
    notes: Sequence[str] = ()
    commands: Sequence[str] = ()
    headline: str = ""
    guesses: Sequence[Shown] = ()
    legend: Legend | None = None


def write_report(path: str | Path, run: Run, bundle: Bundle, *, evaluation: Evaluation | None = None,
                 split: Split | None = None) -> Path:
    """Write one HTML file that needs nothing but itself. `split` is what `evaluation` was measured on; either may be
    missing, and what it would show is then left out. Raises SaveError."""
    if evaluation is not None and split is not None and len(evaluation.answers.labels) != len(split):
        raise ValueError(f"the evaluation is of {len(evaluation.answers.labels)} images, the split has {len(split)}")
    path = Path(path)
    write_text(path, render(run, bundle, evaluation, split))
    return path


def render(run: Run, bundle: Bundle, evaluation: Evaluation | None, split: Split | None) -> str:
    """The page as text."""
    gallery = Gallery(bundle, split, evaluation)
    return environment().get_template("report.html").render(
        run=run, facts=dict(run.facts) | model_facts(bundle),
        headline=run.headline or words.headline(evaluation, run.measured_on), certainty=words.certainty(evaluation),
        trained=trained(run), tiles=tiles(run, evaluation), evaluation=evaluation,
        compared=any(key.startswith("val/") for row in run.history for key in row),
        curves=[Markup(curve) for curve in learning_curves(run.history)],
        guesses=guess_sheet(run.guesses, run.legend.columns) if run.guesses and run.legend else None,
        matrix=matrix(evaluation), classes=class_rows(evaluation),
        window=gallery.window(), confusions=gallery.confusions(), mistakes=gallery.mistakes(),
        attention=gallery.attention(), distance=gallery.distance(), **model_pictures(bundle))


def environment() -> Environment:
    """How templates are filled in."""
    made = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"percent": words.percent}
    return made


def trained(run: Run) -> str:
    """One sentence, or nothing."""
    took = f" in {words.duration(run.seconds)}" if run.seconds is not None else ""
    return f"Trained on {run.trained_on}{took}." if run.trained_on else ""


def model_facts(bundle: Bundle) -> dict[str, str]:
    config = bundle.model.config
    accounting = describe(config)
    kinds: dict[Family, str] = {"vit": "ViT", "hybrid": "Hybrid", "bit": "BiT ResNet", "axial-vit": "Axial-ViT",
                                "axial-resnet": "AxialResNet"}
    facts = {
        "Model": f"{kinds[config.family]} {config.name}, {words.short(accounting.parameters)} parameters, "
                 f"{words.short(accounting.macs)} multiply-adds an image",
        "Input": f"{config.image_size[0]} \u00d7 {config.image_size[1]} pixels"}
    if isinstance(config, BiTConfig):
        return facts | {"Stages": f"{'-'.join(map(str, config.depths))} units, {config.root} to {config.embedding} "
                                  "channels", "Classes": f"{config.classes:,}"}
    facts["Input"] += f", cut into {config.patches} patches of {config.patch[0]} \u00d7 {config.patch[1]}"
    if isinstance(config, HybridConfig):
        facts["ResNet in front"] = f"{'-'.join(map(str, config.stem_depths)) or 'no'} units behind the root"
    return facts | {
        "Encoder": f"{words.counted(config.depth, 'layer')} of width {config.width} with "
                   f"{words.counted(config.heads, 'head')}; {config.positions} positions, {config.pooling} pooling",
        **({"Classes": f"{config.classes:,}"} if config.classes else {})}


def tiles(run: Run, evaluation: Evaluation | None) -> list[tuple[str, str, str]]:
    """The numbers at the top: label, value, what it means."""
    rows = []
    if evaluation is not None and evaluation.multilabel:
        rows.append(("mean average precision", words.percent(evaluation.mean_average_precision), "over the labels"))
    elif evaluation is not None:
        rows.append(("accuracy", words.percent(evaluation.top1), "the first answer is right"))
        if len(evaluation.classes) > 5:
            rows.append(("top 5", words.percent(evaluation.top5), "the right one is among five"))
        if evaluation.ece is not None:
            rows.append(("calibration error", words.percent(evaluation.ece), "gap of confidence and truth"))
    if evaluation is not None:
        rows.append(("images", f"{evaluation.images:,}", f"in the {run.measured_on} set"))
    if run.seconds is not None:
        rows.append(("training", words.duration(run.seconds), "from start to end"))
    return rows


def model_pictures(bundle: Bundle) -> dict[str, Any]:
    """What can be drawn from the weights alone."""
    filters, similarity = patch_filters(bundle.model), position_similarity(bundle.model)
    shown = filter_sheet(filters.pictures) if len(filters.pictures) else None
    tiles = grid_of_grids(similarity.tiles) if similarity.tiles is not None else None
    config = bundle.model.config
    return {"filters": shown, "filter_count": len(filters.pictures), "filter_share": float(filters.shares.sum()),
            "first_layer": "patch embedding" if config.family in ("vit", "axial-vit") else "first convolution",
            "similarity": tiles, "no_similarity": similarity.reason, "grid": config.grid,
            "similarity_kind": similarity.kind, "similarity_words": KINDS[similarity.kind],
            "no_attention": NO_ATTENTION.get(config.family, ""),
            "learned": isinstance(config, ViTConfig) and config.positions not in ("sincos-2d", "rotary-2d")}
