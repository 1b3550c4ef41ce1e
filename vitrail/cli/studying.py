"""What all studies take, and how each goes from its question to its page."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vitrail.cli.run_options import parse_time, settings
from vitrail.training.guard import Interrupts

if TYPE_CHECKING:
    from vitrail.cli.console import RunView
    from vitrail.studies.ledger import Ledger, Row
    from vitrail.studies.question import Question


@Parameter(name="*")
@dataclass(frozen=True)
class StudyOptions:
    """What all studies take.

    Parameters
    ----------
    time
        Stop in time, such as 30m or 1h30m: what is worth most is trained first, and what was left out is said.
    out
        A folder that all studies share, so that none trains what another one did: the ledger of finished runs, the
        runs themselves (cells/, which may be deleted once they are finished), and a page for each question.
    set_
        Change any key of the recipe for all runs: --set schedule.steps=200.
    dry_run
        Say what would be trained and how long it takes, timed on a few steps, and stop.
    json
        Print everything as JSON on stdout.
    quiet
        Neither the plan nor progress: only the answer and what speaks against it.
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
    began = time.monotonic()
    words = "a dry run leaves nothing" if options.dry_run else "the run under way is being saved"
    with Interrupts(words).listen() as interrupts:
        from vitrail.cli.console import RunView
        from vitrail.cli.loading import refuse_unwritable
        from vitrail.studies.ledger import Ledger
        from vitrail.studies.question import left

        view, aloud = RunView(quiet=options.quiet), RunView()
        question, ledger = asked(), Ledger(options.out)
        if left(question, ledger.rows()):
            refuse_unwritable(options.out, "ledger.jsonl", "cells")
        show_plan(view, question, ledger, options)
        if options.dry_run:
            return 0 if not options.json else print_plan(question, ledger)
        rest = None if seconds is None else seconds - (time.monotonic() - began)
        train_missing(view, question, ledger, interrupts, rest)
        if interrupts:
            rest, again = left(question, ledger.rows()), shlex.join(["vitrail", *sys.argv[1:]])
            aloud.say(f"stopped; {rest} of {question.total} runs are left. Go on: {again}")
            return interrupts.exit_code
        return conclude(aloud, question, ledger, options.json)


def show_plan(view: RunView, question: Question, ledger: Ledger, options: StudyOptions) -> None:
    """Also what speaks against the images before anything is trained."""
    from vitrail.cli.console import show_box
    from vitrail.studies.asked import option_words

    counts = ", ".join(f"{len(split):,} {name}" for name, split in question.source.splits.items())
    unit = " s" if (options.time or "").strip()[-1:].isdigit() else ""
    limit = [f"{options.time}{unit} at most: what is worth most comes first"] if options.time else []
    show_box(view.console, "what I understood", [
        *question.understood(), ("images", "; ".join((counts, *question.source.notes))),
        *([("options", option_words(question.options))] if question.options else []),
        ("runs", runs_words(question, ledger, options.dry_run)), *(("time", words) for words in limit)])
    for warning in question.source.warnings:
        view.say(f"note: {warning}")


def runs_words(question: Question, ledger: Ledger, timing: bool) -> str:
    """How many there are, and what those that are missing take; `timing`: measured on a few steps of each model that
    the ledger does not know."""
    from vitrail.briefing import duration
    from vitrail.studies.forecast import seconds_left
    from vitrail.studies.numerals import unit_for
    from vitrail.studies.question import left, missing

    rows = ledger.rows()
    cells, rest = missing(question, rows), left(question, rows)
    samples, compute = sum(cell.samples for cell in cells), sum(cell.exaflops for cell in cells)
    done = question.total - rest
    if not rest:
        return f"{question.total}, all done"
    seconds = seconds_left(cells, rows, timing=timing)
    which = f"{question.total}, of which {done:,} {'is' if done == 1 else 'are'} done; the others see" if done else (
        f"{question.total}; they see")
    more = ", before some that depend on them" if rest > len(cells) else ""
    lasting = "" if seconds is None else f", about {duration(seconds)} for one worker"
    return f"{which} {samples:,} images ({unit_for(compute).words(compute)}{lasting}){more}"


def print_plan(question: Question, ledger: Ledger) -> int:
    """What is missing, for programs."""
    from json import dumps

    from vitrail.studies.question import left, missing

    rows = ledger.rows()
    print(dumps({"runs": question.total, "left": left(question, rows), "page": str(ledger.folder / question.folder),
                 "options": dict(question.options), "missing": [
                     {"key": cell.key, "words": cell.words, "samples": cell.samples, "exaflops": cell.exaflops}
                     for cell in missing(question, rows)]}))
    return 0


def train_missing(view: RunView, question: Question, ledger: Ledger, interrupts: Interrupts,
                  seconds: float | None) -> None:
    from vitrail.briefing import duration
    from vitrail.events import Evaluated, FeaturesMeasured, Stepped
    from vitrail.studies.question import held_out
    from vitrail.studies.work import Begun, work

    for event in work(question, ledger, interrupts, seconds=seconds, watch=view.watch):
        if isinstance(event, Begun):
            view.close_bar()
            lasting = "" if event.left is None else f" (about {duration(event.left)} left for one worker)"
            view.say(f"run {event.number} of {event.total}: {event.cell.words}{lasting}")
        elif isinstance(event, Stepped):
            view.one(event)
        elif isinstance(event, Evaluated) and event.final and event.evaluation.top1 is not None:
            view.close_bar()
            view.say(f"  {100 * event.evaluation.top1:.1f} % of the {held_out(question.source)}")
        elif isinstance(event, FeaturesMeasured):
            view.close_bar()
            view.say(f"  after step {event.step:,}: {event.words()}")
    view.close_bar()


def conclude(view: RunView, question: Question, ledger: Ledger, as_json: bool) -> int:
    """The answer on stdout, what speaks against it on stderr, and then the page, so that both are there where that
    cannot be written."""
    from json import dumps

    from vitrail.studies.page import numbers, write_study
    from vitrail.studies.question import findings

    rows = ledger.rows()
    found, notes = findings(question, rows), left_out_words(question, rows)
    if as_json:
        print(dumps(numbers(found, notes)))
    else:
        for sentence in found.sentences:
            print(sentence)
    sys.stdout.flush()
    for words in (*found.doubts, *notes):
        view.say(f"note: {words}")
    written = write_study(ledger.folder / question.folder, found, notes)
    view.say(f"written: {written[0]}, {', '.join(path.name for path in written[1:])}")
    return 0


def left_out_words(question: Question, rows: Mapping[str, Row], most: int = 6) -> list[str]:
    from vitrail.studies.question import left, missing

    rest = left(question, rows)
    if not rest:
        return []
    named = [cell.words for cell in missing(question, rows)[:most]]
    others = f"; and {rest - len(named)} more" if rest > len(named) else ""
    return [f"{rest} of {question.total} runs did not fit into the time: {'; '.join(named)}{others}. The same command "
            "goes on with them."]
