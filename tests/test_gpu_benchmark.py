"""The arithmetic of benchmarks/gpu.py, which needs no GPU, and its words where there is none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vitrail.models import configure, describe


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    import gpu

    return gpu


def run(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments])
    gpu.main()


def test_a_step_that_does_nothing_else_uses_everything(gpu):
    """A model of 10 multiply-adds at 5 images a second takes 300 operations a second to train."""
    assert gpu.used(10, 5.0, gpu.TRAINING, 300.0) == 1.0
    assert gpu.used(10, 5.0, gpu.INFERENCE, 200.0) == 0.5


def test_the_rate_is_that_of_a_product(gpu, monkeypatch):
    monkeypatch.setattr(gpu, "timed", lambda work, device, repeats: 0.5)
    assert gpu.product_rate(torch.device("cpu"), 16) == 2 * 16**3 / 0.5


def test_it_runs_at_tiny_size_and_its_numbers_fit_together(gpu, monkeypatch, capsys):
    run(gpu, monkeypatch, "--device", "cpu", "--models", "mu/16", "--image-size", "32", "--batch", "4", "--steps", "1",
        "--product", "64", "--eager", "--json")
    told = json.loads(capsys.readouterr().out)
    [row] = told["rows"]
    macs = describe(configure("mu/16", classes=1000, image_size=32)).macs
    assert (row["model"], row["macs"]) == ("mu/16", macs)
    for what, operations in (("training", 6), ("inference", 2)):
        assert row[what]["images_per_second"] > 0
        assert row[what]["used"] * told["product_flops"] == pytest.approx(
            operations * macs * row[what]["images_per_second"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(gpu, monkeypatch):
    with pytest.raises(SystemExit, match="no CUDA device here, so nothing was measured"):
        run(gpu, monkeypatch)
