"""The tar index agrees with Python's tarfile on every well-formed archive."""

from __future__ import annotations

import contextlib
import io
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vitrail.data.sources.tar_index import number, tar_members
from vitrail.errors import DataError

# A name that ends in a space or has a NUL cannot be told from its field in an old header.
NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=80).map(
    lambda name: f"d/{name}x")


@pytest.mark.parametrize("style", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(members=st.lists(st.tuples(NAMES, st.integers(0, 1500)), max_size=6))
def test_names_sizes_and_places_agree_with_tarfile(tmp_path, style, members):
    path = tmp_path / "members.tar"
    with tarfile.open(path, "w", format=style) as archive:
        for name, size in members:
            info = tarfile.TarInfo(name)
            info.size = size
            archive.addfile(info, io.BytesIO(bytes(size)))
    with tarfile.open(path) as archive:
        expected = [(info.name, info.offset_data, info.size) for info in archive.getmembers()]
    assert [(member.name, member.offset, member.size) for member in tar_members(path)] == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(changes=st.lists(st.tuples(st.integers(0, 10239), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_raise_nothing_but_data_errors(tmp_path, changes):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in ("cat/1.png", "dog/é.png", "d/" + "x" * 150):
            info = tarfile.TarInfo(name)
            info.size = 600
            archive.addfile(info, io.BytesIO(bytes(600)))
    data = bytearray(content.getvalue())
    for place, value in changes:
        data[place] = value
    (tmp_path / "changed.tar").write_bytes(data)
    with contextlib.suppress(DataError):
        assert all(member.offset + member.size <= len(data) for member in tar_members(tmp_path / "changed.tar"))


@pytest.mark.parametrize("record", [b"", b"5 a=", b"0 path=x\n", b"-4 path=x\n", b"99999999999999999999999 path=x\n",
                                    b"path=x\n", b"12 size=9x9\n", b"11 size=-5\n", b"10 path\xff=x\n"])
def test_pax_records_of_any_kind_raise_nothing_but_data_errors(tmp_path, record):
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    header[124:136], header[156:157] = b"%011o\0" % len(record), b"x"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    member = tarfile.TarInfo("cat/1.png").tobuf(tarfile.USTAR_FORMAT)
    body = record + bytes(-len(record) % 512)
    (tmp_path / "pax.tar").write_bytes(bytes(header) + body + member + bytes(1024))
    with contextlib.suppress(DataError):
        assert list(tar_members(tmp_path / "pax.tar"))


@pytest.mark.parametrize(("field", "value"), [(b"00000000017\0", 15), (b"     17 \0   ", 15), (b"\0" * 12, 0),
                                              (b"\x80" + (2**40).to_bytes(11, "big"), 2**40)])
def test_numbers_of_headers(field, value):
    assert number(field) == value
