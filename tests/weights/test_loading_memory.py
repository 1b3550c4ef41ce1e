"""Reading takes little more memory than the weights themselves (all sizes: benchmarks/load_weights.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import vitrail
from vitrail import weights

WATCHED = """
import sys, threading
from pathlib import Path
from typing import Any
from vitrail import load

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

small, large = sys.argv[1:]
load(small)  # what is imported late
before, seen, done = resident(), [], threading.Event()
thread = threading.Thread(target=lambda: [seen.append(resident()) for _ in iter(lambda: done.wait(0.0005), True)])
thread.start()
bundle = load(large)
done.set()
thread.join()
print(max([*seen, resident()]) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say what is resident")
@pytest.mark.parametrize(("format_name", "depth"), [("vitrail", 6), ("official", 12)])
def test_memory_of_loading(tmp_path: Path, format_name: str, depth: int) -> None:
    paths = []
    for layers in (1, depth):
        model = vitrail.create("S/16", depth=layers).eval()
        torch.nn.init.normal_(model.head.weight)
        bundle = vitrail.Bundle(model, vitrail.Preprocess(size=224))
        paths.append(weights.write(bundle, tmp_path / f"{layers}", format_name))
    size = sum(value.numel() * 4 for value in model.state_dict().values())
    assert size > 40e6
    said = subprocess.run([sys.executable, "-c", WATCHED, *map(str, paths)], capture_output=True, text=True, check=True)
    assert 0.5 < int(said.stdout) / size < 1.3


@pytest.mark.parametrize("format_name", ["vitrail", "official", "timm", "huggingface"])
def test_weights_lie_in_memory_as_those_of_a_new_model(tmp_path: Path, format_name: str) -> None:
    """So loaded models are as fast: the same modules on dense, aligned float32 (measured in benchmarks/)."""
    settings: dict[str, Any] = {} if format_name in ("vitrail", "official") else {
        "feedforward": "gelu", "resampling": "bicubic-antialias" if format_name == "timm" else "bicubic"}
    model = vitrail.create("mu/8", image_size=32, classes=3, **settings)
    torch.nn.init.normal_(model.head.weight)
    bundle = vitrail.Bundle(model.eval(), vitrail.Preprocess(size=32))
    loaded = vitrail.load(weights.write(bundle, tmp_path / "written", format_name)).model
    assert str(loaded) == str(model)
    for (name, new), (_, held) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert (held.dtype, held.stride(), held.is_contiguous()) == (new.dtype, new.stride(), True), name
        assert held.data_ptr() % 64 == 0, name
        assert held.untyped_storage().nbytes() == held.nbytes, name  # nothing else is kept alive
