"""Tests of the position embeddings."""
