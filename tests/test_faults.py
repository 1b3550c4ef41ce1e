"""`docs/faults.md` says what the tests prove, no more and no less."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "faults.py"
spec = importlib.util.spec_from_file_location("faults", SCRIPT)
assert spec is not None
assert spec.loader is not None
faults = importlib.util.module_from_spec(spec)
spec.loader.exec_module(faults)


def test_the_page_is_what_the_tests_say() -> None:
    assert faults.PAGE.read_text(encoding="utf-8") == faults.page(faults.all_proofs()), "run scripts/faults.py"


def test_every_fault_has_a_test() -> None:
    assert {proof.row for proof in faults.all_proofs()} == set(faults.FAULTS)


def test_a_mark_is_read_and_stands_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.fault('R3', 'It is '\n                   'spared.')\n"
        "@pytest.mark.parametrize('x', [1])\n@pytest.mark.fault('R1', 'It survives.')\ndef test_that(x): pass\n")
    found = faults.all_proofs(tmp_path)
    assert found == [("R1", "It survives.", "test_it.py::test_that"), ("R3", "It is spared.", "test_it.py::test_that")]
    assert "| **R3** the disk is full | It is spared. | `test_it.py::test_that` |" in faults.page(found)


@pytest.mark.parametrize("mark", ["'R99', 'It survives.'", "'R1'", "'R1', words", "'R1', 2"])
def test_a_mark_that_is_wrong_is_named(tmp_path: Path, mark: str) -> None:
    (tmp_path / "test_it.py").write_text(f"@pytest.mark.fault({mark})\ndef test_that(): pass\n")
    with pytest.raises(ValueError, match=r"test_it\.py::test_that: a mark is"):
        faults.all_proofs(tmp_path)
