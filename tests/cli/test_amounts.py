"""Times and accuracies as they are typed."""

from __future__ import annotations

import pytest
from cyclopts import Token

from vitrail.cli.numbers import accuracy
from vitrail.cli.run_options import parse_time
from vitrail.errors import UsageError


@pytest.mark.parametrize(("text", "share"), [("0.94", 0.94), ("94%", 0.94), (" 94 % ", 0.94), ("1", 1.0)])
def test_an_accuracy_is_a_share_or_in_percent(text: str, share: float) -> None:
    assert accuracy(float, [Token(value=text)]) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "much", "94 percent"])
def test_what_is_no_accuracy(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no accuracy such as 0\.94 or 94%"):
        accuracy(float, [Token(value=text)])


@pytest.mark.parametrize(("text", "seconds"), [
    ("90s", 90), ("90", 90), ("10m", 600), ("2 h", 7200), ("1h30m", 5400), ("1h 2min 3s", 3723), ("0.5m", 30)])
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0h0m", "-5m", "30m1h", "soon", "inf", "1d", "9" * 400])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(UsageError, match="1h30m"):
        parse_time(text)
