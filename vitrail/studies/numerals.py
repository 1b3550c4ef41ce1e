"""Numbers as sentences say them: no digit more than is known."""

from __future__ import annotations

import math


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def rounded(value: float) -> str:
    """Two digits: more would be a promise."""
    if value < 10:
        return f"{value:.0f}"
    scale = 10 ** (math.floor(math.log10(value)) - 1)
    return f"{round(value / scale) * scale:,.0f}"
