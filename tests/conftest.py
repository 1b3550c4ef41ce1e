"""Set up once for all tests: shapes in signatures are enforced, and one thread computes so that results repeat."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["OMP_NUM_THREADS"] = "1"  # for torch here and in child processes: two threads wait for each other

from attempts import Attempts
from jaxtyping import install_import_hook

# Every annotated shape of these packages is checked on every call of every test.
install_import_hook(["vitrail.models", "vitrail.objectives"], "beartype.beartype")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """All cores for all tests; this process alone, whose output is seen, for the tests of some files."""
    named = any(str(each).partition("::")[0].endswith(".py") for each in config.invocation_params.args)
    return 0 if named else None


@pytest.fixture(scope="session")
def attempts() -> Iterator[Attempts]:
    """Commands in processes of their own, at a second each."""
    with Attempts() as started:
        yield started
