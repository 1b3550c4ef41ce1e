"""How a run looks in a terminal: the box, the bar, the answer, the next command. Plain lines where there is none."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from vitrail.briefing import duration
from vitrail.evaluation import Evaluation
from vitrail.events import Evaluated, Event, FeaturesMeasured, Finished, Measured, Noted, Stepped, Understood
from vitrail.vocabulary import Progress as Pass

QUIET_SECONDS = 5.0  # between results of validation, which tiny data have after every step
PLAIN_SECONDS = 10.0  # between lines of progress where there is no terminal


class RunView:
    """Shows events as they come, on stderr. `finished` holds the last one."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.spoken = self.evaluated = 0.0
        self.finished: Finished | None = None

    def show(self, events: Iterable[Event]) -> Finished | None:
        try:
            for event in events:
                self.one(event)
        finally:
            self.close_bar()
        return self.finished

    def one(self, event: Event) -> None:
        match event:
            case Understood():
                self.box(event)
            case Stepped():
                self.step(event)
            case Evaluated() if event.split == "test" or time.monotonic() - self.evaluated > QUIET_SECONDS:
                self.evaluated = time.monotonic()
                self.say(f"{event.split} after step {event.step:,}: {score_words(event.evaluation)}")
            case Measured() if event.split == "test" or time.monotonic() - self.evaluated > QUIET_SECONDS:
                self.evaluated = time.monotonic()
                self.say(f"{event.split} after step {event.step:,}: {loss_words(event)}")
            case FeaturesMeasured():
                self.say(f"frozen features after step {event.step:,}: {event.words()}")
            case Noted():
                self.say(event.text)
            case Finished():
                self.finished = event

    def say(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)

    def box(self, event: Understood) -> None:
        show_box(self.console, "what I understood", event.rows)
        for warning in event.warnings:
            self.say(f"note: {warning}")

    def step(self, event: Stepped) -> None:
        parts = ", ".join(f"{name} {value:.3f}" for name, value in event.step.parts.items())
        rate = f"{event.progress.rate:,.0f} images/s"
        if self.console.is_terminal:
            if self.bar is None:
                self.bar = Progress(TextColumn("training"), BarColumn(None), TextColumn("{task.percentage:>3.0f} %"),
                                    TextColumn("{task.fields[words]}"), console=self.console)
                self.task = self.bar.add_task("training", total=event.progress.total, words="")
                self.bar.start()
            assert self.task is not None
            fields = [f"epoch {event.epoch:.1f}", parts, rate] if self.console.width >= 110 else [parts]
            words = ", ".join([*fields, f"{duration(event.remaining)} left"])
            self.bar.update(self.task, completed=event.progress.done, total=event.progress.total, words=words)
        elif time.monotonic() - self.spoken > PLAIN_SECONDS:
            self.spoken = time.monotonic()
            self.say(f"step {event.progress.done:,} of {event.progress.total:,}, epoch {event.epoch:.1f}, {parts}, "
                     f"{rate}, {duration(event.remaining)} left")
        if event.progress.done >= event.progress.total:
            self.close_bar()

    def close_bar(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def watch(self, split: str, progress: Pass) -> None:
        """For `run`: progress inside a long pass over a split."""
        self.passing(f"evaluating {split}", progress)

    def passing(self, doing: str, progress: Pass, units: str = "images") -> None:
        """A line now and then about work that is not training."""
        if progress.done < progress.total and time.monotonic() - self.spoken > PLAIN_SECONDS:
            self.spoken = time.monotonic()
            left = (progress.total - progress.done) / max(progress.rate, 1e-9)
            self.say(f"{doing}: {progress.done:,} of {progress.total:,} {units}, {duration(left)} left")


def show_box(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    if not console.is_terminal:
        console.print(Text(f"[{title}]"))
        for subject, words in rows:
            console.print(Text(f"  {subject:<11} {words}"), soft_wrap=True)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for subject, words in rows:
        table.add_row(subject, Text(words))
    console.print(Panel(table, title=title, title_align="left", border_style="blue"))


def score_words(evaluation: Evaluation) -> str:
    """The answer in words: "84.1 % right (81.9 to 86.3) of 1,000 images"."""
    if evaluation.top1 is None:
        score = evaluation.mean_average_precision
        return f"mean average precision {100 * score:.1f} % of {evaluation.images:,} images" if score is not None else (
            f"no label to measure on in {evaluation.images:,} images")
    low, high = evaluation.interval or (evaluation.top1, evaluation.top1)
    bad = f"; {len(evaluation.errors)} could not be read and count as wrong" if evaluation.errors else ""
    return (f"{100 * evaluation.top1:.1f} % right (95 % interval {100 * low:.1f} to {100 * high:.1f}) of "
            f"{evaluation.images:,} images{bad}")


def loss_words(measured: Measured) -> str:
    return f"loss {measured.loss:.4g} on {measured.images:,} images{measured.beside}"


def conclude(finished: Finished, again: str) -> int:
    """The result on stdout, and what to type next; returns the exit code. `again`: the command that goes on."""
    folder = finished.folder
    if finished.signal is not None:
        if finished.evaluation is not None:
            print(f"{finished.split}: {score_words(finished.evaluation)}")
        if finished.measured is not None:
            print(f"{finished.split}: {loss_words(finished.measured)}")
        if finished.probed is not None:
            print(f"frozen features after step {finished.probed.step:,}: {finished.probed.words()}")
        print(f"stopped after {finished.steps:,} steps; the model so far is in {folder / 'bundle'} and can be used.")
        print(f"next: {again}")
        return 128 + finished.signal
    if finished.evaluation is not None:
        print(f"{finished.split} accuracy: {score_words(finished.evaluation)}"
              if finished.evaluation.top1 is not None else f"{finished.split}: {score_words(finished.evaluation)}")
    if finished.measured is not None:
        print(f"{finished.split}: {loss_words(finished.measured)}")
    if finished.probed is not None:
        print(f"frozen features: {finished.probed.words()}")
    print(f"model:  {folder / 'bundle'}")
    print(f"report: {folder / 'report.html'}")
    quoted = shlex.quote(str(folder))
    print(f"next:   vitrail predict {quoted} YOUR_IMAGE.jpg" if finished.bundle.classes else
          f"next:   vitrail train LABELED_IMAGES --weights {quoted}")
    sys.stdout.flush()
    return 0
