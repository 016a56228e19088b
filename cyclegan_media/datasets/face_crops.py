"""What a folder of face crops says of how they were cut out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

INDEX = "faces.jsonl"
"""Beside the crops that ``cyclegan-media faces`` writes: a line of JSON a crop."""

_LONGEST_LINE = 1 << 16


def face_crops(files: Sequence[Path]) -> dict[str, Any] | None:
    """``{"size": pixels, "margin": share}`` of the crops among which the first of ``files`` is.

    ``None`` where they are no crops of faces, or where their index does not say.
    """
    index = files[0].parent / INDEX
    try:
        with open(index, encoding="utf-8") as lines:
            first = json.loads(lines.readline(_LONGEST_LINE))
        size, margin = first["size"], first["margin"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(size, int) or not isinstance(margin, int | float):
        return None
    return {"size": size, "margin": float(margin)}
