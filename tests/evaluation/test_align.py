from __future__ import annotations

import numpy as np
import pytest

from vitrail.errors import DataError
from vitrail.evaluation import align


def test_classes_are_matched_by_name() -> None:
    labels, warnings = align(np.array([0, 1, 2]), ["owl", "cat", "dog"], ["cat", "dog", "owl"])
    assert labels.tolist() == [2, 0, 1]
    assert warnings == []


def test_a_source_that_lacks_the_middle_class_keeps_its_score_and_says_so() -> None:
    labels, warnings = align(np.array([0, 1, 1]), ["cat", "owl"], ["cat", "dog", "owl"])
    assert labels.tolist() == [0, 2, 2]
    assert warnings == ['No image of class "dog" here: the score says nothing about it.']


def test_a_class_that_the_model_does_not_know_is_named() -> None:
    with pytest.raises(DataError, match=r'class "emu", which the model was not trained on.*"cat", "dog"'):
        align(np.array([0, 1]), ["cat", "emu"], ["cat", "dog"])


def test_a_class_without_images_does_no_harm() -> None:
    labels, warnings = align(np.array([0, 0]), ["cat", "emu"], ["cat"])
    assert labels.tolist() == [0, 0]
    assert warnings == []


def test_several_labels_an_image() -> None:
    given = np.array([[1, 0, 0], [1, 1, 0]], dtype=np.float32)
    labels, warnings = align(given, ["owl", "cat", "emu"], ["cat", "dog", "owl"])
    assert labels.tolist() == [[0, 0, 1], [1, 0, 1]]
    assert labels.dtype == np.float32
    assert warnings == ['No image of class "dog" here: the score says nothing about it.']


def test_two_unicode_forms_of_one_name_are_one_class() -> None:
    labels, _ = align(np.array([0]), ["cafe\u0301"], ["tea", "caf\u00e9"])
    assert labels.tolist() == [1]


def test_a_bundle_without_names_takes_the_labels_as_they_are() -> None:
    labels, warnings = align(np.array([3, 1]), ["a", "b", "c", "d"], None)
    assert labels.tolist() == [3, 1]
    assert warnings == []


def test_long_lists_are_cut() -> None:
    with pytest.raises(DataError, match='"c4" and 15 more'):
        align(np.arange(20), [f"c{i}" for i in range(20)], ["cat"])
