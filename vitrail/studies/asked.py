"""What was asked beside question, source and models: options that decide which runs there are. They stand in the plan
and on the page, and the page's name is of all of it, so that no answer takes the place of one to another question."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vitrail.data.source import Source

Options = Mapping[str, str]
"""By their names on the command line, only those that are not as they are without: {"--length": "1/4"}."""

BUILT_IN = ("fashion", "digits")
"""Sources that come with the package, whose names nothing of the user's has."""

LONGEST = 60
"""Letters of a page's name before its hash."""


def options_of(changes: Mapping[str, Any], **given: tuple[Any, Any]) -> Options:
    """`given`: for each option its value and what it is without; `changes`: those of --set."""
    found = {f"--{name}": str(value) for name, (value, usual) in given.items()
             if value is not None and value != usual}
    if changes:
        found["--set"] = " ".join(f"{name}={value}" for name, value in sorted(changes.items()))
    return found


def option_words(options: Options) -> str:
    return " ".join(f"{name} {value}" for name, value in options.items())


def page_name(question: str, source: Source, models: Sequence[str], options: Options) -> str:
    """In words, with a hash where they do not tell all: of the options, and of images that the user brings, as others
    may have the same name, or other images the same name tomorrow."""
    words = [question, source.spec.rstrip("/").split("/")[-1], *models]
    name = as_name(words)
    built_in = source.spec.split(":")[0] in BUILT_IN
    images = source.spec if built_in else source.fingerprint
    if built_in and not options and len(name) <= LONGEST:
        return name
    identity = json.dumps([question, images, list(models), dict(options)], sort_keys=True)
    told = as_name([*words, *(f"{option.strip('-')}-{value}" for option, value in options.items())])
    shown = told if len(told) <= LONGEST else name[:LONGEST].rstrip("-_")
    return f"{shown}-{hashlib.sha256(identity.encode()).hexdigest()[:6]}"


def as_name(words: Sequence[str]) -> str:
    return "-".join(re.sub(r"[^\w.+=-]+", "_", word).strip("_") for word in words)
