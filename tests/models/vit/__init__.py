"""Tests of the Vision Transformer, one file per station."""
