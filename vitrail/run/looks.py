"""How good is the model now? Evaluations during a run and at its end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vitrail.bundle import Bundle
from vitrail.errors import SaveError
from vitrail.evaluation import Evaluation, answer, counted, joined
from vitrail.events import Evaluated, Event, Measured, Noted
from vitrail.report.guesses import pasted
from vitrail.run.without_labels import guesses, own_loss
from vitrail.training.compiled import eagerly
from vitrail.training.journal import Journal
from vitrail.vocabulary import Progress
from vitrail.workshop import Workshop, trained_bundle


def validate(shop: Workshop, journal: Journal) -> Iterator[Event]:
    """Evaluate on the validation split; where it is the best so far and the recipe keeps the best, keep it."""
    split = shop.validation
    assert split is not None
    if not shop.objective.labeled:
        yield from validate_without_labels(shop, journal, split)
        return
    evaluation = watched_evaluation(shop, shop.view(), split)
    if evaluation is None:
        return
    score = record(shop, journal, split, evaluation)
    yield Evaluated(shop.step, split, evaluation)
    yield from kept_if_best(shop, score)


def validate_without_labels(shop: Workshop, journal: Journal, split: str) -> Iterator[Event]:
    """The objective's own loss, and what it guesses as pictures for TensorBoard; the lowest loss is the best."""
    found = measured(shop, journal, split)
    if found is None:
        return
    yield found
    if shown := guesses(shop):
        journal.picture(shop.objective.legend.name, pasted(shown, shop.objective.legend.columns), shop.samples)
    yield from kept_if_best(shop, -found.loss)


def measured(shop: Workshop, journal: Journal, split: str) -> Measured | None:
    """The loss on a split without labels, with a row in the journal; None where a signal comes meanwhile."""
    found = own_loss(shop, split)
    if found is None:
        return None
    journal.write({"step": shop.step, "samples": shop.samples, f"{split}/loss": found[0]})
    return Measured(shop.step, split, *found, beside(shop))


def beside(shop: Workshop) -> str:
    """What to compare a loss without labels with."""
    if not len(shop.collapse.counted):
        even = shop.objective.even_loss()
        return "" if even is None else f"; an answer without any preference would have {even:.4g}"
    return f"; the same answer everywhere would have {shop.objective.constant_loss(shop.collapse.counted):.4g}"


def kept_if_best(shop: Workshop, score: float | None) -> Iterator[Event]:
    if shop.recipe.evaluation.keep == "best" and score is not None and (shop.best is None or score > shop.best):
        if trouble := keep_best(shop):
            yield Noted(f"{trouble} The run goes on; the best model so far is the one before.")
        else:
            shop.best, shop.best_step = score, shop.step


def keep_best(shop: Workshop) -> str | None:
    """Save the model as it is now; returns what went wrong."""
    bundle, trouble = trained_bundle(shop), None
    if shop.world.first:
        try:
            bundle.save(shop.folder / "checkpoints" / "best")
        except SaveError as error:
            trouble = str(error)
    return shop.world.told(trouble)


def ignore(split: str, progress: Progress) -> None:
    """Nobody watches."""


def record(shop: Workshop, journal: Journal, split: str, evaluation: Evaluation) -> float | None:
    """A row of the journal; returns the score by which models are compared."""
    single = evaluation.top1 is not None
    score = evaluation.top1 if single else evaluation.mean_average_precision
    journal.write({"step": shop.step, "samples": shop.samples, f"{split}/loss": evaluation.loss,
                   f"{split}/{'top1' if single else 'mean_average_precision'}": score})
    return score


class StopEvaluation(Exception):  # noqa: N818 - a request, not an error
    """A signal arrived in the middle of an evaluation."""


def watched_evaluation(shop: Workshop, bundle: Bundle, split: str) -> Evaluation | None:
    """Evaluate, every process its part, or None where a signal asks one of them to stop."""
    def watch(progress: Progress) -> None:
        if shop.interrupts or shop.interrupts.received:
            raise StopEvaluation
        shop.watch(split, progress)

    world, images = shop.world, shop.source.splits[split]
    if world.size > 1 and len(images) >= world.size:
        images = images.subset(np.array_split(np.arange(len(images)), world.size)[world.rank])
    try:
        with eagerly(shop.recipe.training.compile):
            own = answer(bundle, images, batch_size=shop.recipe.evaluation.batch_size, progress=watch)
    except StopEvaluation:
        own = None
    parts = world.gathered(own)
    shop.heed()
    answered = [part for part in parts if part is not None]
    if len(answered) < len(parts):
        return None
    whole = len(shop.source.splits[split]) >= world.size
    return counted(bundle, joined(answered) if whole else answered[0])
