"""Names on the hub: fetched from a server on this machine, found in the cache, and refused in words."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from published import GOLDEN
from small_hub import COMMIT, Hub, serving

import vitrail
from vitrail import weights
from vitrail.errors import BundleError, PickleError, UsageError
from vitrail.weights.hub import HubName, parse, within

NPZ = (GOLDEN / "vit_token.npz").read_bytes()
BUNDLE = "me/small"
CACHED = "models--me--small"


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A timm folder as files."""
    folder = tmp_path_factory.mktemp("timm") / "model"
    config = vitrail.ViTConfig(image_size=24, patch=8, width=16, depth=1, heads=2, mlp=24, classes=3,
                               feedforward="gelu", resampling="bicubic-antialias")
    torch.manual_seed(0)
    model = vitrail.ViT(config).eval()
    torch.nn.init.normal_(model.head.weight)
    weights.write(vitrail.Bundle(model, vitrail.Preprocess(size=24), ("a", "b", "c")), folder, "timm")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub(cache: Path, model_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Online, at a hub of our own."""
    repositories = {
        BUNDLE: model_files | {"README.md": b"hello", "pytorch_model.bin": b"never"},
        "me/npz": {"deep/B_16.npz": NPZ},
        "me/two": {"one.npz": NPZ, "two.npz": NPZ},
        "me/pickle": {"config.json": b"{}", "pytorch_model.bin": b"never"},
        "me/shards": {"config.json": b"{}", "model.safetensors.index.json": b"{}",
                      "model-00001-of-00002.safetensors": b"", "model-00002-of-00002.safetensors": b""},
        "me/text": {"README.md": b"hello"},
    }
    with serving(repositories) as running:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                            running.url + "/{repo_id}/resolve/{revision}/{filename}")
        yield running


def laid_out(cache: Path, files: dict[str, bytes], commit: str = COMMIT, folder: str = CACHED) -> Path:
    """A cache as huggingface_hub keeps it."""
    home = cache / folder
    for name, content in files.items():
        (home / "snapshots" / commit / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "snapshots" / commit / name).write_bytes(content)
    (home / "refs").mkdir(parents=True, exist_ok=True)
    (home / "refs" / "main").write_text(commit)
    return home


def no_network(*_: Any, **__: Any) -> None:
    raise AssertionError("a socket was opened")


@pytest.fixture
def unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)


def test_a_name_is_fetched_once_and_kept(hub: Hub, cache: Path, model_files: dict[str, bytes]) -> None:
    first = vitrail.load(f"hf:{BUNDLE}")
    assert first.classes == ("a", "b", "c")
    assert first.provenance["hub"] == f"hf:{BUNDLE}@{COMMIT}"
    assert not any("pytorch_model" in asked or "README" in asked for asked in hub.asked)
    assert sum(asked.startswith("GET") and "resolve" in asked for asked in hub.asked) == 2
    assert {path.name for path in cache.rglob("snapshots/*/*")} == {"config.json", "model.safetensors"}
    fetched = len(hub.asked)
    again = vitrail.load(f"hf:{BUNDLE}@{COMMIT}", image_size=32)
    assert len(hub.asked) == fetched  # a commit never changes
    assert again.preprocess.size == (32, 32)
    assert torch.equal(again.model.head.weight, first.model.head.weight)
    assert weights.read(f"hf:{BUNDLE}").config.provenance["hub"] == f"hf:{BUNDLE}@{COMMIT}"


def test_a_file_in_a_folder(hub: Hub) -> None:
    for name in ("hf:me/npz", "hf:me/npz/deep/B_16.npz", "hf://me/npz@main/deep/B_16.npz"):
        assert weights.load(name).provenance["file"] == "B_16.npz"
    assert weights.load("hf:me/two/two.npz").model.config.classes == 7


@pytest.mark.parametrize(("name", "said"), [
    ("hf:me/two", r"several models: one.npz, two.npz. Name one: hf:me/two/one.npz"),
    ("hf:me/two/three.npz", r"no weights three.npz. There are: one.npz, two.npz"),
    ("hf:me/text", r"no weights that vitrail reads.*README.md"),
    ("hf:me/shards", r"in several files"),
    ("hf:me/none", r"There is no me/none on the hub, or it is private: then set HF_TOKEN"),
    ("hf:me/npz@old", r"no revision 'old'"),
])
def test_what_cannot_be_had(hub: Hub, name: str, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        weights.load(name)
    assert not any("resolve" in asked for asked in hub.asked)


@pytest.mark.parametrize("name", ["hf:me/pickle", "hf:me/pickle/pytorch_model.bin"])
def test_pickles_are_not_fetched(hub: Hub, name: str) -> None:
    for pickles in (False, True):
        with pytest.raises(PickleError, match=r"does not fetch it.*hf download me/pickle --local-dir FOLDER, then "
                                              r"vitrail convert FOLDER/pytorch_model.bin OUT"):
            weights.load(name, pickles=pickles)
    assert not any("resolve" in asked for asked in hub.asked)


@pytest.mark.parametrize("name", ["hf:", "hf:vit", "hf:a/b@", "hf:a/../b", "hf:a/b/../../c", "hf:a b/c"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UsageError, match="no name on the hub"):
        weights.load(name)


def test_names_are_taken_apart() -> None:
    assert parse("hf:google/vit") == HubName("google/vit", "main", None)
    assert parse("hf:timm/vit_b.augreg@v1.0/x/y.npz") == HubName("timm/vit_b.augreg", "v1.0", "x/y.npz")
    assert parse("hf:a/b@refs/pr/3") == HubName("a/b", "refs/pr/3", None)
    assert parse(str(Path("hf://a/b"))) == HubName("a/b", "main", None)
    assert str(parse("hf:a/b@v1/f.npz")) == "hf:a/b@v1/f.npz"


# Offline.


@pytest.mark.usefixtures("unplugged")
def test_offline_the_cache_serves(cache: Path, model_files: dict[str, bytes]) -> None:
    laid_out(cache, model_files | {"README.md": b"hello"})
    for name in (f"hf:{BUNDLE}", f"hf:{BUNDLE}@{COMMIT}", f"hf:{BUNDLE}/model.safetensors"):
        bundle = weights.load(name)
        assert bundle.provenance["hub"].startswith(f"hf:{BUNDLE}@{COMMIT}")
        assert "notes" not in bundle.provenance
    laid_out(cache, {"B_16.npz": NPZ}, folder="models--me--npz")
    assert weights.load("hf:me/npz").model.config.classes == 7


@pytest.mark.usefixtures("unplugged")
def test_offline_it_says_where_it_looked(cache: Path, model_files: dict[str, bytes]) -> None:
    laid_out(cache, {"config.json": b"{}"})
    for name in (f"hf:{BUNDLE}", f"hf:{BUNDLE}@v2", f"hf:{BUNDLE}/other.npz"):
        with pytest.raises(BundleError, match="HF_HUB_OFFLINE") as error:
            weights.load(name)
        assert str(cache / CACHED) in str(error.value)
        assert "Go online and try again, or give the path of a copy" in str(error.value)


def test_a_refused_connection(hub: Hub, cache: Path, model_files: dict[str, bytes],
                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(BundleError, match="cannot be fetched: ConnectError"):
        weights.load(f"hf:{BUNDLE}")
    laid_out(cache, model_files)
    bundle = weights.load(f"hf:{BUNDLE}")
    assert any("may have changed: the hub was not reached" in note for note in bundle.provenance["notes"])


def test_a_silent_server_is_not_waited_for(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrail.weights.hub.CONNECT", 0.3)
    hub.silent = True
    started = time.perf_counter()
    with pytest.raises(BundleError, match="cannot be fetched: ReadTimeout"):
        weights.load(f"hf:{BUNDLE}")
    assert time.perf_counter() - started < 3
    assert len(hub.asked) == 1


def test_a_name_service_that_does_not_answer() -> None:
    started = time.perf_counter()
    with pytest.raises(TimeoutError, match=r"no answer in 0\.05 s"):
        within(0.05, lambda: time.sleep(5))
    assert time.perf_counter() - started < 2
    assert within(1, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(1, lambda: 1 / 0)


def test_a_repository_that_changes_meanwhile(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(repository: str, name: str, **_: Any) -> str:
        return f"/cache/snapshots/{len(name):040d}/{name}"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetched)
    with pytest.raises(BundleError, match="changed while it was fetched"):
        weights.load(f"hf:{BUNDLE}")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'vitrail\[hub\]'"):
        weights.load("hf:me/small")


def test_the_environment_decides_and_the_commands_take_names(hub: Hub, tmp_path: Path) -> None:
    """HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE as a person sets them, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_secret"}

    def described(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "vitrail", "describe", f"hf:{BUNDLE}", "--json"],
                              capture_output=True, text=True, env=environment | more, timeout=60)

    online = described()
    assert json.loads(online.stdout)["provenance"]["hub"] == f"hf:{BUNDLE}@{COMMIT}", online.stderr
    assert (tmp_path / "home" / "hub" / CACHED).is_dir()
    assert hub.tokens == {"Bearer hf_secret"}
    asked = len(hub.asked)
    offline = described(HF_HUB_OFFLINE="1")
    assert (json.loads(offline.stdout), len(hub.asked)) == (json.loads(online.stdout), asked)
    nowhere = described(HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "empty"))
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert str(tmp_path / "empty" / "hub" / CACHED) in nowhere.stderr
    assert nowhere.stderr.count("\n") == 1


def test_a_path_asks_for_nothing(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(NPZ)
    weights.load(tmp_path / "file")
    with pytest.raises(BundleError):
        weights.load(tmp_path / "none")
    assert hub.asked == []
    assert "huggingface_hub" not in subprocess.run(
        [sys.executable, "-c", "import sys, vitrail.weights, vitrail.weights.push; print(*sys.modules)"],
        capture_output=True, text=True).stdout


def test_a_damaged_file_from_the_hub(hub: Hub) -> None:
    hub.repositories["me/cut"] = {"cut.npz": NPZ[:1000]}
    with pytest.raises(BundleError, match="damaged"):
        weights.load("hf:me/cut")
