"""Weights by their name on the Hugging Face hub. With `push.py` the only place of vitrail that reaches for a network,
and only when the user names something there.

    hf:OWNER/NAME                  the repository's model.safetensors, or its only .safetensors or .npz
    hf:OWNER/NAME@REVISION         a branch, a tag or a commit; a commit that is in the cache needs no network
    hf:OWNER/NAME/FILE             where there are several

Only weights that are no pickles are fetched, and the JSON files beside them. Offline, or where the hub does not answer
at once, the copy in the cache is used. Cache and access are huggingface_hub's: HF_HOME, HF_TOKEN, HF_HUB_OFFLINE. (The
library asks the hub for a small registry of its own once a day, when it first makes a request; nothing turns it off.)
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from vitrail.bundle import CONFIG, WEIGHTS
from vitrail.errors import BundleError, PickleError, UsageError
from vitrail.weights.opened import PREPROCESSOR

SCHEME = "hf:"
NAME = re.compile(r"hf:(?://?)?(?P<repository>[\w.-]+/[\w.-]+?)(?:@(?P<revision>refs/pr/\d+|[^/@]+))?(?:/(?P<file>.+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
KINDS = (".safetensors", ".npz")
PICKLES = (".bin", ".pth", ".pt", ".pkl", ".ckpt", ".tar")

CONNECT = 2.0
"""Seconds for each step of the one request that finds out whether the hub is there."""
ANSWER = 6.0
"""Seconds for it in all: looking up a name is not covered by the other limit, and can take a minute."""


class HubName(NamedTuple):
    repository: str
    revision: str
    file: str | None

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}@{self.revision}{f'/{self.file}' if self.file else ''}"


class UnreachableError(Exception):
    """The hub does not answer; the message says why."""


def is_hub_name(path: str | Path) -> bool:
    return str(path).startswith(SCHEME)


def fetch(name: str | Path) -> tuple[Path, dict[str, Any]]:
    """The weights file, in huggingface_hub's cache, and where it is from, for the provenance.

    Raises UsageError for a name that cannot be one, BundleError where nothing can be had, PickleError.
    """
    wanted, notes = parse(str(name)), []
    hub = library()
    cache = Path(hub.constants.HF_HUB_CACHE) / f"models--{wanted.repository.replace('/', '--')}"
    path = snapshot(cache, wanted) if COMMIT.fullmatch(wanted.revision) else None
    if path is None:
        try:
            path = download(hub, wanted)
        except UnreachableError as error:
            path = snapshot(cache, wanted)
            if path is None:
                raise BundleError(
                    f"{wanted} cannot be fetched: {error}. It was looked for in {cache} as well, where a download "
                    "would have put it, and is not there. Go online and try again, or give the path of a copy."
                ) from None
            if not hub.constants.is_offline_mode():
                notes = [f"{wanted} may have changed: the hub was not reached ({error}), and the copy in {cache} used."]
    commit = next(folder.name for folder in path.parents if folder.parent.name == "snapshots")
    return path, {"hub": str(wanted._replace(revision=commit))} | ({"notes": notes} if notes else {})


def parse(name: str) -> HubName:
    match = NAME.fullmatch(name.replace("\\", "/"))  # a Path on Windows turns them
    if match is None or ".." in name:
        raise UsageError(f"{name!r} is no name on the hub. Give hf:OWNER/NAME, as hf:google/vit-base-patch16-224, "
                         "hf:OWNER/NAME@REVISION or hf:OWNER/NAME/FILE.")
    return HubName(match["repository"], match["revision"] or "main", match["file"])


def library() -> ModuleType:
    """huggingface_hub, imported when a name needs it. Raises UsageError where it is not installed."""
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError:
        raise UsageError("Names on the hub (hf:OWNER/NAME) need huggingface_hub: pip install 'vitrail[hub]'") from None
    return huggingface_hub


def download(hub: ModuleType, wanted: HubName) -> Path:
    """The weights and the JSON files beside them. Raises UnreachableError, BundleError, PickleError."""
    held = listing(hub, wanted)
    file = choose(held, wanted)
    folder = file.rpartition("/")[0]
    beside = [name for part in (CONFIG, PREPROCESSOR) if (name := f"{folder}/{part}".lstrip("/")) in held]
    try:
        paths = [Path(hub.hf_hub_download(wanted.repository, name, revision=wanted.revision, etag_timeout=CONNECT))
                 for name in (*beside, file)]
    except Exception as error:
        raise UnreachableError(reason(error)) from error
    if len({path.parent for path in paths}) > 1:
        raise BundleError(f"{wanted} changed while it was fetched. Try again.")
    return paths[-1]


def listing(hub: ModuleType, wanted: HubName) -> list[str]:
    """The files of the repository. One attempt. Raises UnreachableError, or BundleError where there is none."""
    errors = hub.errors
    try:
        info = within(ANSWER, lambda: hub.HfApi().model_info(
            wanted.repository, revision=wanted.revision, timeout=CONNECT))
    except errors.GatedRepoError:
        raise BundleError(f"{wanted} is open to those only who accepted its terms: do so on {page(hub, wanted)}, and "
                          "set HF_TOKEN.") from None
    except errors.RepositoryNotFoundError:
        raise BundleError(f"There is no {wanted.repository} on the hub, or it is private: then set HF_TOKEN. "
                          f"See {page(hub, wanted)}") from None
    except errors.RevisionNotFoundError:
        raise BundleError(f"{wanted.repository} has no revision {wanted.revision!r}. See {page(hub, wanted)}") from None
    except Exception as error:  # each generation of the library brought another transport with errors of its own
        raise UnreachableError(reason(error)) from error
    return [sibling.rfilename for sibling in info.siblings or ()]


def page(hub: ModuleType, wanted: HubName) -> str:
    return f"{hub.constants.ENDPOINT}/{wanted.repository}"


def reason(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """What `call` returns or raises; TimeoutError where it takes longer (it is left behind, in a thread)."""
    outcome: list[Any] = []

    def attempt() -> None:
        try:
            outcome.append((call(), None))
        except Exception as error:
            outcome.append((None, error))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer in {seconds:g} s")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


def snapshot(cache: Path, wanted: HubName) -> Path | None:
    """The weights file in the cache, or None. Raises as `choose` where other files are there."""
    reference = cache / "refs" / wanted.revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else wanted.revision
    folder = cache / "snapshots" / commit
    held = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    if not any(name.endswith(KINDS) for name in held) or (wanted.file and wanted.file not in held):
        return None
    return folder / choose(held, wanted)


def choose(held: list[str], wanted: HubName) -> str:
    """Which file of a repository is meant. Raises BundleError, PickleError where there are pickles only."""
    weights = [name for name in held if name.endswith(KINDS)]
    if wanted.file is not None:
        if wanted.file in weights:
            return wanted.file
        if wanted.file in held and wanted.file.endswith(PICKLES):
            raise only_pickles(wanted, [wanted.file])
        raise BundleError(f"{wanted.repository} holds no weights {wanted.file}. There are: {shown(weights)}.")
    if WEIGHTS in weights:
        return WEIGHTS
    if f"{WEIGHTS}.index.json" in held:
        raise BundleError(f"{wanted} holds weights in several files, which vitrail does not read. Save it as one with "
                          "transformers: model.save_pretrained(folder, max_shard_size='100GB').")
    if len(weights) == 1:
        return weights[0]
    if weights:
        raise BundleError(f"{wanted} holds several models: {shown(weights)}. "
                          f"Name one: hf:{wanted.repository}/{weights[0]}")
    if pickles := [name for name in held if name.endswith(PICKLES)]:
        raise only_pickles(wanted, pickles)
    raise BundleError(f"{wanted} holds no weights that vitrail reads ({' or '.join(KINDS)}): {shown(held)}.")


def only_pickles(wanted: HubName, pickles: list[str]) -> PickleError:
    return PickleError(
        f"{wanted} has its weights as a pickle only ({shown(pickles)}), which can run programs when it is opened; "
        f"vitrail does not fetch it. If you trust where it is from: hf download {wanted.repository} --local-dir "
        f"FOLDER, then vitrail convert FOLDER/{pickles[0]} OUT")


def shown(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "nothing"
