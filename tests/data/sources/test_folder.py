"""Image folders: layouts, class names, and everything in a folder that is no picture."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitrail.data.source import Source, open_source
from vitrail.errors import DataError, ImageError


def labels_by_name(source: Source, split: str) -> dict[str, str]:
    """{"cat/1.png": "cat"}: what each picture counts as, by the last two parts of its name."""
    part = source.splits[split]
    return {"/".join(name.split("/")[-2:]): source.classes[label] for name, label in zip(part.names, part.labels,
                                                                                         strict=True)}


def test_class_folders_without_splits_are_divided(plant):
    source = open_source(str(plant(cat=20, dog=10)))
    assert source.classes == ("cat", "dog")
    counts = {name: np.bincount(split.labels, minlength=2).tolist() for name, split in source.splits.items()}
    assert counts == {"train": [16, 8], "val": [2, 1], "test": [2, 1]}
    assert any("split by vitrail" in note and "seed 0" in note for note in source.notes)
    assert not source.warnings
    for split in ("train", "val", "test"):
        assert all(name.startswith(label) for name, label in labels_by_name(source, split).items())


def test_pictures_are_read_as_they_lie_there(plant):
    root = plant(cat=3, dog=3)
    split = open_source(str(root)).splits["train"]
    for row, name in enumerate(split.names):
        assert split.read(row) == Path(name).read_bytes()
    again = pickle.loads(pickle.dumps(split))
    assert again.read(0) == split.read(0)


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "Val"])
def test_own_splits_are_recognized_under_their_usual_names(plant, val):
    source = open_source(str(plant("train/cat/1.png", "train/dog/1.png", f"{val}/cat/2.jpg", "test/dog/3.webp")))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 2, "val": 1, "test": 1}
    assert source.kind == "image folder with train/, val/ and test/"


def test_val_is_held_out_of_train_where_only_test_is_given(plant):
    root = plant(**{"train/cat": 20, "train/dog": 10, "test/cat": 4, "test/dog": 4})
    source = open_source(str(root))
    assert {name: np.bincount(split.labels).tolist() for name, split in source.splits.items()} == {
        "train": [18, 9], "val": [2, 1], "test": [4, 4]}
    assert set(open_source(str(root), validation=0).splits) == {"train", "test"}


def test_train_and_val_without_test_stay_as_they_are(plant):
    source = open_source(str(plant("train/cat/1.png", "train/dog/1.png", "val/cat/2.png", "val/dog/2.png")))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 2, "val": 2}


def test_train_alone_is_divided(plant):
    source = open_source(str(plant(**{"train/cat": 10, "train/dog": 10})))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 16, "val": 2, "test": 2}


@pytest.mark.fault("D6", "A class that val lacks is a warning, and labels stay right: classes are matched by name.")
def test_the_class_that_val_lacks_is_a_warning_and_labels_stay_right(plant):
    source = open_source(str(plant("train/a/1.png", "train/b/1.png", "train/c/1.png", "val/a/2.png", "val/c/2.png")))
    assert labels_by_name(source, "val") == {"a/2.png": "a", "c/2.png": "c"}
    assert source.splits["val"].labels.tolist() == [0, 2]
    assert [warning for warning in source.warnings if "val" in warning and "'b'" in warning]


@pytest.mark.fault("D6", "A class that train lacks is an error.")
def test_a_class_that_train_lacks_is_an_error(plant):
    root = plant("train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "val/dogs/1.png")
    with pytest.raises(DataError, match=r"train lacks: 'dogs'.*Is 'dog' meant"):
        open_source(str(root))


def test_an_empty_class_of_train_with_pictures_in_val_is_an_error(plant):
    root = plant("train/cat/1.png", "train/dog/1.png", "val/owl/1.png")
    (root / "train" / "owl").mkdir()
    with pytest.raises(DataError, match="train lacks: 'owl'"):
        open_source(str(root))


def test_folders_below_a_class_belong_to_it(plant):
    source = open_source(str(plant("cat/2020/may/1.png", "cat/2021/1.png", "dog/1.png", "dog/2.png")), divide=False)
    assert np.bincount(source.splits["test"].labels).tolist() == [2, 2]


def test_a_class_may_be_called_like_a_split(plant):
    source = open_source(str(plant(train=3, plane=3, test=3)))
    assert source.classes == ("plane", "test", "train")


def test_folder_names_are_ordered_as_strings(plant):
    source = open_source(str(plant(**{"10": 3, "2": 3, "1": 3})))
    assert source.classes == ("1", "10", "2")


@pytest.mark.fault("D6", "Names that differ only in case or Unicode form are an error that names both.")
@pytest.mark.parametrize(("first", "second", "why"), [
    ("Cat", "cat", "upper and lower case"),
    (unicodedata.normalize("NFC", "Café"), unicodedata.normalize("NFD", "Café"), "Unicode form"),
    ("Straße", "STRASSE", "upper and lower case"),
])
def test_class_names_that_collide_are_an_error_naming_both(plant, first, second, why):
    root = plant(**{first: 3, second: 3, "dog": 3})
    if len(os.listdir(root)) < 3:
        pytest.skip("this file system takes the two names for one")
    with pytest.raises(DataError, match=why) as caught:
        open_source(str(root))
    assert repr(first) in str(caught.value)
    assert repr(second) in str(caught.value)


def test_unicode_forms_are_the_same_class_across_splits(plant):
    composed, decomposed = (unicodedata.normalize(form, "größe") for form in ("NFC", "NFD"))
    source = open_source(str(plant(f"train/{composed}/1.png", "train/猫/1.png", f"val/{decomposed}/2.png")))
    assert source.classes == (composed, "猫")
    assert source.splits["val"].labels.tolist() == [0]


@pytest.mark.fault("D6", "An empty class folder is left out with a warning.")
def test_an_empty_class_folder_is_left_out_with_a_warning(plant):
    root = plant(cat=3, dog=3)
    (root / "owl").mkdir()
    source = open_source(str(root))
    assert source.classes == ("cat", "dog")
    assert any("'owl'" in warning for warning in source.warnings)


@pytest.mark.parametrize(("names", "message"), [
    ([], "holds no picture: it is empty"),
    (["cat/notes.txt"], "holds no picture: 1 entry ignored, no pictures .*txt"),
    (["1.png", "2.png"], "2 pictures and no class folders"),
    (["train/1.png", "val/2.png"], "train has 1 picture and no class folders"),
    (["cat/1.png", "cat/2.png"], "'cat' as its only class"),
    (["train/cat/1.png", "test/cat/2.png"], "'cat' as its only class"),
    (["val/cat/1.png", "test/dog/2.png"], "val and test but no training pictures"),
    (["train/a/1.png", "val/a/1.png", "valid/b/1.png"], "'val' and 'valid', and both mean val"),
])
def test_folders_that_cannot_be_learned_from_say_why(plant, names, message):
    with pytest.raises(DataError, match=message) as caught:
        open_source(str(plant(*names)))
    assert caught.value.exit_code == 3


def test_what_is_no_picture_is_ignored_and_counted(plant):
    names = ["cat/notes.txt", "cat/.hidden.png", ".git/cat/1.png", "dog/Thumbs.db"]
    source = open_source(str(plant(*names, cat=3, dog=3)))
    assert sum(map(len, source.splits.values())) == 6
    assert any("4 entries ignored" in note and "hidden 2" in note for note in source.notes)


@pytest.mark.fault("D3", "Empty files, dangling links, folders and pipes are reported by kind and never opened.")
def test_pictures_that_can_never_be_read_are_reported_and_not_opened(plant, monkeypatch):
    root = plant("cat/x.jpg/inside.png", cat=3, dog=3)
    (root / "cat" / "empty.png").touch()
    (root / "cat" / "gone.png").symlink_to("nowhere")
    os.mkfifo(root / "dog" / "pipe.jpg")
    monkeypatch.chdir(root)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("dog/socket.jpg")
        (root / "dog" / "loop").symlink_to(root)
        source = open_source(str(root))
    assert sum(map(len, source.splits.values())) == 6
    text = "\n".join(source.warnings)
    for found in ("1 x file of zero bytes, left out: 'cat/empty.png'", "1 x dangling link, left out: 'cat/gone.png'",
                  "1 x folder named like a picture, left out: 'cat/x.jpg'",
                  "2 x pipe, socket or device, left out: 'dog/pipe.jpg', 'dog/socket.jpg'",
                  "1 x link to a folder above itself, left out: 'dog/loop'"):
        assert found in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_reported(plant):
    root = plant(cat=3, dog=3)
    (root / "cat" / "0.png").chmod(0)
    assert any("file that may not be read" in warning for warning in open_source(str(root)).warnings)


def test_links_to_pictures_and_folders_are_followed(plant, tmp_path):
    root = plant(cat=3, dog=3)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "1.png").write_bytes(b"an owl")
    (root / "owl").symlink_to(tmp_path / "else")
    assert open_source(str(root)).classes == ("cat", "dog", "owl")


def test_a_name_that_is_no_text_is_reported(plant):
    root = plant(cat=3, dog=3)
    try:
        (root / "cat" / os.fsdecode(b"\xff.png")).write_bytes(b"content")
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    assert any("not UTF-8" in warning for warning in open_source(str(root)).warnings)


@pytest.mark.fault("D3", "A file that vanishes or becomes a pipe later is an error of that picture; nothing hangs.")
def test_a_file_that_vanished_or_became_a_pipe_is_an_image_error(plant):
    root = plant(cat=3, dog=3)
    split = open_source(str(root)).splits["train"]
    first, second = (Path(name) for name in split.names[:2])
    first.unlink()
    second.unlink()
    os.mkfifo(second)
    with pytest.raises(ImageError, match="No such file"):
        split.read(0)
    with pytest.raises(ImageError, match="is not a regular file"):
        split.read(1)


@pytest.mark.fault("D9", "The same bytes in train and val are a warning with the count, for folders, archives and "
                   "manifests, as long as that takes about a second: for up to 20,000 pictures and 64 MB of equal "
                   "size.")
@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "manifest"])
def test_the_same_picture_in_train_and_val_is_a_warning(plant, kind):
    root = plant(**{"train/cat": 5, "train/dog": 5, "val/cat": 2, "val/dog": 2})
    (root / "val" / "dog" / "copy.png").write_bytes((root / "train" / "cat" / "3.png").read_bytes())
    spec = str(root)
    if kind in ("zip", "tar"):
        spec = shutil.make_archive(spec, kind, root)
    elif kind == "manifest":
        rows = [f"{file},{file.parent.name},{file.parents[1].name}" for file in sorted(root.rglob("*.png"))]
        (root / "labels.csv").write_text("\n".join(["path,label,split", *rows]))
        spec = str(root / "labels.csv")
    warning, = open_source(spec).warnings
    assert "1 picture of val also stands in train" in warning
    assert "copy.png" in warning


def test_pictures_beside_the_class_folders_are_left_out_with_a_warning(plant):
    source = open_source(str(plant("stray.png", cat=3, dog=3)))
    assert sum(map(len, source.splits.values())) == 6
    assert any("'stray.png'" in warning for warning in source.warnings)


def test_classes_of_a_trained_model_are_mapped_by_name(plant):
    root = plant(cat=2, dog=3)
    source = open_source(str(root), classes=("owl", "dog", "cat"), divide=False)
    assert set(source.splits) == {"test"}
    assert np.bincount(source.splits["test"].labels).tolist() == [0, 3, 2]
    with pytest.raises(DataError, match="the model does not know: 'dog'"):
        open_source(str(root), classes=("cat", "owl"), divide=False)


def test_the_fingerprint_follows_the_data_and_not_its_place(plant, tmp_path):
    root = plant(cat=5, dog=5)
    before = open_source(str(root))
    moved = root.rename(tmp_path / "moved")
    after = open_source(str(moved))
    assert before.fingerprint == after.fingerprint
    assert [Path(name).name for name in before.splits["test"].names] == [
        Path(name).name for name in after.splits["test"].names]
    assert open_source(str(moved), seed=1).fingerprint != before.fingerprint
    (moved / "cat" / "0.png").write_bytes(b"another")
    assert open_source(str(moved)).fingerprint != before.fingerprint


def test_an_evaluation_counts_files_of_zero_bytes_and_training_leaves_them_out(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "cat" / "zero.png").write_bytes(b"")
    learned = open_source(str(tmp_path))
    assert sum(map(len, learned.splits.values())) == 6
    assert any("zero bytes" in warning for warning in learned.warnings)
    measured = open_source(str(tmp_path), classes=["cat", "dog"], divide=False).splits["test"]
    assert len(measured) == 7
    with pytest.raises(ImageError):
        measured.read([name.endswith("zero.png") for name in measured.names].index(True))
