"""How a model's parameters lie in a published file, as a list of rules that are read in both directions.

A rule ties some of our parameters to some keys of the file, with their shapes and the two ways between them. So one
list says what is missing, unknown or of another shape, and reading and writing cannot drift apart.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vitrail.bundle import Bundle, BundleConfig, describe_differences
from vitrail.errors import BundleError
from vitrail.models import HybridConfig, Model, ModelConfig, ViTConfig, build
from vitrail.models.families import build_with
from vitrail.weights.contract import Reading
from vitrail.weights.opened import Opened, Shapes

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Rule:
    """`read` takes the file's tensors in the order of `theirs` and gives ours; `write` is its inverse."""

    ours: tuple[str, ...]
    theirs: Mapping[str, tuple[int, ...]]
    read: Callable[..., Tensors]
    write: Callable[..., Tensors]


def same(ours: str, theirs: str, shape: Sequence[int]) -> Rule:
    """The same numbers in the same order, perhaps with other axes of one (`cls_token` is [1, 1, width])."""
    there = tuple(shape)
    return Rule((ours,), {theirs: there}, lambda value: (value,), lambda value: (value.reshape(there),))


def layer(ours: str, theirs: str, outputs: int, inputs: int, bias: bool = True) -> list[Rule]:
    """A linear layer as PyTorch keeps it."""
    rules = [same(f"{ours}.weight", f"{theirs}.weight", (outputs, inputs))]
    return [*rules, same(f"{ours}.bias", f"{theirs}.bias", (outputs,))] if bias else rules


def norm(ours: str, theirs: str, width: int) -> list[Rule]:
    return [same(f"{ours}.{part}", f"{theirs}.{part}", (width,)) for part in ("weight", "bias")]


def stacked(ours: str, theirs: Sequence[str], part: str, *shape: int) -> Rule:
    """Layers that stand side by side in ours: q, k and v; the two halves of a gated unit."""
    return Rule((f"{ours}.{part}",), {f"{name}.{part}": shape for name in theirs},
                lambda *values: (torch.cat(values),), lambda value: value.chunk(len(theirs)))


def stacked_layer(ours: str, theirs: Sequence[str], outputs: int, inputs: int, bias: bool = True) -> list[Rule]:
    """`outputs`: of each of them."""
    rules = [stacked(ours, theirs, "weight", outputs, inputs)]
    return [*rules, stacked(ours, theirs, "bias", outputs)] if bias else rules


def convolution(ours: str, theirs: str, shape: Sequence[int]) -> Rule:
    """A convolution that lies as [height, width, inputs, outputs]. `shape`: [outputs, inputs, height, width]."""
    outputs, inputs, *sides = shape
    return Rule((ours,), {theirs: (*sides, inputs, outputs)}, lambda kernel: (kernel.permute(3, 2, 0, 1),),
                lambda weight: (weight.reshape(outputs, inputs, *sides).permute(2, 3, 1, 0),))


def query_key_value(ours: str, theirs: Sequence[str], width: int, biased: Sequence[bool]) -> list[Rule]:
    """Three layers side by side, of which some may have no bias: zeros in ours, unless none has one. Only read."""
    rules = [stacked(ours, theirs, "weight", width, width)]
    if not any(biased):
        return rules

    def read(*given: Tensor) -> Tensors:
        values = iter(given)
        return (torch.cat([next(values) if one else torch.zeros(width) for one in biased]),)

    keys = {f"{name}.bias": (width,) for name, one in zip(theirs, biased, strict=True) if one}
    return [*rules, Rule((f"{ours}.bias",), keys, read, only_read)]


def only_read(*ours: Tensor) -> Tensors:
    """The other way of a rule for files that are not written."""
    raise BundleError("vitrail reads files of this kind but does not write them. Choose another: "
                      "vitrail convert --to vitrail.")


def patches(ours: ViTConfig, theirs: str) -> list[Rule]:
    name, shape = cutting(ours)
    rules = [same(f"{name}.weight", f"{theirs}.weight", shape)]
    return [*rules, same(f"{name}.bias", f"{theirs}.bias", (ours.width,))] if ours.patch_bias else rules


def cutting(config: ViTConfig) -> tuple[str, tuple[int, ...]]:
    """The layer that makes tokens of patches, and its weight's shape: a hybrid's patches are of its feature map."""
    if isinstance(config, HybridConfig):
        config, name = config.on_features, "patchify.embedding"
    else:
        name = "patchify"
    return name, (config.width, config.channels, *config.patch)


TABLE = "encoder.positions.tables.0."


def positions(config: ViTConfig, theirs: str, leading: tuple[int, ...] = (1,)) -> Rule:
    """One table, the class tokens' places first. `leading`: axes in front of those for places and numbers."""
    front, shape = config.class_tokens, (*leading, config.class_tokens + config.patches, config.width)
    return Rule((TABLE + "class_position", TABLE + "table"), {theirs: shape},
                lambda table: (table[..., :front, :], table[..., front:, :]),
                lambda first, table: (torch.cat((first, table)).reshape(shape),))


