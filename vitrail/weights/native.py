"""vitrail's own Bundle, as a run folder, a Bundle folder or its weights file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from vitrail.bundle import HEADER_KEY, WEIGHTS, Bundle, find_bundle, header_config
from vitrail.weights.contract import Format, Reading, Told
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
                       lambda name: open_safetensors(file).tensor(name), file)

    def write(self, bundle: Bundle, path: Path) -> Path:
        return bundle.save(path)
