"""Zip and tar archives: the layouts of a folder, hostile members, and damage at every place."""

from __future__ import annotations

import io
import pickle
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vitrail.data.source import Source, open_source
from vitrail.data.sources.tar_index import tar_members
from vitrail.errors import DataError, ImageError, UsageError

FILES = {f"{label}/{row}.png": f"{label} {row} ".encode() * (50 + row) for label in ("cat", "dog") for row in range(6)}


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return str(path)


def write_tar(path: Path, files: dict[str, bytes], style: int = tarfile.PAX_FORMAT) -> str:
    with tarfile.open(path, "w", format=style) as archive:
        for name, data in files.items():
            add(archive, name, data)
    return str(path)


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    archive.addfile(info, io.BytesIO(data))


def contents(source: Source) -> dict[str, tuple[str, bytes]]:
    """Label and bytes of every picture by its name in the archive."""
    return {name.split(":", 1)[1]: (source.classes[label], split.read(row)) for split in source.splits.values()
            for row, (name, label) in enumerate(zip(split.names, split.labels, strict=True))}


@pytest.fixture(params=["stored.zip", "deflated.zip", "pax.tar", "gnu.tar", "ustar.tar"])
def archive(request, tmp_path):
    """A function that writes an archive of the kind in turn."""
    styles = {"pax.tar": tarfile.PAX_FORMAT, "gnu.tar": tarfile.GNU_FORMAT, "ustar.tar": tarfile.USTAR_FORMAT}
    methods = {"stored.zip": zipfile.ZIP_STORED, "deflated.zip": zipfile.ZIP_DEFLATED}
    path = tmp_path / request.param

    def write(files: dict[str, bytes]) -> str:
        if request.param in styles:
            return write_tar(path, files, styles[request.param])
        return write_zip(path, files, methods[request.param])
    return write


def test_every_picture_has_its_bytes_and_its_label(archive):
    source = open_source(archive(FILES))
    assert contents(source) == {name: (name.split("/")[0], data) for name, data in FILES.items()}
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 8, "val": 2, "test": 2}


def test_an_archive_is_split_like_the_folder(archive, tmp_path):
    for name, data in FILES.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(data)
    packed, plain = open_source(archive(FILES)), open_source(str(tmp_path / "folder"))
    assert packed.fingerprint == plain.fingerprint


def test_one_folder_around_everything_is_looked_through(archive):
    source = open_source(archive({f"photos-main/{name}": data for name, data in FILES.items()}))
    assert source.classes == ("cat", "dog")
    assert len(contents(source)) == 12
    assert any("photos-main/" in note for note in source.notes)


def test_a_split_folder_is_not_taken_for_a_wrapper(archive):
    source = open_source(archive({f"train/{name}": data for name, data in FILES.items()}))
    assert source.classes == ("cat", "dog")


def test_one_class_is_an_error_also_here(archive):
    with pytest.raises(DataError, match="'cat' as its only class"):
        open_source(archive({name: data for name, data in FILES.items() if name.startswith("cat")}))


@pytest.mark.parametrize("files", [{}, {"readme.txt": b"hello"}])
def test_an_archive_without_pictures_says_so(archive, files):
    with pytest.raises(DataError, match="holds no picture"):
        open_source(archive(files))


def test_unicode_and_long_names(archive, tmp_path):
    label = "猫 и кот"
    files = {f"{label}/{'лес' * 12}/{row}.png": b"a%d" % row for row in range(3)}
    files |= {f"dog/{row}.png": b"b%d" % row for row in range(3)}
    assert set(contents(open_source(archive(files)))) == set(files)


@pytest.mark.fault("D8", "Archives are never extracted, and members with unsafe names are left out.")
def test_unsafe_names_hidden_and_empty_members_are_left_out(archive):
    extra = {"../cat/up.png": b"1", "/cat/absolute.png": b"2", "cat/../../x.png": b"3", "cat\\back.png": b"4",
             "C:/cat/x.png": b"5", "__MACOSX/cat/._0.png": b"6", "cat/.hidden.png": b"7", "cat/zero.png": b"",
             "cat/notes.txt": b"8", "cat//double.png": b"9"}
    source = open_source(archive({**FILES, **extra}))
    assert set(contents(source)) == set(FILES)
    text = "\n".join(source.warnings)
    assert "file of zero bytes, left out: 'cat/zero.png'" in text
    assert "x name that is absolute, leads upward" in text
    assert any("hidden 2" in note for note in source.notes)


