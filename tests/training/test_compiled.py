"""torch.compile of blocks: the same numbers, the same names, and words where there is no compiler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from compiled_models import KINDS
from tiny import tiny_recipe

from vitrail.training.compiled import compiler_in_words

HERE = Path(__file__).parent


def alone(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=300,
                          env=os.environ | variables, check=False)


@pytest.fixture(scope="module")
def captured() -> dict[str, dict[str, Any]]:
    done = alone(HERE / "compiled_models.py", "captured")
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_block_is_captured_whole_and_computes_the_same(kind: str, captured: dict[str, dict[str, Any]]) -> None:
    found = captured[kind]
    assert found["same names"]
    assert found["apart"] < 1e-5
    assert found["breaks"] == {}
    assert 0 < found["graphs"] <= found["blocks"]
    assert found["graphs of evaluation"] == 0


def test_blocks_that_are_alike_are_compiled_once(captured: dict[str, dict[str, Any]]) -> None:
    """The first has position embeddings to add, and the last few tokens to compute."""
    assert captured["plain"]["graphs"] == captured["stochastic depth"]["graphs"] == 3
    assert captured["biased"]["graphs"] == 1


@pytest.mark.fault("R5", "The same holds of compiled blocks, whose dropout draws other numbers than eager ones do.")
def test_a_compiled_run_learns_as_an_eager_one_and_goes_on_to_the_bit(tmp_path: Path) -> None:
    done = alone(HERE / "compiled_models.py", "runs", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["compiled"] == pytest.approx(found["eager"], rel=1e-5)
    assert found["graphs"] == 1
    assert found["same weights"]
    assert found["same to the bit"]


def test_without_a_compiler_a_run_says_what_is_missing(tmp_path: Path) -> None:
    done = alone("-m", "vitrail", "train", "digits", "--model", "mu/4", "--steps", "2", "--out", tmp_path / "run",
                 "--set", "training.compile=true", CXX="/nowhere/g++", TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 1
    words = " ".join(done.stderr.split())
    assert "there is no C++ compiler. Install one" in words
    assert "--set training.compile=false" in words
    assert "Traceback" not in done.stderr


def test_other_errors_of_a_step_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"), compiler_in_words():
        raise RuntimeError("size mismatch")


def test_a_run_may_go_on_compiled_or_not() -> None:
    assert tiny_recipe(training__compile=True).identity() == tiny_recipe().identity()
