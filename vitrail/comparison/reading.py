"""A run folder, or a Bundle, as the facts by which it is compared. No weights are read."""

from __future__ import annotations

import csv
import hashlib
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from vitrail.bundle import BundleConfig, find_bundle, header_config
from vitrail.errors import BundleError, UsageError
from vitrail.evaluation.interval import bootstrap_interval
from vitrail.recipe import Recipe, read_recipe, validated_recipe
from vitrail.run import MANIFEST_CSV, RECIPE
from vitrail.training.checkpoint import State, read_state, step_folders
from vitrail.training.journal import JOURNAL, read_journal

KINDS = ("top1", "mean_average_precision")
PROBE = "probe/"
Row = dict[str, Any]


class Score(BaseModel):
    """`value` of `kind` ("top1", or "mean_average_precision" with several labels an image) on `images` images, after
    `step` steps. `interval`: 95 %, of top1 where the number of images is known."""

    model_config = ConfigDict(frozen=True)

    kind: str
    value: float
    interval: tuple[float, float] | None = None
    images: int | None = None
    loss: float | None = None
    step: int


class RunFacts(BaseModel):
    """One run or Bundle. `settings`: its recipe by dotted keys. `circumstances`: in what it ran; None: not recorded.

    `losses`: by split, the last ones of a run that has no score there, since it learns without labels. `probes`: the
    last accuracies of its frozen features, by "few_shot_10" and the like, where it measured them on the way.
    `images_per_second`: of the steps alone where there is a journal. `measured_on`: by split, a digest of the names of
    its images. `best_epoch`: where the validation score was highest.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    finished: bool
    state: str
    settings: dict[str, Any]
    circumstances: dict[str, Any]
    scores: dict[str, Score]
    losses: dict[str, float] = {}
    probes: dict[str, float] = {}
    train_loss: float | None = None
    step: int
    samples: int
    epochs: float | None = None
    seconds: float | None = None
    images_per_second: float | None = None
    best_epoch: float | None = None
    measured_on: dict[str, str] = {}


class Held(NamedTuple):
    """The images of one split, from the run's manifest.csv."""

    images: int
    digest: str


def is_run(path: Path) -> bool:
    return (path / RECIPE).exists()


def read_facts(path: Path) -> RunFacts:
    """Raises BundleError where it is neither a run nor a Bundle, or damaged."""
    return run_facts(path) if is_run(path) else bundle_facts(path)


def run_facts(folder: Path) -> RunFacts:
    """From the journal, so that it works for a run that still goes on or was killed."""
    try:
        recipe = read_recipe(folder / RECIPE)
    except UsageError as error:
        raise BundleError(f"{folder} cannot be compared: {error}") from None
    rows, splits = journal_rows(folder), read_manifest(folder / MANIFEST_CSV)
    config = header_config(find_bundle(folder / "bundle")) if (folder / "bundle").exists() else None
    history = config.provenance if config else {}
    state = newest_state(folder)
    step = max([row["step"] for row in rows] + [int(history.get("step", 0)), state.step if state else 0])
    scores = {split: score for split in ("test", "val") if (score := last_score(rows, split, splits.get(split)))}
    if recipe.evaluation.keep == "best" and (best := best_row(rows)):
        scores["val"] = score_of(best, "val", splits.get("val"))
    seconds = spent(rows, step, [(state.step, state.seconds)] if state else [], history)
    images = splits["train"].images if "train" in splits else None
    begun = next((row for row in reversed(rows) if "backend" in row), {})
    done, words = how_far(recipe, step, seconds, images, config is not None, settled(history, step, splits))
    return RunFacts(
        path=str(folder), finished=done, state=words, settings=dotted(recipe), scores=scores,
        circumstances=circumstances(history | begun, begun.get("data") or (state.data if state else None)),
        losses={split: loss for split in ("test", "val") if split not in scores
                and (loss := newest(rows, f"{split}/loss")) is not None},
        probes=last_probes(rows),
        train_loss=newest(rows, "train/loss"),
        step=step, samples=step * recipe.training.batch_size, seconds=seconds,
        epochs=step * recipe.training.batch_size / images if images else None,
        images_per_second=step_rate(rows, recipe.training.batch_size),
        best_epoch=best["samples"] / images if images and (best := best_row(rows)) else None,
        measured_on={split: held.digest for split, held in splits.items() if split != "train"})


def bundle_facts(path: Path) -> RunFacts:
    """What a Bundle's provenance says; a Bundle of published weights says little."""
    config: BundleConfig = header_config(find_bundle(path))
    history = config.provenance
    recipe = validated_recipe(history["recipe"]) if "recipe" in history else None
    found, step, seconds = history.get("evaluation") or {}, int(history.get("step", 0)), history.get("seconds")
    kind = next((kind for kind in KINDS if found.get(kind) is not None), None)
    scores = {} if kind is None else {found["split"]: Score(kind=kind, value=found[kind], interval=found["interval"],
                                                            images=found["images"], step=step)}
    samples = int(history.get("samples", 0))
    return RunFacts(
        path=str(path), finished=True, state="a Bundle", scores=scores, step=step, samples=samples, seconds=seconds,
        settings=dotted(recipe) if recipe else {"model.name": config.model.name,
                                                "preprocess.size": list(config.preprocess.size)},
        circumstances=circumstances(history, None),
        losses={told["split"]: told["loss"]} if (told := history.get("loss")) else {},
        probes=(history.get("probe") or {}).get("scores", {}),
        images_per_second=samples / seconds if seconds else None)


