from __future__ import annotations

import pytest

from vitrail.report.words import clipped, counted, duration, percent, short


@pytest.mark.parametrize(("fraction", "text"), [
    (0.874, "87.4 %"), (0, "0 %"), (1.0, "100 %"), (0.9999, "> 99.9 %"), (0.0001, "< 0.1 %"), (None, "\u2013")])
def test_percent(fraction: float | None, text: str) -> None:
    assert percent(fraction).replace("\u00a0", " ") == text


@pytest.mark.parametrize(("seconds", "text"), [
    (3.21, "3.2 s"), (9.97, "10 s"), (59.7, "1 min 0 s"), (72, "1 min 12 s"), (3600, "1 h 0 min"), (7325, "2 h 2 min")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds).replace("\u00a0", " ") == text


@pytest.mark.parametrize(("count", "text"), [(999, "999"), (544_266, "544,266"), (5_717_416, "5.72 million"),
                                             (17.6e9, "17.6 billion"), (1.2e12, "1.2 trillion")])
def test_short(count: float, text: str) -> None:
    assert short(count).replace("\u00a0", " ") == text


def test_counted_and_clipped() -> None:
    assert counted(1, "image") == "1\u00a0image"
    assert counted(1200, "image") == "1,200\u00a0images"
    assert clipped("cat") == "cat"
    assert len(clipped("x" * 90)) == 40
