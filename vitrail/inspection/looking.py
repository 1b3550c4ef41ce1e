"""Which lenses there are to choose from, and what one of them sees, if anything."""

from __future__ import annotations

from collections.abc import Sequence

from vitrail.errors import NothingToSeeError, UnknownNameError
from vitrail.inspection.lens import Lens, Look, Subject
from vitrail.inspection.lenses import LENSES


def chosen(names: Sequence[str]) -> list[Lens]:
    """The lenses with these names, all without any. Raises UnknownNameError."""
    for name in names:
        if name not in LENSES:
            raise UnknownNameError("lens", name, LENSES)
    return [LENSES[name] for name in dict.fromkeys(names)] or list(LENSES.values())


def seen(subject: Subject, lens: Lens) -> Look | str:
    """What a lens sees, or the reason why there is nothing to see."""
    try:
        return lens.look(subject)
    except NothingToSeeError as error:
        return str(error)
