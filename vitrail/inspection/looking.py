"""Which lenses there are to choose from, and what one of them sees, if anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from vitrail.errors import NothingToSeeError, UnknownNameError
from vitrail.inspection.lens import Lens, Look, Subject
from vitrail.inspection.lenses import LENSES
from vitrail.vocabulary import Progress


def chosen(names: Sequence[str]) -> list[Lens]:
    """The lenses with these names, all without any. Raises UnknownNameError."""
    for name in names:
        if name not in LENSES:
            raise UnknownNameError("lens", name, LENSES)
    return [LENSES[name] for name in dict.fromkeys(names)] or list(LENSES.values())


def seen(subject: Subject, lens: Lens, stop: Callable[[], bool] = lambda: False,
         watch: Callable[[Progress], None] = lambda progress: None) -> Look | str:
    """What a lens sees, or the reason why there is nothing to see. Raises KeyboardInterrupt where `stop` says so, which
    is asked whenever a part of the model begins to compute. `watch` hears of each pass through the model."""
    with watched(subject.bundle.model, stop, counting(lens.passes(subject), watch)):
        try:
            return lens.look(subject)
        except NothingToSeeError as error:
            return str(error)


def counting(total: int, watch: Callable[[Progress], None]) -> Callable[[int], None]:
    """What passes through, as progress."""
    began, done = time.perf_counter(), 0

    def passed(images: int) -> None:
        nonlocal done
        done += images
        watch(Progress(done, max(total, done), done / max(time.perf_counter() - began, 1e-9)))

    return passed


@contextmanager
def watched(model: nn.Module, stop: Callable[[], bool], passed: Callable[[int], None]) -> Iterator[None]:
    """An exception out of a signal's own handler may be swallowed by whatever it comes into; one out of a hook is
    not. The first part of every model is where images come in. Hooks are always removed."""

    def before(*_: object) -> None:
        if stop():
            raise KeyboardInterrupt

    def entering(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        passed(len(inputs[0]))

    with ExitStack() as hooks:
        for part in model.modules():
            hooks.enter_context(part.register_forward_pre_hook(before))
        hooks.enter_context(next(model.children()).register_forward_pre_hook(entering))
        before()
        yield
