"""A result as Markdown: a function for each section, and one for all of them.

A section's function takes what the result holds under the section's name, and returns its text.
To add one: write the function, and name it in `SECTIONS`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from bench.floors import judge
from bench.gateways import OURS, TWO_WORKERS
from bench.hangup import CONNECTING, PHASES
from bench.report import Figure, Result, spread
from bench.scenarios import DIRECT, SCENARIOS
from bench.tables import markdown

__all__ = ["SECTIONS", "format_tables"]


def number(value: float) -> str:
    """Return a figure with three digits that say something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _median(figure: Figure | None) -> str:
    return number(figure["median"]) if figure else "-"


def _ranged(figure: Figure | None) -> str:
    if not figure:
        return "-"
    return f"{number(figure['median'])} ({number(figure['min'])}-{number(figure['max'])})"


def _sides(rows: Iterable[Iterable[str]]) -> list[str]:
    """Return every side that some row has, direct first, then in the order of the run."""
    return list(dict.fromkeys(side for row in rows for side in row))


def _scenario_tables(found: dict[str, Any]) -> str:
    scenarios = [one for one in SCENARIOS if one.name in found]
    sides = _sides(found[one.name] for one in scenarios)
    behind = [side for side in sides if side not in (DIRECT, TWO_WORKERS)]

    def rows(cell: Callable[[dict[str, Any], str], str], columns: Sequence[str]) -> list[list[str]]:
        made = [
            [f"**{one.name}** {one.title}", *(cell(found[one.name], side) for side in columns)]
            for one in scenarios
        ]
        return [row for row in made if set(row[1:]) - {"-"}]

    def figure(name: str, form: Callable[[Figure | None], str] = _median) -> Any:
        return lambda row, side: form(row.get(side, {}).get(name))

    tables = [
        ("CPU us per event (S1, S1m: per request)", figure("cpu_us", _ranged), behind),
        ("CPU, of rawproxy's", _cpu_of_ours, [side for side in behind if side != OURS]),
        (
            "delivered per second: events (S1, S1m: replies)",
            figure("per_second"),
            [DIRECT, *behind],
        ),
        ("added delay, median, ms", figure("added_p50_ms"), behind),
        ("added delay, 99th percentile, ms", figure("added_p99_ms"), behind),
        ("lateness of events, 99th percentile, ms", figure("late_p99_ms"), [DIRECT, *behind]),
    ]
    texts = [
        markdown([title, *columns], found_rows)
        for title, cell, columns in tables
        if (found_rows := rows(cell, columns))
    ]
    if TWO_WORKERS in sides:
        texts.append(_workers_table(found))
    return "\n\n".join(texts)


def _cpu_of_ours(row: dict[str, Any], side: str) -> str:
    """Return how many times our CPU time another side's is: the median over the rounds."""
    theirs, ours = (row.get(one, {}).get("cpu_us", {}).get("values") for one in (side, OURS))
    if not theirs or not ours:
        return "-"
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    return f"{number(median(ratios))}x"


def _workers_table(found: dict[str, Any]) -> str:
    both = (OURS, TWO_WORKERS)
    rows = [
        [f"**{one.name}** {one.title}"]
        + [_ranged(row[side][figure]) for figure in ("cpu_us", "per_second") for side in both]
        for one in SCENARIOS
        if TWO_WORKERS in (row := found.get(one.name, {}))
    ]
    header = ["workers", "1: CPU us", "2: CPU us", "1: per second", "2: per second"]
    return markdown(header, rows)


def _memory_tables(found: dict[str, list[dict[str, Any]]]) -> str:
    # None at all: that gateway did not get so far, and a remark says so.
    counts = sorted({run["streams"] for runs in found.values() for run in runs} - {0})

    def rows(figure: str) -> list[list[str]]:
        made = []
        for side, runs in found.items():
            cells = []
            for count in counts:
                values = [run[figure] for run in runs if run["streams"] == count]
                known = [value for value in values if value is not None]
                cells.append(_median(spread(known) if known else None))
            if set(cells) != {"-"}:
                made.append([side, *cells])
        return made

    tables = [
        ("memory per open stream, KiB; streams open:", "kib_per_stream"),
        ("memory when idle, MiB; before streams:", "idle_mib"),
        ("CPU us per event; streams open:", "event_us"),
        ("CPU us to open a stream; streams:", "open_us"),
        ("all clients hang up at once: last upstream stream gone, ms; streams:", "hang_up_ms"),
        ("CPU ms in the second after the next; streams:", "cpu_ms_after"),
    ]
    header = [f"{count:,}" for count in counts]
    texts = [markdown([title, *header], made) for title, figure in tables if (made := rows(figure))]
    return "\n\n".join(texts)