@pytest.mark.fault("D8", "Links, devices and pipes in a tar are left out.")
def test_links_devices_and_pipes_in_a_tar_are_left_out(tmp_path):
    with tarfile.open(tmp_path / "hostile.tar", "w") as archive:
        for name, data in FILES.items():
            add(archive, name, data)
        add(archive, "cat/link.png", kind=tarfile.SYMTYPE, link="/etc/passwd")
        add(archive, "cat/chain.png", kind=tarfile.SYMTYPE, link="link.png")
        add(archive, "cat/hard.png", kind=tarfile.LNKTYPE, link="../../etc/passwd")
        add(archive, "dog/device.png", kind=tarfile.CHRTYPE)
        add(archive, "dog/pipe.png", kind=tarfile.FIFOTYPE)
        add(archive, "dog", kind=tarfile.SYMTYPE, link="/tmp")
        add(archive, "dog/through-a-link.png", b"data")
    source = open_source(str(tmp_path / "hostile.tar"))
    assert set(contents(source)) == {*FILES, "dog/through-a-link.png"}
    text = "\n".join(source.warnings)
    for found in ("2 x symbolic link", "1 x hard link", "1 x device", "1 x pipe"):
        assert found in text


def test_links_in_a_zip_are_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
        link = zipfile.ZipInfo("cat/link.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    source = open_source(str(tmp_path / "hostile.zip"))
    assert set(contents(source)) == set(FILES)
    assert any("1 x symbolic link, left out: 'cat/link.png'" in warning for warning in source.warnings)


def test_a_sparse_member_and_a_name_of_64_kb_are_left_out(tmp_path):
    with tarfile.open(tmp_path / "hostile.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        add(archive, "cat/" + "x" * 65_000 + ".png", b"data")
        add(archive, "cat/sparse.png", b"data", kind=tarfile.GNUTYPE_SPARSE)
        for name, data in FILES.items():
            add(archive, name, data)
    source = open_source(str(tmp_path / "hostile.tar"))
    assert set(contents(source)) == set(FILES)
    assert any("1 x sparse file" in warning for warning in source.warnings)
    assert all(len(warning) < 500 for warning in source.warnings)


def test_a_pax_sparse_member_is_left_out(tmp_path):
    with tarfile.open(tmp_path / "hostile.tar", "w") as archive:
        info = tarfile.TarInfo("cat/sparse.png")
        info.size, info.pax_headers = 4, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}
        archive.addfile(info, io.BytesIO(b"data"))
        for name, data in FILES.items():
            add(archive, name, data)
    assert set(contents(open_source(str(tmp_path / "hostile.tar")))) == set(FILES)


def test_the_last_of_two_members_of_one_name_counts(archive, tmp_path):
    path = tmp_path / "twice.tar"
    with tarfile.open(path, "w") as opened:
        add(opened, "cat/0.png", b"old")
        for name, data in FILES.items():
            add(opened, name, data)
    source = open_source(str(path))
    assert contents(source)["cat/0.png"] == ("cat", FILES["cat/0.png"])
    assert any("earlier member of the same name" in warning for warning in source.warnings)


@pytest.mark.parametrize("style", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_tar_cut_at_any_block_is_refused(tmp_path, style):
    files = {"cat/" + "x" * 120 + ".png": b"1" * 700, "dog/1.png": b"2" * 512, "dog/2.png": b"3"}
    data = Path(write_tar(tmp_path / "whole.tar", files, style)).read_bytes()
    end = max(member.offset + member.size for member in tar_members(tmp_path / "whole.tar"))
    end = -(-end // 512) * 512
    for length in [*range(0, end + 1, 512), *range(100, end, 999)]:
        (tmp_path / "cut.tar").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.tar is a damaged tar archive"):
            open_source(str(tmp_path / "cut.tar"))


def test_garbage_in_the_middle_of_a_tar_is_refused(tmp_path):
    data = bytearray(Path(write_tar(tmp_path / "whole.tar", FILES, tarfile.USTAR_FORMAT)).read_bytes())
    data[1024:1536] = b"\x5a" * 512
    (tmp_path / "bad.tar").write_bytes(data)
    with pytest.raises(DataError, match="at byte 1,024 there is no header"):
        open_source(str(tmp_path / "bad.tar"))


@pytest.mark.parametrize("name", ["garbage.tar", "garbage.zip"])
def test_garbage_is_refused(tmp_path, name):
    generator = np.random.default_rng(0)
    for size in (0, 1, 511, 5000):
        (tmp_path / name).write_bytes(generator.bytes(size))
        with pytest.raises(DataError, match=name):
            open_source(str(tmp_path / name))


@pytest.mark.parametrize("field", [b"\x80" + b"\xff" * 11, b"-0000000001\0", b"77777777777\0", b"zzzzzzzzzzz\0"])
@pytest.mark.parametrize("kind", [b"0", b"L", b"x"])
def test_a_false_size_in_a_tar_header_is_refused(tmp_path, field, kind):
    header = bytearray(tarfile.TarInfo("cat/0.png").tobuf(tarfile.USTAR_FORMAT))
    header[124:136], header[156:157] = field, kind
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    (tmp_path / "false.tar").write_bytes(bytes(header) + bytes(2048))
    with pytest.raises(DataError, match=r"false\.tar is a damaged tar archive"):
        open_source(str(tmp_path / "false.tar"))


def test_a_zip_cut_anywhere_is_refused(tmp_path):
    data = Path(write_zip(tmp_path / "whole.zip", FILES)).read_bytes()
    for length in range(0, len(data), 97):
        (tmp_path / "cut.zip").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.zip is a damaged zip archive"):
            open_source(str(tmp_path / "cut.zip"))


def test_a_changed_byte_in_a_zip_member_is_found_by_its_checksum(tmp_path):
    path = Path(write_zip(tmp_path / "whole.zip", FILES, zipfile.ZIP_STORED))
    data = bytearray(path.read_bytes())
    data[data.index(b"cat 3 cat 3")] ^= 1
    path.write_bytes(data)
    split = open_source(str(path), divide=False).splits["test"]
    row = next(row for row, name in enumerate(split.names) if name.endswith("cat/3.png"))
    with pytest.raises(ImageError, match="checksum differs"):
        split.read(row)
    assert split.read(row - 1) == FILES["cat/2.png"]


@pytest.mark.fault("D8", "A zip bomb yields no more than it declares.")
def test_a_zip_bomb_yields_no_more_than_it_declares(tmp_path):
    path = Path(write_zip(tmp_path / "bomb.zip", {**FILES, "cat/bomb.png": bytes(10**7)}))
    data = path.read_bytes().replace((10**7).to_bytes(4, "little"), (5000).to_bytes(4, "little"))
    path.write_bytes(data)
    split = open_source(str(path), divide=False).splits["test"]
    row = next(row for row, name in enumerate(split.names) if name.endswith("bomb.png"))
    with pytest.raises(ImageError, match="5,000 bytes"):
        split.read(row)


def test_members_that_are_encrypted_or_packed_otherwise_are_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "mixed.zip", "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
        archive.writestr("cat/bz.png", b"data" * 99, zipfile.ZIP_BZIP2)
    assert any("packed by method 12" in warning for warning in open_source(str(tmp_path / "mixed.zip")).warnings)


@pytest.mark.parametrize(("name", "mode"), [("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar", "w:gz"),
                                            ("a.tar.xz", "w:xz"), ("a.tar.bz2", "w:bz2")])
def test_a_compressed_tar_is_refused_with_the_reason(tmp_path, name, mode):
    with tarfile.open(tmp_path / name, mode) as archive:
        add(archive, "cat/0.png", b"data")
    with pytest.raises(UsageError, match=r"compressed as a whole.*without unpacking all before it"):
        open_source(str(tmp_path / name))


def test_many_threads_and_other_processes_read_the_same(archive):
    split = open_source(archive(FILES), divide=False).splits["test"]
    expected = [split.read(row) for row in range(len(split))]
    assert [pickle.loads(pickle.dumps(split)).read(row) for row in range(len(split))] == expected
    wrong: list[int] = []

    def read_all() -> None:
        wrong.extend(row for _ in range(20) for row in range(len(split)) if split.read(row) != expected[row])

    threads = [threading.Thread(target=read_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_archive_cut_after_it_was_opened_is_an_image_error(archive):
    path = Path(archive(FILES))
    split = open_source(str(path), divide=False).splits["test"]
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ImageError, match="cut short"):
        split.read(len(split) - 1)
