"""The Vision Transformer of "An Image is Worth 16x16 Words" (2010.11929), Figure 1 read aloud."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models.vit.block import Block
from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.encoder import Encoder
from vitrail.models.vit.head import Head, Hidden, Projection
from vitrail.models.vit.norm import Norm
from vitrail.models.vit.patches import PatchEmbedding
from vitrail.models.vit.pooling import build_pooling
from vitrail.models.vit.prefix import Prefix
from vitrail.vocabulary import Images, Tokens


class ViT(nn.Module):
    """image -> patches -> tokens -> encoder -> pooled -> logits"""

    def __init__(self, config: ViTConfig, patchify: nn.Module | None = None,
                 block: Callable[[ViTConfig, float], nn.Module] = Block) -> None:
        """`patchify`: images -> Tokens; patches of pixels without. `block`: what the encoder is a stack of."""
        super().__init__()
        self.config = config
        self.patchify: nn.Module = PatchEmbedding(config) if patchify is None else patchify
        self.prefix = Prefix(config)
        self.encoder = Encoder(config, block)
        before = config.norm_at == "tokens"
        self.norm = Norm(config.width, eps=config.norm_eps) if before else nn.Identity()
        self.pool = build_pooling(config)
        self.pool_norm = nn.Identity() if before else Norm(config.pooled, eps=config.norm_eps)
        self.hidden = Hidden(config.pooled, config.head_hidden) if config.head_hidden else nn.Identity()
        self.projection = (Projection(config.head_hidden or config.pooled, config.projection) if config.projection
                           else nn.Identity())
        self.head = Head(config) if config.classes else nn.Identity()
        if not next(self.parameters()).is_meta:  # else: nothing to draw into, and a second of imports
            self.initialize()

    def forward(self, images: Images) -> Float[Tensor, "batch classes"]:
        return self.head(self.embed(images))

    def embed(self, images: Images) -> Float[Tensor, "batch embedding"]:
        """The vector before the linear head."""
        values = self.encode_tokens(self.patchify(images), self.config.reads)
        return self.projection(self.hidden(self.pool_norm(self.pool(values))))

    def feature_map(self, images: Images) -> Float[Tensor, "batch width rows columns"]:
        """The patches after the last norm (where it comes before pooling), on their grid."""
        tokens = self.patchify(images)
        patches = self.encode_tokens(tokens)[:, self.config.prefix :]
        return patches.transpose(1, 2).unflatten(2, tokens.grid)

    def encode(self, images: Images) -> Float[Tensor, "batch tokens width"]:
        return self.encode_tokens(self.patchify(images))

    def encode_tokens(self, tokens: Tokens, first: int | None = None) -> Float[Tensor, "batch tokens width"]:
        """Prefix and patches after the last norm. `tokens` may be any subset of the patches, in any order; `first`:
        only so many tokens leave the last block."""
        return self.norm(self.encoder(self.prefix(tokens.values), tokens, first))

    def initialize(self) -> None:
        """Every part draws its own weights, as the paper's code does; norms start as the identity."""
        for part in self.modules():
            draw = getattr(part, "initialize", None)
            if part is not self and callable(draw):
                draw()
