"""Set up once for all tests: shapes in signatures are enforced, and threads are few so that results repeat."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from jaxtyping import install_import_hook

# Every annotated shape of these packages is checked on every call of every test.
install_import_hook(["vitrail.models", "vitrail.objectives"], "beartype.beartype")
