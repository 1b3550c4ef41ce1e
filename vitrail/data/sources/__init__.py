"""The kinds of source, one file each. The first that recognizes what was given opens it."""

from __future__ import annotations

from vitrail.data.sources import archive, arrays, builtin, folder, hub, idx, manifest
from vitrail.data.sources.contract import SourceKind
from vitrail.data.sources.shards.opening import open_shards, recognizes_shards

SOURCE_KINDS: dict[str, SourceKind] = {
    "fashion": SourceKind("fashion", builtin.is_fashion, builtin.open_fashion),
    "digits": SourceKind("digits", builtin.is_digits, builtin.open_digits),
    "shards": SourceKind("shards:PATTERN (tar files of `vitrail pack` or WebDataset)", recognizes_shards,
                         open_shards),
    "hub": SourceKind("hf:OWNER/NAME (a data set of the Hugging Face hub)", hub.recognizes, hub.open_hub),
    "idx": SourceKind("a folder of IDX files (MNIST's format)", idx.recognizes, idx.open_idx),
    "folder": SourceKind("a folder with one sub-folder for each class", folder.recognizes, folder.open_folder),
    "archive": SourceKind("an archive.zip or .tar of such a folder", archive.recognizes, archive.open_archive),
    "manifest": SourceKind("a manifest.csv, .jsonl or .parquet", manifest.recognizes, manifest.open_manifest),
    "arrays": SourceKind("an arrays.npz", arrays.recognizes, arrays.open_arrays),
}