def _hang_up_table(found: dict[str, dict[str, list[float]]]) -> str:
    def cell(times: list[float] | None) -> str:
        return f"{median(times):.2f} / {max(times):.2f}" if times else "-"

    sides = _sides(found.values())
    rows = [
        [phase.title, *(cell(of_phase.get(side)) for side in sides)]
        for phase in (*PHASES, CONNECTING)
        if (of_phase := found.get(phase.name))
    ]
    return markdown(["a client hangs up: upstream closed after p50 / max ms", *sides], rows)


def _start_table(found: dict[str, Any]) -> str:
    rows = [
        [f"{side}: {title}", _ranged(spread(run[figure] for run in runs))]
        for side, runs in found["gateways"].items()
        for figure, title in (("listening_ms", "listens"), ("answered_ms", "has answered a call"))
    ]
    rows += [
        [title, _ranged(spread(found[what]))]
        for what, title in (
            ("import_ms", "`import rawproxy.dialects`, CPU"),
            ("import_pair_ms", "the same with two dialects looked up"),
            ("import_all_ms", "the same with all dialects looked up"),
        )
    ]
    return markdown(["from its start", "ms"], rows)


def _floor_table(result: Result) -> str:
    rows = [
        [one.name, one.measured, one.floor, one.holds_floor, one.moonshot, one.holds_moonshot]
        for one in judge(result)
    ]
    return markdown(["target", "measured", "floor", "holds", "moonshot", "holds"], rows)


def _own_table(found: dict[str, Any]) -> str:
    text: str = found["table"]
    return text


SECTIONS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "scenarios": ("Events and requests", _scenario_tables),
    "memory": ("Open streams", _memory_tables),
    "hang_up": ("A client hangs up", _hang_up_table),
    "start": ("Start", _start_table),
    "tls": ("TLS", _own_table),
    "http2": ("HTTP/2 to the client", _own_table),
}
"""The parts of a result: title, and what makes its text."""


def _where(result: Result) -> str:
    machine = result["machine"]
    versions = machine["versions"] | {
        name: version for name, version in result.get("gateways", {}).items() if version
    }
    settings = result["settings"]
    text = (
        f"{result['date']}, commit {machine['commit']}; {machine['cpu']}, "
        f"{machine['cores']} cores, Linux {machine['kernel']}, {machine['python']}, "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}; "
        f"medians of {settings['rounds']} rounds of {settings['seconds']:g} s (range)."
    )
    if busy := [
        value
        for sides in result.get("scenarios", {}).values()
        for side in sides.values()
        for value in side.get("other_cores", {}).get("values", [])
    ]:
        text += f" Meanwhile the rest of the machine used {median(busy):.2f} cores (median)."
    missing = [f"without {name}: {why}." for name, why in result.get("missing", {}).items()]
    return "\n".join([text, *missing])


def _remarks(remarks: Sequence[str]) -> str:
    """Return each of them once, and how many times it was said."""
    counted = Counter(remarks).items()
    return "\n".join(
        f"- {one}" + (f" ({times} times)" if times > 1 else "") for one, times in counted
    )


def format_tables(result: Result) -> str:
    """Return the whole result: where and how it was measured, the targets, then each section."""
    parts = [_where(result)]
    if result["faults"]:
        parts.append(f"**{len(result['faults'])} faults: these figures do not count.**")
    if result.get("scenarios") or result.get("memory"):
        parts += ["## Targets", _floor_table(result)]
    for name, (title, text) in SECTIONS.items():
        if result.get(name):
            parts += [f"## {title}", text(result[name])]
    if remarks := result.get("remarks"):
        parts += ["## What went wrong with others", _remarks(remarks)]
    return "\n\n".join(parts)
