"""Every byte of every shard counts."""

from __future__ import annotations

import numpy as np
import pytest

from vitrail.data.verify import holds_shards, verify_shards
from vitrail.errors import DataError


def test_whole_shards_are_verified_here_and_far_away(packed, web):
    for spec in (f"shards:{packed}", f"shards:{web.url}"):
        seen = []
        assert len(verify_shards(spec, seen.append).shards) == len(list(packed.glob("*.tar")))
        assert seen[-1].done == seen[-1].total == sum(file.stat().st_size for file in packed.glob("*.tar"))
    assert holds_shards(str(packed))
    assert holds_shards("shards:anything")
    assert not holds_shards(str(packed.parent))


@pytest.mark.fault("D7", "`vitrail verify` lists every damaged shard.")
def test_every_damaged_shard_is_listed(packed, web):
    shards = sorted(packed.glob("*.tar"))
    shards[0].write_bytes(shards[0].read_bytes()[:-1])
    shards[1].unlink()
    content = bytearray(shards[2].read_bytes())
    content[int(np.random.default_rng(0).integers(len(content)))] ^= 1
    shards[2].write_bytes(content)
    for spec in (f"shards:{packed}", f"shards:{web.url}"):
        with pytest.raises(DataError) as caught:
            verify_shards(spec, lambda progress: None)
        text = str(caught.value)
        assert "3 shards of" in text
        assert f"{shards[0].name} has {shards[0].stat().st_size:,} bytes where the index says" in text
        assert f"{shards[1].name} is missing" in text
        assert f"{shards[2].name} has another checksum" in text


def test_shards_without_checksums_cannot_be_verified(packed):
    (packed / "index.json").unlink()
    with pytest.raises(DataError, match="no checksums to compare with"):
        verify_shards(f"shards:{packed}", lambda progress: None)
