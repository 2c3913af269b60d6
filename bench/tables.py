"""Tables in Markdown that are aligned as plain text too, and medians with their ranges."""

import statistics
from collections.abc import Sequence

__all__ = ["markdown", "ranged"]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; the first column is aligned to the left, all others to the right."""
    widths = [max(len(row[at]) for row in [header, *rows]) for at in range(len(header))]

    def line(row: Sequence[str]) -> str:
        first, *others = row
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        return f"| {' | '.join([first.ljust(widths[0]), *cells])} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def ranged(values: Sequence[float], form: str = ".1f") -> str:
    """Return the median, and the range in parentheses where there is one; "-" for no values."""
    if not values:
        return "-"
    median = f"{statistics.median(values):{form}}"
    return median if len(values) == 1 else f"{median} ({min(values):{form}}-{max(values):{form}})"
