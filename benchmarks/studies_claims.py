"""Which of the paper's claims hold in the studies of docs/results/studies: a part of docs/results/studies.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from vitrail.studies.compute.frontier import CALLED
from vitrail.studies.compute.sentences import NO_SIGN
from vitrail.studies.numerals import times

Study = dict[str, Any]

HEADINGS = {"data": "How much data?", "compute": "How much compute?", "head": "Class token or mean pooling?",
            "positions": "Positions", "optimizer": "Adam or SGD?", "shape": "Depth, width or smaller patches?"}


def claims(studies: list[Study]) -> Iterator[str]:
    """Paragraphs, and a table of what the paper says of two variants."""
    yield "## Which of the paper's claims hold here?"
    for study in studies:
        if study["study"] == "data" and len(study["models"]) > 1:
            yield data_claim(study)
        if study["study"] == "compute":
            yield from compute_claims(study)
    rows = [(HEADINGS[study["study"]], claim, {one["name"]: one["words"] for one in study["variants"]})
            for study in studies for claim in study.get("claims", ())]
    if not rows:
        return
    lines = [f"| {heading} | {words[claim['first']]} against {words[claim['second']]} | {claim['paper']} | "
             f"{points(claim['points'])} | {claim['verdict']} |" for heading, claim, words in rows]
    yield "\n".join(["| question | compared | paper | points here, 90 % interval | verdict |", "|---|---|---|---|---|",
                     *lines])


def data_claim(study: Study) -> str:
    """Whether the ResNet leads with few images, and the ViT with many (Figure 4)."""
    vit, resnet = study["models"][:2]
    leads = {size: lead(resnet, vit, size) for size in (study["sizes"][0], study["sizes"][-1])}
    few, many = leads.values()
    first = "holds" if few > 0 else "does not hold"
    swap = study["swaps"].get(f"{vit['model']} and {resnet['model']}")
    later = "holds" if many < 0 else "cannot be seen" + (
        f": a swap before {swap['before']:,.0f} images has a probability of {100 * swap['probability']:.0f} %"
        if swap else "")
    told = ", ".join(f"{points:+.1f} points with {size:,}" for size, points in leads.items())
    return (f"**With few images ResNets are ahead** (Figure 4: R50x1 of B/32 with 9 million): {first} here. **With "
            f"many the ViT is** (from 90 million on): {later}. {resnet['model']} against {vit['model']}: {told}.")


def lead(ours: Study, theirs: Study, size: int) -> float:
    """Points by which the mean accuracy of the first is ahead."""
    means = [statistics.mean(point["error"] for point in model["points"] if point["images"] == size)
             for model in (ours, theirs)]
    return 100 * (means[1] - means[0])


def compute_claims(study: Study) -> Iterator[str]:
    """Section 4.4: ViTs need less compute, hybrids are ahead with little of it, and nothing saturates."""
    pairs = {(pair["first"], pair["second"]): pair for pair in study["pairs"]}
    if pair := pairs.get(("vit", "bit")):
        yield (f"**ViTs need 2 to 4 times less compute than ResNets for the same accuracy** (Figure 5): "
               f"{vit_against_resnet(pair['compute'])}")
    if pair := pairs.get(("vit", "hybrid")):
        yield f"**Hybrids are ahead of ViTs with little compute, and no more with much**: {hybrids(pair['errors'])}"
    found = {CALLED[family["family"]]: family["saturates"] for family in study["families"] if "saturates" in family}
    if found:
        told = ", ".join(f"{name} {100 * probability:.0f} %" for name, probability in found.items())
        seen = "no sign of it here" if max(found.values()) <= NO_SIGN else "cannot be told here"
        yield (f"**Nothing saturates in the range tried**: {seen}. Probability that the frontier does: {told}.")


def vit_against_resnet(levels: list[Study]) -> str:
    """`levels`: from the lowest accuracy that both reached to the highest."""
    if not levels:
        return "cannot be seen, for no accuracy was reached by both."
    verdict = {0: "ViTs do need less here", 1: "it is the other way round here", None: "not seen here"}
    ahead = levels[len(levels) // 2]["ahead"]
    told = "; ".join(f"{ratio_words(level, turned=ahead == 1)} at {100 * (1 - level['error']):.1f} %"
                     for level in levels)
    whose = "ViTs take so many times the compute of ResNets" if ahead == 1 else (
        "ResNets take so many times the compute of ViTs")
    return f"{verdict[ahead]}. {whose}: {told}."


def hybrids(budgets: list[Study]) -> str:
    """`budgets`: the smallest and the largest compute that both families were given."""
    if len(budgets) < 2:
        return "cannot be seen, for both were not given a range of compute in common."
    little, much = budgets
    first = {0: "with little ViTs are ahead", 1: "with little it holds", None: "with little no difference is seen"}
    last = {0: "with much ViTs are ahead", 1: "with much hybrids still are", None: "with much no difference is seen"}
    return (f"{first[little['ahead']]}, {last[much['ahead']]}. Hybrids make so many times the errors of ViTs: "
            f"{ratio_words(little)} with the least compute in common, {ratio_words(much)} with the most.")


def ratio_words(place: Study, *, turned: bool = False) -> str:
    """The second's to the first's, or `turned` the first's to the second's."""
    middle, low, high = (place["second_to_first"][name] for name in ("expected", "low", "high"))
    if turned:
        middle, low, high = 1 / middle, 1 / high, 1 / low
    return f"{times(middle)} ({times(low)} to {times(high)})"


def points(gap: dict[str, Any] | None) -> str:
    if gap is None:
        return "not yet"
    interval = "" if gap["low"] is None else f" ({gap['low']:+.1f} to {gap['high']:+.1f})"
    return f"{gap['value']:+.1f}{interval}"
