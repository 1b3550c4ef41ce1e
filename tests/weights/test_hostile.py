"""Files that are damaged, cut, lying or dangerous end in one BundleError, at once and without taking memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from published import GOLDEN, arrays_of, saved
from safetensors.torch import save_file

from vitrail import weights
from vitrail.errors import BundleError, PickleError

KEY = "Transformer/encoder_norm/bias"


def refused(path: Path, *said: str) -> None:
    started = time.perf_counter()
    with pytest.raises(BundleError) as error:
        weights.load(path)
    assert time.perf_counter() - started < 2
    for words in said:
        assert words in str(error.value)


def array_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def with_member(folder: Path, key: str, content: bytes) -> Path:
    """`vit_token` with the bytes of one array replaced."""
    path = folder / "changed"
    with zipfile.ZipFile(GOLDEN / "vit_token.npz") as old, zipfile.ZipFile(path, "w") as new:
        for member in old.infolist():
            new.writestr(member.filename, content if member.filename == f"{key}.npy" else old.read(member))
    return path


# Keys and shapes.


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    arrays = arrays_of("vit_token")
    del arrays["Transformer/encoderblock_1/MlpBlock_3/Dense_1/bias"]
    refused(saved(tmp_path, arrays), "Transformer/encoderblock_1/MlpBlock_3/Dense_1/bias is missing",
            "Nothing was loaded")


def test_an_extra_key_is_named(tmp_path: Path) -> None:
    refused(saved(tmp_path, arrays_of("vit_token") | {"Transformer/gate": np.zeros(3, np.float32)}),
            "Transformer/gate is not known")


def test_a_wrong_shape_is_named(tmp_path: Path) -> None:
    refused(saved(tmp_path, arrays_of("vit_token") | {KEY: np.zeros(47, np.float32)}), f"{KEY} is (47,), not (48,)")


@pytest.mark.parametrize(("key", "array"), [
    ("embedding/kernel", np.zeros((8, 8, 48), np.float32)),
    ("embedding/kernel", np.zeros((8, 8, 3, 0), np.float32)),
    ("Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel", np.zeros(48, np.float32)),
    ("Transformer/posembed_input/pos_embedding", np.zeros((), np.float32)),
    ("head/kernel", np.zeros((7,), np.float32)),
    ("Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel", np.zeros((48, 0), np.float32)),
])
def test_odd_shapes_that_the_model_is_told_from(tmp_path: Path, key: str, array: np.ndarray) -> None:
    refused(saved(tmp_path, arrays_of("vit_token") | {key: array}), key)


def test_a_layer_left_out_is_named(tmp_path: Path) -> None:
    arrays = {key.replace("encoderblock_2", "encoderblock_5"): value for key, value in arrays_of("vit_token").items()}
    refused(saved(tmp_path, arrays), "encoderblock_2/LayerNorm_0/scale is missing", "and ")


def test_a_number_that_is_not_finite(tmp_path: Path) -> None:
    for value in (np.nan, np.inf, -np.inf):
        arrays = arrays_of("vit_token")
        arrays[KEY] = arrays[KEY].copy()
        arrays[KEY][3] = value
        refused(saved(tmp_path, arrays), KEY, "not finite")


@pytest.mark.parametrize("keys", [
    ["stem/kernel", "MixerBlock_0/LayerNorm_0/scale", "pre_head_layer_norm/scale"],
    ["root_block/conv_root/kernel", "block1/unit01/conv1/kernel", "norm-pre-head/scale"],
    ["conv_root/kernel", "embedding/kernel", "Transformer/encoder_norm/scale"],
], ids=["MLP-Mixer", "BiT in big_vision's keys", "hybrid without positions"])
def test_another_kind_of_model_is_no_known_format(tmp_path: Path, keys: list[str]) -> None:
    refused(saved(tmp_path, {key: np.zeros((7, 7, 3, 64), np.float32) for key in keys}), "of no known format",
            keys[0], "big_vision")


# Lies about sizes.


@pytest.mark.parametrize("shape", ["(1000000000, 1000000000)", "(48000000000,)", "(-48,)", "(96,)", "(24,)"])
def test_a_header_that_lies_about_the_size(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(4 * 48)
    refused(with_member(tmp_path, KEY, content), KEY, "bytes are there")


def test_a_bomb_is_not_inflated(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{KEY}.npy", array_bytes(np.zeros(2**24, np.float32)))
    refused(path, "would inflate")


@pytest.mark.parametrize("header", [
    b"{'descr': '<f4', 'shape': (48,)}", b"{" * 5000, b"[]", b"\xff\xfe", b"{'descr': 'O', 'fortran_order': False, "
    b"'shape': (48,)}", b"{'descr': '<i8', 'fortran_order': False, 'shape': (24,)}",
    b"{'descr': 'V3', 'fortran_order': False, 'shape': (64,)}", b"__import__('os').abort()"])
def test_a_header_of_another_kind(tmp_path: Path, header: bytes) -> None:
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + bytes(4 * 48)
    refused(with_member(tmp_path, KEY, content))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00\x00\x00", b"hello"])
def test_a_member_that_is_no_array(tmp_path: Path, content: bytes) -> None:
    refused(with_member(tmp_path, KEY, content))


def test_the_same_name_twice(tmp_path: Path) -> None:
    path = tmp_path / "twice"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{KEY}.npy", array_bytes(np.zeros(48, np.float32)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(f"{KEY}.npy", array_bytes(np.zeros(48, np.float32)))
    refused(path, f"{KEY} twice")


# Damage.


def test_a_cut_file(tmp_path: Path) -> None:
    whole = (GOLDEN / "vit_token.npz").read_bytes()
    for length in (0, 1, 2, 4, 30, 1000, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        refused(tmp_path / "cut")


def test_a_changed_byte_never_changes_an_answer(tmp_path: Path) -> None:
    """Refused, or of no consequence (dates, flags): the archive has a checksum of each array."""
    whole = bytearray((GOLDEN / "vit_token_prelogits.npz").read_bytes())
    plain = weights.load(GOLDEN / "vit_token_prelogits.npz").model.state_dict()
    generator = np.random.default_rng(0)
    caught = 0
    for offset in generator.integers(0, len(whole), 120).tolist():
        changed = whole.copy()
        changed[offset] ^= 1 << offset % 8
        (tmp_path / "changed").write_bytes(changed)
        try:
            state = weights.load(tmp_path / "changed").model.state_dict()
        except BundleError:
            caught += 1
        else:
            assert all(torch.equal(state[name], value) for name, value in plain.items()), offset
    assert caught > 60


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK", b"PK\x05\x06" + bytes(18), b"GIF89a" * 9, b"{}",
                                     b"\xff" * 8 + b"{" * 9, struct.pack("<Q", 2) + b"{}", b"\x93NUMPY\x01\x00" * 9])
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    refused(tmp_path / "file")


def test_hostile_safetensors(tmp_path: Path) -> None:
    for header, data in (
        ({"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}, bytes(4)),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}}, bytes(4)),
        ({"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
        ({}, b""),
    ):
        text = json.dumps(header).encode()
        (tmp_path / "file").write_bytes(struct.pack("<Q", len(text)) + text + data)
        refused(tmp_path / "file")
    (tmp_path / "file").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    refused(tmp_path / "file", "neither .npz nor safetensors")
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
    refused(tmp_path / "model.onnx", "is an ONNX file: a computation, in which weights have lost their names")


@pytest.mark.parametrize("extra", range(0, 64, 4))
def test_a_header_of_any_length_is_no_pickle(tmp_path: Path, extra: int) -> None:
    """0x80 as the first byte of a length is how a pickle begins, too."""
    length = 256 + 8 * extra  # 0x180 among them
    text = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(length)
    (tmp_path / "file").write_bytes(struct.pack("<Q", length) + text + bytes(4))
    refused(tmp_path / "file", "of no known format")


def test_nothing_there(tmp_path: Path) -> None:
    refused(tmp_path / "none", "There is no Bundle")
    refused(tmp_path, "it holds nothing")


# Pickles.


class Trap:
    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.canary}",)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    canary, trap = tmp_path / "canary", Trap(tmp_path / "canary")
    (tmp_path / "plain").write_bytes(pickle.dumps(trap))
    torch.save({"head.weight": trap}, tmp_path / "archive")
    torch.save({"head.weight": trap}, tmp_path / "old", _use_new_zipfile_serialization=False)
    with open(tmp_path / "object.npz", "wb") as file:
        np.savez(file, a=np.array([trap], dtype=object))
    for name in ("plain", "archive", "old"):
        refused(tmp_path / name, "is a pickle", "vitrail convert")
    refused(tmp_path / "object.npz")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "vit"}')
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(trap))
    refused(folder, "is a pickle", "vitrail convert")
    assert not canary.exists()


def test_strange_tensors_in_safetensors_are_no_known_format(tmp_path: Path) -> None:
    save_file({"something.weight": torch.zeros(3)}, tmp_path / "x")
    refused(tmp_path / "x", "of no known format", "something.weight (3,)")


# What a stranger's file is called in words.


def test_a_folder_with_a_pickle_is_converted_like_the_pickle(tmp_path: Path) -> None:
    state = {name: value.clone() for name, value in weights.load(GOLDEN / "vit_token.npz").model.state_dict().items()}
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(PickleError, match=r"pytorch_model.bin is a pickle.*vitrail convert .*pytorch_model.bin OUT$"):
        weights.load(tmp_path)
    with pytest.raises(BundleError, match="no known format"):  # opened, and what is in it is nobody's keys
        weights.load(tmp_path, pickles=True)


def test_a_pickle_with_programs_is_refused_without_torchs_advice(tmp_path: Path) -> None:
    torch.save({"x": Path("canary")}, tmp_path / "evil.pth")
    with pytest.raises(BundleError, match="it names pathlib") as refusal:
        weights.load(tmp_path / "evil.pth", pickles=True)
    assert "weights_only" not in str(refusal.value)


def test_keys_of_transformers_ask_for_their_config(tmp_path: Path) -> None:
    save_file({"vit.embeddings.cls_token": torch.zeros(1, 1, 4)}, tmp_path / "lone.safetensors")
    with pytest.raises(BundleError, match=r"Put the model's config.json into the same folder"):
        weights.load(tmp_path / "lone.safetensors")


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "none.npz").touch()
    with pytest.raises(BundleError, match="it is empty"):
        weights.load(tmp_path / "none.npz")
