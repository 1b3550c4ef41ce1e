"""Parameters that stay as they are, by the names of the parts that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from vitrail.errors import UnknownNameError, UsageError


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Take gradients from what the patterns name, and return those names.

    A pattern is a parameter or a part, with * for anything: `encoder`, `encoder.blocks.[0-5]`, `*.norm1.*`. One that
    starts with ! keeps what it names: `("*", "!head")` trains the head alone. Raises UnknownNameError for a pattern
    that names nothing, UsageError where nothing would be left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if is_named(name, pattern.removeprefix("!"))}
        if not found:
            raise UnknownNameError("part of the model", pattern.removeprefix("!"), parts_of(names))
        chosen = chosen - found if pattern.startswith("!") else chosen | found
    if len(chosen) == len(names):
        raise UsageError(f"Nothing is left to train: {', '.join(patterns)} freezes every parameter. "
                         "Keep a part with !, such as !head.")
    for name, parameter in model.named_parameters():
        if name in chosen:
            parameter.requires_grad_(False)
    return sorted(chosen)


def is_named(name: str, pattern: str) -> bool:
    """Whether a pattern names a parameter or a part that holds it."""
    steps = name.split(".")
    return any(fnmatchcase(".".join(steps[:end]), pattern) for end in range(1, len(steps) + 1))


def parts_of(names: Iterable[str]) -> list[str]:
    """Every part and parameter, in the order of the model."""
    parts: dict[str, None] = {}
    for name in names:
        steps = name.split(".")
        parts |= dict.fromkeys(".".join(steps[:end]) for end in range(1, len(steps) + 1))
    return list(parts)
