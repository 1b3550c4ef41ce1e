"""Shards: tar files of pictures with an index, read in place by ranges, here or from a store far away."""
