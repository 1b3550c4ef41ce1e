"""Durable writes under faults: a crash or an error at every single operation, a full disk, changed bytes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from vitrail import files
from vitrail.errors import BundleError, SaveError
from vitrail.files import MANIFEST, recover_folder, staged_folder, verify_manifest, write_bytes, write_json, write_text

OLD = {"a.bin": b"old" * 100, "deep/b.bin": b"old too"}
NEW = {"a.bin": b"new!" * 90, "deep/b.bin": b"new as well", "c.bin": b""}


def save(folder: Path, contents: dict[str, bytes]) -> None:
    with staged_folder(folder) as staged:
        for name, data in contents.items():
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_bytes(data)


def held(folder: Path) -> dict[str, bytes]:
    verify_manifest(folder)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*")
            if file.is_file() and file.name != MANIFEST}


# The injector: every operation that `files` asks of the system goes through here and is counted.


class Faults:
    """Stands in for `os`, `shutil` and `open` in `vitrail.files`. At operation number `at`, `strike` is called:
    before the operation, or with half of it done where it can be done by half."""

    def __init__(self, at: int, strike: Callable[[], None]) -> None:
        self.at, self.strike = at, strike
        self.names: list[str] = []

    def due(self, name: str) -> bool:
        self.names.append(name)
        return len(self.names) - 1 == self.at

    def watched(self, module: Any, *names: str) -> Any:
        faults = self

        class Watched:
            def __getattr__(self, name: str) -> Any:
                original = getattr(module, name)
                if name not in names:
                    return original

                def counted(*given: Any, **settings: Any) -> Any:
                    if faults.due(name):
                        if name == "rmtree":
                            delete_half(Path(given[0]))
                        faults.strike()
                    return original(*given, **settings)

                return counted

        return Watched()

    def open(self, path: Path, mode: str = "r") -> Any:
        if "w" in mode and self.due("open"):
            self.strike()
        file = open(path, mode)  # noqa: SIM115 (handed on open)
        if "w" not in mode:
            return file
        write = file.write

        def half_then_strike(data: bytes) -> int:
            if self.due("write"):
                write(data[: len(data) // 2])
                file.flush()
                self.strike()
            return write(data)

        return Half(file, half_then_strike)

    def install(self, patch: Callable[..., None], deletions: bool = True) -> None:
        """`deletions`: strike at them too. A kill can fall there; an error cannot come out, for it is ignored."""
        patch(files, "os", self.watched(os, "fsync", "replace", "rename", "open"))
        patch(files, "open", self.open)
        if deletions:
            patch(files, "shutil", self.watched(shutil, "rmtree"))


class Half:
    """A file whose `write` is ours."""

    def __init__(self, file: Any, write: Callable[[bytes], int]) -> None:
        self.file, self.write = file, write

    def __enter__(self) -> Half:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def delete_half(folder: Path) -> None:
    for file in sorted(file for file in folder.rglob("*") if file.is_file())[:1]:
        file.unlink()


def in_child(work: Callable[[], None]) -> int:
    """The exit status of a forked process that does `work`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, which the child never uses
        process = os.fork()
    if process == 0:
        status = 70
        with contextlib.suppress(BaseException):
            work()
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def each_kill(work: Callable[[], None]) -> Iterator[int]:
    """Do `work` in a child that dies at operation 0, 1, 2 ... until one gets through."""
    for at in range(200):
        def killed(at: int = at) -> None:
            Faults(at, lambda: os._exit(9)).install(setattr)
            work()

        status = in_child(killed)
        assert status in (0, 9)
        yield at
        if status == 0:
            return
    pytest.fail("no end of operations")


@pytest.mark.fault("R1", "After a kill at any operation of a save, the old or the new folder is there whole.")
@pytest.mark.parametrize("before", [None, OLD], ids=["first save", "replacing"])
def test_a_folder_survives_a_kill_at_every_operation(tmp_path: Path, before: dict[str, bytes] | None) -> None:
    seen, points = set(), 0
    folder = tmp_path / "home" / "bundle"

    def prepare() -> None:
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
        if before:
            save(folder, before)

    prepare()
    for _ in each_kill(lambda: save(folder, NEW)):
        points += 1
        recover_folder(folder)
        if folder.exists():
            found = held(folder)
            assert found in (before, NEW)
            seen.add("new" if found == NEW else "old")
        else:
            assert before is None
        save(folder, NEW)  # and the next save goes through, and tidies up
        assert sorted(path.name for path in folder.parent.iterdir()) == ["bundle"]
        assert held(folder) == NEW
        prepare()
    assert points > 15
    assert seen == ({"old", "new"} if before else {"new"})


