"""A model as it was at a checkpoint: what the run's folder says of its answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_recipe, train

from vitrail.bundle import Bundle
from vitrail.run.past import activation_of, bundle_at


@pytest.mark.parametrize(("labels", "activation"), [
    (["cat", "dog"], "softmax"), (["cat", "cat|dog"], "sigmoid"), (["cat", ""], "sigmoid"),
    (["a|b", "cat"], "softmax")])
def test_several_labels_are_told_from_the_list_of_images(tmp_path: Path, labels: list[str], activation: str) -> None:
    (tmp_path / "manifest.csv").write_text("path,label,split\n" + "".join(f"x.png,{label},train\n" for label in labels))
    assert activation_of(tiny_recipe(), tmp_path, ("a|b", "cat", "dog")) == activation


def test_what_the_recipe_says_counts(tmp_path: Path) -> None:
    assert activation_of(tiny_recipe(objective__loss="sigmoid"), tmp_path, ()) == "sigmoid"


def test_the_last_checkpoint_is_the_bundle(tmp_path: Path) -> None:
    train(tiny_recipe(schedule__steps=3), tmp_path / "run")
    newest = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    then, now = bundle_at(newest), Bundle.load(tmp_path / "run")
    assert (then.activation, then.classes) == (now.activation, now.classes)
    assert all((then.model.state_dict()[name] == value).all() for name, value in now.model.state_dict().items())
