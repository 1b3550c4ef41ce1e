"""The command line: one file per verb. Nothing heavy is imported before a verb is chosen.

Exit codes: 0 ok, 1 failure, 2 wrong usage, 3 data problem, 4 quality gate missed, 130 Ctrl-C, 143 SIGTERM.
stdout carries data, stderr carries talk.
"""

from __future__ import annotations

import os
import sys

from cyclopts import App

from vitrail import __version__
from vitrail.errors import VitrailError

STANDARD_INPUT = "<standard input>"
"""What a lone `-` becomes, which the parser would take for an option."""

app = App(
    name="vitrail",
    version=__version__,
    help="Vision Transformers from your images to an answer you can look through.\n\n"
         "    vitrail demo                         see it work, in about a minute\n\n"
         "    vitrail train photos/ --out first    a folder with one sub-folder per class",
)
app.command("vitrail.cli.demo:demo", name="demo")
app.command("vitrail.cli.train:train", name="train")
app.command("vitrail.cli.evaluate:evaluate", name="evaluate")
app.command("vitrail.cli.predict:predict", name="predict")
app.command("vitrail.cli.describe:describe", name="describe")
app.command("vitrail.cli.convert:convert", name="convert")


def main() -> None:
    """The entry point. A user's mistake ends in one message and an exit code, never in a traceback."""
    try:
        code = app([STANDARD_INPUT if token == "-" else token for token in sys.argv[1:]])
    except VitrailError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
