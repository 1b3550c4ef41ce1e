"""What a benchmark says about where and when it ran."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path

import torch


def machine() -> str:
    """One line: date, processor, cores in use, torch."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
        if any("avx512_bf16" in line for line in lines):
            name += " with AVX512-BF16"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} cores"
    return f"{datetime.date.today()}, {name}, {device}, torch {torch.__version__}"
