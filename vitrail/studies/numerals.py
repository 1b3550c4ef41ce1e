"""Numbers and words as sentences say them: no digit more than is known."""

from __future__ import annotations

import math
from typing import NamedTuple


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def chance_words(probability: float) -> str:
    """Nothing is sure and nothing impossible."""
    return "above 99 %" if probability > 0.99 else "below 1 %" if probability < 0.01 else percent(probability, 0)


def rounded(value: float) -> str:
    """Two digits: more would be a promise."""
    if value < 10:
        return f"{value:.0f}"
    scale = 10 ** (math.floor(math.log10(value)) - 1)
    return f"{round(value / scale) * scale:,.0f}"


class Unit(NamedTuple):
    """Of compute: `exaflops` is its size, `name` its word in the plural."""

    name: str
    exaflops: float

    def number(self, exaflops: float) -> str:
        """So many of it, in three digits, or whole."""
        value = exaflops / self.exaflops
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"

    def words(self, exaflops: float) -> str:
        return f"{self.number(exaflops)} {self.name}"


UNITS = (Unit("megaFLOPs", 1e-12), Unit("gigaFLOPs", 1e-9), Unit("teraFLOPs", 1e-6), Unit("petaFLOPs", 1e-3),
         Unit("exaFLOPs", 1.0), Unit("zettaFLOPs", 1e3))


def unit_for(exaflops: float) -> Unit:
    """The largest unit of which this is one at least."""
    return next((unit for unit in reversed(UNITS) if exaflops >= unit.exaflops), UNITS[0])


def times(ratio: float) -> str:
    """How many times: 0.42, 3.1, 47."""
    return f"{ratio:.2f}" if ratio < 0.995 else f"{ratio:.1f}" if ratio < 9.95 else rounded(ratio)


def capital(words: str) -> str:
    return words[:1].upper() + words[1:]
