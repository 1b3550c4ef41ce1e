"""vitrail pack SOURCE OUT"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vitrail.cli.numbers import Count, Whole
from vitrail.errors import UsageError


def pack(
    source: str, out: Path, /, *,
    image_size: Count | None = None,
    quality: Count = 90,
    shard_megabytes: Count = 256,
    seed: Whole = 0,
    validation: float = 0.1,
    resume: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(alias="-q", negative=())] = False,
) -> int:
    """Write a source as tar shards with an index, which are read in place, here or from a web server or S3.

        vitrail pack photos/ packed --image-size 256

        vitrail pack photos.zip packed && vitrail train shards:packed

        vitrail pack photos/ packed --image-size 256 --resume

    Parameters
    ----------
    source
        Labeled images in any form that `vitrail train` takes.
    out
        Folder to make. The same source gives the same bytes.
    image_size
        Resize pictures whose shorter side is longer to it, as JPEG; without, their bytes are kept as they are.
    quality
        Of those JPEGs, 1 to 100.
    shard_megabytes
        About how large each tar file becomes.
    seed
        Decides the splits of a source that has none.
    validation
        Share of the training images set apart where the source has no validation split.
    resume
        Go on with a pack that was stopped, after its last whole shard; give the same source and options again.
    quiet
        Say nothing but the result.
    """
    from vitrail.cli.console import RunView
    from vitrail.data.pack import pack as write
    from vitrail.data.source import open_source
    from vitrail.data.unfinished import place_of
    from vitrail.files import MANIFEST

    if quality > 100:
        raise UsageError(f"--quality {quality} is not possible: JPEG has 1 to 100.")
    view = RunView(quiet=quiet)
    opened = open_source(source, seed=seed, validation=validation)
    counts = ", ".join(f"{len(split):,} {name}" for name, split in opened.splits.items())
    view.say(f"{opened.spec}: {opened.kind}; {counts} images")
    for warning in opened.warnings:
        view.say(f"note: {warning}")
    try:
        index = write(opened, out, image_size=image_size, quality=quality, shard_bytes=shard_megabytes * 2**20,
                      resume=resume, watch=lambda progress: view.passing("packing", progress))
    except KeyboardInterrupt:
        if place_of(out).exists():
            again = sys.argv[1:] if resume else [*sys.argv[1:], "--resume"]
            print(f"the finished shards are kept. next: vitrail {shlex.join(again)}", file=sys.stderr)
        raise
    if index.left_out:
        some = "; ".join(f"{name} ({reason})" for name, reason in index.left_out[:5])
        view.say(f"note: {len(index.left_out)} could not be read and are left out: {some}")
    total = sum(shard.bytes for shard in index.shards)
    print(f"{out}: {sum(index.samples.values()):,} images in {len(index.shards):,} shards, {total / 1e6:,.1f} MB "
          f"({MANIFEST} holds their checksums)")
    print(f"next: vitrail train {shlex.quote(f'shards:{out}')}")
    return 0
