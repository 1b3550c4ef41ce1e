"""Curves through measured errors, and what they say beyond: one posterior on a grid, its rivals, and its doubts."""
