"""The array that every operation takes and gives."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

Pixels = UInt8[np.ndarray, "3 height width_px"]
"""A picture at the size the model sees, planes of red, green and blue."""

Plane = UInt8[np.ndarray, "height width_px"]
