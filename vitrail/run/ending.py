"""The end of a run: the Bundle first, then what it scores, then the report."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from vitrail.briefing import bad_words, rows_of
from vitrail.bundle import Bundle
from vitrail.errors import BundleError, SaveError
from vitrail.evaluation import Evaluation
from vitrail.events import Evaluated, Event, Finished, Noted
from vitrail.report import Run, write_report
from vitrail.report.guesses import pasted
from vitrail.run.folder import REPORT
from vitrail.run.looks import measured, record, watched_evaluation
from vitrail.run.probing import probe
from vitrail.run.without_labels import guesses
from vitrail.training.journal import Journal
from vitrail.vocabulary import Shown
from vitrail.workshop import Workshop, trained_bundle


def conclude(shop: Workshop, journal: Journal, page: bool) -> Iterator[Event]:
    """Save the Bundle first, then measure it, then write the report where a `page` is wanted: each is complete when a
    signal comes."""
    bundle = trained_bundle(shop)
    if shop.recipe.evaluation.keep == "best" and shop.best is not None:
        try:
            bundle = Bundle.load(shop.folder / "checkpoints" / "best")
            yield Noted(f"keeping the best weights by validation: step {shop.best_step:,}")
        except BundleError as error:
            yield Noted(f"{error} Keeping the last weights instead.")
    if shop.world.first:
        bundle.save(shop.folder / "bundle")
    split = next((name for name in ("test", "val") if name in shop.source.splits), None)
    if not shop.objective.labeled:
        yield from conclude_without_labels(shop, journal, bundle, split, page)
        return
    evaluation = watched_evaluation(shop, bundle, split) if split and not shop.interrupts else None
    if evaluation is not None and split is not None:
        bundle.provenance["evaluation"] = {"split": split, "top1": evaluation.top1, "images": evaluation.images,
                                           "interval": evaluation.interval, "unreadable": len(evaluation.errors),
                                           "mean_average_precision": evaluation.mean_average_precision}
        if shop.world.first:
            bundle.save(shop.folder / "bundle")
        record(shop, journal, split, evaluation)
        yield Evaluated(shop.step, split, evaluation, final=True)
    yield from probe_at_the_end(shop, journal, bundle)
    if shop.world.first and page and not shop.interrupts:
        yield from write_page(shop, journal, bundle, split, evaluation)
    yield Finished(bundle, shop.folder, shop.step, shop.seconds, split, evaluation, shop.interrupts.signal,
                   probed=shop.probed)


def probe_at_the_end(shop: Workshop, journal: Journal, bundle: Bundle) -> Iterator[Event]:
    """What the features of the Bundle itself are worth, where the run probes at all."""
    if shop.probe is None or shop.interrupts:
        return
    yield from probe(shop, journal, bundle)
    if shop.probed is not None:
        bundle.provenance["probe"] = asdict(shop.probed)
        if shop.world.first:
            bundle.save(shop.folder / "bundle")


def conclude_without_labels(shop: Workshop, journal: Journal, bundle: Bundle, split: str | None,
                            page: bool) -> Iterator[Event]:
    """The loss on held-out images, that of the last weights, and what they guess."""
    found = measured(shop, journal, split) if split and not shop.interrupts else None
    if found is not None:
        bundle.provenance["loss"] = {"split": found.split, "loss": found.loss, "images": found.images}
        if shop.world.first:
            bundle.save(shop.folder / "bundle")
        yield found
        if words := shop.collapse.verdict(shop.objective, found.loss):
            yield Noted(words[0].upper() + words[1:])
    yield from probe_at_the_end(shop, journal, bundle)
    if not shop.interrupts:
        shown = guesses(shop)
        if shown and not shop.validation:  # else the last look had them
            journal.picture(shop.objective.legend.name, pasted(shown, shop.objective.legend.columns), shop.samples)
        headline = (f"The loss is {found.loss:.4g} on {found.images:,} {found.split} images{found.beside}."
                    if found else "No images were set aside, so nothing is measured here.")
        headline += f" Frozen features: {shop.probed.words()}." if shop.probed else ""
        if shop.world.first and page:
            yield from write_page(shop, journal, bundle, split, None, headline, shown)
    yield Finished(bundle, shop.folder, shop.step, shop.seconds, split, None, shop.interrupts.signal, found,
                   shop.probed)


def write_page(shop: Workshop, journal: Journal, bundle: Bundle, split: str | None, evaluation: Evaluation | None,
               headline: str = "", shown: Sequence[Shown] = ()) -> Iterator[Event]:
    """The run on one page, `report.html`. A report that cannot be saved costs nothing else."""
    train_split, folder = shop.source.splits["train"], shlex.quote(str(shop.folder))
    page = Run(
        title=f"{shop.config.name} on {shop.source.spec}",
        trained_on=f"{len(train_split):,} images of {shop.source.spec} ({shop.samples / len(train_split):.3g} epochs)",
        seconds=shop.seconds, facts={subject.capitalize(): words for subject, words in rows_of(shop)},
        history=journal.rows(), measured_on=split or "test",
        notes=(*shop.source.warnings, *shop.notes, *bad_words(shop)),
        commands=(*next_commands(shop, folder), f"tensorboard --logdir {folder}/tb"),
        headline=headline, guesses=shown, legend=shop.objective.legend,
    )
    try:
        write_report(shop.folder / REPORT, page, bundle, evaluation=evaluation,
                     split=shop.source.splits[split] if split and (evaluation or shown) else None)
    except SaveError as error:
        yield Noted(str(error))


def next_commands(shop: Workshop, folder: str) -> tuple[str, ...]:
    """What the trained model is good for."""
    if shop.objective.labeled:
        return f"vitrail predict {folder} YOUR_IMAGE.jpg", f"vitrail evaluate {folder}"
    return (f"vitrail train LABELED_IMAGES --weights {folder}",)
