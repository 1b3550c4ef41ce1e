"""vitrail's own Bundle, as a run folder, a Bundle folder or its weights file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from vitrail.bundle import HEADER_KEY, Bundle, find_bundle, header_config
from vitrail.weights.contract import Format, Reading, Told
from vitrail.weights.opened import Opened


class Native(Format):
    name: ClassVar[str] = "vitrail"
    describes: ClassVar[str] = "vitrail Bundle"

    def recognize(self, given: Opened) -> bool:
        return given.container == "bundle" or HEADER_KEY in given.header

    def read(self, given: Opened, told: Told) -> Reading:
        path = find_bundle(given.path)
        return Reading(header_config(path), lambda: Bundle.load(path))

    def write(self, bundle: Bundle, path: Path) -> Path:
        return bundle.save(path)
