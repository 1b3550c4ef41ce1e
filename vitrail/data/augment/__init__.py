"""Random variation of training pictures, each out of the sample's own `Draws`.

    augmentation.py   Augmentation: the settings, and the order in which they act
    crops.py          which part of a picture is seen
    multi_crop.py     several crops of one picture, recolored as DINO does
    policies.py       RandAugment, TrivialAugment, 3-Augment: operations and how strong they are
    colors.py         what changes the values of pixels          warps.py     what moves them
    erasing.py        what paints over them                      pixels.py    the array all of them take and give

NumPy and not torch: on small pictures the cost of a torch call is larger than the work, and loader threads must not
start torch's own threads.
"""

from vitrail.data.augment.augmentation import Augmentation
from vitrail.data.augment.multi_crop import MultiCrop

__all__ = ["Augmentation", "MultiCrop"]
