"""What the environment says to a process that torchrun or `vitrail train --devices N` started. Imports nothing heavy:
the launcher reads it, too."""

from __future__ import annotations

import os

LISTENING = "VITRAIL_LISTENING"
"""For rank 0: number of the open file that listens at MASTER_PORT, where our own launcher opened it."""


def is_launched() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def processes() -> int:
    """How many train together; 1 without a launcher."""
    return int(os.environ["WORLD_SIZE"]) if is_launched() else 1


def meeting_place() -> str:
    """Where this attempt leaves its words in the store: torchrun keeps the store when it starts the processes again,
    with the addresses of those that are gone."""
    return f"vitrail-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
