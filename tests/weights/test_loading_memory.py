"""Reading takes little more memory than the weights themselves (all sizes: benchmarks/load_weights.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vitrail
from vitrail import weights

WATCHED = """
import sys, threading
from pathlib import Path
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
