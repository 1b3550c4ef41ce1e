"""Answers to picture files, as a stream: one by one, in the order given, whatever is wrong with some of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from vitrail.bundle import Answer, Bundle
from vitrail.data.sources.readers import FileReader
from vitrail.errors import ImageError, UsageError
from vitrail.evaluation.answers import Precision, check_finite, computing
from vitrail.evaluation.inputs import Failure


class Prediction(NamedTuple):
    """The best classes of one picture, most probable first."""

    path: str
    top: list[Answer]


Result = Prediction | Failure
Opened = Tensor | Failure


def predict_files(bundle: Bundle, paths: Iterable[str | Failure], *, top: int = 5, batch_size: int = 32,
                  workers: int = 4, precision: Precision = "fp32") -> Iterator[Result]:
    """A Prediction or a Failure for each of `paths` (as `expand` yields them), in the same order.

    While the model works on one batch, the next is read. Raises BundleError where the model has no head that has
    learned, or gives no finite numbers.
    """
    bundle.refuse_silence()
    if top < 1 or batch_size < 1:
        raise UsageError(f"--top {top} and --batch-size {batch_size} must both be at least 1.")
    stream = iter(paths)
    with ThreadPoolExecutor(workers) as pool:
        waiting = start(bundle, pool, list(islice(stream, batch_size)))
        while waiting:
            current, waiting = waiting, start(bundle, pool, list(islice(stream, batch_size)))
            yield from answer_batch(bundle, [(name, future.result()) for name, future in current], top, precision)


def start(bundle: Bundle, pool: ThreadPoolExecutor, names: list[str | Failure]) -> list[tuple[str, Future[Opened]]]:
    """Begin to read a batch of pictures."""
    return [(name.path if isinstance(name, Failure) else name, pool.submit(open_picture, bundle, name))
            for name in names]


def open_picture(bundle: Bundle, name: str | Failure) -> Opened:
    """The uint8 tensor that the model sees, or why there is none."""
    if isinstance(name, Failure):
        return name
    try:
        return bundle.preprocess.read(FileReader((name,)).read(0), name)
    except ImageError as error:
        return Failure(name, error.reason)


def answer_batch(bundle: Bundle, pictures: list[tuple[str, Opened]], top: int, precision: Precision) -> list[Result]:
    good = [(name, picture) for name, picture in pictures if isinstance(picture, Tensor)]
    ranked: Iterator[list[Answer]] = iter(())
    if good:
        with computing(bundle.device, precision):
            scores = bundle.scores(torch.stack([picture for _, picture in good]))
        check_finite(scores, good[0][0])
        ranked = iter(bundle.rank(scores, top))
    return [picture if isinstance(picture, Failure) else Prediction(name, next(ranked)) for name, picture in pictures]
