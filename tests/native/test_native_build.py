"""How the kernels come to be, and what is said where they do not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vitrail import native
from vitrail.native import build, looks
from vitrail.native.build import PICTURES, TRAINING, Sources

needs_kernels = pytest.mark.skipif(bool(native.trouble()), reason=native.trouble())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITRAIL_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "native"


@needs_kernels
@pytest.mark.parametrize("sources", [TRAINING, PICTURES], ids=lambda sources: sources.name)
def test_they_are_compiled_once_and_kept(home: Path, monkeypatch: pytest.MonkeyPatch, sources: Sources) -> None:
    build.load(sources)
    kept, = home.iterdir()
    assert kept.suffix == ".so"
    monkeypatch.setattr(build, "compile_to", None)  # would be called, were anything compiled
    assert all(getattr(build.load(sources), name) for name in sources.functions)


@needs_kernels
@pytest.mark.parametrize("damage", [
    lambda whole: b"", lambda whole: b"no library", lambda whole: whole[:len(whole) // 2], lambda whole: whole[:-1],
    lambda whole: whole[:9000] + bytes(len(whole) - 9000)])
def test_a_damaged_library_is_compiled_anew(home: Path, damage: Callable[[bytes], bytes]) -> None:
    """Loading one that is cut short would end the process without a word."""
    build.load(TRAINING)
    kept, = home.iterdir()
    whole = kept.read_bytes()
    kept.unlink()
    kept.write_bytes(damage(whole))
    build.load(TRAINING)
    assert build.is_whole(kept)
    assert len(kept.read_bytes()) == len(whole)


@needs_kernels
def test_other_sources_make_another_library(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = build.find_compiler()
    before = build.fingerprint(TRAINING, compiler)
    assert build.fingerprint(TRAINING, compiler) == before
    assert build.fingerprint(PICTURES, compiler) != before
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-g"))
    assert build.fingerprint(TRAINING, compiler) != before
    monkeypatch.setattr(build, "processor", lambda: "another")
    assert build.fingerprint(TRAINING, compiler) != before


@needs_kernels
def test_where_nothing_can_be_kept_they_are_used_all_the_same(home: Path) -> None:
    home.parent.write_text("a file where the folder would be")
    assert build.load(TRAINING).attention_scratch(16, 16, 4) > 0


@needs_kernels
def test_without_a_home_they_are_used_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(build, "cache_folder", nowhere)
    assert build.load(TRAINING).attention_scratch(16, 16, 4) > 0


def test_without_a_temporary_folder_there_is_a_reason_and_no_crash(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(**options: object) -> None:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(build.tempfile, "TemporaryDirectory", nowhere)
    build.library.cache_clear()
    monkeypatch.setattr(looks, "started", None)
    try:
        assert native.trouble()
        assert not native.takes(torch.zeros(1, 16, dtype=torch.bfloat16))
        assert native.prepare()
        assert native.look(b"", (8, 8), (0, 0, 8, 8), (8, 8), (0, 0, 8, 8), False) is None
    finally:
        build.library.cache_clear()


@pytest.mark.parametrize(("name", "value", "told"), [
    ("VITRAIL_NATIVE", "0", "switched off"), ("CXX", "no-such-compiler", "CXX names no program: no-such-compiler"),
    ("CXX", "false", "could not compile"), ("CXX", "'", "CXX names no program: '"),
    ("PATH", "/nowhere", "no C++ compiler (apt install g++)")])
def test_the_reason_is_said_where_there_are_none(home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str,
                                                told: str) -> None:
    if name == "PATH":
        monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(build.UnavailableError) as error:
        build.load(TRAINING)
    assert told in str(error.value)
    assert not home.exists()


@needs_kernels
def test_a_compiler_may_be_named_with_arguments(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *_ = build.find_compiler()
    monkeypatch.setenv("CXX", f"{program} -g")
    assert build.find_compiler() == (program, "-g")
    build.load(TRAINING)
    assert len(list(home.iterdir())) == 1


def test_a_compiler_that_hangs_is_left(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("CXX", str(slow))
    monkeypatch.setattr(build, "PATIENCE", 0.2)
    with pytest.raises(build.UnavailableError, match="did not run"):
        build.load(TRAINING)


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kernels.so").write_bytes(b"")
    with pytest.raises(build.UnavailableError, match="cannot be loaded"):
        build.opened(tmp_path / "kernels.so", TRAINING)


@needs_kernels
@pytest.mark.parametrize("flags", [["-DWITHOUT_AMX"], ["-DWITHOUT_AMX", "-DWITHOUT_AVX512BF16"],
                                   ["-DWITHOUT_AMX", "-mno-avx512f"]])
def test_processors_with_less_get_the_same_numbers(home: Path, flags: list[str]) -> None:
    """The other ways to multiply, on this processor, through the same tests."""
    chosen = ["-q", "-n0", "-p", "no:cacheprovider", "-k", "attention or long or gelu",
              str(Path(__file__).with_name("test_native_kernels.py"))]
    program = (f"import sys; from vitrail.native import build; build.FLAGS = (*build.FLAGS, *{flags!r}); "
               f"import pytest; sys.exit(pytest.main({chosen!r}))")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False,
                           env=os.environ | {"OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[2])
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count(".") >= 10
    assert len(list(home.iterdir())) == 1


def test_a_processor_that_lacks_something_is_told_before_anything_is_compiled(
        home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "processor", lambda: "flags : sse4_2 avx")
    monkeypatch.setattr(build, "compile_to", None)
    with pytest.raises(build.UnavailableError, match="made for processors with AVX2"):
        build.load(PICTURES)


@needs_kernels
def test_where_temporary_files_must_not_run_the_kept_library_is_taken(
        home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, places = build.opened, []

    def only_kept(path: Path, sources: Sources) -> object:
        places.append(path)
        if home not in path.parents:
            raise build.UnavailableError("failed to map segment from shared object")
        return opened(path, sources)

    monkeypatch.setattr(build, "opened", only_kept)
    build.load(TRAINING)
    assert [home in place.parents for place in places] == [True]


def alone(program: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False,
                          env=os.environ | {"VITRAIL_HOME": str(home), "OMP_NUM_THREADS": "1"} | environment)


READ = """
import io, sys, threading, time, os
from PIL import Image
from vitrail import native
from vitrail.data.preprocess import Preprocess
file = io.BytesIO()
Image.new("RGB", (64, 48), "red").save(file, "JPEG")
read = lambda: Preprocess(size=8).read(file.getvalue(), "x").sum().item()
"""


@needs_kernels
def test_a_thread_that_outlives_the_main_one_reads_pictures(home: Path) -> None:
    ended = alone(READ + "threading.Thread(target=lambda: (time.sleep(0.5), print(read()))).start()", home)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert float(ended.stdout) > 0


@needs_kernels
def test_a_forked_process_waits_for_nobody(home: Path) -> None:
    """Its copy of the lock is held by a thread that it does not have."""
    ended = alone(READ + """
read()
child = os.fork()
if child == 0:
    print(read(), native.prepare(), native.trouble(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
""", home)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert float(ended.stdout.split()[0]) > 0


@needs_kernels
@pytest.mark.skipif(bool(native.prepare()), reason=native.prepare())
def test_a_process_that_ends_leaves_what_it_compiled_and_no_compiler(home: Path, tmp_path: Path) -> None:
    assert alone(READ + "read()", home).returncode == 0
    assert len(list((home).iterdir())) == 1
    slow = tmp_path / "slow"
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 50\n")
    slow.chmod(0o755)
    program = READ + "from vitrail.native import looks; looks.LEAVING = 0.3; read(); time.sleep(1)"
    ended = alone(program, tmp_path / "new", CXX=str(slow))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert has_ended(int((tmp_path / "pid").read_text()))


def has_ended(process: int, patience: float = 5.0) -> bool:
    """Nobody may have asked yet for what is left of one that was killed (a zombie)."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
