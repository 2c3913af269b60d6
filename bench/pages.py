"""docs/PERFORMANCE.md and its plots: what of it is made from a kept result."""

import json
from pathlib import Path

from bench.plots import draw_all
from bench.sections import format_tables

__all__ = ["MARKS", "PAGE", "generated", "write_page"]

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "PERFORMANCE.md"

MARKS = ("<!-- result: begin -->", "<!-- result: end -->")
"""What the generated part of the page stands between."""


def plot_path(path: Path, name: str) -> Path:
    """Return where the plot of that name stands for the result in `path`."""
    return path.with_name(f"{path.stem}-{name}.svg")


def generated(path: Path) -> str:
    """Return the generated part of the page, for the result in `path`."""
    result = json.loads(path.read_text())
    folder = path.parent.relative_to(ROOT)
    plots = [
        f"![{plot.title}](../{folder}/{plot_path(path, plot.name).name})"
        for plot in draw_all(result)
    ]
    said = f"Kept in [{path.name}](../{folder}/{path.name})."
    return "\n\n".join([said, format_tables(result), "## Plots", *plots])


def write_page(path: Path) -> None:
    """Put the result in `path`, which has to lie in this checkout, into the page; draw its plots."""
    path = path.resolve()
    for plot in draw_all(json.loads(path.read_text())):
        plot_path(path, plot.name).write_text(plot.svg)
    before, _, rest = PAGE.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    PAGE.write_text(f"{before}{MARKS[0]}\n{generated(path)}\n{MARKS[1]}{after}")
