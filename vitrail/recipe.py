"""Recipe: one frozen value that decides a run - data, model, objective, optimizer, schedule and evaluation.

It is complete: `vitrail train --recipe RUN/recipe.json` does the run again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from vitrail.data.augment import Augmentation, MultiCrop
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import Source, open_source
from vitrail.errors import UnknownNameError, UsageError
from vitrail.models import ModelConfig, configure
from vitrail.objectives import DinoSettings, Distillation, MaeSettings, MaskedPatchSettings
from vitrail.training.adapters import AdapterSettings
from vitrail.training.checkpoint import recipe_hash
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.schedule import Schedule
from vitrail.training.start import HeadChoice

MOST_IN_A_BATCH = 2**17
"""Images that a step learns from: more than anybody trains with, and a slip of the finger beyond."""


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSettings(Settings):
    """`validation`: share of the training images set apart where the source has no validation split. `fraction` of the
    rest is trained on, drawn by `fraction_seed`: the same share of each class, smaller ones within larger ones."""

    source: str
    split_seed: int = 0
    validation: float = Field(0.1, ge=0, lt=1)
    workers: int | None = Field(None, ge=0, description="decoding threads; chosen by the machine's cores without")
    max_bad: float = Field(0.001, ge=0, le=1, description="largest share of unreadable training images")
    skip_bad_shards: bool = Field(False, description="go on without shards that are missing or cut short")
    fraction: float = Field(1.0, gt=0, le=1)
    fraction_seed: int = Field(0, ge=0)
    labeled: bool = Field(True, description="false: pictures need no labels, for an objective that reads none")

    def open(self) -> Source:
        return open_source(self.source, seed=self.split_seed, validation=self.validation,
                           skip_bad_shards=self.skip_bad_shards, labeled=self.labeled, fraction=self.fraction,
                           fraction_seed=self.fraction_seed)


class WeightsSettings(Settings):
    """Trained weights that a run starts from or learns from; `sha256` says which, wherever they lie. `image_size`,
    `patch` and `head_hidden` are those of the model in the file, `mean` and `std` of the pictures it learned from."""

    path: str
    sha256: str
    format: str
    image_size: tuple[int, int]
    patch: tuple[int, int] | None = None
    head_hidden: PositiveInt | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


class ModelSettings(Settings):
    """`name` as `vitrail describe` takes it; `settings` are fields of the config of its family other than classes
    and image size. `head`, of trained weights: "new" puts zeros in the place of the whole pre-training head, "keep"
    keeps it where its classes are those of the images, by name."""

    name: str
    settings: dict[str, Any] = {}
    weights: WeightsSettings | None = None
    head: HeadChoice = "new"

    def configure(self, classes: int, image_size: tuple[int, int]) -> ModelConfig:
        hidden = self.weights.head_hidden if self.weights and self.head == "keep" else None
        kept = {"head_hidden": hidden} if hidden else {}
        return configure(self.name, **{**self.settings, **kept, "classes": classes, "image_size": image_size})


OWNERS = {"masked_patch": "masked-patch", "mae": "mae", "dino": "dino"}
"""Settings of an objective that are those of one name alone; the others belong to classify."""


class ObjectiveSettings(Settings):
    """`loss` "auto": softmax for one label an image, sigmoid for several. With a `teacher`, a trained model that knows
    the same classes, `teacher_share` of the loss compares its answers: the best one (`distillation` "hard") or all of
    them ("soft", at a `temperature`). What has no labels has settings of its own, such as `masked_patch`."""

    name: Literal["classify", "masked-patch", "mae", "dino"] = "classify"
    loss: Literal["auto", "softmax", "sigmoid"] = "auto"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    teacher: WeightsSettings | None = None
    distillation: Distillation = "hard"
    teacher_share: float = Field(0.5, gt=0, le=1)
    temperature: PositiveFloat = 3.0
    masked_patch: MaskedPatchSettings = MaskedPatchSettings()
    mae: MaeSettings = MaeSettings()
    dino: DinoSettings = DinoSettings()

    @property
    def labeled(self) -> bool:
        """Whether labels are learned; if not, the model has no head."""
        return self.name == "classify"

    def owns(self, setting: str) -> bool:
        """Whether it belongs to this objective, and not to another one."""
        return setting == "name" or OWNERS.get(setting, "classify") == self.name

    def unused(self) -> list[str]:
        """Settings that were changed and belong to another objective than this one."""
        return [name for name in self.model_dump(exclude_defaults=True) if not self.owns(name)]


def lone_word(given: Any) -> Any:
    """One name or number for a list of one, as `--set training.freeze=encoder` gives it."""
    return (given,) if isinstance(given, str | int) else given


class TrainingSettings(Settings):
    """`micro_batches`: parts of a batch whose gradients are added up, at least. `precision` "auto": whatever is faster.
    `freeze`: parts that stay as they are, such as encoder.blocks.[0-5]; with ! in front, parts that do not."""

    batch_size: Annotated[int, Field(ge=1, le=MOST_IN_A_BATCH)] = 128
    micro_batches: PositiveInt = 1
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    average: float | None = Field(None, gt=0, lt=1, description="how much stays at each step of a moving average of "
                                  "the weights, which the Bundle then holds; none without")
    freeze: Annotated[tuple[str, ...], BeforeValidator(lone_word)] = ()
    adapters: AdapterSettings = AdapterSettings()
    shard: bool = Field(False, description="give each of several processes a part of every parameter (FSDP2), where "
                        "the whole model does not fit on one device")
    recompute: bool = Field(False, description="compute the inside of blocks twice, for a fraction of the memory")
    compile: bool = Field(False, description="compile blocks by torch.compile, which takes a minute at first")
    log_every: PositiveInt = Field(10, description="steps between rows of the journal")
    checkpoint_seconds: PositiveFloat = Field(120.0, description="time between checkpoints")


class EvaluationSettings(Settings):
    """`every_epochs`: validation during the run. `keep`: the last weights, or the best by validation. `probe_every`:
    epochs between two measurements of the frozen features by few-shot and nearest neighbors, none without; on the run's
    own labels, or those of the source `probe_on`."""

    every_epochs: PositiveFloat = 1.0
    keep: Literal["last", "best"] = "last"
    batch_size: PositiveInt = 128
    probe_every: PositiveFloat | None = None
    probe_on: str | None = None
    probe_shots: Annotated[tuple[PositiveInt, ...], BeforeValidator(lone_word), Field(min_length=1)] = (10,)
    probe_images: PositiveInt = Field(2_000, description="at most so many vote, and at most so many are asked about")


class Recipe(Settings):
    """A whole run as one value. `replaced` changes dotted settings; JSON goes in and out by pydantic."""

    name: str = "custom"
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataSettings
    model: ModelSettings
    preprocess: Preprocess
    augmentation: Augmentation = Augmentation()
    objective: ObjectiveSettings = ObjectiveSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: Schedule
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    reasons: dict[str, str] = Field({}, description="why a default was chosen, for the box that opens the run")

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        channels = self.model.configure(2, self.preprocess.size).channels
        if channels != CHANNELS:
            raise ValueError(f"the model takes images of {channels} channels; pictures have {CHANNELS}")
        if self.model.head == "keep" and self.model.weights is None:
            raise ValueError("model.head=keep needs weights whose head is to be kept: --weights FILE")
        if strange := self.objective.unused():
            raise ValueError(f"objective.{strange[0]} does not belong to objective.name={self.objective.name}; leave "
                             "it as it is by default")
        if self.objective.labeled and not self.data.labeled:
            raise ValueError("objective.name=classify learns labels: leave out data.labeled=false, or pretrain")
        if not self.objective.labeled and self.model.head == "keep":
            raise ValueError(f"objective.name={self.objective.name} trains no head: leave out model.head=keep")
        if not self.objective.labeled and (self.augmentation.mixup or self.augmentation.cutmix):
            raise ValueError(f"objective.name={self.objective.name} has no labels to mix: set augmentation.mixup=0 and "
                             "augmentation.cutmix=0")
        if self.objective.name == "dino" and self.training.average is not None:
            raise ValueError("objective.name=dino has a moving average of its own, the teacher, which the Bundle then "
                             "holds: leave out training.average")
        if self.objective.name == "dino" and self.augmentation.crop != "none":
            raise ValueError("objective.name=dino cuts crops of its own, augmentation.multi_crop: set "
                             "augmentation.crop=none")
        if self.objective.name != "dino" and self.augmentation.multi_crop != MultiCrop():
            raise ValueError(f"augmentation.multi_crop is for objective.name=dino; {self.objective.name} sees one crop "
                             "of a picture: leave it as it is by default")
        if self.evaluation.probe_on is not None and self.evaluation.probe_every is None:
            raise ValueError("evaluation.probe_on says on which images to probe, but not how often: --probe-every 1")
        if self.objective.teacher is None and (unused := self.objective.model_dump(
                include={"distillation", "teacher_share", "temperature"}, exclude_defaults=True)):
            raise ValueError(f"objective.{next(iter(unused))} needs a teacher: --teacher BUNDLE")
        if self.training.freeze and self.training.adapters.rank:
            raise ValueError("adapters freeze all but what adapters.trained names, so leave out training.freeze")
        if self.training.micro_batches > self.training.batch_size:
            raise ValueError(f"{self.training.micro_batches} micro-batches cannot be made of a batch of "
                             f"{self.training.batch_size}")
        return self

    def identity(self) -> str:
        """Hash of all that a resumed run must share; how long it lasts and how often it reports may change.

        Settings at their defaults are left out, so that a new one, which is off by default, ends no older run.
        """
        return recipe_hash(self._shared())

    def changed_from(self, other: Recipe) -> list[str]:
        """What keeps it from going on with a run of the other one, as "optimizer.learning_rate is 0.1, was 0.2"."""
        ours, theirs = flat(self._shared()), flat(other._shared())
        is_, was = flat(self.model_dump(mode="json")), flat(other.model_dump(mode="json"))
        return [f"{name} is {is_.get(name)}, was {was.get(name)}" for name in sorted(ours.keys() | theirs.keys())
                if ours.get(name) != theirs.get(name)]

    def _shared(self) -> dict[str, Any]:
        value = self.model_dump(mode="json", exclude={"reasons", "name"}, exclude_defaults=True)
        for part, names in {"training": ("log_every", "checkpoint_seconds", "micro_batches", "shard", "compile"),
                            "data": ("workers", "skip_bad_shards"), "schedule": LENGTHS,
                            "evaluation": tuple(EvaluationSettings.model_fields)}.items():
            for name in names:
                value.get(part, {}).pop(name, None)
        value = {part: inner for part, inner in value.items() if inner != {}}
        if self.model.weights is not None:
            del value["model"]["weights"]["path"]  # the same file elsewhere
        if self.objective.teacher is not None:
            del value["objective"]["teacher"]["path"]
        return value

    def replaced(self, changes: dict[str, Any]) -> Recipe:
        """A copy with dotted settings changed: `{"optimizer.learning_rate": 3e-4}`. Raises UsageError."""
        value = self.model_dump(mode="json")
        for path, setting in changes.items():
            assign(value, path, setting)
            for part, reason in REASONED.items():
                if f"{path}.".startswith(f"{part}."):
                    value["reasons"].pop(reason, None)  # it was not a default, then
        batch = self.training.batch_size
        asked = value["training"]["batch_size"]
        if "training.micro_batches" not in changes and isinstance(asked, int):
            value["training"]["micro_batches"] = min(self.training.micro_batches, max(1, asked))
        if changes.get("training.batch_size", batch) != batch and "optimizer.learning_rate" not in changes:
            value["reasons"]["optimizer"] = f"the learning rate stays that of batches of {batch}"
        return validated_recipe(value)


CHANNELS = 3  # of every picture, by the one way to decode them
REASONED = {"schedule": "length", "model": "model", "preprocess": "images", "optimizer": "optimizer",
            "objective.dino": "learning"}
LENGTHS = ("epochs", "steps", "seconds")


def assign(value: dict[str, Any], path: str, setting: Any) -> None:
    """Set one dotted key of a nested recipe; an unknown key is an error that names the nearest."""
    *parents, last = path.split(".")
    inner = value
    for depth, name in enumerate(parents):
        if not isinstance(inner.get(name), dict):
            raise UnknownNameError("recipe key", path, near_keys(inner, parents[:depth])) from None
        inner = inner[name]
        if parents[: depth + 1] == ["model", "settings"]:
            break
    free = parents == ["model", "settings"]
    if last not in inner and not free:
        raise UnknownNameError("recipe key", path, near_keys(inner, parents))
    if parents == ["schedule"] and last in LENGTHS:
        inner.update(dict.fromkeys(LENGTHS))  # the three exclude one another: the newest counts
    inner[last] = setting


def near_keys(inner: dict[str, Any], parents: list[str]) -> list[str]:
    """The keys of the part of a recipe where one was looked for: all of them are too many to read."""
    return known_keys(inner, "".join(f"{name}." for name in parents))


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= flat(inner, f"{prefix}{name}.") if isinstance(inner, dict) else {prefix + name: inner}
    return found


def known_keys(value: dict[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for name, inner in value.items():
        if isinstance(inner, dict) and prefix + name != "model.settings":
            keys += known_keys(inner, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def validated_recipe(value: Any) -> Recipe:
    """Raises UsageError that says which key is wrong, what was given and what is allowed."""
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden" and isinstance(value, dict):
            known = known_keys(json.loads(example_recipe().model_dump_json()))
            raise UnknownNameError("recipe key", ".".join(map(str, first["loc"])), known) from None
        raise UsageError(what_is_wrong(error)) from None


def validated_data(value: dict[str, Any]) -> DataSettings:
    """The part of a recipe that has to be known before the images are opened. Raises UsageError likewise."""
    try:
        return DataSettings.model_validate(value)
    except ValidationError as error:
        raise UsageError(what_is_wrong(error, "data")) from None


def what_is_wrong(error: ValidationError, part: str = "") -> str:
    first = error.errors()[0]
    where = ".".join(map(str, [*([part] if part else []), *first["loc"]]))
    unknown = first["type"] == "extra_forbidden"
    message = "is not a key of a recipe" if unknown else first["msg"].removeprefix("Value error, ")
    if first["type"] in ("model_type", "dict_type"):
        message = f"has settings of its own, which are set one by one: --set {where}.NAME=VALUE"
    given = "" if first["type"] in ("value_error", "missing") else f" (given: {first['input']!r})"
    return f"Recipe{': ' + where if where else ''}: {message}{given}."


def example_recipe() -> Recipe:
    """The smallest recipe, to read the names of keys from."""
    return Recipe(data=DataSettings(source="fashion"), model=ModelSettings(name="Ti/4"),
                  preprocess=Preprocess(size=(28, 28)), schedule=Schedule(epochs=1))


def read_recipe(path: Path) -> Recipe:
    """A recipe from a JSON file, as a run folder holds one. Raises UsageError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"The recipe {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise UsageError(f"The recipe {path} is not valid JSON: {error}.") from None
    return validated_recipe(value)
