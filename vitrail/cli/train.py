"""vitrail train SOURCE"""

from __future__ import annotations

import contextlib
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vitrail.cli.launch import launch, next_command
from vitrail.cli.run_options import RunOptions, parse_size, parse_time
from vitrail.cli.running import next_folder, search_and_show, train_and_show
from vitrail.errors import UsageError
from vitrail.training.guard import Interrupts
from vitrail.training.launched import is_launched, processes

if TYPE_CHECKING:
    from vitrail.data.source import Source
    from vitrail.recipe import Recipe
    from vitrail.training.parallel import World

AUTO, SEARCH = "auto", "search"
DEFAULTS = RunOptions()


def train(
    source: str | None = None, /, *,
    weights: Annotated[str | None, Parameter(alias="-w")] = None,
    teacher: str | None = None,
    recipe: Annotated[str, Parameter(alias="-r")] = "default",
    lr: str | None = None,
    options: RunOptions = DEFAULTS,
) -> int:
    """Train a Vision Transformer on your images, from scratch or from trained weights.

        vitrail train photos/ --out first

        vitrail train photos/ --weights B_16.npz

        vitrail train fashion --model S/4 --epochs 20

        vitrail train --resume --out first

    Parameters
    ----------
    source
        A folder with one sub-folder per class, an archive.zip or .tar of one, a manifest .csv/.jsonl/.parquet with
        path and label, arrays.npz, an IDX folder, shards:PATTERN, hf:OWNER/NAME, or one of: fashion, digits.
    weights
        Trained weights to start from, in any format that vitrail reads: a run folder, a Bundle, .npz, .safetensors,
        a Hugging Face folder. Their head makes room for one of your classes.
    teacher
        A trained model that knows your classes, such as a larger one: a run folder, a Bundle, or any other format
        with names of classes. Its answers are learned beside the labels; see objective.distillation.
    recipe
        default, demo, finetune, paper_pretrain, paper_finetune, better_plain, bit, augreg (or one of its 28
        combinations, such as augreg-medium2-wd0.1-noreg), or a recipe.json.
    lr
        Learning rate; auto finds it by a range test of 100 steps, on weights that are put back; search trains with
        each rate of a grid (the paper's, for paper_finetune), takes the best on images set apart from train, and then
        trains on all of train; search:200 tries each for 200 steps only.
    """
    waits = parse_time(options.dist_timeout, "--dist-timeout")
    if options.devices not in (None, 1) and not is_launched():
        again = next_command(options.devices, sys.argv[1:])
        return launch(options.devices, sys.argv[1:], f"Go on from the last checkpoint: {again}")
    refuse_other_number(options.devices)
    told = Interrupts(at_once=options.dry_run and not is_launched())
    with told.listen() as interrupts, joined(waits, interrupts) as world:
        from vitrail.recipes.finetune import taught_by

        out = options.out
        changes = options.changes() | learning_rate(lr) | (taught_by(teacher) if teacher else {})
        begun = options.resume_or_start and world.told(holds_run(out, source, changes.get("objective.name")))
        if options.resume or begun:
            folder = out if begun and out else resumed_folder(
                out, source, options.model, weights, options.image_size, recipe, options.seed, lr, teacher)
            return go_on(folder, changes, options, interrupts, world)
        refuse_without_resume(options)
        chosen, opened = choose(source, recipe, options.model, weights, options.image_size, options.seed, changes)
        folder = world.told(out or next_folder(re.sub(r"\W+", "-", Path(chosen.data.source).stem).strip("-") or "run"))
        return begin(chosen, opened, folder, lr, options, interrupts, world)


def go_on(folder: Path, changes: dict[str, Any], options: RunOptions, interrupts: Interrupts, world: World) -> int:
    """Resume the run, or the search for its learning rate, that the folder holds."""
    from vitrail.rate_search import under_way
    from vitrail.recipe import read_recipe
    from vitrail.run import RECIPE, claim

    if under_way(folder):
        refuse_beside_search(changes, options.dry_run, options.allow_data_change, world.size)
        return search_and_show(folder, None, interrupts, quiet=options.quiet)
    claim(folder, resume=True)
    return train_and_show(read_recipe(folder / RECIPE).replaced(changes), folder, None, interrupts, resume=True,
                          dry_run=options.dry_run, quiet=options.quiet, allow_data_change=options.allow_data_change,
                          strict=options.strict, world=world)


def begin(chosen: Recipe, opened: Source, folder: Path, lr: str | None, options: RunOptions, interrupts: Interrupts,
          world: World) -> int:
    """A new run, after a search for its learning rate where that was asked for."""
    from vitrail.rate_search import begin as begin_search
    from vitrail.rate_search import under_way

    if under_way(folder):
        raise UsageError(f"A search for the learning rate is under way in {folder}. Go on with it by --resume, or "
                         "choose another --out.")
    if is_search(lr) and options.dry_run:
        trials = f"{search_steps(lr):,} steps" if search_steps(lr) else "as long a run"
        print(f"note: before this run, --lr search trains for {trials} with each of several rates", file=sys.stderr)
    elif is_search(lr):
        refuse_beside_search({}, False, False, world.size)
        begin_search(chosen, opened, folder, search_steps(lr))
        return search_and_show(folder, opened, interrupts, quiet=options.quiet)
    return train_and_show(chosen, folder, opened, interrupts, dry_run=options.dry_run, quiet=options.quiet,
                          find_rate=lr == AUTO, world=world)


