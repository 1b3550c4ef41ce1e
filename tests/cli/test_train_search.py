"""`vitrail train --lr search`, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_cli import vitrail_cli  # noqa: F401

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_paper_s_grid_is_searched_and_the_run_says_what_was_seen(vitrail_cli, tmp_path):  # noqa: F811
    np.savez("token.npz", **np.load(GOLDEN / "vit_token.npz"))
    outcome = vitrail_cli("train", "digits", "--recipe", "paper_finetune", "--weights", "token.npz", "--image-size",
                          "48", "--lr", "search:2", "--steps", "3", "--set", "training.batch_size=8", "--set",
                          "training.micro_batches=1", "--out", "run")
    assert outcome.code == 0, outcome.err
    for number, rate in enumerate(("0.001", "0.003", "0.01", "0.03"), start=1):
        assert f"learning rate {rate}, {number} of 4: measured on 130 images" in outcome.err
        assert (tmp_path / "run" / "rates" / rate / "report.html").exists()
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    seen = "best on 130 dev images set apart from train after 2 steps (0.001: "
    assert recipe["reasons"]["optimizer"].startswith(seen)
    assert recipe["optimizer"]["learning_rate"] in (0.001, 0.003, 0.01, 0.03)
    assert recipe["reasons"]["optimizer"] in outcome.err
    assert "test accuracy" in outcome.out
    assert vitrail_cli("compare", "run/rates", "--json").code == 0
    again = vitrail_cli("train", "--resume", "--out", "run", "--quiet")
    assert again.code == 0


@pytest.mark.parametrize(("arguments", "words"), [
    (("--resume", "--out", "run", "--set", "seed=1"), "still searches for its learning rate"),
    (("--resume", "--out", "run", "--dry-run"), "still searches for its learning rate"),
    (("digits", "--out", "run"), "is under way in run. Go on with it by --resume"),
    (("digits", "--out", "run", "--lr", "search"), "is under way in run. Go on with it by --resume"),
    (("digits", "--out", "full", "--lr", "search"), "full is not empty"),
    (("digits", "--out", "new", "--lr", "search:many"), "not a number of steps"),
])
def test_what_does_not_fit_a_search_is_refused(vitrail_cli, tmp_path, arguments, words):  # noqa: F811
    from tiny import tiny_recipe

    from vitrail.data.source import open_source
    from vitrail.rate_search import begin

    begin(tiny_recipe(), open_source("digits"), tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    outcome = vitrail_cli("train", *arguments)
    assert outcome.code == 2
    assert words in outcome.err


def test_a_dry_run_says_that_a_search_comes_first(vitrail_cli):  # noqa: F811
    outcome = vitrail_cli("train", "digits", "--model", "mu/4", "--steps", "5", "--lr", "search:200", "--dry-run",
                          "--out", "x")
    assert outcome.code == 0
    assert "--lr search trains for 200 steps with each of several rates" in outcome.err
    assert not Path("x").exists()
