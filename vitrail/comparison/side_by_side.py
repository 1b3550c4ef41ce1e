"""`compare`: runs side by side, the best first, with words on what the intervals allow to say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from vitrail.comparison.reading import RunFacts, Score, as_text, read_facts
from vitrail.errors import BundleError, UsageError
from vitrail.evaluation.frozen.trials import probe_name

LONE_FILE = ".safetensors"
MOST_NAMED = 4
SPLITS = ("test", "val")


class Comparison(BaseModel):
    """Runs with the best first. `differences`: settings and circumstances in which they are not alike, each with one
    value a run (None: not recorded). `ranked_by`: the split whose score decides, None where no run was measured.
    `verdict`: what may be said of the scores; `notes`: what to know beside."""

    model_config = ConfigDict(frozen=True)

    runs: tuple[RunFacts, ...]
    ranked_by: str | None
    differences: dict[str, list[Any]]
    verdict: list[str]
    notes: list[str] = []

    @property
    def names(self) -> list[str]:
        return short_names([run.path for run in self.runs])


def compare(*paths: str | Path) -> Comparison:
    """What differed between runs, and what came out. `paths`: run folders, Bundles, or folders of runs.

    Raises UsageError where they are fewer than two runs, BundleError where one is damaged.
    """
    found, notes = expand([Path(path) for path in paths])
    if len(found) < 2:
        raise UsageError(f"{len(found) or 'No'} run{'' if len(found) == 1 else 's'} in {' '.join(map(str, paths))}: a "
                         "comparison needs two or more. Give run folders, Bundles, or a folder with runs in it: "
                         "vitrail compare runs/first runs/second")
    split = ranked_by(found)
    found.sort(key=lambda run: -run.scores[split].value if split in run.scores else 1.0)
    names = short_names([run.path for run in found])
    return Comparison(runs=tuple(found), ranked_by=split, differences=differences(found),
                      verdict=verdict(found, names, split), notes=[*notes, *cautions(found, names, split)])


def expand(paths: Sequence[Path]) -> tuple[list[RunFacts], list[str]]:
    """The facts of each run once, and a note for each damaged one in a folder of runs. One that was named itself has to
    be whole."""
    found: dict[Path, RunFacts] = {}
    notes: list[str] = []
    for path in paths:
        if is_single(path):
            found.setdefault(path.resolve(), read_facts(path))
            continue
        inside = [entry for entry in sorted(path.iterdir(), key=natural) if is_single(entry)] if path.is_dir() else []
        if not inside:
            wrong = "is neither a run nor a Bundle, and holds none" if path.exists() else "does not exist"
            raise BundleError(f"{path} {wrong}. Give a run folder (it has a recipe.json), a Bundle, or a folder of "
                              "runs.")
        for entry in inside:
            try:
                found.setdefault(entry.resolve(), read_facts(entry))
            except BundleError as error:
                notes.append(f"left out: {error}")
    return list(found.values()), notes


def is_single(path: Path) -> bool:
    """True for a run or a Bundle, also for a damaged one."""
    marks = ("recipe.json", "config.json", "bundle")
    return (path.suffix == LONE_FILE and path.is_file()) or any((path / mark).exists() for mark in marks)


def natural(path: Path) -> list[Any]:
    """run-2 before run-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def ranked_by(runs: Sequence[RunFacts]) -> str | None:
    """The split by which most of the runs were measured; the test where both are as many."""
    counts = {split: sum(split in run.scores for run in runs) for split in SPLITS}
    split = max(SPLITS, key=lambda name: counts[name])
    return split if counts[split] else None


def differences(runs: Sequence[RunFacts]) -> dict[str, list[Any]]:
    """What has two different values that were recorded."""
    differing = {}
    for part in ("settings", "circumstances"):
        held = [getattr(run, part) for run in runs]
        for key in dict.fromkeys(key for values in held for key in values):
            values = [one.get(key) for one in held]
            recorded = {as_text(value) for value, one in zip(values, held, strict=True)
                        if key in one and (part == "settings" or value is not None)}
            if len(recorded) > 1:
                differing[key] = values
    return differing