def choose(source: str | None, name: str, model: str | None, weights: str | None, image_size: str | None,
           seed: int | None, changes: dict[str, Any]) -> tuple[Recipe, Source]:
    """The recipe and its opened source, from a name and the data, or from a file."""
    from vitrail.errors import UnknownNameError
    from vitrail.recipe import DataSettings, read_recipe, validated_data
    from vitrail.recipes import RECIPES, WITHOUT_LABELS
    from vitrail.recipes.finetune import weights_settings

    size = None if image_size is None else parse_size(image_size)
    if name.endswith(".json") or "/" in name:
        kept = read_recipe(Path(name))
        asked: dict[str, Any] = {"data.source": source, "model.name": model, "preprocess.size": size, "seed": seed}
        if weights is not None:
            asked["model.weights"] = weights_settings(weights, size).model_dump(mode="json")
        kept = kept.replaced({path: value for path, value in asked.items() if value is not None} | changes)
        return kept, kept.data.open()
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, [*RECIPES, "a file ending in .json"])
    if source is None:
        raise UsageError("Nothing to train on. Give a folder of images with one sub-folder per class, or a name such "
                         "as fashion: vitrail train photos/")
    data = {path.removeprefix("data."): value for path, value in changes.items() if path.startswith("data.")}
    unknown = set(data) - set(DataSettings.model_fields)
    if unknown:
        raise UnknownNameError("recipe key", f"data.{unknown.pop()}", [f"data.{n}" for n in DataSettings.model_fields])
    opened = validated_data(data | {"source": source, "labeled": name not in WITHOUT_LABELS}).open()
    learned = {"objective": changes["objective.name"]} if name == "pretrain" and "objective.name" in changes else {}
    chosen = RECIPES[name](opened, model=model, image_size=size, seed=seed or 0, weights=weights, **learned)
    return chosen.replaced(changes), opened


def refuse_other_number(devices: int | None) -> None:
    if devices is not None and is_launched() and devices != processes():
        raise UsageError(f"--devices {devices}, but {processes()} processes were started. Leave out "
                         "--devices under torchrun.")


def holds_run(out: Path | None, source: str | None, objective: str | None = None) -> bool:
    """Whether --resume-or-start is to go on. Raises UsageError where the folder holds a run of other images, or of
    another objective than the one that is asked for."""
    from vitrail.recipe import read_recipe
    from vitrail.run import RECIPE

    if out is None:
        raise UsageError("--resume-or-start needs a folder to find its run in: --out RUN")
    if not (out / RECIPE).exists():
        return False
    held = read_recipe(out / RECIPE)
    if source is not None and source != held.data.source:
        raise UsageError(f"{out} holds a run of {held.data.source}, not of {source}. Choose another --out.")
    if objective is not None and objective != held.objective.name:
        raise UsageError(f"{out} holds a run that learns by {held.objective.name}, not by {objective}. Choose another "
                         "--out.")
    return True


def refuse_without_resume(options: RunOptions) -> None:
    if options.allow_data_change:
        raise UsageError("--allow-data-change belongs to --resume: a new run takes its data as they are.")
    if options.strict:
        raise UsageError("--strict belongs to --resume: a new run has no checkpoint that could be damaged.")


def resumed_folder(out: Path | None, source: str | None, *others: Any) -> Path:
    if out is None and source is not None and (Path(source) / "recipe.json").exists():
        return Path(source)  # `vitrail train RUN --resume` is as clear as --out RUN
    if source is not None:
        raise UsageError(f"A resumed run keeps its data: leave out {source}, or start a new run without --resume.")
    if out is None:
        raise UsageError("Which run is to go on? Give its folder: vitrail train --resume --out RUN")
    if any(value is not None and value != "default" for value in others):
        raise UsageError("A resumed run keeps its model, weights, teacher, image size, recipe, seed and rate. Leave "
                         "them out, or start a new run with another --out.")
    return out


def learning_rate(given: str | None) -> dict[str, Any]:
    """A number as a setting of the optimizer; nothing for `auto` and `search`, which find it later."""
    if given in (None, AUTO) or is_search(given):
        search_steps(given)
        return {}
    try:
        rate = float(given or "")
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise UsageError(f"--lr {given} is not a learning rate. Use a number above 0, such as 0.001, auto or search.")
    return {"optimizer.learning_rate": rate}


@contextlib.contextmanager
def joined(timeout: float, interrupts: Interrupts) -> Iterator[World]:
    """The processes of this run; an error that ends it says who is lost."""
    from vitrail.training.parallel import join, lost_peers_named

    with join(timeout, interrupts) as world, lost_peers_named(world):
        yield world


def is_search(given: str | None) -> bool:
    return given is not None and given.partition(":")[0] == SEARCH


def search_steps(given: str | None) -> int | None:
    """Steps of each trial, from search:STEPS; None where they are as long as the run."""
    word, sign, steps = (given or "").partition(":")
    if not sign:
        return None
    if not (steps.isascii() and steps.isdigit() and int(steps)):
        raise UsageError(f"--lr {given}: {steps or 'nothing'} is not a number of steps. Use {word}, or {word}:200.")
    return int(steps)


def refuse_beside_search(changes: dict[str, Any], dry_run: bool, allow_data_change: bool, processes: int) -> None:
    """Raises UsageError where a search cannot have what was asked for."""
    if processes > 1:
        raise UsageError("A search for the learning rate runs in one process. Leave out --devices, and give the rate "
                         "that it finds to a run with several: --lr RATE")
    if changes or dry_run or allow_data_change:
        raise UsageError("This run still searches for its learning rate, with the recipe and the data of its "
                         "beginning. Resume it by --resume and --out alone.")


