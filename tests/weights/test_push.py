"""Uploads, against an interface that keeps what it is given; nothing leaves this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import yaml
from huggingface_hub import constants
from published import GOLDEN

from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.errors import SaveError, UsageError
from vitrail.weights.push import card, check_target, push


class Interface:
    """What `HfApi` is asked for, kept."""

    def __init__(self, held: tuple[str, ...] = (), fails: Exception | None = None) -> None:
        self.held, self.fails = held, fails
        self.created: list[tuple[str, dict[str, Any]]] = []
        self.commits: list[dict[str, bytes]] = []

    def create_repo(self, name: str, **settings: Any) -> None:
        if self.fails:
            raise self.fails
        self.created.append((name, settings))

    def file_exists(self, name: str, file: str) -> bool:
        return file in self.held

    def create_commit(self, name: str, operations: list[Any], commit_message: str) -> None:
        self.commits.append({one.path_in_repo: content(one.path_or_fileobj) for one in operations})


def content(given: str | bytes) -> bytes:
    return given if isinstance(given, bytes) else Path(given).read_bytes()


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Interface]:
    """Online, with a token, at an interface that goes nowhere."""
    def prepared(**given: Any) -> Interface:
        interface = Interface(**given)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: interface)
        return interface

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret")
    return prepared


@pytest.fixture
def bundle() -> Bundle:
    return weights.load(GOLDEN / "vit_token.npz")


def test_a_folder_is_one_commit_with_a_card(online: Any, bundle: Bundle, tmp_path: Path) -> None:
    interface = online()
    written = weights.write(bundle, tmp_path / "out", "vitrail")
    assert push(written, bundle, "me/panes", "vitrail") == f"{constants.ENDPOINT}/me/panes"
    assert interface.created == [("me/panes", {"private": True, "exist_ok": True})]
    (files,) = interface.commits
    assert {name: value for name, value in files.items() if name != "README.md"} == {
        path.name: path.read_bytes() for path in written.iterdir()}
    assert not (written / "README.md").exists()


@pytest.mark.parametrize(("name", "there"), [("out.npz", "out.npz"), ("out", "out.npz")])
def test_a_file_is_found_by_its_name(online: Any, bundle: Bundle, tmp_path: Path, name: str, there: str) -> None:
    interface = online()
    push(weights.write(bundle, tmp_path / name, "official"), bundle, "me/panes", "official")
    (files,) = interface.commits
    assert set(files) == {there, "README.md"}
    assert f'vitrail.load("hf:me/panes/{there}")' in files["README.md"].decode()


def test_a_card_of_the_user_s_is_kept(online: Any, bundle: Bundle, tmp_path: Path) -> None:
    interface = online(held=("README.md",))
    push(weights.write(bundle, tmp_path / "out", "vitrail"), bundle, "me/panes", "vitrail")
    assert "README.md" not in interface.commits[0]


def test_the_card_states_facts(bundle: Bundle) -> None:
    bundle.classes = tuple("abcdefg")
    bundle.provenance["hub"] = "hf:google/panes@1"
    text = card(bundle, "me/panes", "huggingface", ["config.json", "model.safetensors"])
    front = yaml.safe_load(text.split("---")[1])
    assert front == {"library_name": "transformers", "pipeline_tag": "image-classification",
                     "tags": ["vitrail", "vision-transformer"]}
    for fact in ("| parameters | 68,407 |", "| images | 48 x 48 |", "| outputs | 7 classes (softmax) |",
                 "squashed to 48 x 48 pixels, bilinear; mean (0.5, 0.5, 0.5)", "| hub | hf:google/panes@1 |",
                 "Classes: a, b, c, d, e, f, g", 'vitrail.load("hf:me/panes")', "License: to be stated"):
        assert fact in text, fact


def test_without_access_what_was_written_stays(online: Any, bundle: Bundle, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    written = weights.write(bundle, tmp_path / "out", "vitrail")

    def refused(said: str) -> None:
        with pytest.raises(SaveError, match=said) as error:
            push(written, bundle, "me/panes", "vitrail")
        assert str(error.value).startswith(f"{written} is written, but was not pushed to me/panes: ")
        weights.load(written)

    interface = online(fails=ConnectionError("no route to host\nmore"))
    refused("ConnectionError: no route to host. Push again")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    refused("there is no token. Set HF_TOKEN, or log in with: hf auth login")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("HF_HUB_OFFLINE is set")
    assert (interface.created, interface.commits) == ([], [])


@pytest.mark.parametrize("name", ["panes", "me/panes/more", "me/panes@main", "hf:me/panes", ""])
def test_a_name_that_cannot_be_one(name: str) -> None:
    with pytest.raises(UsageError):
        check_target(name)
