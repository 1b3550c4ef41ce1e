"""Compile the kernels for this processor, once for each machine, source and compiler, and load them."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from vitrail.errors import SaveError, VitrailError
from vitrail.files import cache_folder, write_bytes

HERE = Path(__file__).parent
SOURCES = sorted([*HERE.glob("*.cpp"), *HERE.glob("*.h")])
OFF = "VITRAIL_NATIVE"
"""Set this variable to 0 and the kernels are neither compiled nor used."""

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-fno-exceptions", "-fno-strict-aliasing",
         "-fno-math-errno", "-fno-trapping-math", "-w")
PATIENCE = 120.0
"""Seconds that a compiler may take; it takes one or two."""

Pointer, Count = ctypes.c_void_p, ctypes.c_int64
SIGNATURES: dict[str, list[type]] = {
    "attention_forward": [Pointer] * 6 + [Count] * 4,
    "attention_backward": [Pointer] * 9 + [Count] * 4,
    "gelu_forward": [Pointer] * 3 + [Count] * 2 + [ctypes.c_int],
    "gelu_backward": [Pointer] * 5 + [Count] * 3 + [ctypes.c_int],
    "norm_forward": [Pointer] * 6 + [Count] * 2 + [ctypes.c_float],
    "norm_backward": [Pointer] * 7 + [Count] * 3,
}

CHECKSUM = hashlib.sha256().digest_size


class UnavailableError(VitrailError):
    """There are no kernels here; the message says why, in words that follow "native kernels: "."""


def kernels() -> ctypes.CDLL | None:
    """The library, or None where there is none."""
    found = library()
    return None if isinstance(found, str) else found


def trouble() -> str:
    """Why there are no kernels on this machine; "" where there are."""
    found = library()
    return found if isinstance(found, str) else ""


loading = threading.Lock()


@functools.cache
def library() -> ctypes.CDLL | str:
    """The compiled kernels, loaded, or why there are none; remembered in the process."""
    with loading:
        try:
            return load()
        except UnavailableError as error:
            return str(error)
        except (OSError, RuntimeError) as error:  # no home, no temporary folder, a file of ours that cannot be read
            return f"they cannot be compiled: {error}"


def load() -> ctypes.CDLL:
    """Raises UnavailableError."""
    if os.environ.get(OFF) == "0":
        raise UnavailableError(f"switched off by {OFF}=0")
    if not sys.platform.startswith("linux"):
        raise UnavailableError("they are made for Linux")
    compiler = find_compiler()
    name = f"{fingerprint(compiler)}.so"
    with contextlib.suppress(OSError, RuntimeError, UnavailableError):  # no home, nothing kept, or damaged
        kept = cache_folder() / "native" / name
        if is_whole(kept):
            return opened(kept)
    with tempfile.TemporaryDirectory(prefix="vitrail-native-", ignore_cleanup_errors=True) as folder:
        fresh = Path(folder) / name
        compile_to(fresh, compiler)
        library = opened(fresh)  # it stays in memory when its file is gone
        with contextlib.suppress(OSError, RuntimeError, SaveError):  # else it is compiled again the next time
            keep(fresh, cache_folder() / "native" / name)
        return library


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


def fingerprint(compiler: tuple[str, ...]) -> str:
    """Of all that decides what the library is: sources, flags, compiler, processor."""
    digest = hashlib.sha256()
    for source in SOURCES:
        digest.update(source.read_bytes())
    status = os.stat(compiler[0])
    for part in (*FLAGS, os.path.realpath(compiler[0]), *compiler[1:], str(status.st_size), str(status.st_mtime_ns),
                 processor()):
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


def compile_to(library: Path, compiler: tuple[str, ...]) -> None:
    """Raises UnavailableError. Linked without OpenMP's own library, so that torch's, with its threads, is found."""
    compiled = library.with_suffix(".o")
    for command in ([*compiler, *FLAGS, "-c", str(HERE / "kernels.cpp"), "-o", str(compiled)],
                    [*compiler, "-shared", str(compiled), "-o", str(library), "-lm"]):
        try:
            ended = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE,
                                   check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"{compiler[0]} did not run ({error})") from error
        if ended.returncode:
            lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()] or ["no reason given"]
            told = next((line for line in lines if "error" in line.lower()), lines[-1])
            raise UnavailableError(f"{compiler[0]} could not compile them: {told}")


def opened(path: Path) -> ctypes.CDLL:
    """Raises UnavailableError where the file is no library, lacks a kernel, or needs what is not there."""
    try:
        library = ctypes.CDLL(str(path))
        for name, arguments in SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, None
        library.attention_scratch.argtypes, library.attention_scratch.restype = [Count, Count], Count
        library.begin.restype = ctypes.c_int
    except (OSError, AttributeError) as error:
        raise UnavailableError(f"they cannot be loaded: {error}") from error
    if library.begin() != 0:
        raise UnavailableError("the system does not let this process use the processor's matrix tiles")
    return library
