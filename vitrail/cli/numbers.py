"""Numbers on the command line. Whole ones strictly: 1.5 and -1 are mistakes, not 2 and the last one."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any

from cyclopts import Parameter, Token


def whole(type_: Any, tokens: Sequence[Token]) -> int:
    """The number, or ValueError that says what is allowed."""
    return number(tokens[0].value, 0)


def counted(type_: Any, tokens: Sequence[Token]) -> int:
    """A whole number from 1 on."""
    return number(tokens[0].value, 1)


def number(text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ValueError(f"{text} is not a whole number from {least} on")
    return int(text)


def all_counted(type_: Any, tokens: Sequence[Token]) -> tuple[int, ...]:
    """Whole numbers from 1 on."""
    return tuple(counted(int, [token]) for token in tokens)


def all_shares(type_: Any, tokens: Sequence[Token]) -> tuple[float, ...]:
    """Numbers that may be fractions, such as 1/3."""
    found = []
    for token in tokens:
        try:
            found.append(float(Fraction(token.value)))
        except (ValueError, ZeroDivisionError, OverflowError):
            raise ValueError(f"{token.value} is no number such as 0.3, 1/3 or 3") from None
    return tuple(found)


def accuracy(type_: Any, tokens: Sequence[Token]) -> float:
    """0.94 or 94%."""
    text = tokens[0].value.strip()
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"{text} is no accuracy such as 0.94 or 94%") from None


Accuracy = Annotated[float, Parameter(converter=accuracy)]
Whole = Annotated[int, Parameter(converter=whole)]
Count = Annotated[int, Parameter(converter=counted)]
Counts = Annotated[tuple[int, ...], Parameter(converter=all_counted, consume_multiple=True, negative=())]
Shares = Annotated[tuple[float, ...], Parameter(converter=all_shares, consume_multiple=True, negative=())]
