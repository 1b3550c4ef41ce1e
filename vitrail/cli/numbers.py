"""Whole numbers on the command line, strictly: 1.5 and -1 are mistakes, not 2 and the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter, Token


def whole(type_: Any, tokens: Sequence[Token]) -> int:
    """The number, or ValueError that says what is allowed."""
    text = tokens[0].value
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text} is not a whole number from 0 on")
    return int(text)


def counted(type_: Any, tokens: Sequence[Token]) -> int:
    """A whole number from 1 on."""
    value = whole(type_, tokens)
    if value == 0:
        raise ValueError("0 is too few: give a whole number from 1 on")
    return value


def all_counted(type_: Any, tokens: Sequence[Token]) -> tuple[int, ...]:
    """Whole numbers from 1 on."""
    return tuple(counted(int, [token]) for token in tokens)


Whole = Annotated[int, Parameter(converter=whole)]
Count = Annotated[int, Parameter(converter=counted)]
Counts = Annotated[tuple[int, ...], Parameter(converter=all_counted, consume_multiple=True, negative=())]
