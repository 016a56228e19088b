"""``python -m cyclegan_media.demo``: train two small models and show what they learned.

Ends with 0 when both beat their unconverted input by a clear margin, with 1 when one does not
or the run failed, with 2 when something was asked for that cannot be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cyclegan_media.demo.page import Measure
from cyclegan_media.demo.run import PARTS, DemoResult, run_demo
from cyclegan_media.errors import CycleganMediaError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan_media.demo",
        description="Make two picture domains and two voices, train a small model for each "
        "without pairs, translate a clip and an utterance, and write a page that shows and "
        "measures the results. About 5 minutes on 2 CPU cores.",
    )
    parser.add_argument("--out", default="demo-output", help="folder for everything (%(default)s)")
    parser.add_argument("--only", choices=PARTS, help="one half of it")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier demonstration in that folder"
    )
    options = parser.parse_args(arguments)
    try:
        left_out = {part: None for part in PARTS if options.only not in (None, part)}
        result = run_demo(options.out, overwrite=options.overwrite, **left_out)
    except CycleganMediaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return report(result)


def report(result: DemoResult) -> int:
    """Print the measures and where the page is; the exit code."""
    print(summary(result.measures))
    print(f"\nThe page, to open in a browser: {result.page.resolve()}")
    if result.shortfalls:
        print(f"not clearly better than the input: {'; '.join(result.shortfalls)}", file=sys.stderr)
        return 1
    return 0


def summary(measures: Sequence[Measure]) -> str:
    """The measures as a table of text."""
    head = ("held-out measure", "unconverted", "trivial", "translated", "verdict")
    rows = [
        (
            f"{m.name} ({m.unit})" if m.unit else m.name,
            f"{m.unconverted:.3f}",
            "–" if m.trivial is None else f"{m.trivial:.3f}",
            f"{m.converted:.3f}",
            m.remark,
        )
        for m in measures
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:4], widths[1:4]), row[4]])
        for row in (head, *rows)
    )


if __name__ == "__main__":
    sys.exit(main())