def verdict(runs: Sequence[RunFacts], names: Sequence[str], split: str | None) -> list[str]:
    """The best against each other one, by their intervals."""
    measured = [(name, run) for name, run in zip(names, runs, strict=True) if split in run.scores]
    if split is None and any(run.losses for run in runs):
        return without_labels(runs, names)
    if split is None or len(measured) < 2:
        return ["fewer than two runs were measured on one split, so none can be called better."]
    (best, leader), *others = measured
    groups: dict[str, list[str]] = {}
    for name, run in others:
        words = apart(best, leader.scores[split], run.scores[split])
        if measured_alike(leader, run, split) is False:
            words = f"measured on other {split} images, which cannot be compared."
        groups.setdefault(words, []).append(name)
    return [f"{best} against {listed(held)}: {words}" for words, held in groups.items()]


def without_labels(runs: Sequence[RunFacts], names: Sequence[str]) -> list[str]:
    """What may be said of runs that have losses alone."""
    words = ["learned without labels, so no accuracy was measured, and losses of different objectives or targets "
             "cannot be compared. Measure all on the same labeled images: vitrail probe RUN SOURCE"]
    on = {run.settings.get("evaluation.probe_on") or run.settings.get("data.source") for run in runs if run.probes}
    for key in dict.fromkeys(key for run in runs for key in run.probes) if len(on) == 1 else ():
        order = sorted(((run.probes[key], name) for run, name in zip(runs, names, strict=True) if key in run.probes),
                       reverse=True)
        if len(order) > 1:
            told = listed([f"{name} {100 * value:.1f} %" for value, name in order])
            words.append(f"frozen features by {probe_name(key)}, the best first: {told}.")
    return words


def apart(name: str, best: Score, other: Score) -> str:
    """What may be said of the best, called `name`, and another one."""
    if best.kind != other.kind:
        return "measured in different ways (one label an image, and several), which cannot be compared."
    if best.interval is None or other.interval is None:
        return "no interval is known, so a difference may be chance."
    if best.interval[0] > other.interval[1]:
        return f"{name} is better: the 95 % intervals do not overlap."
    return f"no evidence that {name} is better: intervals overlap."


def cautions(runs: Sequence[RunFacts], names: Sequence[str], split: str | None) -> list[str]:
    """What makes scores less comparable than they look."""
    notes = []
    if split is not None:
        notes += other_images(runs, names, split)
        if split == "val" and any("test" in run.scores for run in runs):
            notes.append("ranked by validation: not all runs have a test score.")
    unfinished = [name for name, run in zip(names, runs, strict=True) if not run.finished]
    if unfinished and len(unfinished) < len(runs):
        notes.append(f"not finished: {listed(unfinished)}.")
    return notes


def other_images(runs: Sequence[RunFacts], names: Sequence[str], split: str) -> list[str]:
    """A note where runs were not measured on the images of the best, or where that is not known."""
    measured = [(name, run) for name, run in zip(names, runs, strict=True) if split in run.scores]
    same = [measured_alike(measured[0][1], run, split) for _, run in measured]
    other = [name for (name, _), alike in zip(measured, same, strict=True) if alike is False]
    unknown = [name for (name, _), alike in zip(measured, same, strict=True) if alike is None]
    words = [f"measured on other {split} images than {names[0]}: {listed(other)}. Their scores say little about which "
             "is better; `vitrail evaluate RUN SOURCE` measures all on the same."] if other else []
    if unknown:
        words.append(f"not recorded whether measured on the same {split} images: {listed(unknown)}.")
    return words


def measured_alike(one: RunFacts, other: RunFacts, split: str) -> bool | None:
    """True for the same images, by their names or by the fingerprint of all data and splits; None where unknown."""
    for known in ((one.measured_on.get(split), other.measured_on.get(split)),
                  (one.circumstances["data fingerprint"], other.circumstances["data fingerprint"])):
        if None not in known:
            return known[0] == known[1]
    return None


def short_names(paths: Sequence[str]) -> list[str]:
    """The ends of the paths, as long as it takes to tell them apart."""
    parts = [Path(path).resolve().parts for path in paths]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(one[-length - (one[-1] == "bundle"):]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def listed(names: Sequence[str]) -> str:
    """"a, b and 3 more"."""
    if len(names) > MOST_NAMED + 1:
        return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
