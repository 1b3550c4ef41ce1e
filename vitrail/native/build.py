"""Compile C++ for this processor, once for each machine, source and compiler, and load it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitrail.errors import SaveError, VitrailError
from vitrail.files import cache_folder, write_bytes

OFF = "VITRAIL_NATIVE"
"""Set this variable to 0 and nothing is compiled or used."""

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-fno-exceptions", "-fno-strict-aliasing", "-fno-math-errno",
         "-fno-trapping-math", "-w")
PATIENCE = 120.0
"""Seconds that a compiler may take; it takes two or three."""

Pointer, Count = ctypes.c_void_p, ctypes.c_int64


@dataclass(frozen=True)
class Sources:
    """What becomes one library: all in a folder beside this file, of which NAME.cpp takes in the rest.

    `functions`: what each gives back and takes. `begin`, where there is one, is called first; it says 0 where the rest
    may be used. `needs`: what the processor must have, as Linux calls it; `needed`: in words."""

    name: str
    functions: Mapping[str, tuple[type | None, Sequence[type]]]
    flags: tuple[str, ...]
    needs: frozenset[str] = frozenset()
    needed: str = ""

    @property
    def files(self) -> list[Path]:
        folder = Path(__file__).parent / self.name
        return sorted([*folder.glob("*.cpp"), *folder.glob("*.h")])

    def __hash__(self) -> int:
        return hash(self.name)


TRAINING = Sources("training", {
    "begin": (ctypes.c_int, []),
    "attention_scratch": (Count, [Count] * 3),
    "attention_forward": (None, [Pointer] * 6 + [Count] * 5),
    "attention_backward": (None, [Pointer] * 9 + [Count] * 5),
    "gelu_forward": (None, [Pointer] * 3 + [Count] * 2 + [ctypes.c_int, Count]),
    "gelu_backward": (None, [Pointer] * 5 + [Count] * 3 + [ctypes.c_int, Count]),
    "norm_forward": (None, [Pointer] * 6 + [Count] * 2 + [ctypes.c_float, Count]),
    "norm_backward": (None, [Pointer] * 7 + [Count] * 4),
    "adamw": (None, [Pointer] * 2 + [Count] + [Pointer]),
    "squares": (None, [Pointer] * 2 + [Count] * 2 + [Pointer]),
}, ("-fopenmp",))

PICTURES = Sources("pictures", {
    "look": (ctypes.c_int, [ctypes.c_char_p, Count, Pointer, ctypes.c_int, Pointer]),
    "normalize": (None, [Pointer] * 4 + [Count] * 3),
}, ("-ffp-contract=off",),  # a product and a sum are rounded one after the other, as torch does
   frozenset({"avx2"}), "AVX2")

CHECKSUM = hashlib.sha256().digest_size


class UnavailableError(VitrailError):
    """There is no library here; the message says why, in words that follow "native kernels: "."""


loading = threading.Lock()


@functools.cache
def library(sources: Sources) -> ctypes.CDLL | str:
    """Compiled and loaded, or why there is none; remembered in the process."""
    with loading:
        try:
            return load(sources)
        except UnavailableError as error:
            return str(error)
        except (OSError, RuntimeError) as error:  # no home, no temporary folder, a file of ours that cannot be read
            return f"they cannot be compiled: {error}"


def load(sources: Sources) -> ctypes.CDLL:
    """Raises UnavailableError."""
    if os.environ.get(OFF) == "0":
        raise UnavailableError(f"switched off by {OFF}=0")
    if not sys.platform.startswith("linux"):
        raise UnavailableError("they are made for Linux")
    if not sources.needs <= set(processor().split()):
        raise UnavailableError(f"made for processors with {sources.needed}")
    compiler = find_compiler()
    name = f"{fingerprint(sources, compiler)}.so"
    with contextlib.suppress(OSError, RuntimeError, UnavailableError):  # no home, nothing kept, or damaged
        kept = cache_folder() / "native" / name
        if is_whole(kept):
            return opened(kept, sources)
    with tempfile.TemporaryDirectory(prefix="vitrail-native-", ignore_cleanup_errors=True) as folder:
        fresh = Path(folder) / name
        compile_to(fresh, sources, compiler)
        with contextlib.suppress(OSError, RuntimeError, SaveError, UnavailableError):
            kept = cache_folder() / "native" / name
            keep(fresh, kept)
            return opened(kept, sources)
        return opened(fresh, sources)  # it stays in memory when its file is gone; the next time it is compiled again


def keep(fresh: Path, kept: Path) -> None:
    """For the next time, with a checksum at its end, which loaders do not look at: a library that is cut short or
    overwritten would end the process that loads it. Raises OSError, SaveError."""
    content = fresh.read_bytes()
    write_bytes(kept, content + hashlib.sha256(content).digest())


def is_whole(kept: Path) -> bool:
    """Raises OSError where there is none."""
    content = kept.read_bytes()
    return hashlib.sha256(content[:-CHECKSUM]).digest() == content[-CHECKSUM:]


def find_compiler() -> tuple[str, ...]:
    """The beginning of its command: CXX, which may have arguments, or the first there is. Raises UnavailableError."""
    named = os.environ.get("CXX", "")
    try:
        program, *arguments = shlex.split(named) or ["g++"]
    except ValueError:  # a quotation that does not end
        program, arguments = named, []
    found = shutil.which(program) or (None if named else shutil.which("c++"))
    if found is None:
        raise UnavailableError(f"CXX names no program: {named}" if named else "no C++ compiler (apt install g++)")
    return found, *arguments


def fingerprint(sources: Sources, compiler: tuple[str, ...]) -> str:
    """Of all that decides what the library is: sources, flags, compiler, processor."""
    digest = hashlib.sha256()
    for source in sources.files:
        digest.update(source.read_bytes())
    status = os.stat(compiler[0])
    for part in (*FLAGS, *sources.flags, os.path.realpath(compiler[0]), *compiler[1:], str(status.st_size),
                 str(status.st_mtime_ns), processor()):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:32]


def processor() -> str:
    """What this one can do, in the system's words."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return platform.machine() + "".join(sorted(set(told)))


