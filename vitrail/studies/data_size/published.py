"""What the paper has of the same question: its Table 5 and what its Figure 4 shows (2010.11929, section 4.3)."""

from __future__ import annotations

from vitrail.studies.question import Table

MODELS = ("B/16", "B/32", "L/16", "L/32", "H/14")
TABLE_5 = {
    1_300_000: (77.91, 73.38, 76.53, 71.16, None),
    14_000_000: (83.97, 81.28, 85.15, 80.99, 85.13),
    303_000_000: (84.15, 80.73, 87.12, 84.37, 88.04),
}
"""Images of ImageNet, ImageNet-21k and JFT-300M -> top-1 on ImageNet in percent, of each of MODELS."""


def in_the_paper() -> Table:
    rows = tuple((f"{images:,}", *("" if value is None else f"{value:.1f} %" for value in values))
                 for images, values in TABLE_5.items())
    return Table("In the paper", ("images pre-trained on", *MODELS), rows, (
        "Top-1 on ImageNet after fine-tuning at 384 pixels (Table 5): with few images the larger models are the worse "
        "ones. On random parts of JFT, B/32 is far behind R50x1 with 9 million images and ahead of it from 90 million "
        "on, and so is L/16 against R152x2 (Figure 4, few-shot on frozen features)."))
