"""vitrail convert IN OUT"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path


def convert(
    source: Path, out: Path, /, *,
    to: str = "vitrail",
    image_size: str | None = None,
    patch: str | None = None,
    heads: int | None = None,
    profile: str | None = None,
    push: str | None = None,
) -> int:
    """Rewrite weights from one format in another. This is also the only command that opens PyTorch's pickles (.pth,
    .bin): as weights only, without running anything in them.

        vitrail convert B_16.npz b16

        vitrail convert runs/first first.npz --to big_vision

        vitrail convert runs/first first-hf --to huggingface --push me/garments

    Parameters
    ----------
    source
        Weights in any format that vitrail reads: a Bundle, .npz, .safetensors, a Hugging Face folder, a pickle; also
        hf:OWNER/NAME, which is fetched.
    out
        The file or folder to write.
    to
        vitrail, official, big_vision, bit, timm or huggingface.
    image_size
        Pixels, as 224 or 160x224 (height x width): positions are resampled.
    patch
        Pixels, as 16 or 16x32: patch kernels are resized so that tokens stay what they were.
    heads
        Attention heads, for a file that does not tell.
    profile
        Whose numbers the weights have, where their format implies others: official, timm, deit, dino, ...
    push
        Then upload what was written to this repository on the Hugging Face hub, OWNER/NAME. A new one is private.
    """
    from vitrail import weights
    from vitrail.cli.loading import say_notes
    from vitrail.cli.run_options import parse_size
    from vitrail.weights.push import check_target
    from vitrail.weights.push import push as upload

    if push:
        check_target(push)

    size = parse_size(image_size) if image_size else None
    patches = parse_size(patch, "--patch") if patch else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bundle = weights.load(source, size, patch=patches, heads=heads, profile=profile, pickles=True,
                              decoder=to == "vitrail")
    say_notes(bundle)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        written = weights.write(bundle, out, to)
    for warning in warned:
        print(f"note: {warning.message}", file=sys.stderr)
    config = bundle.model.config
    print(f"{written}: {to}, {config.name}, {config.classes} classes, "
          f"images of {config.image_size[0]} x {config.image_size[1]}")
    if push:
        print(f"pushed to {upload(written, bundle, push, to)}")
    return 0
