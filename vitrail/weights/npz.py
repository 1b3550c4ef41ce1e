"""NumPy's .npz as weights: names and shapes from the headers, each array read on demand, nothing unpickled.

Sizes are compared with the file before memory is taken. bfloat16 has no NumPy name: such files hold it as two bytes
of nothing in particular ("V2").
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from tokenize import TokenError
from typing import IO, NamedTuple

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from vitrail.errors import BundleError, PickleError
from vitrail.files import write_bytes

MOST_INFLATED = 16
"""Weights hardly compress; more than this times the file is a bomb, or mostly zeros."""
SPARE = 2**20

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError,
           SyntaxError, TokenError, TypeError, OverflowError, MemoryError, RecursionError)
"""What zipfile and NumPy's header reader raise on a damaged file (a header is a Python literal)."""


def pickled(path: Path) -> PickleError:
    return PickleError(f"{path} is a pickle, which can run programs when it is opened; vitrail does not open it. "
                       f"Convert it once, if you trust where it is from: vitrail convert {path} OUT")


class Held(NamedTuple):
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype


def open_npz(path: Path) -> tuple[dict[str, tuple[int, ...]], Callable[[str], Tensor]]:
    """Shapes by name, and a reader of one array in float32. Raises BundleError."""
    try:
        with zipfile.ZipFile(path) as archive:
            held = contents(path, archive)
    except DAMAGED as error:
        raise damaged(path, error) from error

    def tensor(name: str) -> Tensor:
        member, _, dtype = held[name]
        try:
            with zipfile.ZipFile(path) as archive, archive.open(member) as file:
                array = npy.read_array(file, allow_pickle=False)
        except DAMAGED as error:
            raise damaged(path, error) from error
        return in_float32(array, dtype)

    return {name: one.shape for name, one in held.items()}, tensor


def contents(path: Path, archive: zipfile.ZipFile) -> dict[str, Held]:
    members = archive.infolist()
    pickles = [one.filename for one in members if one.filename.endswith((".pkl", "/version"))]
    if pickles:  # PyTorch's archive
        raise pickled(path)
    strangers = [one.filename for one in members if not one.filename.endswith(".npy")]
    if strangers:
        raise BundleError(f"{path} is a zip archive but no .npz: it holds {', '.join(strangers[:3])}.")
    size, wanted = path.stat().st_size, sum(one.file_size for one in members)
    if wanted > MOST_INFLATED * size + SPARE:
        raise BundleError(f"{path} would inflate from {size:,} to {wanted:,} bytes: it is not read.")
    held: dict[str, Held] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name in held:
            raise BundleError(f"{path} holds {name} twice.")
        with archive.open(member) as file:
            shape, dtype = header(file)
            start = file.tell()
        if dtype.hasobject:
            raise BundleError(f"{path}: {name} is a pickled object, which is never opened.")
        if math.prod(shape) * dtype.itemsize != member.file_size - start or any(side < 0 for side in shape):
            raise BundleError(f"{path}: {name} says it is {shape}, but {member.file_size - start:,} bytes are there.")
        if not (dtype.kind == "f" or dtype == np.dtype("V2")):
            raise BundleError(f"{path}: {name} holds {dtype}, which are no weights.")
        held[name] = Held(member.filename, shape, dtype)
    return held


def header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def in_float32(array: np.ndarray, dtype: np.dtype) -> Tensor:
    if dtype.kind == "V":
        wide = array.view(np.uint16).astype(np.uint32)
        return torch.from_numpy((wide << 16).view(np.float32))
    return torch.from_numpy(np.require(array, np.float32, ["C", "W"]))


def damaged(path: Path, error: BaseException) -> BundleError:
    return error if isinstance(error, BundleError) else BundleError(f"{path} is damaged or no .npz: {error}.")


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Atomically; readable by `np.load`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
    write_bytes(path, buffer.getvalue())
    return path
