"""Which operations a picture goes through, and how strong they are: RandAugment, TrivialAugment, 3-Augment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from vitrail.data.augment import colors, warps
from vitrail.data.augment.erasing import cutout
from vitrail.data.augment.pixels import Pixels
from vitrail.data.order import Draws

Operation = Callable[[Pixels, float, Draws], Pixels]
"""A picture, how strong, and the numbers to draw: a new picture of the same size."""

GREY, BLACK = 128, 0
"""What RandAugment shows where a warped picture has no pixels, and what TrivialAugment shows."""


RANDAUGMENT_PIXELS, TRIVIAL_PIXELS = 100, 32
"""How far pictures are moved, by RandAugment at a magnitude of 10 and by TrivialAugment at most."""


def signed(value: float, draws: Draws) -> float:
    """As it is or negative, each half of the time."""
    return value if draws.uniform() < 0.5 else -value


# RandAugment, as the ViT recipes have it: the TensorFlow version made for EfficientNet. Its strengths are for a level
# of 0 to 10 and go on beyond, and its oddities are part of the recipes:
# - distances are in pixels of a picture of 224; contrast is around a grey that follows from the *number* of pixels
#   (196 at 224 x 224), where Pillow's is the mean of the picture;
# - a level of 0 is not "nothing": it fades colors, brightness, contrast and sharpness to a tenth, keeps one bit of
#   each value or inverts the picture;
# - `solarize` compares bytes with 256 x level / 10, which is taken modulo 256 there (TensorFlow 2.15 with NumPy 1.26,
#   run on 2026-11-25): at levels 10 and 20 the threshold is 0, which inverts, and at 15 it is 128;
# - `posterize` keeps more bits the higher the level: 4 at 10, and all 8 at 20.


def enhancing(level: float) -> float:
    """0.1 at level 0, 1.9 at 10, 2.8 at 15: 1 is the picture as it is."""
    return level / 10 * 1.8 + 0.1


def pixel_count_grey(pixels: Pixels) -> int:
    return min(pixels.shape[1] * pixels.shape[2] // 256, 255)


RANDAUGMENT: dict[str, Operation] = {
    "autocontrast": lambda pixels, level, draws: colors.autocontrasted(pixels),
    "equalize": lambda pixels, level, draws: colors.equalized(pixels),
    "invert": lambda pixels, level, draws: colors.inverted(pixels),
    "rotate": lambda pixels, level, draws: warps.rotated(pixels, signed(level / 10 * 30, draws), GREY),
    "posterize": lambda pixels, level, draws: colors.posterized(pixels, int(level / 10 * 4)),
    "solarize": lambda pixels, level, draws: colors.solarized(pixels, int(level / 10 * 256) % 256),
    "color": lambda pixels, level, draws: colors.saturated(pixels, enhancing(level)),
    "contrast": lambda pixels, level, draws: colors.contrasted(pixels, enhancing(level), pixel_count_grey(pixels)),
    "brightness": lambda pixels, level, draws: colors.brightened(pixels, enhancing(level)),
    "sharpness": lambda pixels, level, draws: colors.sharpened(pixels, enhancing(level)),
    "shear-x": lambda pixels, level, draws: warps.sheared_x(pixels, signed(level / 10 * 0.3, draws), GREY),
    "shear-y": lambda pixels, level, draws: warps.sheared_y(pixels, signed(level / 10 * 0.3, draws), GREY),
    "translate-x": lambda pixels, level, draws: warps.translated(
        pixels, round(signed(level / 10 * RANDAUGMENT_PIXELS, draws)), 0, GREY),
    "translate-y": lambda pixels, level, draws: warps.translated(
        pixels, 0, round(signed(level / 10 * RANDAUGMENT_PIXELS, draws)), GREY),
    "cutout": lambda pixels, level, draws: cutout(pixels, int(level / 10 * 40), GREY, draws),
    "solarize-add": lambda pixels, level, draws: colors.solarize_added(pixels, int(level / 10 * 110)),
}


class RandAugment(BaseModel):
    """`layers` operations after each other (0: none), each drawn from all 16 and each of strength `magnitude`.

    There is no probability: the one that the TensorFlow version draws for every operation is not used there either.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layers: Annotated[int, Field(ge=0, le=16)] = 0
    magnitude: Annotated[float, Field(ge=0, le=30)] = 10.0

    def __call__(self, pixels: Pixels, draws: Draws) -> Pixels:
        operations = list(RANDAUGMENT.values())
        for _ in range(self.layers):
            pixels = operations[draws.integer(len(operations))](pixels, self.magnitude, draws)
        return pixels


# TrivialAugment (arXiv 2103.10158), the "wide" strengths: one operation, of a strength drawn from 31 steps. It is
# Pillow's: contrast is around the mean, and warped pictures are black where they have no pixels.

STEPS = 31


def around_one(strength: float, draws: Draws) -> float:
    """A factor from 0.01 to 1.99."""
    return 1 + signed(0.99 * strength, draws)


TRIVIAL: dict[str, Operation] = {
    "identity": lambda pixels, strength, draws: pixels,
    "shear-x": lambda pixels, strength, draws: warps.sheared_x(pixels, signed(0.99 * strength, draws), BLACK),
    "shear-y": lambda pixels, strength, draws: warps.sheared_y(pixels, signed(0.99 * strength, draws), BLACK),
    "translate-x": lambda pixels, strength, draws: warps.translated(
        pixels, int(signed(TRIVIAL_PIXELS * strength, draws)), 0, BLACK),
    "translate-y": lambda pixels, strength, draws: warps.translated(
        pixels, 0, int(signed(TRIVIAL_PIXELS * strength, draws)), BLACK),
    "rotate": lambda pixels, strength, draws: warps.rotated(pixels, signed(135 * strength, draws), BLACK),
    "brightness": lambda pixels, strength, draws: colors.brightened(pixels, around_one(strength, draws)),
    "color": lambda pixels, strength, draws: colors.saturated(pixels, around_one(strength, draws)),
    "contrast": lambda pixels, strength, draws: colors.contrasted(
        pixels, around_one(strength, draws), colors.mean_grey(pixels)),
    "sharpness": lambda pixels, strength, draws: colors.sharpened(pixels, around_one(strength, draws)),
    "posterize": lambda pixels, strength, draws: colors.posterized(pixels, 8 - round(6 * strength)),
    "solarize": lambda pixels, strength, draws: colors.solarized(pixels, 255 - int(255 * strength)),
    "autocontrast": lambda pixels, strength, draws: colors.autocontrasted(pixels),
    "equalize": lambda pixels, strength, draws: colors.equalized(pixels),
}


def trivial_augment(pixels: Pixels, draws: Draws) -> Pixels:
    operations = list(TRIVIAL.values())
    operation, step = operations[draws.integer(len(operations))], draws.integer(STEPS)
    return operation(pixels, step / (STEPS - 1), draws)


# 3-Augment (DeiT III, arXiv 2204.07118): grey, inverted highlights or blur, each a third of the time. What goes with it
# there are the simple crop, a flip and brightness, contrast and saturation within 1 +- 0.3.

THREE: dict[str, Operation] = {
    "grey": lambda pixels, strength, draws: colors.greyed(pixels),
    "solarize": lambda pixels, strength, draws: colors.solarized(pixels, 128),
    "blur": lambda pixels, strength, draws: colors.blurred(pixels, 0.1 + 1.9 * strength),
}


def three_augment(pixels: Pixels, draws: Draws) -> Pixels:
    operations = list(THREE.values())
    return operations[draws.integer(len(operations))](pixels, draws.uniform(), draws)
