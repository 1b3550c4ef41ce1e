"""vitrail study data SOURCE"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from vitrail.cli.numbers import Count
from vitrail.cli.run_options import parse_time, settings
from vitrail.training.guard import Interrupts

if TYPE_CHECKING:
    from vitrail.cli.console import RunView
    from vitrail.studies.data_size import Plan
    from vitrail.studies.ledger import Ledger


def study(
    question: Literal["data"], source: str, /, *,
    models: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (),
    weights: Annotated[str | None, Parameter(alias="-w")] = None,
    target: float | None = None,
    rule: str = "recipe",
    sizes: Count | None = None,
    seeds: Count = 3,
    time: str | None = None,
    out: Annotated[Path, Parameter(alias="-o")] = Path("studies"),
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = (),
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(alias="-q", negative=())] = False,
) -> int:
    """How much data do I need? Train on parts of it, and say how it goes on, with intervals.

        vitrail study data photos/ --time 30m --target 0.94

        vitrail study data photos/ --models S/16 R50x1 --weights hf:google/vit-base-patch16-224

    Stopped by Ctrl-C or worse, the same command goes on; several of them at once share the work.

    Parameters
    ----------
    question
        data: what would more images bring, and which model is ahead at which size.
    source
        Labeled images in any form that `vitrail train` takes.
    models
        Models to compare, such as S/16 R50x1 R50+S/16; what the default recipe chooses without.
    weights
        Trained weights that every run starts from; from scratch without.
    target
        An accuracy from 0 to 1: how many more images would it need?
    rule
        recipe (each size as long as the default recipe trains it), epochs (the same at every size) or steps (the same).
    sizes
        How many sizes, each half of the next; seven without, or as many as there can be.
    seeds
        Runs at the two smallest and the two largest sizes; one at the others.
    time
        Stop in time, such as 30m: what is worth most is trained first, and what was left out is said.
    out
        A folder that all studies share, so that none trains what another one did.
    set_
        Change any key of the recipe for all runs: --set schedule.steps=200.
    dry_run
        Say what would be trained, and stop.
    json
        Print everything as JSON on stdout.
    quiet
        No progress.
    """
    seconds = None if time is None else parse_time(time)
    with Interrupts().listen() as interrupts:
        from vitrail.cli.console import RunView
        from vitrail.cli.loading import refuse_unwritable
        from vitrail.data.source import open_source
        from vitrail.studies.answers import refuse_target
        from vitrail.studies.data_size import plan as planned
        from vitrail.studies.ledger import Ledger

        refuse_target(target)
        view = RunView(quiet=quiet)
        plan = planned(open_source(source), models or [None], rule=rule, count=sizes, seeds=seeds, weights=weights,
                       changes=settings(set_))
        ledger = Ledger(out)
        show_plan(view, plan, ledger, time)
        if dry_run:
            return 0
        refuse_unwritable(out)
        left = train_missing(view, plan, ledger, interrupts, seconds)
        if interrupts:
            again = shlex.join(["vitrail", *sys.argv[1:]])
            view.say(f"stopped; {left} of {len(plan.cells)} runs are left. Go on: {again}")
            return interrupts.exit_code
        return conclude(view, plan, ledger, left, target, json)


def show_plan(view: RunView, plan: Plan, ledger: Ledger, time: str | None) -> None:
    from vitrail.cli.console import show_box

    rows = ledger.rows()
    done = sum(cell.key in rows for cell in plan.cells)
    samples = sum(plan.samples(cell) for cell in plan.cells if cell.key not in rows)
    show_box(view.console, "what I understood", [
        ("question", f"how much data? {plan.source.spec}: {plan.source.kind}"), ("models", ", ".join(plan.models)),
        ("sizes", f"{', '.join(f'{size:,}' for size in plan.sizes)} training images; {plan.length}"),
        ("runs", f"{len(plan.cells)}, of which {done} are done; the others see {samples:,} images in all"),
        *([("time", f"{time} at most: a first look at every size comes first")] if time else [])])


def train_missing(view: RunView, plan: Plan, ledger: Ledger, interrupts: Interrupts, seconds: float | None) -> int:
    """Train what the ledger lacks; returns how many runs are left undone."""
    from vitrail.events import Evaluated, Stepped
    from vitrail.studies.work import Begun, Ended, work

    left = 0
    for event in work(plan.cells, plan.samples, ledger, interrupts, seconds=seconds, watch=view.watch):
        if isinstance(event, Begun):
            told = event.cell.labels
            view.close_bar()
            view.say(f"run {event.number} of {event.total}: {told['model']} on {told['images']:,} images, seed "
                     f"{told['seed']}")
        elif isinstance(event, Ended):
            left = len(event.left)
        elif isinstance(event, Stepped):
            view.one(event)
        elif isinstance(event, Evaluated) and event.split == "test" and event.evaluation.top1 is not None:
            view.close_bar()
            view.say(f"  {100 * event.evaluation.top1:.1f} % of the test images")
    view.close_bar()
    return left


def conclude(view: RunView, plan: Plan, ledger: Ledger, left: int, target: float | None, as_json: bool) -> int:
    from json import dumps

    from vitrail.studies.answers import answer
    from vitrail.studies.page import numbers, write_study

    rows = ledger.rows()
    done = [rows[cell.key] | {"labels": cell.labels} for cell in plan.cells if cell.key in rows]
    notes = [f"{left} of {len(plan.cells)} runs did not fit into the time. The same command goes on with them."] * bool(
        left)
    told = answer(done, plan.models, target)
    folder = ledger.folder / ("data-" + "-".join(one.replace("/", "") for one in plan.models))[:80]
    written = write_study(folder, plan, told, notes)
    if as_json:
        print(dumps(numbers(plan, told, notes)))
    else:
        for sentence in told.sentences:
            print(sentence)
    for words in (*(f"note: {doubt}" for doubt in told.doubts), *(f"note: {note}" for note in notes)):
        view.say(words)
    view.say(f"written: {written[0]}, {', '.join(path.name for path in written[1:])}")
    sys.stdout.flush()
    return 0
