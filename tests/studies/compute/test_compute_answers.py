"""Constructed families with known laws: the sentences are true, and none claims more than was measured."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from vitrail.studies.compute.answers import Answers, answer
from vitrail.studies.compute.frontier import Trained
from vitrail.studies.compute.sentences import compute_words

COMPUTE = np.geomspace(1e-6, 6.4e-5, 7)


def runs(name: str, errors: np.ndarray, compute: np.ndarray = COMPUTE, seeds: int = 1) -> list[Trained]:
    return [Trained(name, f"{name}-{place // 3}", "9 epochs", float(x), (float(y),) * seeds)
            for place, (x, y) in enumerate(zip(compute, errors, strict=True))]


def law(times: float = 1.0, e: float = 0.02, b: float = 0.4, c: float = 0.35) -> np.ndarray:
    """What a family reaches that needs so many times the compute."""
    return e + b * (COMPUTE / COMPUTE[0] / times) ** -c


def asked(*trained: list[Trained], test_images: int = 10_000) -> Answers:
    everything = [one for runs in trained for one in runs]
    return answer(everything, list(dict.fromkeys(one.family for one in everything)), test_images, 10)


def text(told: Answers) -> str:
    return " ".join(told.sentences)


def test_three_times_the_compute_is_said_with_an_interval() -> None:
    said = asked(runs("vit", law()), runs("bit", law(3))).sentences[0]
    match = re.match(r"For the same accuracy ResNets need ([\d.]+) times the compute of ViTs "
                     r"\(90 % interval ([\d.]+) to ([\d.]+); at [\d.]+ %, in the middle of what both reach\)\.", said)
    assert match is not None, said
    middle, low, high = map(float, match.groups())
    assert 1 < low < 3 < high
    assert middle == pytest.approx(3, rel=0.1)
    turned = asked(runs("vit", law(3)), runs("bit", law())).sentences[0]
    assert turned.startswith("For the same accuracy ViTs need 3.")


def test_identical_families_are_no_evidence() -> None:
    told = asked(runs("vit", law()), runs("bit", law()))
    assert told.sentences[0].startswith("There is no evidence that ViTs and ResNets need different compute")
    assert "With equal compute there is no evidence that ViTs or ResNets are better: neither with 1 teraFLOPs" in text(
        told)
    assert "need 1.0 times that of ViTs, with a 90 % interval of 0." in told.sentences[0]


def test_hybrids_that_are_ahead_with_little_compute_only() -> None:
    """A smaller error at first, and the same at the end."""
    gain = 0.7 + 0.3 * np.log(COMPUTE / COMPUTE[0]) / np.log(64)
    told = asked(runs("vit", law()), runs("hybrid", law() * gain))
    said = next(words for words in told.sentences if words.startswith("With 1 teraFLOPs"))
    assert re.match(r"With 1 teraFLOPs hybrids make [23]\d % fewer errors than ViTs \(\d+ % to \d+ %\); with 64 "
                    r"teraFLOPs there is no evidence of a difference between ViTs and hybrids \(", said), said
    assert ": it saturates (" not in text(told)


def test_a_middle_without_evidence_tells_what_is_at_the_ends() -> None:
    """Curves that cross in the middle: one is ahead with little compute, the other with much."""
    crossing = law() * np.exp(np.linspace(0.35, -0.35, 7))
    pair = asked(runs("vit", law()), runs("bit", crossing)).pairs[0]
    words = compute_words(pair)
    assert "in the middle of what both reach, there is no evidence" in words
    assert words.count("times") == 3
    assert [place.ahead for place in pair.budgets] == [0, 1]


def test_the_best_of_three_families_at_both_ends() -> None:
    gain = 0.7 + 0.3 * np.log(COMPUTE / COMPUTE[0]) / np.log(64)
    told = asked(runs("vit", law()), runs("bit", law(6)), runs("hybrid", law() * gain))
    said = next(words for words in told.sentences if "best of all" in words)
    assert said.startswith("With 1 teraFLOPs hybrids are the best of all (probability above 99 %); with 64 teraFLOPs "
                           "it is open which are the best of all (probabilities: ")
    assert said.endswith("ResNets below 1 %).")
    assert len(told.pairs) == 3
    assert sum("fewer" in words for words in told.sentences) == 2  # ViTs against each; the third pair is in the table


def test_families_that_never_meet_get_a_bound_or_nothing() -> None:
    told = asked(runs("vit", law() / 5), runs("bit", law()))
    assert told.sentences[0].startswith("No accuracy was reached by both ViTs and ResNets: ViTs begin at ")
    assert "with 64 times the compute, so that they need more than that" in told.sentences[0]
    apart = asked(runs("vit", law() / 5, COMPUTE * 1000), runs("bit", law()))
    assert "other --lengths, would bring them together" in apart.sentences[0]
    assert "were given no compute in common" in text(apart)


def test_one_family_is_answered_alone() -> None:
    told = asked(runs("vit", law()))
    assert told.pairs == ()
    assert told.sentences[0] == ("Best for the compute: vit-0 from 1 teraFLOPs on (58.0 %), vit-1 from 8 (78.7 %), "
                                 "vit-2 from 64 (88.7 %).")
    two = asked([replace(one, errors=(0.9 * one.error, 1.1 * one.error)) for one in runs("vit", law())])
    assert two.sentences[0].endswith("By its seed alone, a run's error is off by 14 % of itself.")
    assert told.sentences[1].startswith("ViTs reach 88.7 % with 64 teraFLOPs, by vit-2 for 9 epochs. Twice as much")
    assert len(told.sentences) == 2


def test_what_doubling_brings_is_in_its_interval() -> None:
    told = asked(runs("vit", law(e=0.0)))
    match = re.search(r"take away about (\d+) % of these errors \((\d+) % to (\d+) %\); there is no sign", text(told))
    assert match is not None
    middle, low, high = map(int, match.groups())
    assert low <= 100 * (1 - 2**-0.35) <= high
    assert low <= middle <= high


def test_saturation_is_said_where_it_is_seen() -> None:
    said = text(asked(runs("vit", law(e=0.1, b=0.3, c=0.9))))
    assert "beginning of the frontier: it saturates (probability above 99 %)" in said
    assert "cannot be told" in text(asked(runs("vit", law(e=0.08, b=0.3, c=0.5))))


def test_few_points_of_a_frontier() -> None:
    told = asked(runs("vit", law()), runs("bit", law()[:2], COMPUTE[:2]))
    assert "ResNets reach 66.6 % with 2 teraFLOPs" in text(told)
    assert "2 of their 2 finished settings lie on the frontier, and 3 are needed to say how it goes on." in text(told)
    assert told.pairs == ()
    none = answer(runs("vit", law()), ["vit", "hybrid"], 10_000, 10)
    assert none.sentences[-1] == "Hybrids: none is finished yet."
    one = answer(runs("vit", law()[:1], COMPUTE[:1]), ["vit"], 10_000, 10)
    assert "1 of their 1 finished settings lies on the frontier" in text(one)


@pytest.mark.parametrize(("trained", "doubt"), [
    (runs("vit", law()[:3], COMPUTE[:3]), "3 points of a frontier are few"),
    ([replace(one, model="S/4") for one in runs("vit", law())], "the frontier is of one size only, S/4"),
    (runs("vit", np.append(law()[:6], 0.3)), "the dearest run (vit-2 for 9 epochs, 64 teraFLOPs) is no better than"),
    (runs("vit", np.array([0.6, 0.59, 0.58, 0.57, 0.2, 0.19, 0.05])), "the curve misses its points by"),
    (runs("vit", np.append(law()[:6], 0.0)), "every test image is right at the end"),
    (runs("vit", np.append(0.88, law()[1:])), "hardly better than guessing"),
    (runs("vit", law()), "trained with one seed so far"),
])
def test_what_speaks_against_an_answer(trained: list[Trained], doubt: str) -> None:
    assert sum(doubt in words for words in asked(trained).doubts) == 1
    sound = asked(runs("vit", law(), seeds=2))
    assert sound.doubts == ()


def test_a_small_test_set_is_doubted_and_believed_less() -> None:
    small, large = (asked(runs("vit", law()), runs("bit", law(3)), test_images=images) for images in (500, 10_000))
    assert any("500 images, which are few" in words for words in small.doubts)
    widths = [np.log(told.pairs[0].middle.ratio.high / told.pairs[0].middle.ratio.low) for told in (small, large)]
    assert widths[0] > 1.3 * widths[1]


def test_ends_that_agree_with_the_middle_are_left_to_the_table() -> None:
    assert asked(runs("vit", law()), runs("bit", law(3))).sentences[0].count("times") == 1
    leaning = law() * np.exp(np.linspace(0.5, 0.0, 7))
    said = asked(runs("vit", law()), runs("bit", leaning)).sentences[0]
    assert said.startswith("For the same accuracy ResNets need")
    assert said.count("times") == 3
