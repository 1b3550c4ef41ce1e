"""vitrail predict BUNDLE IMAGES..."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vitrail.cli import STANDARD_INPUT
from vitrail.cli.numbers import Count
from vitrail.errors import UsageError


def predict(
    bundle: Path, /, *images: str,
    top: Annotated[Count, Parameter(alias="-k")] = 5,
    json: Annotated[bool, Parameter(negative=())] = False,
    csv: Annotated[bool, Parameter(negative=())] = False,
    batch_size: Count = 32,
) -> int:
    """Name what is in images. A picture that cannot be read is reported, the others are answered all the same.

        vitrail predict runs/first cat.jpg dog.png

        find . -name '*.jpg' | vitrail predict runs/first - --csv > answers.csv

    Parameters
    ----------
    bundle
        A run folder, a Bundle folder, or published weights in any format that vitrail reads; hf:OWNER/NAME is fetched.
    images
        Files, folders, patterns in quotes ('holiday/*.jpg'), or - for a list of names on standard input.
    top
        How many classes to name for each image.
    json
        One JSON object a line: path and top, or path and error.
    csv
        A table with a row for each image.
    batch_size
        Images at a time.
    """
    from vitrail.cli.loading import load_bundle
    from vitrail.evaluation.inputs import Failure, expand
    from vitrail.evaluation.predictions import predict_files
    from vitrail.evaluation.writers import csv_header, csv_row, json_line, text_line

    if not images:
        raise UsageError("No images given. Name files, folders or patterns: vitrail predict BUNDLE cat.jpg photos/")
    if json and csv:
        raise UsageError("Give --json or --csv, not both.")
    loaded = load_bundle(bundle)
    top = min(top, loaded.model.config.classes)
    if csv:
        print(csv_header(top))
    answered = failed = 0
    named = ["-" if image == STANDARD_INPUT else image for image in images]
    for result in predict_files(loaded, expand(named, sys.stdin), top=top, batch_size=batch_size):
        bad = isinstance(result, Failure)
        failed, answered = failed + bad, answered + (not bad)
        if json:
            print(json_line(result))
        elif csv:
            print(csv_row(result, top))
        else:
            print(text_line(result), file=sys.stderr if bad else sys.stdout)
        sys.stdout.flush()
    if failed:
        others = "; the others were answered" if answered else ""
        print(f"{failed} of {failed + answered} could not be read{others}.", file=sys.stderr)
    return 3 if failed else 0
