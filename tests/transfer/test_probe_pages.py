"""The table, its Markdown and the figure say what the numbers say, whatever a source is called."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from vitrail.evaluation import Unread
from vitrail.transfer.figure import STYLES, figure, said
from vitrail.transfer.scores import Measured, Probed, scored, suite_of
from vitrail.transfer.table import headings, markdown, rows, sentences


def probed(*names: str, knn: bool = True) -> Probed:
    sources = tuple(Measured(source=name, kind="", classes=2, train=50, test=100) for name in names)
    scores = [scored([0.5 + shots / 100, 0.6 + shots / 100], 100, source=name, method="few-shot",
                     setting=f"{shots} shots", shots=shots, images=2 * shots) for name in names for shots in (5, 25)]
    if knn:
        scores += [scored([0.9], 100, source=name, method="knn", setting="k=20", shots=None, images=50)
                   for name in names]
    return Probed(model="S/14", layer="embedding", width=8, sources=sources, scores=tuple(scores),
                  suite=suite_of(scores, sources), notes=("note of a | source",))


def test_the_table_of_one_source():
    one = probed("digits")
    assert headings(one) == ["method", "learned from", "digits"]
    table = rows(one)
    assert [row[:2] for row in table] == [["few-shot 5 shots", "10 images"], ["few-shot 25 shots", "50 images"],
                                          ["knn k=20", "50 images"]]
    assert table[0][2].startswith("60.0 % (0.0 to ")
    assert table[2][2].startswith("90.0 % (84.0 to 9")


def test_a_suite_has_a_column_for_the_mean():
    suite = probed("digits", "photos")
    assert headings(suite)[-1] == "mean"
    assert all(row[-1].split()[0] == row[2].split()[0] for row in rows(suite))


def test_markdown_survives_any_name():
    lines = markdown(probed("a|b<i>*\x1b[31m")).splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines[:5]} == {4}
    assert "<i>" not in "".join(lines)
    assert "\x1b" not in "".join(lines)
    assert "- note of a \\| source" in lines


def test_pictures_that_could_not_be_read_are_told():
    one = probed("digits")
    broken = one.sources[0].model_copy(update={"unread": (Unread(path="x.png", error="cut short"),)})
    assert any("1 picture could not be read" in line and "x.png: cut short" in line
               for line in sentences(one.model_copy(update={"sources": (broken,)})))


@pytest.mark.parametrize("names", [("digits",), ("digits", "$photos$", "c"), tuple("abcdefgh")])
def test_the_figure_draws_every_source(names):
    tree = ElementTree.fromstring(figure(probed(*names), "svg"))
    words = {"".join(node.itertext()).strip() for node in tree.iter("{http://www.w3.org/2000/svg}text")}
    assert set(names) <= words
    assert {"5", "25", "images of each class"} <= words
    assert any("knn" in word for word in words) == (len(names) == 1)


def test_the_figure_is_read_without_color():
    assert len({(marker, dash) for _, marker, dash in STYLES}) == len(STYLES)
    picture = np.asarray(Image.open(io.BytesIO(figure(probed("digits"), "png"))).convert("L"))
    assert picture.shape[1] > 800
    assert (picture < 100).sum() > 500  # dark lines on white


def test_nothing_to_draw():
    only = probed("digits").model_copy(update={"scores": probed("digits").scores[-1:]})
    assert figure(only, "svg") is None


@pytest.mark.parametrize(("method", "setting", "images", "words"), [
    ("finetune", "100 images", 100, "finetune 100 images"), ("logistic", "", 1000, "logistic, 1,000 images"),
    ("knn", "k=20", 500, "knn k=20, 500 images")])
def test_a_line_says_once_from_how_many_images(method: str, setting: str, images: int, words: str) -> None:
    score = scored([0.5], 10, source="digits", method=method, setting=setting, shots=None,
                   images=images)
    assert said(score) == words
