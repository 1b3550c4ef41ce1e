"""From a written model to the Hugging Face hub: what `vitrail convert --push OWNER/NAME` does after writing.

The files that were written are uploaded as one commit, with a model card of facts where the repository has none yet.
A new repository is private: publishing is a decision of its own, and so is the license.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from vitrail.bundle import Bundle
from vitrail.errors import SaveError, UsageError
from vitrail.models import describe
from vitrail.weights.hub import KINDS, SCHEME, library, reason

CARD = "README.md"
LIBRARIES = {"timm": "timm", "huggingface": "transformers"}
"""Who reads a format beside vitrail, as the hub calls them."""


def check_target(repository: str) -> None:
    """Before anything is written. Raises UsageError for a name that cannot be one, or without huggingface_hub."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UsageError(f"--push {repository}: give the repository's name as OWNER/NAME.")
    library()


def push(written: Path, bundle: Bundle, repository: str, format_name: str) -> str:
    """Upload a file or a folder; returns its page. Raises SaveError; what was written stays in any case."""
    hub = library()
    stays = f"{written} is written, but was not pushed to {repository}"
    if hub.constants.is_offline_mode():
        raise SaveError(f"{stays}: HF_HUB_OFFLINE is set. Unset it, and push again.")
    if not hub.get_token():
        raise SaveError(f"{stays}: there is no token. Set HF_TOKEN, or log in with: hf auth login")
    files = files_of(written)
    operations = [hub.CommitOperationAdd(name, str(path)) for name, path in files.items()]
    try:
        api = hub.HfApi()
        api.create_repo(repository, private=True, exist_ok=True)
        if not api.file_exists(repository, CARD):
            text = card(bundle, repository, format_name, list(files))
            operations.append(hub.CommitOperationAdd(CARD, text.encode()))
        api.create_commit(repository, operations, commit_message=f"{bundle.model.config.name}, written by vitrail")
    except Exception as error:  # each generation of the library brought another transport with errors of its own
        raise SaveError(f"{stays}: {reason(error)}. Push again, with the same command.") from error
    return f"{hub.constants.ENDPOINT}/{repository}"


def files_of(written: Path) -> dict[str, Path]:
    """By their names in the repository, where what a file is must be seen from its name."""
    if written.is_file():
        return {written.name if written.suffix in KINDS else f"{written.name}.npz": written}
    return {path.relative_to(written).as_posix(): path for path in sorted(written.rglob("*")) if path.is_file()}


def card(bundle: Bundle, repository: str, format_name: str, files: list[str]) -> str:
    """What the files are, in facts that stand in them; no praise, and no license that nobody gave."""
    config, preprocess, account = bundle.model.config, bundle.preprocess, describe(bundle.model.config)
    task = "image-classification" if config.classes else "image-feature-extraction"
    shape = (f"squashed to {preprocess.size[0]} x {preprocess.size[1]} pixels" if preprocess.resize == "squash" else
             f"resized until they cover {preprocess.size[0]} x {preprocess.size[1]} / {preprocess.crop_fraction:.4g} "
             "pixels, the middle kept")
    rows = {
        "model": config.name, "parameters": f"{account.parameters:,}",
        "multiply-adds": f"{account.macs / 1e9:.3g} G for one image",
        "images": f"{config.image_size[0]} x {config.image_size[1]}",
        "outputs": f"{config.classes:,} classes ({bundle.activation})" if config.classes else "features, no head",
        "preprocessing": f"{shape}, {preprocess.interpolation}; mean {preprocess.mean}, standard deviation "
                         f"{preprocess.std}, of values 0 to 1",
        "format": format_name,
    } | {name: str(value) for name in ("hub", "file", "profile") if (value := bundle.provenance.get(name))}
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    names = f"Classes: {', '.join(bundle.classes[:20])}{', ...' if len(bundle.classes) > 20 else ''}\n\n" \
        if bundle.classes else ""
    target = f"{SCHEME}{repository}" + (f"/{files[0]}" if len(files) == 1 else "")
    return (f"---\nlibrary_name: {LIBRARIES.get(format_name, 'vitrail')}\npipeline_tag: {task}\n"
            f"tags: [vitrail, vision-transformer]\n---\n\n# {repository.split('/')[1]}\n\n"
            f"| | |\n|---|---|\n{table}\n\n{names}```python\nimport vitrail\n\n"
            f"bundle = vitrail.load({json.dumps(target)})\n```\n\n"
            "License: to be stated by whoever publishes this; that of the original weights and of the training data "
            "applies.\n")
