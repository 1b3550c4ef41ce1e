"""The page as a whole: what is in it for every kind of result, and what never is."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from vitrail.bundle import Activation, Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import Split
from vitrail.errors import ImageError, SaveError
from vitrail.evaluation import Evaluation, evaluate
from vitrail.models import create
from vitrail.report import Run, write_report
from vitrail.report.choices import confusions, mistakes, typical

HOSTILE = ("<img src=x onerror=alert(1)>", "</script></style>\u2028{{ 7*7 }}", '"><b>caf\u00e9 \u732b \U0001f431')


class Reader:
    """Random pictures, the one with the given key unreadable."""

    def __init__(self, bad: int = -1) -> None:
        self.bad = bad

    def read(self, key: int) -> np.ndarray:
        if key == self.bad:
            raise ImageError(f"<i>{key}</i>.png", "the file is damaged")
        return np.random.default_rng(key).integers(0, 256, (16, 16), dtype=np.uint8)


def bundle_of(classes: tuple[str, ...], activation: Activation = "softmax", **settings: object) -> Bundle:
    torch.manual_seed(0)
    model = create("mu/4", classes=len(classes), image_size=16, **{"depth": 2} | settings).eval()
    torch.nn.init.normal_(model.head.weight)
    return Bundle(model, Preprocess(size=(16, 16)), classes, activation)


def split_of(labels: np.ndarray, bad: int = -1) -> Split:
    return Split([f'a/"><u>{i}.png' for i in range(len(labels))], np.arange(len(labels)), labels, Reader(bad))


class Page(HTMLParser):
    """Every tag, attribute and visible word of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "img", "br") and not self.in_svg:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.in_svg or tag == "svg":
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag

    @property
    def in_svg(self) -> bool:
        return bool(self.open) and self.open[-1] == "svg"

    def handle_data(self, data: str) -> None:
        self.words += data


def checked(path: Path) -> Page:
    """The page, after what must hold for every page: self-contained, inert, well nested, not large."""
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "form", "base", "u", "a"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(value.startswith("data:image/") for name, value in page.attributes if name == "src")
    assert all(value.startswith("#") for name, value in page.attributes if name in ("href", "xlink:href"))
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]*", "", text))
    assert "default-src 'none'" in text
    assert len(text) < 3_000_000
    return page


def write(tmp_path: Path, bundle: Bundle, evaluation: Evaluation | None = None, split: Split | None = None,
          **run: object) -> Page:
    written = write_report(tmp_path / "report.html", Run(title="a run", **run), bundle,  # type: ignore[arg-type]
                           evaluation=evaluation, split=split)
    return checked(written)


def test_everything_at_once_with_hostile_names(tmp_path: Path) -> None:
    bundle = bundle_of(HOSTILE)
    split = split_of(np.arange(30) % 3, bad=4)
    history = [{"step": i, "samples": i * 10, "train/loss": 1 / i, "val/loss": 1 / i} for i in range(1, 9)]
    evaluation = evaluate(bundle, split)
    page = write(tmp_path, bundle, evaluation, split, trained_on="90 images of <b>x</b>", seconds=72.0, history=history,
                 facts={"Data": "<i>photos</i>"}, notes=["Stopped <early>"], commands=["vitrail predict 'a b' <x>"])
    for words in (*HOSTILE, "90 images of <b>x</b> in 1\u00a0min 12\u00a0s", "<i>photos</i>", "Stopped <early>", "<x>",
                  "<i>4</i>.png", "1 of 30. Nothing took their place, and they count as wrong", "the class token",
                  "The surest mistakes", "Which places are alike", 'a/"><u>'):
        assert words in page.words, words
    assert "49" not in page.words.split()  # {{ 7*7 }} was not computed
    assert "svg" in page.tags


def test_a_bundle_alone_still_has_its_own_pictures(tmp_path: Path) -> None:
    page = write(tmp_path, bundle_of(("a", "b")))
    assert "nothing is measured" in page.words
    assert "What the first layer reacts to" in page.words
    assert "no curve to draw" in page.words
    assert "Where it looks" not in page.words


def test_images_without_an_evaluation_are_looked_at(tmp_path: Path) -> None:
    page = write(tmp_path, bundle_of(("a", "b"), pooling="mean"), split=split_of(np.zeros(3, np.int64)))
    assert "Where it looks" in page.words
    assert "the mean over all patches" in page.words
    assert "How far each head looks" in page.words
    assert "averaged over all patches and over 3 images" in page.words


def test_two_hundred_classes_stay_legible(tmp_path: Path) -> None:
    bundle = bundle_of(tuple(f"class {i}" for i in range(200)))
    split = split_of(np.arange(60) % 200)
    page = write(tmp_path, bundle, evaluate(bundle, split), split)
    assert "180 more classes" in page.words
    assert "200 classes: each row is a true class" in page.words
    assert page.words.count("taken for") == 8


def test_several_labels_an_image(tmp_path: Path) -> None:
    bundle = bundle_of(("a", "b", "c"), "sigmoid", pooling="attention", positions="sincos-2d")
    labels = (np.random.default_rng(0).random((20, 3)) < 0.4).astype(np.float32)
    split = split_of(labels)
    page = write(tmp_path, bundle, evaluate(bundle, split), split)
    assert "Mean average precision is" in page.words
    assert "taken for" not in page.words
    assert "pooling" in page.words
    assert "nothing of it was learned" in page.words


