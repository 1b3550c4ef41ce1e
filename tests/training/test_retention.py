"""Which checkpoints are deleted, and what happens when deleting fails or is cut short."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vitrail.errors import SaveError
from vitrail.files import staged_folder
from vitrail.training.checkpoint import newest_checkpoint, prune_checkpoints, verify_checkpoint


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place that everybody may look into, unlike pytest's."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o777)
    yield place
    shutil.rmtree(place)


def write(folder: Path, *steps: int) -> Path:
    """Complete checkpoints, as far as their files and checksums go; returns the last one."""
    for step in steps:
        with staged_folder(folder / f"step-{step:08d}") as staged:
            for name in ("weights.safetensors", "optimizer.safetensors", "state.json"):
                (staged / name).write_bytes(name.encode() * step)
    return folder / f"step-{steps[-1]:08d}"


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def in_child(work: Callable[[], None], user: int = 0) -> int:
    """The exit status of a forked process that does `work`, as another user where this one is root."""
    process = os.fork()
    if process == 0:
        status = 70
        with contextlib.suppress(BaseException):
            if user and os.getuid() == 0:
                os.setgid(user)
                os.setuid(user)
            work()
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork beside threads does not use them


@pytest.mark.fault("R9", "The newest two checkpoints are kept and older ones deleted, once the newest has been read "
                   "again and its checksums hold; else all are kept and it is told.")
def test_nothing_is_deleted_before_the_newest_one_is_read_again(folder: Path) -> None:
    newest = write(folder, 1, 2, 30, 4)  # in any order
    prune_checkpoints(folder / "step-00000004")
    assert steps_in(folder) == [2, 4, 30]  # and none that is newer
    prune_checkpoints(folder / "step-00000030")
    assert steps_in(folder) == [4, 30]
    newest = write(folder, 40)
    (newest / "optimizer.safetensors").write_bytes(b"")
    with pytest.raises(SaveError, match=r"optimizer\.safetensors has changed.*The checkpoints before it are kept"):
        prune_checkpoints(newest)
    assert steps_in(folder) == [4, 30, 40]


@pytest.mark.fault("R9", "A kill at any moment of deleting leaves the newest two whole; the rest goes the next time.")
def test_a_kill_at_any_deletion_leaves_the_newest_whole(folder: Path) -> None:
    kills = 0
    for at in range(50):
        newest = write(folder, 1, 2, 3, 4)

        def killed(at: int = at, newest: Path = newest) -> None:
            calls = 0

            def counted(original: Callable[..., Any]) -> Callable[..., Any]:
                def call(*given: Any, **settings: Any) -> Any:
                    nonlocal calls
                    calls += 1
                    if calls > at:
                        os._exit(9)
                    return original(*given, **settings)

                return call

            os.unlink, os.rmdir = counted(os.unlink), counted(os.rmdir)
            prune_checkpoints(newest)

        status = in_child(killed)
        assert status in (0, 9)
        assert newest_checkpoint(folder) == (newest, [])
        verify_checkpoint(folder / "step-00000003")
        prune_checkpoints(newest)
        assert steps_in(folder) == [3, 4]
        if status == 0:
            break
        kills += 1
    assert kills == 2 * 5  # four files and the folder itself, twice


@pytest.mark.fault("R9", "A checkpoint that may not be deleted stays, and the others are deleted all the same.")
def test_a_checkpoint_that_may_not_be_deleted_stays(folder: Path) -> None:
    newest = write(folder, 1, 2, 3, 4)
    for path in [folder, *folder.rglob("*")]:
        if os.getuid() == 0:
            os.chown(path, 65534, 65534)
    (folder / "step-00000002").chmod(0o500)
    assert in_child(lambda: prune_checkpoints(newest), user=65534) == 0
    assert steps_in(folder) == [2, 3, 4]
    verify_checkpoint(folder / "step-00000002")
    (folder / "step-00000002").chmod(0o700)
