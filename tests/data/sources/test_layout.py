"""What a tree of names means, without any file."""

from __future__ import annotations

import pytest

from vitrail.data.sources.layout import is_picture, recognize_layout
from vitrail.errors import DataError


def meaning(*names: str, folders: tuple[str, ...] = ()) -> dict[str, tuple[str | None, str]]:
    """Split and class of every name that is used."""
    layout = recognize_layout(names, folders, "SOURCE")
    splits = layout.splits or [None] * len(layout.rows)
    return {names[row]: place for row, place in zip(layout.rows, zip(splits, layout.labels, strict=True), strict=True)}


def test_classes():
    assert meaning("a/1.png", "b/2.png", "b/c/3.png") == {
        "a/1.png": (None, "a"), "b/2.png": (None, "b"), "b/c/3.png": (None, "b")}


def test_splits():
    assert meaning("TRAIN/a/1.png", "Validation/b/x/2.png", "testing/a/3.png") == {
        "TRAIN/a/1.png": ("train", "a"), "Validation/b/x/2.png": ("val", "b"), "testing/a/3.png": ("test", "a")}


def test_other_folders_and_unlabeled_pictures_beside_splits_are_left_out():
    names = ["train/a/1.png", "train/b/1.png", "test/1.png", "test/2.png", "overview/plots/x.png", "cover.png"]
    layout = recognize_layout(names, ["train", "test", "overview", "overview/plots"], "SOURCE")
    assert layout.rows == [0, 1]
    text = "\n".join(layout.warnings)
    assert "2 pictures in test/ left out" in text
    assert "1 picture in overview/ left out" in text
    assert "1 picture at the top left out" in text


@pytest.mark.parametrize("names", [
    ("train/1.png", "plane/1.png"), ("test/1.png", "cat/1.png"), ("dev/x/1.png", "cat/1.png"), ("val/1.png", "a/1.png"),
])
def test_classes_that_are_called_like_splits(names):
    assert {split for split, _ in meaning(*names).values()} == {None}


def test_empty_class_folders_are_declared_and_reported():
    folders = ["train", "train/a", "train/b", "val", "val/a"]
    layout = recognize_layout(["train/a/1.png", "val/a/1.png"], folders, "SOURCE")
    assert layout.declared == {"train": {"a", "b"}, "val": {"a"}}
    assert layout.warnings == ["1 class folder in train without a picture: 'b'; left out."]


def test_the_message_about_flat_pictures_shows_both_layouts():
    with pytest.raises(DataError) as caught:
        recognize_layout(["1.png", "2.png"], [], "SOURCE")
    assert "SOURCE/cat/1.jpg" in str(caught.value)
    assert "SOURCE/train/cat/1.jpg" in str(caught.value)


@pytest.mark.parametrize(("name", "expected"), [("a.JPG", True), ("a.b.webp", True), ("png", False), ("a.txt", False),
                                                ("a.png.txt", False), ("a", False), ("a.", False)])
def test_endings_of_pictures(name, expected):
    assert is_picture(name) == expected