@pytest.mark.parametrize(("positions", "words"), [
    ("none", "no position embeddings"), ("relative", "vector of its offset"),
    ("relative-bias", "scores that the first layer adds"), ("rotary-2d", "nothing of it was learned")])
def test_every_kind_of_positions_has_its_picture_or_says_why_not(tmp_path: Path, positions: str, words: str) -> None:
    page = write(tmp_path, bundle_of(("a", "b"), positions=positions))
    assert words in page.words


def test_a_perfect_score_is_not_oversold(tmp_path: Path) -> None:
    bundle = bundle_of(("a", "b"))
    split = split_of(np.zeros(20, np.int64))
    torch.nn.init.zeros_(bundle.model.head.weight)
    page = write(tmp_path, bundle, evaluate(bundle, split), split)
    assert "names 100\u00a0% of 20\u00a0test images" in page.words
    assert "cannot show more than that it is above 86.1\u00a0%" in page.words
    assert "There is no confusion at all" in page.words
    assert "The surest mistakes" not in page.words


def test_an_evaluation_of_something_else_is_refused(tmp_path: Path) -> None:
    bundle = bundle_of(("a", "b"))
    evaluation = evaluate(bundle, split_of(np.zeros(3, np.int64)))
    with pytest.raises(ValueError, match="of 3 images, the split has 4"):
        write_report(tmp_path / "r.html", Run(title="x"), bundle, evaluation=evaluation,
                     split=split_of(np.zeros(4, np.int64)))


def test_no_room_is_a_save_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError):
        write_report(tmp_path / "file" / "report.html", Run(title="x"), bundle_of(("a", "b")))


def test_choices_by_hand() -> None:
    bundle = bundle_of(("a", "b", "c"))
    evaluation = evaluate(bundle, split_of(np.arange(60) % 3, bad=0))
    answers = evaluation.answers
    chosen = mistakes(evaluation, most=5)
    assert [m.probability for m in chosen] == sorted((float(answers.confidence[row]) for row in range(59)
                                                      if answers.ranks[row] > 0), reverse=True)[:5]
    assert 0 not in [mistake.place for mistake in chosen]
    table = np.array(evaluation.confusion)
    np.fill_diagonal(table, 0)
    first = confusions(evaluation)[0]
    assert first.times == table.max() == table[first.true, first.said]
    assert all(place % 3 == first.true for place in first.places)
    for place in typical(evaluation, 60):
        assert answers.ranks[answers.indices.tolist().index(place)] == 0
    assert typical(None, 9) == [0, 3, 5, 8]


def test_a_resnet_leaves_out_what_it_has_not_and_says_why(tmp_path: Path) -> None:
    model = create("R26x0.25", classes=3, image_size=16, depths=(1, 1))
    torch.nn.init.normal_(model.head.weight)  # type: ignore[arg-type]
    bundle, split = Bundle(model.eval(), Preprocess(size=(16, 16)), ("a", "b", "c")), split_of(np.arange(12) % 3)
    page = write(tmp_path, bundle, evaluate(bundle, split), split)
    for words in ("BiT ResNet R26x0.25", "1-1 units, 16 to 128 channels", "neither tokens nor attention",
                  "A ResNet has no position embeddings", "principal components of the first convolution",
                  "The surest mistakes"):
        assert words in page.words, words
    for words in ("Each becomes one token", "Attention of", "where the last layer looked"):
        assert words not in page.words, words


def test_an_axial_vit_shows_all_that_a_vit_does(tmp_path: Path) -> None:
    model = create("axial-mu/4", classes=3, image_size=16)
    torch.nn.init.normal_(model.head.weight)  # type: ignore[arg-type]
    bundle, split = Bundle(model.eval(), Preprocess(size=(16, 16)), ("a", "b", "c")), split_of(np.arange(12) % 3)
    page = write(tmp_path, bundle, evaluate(bundle, split), split)
    for words in ("Axial-ViT axial-mu/4", "4 \u00d7 4 panes", "through rows and then columns",
                  "where the last layer looked", "laid out as the patches are", "components of the patch embedding"):
        assert words in page.words, words


def test_an_axial_resnet_leaves_out_what_it_has_not_and_says_why(tmp_path: Path) -> None:
    model = create("axial-R26x0.25", classes=3, image_size=16, depths=(1, 1))
    bundle, split = Bundle(model.eval(), Preprocess(size=(16, 16)), ("a", "b", "c")), split_of(np.arange(12) % 3)
    page = write(tmp_path, bundle, evaluate(bundle, split), split)
    for words in ("AxialResNet axial-R26x0.25", "no patches whose attention would be one picture",
                  "Relative positions act on attention scores", "components of the first convolution"):
        assert words in page.words, words
    for words in ("Each becomes one token", "Attention of", "where the last layer looked"):
        assert words not in page.words, words


def test_a_hybrid_shows_all_that_a_vit_does(tmp_path: Path) -> None:
    model = create("R26x0.25+mu/4", classes=3, image_size=16, stem_depths=(1,))
    torch.nn.init.normal_(model.head.weight)  # type: ignore[arg-type]
    bundle, split = Bundle(model.eval(), Preprocess(size=(16, 16)), ("a", "b", "c")), split_of(np.arange(12) % 3)
    page = write(tmp_path, bundle, evaluate(bundle, split), split)
    for words in ("Hybrid R26x0.25+mu/4", "1 units behind the root", "4 \u00d7 4 panes", "Attention of the class token",
                  "laid out as the patches are", "principal components of the first convolution"):
        assert words in page.words, words
