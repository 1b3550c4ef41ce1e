"""What speaks against believing an answer, whatever the question: little was asked, or little was learned."""

from __future__ import annotations

from vitrail.studies.fit.posterior import MANY_ASKED

NO_BETTER_THAN_CHANCE = 0.9
"""Share of the error of guessing from which on a run has hardly learned."""


def hardly_learned(error: float, classes: int) -> bool:
    return error > NO_BETTER_THAN_CHANCE * (1 - 1 / classes)


def chance_doubts(asked: int, several: bool) -> list[str]:
    """`asked`: images that accuracy is measured on; `several`: some setting was trained with more than one seed."""
    found = []
    if asked < MANY_ASKED:
        found.append(f"Accuracy is measured on {asked:,} images, which are few: by chance alone, errors may differ by "
                     "some percent.")
    if not several:
        found.append("Every setting was trained with one seed so far: how much is chance, is not known.")
    return found
