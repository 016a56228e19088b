"""Model folders onto the Hugging Face Hub."""

from __future__ import annotations

import os
from pathlib import Path

from cyclegan_media.errors import UserError
from cyclegan_media.pretrained.folder import CONFIG_FILE, ModelConfig, load_model
from cyclegan_media.pretrained.hub import hub_failure, hub_library, parse_hub_name


def model_files(path: str | os.PathLike[str]) -> tuple[Path, ModelConfig, list[str]]:
    """The model folder, what it is, and the names of the files that make it up.

    Raises:
        UserError: it is no model folder, or a damaged one; nothing such is published.
    """
    folder = Path(path)
    if not (folder / CONFIG_FILE).exists() and (folder / "model").is_dir():
        folder /= "model"  # the folder of a training
    config = load_model(folder).config
    return (
        folder,
        config,
        [CONFIG_FILE, *sorted(file.name for file in folder.glob("*.safetensors"))],
    )


def push(folder: Path, files: list[str], card: str, target: str, *, private: bool = False) -> str:
    """Upload in one commit; return the address of the commit.

    Raises:
        UserError: huggingface_hub is not installed, or the target is no name, or has a revision.
        RunError: the Hub refuses, or cannot be reached.
    """
    name, hub = parse_hub_name(target), hub_library()
    if name.revision is not None:
        raise UserError(f"{target}: name the model without a revision to push to")
    operations = [
        hub.CommitOperationAdd("README.md", card.encode()),
        *(hub.CommitOperationAdd(file, str(folder / file)) for file in files),
    ]
    api = hub.HfApi()
    try:
        api.create_repo(name.repository, private=private, exist_ok=True)
        commit = api.create_commit(
            name.repository, operations, commit_message="Publish a model of cyclegan-media"
        )
    except Exception as error:  # of huggingface_hub, and of the HTTP client that it uses
        raise hub_failure(target, error) from error
    return str(commit.commit_url)