@pytest.mark.fault("R1", "The same holds when the next save is killed, too.")
def test_a_kill_at_every_operation_twice_in_a_row(tmp_path: Path) -> None:
    """The second save meets what the first one left behind, without anybody recovering in between."""
    folder = tmp_path / "step-100"
    save(folder, OLD)
    with pytest.MonkeyPatch.context() as patch:
        counting = Faults(-1, lambda: None)
        counting.install(partial(patch.setattr, raising=False))
        save(folder, OLD)
    delicate = [at for at, name in enumerate(counting.names) if name in ("rename", "rmtree")]
    assert len(delicate) >= 4
    for points in itertools.product(delicate, repeat=2):
        shutil.rmtree(folder, ignore_errors=True)
        save(folder, OLD)
        for at in points:
            def killed(at: int = at) -> None:
                Faults(at, lambda: os._exit(9)).install(setattr)
                save(folder, NEW)

            assert in_child(killed) in (0, 9)
        recover_folder(folder)
        assert held(folder) in (OLD, NEW)


@pytest.mark.fault("R1", "A single file is the old or the new one after a kill at any operation.")
def test_a_file_survives_a_kill_at_every_operation(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_bytes(path, b"old" * 1000)
    seen = set()
    for _ in each_kill(lambda: write_bytes(path, b"new!" * 1000)):
        seen.add(path.read_bytes())
        write_bytes(path, b"old" * 1000)
        assert [left.name for left in tmp_path.iterdir()] == ["state.json"]
    assert seen == {b"old" * 1000, b"new!" * 1000}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("disk"), KeyboardInterrupt()],
                         ids=["OSError", "RuntimeError", "KeyboardInterrupt"])
def test_a_folder_survives_an_error_at_every_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    folder, outcomes = tmp_path / "bundle", []

    def strike() -> None:
        raise error

    for at in range(200):
        shutil.rmtree(folder, ignore_errors=True)
        save(folder, OLD)
        faults = Faults(at, strike)
        with monkeypatch.context() as patch:
            faults.install(partial(patch.setattr, raising=False), deletions=False)
            with contextlib.suppress(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else SaveError):
                save(folder, NEW)
        if at >= len(faults.names):
            break
        outcomes.append(held(folder))
        assert outcomes[-1] in (OLD, NEW)
        assert not list(tmp_path.glob(".tmp-*"))
    else:
        pytest.fail("no end of operations")
    assert outcomes[0] == OLD
    assert outcomes[-1] == NEW
    assert outcomes == sorted(outcomes, key=lambda found: found == NEW)  # old up to some point, new from there


def test_a_failed_rename_puts_the_older_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bundle"
    save(folder, OLD)
    rename = os.rename

    def second_fails(source: Path, target: Path) -> None:
        if Path(source).name.startswith(".tmp-"):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(SaveError, match="What stood there before is untouched"):
        save(folder, NEW)
    assert held(folder) == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.fault("R1", "Real kills of a process that saves without a pause leave one whole folder.")
