"""Checkpoints beside training: the state is copied, and a thread writes the copy while the next steps are taken."""

from __future__ import annotations

import threading
from pathlib import Path

from vitrail.errors import SaveError, VitrailError
from vitrail.training.checkpoint import Snapshot, prune_checkpoints, write_checkpoint
from vitrail.training.parallel import SOLO, World


class Saver:
    """At most one checkpoint is being written. `world` is one that training does not speak in at the same time."""

    def __init__(self, folder: Path, world: World = SOLO) -> None:
        self.folder, self.world = folder, world
        self.thread: threading.Thread | None = None
        self.trouble: Exception | None = None

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """A run that ends, also by an error of its own, waits for its checkpoint; one that is cut off does not."""
        if kind is None or issubclass(kind, VitrailError | GeneratorExit):
            self.wait()

    @property
    def busy(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def save(self, taken: Snapshot | None) -> None:
        """Begin to write; waits for the one before. None, in a process that writes nothing, does nothing."""
        if taken is None:
            return
        self.wait()
        # A daemon: who leaves at once does not wait for it, and half a checkpoint is none.
        self.thread = threading.Thread(target=self.write, args=(taken,), name="vitrail-saver", daemon=True)
        self.thread.start()

    def write(self, taken: Snapshot) -> None:
        try:
            written = write_checkpoint(self.folder, taken, self.world)
            if self.world.first:
                prune_checkpoints(written)
        except Exception as error:  # told by `troubles` in the thread that trains
            self.trouble = error

    def wait(self) -> None:
        if self.thread is not None:
            self.thread.join()

    def troubles(self) -> list[str]:
        """What went wrong since the last call, in words: a full disk costs a checkpoint, not the run."""
        trouble, self.trouble = self.trouble, None
        if trouble is None:
            return []
        if not isinstance(trouble, SaveError):
            raise trouble
        return [str(trouble)]
