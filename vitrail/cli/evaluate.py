"""vitrail evaluate BUNDLE SOURCE"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vitrail.cli.numbers import Count
from vitrail.errors import QualityGateError, UsageError

if TYPE_CHECKING:
    from vitrail.evaluation import Evaluation


def evaluate(
    bundle: Path, source: str | None = None, /, *,
    split: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    batch_size: Count = 64,
    min_top1: float | None = None,
) -> int:
    """Measure a trained model on labeled images: accuracy with its interval, per class, calibration.

        vitrail evaluate runs/demo-1 fashion:embedded

        vitrail evaluate runs/first photos/ --json > result.json

    Parameters
    ----------
    bundle
        A run folder, a Bundle folder, or published weights in any format that vitrail reads; hf:OWNER/NAME is fetched.
    source
        Labeled images in any form that `vitrail train` takes; those of the training run without. Classes are matched
        by name.
    split
        train, val, test or all. Without: test, else val; all of a source without splits that was not trained on.
    json
        Print everything as JSON on stdout, also the confusion matrix.
    batch_size
        Images at a time.
    min_top1
        Exit with code 4 where the accuracy is below this fraction.
    """
    from vitrail import evaluation
    from vitrail.api import choose_split, open_for
    from vitrail.cli.console import RunView, score_words
    from vitrail.cli.loading import load_bundle

    if min_top1 is not None and not 0 <= min_top1 <= 1:
        raise UsageError(f"--min-top1 {min_top1} is not a fraction: it must be from 0 to 1 (0.85 for 85 %).")
    loaded = load_bundle(bundle)
    view = RunView()
    opened = open_for(loaded, source)
    for warning in opened.warnings:
        view.say(f"note: {warning}")
    name, chosen = choose_split(opened, split)
    view.say(f"{opened.spec}: {opened.kind}; evaluating {len(chosen):,} images ({name})")
    result = evaluation.evaluate(loaded, chosen, batch_size=batch_size, progress=lambda at: view.watch(name, at))
    if json:
        print(result.model_dump_json())
    else:
        print(score_words(result))
        for line in evaluation_lines(result):
            print(line)
    if min_top1 is not None and (result.top1 is None or result.top1 < min_top1):
        sys.stdout.flush()
        raise QualityGateError(f"top-1 accuracy {result.top1 if result.top1 is None else round(result.top1, 4)} is "
                               f"below the bar of {min_top1}.")
    return 0


def evaluation_lines(result: Evaluation) -> list[str]:
    """The per-class part in a few lines, hardest classes first."""
    from vitrail.evaluation.writers import printable

    lines = []
    if result.top5 is not None and len(result.per_class) > 5:
        lines.append(f"top-5 {100 * result.top5:.1f} %")
    if result.loss is not None:
        calibration = f", calibration error {100 * result.ece:.1f} %" if result.ece is not None else ""
        lines.append(f"loss {result.loss:.3f}{calibration}")
    scored = [(score, one) for one in result.per_class
              if (score := one.accuracy if one.accuracy is not None else one.average_precision) is not None]
    for score, one in sorted(scored, key=lambda pair: pair[0])[:20]:
        lines.append(f"  {100 * score:5.1f} %  {printable(one.name)} ({one.images:,} images)")
    if len(scored) > 20:
        lines.append(f"  and {len(scored) - 20} classes above these (all with --json)")
    return lines