def compile_to(library: Path, sources: Sources, compiler: tuple[str, ...]) -> None:
    """Raises UnavailableError. Linked without OpenMP's own library, so that torch's, with its threads, is found."""
    compiled = library.with_suffix(".o")
    start = Path(__file__).parent / sources.name / f"{sources.name}.cpp"
    for command in ([*compiler, *FLAGS, *sources.flags, "-c", str(start), "-o", str(compiled)],
                    [*compiler, "-shared", str(compiled), "-o", str(library), "-lm"]):
        try:
            failed, told = run(command)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"{compiler[0]} did not run ({error})") from error
        if failed:
            lines = [line.strip() for line in told.splitlines() if line.strip()] or ["no reason given"]
            told = next((line for line in lines if "error" in line.lower()), lines[-1])
            raise UnavailableError(f"{compiler[0]} could not compile them: {told}")


running: set[subprocess.Popen[str]] = set()


def run(command: list[str]) -> tuple[int, str]:
    """In a session of its own, which ends with all that it starts. Raises OSError, TimeoutExpired."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, errors="replace", start_new_session=True) as process:
        running.add(process)
        try:
            _, told = process.communicate(timeout=PATIENCE)
        finally:
            end(process)
            running.discard(process)
        return process.returncode, told


def end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            os.killpg(process.pid, signal.SIGKILL)


def forget_the_parent() -> None:
    """A process that was forked while another thread compiled: nobody will let go of that lock any more."""
    global loading
    loading = threading.Lock()
    running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_the_parent)


def opened(path: Path, sources: Sources) -> ctypes.CDLL:
    """Raises UnavailableError where the file is no library, lacks a function, or needs what is not there."""
    try:
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in sources.functions.items():
            function = getattr(library, name)
            function.argtypes, function.restype = list(arguments), result
    except (OSError, AttributeError) as error:
        raise UnavailableError(f"they cannot be loaded: {error}") from error
    if "begin" in sources.functions and library.begin() != 0:
        raise UnavailableError("the system does not let this process use the processor's matrix tiles")
    return library
