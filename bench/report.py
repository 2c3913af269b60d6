"""From measured values to a result: medians with their spread, in a JSON file.

Knows no processes and no sockets, beyond asking what machine this is.
"""

import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from bench.scenarios import DIRECT, Cell

__all__ = [
    "Figure",
    "Result",
    "describe_machine",
    "latest",
    "now_text",
    "save",
    "spread",
    "summarise_scenarios",
]

ROOT = Path(__file__).parent.parent

Figure = dict[str, Any]
Result = dict[str, Any]


def spread(values: Iterable[float]) -> Figure:
    """Return the median of `values` with the range and the values that it is taken from."""
    known = list(values)
    return {"median": median(known), "min": min(known), "max": max(known), "values": known}


def _quantile_ms(cell: Cell, quantile: str) -> float:
    """Return a delay: to the first event of a stream, or to the end of a blocking reply."""
    delays = cell.measured.report["ttft_us" if cell.scenario.load.stream else "total_us"]
    return float(delays[quantile]) / 1000


def _rate(cell: Cell) -> float:
    return float(cell.measured.report["events_per_s" if cell.scenario.load.stream else "rps"])


def _late_ms(cell: Cell) -> float:
    return float(cell.measured.report["gap_late_us"]["p99"]) / 1000


def _transit_ms(cell: Cell, quantile: str) -> float:
    return float(cell.measured.report["transit_us"][quantile]) / 1000


def _cpu_us(cell: Cell) -> float:
    """Return the gateway's CPU time per event of a stream, or per request."""
    units: int = cell.measured.report["events" if cell.scenario.load.stream else "ok"]
    return cell.measured.proxy_seconds * 1e6 / max(units, 1)


def _per_side(cells: Sequence[Cell]) -> Figure:
    figures: dict[str, Callable[[Cell], float]] = {
        "per_second": _rate,
        "p50_ms": lambda cell: _quantile_ms(cell, "p50"),
        "p99_ms": lambda cell: _quantile_ms(cell, "p99"),
        "other_cores": lambda cell: cell.measured.other_cores,
    }
    load = cells[0].scenario.load
    if load.stream:
        figures["transit_p50_ms"] = lambda cell: _transit_ms(cell, "p50")
        figures["transit_p99_ms"] = lambda cell: _transit_ms(cell, "p99")
    if load.gap_us:
        figures["late_p99_ms"] = _late_ms
    if cells[0].side != DIRECT:
        figures["cpu_us"] = _cpu_us
    return {name: spread(figure(cell) for cell in cells) for name, figure in figures.items()}


def summarise_scenarios(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return each scenario's figures, side by side: values stand in the order of the rounds.

    What a gateway added to a delay is against the direct side of the same round.
    """
    found: dict[str, Any] = {}
    for name in dict.fromkeys(cell.scenario.name for cell in cells):
        sides: dict[str, list[Cell]] = {}
        for cell in sorted(cells, key=lambda cell: cell.round):
            if cell.scenario.name == name:
                sides.setdefault(cell.side, []).append(cell)
        found[name] = {side: _per_side(of_side) for side, of_side in sides.items()}
        for side, of_side in sides.items():
            for quantile in ("p50", "p99") if side != DIRECT else ():
                found[name][side][f"added_{quantile}_ms"] = spread(
                    _quantile_ms(cell, quantile) - _quantile_ms(direct, quantile)
                    for direct, cell in zip(sides[DIRECT], of_side, strict=True)
                )
    return found


def _output(*command: str) -> str:
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return found.stdout.strip()


def _commit() -> str:
    """Return the short commit, with -dirty after it when something that counts differs from it."""
    commit = _output("git", "rev-parse", "--short", "--verify", "HEAD") or "uncommitted"
    # Results and what is made of them are written by runs: they do not make the next one dirty.
    ours = (":!bench/results", ":!docs/PERFORMANCE.md")
    changed = _output("git", "status", "--porcelain", "--", ".", *ours)
    return f"{commit}-dirty" if changed and commit != "uncommitted" else commit


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def describe_machine() -> dict[str, Any]:
    """Return what a figure depends on beside the code: machine, kernel, Python, versions."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    packages = ("rawproxy", "trio", "h11", "h2", "msgspec")
    return {
        "commit": _commit(),
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": _output(os.environ.get("CC", "cc").split()[0], "--version").split("\n")[0],
        "versions": {package: _version(package) for package in packages},
    }


def save(result: Result, folder: Path) -> Path:
    """Write `result` to a new file in `folder`, named by date, time (UTC) and commit."""
    folder.mkdir(parents=True, exist_ok=True)
    date = datetime.fromisoformat(result["date"]).strftime("%Y-%m-%dT%H%M%S")
    path = folder / f"{date}-{result['machine']['commit']}.json"
    with path.open("x") as file:  # a result is never overwritten
        json.dump(_rounded(result), file, indent=1)
        file.write("\n")
    return path


def latest(folder: Path) -> Path | None:
    """Return the newest result in `folder`."""
    return max(folder.glob("*.json"), default=None)


def now_text() -> str:
    """Return the time in UTC, as a result holds it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _rounded(value: Any) -> Any:
    """Cut numbers to what was measured: no figure here is good to six digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value
