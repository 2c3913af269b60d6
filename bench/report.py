"""From measured values to a result: medians with their spread, a JSON file, tables.

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

from bench.hangup import CONNECTING, PHASES
from bench.scenarios import SCENARIOS, Cell

__all__ = ["describe_machine", "format_tables", "now_text", "save", "spread", "summarise_scenarios"]

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
    """Return the proxy's CPU time per event of a stream, or per request."""
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
    if cells[0].side == "proxy":
        figures["cpu_us"] = _cpu_us
    return {name: spread(figure(cell) for cell in cells) for name, figure in figures.items()}


def summarise_scenarios(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return each scenario's figures: of both sides, and what the proxy added in the same round."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(cell.scenario.name for cell in cells):
        of_scenario = [cell for cell in cells if cell.scenario.name == name]
        sides = {
            side: sorted((c for c in of_scenario if c.side == side), key=lambda cell: cell.round)
            for side in ("direct", "proxy")
        }
        row = {side: _per_side(of_side) for side, of_side in sides.items() if of_side}
        if sides["proxy"]:
            pairs = list(zip(sides["direct"], sides["proxy"], strict=True))
            row["added"] = {
                f"{quantile}_ms": spread(
                    _quantile_ms(proxy, quantile) - _quantile_ms(direct, quantile)
                    for direct, proxy in pairs
                )
                for quantile in ("p50", "p99")
            }
        found[name] = row
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
    # Results are written here: a run does not make the next one dirty.
    changed = _output("git", "status", "--porcelain", "--", ".", ":!bench/results")
    return f"{commit}-dirty" if changed and commit != "uncommitted" else commit


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def describe_machine() -> dict[str, Any]:
    """Return what a figure depends on beside the code: machine, kernel, Python, versions."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    packages = ("rawproxy", "trio", "h11", "msgspec")
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


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table that is aligned as plain text too; all but column one to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(rule), *(line(row) for row in rows)])


def _median(figure: Figure | None, form: str = ".2f") -> str:
    return f"{figure['median']:{form}}" if figure else "-"


def _ranged(figure: Figure | None, form: str = ".1f") -> str:
    if not figure:
        return "-"
    return f"{figure['median']:{form}} ({figure['min']:{form}}-{figure['max']:{form}})"


def _scenario_table(found: dict[str, Any]) -> str:
    rows = []
    for scenario in SCENARIOS:
        if scenario.name not in found:
            continue
        row = found[scenario.name]
        direct, proxy, added = row["direct"], row.get("proxy", {}), row.get("added", {})
        rows.append(
            [
                f"**{scenario.name}** {scenario.title}",
                scenario.unit,
                _median(direct["per_second"], ",.0f"),
                _median(proxy.get("per_second"), ",.0f"),
                _ranged(proxy.get("cpu_us")),
                _median(added.get("p50_ms")),
                _median(added.get("p99_ms")),
                _median(direct.get("late_p99_ms")),
                _median(proxy.get("late_p99_ms")),
            ]
        )
    header = [
        "scenario", "unit", "direct /s", "rawproxy /s", "CPU us per unit", "added p50 ms",
        "added p99 ms", "direct late p99 ms", "rawproxy late p99 ms",
    ]  # fmt: skip
    return _table(header, rows)


def _memory_table(found: dict[str, list[dict[str, Any]]]) -> str:
    def figure(side: str, name: str) -> Figure | None:
        values = [run[name] for run in found.get(side, []) if run[name] is not None]
        return spread(values) if values else None

    streams = found["direct"][0]["streams"]
    labels = [
        ("start to listening, ms", "start_ms"),
        ("memory when idle, MiB", "idle_mib"),
        (f"memory per open stream ({streams:,} open), KiB", "kib_per_stream"),
        (f"{streams:,} clients hang up at once: last upstream stream gone, ms", "hang_up_ms"),
        ("CPU in the second after the next, ms", "cpu_ms_after"),
    ]
    rows = [
        [label, _ranged(figure("direct", name)), _ranged(figure("proxy", name))]
        for label, name in labels
    ]
    return _table(["open streams", "direct", "rawproxy"], rows)


def _hang_up_table(found: dict[str, dict[str, list[float]]]) -> str:
    def cell(times: list[float] | None) -> str:
        return f"{median(times):.2f} / {max(times):.2f}" if times else "-"

    rows = [
        [phase.title, cell(sides.get("direct")), cell(sides.get("proxy"))]
        for phase in (*PHASES, CONNECTING)
        if (sides := found.get(phase.name))
    ]
    return _table(["a client hangs up", "direct p50 / max ms", "rawproxy p50 / max ms"], rows)


def format_tables(result: Result) -> str:
    """Return the whole result as Markdown: where and how it was measured, then the tables."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    settings = result["settings"]
    where = (
        f"{result['date']}, commit {machine['commit']}; {machine['cpu']}, "
        f"{machine['cores']} cores, Linux {machine['kernel']}, {machine['python']}, {versions}; "
        f"medians of {settings['rounds']} rounds of {settings['seconds']:g} s (range)."
    )
    parts = [where]
    if result["scenarios"]:
        parts.append(_scenario_table(result["scenarios"]))
    if result["memory"]:
        parts.append(_memory_table(result["memory"]))
    if result["hang_up"]:
        parts.append(_hang_up_table(result["hang_up"]))
    if result["faults"]:
        parts.append(f"**{len(result['faults'])} faults: these figures do not count.**")
    return "\n\n".join(parts)
