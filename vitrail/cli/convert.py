"""vitrail convert IN OUT"""

from __future__ import annotations

import warnings
from pathlib import Path


def convert(
    source: Path, out: Path, /, *,
    to: str = "vitrail",
    image_size: str | None = None,
    patch: str | None = None,
    heads: int | None = None,
) -> int:
    """Rewrite weights from one format in another. This is also the only command that opens PyTorch's pickles (.pth,
    .bin): as weights only, without running anything in them.

        vitrail convert B_16.npz b16

        vitrail convert runs/first first.npz --to big_vision

    Parameters
    ----------
    source
        Weights in any format that vitrail reads: a Bundle, .npz, .safetensors, a Hugging Face folder, a pickle.
    out
        The file or folder to write.
    to
        vitrail, official, big_vision, timm or huggingface.
    image_size
        Pixels, as 224 or 160x224 (height x width): positions are resampled.
    patch
        Pixels, as 16 or 16x32: patch kernels are resized so that tokens stay what they were.
    heads
        Attention heads, for a file that does not tell.
    """
    from vitrail import weights
    from vitrail.cli.loading import say_notes
    from vitrail.cli.train import parse_size

    size = parse_size(image_size) if image_size else None
    patches = parse_size(patch, "--patch") if patch else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bundle = weights.load(source, size, patch=patches, heads=heads, pickles=True)
    say_notes(bundle)
    written = weights.write(bundle, out, to)
    config = bundle.model.config
    print(f"{written}: {to}, {config.name}, {config.classes} classes, "
          f"images of {config.image_size[0]} x {config.image_size[1]}")
    return 0
