"""ViT-MAE (2111.06377): the encoder, which sees every patch; mae_decoder.py reads the rest. Its positions are
fixed sines and cosines, which the file holds as a table."""

from __future__ import annotations

from dataclasses import replace

from vitrail.weights.huggingface.family import CENTRAL, IMAGENET
from vitrail.weights.huggingface.vit import VIT

VIT_MAE = replace(VIT, usual={**CENTRAL, **IMAGENET}, ignored={r"decoder\..*": "the decoder of pre-training"})
