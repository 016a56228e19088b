"""Public data sets: where they are, how they get here, and how they are unpacked safely."""

from cyclegan_media.datasets.public.archives import unpack
from cyclegan_media.datasets.public.catalogue import CATALOGUE, PublicSet, find_set, own_set
from cyclegan_media.datasets.public.fetch import (
    Fetched,
    fetch,
    media_folders,
    missing_partner,
    train_command,
)
from cyclegan_media.datasets.public.transfer import Transfer, download, sha256_of
from cyclegan_media.datasets.public.writer import Limits

__all__ = [
    "CATALOGUE",
    "Fetched",
    "Limits",
    "PublicSet",
    "Transfer",
    "download",
    "fetch",
    "find_set",
    "media_folders",
    "missing_partner",
    "own_set",
    "sha256_of",
    "train_command",
    "unpack",
]
