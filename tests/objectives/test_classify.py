from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vitrail.objectives import Classify
from vitrail.vocabulary import Batch


class Fixed(nn.Module):
    """A model whose logits are given."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits


LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]])


def losses(targets: torch.Tensor, **options: object):  # type: ignore[no-untyped-def]
    batch = Batch({"image": torch.zeros(2, 3, 4, 4, dtype=torch.uint8)}, targets, torch.arange(2), torch.arange(2))
    return Classify(Fixed(LOGITS.clone()), torch.Tensor.float, **options)(batch)  # type: ignore[arg-type]


def test_softmax_equals_the_definition_with_smoothing() -> None:
    result = losses(torch.tensor([0, 1]), label_smoothing=0.3)
    rows = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    assert result.total.item() == pytest.approx(-(rows * LOGITS.log_softmax(-1)).sum(-1).mean().item(), rel=1e-6)
    assert result.parts["top1"].item() == 0.5


def test_sigmoid_sums_over_classes_and_takes_indices_or_rows() -> None:
    by_index = losses(torch.tensor([0, 1]), loss="sigmoid").total
    by_row = losses(torch.tensor([[1.0, 0, 0], [0, 1, 0]]), loss="sigmoid", multilabel=True)
    signs = torch.tensor([[1.0, -1, -1], [-1, 1, -1]])
    expected = -F.logsigmoid(signs * LOGITS).sum(-1).mean()
    assert by_index.item() == pytest.approx(expected.item(), rel=1e-6)
    assert by_row.total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert "top1" not in by_row.parts


def test_softmax_of_rows_is_soft_cross_entropy() -> None:
    rows = torch.tensor([[0.5, 0.5, 0], [0, 0, 1.0]])
    expected = -(rows * LOGITS.log_softmax(-1)).sum(-1).mean()
    assert losses(rows).total.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_of_a_mixture_is_the_mixture_of_losses(loss: str, smoothing: float) -> None:
    """Cross-entropy is linear in its targets, smoothed or not."""
    own, other, share = torch.tensor([0, 1]), torch.tensor([2, 0]), 0.7
    rows = share * F.one_hot(own, 3) + (1 - share) * F.one_hot(other, 3)
    whole, first, second = (losses(targets, loss=loss, label_smoothing=smoothing).total.item()
                            for targets in (rows, own, other))
    assert whole == pytest.approx(share * first + (1 - share) * second, rel=1e-6)


def test_of_a_mixture_the_largest_share_counts() -> None:
    rows = torch.tensor([[0.6, 0.4, 0], [0.2, 0.8, 0]])  # the answers of LOGITS are 0 and 2
    assert losses(rows).parts["top1"].item() == 0.5
    assert losses(rows, loss="sigmoid").parts["top1"].item() == 0.5
    assert "top1" not in losses(rows, loss="sigmoid", multilabel=True).parts
