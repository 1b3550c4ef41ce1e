"""Many processes that train one model: what they agree on, how one is missed, and two ways to share the work.

    World (one process) | Group (several)      world.py       largest, mean, total, summed, gathered, told
    Heartbeat                                  heartbeat.py   who is silent; a signal for one is a signal for all
    replicate(objective, weights, world)       replicas.py    every process has the whole model (DDP)
    shard(objective, precision, world)         shards.py      every process has a part of it (FSDP2)
"""

from __future__ import annotations

from vitrail.training.parallel.world import SOLO, PeerError, World, join, lost_peers_named

__all__ = ["SOLO", "PeerError", "World", "join", "lost_peers_named"]
