"""`vitrail compare`, as a user meets it."""

from __future__ import annotations

import json

import pytest
from test_cli import vitrail_cli  # noqa: F401
from tiny import tiny_recipe, train


def test_two_runs_as_a_table_as_markdown_and_as_json(vitrail_cli, tmp_path):  # noqa: F811
    for name, rate in (("slow", 1e-6), ("quick", 1e-2)):
        train(tiny_recipe(optimizer__learning_rate=rate, schedule__steps=60), tmp_path / "runs" / name)
    table = vitrail_cli("compare", "runs/slow", "runs/quick")
    assert table.code == 0
    assert "quick (best)" in table.out
    assert "quick against slow" in table.out
    row = next(line for line in table.out.splitlines() if "optimizer.learning_rate" in line)
    assert row.split() == ["optimizer.learning_rate", "0.01", "1e-06"]
    written = vitrail_cli("compare", "runs", "--markdown").out
    assert "| `optimizer.learning_rate` | 0.01 | 1e-06 |" in written
    value = json.loads(vitrail_cli("compare", "runs", "--json").out)
    assert value["differences"]["optimizer.learning_rate"] == [0.01, 1e-6]
    assert [run["path"] for run in value["runs"]] == ["runs/quick", "runs/slow"]


@pytest.mark.parametrize(("arguments", "code", "message"), [
    ((), 2, "Nothing to compare"), (("nowhere", "nowhere/else"), 1, "does not exist"),
    (("--json", "--markdown", "a", "b"), 2, "Give one of"), ((".", "."), 1, "neither a run nor a Bundle"),
])
def test_mistakes_are_explained(vitrail_cli, arguments, code, message):  # noqa: F811
    outcome = vitrail_cli("compare", *arguments)
    assert outcome.code == code
    assert message in outcome.err
