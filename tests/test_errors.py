"""The error tree: as drawn, with its exit codes, and with messages that help."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from vitrail import errors
from vitrail.errors import ImageError, UnknownNameError, VitrailError

EXIT_CODES = {"VitrailError": 1, "UsageError": 2, "NothingToSeeError": 2, "UnknownNameError": 2, "DataError": 3,
              "ImageError": 3, "BundleError": 1, "PickleError": 1, "SaveError": 1, "RunError": 1, "DivergedError": 1,
              "QualityGateError": 4}


def classes() -> dict[str, type[VitrailError]]:
    return {name: value for name, value in vars(errors).items()
            if inspect.isclass(value) and issubclass(value, Exception)}


def drawn() -> dict[str, tuple[int, int | None]]:
    """Each name in the picture at the top of the module: how deep it hangs, and its exit code where it is given."""
    rows = re.findall(r"^ {4}([ │├└─]*)(\w+Error)(?: +exit (\d))?", errors.__doc__ or "", re.M)
    return {name: (len(branch) // 4, int(code) if code else None) for branch, name, code in rows}


def test_the_picture_holds_every_error_and_no_other() -> None:
    assert set(drawn()) == set(classes()) == set(EXIT_CODES)


def test_the_picture_hangs_each_error_where_it_is() -> None:
    above: list[str] = []
    for name, (depth, code) in drawn().items():
        above = [*above[:depth], name]
        parent = classes()[name].__bases__[0]
        assert parent is (classes()[above[depth - 1]] if depth else Exception)
        assert code in (None, classes()[name].exit_code)


@pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
def test_exit_codes(name: str, code: int) -> None:
    assert classes()[name].exit_code == code


@pytest.mark.parametrize(
    ("given", "nearest"), [("adma", "adam"), ("adamww", "adamw"), ("sgd-momentum", "sgd"), ("zzz", None), ("", None)]
)
def test_an_unknown_name_says_what_was_given_the_nearest_and_all(given: str, nearest: str | None) -> None:
    message = str(UnknownNameError("optimizer", given, ["adam", "adamw", "sgd"]))
    assert message.startswith(f"Unknown optimizer {given!r}.")
    assert message.endswith("Known: adam, adamw, sgd.")
    assert (f"Did you mean {nearest!r}?" in message) if nearest else ("Did you mean" not in message)


def test_names_may_come_from_any_iterable() -> None:
    assert "Known: a, b." in str(UnknownNameError("letter", "c", iter(["a", "b"])))


def test_the_nearest_name_may_differ_in_case_only() -> None:
    assert "'B/16'" in str(UnknownNameError("model", "b/16", ["S/16", "B/16", "L/16"])).split("Known")[0]


def test_errors_travel_between_processes() -> None:
    given = UnknownNameError("letter", "c", ["a", "b"])
    given.add_note("a note")
    told = pickle.loads(pickle.dumps(given))
    assert (type(told), str(told), told.__notes__) == (UnknownNameError, str(given), ["a note"])
    error = pickle.loads(pickle.dumps(ImageError("a/b.png", "the file is empty")))
    assert (error.path, error.reason, str(error)) == ("a/b.png", "the file is empty", "a/b.png: the file is empty")
