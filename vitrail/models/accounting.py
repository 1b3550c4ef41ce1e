"""Parameters, multiply-accumulates and activation memory, from the configuration alone.

Rule of the paper's Table 6: FLOPs of training = 6 x forward MACs x images, where the MACs count patch embedding,
projections, q k^T, attention times values, feed-forward and head, for all tokens of every layer (a model with a class
token computes less in its last block); of a ResNet its convolutions, or what replaces them.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitrail.models.axial_cost import axial_pairs
from vitrail.models.axial_resnet import AxialResNetConfig
from vitrail.models.bit import BiTConfig
from vitrail.models.convolution_cost import convolutions, kept_after, kept_before, norms_after, norms_before
from vitrail.models.families import ModelConfig
from vitrail.models.hybrid import HybridConfig
from vitrail.models.vit.config import INSIDE, ViTConfig


@dataclass(frozen=True)
class Accounting:
    """`macs`: forward, one image. `activation_bytes`: what one image holds for the backward pass, in 2-byte numbers.
    `tokens`: 0 for a model that has none."""

    parameters: int
    macs: int
    activation_bytes: int
    tokens: int

    def training_exaflops(self, images: int) -> float:
        return 6 * self.macs * images / 1e18


def describe(config: ModelConfig) -> Accounting:
    """Account for a model without building it."""
    if isinstance(config, AxialResNetConfig):
        return describe_axial_resnet(config)
    if isinstance(config, BiTConfig):
        return describe_bit(config)
    if isinstance(config, HybridConfig):
        return describe_hybrid(config)
    return describe_vit(config)


def describe_bit(config: BiTConfig) -> Accounting:
    rows = convolutions(config.channels, config.root, config.depths, config.image_size)
    features, head = config.embedding * config.grid[0] * config.grid[1], config.embedding * config.classes
    return Accounting(
        parameters=sum(row.parameters for row in rows) + 2 * norms_before(rows) + 2 * config.embedding
        + head + config.classes,
        macs=sum(row.macs("centered") for row in rows) + head,
        activation_bytes=2 * (kept_before(rows) + 2 * features + config.embedding), tokens=0)


def describe_axial_resnet(config: AxialResNetConfig) -> Accounting:
    """The BiT of the same shape, with attention along rows and columns for each 3x3 convolution."""
    resnet, pairs = describe_bit(config), axial_pairs(config)
    replaced = [row for row in convolutions(config.channels, config.root, config.depths, config.image_size)
                if row.role == "middle"]
    return Accounting(
        parameters=resnet.parameters + sum(pair.parameters for pair in pairs) - sum(
            row.parameters for row in replaced),
        macs=resnet.macs + sum(pair.macs for pair in pairs) - sum(row.macs("centered") for row in replaced),
        activation_bytes=resnet.activation_bytes + 2 * sum(pair.kept for pair in pairs), tokens=0)


def describe_hybrid(config: HybridConfig) -> Accounting:
    """The ViT that reads the feature map, and the ResNet in front."""
    rows = convolutions(config.channels, config.stem_root, config.stem_depths, config.image_size)
    behind = describe_vit(config.on_features)
    features = config.stem_channels * (config.image_size[0] // config.stride) * (config.image_size[1] // config.stride)
    return Accounting(
        parameters=behind.parameters + sum(row.parameters for row in rows) + 2 * norms_after(rows),
        macs=behind.macs + sum(row.macs("same") for row in rows),
        activation_bytes=behind.activation_bytes + 2 * (kept_after(rows) + features * bool(config.stem_depths)),
        tokens=behind.tokens)


def describe_vit(config: ViTConfig) -> Accounting:
    return Accounting(parameters(config), macs(config), activation_bytes(config), config.tokens)


def parameters(config: ViTConfig) -> int:
    width, norm = config.width, 2 * config.width
    patches = config.channels * config.patch[0] * config.patch[1] * width + width * config.patch_bias
    attention = width * 3 * width + 3 * width * config.qkv_bias + width * width + width
    scales = 0 if config.layer_scale is None else 2 * width
    block = 2 * norm + attention + feed_forward_parameters(config) + scales
    total = patches + config.prefix * width + position_parameters(config) + config.depth * len(config.spans) * block
    total += 2 * (config.pooled if config.norm_at == "pooled" else width) + norm * config.pre_norm
    if config.pooling == "attention":
        total += width + 4 * (width * width + width) + norm + feed_forward_parameters(config)
    if config.head_hidden:
        total += config.pooled * config.head_hidden + config.head_hidden
    return total + projection_weights(config) + config.embedding * config.classes + config.classes


def feed_forward_parameters(config: ViTConfig) -> int:
    gates = 2 if config.feedforward == "swiglu" else 1
    return (config.width + 1) * gates * config.mlp + (config.mlp + 1) * config.width


def projection_weights(config: ViTConfig) -> int:
    return (config.head_hidden or config.pooled) * (config.projection or 0)


def position_parameters(config: ViTConfig) -> int:
    rows, columns = config.grid
    one = {
        "learned": (config.class_tokens + config.patches) * config.width,
        "learned-2d": config.class_tokens * config.width + (rows + columns) * (config.width // 2),
        "relative-bias": ((2 * rows - 1) * (2 * columns - 1) + 3 * bool(config.prefix)) * config.heads,
        "relative": (2 * config.tokens - 1) * config.width,
    }.get(config.positions, 0)
    return one * (config.depth if config.positions_at == "every" else 1)


def macs(config: ViTConfig) -> int:
    width, tokens = config.width, config.tokens
    patches = config.patches * config.channels * config.patch[0] * config.patch[1] * width
    products = 3 if config.feedforward == "swiglu" else 2
    dense = 4 * tokens * width**2 + products * tokens * width * config.mlp
    block = sum(dense + 2 * tokens * span * width for span in config.spans)
    if config.positions == "relative":
        block += tokens * (2 * tokens - 1) * width
    pooled = 0
    if config.pooling == "attention":
        pooled = 2 * config.patches * width * (width + 1) + 2 * width**2 + products * width * config.mlp
    after = config.pooled * (config.head_hidden or 0) + projection_weights(config)
    return patches + config.depth * block + pooled + after + config.embedding * config.classes


def activation_bytes(config: ViTConfig) -> int:
    """What autograd keeps: of each block, what the last norm and one before the first block read, the image."""
    left = config.tokens if config.reads is None else config.reads
    blocks = sum((config.depth - 1) * kept_by_block(config, config.tokens, span) + kept_by_block(config, left, span)
                 for span in config.spans)
    pixels = config.channels * config.image_size[0] * config.image_size[1]
    pooled = config.patches * (3 * config.width + config.heads) if config.pooling == "attention" else 0
    ends = config.width * (left + config.tokens * config.pre_norm)
    return 2 * (blocks + ends + pooled + pixels)


def map_bytes(config: ViTConfig) -> int:
    """Of `activation_bytes`, the attention weights: the fused kernel keeps none, unless it learns a bias on scores."""
    left = config.tokens if config.reads is None or config.positions in INSIDE else config.reads
    return 2 * config.heads * sum(((config.depth - 1) * config.tokens + left) * span for span in config.spans)


def kept_by_block(config: ViTConfig, left: int, span: int) -> int:
    """Numbers, where a token attends to `span` others. Of every token the block's input, its norm, k and v; of those
    that ask q, the scaled q, their attention weights (all but the fused kernel) and the mix; of the `left` ones that
    leave the block the middle sum, its norm, and the hidden layer before and after GELU."""
    tokens, asking = config.tokens, config.tokens if config.positions in INSIDE else left
    of_all, of_asking, of_left = 4, 3, 2
    hidden, scores = {"swiglu": 4, "gelu-quick": 3}.get(config.feedforward, 2), span
    if config.layer_scale is not None:
        of_left += 2  # both branches before they are scaled
    if config.dropout:
        of_left, hidden = of_left + 2, hidden + 1  # masks
    if config.positions == "rotary-2d":
        of_all += 1  # k after its turn; the one before it shares its memory with v
    if config.positions == "relative":
        of_asking, scores = of_asking + 1, scores + 2 * tokens - 1  # q for the offset keys, and its scores
    return (config.width * (tokens * of_all + asking * of_asking + left * of_left)
            + asking * config.heads * scores + left * hidden * config.mlp)
