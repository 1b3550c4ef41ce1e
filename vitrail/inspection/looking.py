"""Through several lenses at one model, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vitrail.errors import NothingToSeeError, UnknownNameError
from vitrail.inspection.lens import Lens, Look, Subject
from vitrail.inspection.lenses import LENSES


def chosen(names: Sequence[str]) -> list[Lens]:
    """The lenses with these names, all without any. Raises UnknownNameError."""
    for name in names:
        if name not in LENSES:
            raise UnknownNameError("lens", name, LENSES)
    return [LENSES[name] for name in dict.fromkeys(names)] or list(LENSES.values())


def looks(subject: Subject, lenses: Sequence[Lens]) -> Iterator[tuple[Lens, Look | str]]:
    """Each lens with what it saw, or the reason why there is nothing to see."""
    for lens in lenses:
        try:
            yield lens, lens.look(subject)
        except NothingToSeeError as error:
            yield lens, str(error)
