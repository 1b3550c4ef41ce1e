"""Tests of the models, mirroring `vitrail/models`."""
