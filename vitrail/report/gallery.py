"""The test images of the page: read again one by one, as the model saw them, and drawn small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from markupsafe import Markup

from vitrail.bundle import Bundle
from vitrail.data.source import Split
from vitrail.errors import ImageError
from vitrail.evaluation import Evaluation
from vitrail.inspection import AttentionMaps, attention_maps
from vitrail.inspection.layers import evenly
from vitrail.inspection.lens import Subject
from vitrail.inspection.lenses import LENSES
from vitrail.models import ViTConfig
from vitrail.report import choices, pictures
from vitrail.report.figures import inline
from vitrail.report.pictures import Picture

MEASURED = 32
"""Images over which the distance of attention is averaged."""

MOST_LAYERS = 6
"""Layers whose attention is shown; of a deeper model, evenly many."""


class ConfusionCard(NamedTuple):
    true: str
    said: str
    times: int
    images: int
    pictures: list[Picture]


class MistakeCard(NamedTuple):
    """One confident mistake: the image and the attention of the last layer over it, where the model has attention."""

    mistake: choices.Mistake
    name: str
    picture: Picture
    attention: Picture | None


class AttentionRow(NamedTuple):
    """One image and where each of the layers looked."""

    caption: str
    picture: Picture
    layers: list[Picture]


class AttentionTable(NamedTuple):
    asked_by: str
    columns: list[str]
    rows: list[AttentionRow]


class DistanceFigure(NamedTuple):
    """A figure as an <svg>, what it says and how it is read."""

    picture: Markup
    found: str
    caption: str


@dataclass(frozen=True)
class Gallery:
    """What can be shown of a Bundle's answers to a split; nothing where there is no split. A picture that cannot be
    read (any more) is left out."""

    bundle: Bundle
    split: Split | None
    evaluation: Evaluation | None

    def read(self, places: Sequence[int]) -> dict[int, np.ndarray]:
        """uint8 [3, height, width] of each, as the model sees it."""
        views: dict[int, np.ndarray] = {}
        for place in places if self.split is not None else ():
            assert self.split is not None  # mypy does not follow the line above
            try:
                views[place] = self.bundle.preprocess.read(self.split.read(place), self.split.names[place]).numpy()
            except ImageError:
                continue
        return views

    def typical(self) -> dict[int, np.ndarray]:
        if self.split is None or not len(self.split):
            return {}
        return self.read(choices.typical(self.evaluation, len(self.split)))

    def window(self) -> Picture | None:
        """The first picture of the page: an image as panes of glass, where the model cuts it so."""
        config = self.bundle.model.config
        if not isinstance(config, ViTConfig):
            return None
        richest = max(self.typical().values(), key=np.std, default=None)
        return None if richest is None else pictures.window(richest, config.patch)

    def confusions(self) -> list[ConfusionCard]:
        if self.evaluation is None:
            return []
        names = self.evaluation.classes
        return [ConfusionCard(names[pair.true], names[pair.said], pair.times, pair.images,
                              [pictures.thumbnail(raw) for raw in self.read(pair.places).values()])
                for pair in choices.confusions(self.evaluation)]

    def mistakes(self) -> list[MistakeCard]:
        if self.evaluation is None or self.split is None:
            return []
        chosen = choices.mistakes(self.evaluation)
        views = self.read([mistake.place for mistake in chosen])
        if not views:
            return []
        sees = isinstance(self.bundle.model.config, ViTConfig)
        lit = {place: pictures.lit(raw, self.look(raw).layers[-1, 0]) for place, raw in views.items() if sees}
        return [MistakeCard(mistake, self.split.names[mistake.place], pictures.thumbnail(views[mistake.place]),
                            lit.get(mistake.place)) for mistake in chosen if mistake.place in views]

    def attention(self) -> AttentionTable | None:
        config, views = self.bundle.model.config, self.typical()
        if not views or not isinstance(config, ViTConfig):
            return None
        depth, rows = config.depth, []
        layers = evenly(depth, MOST_LAYERS)
        columns = [f"layer {layer + 1}" for layer in layers]
        for place, raw in views.items():
            maps = self.look(raw)
            shares = [maps.layers[layer, 0] for layer in layers]
            if maps.pooling is not None:
                shares.append(maps.pooling[0])
            rows.append(AttentionRow(self.caption(place), pictures.thumbnail(raw),
                                     [pictures.lit(raw, one) for one in shares]))
        return AttentionTable(maps.asked_by, columns + ["pooling"] * (maps.pooling is not None), rows)

    def distance(self) -> DistanceFigure | None:
        """How far the heads look, over some images from all over the split; by the lens of `vitrail inspect`."""
        if self.split is None or not len(self.split) or not isinstance(self.bundle.model.config, ViTConfig):
            return None
        views = self.read(evenly(len(self.split), MEASURED))
        if not views:
            return None
        raw = torch.from_numpy(np.stack(list(views.values())))
        look = LENSES["attention-distance"].look(Subject(self.bundle, raw, tuple(map(str, views))))
        drawing, = look.drawings
        return DistanceFigure(inline(drawing), look.found, look.caption)

    def look(self, raw: np.ndarray) -> AttentionMaps:
        """One image at a time: what is recorded of every layer would take gigabytes for many large ones."""
        return attention_maps(self.bundle, torch.from_numpy(raw)[None])

    def caption(self, place: int) -> str:
        """The classes of a picture by name; the name of its file where the model has no classes."""
        assert self.split is not None  # there is no picture without one
        if not self.bundle.model.config.classes:
            return self.split.names[place].rsplit("/", 1)[-1]
        label = self.split.labels[place]
        if np.ndim(label) == 0:
            return self.bundle.class_name(int(label))
        return ", ".join(self.bundle.class_name(int(index)) for index in np.flatnonzero(label > 0.5)) or "no label"
