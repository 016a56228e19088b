"""Models of the Hugging Face Hub, named ``hf:user/model`` or ``hf:user/model@revision``.

Of a repository only what a model folder has is fetched: ``config.json`` and safetensors files. It
is then read as any model folder is, so nothing that a repository holds is executed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclegan_media.errors import RunError, UserError

PREFIX = "hf:"
LARGEST = 8 << 30
"""Bytes of a model's files together: many times what the largest published one has."""

_PATTERNS = ["config.json", "*.safetensors"]
_NAME = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


@dataclass(frozen=True)
class HubName:
    """``hf:user/model[@revision]``."""

    repository: str
    revision: str | None

    @property
    def model(self) -> str:
        return self.repository.rpartition("/")[2]


def is_hub_name(path: str | os.PathLike[str]) -> bool:
    """Whether this names a model of the Hub, not a folder."""
    return isinstance(path, str) and path.startswith(PREFIX)


def parse_hub_name(name: str) -> HubName:
    """Take apart ``hf:user/model[@revision]``.

    Raises:
        UserError: it is not of that form.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UserError(
            f"{name}: a model of the Hub is named hf:user/model or hf:user/model@revision"
        )
    return HubName(match[1], match[2])


def download_model(name: str) -> Path:
    """The folder of a model of the Hub, from the Hub's cache if it is there and unchanged.

    With ``HF_HUB_OFFLINE=1`` nothing but the cache is asked.

    Raises:
        UserError: huggingface_hub is not installed; no such model or revision, one that is no model
            folder or is too large, or offline one that is not in the cache.
        RunError: the Hub cannot be reached, or the download broke off.
    """
    wanted, hub = parse_hub_name(name), hub_library()
    offline = hub.constants.HF_HUB_OFFLINE
    try:
        if not offline:
            _check_files(
                name,
                hub.HfApi().model_info(
                    wanted.repository, revision=wanted.revision, files_metadata=True
                ),
            )
        return Path(
            hub.snapshot_download(
                wanted.repository,
                revision=wanted.revision,
                allow_patterns=_PATTERNS,
                local_files_only=offline,
            )
        )
    except (UserError, RunError):
        raise
    except Exception as error:  # of huggingface_hub, and of the HTTP client that it uses
        raise hub_failure(name, error, offline=offline) from error


def hub_library() -> Any:
    """The package ``huggingface_hub``.

    Raises:
        UserError: it is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.constants
    except ImportError as error:
        raise UserError(
            "models of the Hub need huggingface_hub; install it: pip install 'cyclegan-media[hub]'"
        ) from error
    return huggingface_hub


def hub_failure(name: str, error: Exception, *, offline: bool = False) -> UserError | RunError:
    """What went wrong with the Hub, in one sentence."""
    from huggingface_hub import errors

    if offline:
        return UserError(
            f"{name}: is not in the Hub's cache, and HF_HUB_OFFLINE forbids to fetch it; fetch it"
            " once without"
        )
    if isinstance(error, errors.GatedRepoError):
        return UserError(f"{name}: asks to be agreed with first, on its page of the Hub")
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{name}: has no such revision")
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(f"{name}: there is no such model, or it is private; see `hf auth login`")
    if isinstance(error, errors.HFValidationError):
        return UserError(f"{name}: is no name of a model of the Hub")
    reason = " ".join(str(error).split())[:300]
    return RunError(f"{name}: the Hub cannot be used: {reason} (HF_HUB_OFFLINE=1 takes the cache)")


def _check_files(name: str, info: Any) -> None:
    files = {file.rfilename: file.size or 0 for file in info.siblings or []}
    ours = {k: n for k, n in files.items() if k == "config.json" or k.endswith(".safetensors")}
    if "config.json" not in ours or len(ours) < 2:
        raise UserError(
            f"{name}: is no model folder: it needs config.json and *.safetensors at its top"
        )
    total = sum(ours.values())
    if total > LARGEST:
        raise UserError(f"{name}: has {total} bytes of weights, more than the {LARGEST} allowed")
