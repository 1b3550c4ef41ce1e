"""The verbs. Each is imported when it is chosen."""

from __future__ import annotations

from cyclopts import App

from vitrail import __version__

app = App(
    name="vitrail",
    suppress_keyboard_interrupt=False,  # `main` says that we stopped
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
app.command("vitrail.cli.pack:pack", name="pack")
app.command("vitrail.cli.verify:verify", name="verify")