def test_real_kills_at_random_moments(tmp_path: Path) -> None:
    """A process that saves without a pause, killed from outside."""
    code = ("import sys; from pathlib import Path; from vitrail.files import staged_folder\n"
            "for number in range(10**6):\n"
            "    with staged_folder(Path(sys.argv[1])) as staged:\n"
            "        for name in 'ab': (staged / name).write_bytes(b'%d' % number * 2000)\n"
            "    print(number, flush=True)\n")
    folder = tmp_path / "bundle"
    for lines in (1, 2, 3, 5, 8):
        with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(lines):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        recover_folder(folder)
        found = held(folder)
        assert found["a"] == found["b"]
    save(folder, NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


# A full disk.


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: what a write then meets is what it meets on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_text(path, "old")
    with largest_file(100_000), pytest.raises(SaveError, match="Free some space"):
        write_bytes(path, bytes(200_000))
    assert path.read_text() == "old"
    assert [left.name for left in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.fault("R3", "A full disk leaves the older folder as it was and no half-written one.")
def test_a_full_disk_leaves_the_older_folder(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    save(folder, OLD)
    with largest_file(100_000), pytest.raises(SaveError, match=r"Cannot save .*bundle.*Free some space"):
        save(folder, {"a.bin": bytes(200_000)})
    assert held(folder) == OLD
    assert [left.name for left in tmp_path.iterdir()] == ["bundle"]


def test_a_path_below_a_file_is_a_save_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for write in (lambda path: write_bytes(path, b"1"), lambda path: save(path, NEW)):
        with pytest.raises(SaveError, match="Cannot save"):
            write(tmp_path / "file" / "below")


# What is replaced, and what is tidied up.


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_others_wrote_is_never_replaced(tmp_path: Path, kind: str) -> None:
    precious = tmp_path / "photos"
    if kind == "file":
        precious.write_text("mine")
    else:
        precious.mkdir()
        (precious / "mine.jpg").write_text("mine")
    with pytest.raises(SaveError, match="not written by vitrail"):
        save(precious, NEW)
    assert (precious if kind == "file" else precious / "mine.jpg").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    save(tmp_path / "bundle", NEW)
    assert held(tmp_path / "bundle") == NEW


def test_litter_of_dead_processes_is_cleared_and_of_others_kept(tmp_path: Path) -> None:
    dead = dead_process()
    for name in (f".tmp-step-100-{dead}", f".tmp-step-80-{dead}"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(b"x")
    kept = {f".tmp-step-100-{os.getppid()}", f".tmp-other-{dead}", ".tmp-step-100-old", f"step-1-{dead}"}
    for name in kept:
        (tmp_path / name).mkdir()
    (tmp_path / f".tmp-step-90-{dead}").write_bytes(b"x")
    save(tmp_path / "step-100", NEW)
    assert {path.name for path in tmp_path.iterdir()} == kept | {"step-100"}


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_a_name_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle").mkdir()
    monkeypatch.chdir(tmp_path / "bundle")
    save(Path("."), OLD)
    monkeypatch.chdir(tmp_path)
    assert held(Path("bundle")) == OLD
    recover_folder(Path("/"))
    recover_folder(Path("."))


def test_json_is_readable_text(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "value.json", {"class": "für", "number": 0.1})
    assert json.loads((tmp_path / "new" / "value.json").read_text()) == {"class": "für", "number": 0.1}
    assert "für" in (tmp_path / "new" / "value.json").read_text()


# The manifest.


def test_the_manifest_names_every_file(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    save(folder, NEW | {"deep/manifest.json": b"{}"})
    assert set(json.loads((folder / MANIFEST).read_text())["files"]) == {*NEW, "deep/manifest.json"}


def test_everything_is_flushed_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda number: (flushed.append(os.readlink(f"/proc/self/fd/{number}")),
                                                     fsync(number)))
    monkeypatch.setattr(os, "rename", lambda source, target: (flushed.append("rename"), rename(source, target)))
    save(tmp_path / "bundle", NEW)
    before, after = flushed[: flushed.index("rename")], flushed[flushed.index("rename") + 1 :]
    staged = str(tmp_path / f".tmp-bundle-{os.getpid()}")
    assert {f"{staged}/{name}" for name in NEW} | {staged, f"{staged}/deep"} <= set(before)
    assert any(name.startswith(f"{staged}/.tmp-{MANIFEST}") for name in before)
    assert str(tmp_path) in after


def changed(data: bytes, offset: int, bit: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1 << bit]) + data[offset + 1 :]


@pytest.mark.fault("R2", "A folder with any changed bit is refused, with the file named.")
def test_every_changed_bit_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    save(folder, {"a.bin": b"0123456789"})
    for file in (folder / "a.bin", folder / MANIFEST):
        whole = file.read_bytes()
        for offset in range(len(whole)):
            file.write_bytes(changed(whole, offset, offset % 8))
            with pytest.raises(BundleError):
                verify_manifest(folder)
        file.write_bytes(whole)
    verify_manifest(folder)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", "[" * 100_000, '{"files": []}', '{"files": {"a": {}}}',
     '{"files": {"a": {"bytes": 1e999, "sha256": ""}}}',
     '{"files": {"../../../../etc/passwd": {"bytes": 1, "sha256": ""}}}',
     '{"files": {"' + "x" * 5000 + '": {"bytes": 1, "sha256": ""}}}',
     '{"files": {"\\u0000": {"bytes": 1, "sha256": ""}}}'],
    ids=lambda text: text[:30],
)
def test_a_hostile_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(BundleError):
        verify_manifest(tmp_path)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"has no manifest\.json"):
        verify_manifest(tmp_path)


def test_all_files_of_a_folder_may_be_read_by_the_same_people(tmp_path: Path) -> None:
    """Some writers make files for their owner alone."""
    with staged_folder(tmp_path / "out") as folder:
        (folder / "one").write_text("x")
        (folder / "one").chmod(0o600)
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "out").iterdir()}
    assert modes["one"] == modes[MANIFEST] == (tmp_path / "out").stat().st_mode & 0o666
