"""The one seam for durable writes: everything that must survive a crash is written here.

A file or folder appears under its final name only when it is complete: it is staged beside its place,
flushed to the disk, and renamed. At every instant the old or the new one is there, never a mixture.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vitrail.errors import BundleError, SaveError

MANIFEST = "manifest.json"


def cache_folder() -> Path:
    """Where vitrail keeps what can be made again, and looks for data sets that a person put there: $VITRAIL_HOME, or
    vitrail in the user's cache."""
    home = os.environ.get("VITRAIL_HOME")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitrail"


def write_bytes(path: Path, data: bytes) -> None:
    """Write one file atomically and durably. Raises SaveError; the older file then still stands."""
    path = path.resolve()
    staged = staging_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_litter(path)
        try:
            with open(staged, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(staged, path)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise SaveError(f"Cannot save {path}: {error.strerror or error}. What stood there before is untouched. "
                        "Free some space or choose another --out.") from error


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def append_line(path: Path, line: str) -> None:
    """Add a line that is on the disk when this returns; a crash may cut it short. Raises OSError."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def staged_folder(path: Path, checksums: Mapping[str, str] | None = None) -> Iterator[Path]:
    """A folder to fill; on leaving it gets a manifest with checksums and takes the name `path` at once.

    `checksums`: SHA-256 of files, filled in by whoever writes them; the others are read again for it.

    An older folder of that name is replaced only after the new one is complete; a folder that was not written here
    is never replaced. Any failure inside (also torch's RuntimeError on a full disk) becomes SaveError and leaves
    `path` as it was.
    """
    path = path.resolve()
    refuse_foreign(path)
    staged = staging_place(path)
    try:
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        clear_litter(path)
        yield staged
        write_manifest(staged, checksums)
        replace_folder(staged, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            recover_folder(path)
        shutil.rmtree(staged, ignore_errors=True)
        if type(error).__name__ in ("SafetensorError", "RuntimeError") or isinstance(error, OSError):
            raise SaveError(f"Cannot save {path}: {error}. What stood there before is untouched. "
                            "Free some space or choose another --out.") from error
        raise


def staging_place(path: Path) -> Path:
    return path.parent / f".tmp-{path.name}-{os.getpid()}"


def stepped_aside(path: Path) -> Path:
    return path.parent / f".old-{path.name}"


def clear_litter(path: Path) -> None:
    """Remove what killed processes left half-written beside `path`; numbers at the end of its name do not matter
    (`step-100` clears after `step-80`). Where it is not known that a process has ended, its files stay."""
    pattern = re.compile(re.escape(f".tmp-{path.name.rstrip('0123456789')}") + r"\d*-(\d+)")
    for left in list(path.parent.iterdir()):
        match = pattern.fullmatch(left.name)
        if match is None or is_running(int(match[1])):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    if os.name != "posix":  # signal 0 would stop the process there
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def refuse_foreign(path: Path) -> None:
    """Raise SaveError where `path` holds something that was not written here and would be lost."""
    if not path.exists() or (path / MANIFEST).exists() or (path.is_dir() and not any(path.iterdir())):
        return
    raise SaveError(f"Cannot save {path}: it exists, and was not written by vitrail (it has no {MANIFEST}). "
                    "Choose another place, or move it away.")


def replace_folder(staged: Path, path: Path) -> None:
    """Give a complete folder its final name. Where one stands already, it steps aside for an instant under a
    name that `recover_folder` knows."""
    aside = stepped_aside(path)
    if path.exists():
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(path, aside)
    os.rename(staged, path)
    sync_folder(path.parent)
    shutil.rmtree(aside, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Finish or undo a replacement that a crash cut short."""
    path = path.resolve()
    aside = stepped_aside(path)
    if aside.exists() and not path.exists():
        os.rename(aside, path)


def write_manifest(folder: Path, checksums: Mapping[str, str] | None = None) -> None:
    """Flush everything in `folder` and write `manifest.json`: name, bytes and SHA-256 (as known, or read) of each."""
    entries = {}
    for file in sorted(folder.rglob("*")):
        if file.is_dir():
            sync_folder(file)
        elif file != folder / MANIFEST:
            os.chmod(file, folder.stat().st_mode & 0o666)  # safetensors writes for its owner alone
            sync_file(file)
            name = file.relative_to(folder).as_posix()
            entries[name] = {"bytes": file.stat().st_size, "sha256": (checksums or {}).get(name) or sha256(file)}
    write_json(folder / MANIFEST, {"files": entries})


def verify_manifest(folder: Path, needed: Iterable[str] = ()) -> set[str]:
    """The names of the files in `folder` that are as they were written, all that its manifest lists.

    Raises BundleError naming the first that is missing, cut or changed, or is `needed` and not listed.
    """
    try:
        entries = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        items = [(str(name), int(entry["bytes"]), str(entry["sha256"])) for name, entry in entries.items()]
    except FileNotFoundError as error:
        raise BundleError(f"{folder} has no {MANIFEST}: it is not a complete Bundle or checkpoint.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BundleError(f"{folder / MANIFEST} cannot be read ({error}): the folder is damaged.") from error
    for name, size, checksum in items:
        file = folder / name
        if not os.path.isfile(file):  # unlike Path.is_file, it never raises, whatever a stranger calls a file
            raise BundleError(f"{file} is missing although the manifest lists it: the folder is damaged.")
        if file.stat().st_size != size or sha256(file) != checksum:
            raise BundleError(f"{file} has changed since it was written (its checksum differs). "
                              "Use another copy; a damaged file is never loaded.")
    unlisted = [name for name in needed if name not in entries]
    if unlisted:
        raise BundleError(f"{folder / MANIFEST} does not list {unlisted[0]}: the folder is damaged.")
    return set(entries)


def sha256(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sync_file(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable. Windows has no such call and needs none."""
    if os.name == "posix":
        sync_file(folder)
