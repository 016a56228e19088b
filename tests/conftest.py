"""Fixtures for all tests: where the shared reference data lies, and quiet, repeatable runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# One thread, as the processes that tests start have: the order of sums, and with it their last bit,
# depends on how many share them. Networks this small are no slower for it.
torch.set_num_threads(1)

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the reference folder shared/{name} is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """What published implementations compute; the test skips where it is absent."""
    return _shared("golden")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real clips, voices and pictures; the test skips where they are absent."""
    return _shared("data")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _same_messages() -> Iterator[None]:
    # A script that wants to hear less, run by a test, leaves the messages of others as they were.
    logger = logging.getLogger("cyclegan_media")
    before = logger.level, logger.propagate
    yield
    logger.setLevel(before[0])
    logger.propagate = before[1]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    # No test reads or fills the user's analysis cache.
    monkeypatch.setenv("CYCLEGAN_MEDIA_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
