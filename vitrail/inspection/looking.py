"""Which lenses there are to choose from, and what one of them sees, if anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import nn

from vitrail.errors import NothingToSeeError, UnknownNameError
from vitrail.inspection.lens import Lens, Look, Subject
from vitrail.inspection.lenses import LENSES


def chosen(names: Sequence[str]) -> list[Lens]:
    """The lenses with these names, all without any. Raises UnknownNameError."""
    for name in names:
        if name not in LENSES:
            raise UnknownNameError("lens", name, LENSES)
    return [LENSES[name] for name in dict.fromkeys(names)] or list(LENSES.values())


def seen(subject: Subject, lens: Lens, stop: Callable[[], bool] = lambda: False) -> Look | str:
    """What a lens sees, or the reason why there is nothing to see. Raises KeyboardInterrupt where `stop` says so, which
    is asked whenever a part of the model begins to compute."""
    with stoppable(subject.bundle.model, stop):
        try:
            return lens.look(subject)
        except NothingToSeeError as error:
            return str(error)


@contextmanager
def stoppable(model: nn.Module, stop: Callable[[], bool]) -> Iterator[None]:
    """An exception out of a signal's own handler may be swallowed by whatever it comes into; one out of a hook is
    not. Hooks are always removed."""

    def before(*_: object) -> None:
        if stop():
            raise KeyboardInterrupt

    with ExitStack() as hooks:
        for part in model.modules():
            hooks.enter_context(part.register_forward_pre_hook(before))
        before()
        yield
