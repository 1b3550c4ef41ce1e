"""What every kind of position embedding is: three ports, each of which does nothing unless a kind uses it."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.vocabulary import Grid, Tokens


class Position(nn.Module):
    """Tells one layer where its tokens are. `tokens.places` names the patches; prefix tokens come before them."""

    def initialize(self) -> None:
        """Draw the learned tables, where there are any."""

    def add(self, values: Float[Tensor, "batch tokens width"], tokens: Tokens) -> Float[Tensor, "batch tokens width"]:
        """Add to the values of prefix and patches."""
        return values

    def rotate(self, values: Float[Tensor, "batch heads tokens head_width"], tokens: Tokens) -> Tensor:
        """Turn queries or keys."""
        return values

    def bias(self, queries: Float[Tensor, "batch heads tokens head_width"], tokens: Tokens) -> Tensor | None:
        """Scores to add before the softmax, [batch, heads, tokens, tokens], or None."""
        return None

    def resampled(self, grid: Grid) -> dict[str, Tensor]:
        """The parameters that change, by name, where the model's own grid is to be `grid`."""
        return {}


def patch_index(tokens: Tokens) -> Tensor:
    """Place of each patch in reading order, [patches] or [batch, patches]."""
    return tokens.places[..., 0] * tokens.grid[1] + tokens.places[..., 1]
