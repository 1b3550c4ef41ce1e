"""`vitrail pack` and `vitrail verify`, as a user meets them."""

from __future__ import annotations

import pytest
from test_cli import vitrail_cli  # noqa: F401

from vitrail.data.pack import TarWriter


def test_pack_verify_train_evaluate(vitrail_cli, tmp_path):  # noqa: F811
    packed = tmp_path / "packed"
    outcome = vitrail_cli("pack", "digits", packed, "--quiet")
    assert outcome.code == 0
    assert f"{packed}: 1,797 images in 3 shards" in outcome.out
    assert f"next: vitrail train shards:{packed}" in outcome.out
    for path in (packed, f"shards:{packed}/train-*.tar"):
        outcome = vitrail_cli("verify", path)
        assert (outcome.code, "all as they were written" in outcome.out) == (0, True)
    outcome = vitrail_cli("train", f"shards:{packed}", "--out", tmp_path / "run", "--steps", "2", "--quiet", "--model",
                          "mu/4")
    assert outcome.code == 0
    outcome = vitrail_cli("evaluate", tmp_path / "run", "--json")
    assert '"images":359' in outcome.out
    assert vitrail_cli("verify", tmp_path / "run" / "bundle").code == 0


def test_a_stopped_pack_says_how_it_goes_on(vitrail_cli, tmp_path, monkeypatch):  # noqa: F811
    whole, calls = TarWriter.add, iter(range(2000))

    def add(*arguments):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return whole(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(TarWriter, "add", add)
        outcome = vitrail_cli("pack", "digits", "packed", "--shard-megabytes", "1")
    assert outcome.code == 130
    assert "next: vitrail pack digits packed --shard-megabytes 1 --resume" in outcome.err
    outcome = vitrail_cli("pack", "digits", "packed", "--shard-megabytes", "1", "--resume")
    assert (outcome.code, "1,797 images" in outcome.out) == (0, True)
    assert not (tmp_path / ".packing-packed").exists()


def test_damage_is_a_data_problem(vitrail_cli, tmp_path):  # noqa: F811
    packed = tmp_path / "packed"
    assert vitrail_cli("pack", "digits", packed).code == 0
    shard = packed / "train-000000.tar"
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    outcome = vitrail_cli("verify", packed)
    assert outcome.code == 3
    assert "train-000000.tar has another checksum" in outcome.err
    shard.unlink()
    assert vitrail_cli("train", f"shards:{packed}", "--out", tmp_path / "run").code == 3


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("pack", "digits", "{tmp}"), 2, "is not empty"),
    (("pack", "digits", "{tmp}/x", "--quality", "101"), 2, "1 to 100"),
    (("pack", "nowhere/x", "{tmp}/x"), 3, "There is no file or folder"),
    (("verify", "{tmp}"), 1, "is not a Bundle: it has no config.json"),
    (("pack", "digits", "{tmp}/x", "--resume"), 2, "Leave out --resume"),
    (("train", "digits", "--allow-data-change"), 2, "belongs to --resume"),
])
def test_mistakes_are_explained(vitrail_cli, tmp_path, arguments, code, message):  # noqa: F811
    (tmp_path / "thesis.txt").write_text("years of work")
    outcome = vitrail_cli(*(word.format(tmp=tmp_path) for word in arguments))
    assert outcome.code == code
    assert message in outcome.err
