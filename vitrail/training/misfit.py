"""Why tensors by name do not fit a model, in words: which only one side has, and which have another shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

SHOWN = 3
Shapes = Mapping[str, Sequence[int]]


def misfit(there: Shapes, here: Shapes) -> str:
    """Empty where `there`, what was saved, is exactly what `here`, the model, takes."""
    words = []
    for names, what in ((there.keys() - here.keys(), "the model has no"), (here.keys() - there.keys(), "it has no")):
        if names:
            words.append(f"{what} {first(names)}")
    differing = [f"{name} is {tuple(there[name])} there and {tuple(here[name])} here" for name in sorted(there)
                 if name in here and tuple(there[name]) != tuple(here[name])]
    if differing:
        words.append("; ".join(differing[:SHOWN]) + rest(len(differing)))
    return "; ".join(words)


def first(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:SHOWN]) + rest(len(found))


def rest(count: int) -> str:
    return f" and {count - SHOWN} more" if count > SHOWN else ""
