"""The error tree. Every message says what was given, what is allowed, and what to do next.

    VitrailError                    exit 1
    ├── UsageError                  exit 2   the command or the recipe is wrong
    │   ├── NothingToSeeError                a question that makes no sense for this model
    │   └── UnknownNameError                 a name that no registry holds (the nearest is named)
    ├── DataError                   exit 3   the images or labels are wrong
    │   └── ImageError                       one picture cannot be read
    ├── BundleError                 exit 1   a saved model is damaged or does not fit
    │   └── PickleError                      a saved model could run programs when it is opened
    ├── SaveError                   exit 1   a durable write failed; what stood before still stands
    ├── RunError                    exit 1   a run cannot start or cannot go on
    │   └── DivergedError                    a loss or gradient is not finite
    └── QualityGateError            exit 4   the result is below the bar that was asked for
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class VitrailError(Exception):
    """Anything that vitrail reports to its user in one message, without a traceback."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """An error travels between processes as it is; its own arguments may be others than those of `Exception`."""
        return type(self).__new__, (type(self), *self.args), self.__dict__


class UsageError(VitrailError):
    """The command line or the recipe asks for something that does not exist or does not fit."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not in a registry. The message names the nearest known one and the full list."""

    def __init__(self, kind: str, given: str, known: Iterable[str]) -> None:
        names = list(known)
        folded = {name.casefold(): name for name in reversed(names)}  # upper and lower case are easily mixed up
        near = difflib.get_close_matches(given.casefold(), folded, n=1, cutoff=0.4)
        hint = f" Did you mean {folded[near[0]]!r}?" if near else ""
        super().__init__(f"Unknown {kind} {given!r}.{hint} Known: {', '.join(names)}.")


class NothingToSeeError(UsageError):
    """A lens has no meaning for this model, such as the attention of a ResNet. The message says why."""


class DataError(VitrailError):
    """The images, labels or splits of a source are wrong."""

    exit_code = 3


class ImageError(DataError):
    """One picture cannot be read. `path` names it and `reason` is short and has no path in it."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


class BundleError(VitrailError):
    """A Bundle or checkpoint is damaged, or does not fit what it is to be loaded into."""


class PickleError(BundleError):
    """A pickle where weights were expected; only `vitrail convert` reads one, and as weights only."""


class SaveError(VitrailError):
    """A durable write failed. Nothing that was complete before has been touched."""


class RunError(VitrailError):
    """A run cannot start here, or cannot go on."""


class DivergedError(RunError):
    """A loss or gradient is not finite; the weights are those before it."""


class QualityGateError(VitrailError):
    """A result is below the bar that was asked for."""

    exit_code = 4
