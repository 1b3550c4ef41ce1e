"""vitrail's own Bundle, as a run folder, a Bundle folder or its weights file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from vitrail.bundle import DECODER, HEADER_KEY, WEIGHTS, Bundle, find_bundle, header_config, read_decoder
from vitrail.weights.contract import Format, PretrainedDecoder, Reading, Told
from vitrail.weights.layout import shape_of
from vitrail.weights.opened import Opened, open_safetensors


class Native(Format):
    name: ClassVar[str] = "vitrail"
    describes: ClassVar[str] = "vitrail Bundle"

    def recognize(self, given: Opened) -> bool:
        return given.container == "bundle" or HEADER_KEY in given.header

    def read(self, given: Opened, told: Told) -> Reading:
        path = find_bundle(given.path)
        file = path / WEIGHTS if path.is_dir() else path
        return Reading(header_config(path), lambda: Bundle.load(path),
                       lambda name: open_safetensors(file).tensor(name), file,
                       lambda: decoder_beside(path / DECODER) if path.is_dir() else None)

    def write(self, bundle: Bundle, path: Path) -> Path:
        return bundle.save(path)


def decoder_beside(file: Path) -> PretrainedDecoder | None:
    """Raises BundleError where it cannot be read."""
    if not file.exists():
        return None
    heads, held = read_decoder(file)
    shapes = {name: tuple(value.shape) for name, value in held.items()}
    inner = shape_of(shapes, "stack.blocks.0.feed_forward.contract.weight", 2, file)[1]
    outputs, width = shape_of(shapes, "prediction.weight", 2, file)
    depth = len({name.split(".")[2] for name in shapes if name.startswith("stack.blocks.")})
    return PretrainedDecoder(width, depth, heads, inner, outputs, lambda: held)
