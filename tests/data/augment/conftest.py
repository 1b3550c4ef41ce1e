from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def golden_randaugment() -> dict[str, np.ndarray]:
    """What big_vision's operations and TensorFlow's boxes gave; see tests/golden/README.md."""
    with np.load(Path(__file__).parents[2] / "golden" / "randaugment.npz") as file:
        return dict(file)