def dotted(recipe: Recipe) -> dict[str, Any]:
    """Every setting by its dotted key, but for those of other objectives; weights and a teacher by their checksum,
    wherever they lie."""
    strange = {name for name in type(recipe.objective).model_fields if not recipe.objective.owns(name)}
    flat = flattened(recipe.model_dump(mode="json", exclude={"reasons": True, "objective": strange}))
    return flat | {"model.weights": flat["model.weights"] or "from scratch"}


def flattened(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, dict) and "sha256" in inner:
            flat[prefix + name] = f"{Path(inner['path']).name} ({inner['sha256'][:12]})"
        elif isinstance(inner, dict):
            flat |= flattened(inner, f"{prefix}{name}.")
        else:
            flat[prefix + name] = inner
    return flat


def circumstances(recorded: Row, data: str | None) -> dict[str, Any]:
    """In what a run ran; None where that was not recorded."""
    backend, source = recorded.get("backend") or {}, recorded.get("source") or {}
    told = {name: recorded.get(name) for name in ("vitrail", "torch", "threads", "processes", "machine")}
    return {"data fingerprint": (source.get("fingerprint") or data or "")[:12] or None, **told,
            "precision": backend.get("precision"), "attention": backend.get("attention")}


def journal_rows(folder: Path) -> list[Row]:
    """None where training has not begun. Raises BundleError."""
    path = folder / JOURNAL
    try:
        return [row for row in read_journal(path) if "samples" in row]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error}): the run is damaged.") from None


def read_manifest(path: Path) -> dict[str, Held]:
    """Number and digest of the images of each split; empty without a manifest. Raises BundleError."""
    names: dict[str, list[str]] = {}
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                names.setdefault(row["split"], []).append(f"{row['path']}\0{row['label']}\n")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise BundleError(f"{path} cannot be read ({error}): the run is damaged.") from None
    return {split: Held(len(held), hashlib.sha256("".join(sorted(held)).encode()).hexdigest()[:16])
            for split, held in names.items()}


def newest_state(folder: Path) -> State | None:
    """Of the newest checkpoint that says something; nothing is moved or repaired here."""
    for checkpoint in step_folders(folder / "checkpoints"):
        try:
            return read_state(checkpoint)
        except BundleError:
            continue
    return None


def score_of(row: Row, split: str, held: Held | None) -> Score:
    kind = next(kind for kind in KINDS if f"{split}/{kind}" in row)
    value = row[f"{split}/{kind}"]
    interval = bootstrap_interval(round(value * held.images), held.images) if held and kind == "top1" else None
    return Score(kind=kind, value=value, interval=interval, images=held.images if held else None,
                 loss=row.get(f"{split}/loss"), step=row["step"])


def scored(rows: Iterable[Row], split: str) -> list[Row]:
    return [row for row in rows if any(row.get(f"{split}/{kind}") is not None for kind in KINDS)]


def last_score(rows: list[Row], split: str, held: Held | None) -> Score | None:
    found = scored(rows, split)
    return score_of(found[-1], split, held) if found else None


def newest(rows: list[Row], key: str) -> float | None:
    return next((row[key] for row in reversed(rows) if row.get(key) is not None), None)


def last_probes(rows: list[Row]) -> dict[str, float]:
    row = next((row for row in reversed(rows) if any(key.startswith(PROBE) for key in row)), {})
    return {key.removeprefix(PROBE): value for key, value in row.items() if key.startswith(PROBE)}


def best_row(rows: list[Row]) -> Row | None:
    return max(scored(rows, "val"), key=lambda row: max(row.get(f"val/{kind}", 0.0) for kind in KINDS), default=None)


def step_rate(rows: list[Row], batch_size: int) -> float | None:
    taken = [row["train/seconds_per_step"] for row in rows if row.get("train/seconds_per_step")]
    return batch_size / statistics.median(taken) if taken else None


def spent(rows: list[Row], step: int, known: list[tuple[int, float]], history: Row) -> float | None:
    """Seconds of training up to `step`: the newest record, and the journal's own times for the steps after it."""
    if "seconds" in history:
        known = [*known, (int(history["step"]), float(history["seconds"]))]
    at, seconds = max(known, default=(0, 0.0))
    for row in rows:
        if row["step"] > at and "train/seconds_per_step" in row:
            seconds += (row["step"] - at) * row["train/seconds_per_step"]
            at = row["step"]
    return seconds if at else None


def settled(history: Row, step: int, splits: dict[str, Held]) -> bool:
    """True where the Bundle is of the last step and was measured, if anything was held out."""
    return history.get("step") == step and ("evaluation" in history or "loss" in history or splits.keys() <= {"train"})


def how_far(recipe: Recipe, step: int, seconds: float | None, images: int | None, bundle: bool,
            measured: bool) -> tuple[bool, str]:
    """(finished?, in words)."""
    total = recipe.schedule.total_steps(images, recipe.training.batch_size) if images else recipe.schedule.steps
    limit = recipe.schedule.seconds
    if measured and (total is None or step >= total) and (limit is None or (seconds or 0.0) >= 0.99 * limit):
        return True, "finished"
    if step == 0:
        return False, "not begun"
    of = f" of {total:,}" if total else f", {100 * (seconds or 0.0) / limit:.0f} % of its time" if limit else ""
    return False, f"at step {step:,}{of}" + ("" if bundle else ", without a Bundle yet")


def as_text(value: Any) -> str:
    """A setting as it would be typed after --set."""
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value)
