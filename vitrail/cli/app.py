"""The verbs. Each is imported when it is chosen."""

from __future__ import annotations

from cyclopts import App, Group

from vitrail import __version__

VERBS = {
    "demo": "see it work, in about a minute",
    "train": "make a model of your images, from scratch or from trained weights",
    "pretrain": "learn from images without labels",
    "evaluate": "measure a model on labeled images",
    "predict": "name what is in images",
    "probe": "measure what a model's features are worth on other images",
    "study": "how much data do I need, and which model?",
    "inspect": "look at what a model sees",
    "compare": "put runs side by side: what differed, and what came out",
    "describe": "what a model, or a file of weights, is and costs",
    "convert": "rewrite weights in another format",
    "pack": "write images as tar shards",
    "verify": "compare shards, Bundles and checkpoints with their checksums",
}
"""In words here, because a verb's own would have to be imported to be read."""

app = App(
    name="vitrail",
    suppress_keyboard_interrupt=False,  # `main` says that we stopped
    version=__version__,
    help="Vision Transformers from your images to an answer you can look through.\n\n"
         + "\n".join(f"- `vitrail {verb}`: {words}" for verb, words in VERBS.items())
         + "\n\nEach explains itself: vitrail train --help",
    group_commands=Group("Commands", show=False),
)
for verb in VERBS:
    app.command(f"vitrail.cli.{verb}:{verb}", name=verb)
