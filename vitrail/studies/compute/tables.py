"""What was trained and how families compare, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from vitrail.studies.compute.answers import Answers
from vitrail.studies.compute.compare import Pair
from vitrail.studies.compute.frontier import CALLED, Trained
from vitrail.studies.compute.plan import Plan, Setting
from vitrail.studies.compute.sentences import interval
from vitrail.studies.numerals import Unit, percent, times
from vitrail.studies.question import Table, held_out

SINGULAR = {"vit": "ViT", "bit": "ResNet", "hybrid": "hybrid", "axial-vit": "axial ViT",
            "axial-resnet": "axial ResNet"}
NOTE = ("Compute is 6 x the multiply-adds of a forward pass x the images seen, as in the paper. Accuracy on the "
        "{held_out}, of the best checkpoint by validation, with its range over seeds. On the frontier: no other of the "
        "family does as well with as much compute or less.")


def measured(plan: Plan, told: Answers, trained: Sequence[Trained]) -> Table:
    """A row for each setting, finished or not."""
    finished = {(one.model, one.length): one for one in trained}
    rows = []
    for name in CALLED:
        family = [one for one in told.families if one.name == name]
        on = set(family[0].frontier) if family else set()
        rows += [row_of(setting, finished.get((setting.model, epochs_words(setting.epochs))), on, told.unit)
                 for setting in plan.of(name)]
    columns = ("model", "family", "length", "images seen", told.unit.name, "seconds", "accuracy", "on the frontier")
    return Table("What was measured", columns, tuple(rows), NOTE.format(held_out=held_out(plan.source)))


def row_of(setting: Setting, one: Trained | None, on: set[Trained], unit: Unit) -> tuple[str, ...]:
    begun = (setting.model, SINGULAR[setting.family], length_words(setting), f"{setting.samples:,}",
             unit.number(setting.exaflops))
    if one is None:
        return (*begun, "", "not yet", "")
    seconds = "" if one.seconds is None else f"{one.seconds:,.0f}"
    return (*begun, seconds, accuracy_words(one.errors), "yes" if one in on else "")


def accuracy_words(errors: Sequence[float]) -> str:
    mean = percent(1 - sum(errors) / len(errors))
    if len(errors) == 1:
        return mean
    return f"{mean} ({percent(1 - max(errors))} to {percent(1 - min(errors))}, {len(errors)} seeds)"


def length_words(setting: Setting) -> str:
    return f"{setting.length} ({epochs_words(setting.epochs)})"


def epochs_words(epochs: float) -> str:
    return f"{epochs:,.0f} epochs" if epochs >= 100 else f"{epochs:.3g} epochs"


def compared(told: Answers, heading: str) -> Table | None:
    """Every two families; None where there are none to compare."""
    rows = [row_of_pair(pair, told.unit) for pair in told.pairs]
    columns = ("of which against which", "compute at the lowest common accuracy", "in the middle", "at the highest",
               "errors with the least common compute", "with the most")
    return Table(heading, columns, tuple(rows), (
        "How many times the compute the first takes for the same accuracy, and how many times the errors it makes with "
        "the same compute; in brackets where that lies with a probability of 90 %. Where brackets hold 1, it is no "
        "evidence of a difference.")) if rows else None


def row_of_pair(pair: Pair, unit: Unit) -> tuple[str, ...]:
    levels = [f"{times(place.ratio.expected)} ({interval(place.ratio)}) at {percent(1 - place.at)}"
              for place in pair.levels]
    budgets = [f"{times(place.ratio.expected)} ({interval(place.ratio)}) at {unit.number(place.at)}"
               for place in pair.budgets]
    if len(levels) < 3:
        levels = ["", levels[0] if levels else "none in common", ""]
    budgets = [*budgets, "", ""][:2] if budgets else ["none in common", ""]
    return (f"{pair.second.called} : {pair.first.called}", *levels, *budgets)