def reading(config: BundleConfig, rules: Iterable[Rule], given: Opened, shapes: Shapes | None = None,
            tensor: Callable[[str], Tensor] | None = None) -> Reading:
    """What a format answers that has rules. `shapes`, `tensor`: where they are not simply those of the file."""
    table, shapes, tensor = list(rules), given.shapes if shapes is None else shapes, tensor or given.tensor

    def part(name: str) -> Tensor:
        rule = next(rule for rule in table if name in rule.ours)
        return rule.read(*(tensor(theirs) for theirs in rule.theirs))[rule.ours.index(name)]

    return Reading(config, lambda: assemble(config, table, shapes, tensor, given.path), part, given.path)


def assemble(config: BundleConfig, rules: Iterable[Rule], shapes: Shapes, tensor: Callable[[str], Tensor],
             path: Path) -> Bundle:
    """The Bundle: keys and shapes are compared first, then one tensor at a time is read. Raises BundleError."""
    rules = list(rules)
    compare(rules, shapes, path)
    with torch.device("meta"):
        wanted = build(config.model).state_dict()
    # All of the model first, then the file's tensors one by one: between them, they would leave holes in memory. And
    # copied: a view would keep all of the file's tensor, and is slower.
    places = {name: torch.empty(value.shape) for name, value in wanted.items()}
    weights = {name: value for name, value in places.items() if value.numel() == 0}
    for rule in rules:
        given = [finite(tensor(name), name, path) for name in rule.theirs]
        for name, value in zip(rule.ours, rule.read(*given), strict=True):
            weights[name] = places[name].copy_(value.reshape(wanted[name].shape))
        del given
    model = build_with(config.model, weights)
    return Bundle(model.eval().requires_grad_(False), config.preprocess, config.classes, config.activation,
                  dict(config.provenance))


def compare(rules: Iterable[Rule], shapes: Shapes, path: Path) -> None:
    expected = {name: shape for rule in rules for name, shape in rule.theirs.items()}
    if differing := describe_differences(expected, shapes):
        raise BundleError(f"{path} does not fit the model that it seems to hold: {'; '.join(differing)}. "
                          "Nothing was loaded.")


def shape_of(shapes: Shapes, name: str, axes: int, path: Path) -> tuple[int, ...]:
    """What a model is told from. Raises BundleError where it is missing, or of another number of axes."""
    found = shapes.get(name)
    if found is None:
        raise BundleError(f"{path} does not fit the model that it seems to hold: {name} is missing. "
                          "Nothing was loaded.")
    if len(found) != axes or 0 in found:
        raise BundleError(f"{path}: {name} is {found}, where {axes} axes are expected.")
    return found


def finite(value: Tensor, name: str, path: Path) -> Tensor:
    if value.numel() and not math.isfinite(float(value.abs().max())) and not bool(value.isfinite().all()):
        raise BundleError(f"{path}: {name} holds numbers that are not finite. Use another copy.")
    return value


def lay_out(model: Model, rules: Iterable[Rule], format_name: str) -> dict[str, Tensor]:
    """The file's tensors by key, float32 on the CPU. Raises BundleError where a parameter has no place there."""
    weights = {name: value.detach().float().cpu() for name, value in model.state_dict().items()}
    result: dict[str, Tensor] = {}
    placed: set[str] = set()
    for rule in rules:
        values = rule.write(*(weights[name] for name in rule.ours))
        result |= {name: value.contiguous() for name, value in zip(rule.theirs, values, strict=True)}
        placed.update(rule.ours)
    if left := sorted(name for name, value in weights.items() if value.numel() and name not in placed):
        raise BundleError(f"The format {format_name!r} has no place for {', '.join(left[:5])}"
                          f"{' and more' if len(left) > 5 else ''}. Choose another: vitrail convert --to vitrail.")
    return result


def refuse_numerics(config: ModelConfig, allowed: Mapping[str, Sequence[object]], format_name: str) -> None:
    """A file without settings cannot say that its numbers are meant otherwise, so such models are not written.

    How positions are resampled decides nothing at the model's own image size: there it is a warning.
    """
    strange = {name: f"{name} is {getattr(config, name)!r}, not {' or '.join(map(repr, values))}"
               for name, values in allowed.items() if getattr(config, name) not in values}
    if set(strange) == {"resampling"}:
        size = "x".join(map(str, config.image_size))
        warnings.warn(f"The same numbers at {size} pixels; at other image sizes readers of the format {format_name!r} "
                      f"resample positions by another rule: {strange['resampling']}.", stacklevel=2)
    elif strange:
        raise BundleError(f"The format {format_name!r} cannot hold this model: {'; '.join(strange.values())}. "
                          "Choose another: vitrail convert --to vitrail.")
