"""What docs/results/studies.md says of the paper's claims about compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vitrail.studies.compute.answers import answer
from vitrail.studies.compute.published import published
from vitrail.studies.compute.study import numbers


def claims(study: dict[str, Any]) -> list[str]:
    from studies_claims import claims

    return list(claims([study]))


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def paper() -> dict[str, Any]:
    """The paper's own Table 6, as if it were a study."""
    return {"study": "compute", **numbers(answer(published(), ["vit", "bit", "hybrid"]))}


def test_on_the_papers_own_numbers_its_claims_hold(paper: dict[str, Any]) -> None:
    said = claims(paper)
    assert "ViTs do need less here" in said[1]
    assert "(2.4 to 5.1) at" in said[1]  # in the middle
    assert "with little it holds, with much no difference is seen" in said[2]
    assert "cannot be told here" in said[3]  # as its eighteen points are few


def test_the_other_way_round_is_said_plainly(paper: dict[str, Any]) -> None:
    for place in paper["pairs"][0]["compute"]:
        place["ahead"] = 1
    for place in paper["pairs"][1]["errors"]:
        place["ahead"] = 0
    paper["families"][0]["saturates"] = 0.97
    said = claims(paper)
    assert "it is the other way round here. ViTs take so many times the compute of ResNets: 0.31 (" in said[1]
    assert "with little ViTs are ahead, with much ViTs are ahead" in said[2]
    assert "cannot be told here" in said[3]


def test_families_without_anything_in_common(paper: dict[str, Any]) -> None:
    paper["pairs"][0]["compute"] = []
    paper["pairs"][1]["errors"] = []
    said = claims(paper)
    assert "no accuracy was reached by both" in said[1]
    assert "not given a range of compute in common" in said[2]


def test_a_family_without_a_curve_is_left_out(paper: dict[str, Any]) -> None:
    paper["pairs"] = []
    for family in paper["families"]:
        del family["saturates"]
    assert claims(paper) == ["## Which of the paper's claims hold here?"]
