"""The commands as functions, for notebooks and scripts: `vitrail.load`, `vitrail.train`, `vitrail.evaluate`, ..."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vitrail import evaluation
from vitrail import weights as published
from vitrail.bundle import Bundle
from vitrail.data.source import Source, Split, open_source
from vitrail.data.split import joined
from vitrail.errors import UnknownNameError, UsageError
from vitrail.evaluation import Evaluation
from vitrail.evaluation.frozen.features import Layer
from vitrail.evaluation.own_data import own_data
from vitrail.events import Finished
from vitrail.recipe import Recipe
from vitrail.recipes import RECIPES
from vitrail.recipes.finetune import taught_by
from vitrail.run import run
from vitrail.transfer.probe import measure, plan_probe
from vitrail.transfer.scores import Probed
from vitrail.transfer.tuning import RUNS, Tuning
from vitrail.vocabulary import Size


def load(path: str | Path, image_size: int | Size | None = None, patch: int | Size | None = None, *,
         heads: int | None = None, profile: str | None = None) -> Bundle:
    """A trained model from a run folder, a Bundle, any published format that `vitrail.weights` knows, or
    `hf:OWNER/NAME` on the Hugging Face hub, which is fetched once.

    `image_size`: for images of another size; positions are resampled as the code does that the weights come from.
    `patch`: for patches of another size, whose kernels are resized so that tokens stay what they were (2212.08013).
    `heads`, `profile`: attention heads, and whose numbers a file has that does not say so itself ("deit", "dino").
    Raises BundleError, and UsageError where the patches do not divide the image or there is no such profile.
    """
    return published.load(path, image_size, patch=patch, heads=heads, profile=profile)


def train(recipe: Recipe | str | Path, out: str | Path, *, weights: str | Path | None = None,
          teacher: str | Path | None = None) -> Bundle:
    """Train to the end and return the model; everything else is in the new run folder `out`.

    `recipe`: a Recipe, or a source of images for the default one. `weights`: trained ones to start from, in any format
    that `load` reads, for a source; a Recipe names its own. `teacher`: a model of the same classes whose answers are
    learned beside the labels, likewise. Raises VitrailError as `vitrail.run.run` does.
    """
    source, given = None, [name for name, value in (("weights", weights), ("teacher", teacher)) if value is not None]
    if not isinstance(recipe, Recipe):
        source = open_source(str(recipe))
        recipe = RECIPES["default"](source, weights=None if weights is None else str(weights))
        if teacher is not None:
            recipe = recipe.replaced(taught_by(str(teacher)))
    elif given:
        raise UsageError(f"A Recipe says itself which {given[0]} it learns from. Leave out {given[0]}, or give a "
                         "source.")
    for event in run(recipe, Path(out), source=source):
        if isinstance(event, Finished):
            return event.bundle
    raise AssertionError("a run ends with Finished or raises")


def evaluate(bundle: Bundle | str | Path, source: str | None = None, split: str | None = None) -> Evaluation:
    """Accuracy, per-class results, confusion and calibration on labeled images, matched by class name.

    `source`: as `vitrail train` takes it; the held-out images of the training run without. Raises DataError where an
    image carries a class that the model does not know.
    """
    loaded = bundle if isinstance(bundle, Bundle) else load(bundle)
    return evaluation.evaluate(loaded, choose_split(open_for(loaded, source), split)[1])


def probe(bundle: Bundle | str | Path, *sources: str, methods: Sequence[str] = ("few-shot", "knn"),
          shots: Sequence[int] = (1, 5, 10, 25), seeds: int = 3, examples: int | None = None,
          neighbors: Sequence[int] = (20,), temperature: float = 0.07, layer: Layer = "embedding",
          cache: str | Path | None = None, images: Sequence[int] = (), runs: str | Path = RUNS,
          image_size: int | Size | None = None) -> Probed:
    """What the frozen features of a model are worth on labeled images that it was not trained for.

    `sources`: as `vitrail train` takes them; several make a suite with a mean. `methods`: few-shot (`shots` images of
    each class, least squares in closed form), knn (`neighbors`, `temperature`), linear, logistic, finetune (on these
    numbers of `images`, from a model's path; its run folders in `runs` are taken up again). `seeds`: draws of
    training images. `examples`: at most so many for the other methods; all of one source, 1,000 each of several,
    without. `layer`: embedding, patches or both. `cache`: where features are kept. `image_size`: pixels at which a
    model looks that is given by its path.

    Raises UsageError for what cannot be asked, DataError for sources that cannot be learned from.
    """
    if isinstance(bundle, Bundle) and image_size is not None:
        raise UsageError("A Bundle has its size: load it with another one, vitrail.load(PATH, image_size).")
    methods = (methods,) if isinstance(methods, str) else methods
    loaded = bundle if isinstance(bundle, Bundle) else load(bundle, image_size)
    tuning = None if isinstance(bundle, Bundle) else Tuning(str(bundle), images=tuple(images), runs=Path(runs))
    return measure(plan_probe(loaded, sources, methods=methods, shots=shots, seeds=seeds, examples=examples,
                              neighbors=neighbors, temperature=temperature, layer=layer,
                              cache=None if cache is None else Path(cache), tuning=tuning))


def open_for(bundle: Bundle, spec: str | None) -> Source:
    """The source with labels in the Bundle's order. The data of its own training run is split as it was then, so that
    no training image is ever counted as a test image."""
    spec = spec or bundle.provenance.get("recipe", {}).get("data", {}).get("source")
    if spec is None:
        raise UsageError("This Bundle does not say what it was trained on. Give labeled images: "
                         "vitrail evaluate BUNDLE photos/")
    if (opened_then := own_data(bundle, spec)) is not None:
        return open_source(spec, classes=bundle.classes, **opened_then)
    return open_source(spec, classes=bundle.classes, divide=False)


def choose_split(source: Source, wanted: str | None) -> tuple[str, Split]:
    """The split asked for ("all" joins them), or the first of test, val and train that there is."""
    if wanted == "all":
        return "all", joined(list(source.splits.values()))
    if wanted is not None and wanted not in source.splits:
        raise UnknownNameError("split", wanted, [*source.splits, "all"])
    name = wanted or next(name for name in ("test", "val", "train") if name in source.splits)
    return name, source.splits[name]
