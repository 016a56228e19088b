"""What can be chosen for the web page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class WebSettings:
    """How the page is served."""

    models: tuple[str, ...] = ()
    """Model folders, folders that hold such, and ``hf:`` names."""
    runs: tuple[Path, ...] = ()
    """Folders of trainings, or folders that hold such, whose progress is shown."""
    host: str = "127.0.0.1"
    port: int | None = None
    """``None`` takes the first that is free from 7860 on."""
    accounts: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Names and passwords; without any, everyone who reaches the page may use it."""
    max_megabytes: float = 500.0
    """Of a file that is sent."""
    max_seconds: float = 600.0
    """Of a clip or recording."""
    timeout: float = 3600.0
    """Seconds that a conversion may take."""
    workers: int = 1
    """Conversions at once; others wait."""
    max_waiting: int = 50
    """Conversions that may wait."""
    device: str = "auto"
    precision: str = "auto"
