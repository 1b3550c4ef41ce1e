"""What a benchmark says about where and when it ran."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterable
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
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cores(torch.get_num_threads())
    return f"{datetime.date.today()}, {name}, {device}, torch {torch.__version__}"


def cores(count: int) -> str:
    return f"{count} core{'s' * (count != 1)}"


def when_and_where(lines: Iterable[str]) -> str:
    """Several lines of `machine` as one sentence: each machine once, with its first and its last day."""
    days: dict[str, list[str]] = {}
    for line in lines:
        day, where = line.replace(" 1 cores,", " 1 core,").split(", ", 1)
        days.setdefault(where, []).append(day)
    return "; ".join(f"{' to '.join(dict.fromkeys((min(each), max(each))))}, {where}" for where, each in days.items())
