"""The paper's questions, asked of the full Fashion-MNIST: docs/results/studies.md.

    python benchmarks/studies.py                  # train what docs/results/studies/ledger.jsonl lacks, write the page
    python benchmarks/studies.py --only data head
    python benchmarks/studies.py --plan           # what is missing
    python benchmarks/studies.py --page           # only write the page again

Each study is a command of `vitrail study`, and the page tells it. Stopped by Ctrl-C or worse, the same command goes on;
several of them at once share the work, best with OMP_NUM_THREADS=1 for as many as there are cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from studies_page import FOLDER, write_page

LENGTH = ["--set", "schedule.epochs=3"]
DATA = ["data", "fashion", "--models", "half:vit", "half:resnet", "half:hybrid", "--sizes", "8", "--length", "1/4",
        "--set", "data.validation=0"]

STUDIES = {
    "foretold": [*DATA, "--upto", "15000", "--at", "60000"],
    "data": DATA,
    "head": ["head", "fashion", "--model", "half", *LENGTH],
    "positions": ["positions", "fashion", "--model", "half", *LENGTH],
    "optimizer": ["optimizer", "fashion", "--rates", "1/3", "1", "3", "10", *LENGTH],
    "shape": ["shape", "fashion", "--model", "half", *LENGTH],
    "compute": ["compute", "fashion", "--lengths", "1/16", "1/8"],
}
"""In the order in which they are trained: what the smaller parts foretell comes before it is measured."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--page", action="store_true")
    asked = parser.parse_args()
    for name in () if asked.page else asked.only:
        command = [sys.executable, "-m", "vitrail", "study", *STUDIES[name], "--out", str(FOLDER),
                   "--dry-run" if asked.plan else "--quiet"]
        if code := subprocess.run(command, check=False).returncode:
            return code
    if not asked.plan:
        write_page()
    return 0


if __name__ == "__main__":
    sys.exit(main())
