"""Set up once for all tests: shapes in signatures are enforced, and one thread computes so that results repeat."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["OMP_NUM_THREADS"] = "1"  # for torch here and in child processes: two threads wait for each other

from jaxtyping import install_import_hook

# Every annotated shape of these packages is checked on every call of every test.
install_import_hook(["vitrail.models", "vitrail.objectives"], "beartype.beartype")
