"""Head, positions and optimizer: parts that are exchanged at the same size (paper, Figure 9, Tables 7 and 8)."""

from __future__ import annotations

from vitrail.recipe import Recipe
from vitrail.studies.ablations import bases
from vitrail.studies.ablations.ablation import Ablation, Claim, Variant, among

POOLING = "model.settings.pooling"


def heads(base: Recipe) -> tuple[Variant, ...]:
    return (
        Variant("token", "class token", {POOLING: "token"}, "as good as mean pooling (at 8e-4)"),
        Variant("mean", "mean pooling", {POOLING: "mean"}, "as good as the class token (at 3e-4)"),
        Variant("mean-same-rate", "mean pooling at the class token's rate", {POOLING: "mean"}, "far behind (at 8e-4)",
                rate_of="token"),
        Variant("attention", "attention pooling", {POOLING: "attention"}, "not tried"),
    )


HEAD = Ablation(
    "head", "class token or mean pooling, and what of the difference is the learning rate?", bases.tokens, heads,
    among((Claim("token", "mean-same-rate", "far better", "mean pooling is far behind at that rate (Figure 9)"),
           Claim("mean", "token", "equal", "they are equal once each has its own rate (Figure 9)"))),
    "accuracy on the {held_out}", "5-shot accuracy on ImageNet after 7 epochs of JFT", tuned=True, explained=(0, 1))

TABLE_8 = (
    ("none", "no positions", "none", "stem", 0.61382),
    ("1d-stem", "1-D at the stem", "learned", "stem", 0.64206),
    ("1d-every", "1-D at every layer", "learned", "every", 0.63964),
    ("1d-shared", "1-D at every layer, shared", "learned", "shared", 0.64292),
    ("2d-stem", "2-D at the stem", "learned-2d", "stem", 0.64001),
    ("2d-every", "2-D at every layer", "learned-2d", "every", 0.64046),
    ("2d-shared", "2-D at every layer, shared", "learned-2d", "shared", 0.64022),
    ("relative", "relative", "relative", "every", 0.64032),
)
"""name, words, kind, place, accuracy in the paper."""


def positions(base: Recipe) -> tuple[Variant, ...]:
    return tuple(Variant(name, words, {"model.settings.positions": kind, "model.settings.positions_at": place},
                         f"{100 * paper:.1f} %") for name, words, kind, place, paper in TABLE_8)


POSITIONS = Ablation(
    "positions", "does the model need to know where its patches lie, and how is it best told?", bases.tokens, positions,
    among((Claim("1d-stem", "none", "better", "2.8 points better (Table 8)"),
           Claim("2d-stem", "none", "better", "2.6 points better (Table 8)"),
           Claim("relative", "none", "better", "2.7 points better (Table 8)"),
           Claim("2d-stem", "1d-stem", "equal", "no difference to speak of, -0.2 points (Table 8)"),
           Claim("relative", "1d-stem", "equal", "no difference to speak of, -0.2 points (Table 8)"),
           Claim("1d-every", "1d-stem", "equal", "no difference to speak of, -0.2 points (Table 8)"),
           Claim("1d-shared", "1d-stem", "equal", "no difference to speak of, +0.1 points (Table 8)"))),
    "accuracy on the {held_out}", "5-shot accuracy of a ViT-B/16 on ImageNet, linear on frozen features")

SGD_RATE, SGD_BATCH = 0.03, 256  # BiT (1912.11370): in proportion to the batch


def optimizers(base: Recipe) -> tuple[Variant, ...]:
    """SGD is decayed as much a step as Adam is, each at the rate in the middle of its grid."""
    rate = float(f"{SGD_RATE * base.training.batch_size / SGD_BATCH:.4g}")
    decay = float(f"{base.optimizer.weight_decay * base.optimizer.learning_rate / rate:.4g}")
    return (
        Variant("adam", "Adam", {"optimizer.name": "adam"}, "R50x1 89.33 %, R152x2 94.01 %"),
        Variant("sgd", "SGD with momentum", {"optimizer.name": "sgd", "optimizer.learning_rate": rate,
                                             "optimizer.weight_decay": decay}, "R50x1 88.79 %, R152x2 93.72 %"))


OPTIMIZER = Ablation(
    "optimizer", "Adam or SGD with momentum, each at its own rate?", bases.resnet, optimizers,
    among((Claim("adam", "sgd", "better", "Adam is ahead by 0.5 points on R50x1 and 0.3 on R152x2 (Table 7)"),)),
    "accuracy on the {held_out}, trained from scratch with each",
    "mean of five data sets after fine-tuning what each had pre-trained on JFT", tuned=True)
