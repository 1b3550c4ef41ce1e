"""Do the answers of `vitrail study` hold? On 72 public learning curves and on synthetic ones whose truth is known.

    python benchmarks/learning_curves.py CSV [--broken]      a minute; --broken: also BNSL-1 on the full split, minutes

CSV: `benchmark.vision.csv` of "Revisiting Neural Scaling Laws in Language and Vision" (2209.06640), CC BY 4.0.

Few points: X is a curve's largest size. Of n sizes spaced evenly in log from X/r/16 to X/r the nearest points there
are; curves with fewer than five of them are skipped. To be predicted: the median error within 5 % of X. Full split:
fitted on the part for that, asked about all the others. Scores are root mean squares of log(predicted / measured).
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vitrail.studies.fit.baselines import BASELINES, Fitted
from vitrail.studies.fit.broken import broken
from vitrail.studies.fit.curve import Curve, curve_of
from vitrail.studies.fit.outlook import EVIDENCE, FAR, swap
from vitrail.studies.fit.posterior import fit

FEW = ((5, 2), (6, 4), (10, 4), (10, 8))
SIZES = 500 * 2.0 ** np.arange(7)
NEAR = 0.05


class Points(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    fitted: np.ndarray

    def at(self, x: float) -> float:
        return float(np.median(self.y[np.abs(self.x / x - 1) <= NEAR]))

    def few(self, largest: float, count: int) -> Curve:
        wanted = np.geomspace(largest / 16, largest, count)
        chosen = sorted({int(np.abs(self.x - size).argmin()) for size in wanted})
        return Curve(self.x[chosen], self.y[chosen])


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("csv")
    parser.add_argument("--broken", action="store_true", help="also BNSL-1 on the full split")
    options = parser.parse_args()
    curves = read(options.csv)
    few_points(curves)
    full_split(curves, options.broken)
    swaps(curves)
    synthetic()


def read(path: str) -> dict[tuple[str, str], Points]:
    rows: dict[tuple[str, str], list[tuple[float, float, bool]]] = defaultdict(list)
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[row["Task"], row["Model"]].append((float(row["Seen Examples"]), float(row["Loss"]),
                                                    row["Training"] == "1"))
    return {key: Points(*map(np.array, zip(*sorted(points), strict=True))) for key, points in rows.items()}


def root_mean_square(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def few_points(curves: dict[tuple[str, str], Points]) -> None:
    print("| points, times further | curves | posterior | coverage | half-width |", " | ".join(BASELINES), "|")
    print("|---" * (5 + len(BASELINES)) + "|")
    for count, ratio in FEW:
        missed: dict[str, list[float]] = defaultdict(list)
        inside, widths = [], []
        for points in curves.values():
            largest = float(points.x[-1])
            curve = points.few(largest / ratio, count)
            if len(curve) < 5:
                continue
            truth, said = points.at(largest), fit(curve).predict(largest)
            missed["posterior"].append(np.log(said.expected / truth))
            inside.append(said.low <= truth <= said.high)
            widths.append(np.log(said.high / said.low) / 2)
            for name, law in BASELINES.items():
                missed[name].append(np.log(law(curve)(largest) / truth))
        scores = " | ".join(f"{root_mean_square(missed[name]):.3f}" for name in BASELINES)
        print(f"| {count}, {ratio} x | {len(inside)} | {root_mean_square(missed['posterior']):.3f} | "
              f"{np.mean(inside):.2f} | {np.mean(widths):.3f} | {scores} |")


def full_split(curves: dict[tuple[str, str], Points], with_break: bool) -> None:
    laws = {"posterior": expected} | BASELINES | ({"BNSL-1": broken} if with_break else {})
    scores: dict[str, list[float]] = {name: [] for name in laws}
    for points in curves.values():
        curve = Curve(points.x[points.fitted], points.y[points.fitted])
        held = [(x, y) for x, y, fitted in zip(*points, strict=True) if not fitted]
        for name, law in laws.items():
            say = law(curve)
            scores[name].append(root_mean_square([np.log(say(x) / y) for x, y in held]))
    print("\nfull split, mean over curves:", ", ".join(f"{name} {np.mean(own):.3f}" for name, own in scores.items()))


def expected(curve: Curve) -> Fitted:
    posterior = fit(curve)
    return lambda x: posterior.predict(x).expected


def swaps(curves: dict[tuple[str, str], Points]) -> None:
    print("\n| pairs of models, from X/r to X | pairs | swaps | found | false | Brier | \"the order stays\" |")
    print("|---|---|---|---|---|---|---|")
    for ratio in (2, 4, 8):
        told = [one for first, second in pairs(curves) if (one := judged(first, second, ratio)) is not None]
        before, after, probability = (np.array(column) for column in zip(*told, strict=True))
        real, spoken = before != after, (probability > EVIDENCE) != before
        print(f"| r = {ratio} | {len(told)} | {real.sum()} | {(real & spoken).sum()} | {(~real & spoken).sum()} | "
              f"{np.mean((probability - after) ** 2):.4f} | {real.mean():.4f} |")


def pairs(curves: dict[tuple[str, str], Points]) -> Iterator[tuple[Points, Points]]:
    for (one, first), (other, second) in itertools.combinations(sorted(curves), 2):
        if one == other:
            yield curves[one, first], curves[other, second]


def judged(first: Points, second: Points, ratio: int) -> tuple[bool, bool, float] | None:
    """Whether the second model is ahead at X/r and at X, as measured, and how likely the latter was said to be."""
    largest = float(min(first.x[-1], second.x[-1]))
    known = [points.few(largest / ratio, 8) for points in (first, second)]
    near = [(np.abs(points.x / largest - 1) <= NEAR).any() for points in (first, second)]
    if min(map(len, known)) < 5 or not all(near):
        return None
    said = swap(*known, before=largest)
    return (bool(known[1].y[-1] < known[0].y[-1]), second.at(largest) < first.at(largest),
            said.probability if said.ahead == 0 else 1 - said.probability)


def synthetic(trials: int = 300) -> None:
    drawn = np.random.default_rng(0)
    inside = []
    for number in range(trials):
        e, b, c = law(drawn)
        x, noise = SIZES[: 5 + number % 3], drawn.uniform(0.01, 0.05)
        y = (e + b * x**-c) * np.exp(noise * drawn.standard_normal(len(x)))
        needed = x[-1] * drawn.uniform(1.3, 4)
        found = fit(Curve(x, y)).size_for(e + b * needed**-c).size
        inside.append(found is not None and found.low <= needed <= found.high)
    print(f"\nsynthetic: the 90 % interval of the size for a target holds it in {100 * np.mean(inside):.0f} % of "
          f"{trials}")
    noises = [("1 to 5 %", lambda: drawn.uniform(0.01, 0.05)), ("1 %", lambda: 0.01), ("2 %", lambda: 0.02),
              ("3 %", lambda: 0.03), ("5 %", lambda: 0.05)]
    for words, noise in noises:
        pairs = {"false": parallel, "found": crossing, "found of all": lambda random: crossing(random, apart=1.0)}
        seen = {name: 100 * np.mean([measured(drawn, noise(), *two(drawn)) > EVIDENCE for _ in range(trials // 2)])
                for name, two in pairs.items()}
        print(f"swaps before {FAR:g} x, {words} noise of a run: false {seen['false']:.0f} %, found of those within 2 x "
              f"that lead to {100 * APART - 100:.0f} % and more {seen['found']:.0f} %, of all within 2 x "
              f"{seen['found of all']:.0f} %")


APART = 1.05
"""Of two errors, how many times the smaller one the larger one is, for the difference to count."""

Law = tuple[float, float, float]


def law(drawn: np.random.Generator) -> Law:
    e, c = drawn.uniform(0, 0.1), drawn.uniform(0.2, 0.8)
    return e, (drawn.uniform(0.3, 0.7) - e) * SIZES[0] ** c, c


def measured(drawn: np.random.Generator, noise: float, *laws: Law) -> float:
    """Probability of a swap, from curves measured as a study does: three seeds at two sizes at either end."""
    curves = []
    for e, b, c in laws:
        points = [(float(x), float((e + b * x**-c) * np.exp(noise * drawn.standard_normal())))
                  for place, x in enumerate(SIZES) for _ in range(3 if place < 2 or place >= len(SIZES) - 2 else 1)]
        curves.append(curve_of(points))
    return swap(*curves, before=FAR * SIZES[-1]).probability


def parallel(drawn: np.random.Generator) -> tuple[Law, Law]:
    """Two laws of which one is ahead by APART and more, up to four times the largest size."""
    grid = np.geomspace(SIZES[0], FAR * SIZES[-1], 200)
    while True:
        one, other = law(drawn), law(drawn)
        ratio = at(one, grid) / at(other, grid)
        if ratio.min() > APART or ratio.max() < 1 / APART:
            return one, other


def crossing(drawn: np.random.Generator, apart: float = APART) -> tuple[Law, Law]:
    """Two laws that meet within twice the largest size; 10 % apart at the smallest, and at four times the largest the
    other way round by `apart`: who is ahead by less than that is not worth knowing, nor to be seen through noise."""
    while True:
        one, (e, _, c) = law(drawn), law(drawn)
        meeting = SIZES[-1] * drawn.uniform(1.1, 2)
        rest = at(one, meeting) - e
        other = (e, max(rest, 0.0) * meeting**c, c)
        first, last = (abs(np.log(at(one, x) / at(other, x))) for x in (SIZES[0], FAR * SIZES[-1]))
        if rest > 0.005 and at(other, SIZES[0]) < 0.95 and first > np.log(1.1) and last >= np.log(apart):
            return one, other


def at(curve: Law, x: np.ndarray | float) -> np.ndarray:
    e, b, c = curve
    return np.asarray(e + b * x**-c)


if __name__ == "__main__":
    main()
