"""vitrail probe BUNDLE SOURCE..."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vitrail.cli.launch import launch
from vitrail.cli.numbers import Count, Counts
from vitrail.cli.train import refuse_other_number
from vitrail.errors import UsageError, VitrailError
from vitrail.training.guard import Interrupts
from vitrail.training.launched import is_launched, processes

if TYPE_CHECKING:
    from vitrail.training.parallel import World
    from vitrail.transfer.probe import Plan
    from vitrail.transfer.scores import Probed
    from vitrail.vocabulary import Progress

WIDE = 100_000
"""Columns where there is no terminal: a file or a pipe takes lines of any length."""


UNITS = {"probing": "draws", "fine-tuning": "steps"}

PATIENCE = 600.0
"""Seconds in which a process must answer the others: the first may write down gigabytes between two splits."""

ADVICE = "Give the same command again: features of splits that were complete are not computed twice."


def probe(
    bundle: str, /, *sources: str,
    shots: Counts = (1, 5, 10, 25),
    seeds: Count = 3,
    method: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = ("few-shot", "knn"),
    examples: Count | None = None,
    neighbors: Counts = (20,),
    temperature: float = 0.07,
    layer: str = "embedding",
    image_size: str | None = None,
    images: Counts = (),
    finetune_recipe: str = "finetune",
    steps: Count | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    markdown: Annotated[bool, Parameter(negative=())] = False,
    out: Path | None = None,
    cache: Path | None = None,
    batch_size: Count = 64,
    devices: Count | None = None,
) -> int:
    """Measure what a model has learned, on images it was not trained for: its frozen features and a few labels.

        vitrail probe runs/first fashion:embedded

        vitrail probe weights.npz photos/ --method few-shot knn linear logistic

        vitrail probe runs/first digits fashion:embedded --out suite/

        vitrail probe runs/first fashion --method knn finetune --images 100 1000

        vitrail probe runs/first photos/ --devices 4

    Parameters
    ----------
    bundle
        A run folder, a Bundle folder, or published weights in any format that vitrail reads, also without a head;
        hf:OWNER/NAME is fetched.
    sources
        Labeled images in any form that `vitrail train` takes. Several make a suite with a mean.
    shots
        Images of each class, for few-shot.
    seeds
        Draws of training images; the mean and its interval are over them.
    method
        few-shot (least squares in closed form, the paper's), knn, linear, logistic, finetune.
    examples
        At most so many training images for the other methods, drawn anew by each seed. All of one source, 1,000 each
        of several, without.
    neighbors
        How many vote, for knn.
    temperature
        How much nearer neighbors count more, for knn; 0.07 in DINO.
    layer
        embedding (what the head reads), patches (the mean of the patches) or both.
    image_size
        Pixels at which the model looks, other than its own: 112, or 96x128; positions are resampled. Small pictures
        need no large ones.
    images
        Numbers of training images to fine-tune on, each a row of the table, such as 100 1000; as many as the other
        methods have without. Runs lie in OUT/runs, or in runs/probe, and are taken up again when asked again.
    finetune_recipe
        finetune (short and gentle) or paper_finetune (Table 4: 500 steps up to 10,000 images), at the model's own
        image size.
    steps
        Of fine-tuning; those of the recipe without.
    json
        Print everything as JSON on stdout.
    markdown
        Print the table in Markdown on stdout.
    out
        A folder for probe.json, probe.md and, with few-shot, accuracy.svg and accuracy.png.
    cache
        Where features are kept for the next time; ~/.cache/vitrail/features without.
    batch_size
        Images at a time.
    devices
        Processes on this machine, each with its part of the cores, that compute features together; one of them then
        does the rest. Several machines: torchrun (docs/cluster.md).
    """
    from typing import cast

    from vitrail.cli.console import RunView, show_box
    from vitrail.cli.loading import quietly_loaded, say_notes
    from vitrail.cli.run_options import parse_size
    from vitrail.evaluation.frozen.features import Layer
    from vitrail.evaluation.frozen.together import agreed
    from vitrail.transfer.probe import measure, plan_probe, see
    from vitrail.transfer.tuning import RUNS, Tuning

    if json and markdown:
        raise UsageError("Give one of --json and --markdown: each is a form of the same.")
    if (images or steps) and "finetune" not in method:
        raise UsageError("--images and --steps belong to fine-tuning: add --method finetune")
    refuse_folders(out, cache)
    if devices not in (None, 1) and not is_launched():
        return launch(devices, sys.argv[1:], ADVICE)
    refuse_other_number(devices)
    size = None if image_size is None else parse_size(image_size)
    tuning = Tuning(bundle, finetune_recipe, images, steps, RUNS if out is None else out / "runs")
    with together() as (world, interrupts):
        view = RunView(quiet=not world.first)

        def planned() -> Plan:
            return plan_probe(quietly_loaded(bundle, size), sources, methods=method, shots=shots, seeds=seeds,
                              examples=examples, neighbors=neighbors, temperature=temperature,
                              layer=cast(Layer, layer), cache=cache, batch_size=batch_size, tuning=tuning)

        def watch(doing: str, at: Progress) -> None:
            if interrupts.received is not None:
                raise KeyboardInterrupt(interrupts.received)
            view.passing(doing, at, UNITS.get(doing.split()[0], "images"))

        plan = agreed(planned, world)
        if world.first:
            say_notes(plan.bundle)
        show_box(view.console, "what I understood", understood(plan))
        for note in plan.notes:
            view.say(f"note: {note}")
        seen = see(plan, watch, world)
    if not world.first:
        return 0
    probed = measure(plan, watch, seen)
    if out is not None:
        for written in write(probed, out):
            view.say(f"written: {written}")
    if json:
        print(probed.model_dump_json())
    elif markdown:
        from vitrail.transfer.table import markdown as as_markdown

        print(as_markdown(probed), end="")
    else:
        show(probed)
        print(f"next: vitrail train {shlex.quote(sources[0])} --weights {shlex.quote(bundle)}")
    sys.stdout.flush()
    return 0


def refuse_folders(out: Path | None, cache: Path | None) -> None:
    """Raises UsageError for folders that cannot be written to."""
    from vitrail.cli.loading import refuse_no_folder, refuse_unwritable

    if out is not None:
        refuse_unwritable(out, "probe.json")
    if cache is not None:
        refuse_no_folder(cache, "--cache")


@contextlib.contextmanager
def together() -> Iterator[tuple[World, Interrupts]]:
    """The processes of this command, for the part that they do together. A signal for one ends all, and so does an
    error, which the first of them says. One process by itself ends at Ctrl-C as any command does."""
    from vitrail.training.parallel import SOLO, join, lost_peers_named

    interrupts = Interrupts()
    interrupts.speaks = False
    if processes() == 1:
        yield SOLO, interrupts
        return
    with interrupts.listen(), join(PATIENCE, interrupts) as world, lost_peers_named(world, ADVICE):
        interrupts.speaks = False  # nothing is being saved
        try:
            yield world, interrupts
            if interrupts.received is not None:
                raise KeyboardInterrupt(interrupts.received)
        except (VitrailError, KeyboardInterrupt) as error:
            if world.first:
                raise
            sys.exit(error.exit_code if isinstance(error, VitrailError) else 128 + (*error.args, signal.SIGINT)[0])


def understood(plan: Plan) -> list[tuple[str, str]]:
    """The rows of the box."""
    from vitrail.transfer.probe import METHODS

    config, (height, width) = plan.bundle.model.config, plan.bundle.preprocess.size
    layers = {"embedding": f"the {config.embedding} numbers that a linear head reads",
              "patches": "the mean of the patches",
              "both": "what a linear head reads, and the mean of the patches"}
    others = [method for method in plan.methods if method != "finetune"]
    state = "frozen" if others else "trained further"
    rows = [("model", f"{config.name}, {state}; images of {height} x {width} pixels")]
    rows += [("features", layers[plan.layer])] if others else []
    for task in plan.tasks:
        train, test = len(task.train_split), len(task.test_split)
        rows.append(("data", f"{task.spec}: {task.source.kind}; {len(task.source.classes)} classes, learning from up "
                             f"to {train:,} images ({task.train}), measuring on {test:,} ({task.test})"))
    for method in plan.methods:
        rows.append((method, f"{METHODS[method]}; {settings_words(plan, method)}"))
    return rows


def settings_words(plan: Plan, method: str) -> str:
    draws = "1 draw" if plan.seeds == 1 else f"{plan.seeds} draws"
    if method == "finetune" and plan.tuning is not None:
        counts = ", ".join(f"{count:,}" for count in plan.tuning.images) or (
            "all" if plan.examples is None else f"up to {plan.examples:,}")
        return f"recipe {plan.tuning.recipe}, {counts} training images, {draws}; runs in {plan.tuning.runs}"
    if method == "few-shot":
        return f"{', '.join(map(str, plan.shots))} of each class, {draws} each"
    learned = "all training images" if plan.examples is None else f"up to {plan.examples:,} images a source, {draws}"
    votes = f"k {', '.join(map(str, plan.neighbors))}, temperature {plan.temperature:g}; " if method == "knn" else ""
    return votes + learned


def show(probed: Probed) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vitrail.transfer.table import headings, rows, sentences

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings(probed):
        table.add_column(Text(heading), overflow="fold")
    for row in rows(probed):
        table.add_row(*map(Text, row))
    console.print(table)
    for line in sentences(probed):
        console.print(Text(line), soft_wrap=True)


def write(probed: Probed, folder: Path) -> list[Path]:
    """The files of `--out`, each complete or as it was. Raises SaveError."""
    from vitrail.files import write_bytes
    from vitrail.transfer.figure import figure
    from vitrail.transfer.table import markdown

    files = {"probe.json": (probed.model_dump_json(indent=2) + "\n").encode(), "probe.md": markdown(probed).encode(),
             "accuracy.svg": figure(probed, "svg"), "accuracy.png": figure(probed, "png")}
    written = []
    for name, content in files.items():
        if content is not None:
            write_bytes(folder / name, content)
            written.append(folder / name)
    return written
