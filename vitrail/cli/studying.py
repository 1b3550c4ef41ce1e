"""What all studies take, and how each goes from its question to its page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vitrail.cli.run_options import parse_time, settings
from vitrail.training.guard import Interrupts

if TYPE_CHECKING:
    from vitrail.cli.console import RunView
    from vitrail.studies.ledger import Ledger
    from vitrail.studies.question import Question


@Parameter(name="*")
@dataclass(frozen=True)
class StudyOptions:
    """What all studies take.

    Parameters
    ----------
    time
        Stop in time, such as 30m: what is worth most is trained first, and what was left out is said. A study of data
        makes all its runs shorter, too, until every size fits.
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

    time: str | None = None
    out: Annotated[Path, Parameter(alias="-o")] = Path("studies")
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = ()
    dry_run: Annotated[bool, Parameter(negative=())] = False
    json: Annotated[bool, Parameter(negative=())] = False
    quiet: Annotated[bool, Parameter(alias="-q", negative=())] = False

    @property
    def changes(self) -> dict[str, Any]:
        return settings(self.set_)

    @property
    def seconds(self) -> float | None:
        return None if self.time is None else parse_time(self.time)


DEFAULTS = StudyOptions()


def to_the_end(asked: Callable[[], Question], options: StudyOptions) -> int:
    """Say what was understood, train what is missing, answer; returns the exit code."""
    seconds = options.seconds
    with Interrupts().listen() as interrupts:
        from vitrail.cli.console import RunView
        from vitrail.cli.loading import refuse_unwritable
        from vitrail.studies.ledger import Ledger
        from vitrail.studies.question import left

        view = RunView(quiet=options.quiet)
        question, ledger = asked(), Ledger(options.out)
        show_plan(view, question, ledger, options.time)
        if options.dry_run:
            return 0
        refuse_unwritable(options.out, "ledger.jsonl", "cells")
        train_missing(view, question, ledger, interrupts, seconds)
        rest = left(question, ledger.rows())
        if interrupts:
            again = shlex.join(["vitrail", *sys.argv[1:]])
            view.say(f"stopped; {rest} of {question.total} runs are left. Go on: {again}")
            return interrupts.exit_code
        return conclude(view, question, ledger, rest, options.json)


def show_plan(view: RunView, question: Question, ledger: Ledger, time: str | None) -> None:
    from vitrail.cli.console import show_box
    from vitrail.studies.question import left

    rows = ledger.rows()
    missing = [cell for cell in question.cells(rows) if cell.key not in rows]
    rest, samples = left(question, rows), sum(cell.samples for cell in missing)
    more = ", and some that depend on them" if rest > len(missing) else ""
    show_box(view.console, "what I understood", [
        *question.understood(),
        ("runs", f"{question.total}, of which {question.total - rest} are done; {len(missing)} others see {samples:,} "
                 f"images in all{more}" if rest else f"{question.total}, all done"),
        *([("time", f"{time} at most: what is worth most comes first")] if time else [])])


def train_missing(view: RunView, question: Question, ledger: Ledger, interrupts: Interrupts,
                  seconds: float | None) -> None:
    from vitrail.events import Evaluated, FeaturesMeasured, Stepped
    from vitrail.studies.work import Begun, work

    for event in work(question, ledger, interrupts, seconds=seconds, watch=view.watch):
        if isinstance(event, Begun):
            view.close_bar()
            view.say(f"run {event.number} of {event.total}: {event.cell.words}")
        elif isinstance(event, Stepped):
            view.one(event)
        elif isinstance(event, Evaluated) and event.split == "test" and event.evaluation.top1 is not None:
            view.close_bar()
            view.say(f"  {100 * event.evaluation.top1:.1f} % of the test images")
        elif isinstance(event, FeaturesMeasured):
            view.close_bar()
            view.say(f"  after step {event.step:,}: {event.words()}")
    view.close_bar()


def conclude(view: RunView, question: Question, ledger: Ledger, rest: int, as_json: bool) -> int:
    from json import dumps

    from vitrail.studies.page import numbers, write_study

    notes = [f"{rest} of {question.total} runs did not fit into the time. The same command goes on with them."] * bool(
        rest)
    found = question.answer(ledger.rows())
    written = write_study(ledger.folder / question.folder, found, notes)
    if as_json:
        print(dumps(numbers(found, notes)))
    else:
        for sentence in found.sentences:
            print(sentence)
    for words in (*(f"note: {doubt}" for doubt in found.doubts), *(f"note: {note}" for note in notes)):
        view.say(words)
    view.say(f"written: {written[0]}, {', '.join(path.name for path in written[1:])}")
    sys.stdout.flush()
    return 0
