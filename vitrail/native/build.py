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
from pathlib import Path

from vitrail.errors import VitrailError
from vitrail.files import cache_folder

HERE = Path(__file__).parent
SOURCES = ("kernels.cpp", "attention.h", "layers.h", "product.h", "lanes.h")
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


@functools.cache
def library() -> ctypes.CDLL | str:
    """The compiled kernels, loaded, or why there are none. Compiles at most once in a process."""
    try:
        return load()
    except UnavailableError as error:
        return str(error)


def load() -> ctypes.CDLL:
    """Raises UnavailableError."""
    if os.environ.get(OFF) == "0":
        raise UnavailableError(f"switched off by {OFF}=0")
    if not sys.platform.startswith("linux"):
        raise UnavailableError("they are made for Linux")
    compiler = find_compiler()
    kept = cache_folder() / "native" / f"{fingerprint(compiler)}.so"
    if kept.exists():
        try:
            return opened(kept)
        except UnavailableError:  # damaged: compiled anew, in its place
            pass
    with tempfile.TemporaryDirectory(prefix="vitrail-native-") as folder:
        fresh = Path(folder) / "kernels.so"
        compile_to(fresh, compiler)
        library = opened(fresh)  # it stays in memory when its file is gone
        keep(fresh, kept)
        return library


def keep(fresh: Path, kept: Path) -> None:
    """For the next time, unless nothing can be written there."""
    aside = kept.with_name(f"{kept.name}.{os.getpid()}")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fresh, aside)
        os.replace(aside, kept)  # other processes find the whole file, or none
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()


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
    for name in SOURCES:
        digest.update((HERE / name).read_bytes())
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
