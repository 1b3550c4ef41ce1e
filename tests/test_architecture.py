"""Who imports whom, drawn from the code and compared with the table in `docs/map.md` (read from there, so that the
two cannot drift apart)."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vitrail"
GROUND = {"vocabulary", "errors", "files"}
FRONT = {"__init__", "__main__"}  # the package's own door

Rules = dict[str, set[str]]


# The table.


def table(text: str) -> list[tuple[list[str], str]]:
    """(layers, what they may import) of each row, as it is written."""
    lines = text[text.index("| layer | may import |") :].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        layers, allowed = (cell.strip() for cell in line.strip("|").split("|"))
        rows.append((re.findall(r"`([\w.]+)`", layers), allowed))
    return rows


def rules_of(text: str) -> Rules:
    """Layer -> what it may import, in dotted names below `vitrail`."""
    rows = table(text)
    everything = {layer for layers, _ in rows for layer in layers}
    rules: Rules = {}
    for layers, words in rows:
        for layer in layers:
            rules[layer] = GROUND | allowed(words.split(";")[0].strip(), rules, everything - {"cli"})
    return rules


def allowed(words: str, above: Rules, everything: set[str]) -> set[str]:
    """One cell. "above" means the rows before this one, and within a row the names further left."""
    if words in ("(the ground only)", "(never data)", "(never models)"):
        return set()
    result: set[str] = set()
    for phrase in re.split(r",| and ", words):
        name = phrase.strip().strip("`")
        if name == "everything above":
            result |= set(above)
        elif name == "everything":
            result |= everything
        elif name == "what it may import":
            result |= {further for one in list(result) for further in above.get(one, set())}
        elif name.split(".")[0] in everything:
            result.add(name)
        else:
            raise ValueError(f"docs/map.md, table of imports: {phrase!r} is not understood")
    return result


@cache
def rules() -> Rules:
    return rules_of((ROOT / "docs" / "map.md").read_text(encoding="utf-8"))


# The code.


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below `vitrail`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, name: str, is_package: bool) -> set[str]:
    """Absolute dotted names that a module imports, anywhere in it; `from a import b` counts as `a.b`."""
    found = set()
    home = ["vitrail", *name.split(".")] if name not in FRONT else ["vitrail", name]
    base = home if is_package else home[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


def ours(name: str) -> str | None:
    """A dotted import as one of our modules, or None: an attribute counts as its module."""
    parts = name.split(".")
    if parts[0] != "vitrail":
        return None
    for length in range(len(parts), 1, -1):
        if (module := ".".join(parts[1:length])) in modules():
            return module
    return "__init__"


@cache
def imported_by(name: str) -> frozenset[str]:
    path = modules()[name]
    return frozenset(imports(path.read_text(encoding="utf-8"), name, path.name == "__init__.py"))


def layer_of(module: str) -> str:
    return module.split(".")[0]


def within(module: str, permitted: set[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in permitted)


def test_every_module_stands_in_the_table() -> None:
    known = set(rules()) | GROUND | FRONT
    strangers = sorted({layer_of(name) for name in modules()} - known)
    assert not strangers, f"docs/map.md does not say what these may import: {strangers}"


def test_imports_flow_as_the_map_says() -> None:
    broken = []
    for name in modules():
        layer = layer_of(name)
        if layer in FRONT or (layer not in rules() and layer not in GROUND):
            continue  # the door opens onto everything; strangers have a test of their own
        permitted = rules().get(layer, GROUND) | {layer}
        for target in sorted({module for given in imported_by(name) if (module := ours(given))}):
            if target != "__init__" and not within(target, permitted):
                broken.append(f"vitrail.{name} imports vitrail.{target}; {layer} may import "
                              f"{', '.join(sorted(permitted - {layer})) or 'nothing of ours'}")
    assert not broken, "\n".join(broken)


def test_the_ground_imports_nothing_of_ours() -> None:
    """But files may raise our errors."""
    for name in GROUND:
        assert {module for given in imported_by(name) if (module := ours(given))} <= GROUND - {name}


def test_only_the_version_comes_from_the_door() -> None:
    for name in modules():
        if layer_of(name) in {"cli", *FRONT}:
            continue
        taken = {given for given in imported_by(name) if ours(given) == "__init__"}
        assert taken <= {"vitrail.__version__"}, f"vitrail.{name} imports {sorted(taken)}: name the station instead"


@pytest.mark.parametrize("forbidden", ["torchvision", "timm", "pytorch_lightning", "lightning"])
def test_libraries_that_are_not_needed(forbidden: str) -> None:
    users = [name for name in modules() if any(given.split(".")[0] == forbidden for given in imported_by(name))]
    assert not users


def test_transformers_is_a_peer_in_tests_only() -> None:
    users = [name for name in modules() if any(given.split(".")[0] == "transformers" for given in imported_by(name))]
    assert not users


def test_concepts_have_names() -> None:
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        assert path.stem not in {"utils", "util", "helpers", "helper", "misc", "common"}, f"{path}: name the concept"


# The reader of the table, on tables of its own.


def test_the_table_is_read_as_a_person_reads_it() -> None:
    read = rules_of("| layer | may import |\n|---|---|\n"
                    "| `models` | (the ground only) |\n| `data` | (the ground only) |\n"
                    "| `bundle` | models, data.decode |\n| `weights` | bundle and what it may import |\n"
                    "| `recipe`, `run` | everything above |\n| `cli` | everything; nobody imports `cli` |\n")
    assert read["models"] == GROUND
    assert read["bundle"] == GROUND | {"models", "data.decode"}
    assert read["weights"] == GROUND | {"bundle", "models", "data.decode"}
    assert read["recipe"] == GROUND | {"models", "data", "bundle", "weights"}
    assert read["run"] == read["recipe"] | {"recipe"}
    assert "cli" not in read["cli"]
    assert {"run", "weights"} < read["cli"]


def test_a_word_that_is_not_understood_is_an_error() -> None:
    with pytest.raises(ValueError, match="'modells' is not understood"):
        rules_of("| layer | may import |\n|---|---|\n| `data` | modells |\n")


def test_imports_are_found_wherever_they_stand() -> None:
    source = ("import os, vitrail.data.decode\nfrom vitrail import models\nfrom ..bundle import Bundle\n"
              "from . import loop\ndef late():\n    from vitrail.cli import main\n")
    assert imports(source, "training.guard", False) == {
        "os", "vitrail.data.decode", "vitrail.models", "vitrail.bundle.Bundle", "vitrail.training.loop",
        "vitrail.cli.main"}
