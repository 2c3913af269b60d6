"""`python -m bench.http2`: what HTTP/2 downstream costs, beside our own HTTP/1.1 in the same run.

Clients speak HTTP/2 with prior knowledge, many requests at once on a connection; the upstream speaks
HTTP/1.1 in every row. Requests are sent by h2load too, where it is installed (nghttp2-client): a client
that is not ours, which counts only statuses.

The CPU time of an event includes that of the request it answers: where a stream has few events, the
opening weighs more than they do. Compare such a row with its neighbour, not with the rows above.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.processes import (
    Running,
    StartError,
    cpu_seconds,
    on_cores,
    plan_cores,
    raise_file_limit,
)
from bench.rig import DEFAULT_PROXY, Load, Rig, find_faults, open_rig, tell
from bench.samples import Samples
from bench.scenarios import SCENARIOS
from bench.tables import markdown

__all__ = ["ROWS", "Row", "main", "measure_h2load", "measure_http2"]

WARM_UP_SECONDS = 0.5

ROUNDS, SECONDS = 3, 3.0

QUICK_ROUNDS, QUICK_SECONDS = 1, 1.2

H2LOAD_REQUESTS, H2LOAD_QUICK = 20_000, 3_000

VERSIONS = ("HTTP/1.1", "HTTP/2")

_LOADS = {scenario.name: scenario.load for scenario in SCENARIOS}


@dataclass(frozen=True)
class Row:
    """One load over both versions.

    Attributes:
        name: what it is.
        load: over HTTP/1.1, a connection for each.
        connections: of HTTP/2; each has its share of the streams.
        once: each stream is opened once, and read to its end; else for as long as is measured.
        both: over HTTP/1.1 too, which takes a descriptor for each stream.
    """

    name: str
    load: Load
    connections: int
    once: bool = False
    both: bool = True

    def over(self, version: str) -> Load:
        """Return the load as it is asked over `version`."""
        streams, options = self.load.connections, self.load.options
        if self.once:
            options += ("--requests", str(streams))
        if version == "HTTP/1.1":
            return replace(self.load, options=options)
        options += ("--http2", str(streams // self.connections))
        return replace(self.load, connections=self.connections, options=options)


def _many(streams: int, events: int, pace_us: int, ramp_ms: int) -> Load:
    model = f"mock-e{events}-d{pace_us}"
    return Load(
        "chat", model, stream=True, connections=streams, expect=events, gap_us=pace_us,
        ramp_ms=ramp_ms,
    )  # fmt: skip


ROWS = (
    Row("S1, 64 requests at once", _LOADS["S1"], 4),
    Row("S3lo, 20 streams", _LOADS["S3lo"], 1),
    Row("S3a, 200 streams", _LOADS["S3a"], 2),
    Row("1,000 streams, an event per 100 ms", _many(1000, 50, 100_000, 1000), 10, once=True),
    Row("10,000 streams, an event per 2 s", _many(10_000, 20, 2_000_000, 10_000), 100, once=True, both=False),
)  # fmt: skip

QUICK_ROWS = (
    *ROWS[:3],
    replace(ROWS[3], load=_many(1000, 20, 100_000, 1000)),
    replace(ROWS[4], load=_many(10_000, 3, 2_000_000, 6_000)),
)


Results = dict[str, dict[str, Samples]]
"""Of a row's name and a version."""


def measure_http2(
    rig: Rig, proxy: Running, rows: tuple[Row, ...], *, rounds: int, seconds: float
) -> tuple[Results, list[str]]:
    """Return what each row costs over both versions, and what was wrong."""
    results: Results = {row.name: {version: Samples() for version in VERSIONS} for row in rows}
    faults: list[str] = []
    for version in VERSIONS:
        rig.measure(rows[0].over(version), seconds=WARM_UP_SECONDS, proxy=proxy)
    for row, version in _plan(rows, rounds):
        load = row.over(version)
        lasting = _lasting(row.load) if row.once else seconds
        measured = rig.measure(load, seconds=lasting, proxy=proxy)
        results[row.name][version].add(measured, load)
        wrong = find_faults(measured.report, load)
        if row.once and measured.report["ok"] != row.load.connections:
            wrong.append(f"{measured.report['ok']} of {row.load.connections} streams whole")
        faults += [f"{row.name}, {version}: {fault}" for fault in wrong]
    return results, faults


def _plan(rows: tuple[Row, ...], rounds: int) -> Iterator[tuple[Row, str]]:
    """Yield what is measured in turn; long rows, of many streams, are in the first round only."""
    for number in range(1, rounds + 1):
        for row in rows:
            if row.once and number > 1:
                continue
            print(f"round {number} of {rounds}: {row.name}", file=sys.stderr, flush=True)
            if row.both:
                yield from ((row, version) for version in VERSIONS[:: 1 if number % 2 else -1])
            else:
                yield row, VERSIONS[1]


def _lasting(load: Load) -> float:
    """Return how many seconds all streams take when each is opened once."""
    return (load.ramp_ms / 1000) + load.expect * load.gap_us / 1e6


# -- h2load


def measure_h2load(
    rig: Rig, proxy: Running, *, requests: int, connections: int = 4, streams: int = 16
) -> tuple[float, float, list[str]]:
    """Return CPU us per request and requests per second as h2load sends them, and what was wrong.

    Raises:
        StartError: it is not installed.
    """
    program = shutil.which("h2load")
    if not program:
        raise StartError("no h2load (Debian: nghttp2-client)")
    said = [{"role": "user", "content": "You are given a failing test. " * 40}]
    body = json.dumps({"model": _LOADS["S1"].model, "stream": False, "messages": said})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "body.json")
        file.write_text(body)
        command = [
            program, "-n", str(requests), "-c", str(connections), "-m", str(streams), "-t", "1",
            "-d", str(file), "-H", "content-type: application/json",
            "-H", "authorization: Bearer sk-test-0123456789abcdef",
            f"http://127.0.0.1:{proxy.port}/v1/chat/completions",
        ]  # fmt: skip
        began = cpu_seconds(proxy.pid)
        with on_cores(rig.cores.load):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        used = cpu_seconds(proxy.pid) - began
    return used * 1e6 / requests, *_read_h2load(done.stdout, requests)


def _read_h2load(said: str, requests: int) -> tuple[float, list[str]]:
    """Return the rate that h2load tells, and what was wrong."""
    good = re.search(r"^status codes: (\d+) 2xx", said, re.MULTILINE)
    rate = re.search(r"^finished in .*?, ([\d.]+) req/s", said, re.MULTILINE)
    count = int(good[1]) if good else 0
    faults = [] if count == requests else [f"h2load: {count} of {requests} requests were answered"]
    return float(rate[1]) if rate else 0.0, faults


# -- the table


def table(results: Results) -> str:
    """Return a row for each load: what a unit costs over both versions, and the ratio."""
    header = ["load", "HTTP/1.1 CPU us", "HTTP/2 CPU us", "ratio", "HTTP/1.1 /s", "HTTP/2 /s"]
    header += ["HTTP/1.1 late p99 ms", "HTTP/2 late p99 ms"]
    rows = []
    for name, found in results.items():
        one, two = (found[version] for version in VERSIONS)
        figures = [one.cpu, two.cpu, two.ratio_to(one), one.rate, two.rate, one.late, two.late]
        rows.append([name, *figures])
    return markdown(header, rows)


def section(results: Results) -> dict[str, Any]:
    """Return what a result keeps: the table, and how many times one over HTTP/1.1 an event costs."""
    one, two = VERSIONS
    ratios = [
        ratio
        for name, found in results.items()
        if name.startswith("S3")
        for ratio in found[two].ratios_to(found[one])
    ]
    return {"table": table(results), "ratios": {"event": ratios}}


def main(words: list[str]) -> int:
    """Print the table; 1 when a reply was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.http2", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, fewer events")
    parser.add_argument("--rounds", type=int, help="how many times the first three are measured")
    parser.add_argument("--proxy-command", default=DEFAULT_PROXY, metavar="COMMAND")
    options = parser.parse_args(words)
    raise_file_limit()
    cores = plan_cores()
    with (
        open_rig(cores, options.proxy_command) as rig,
        on_cores(cores.load),
        rig.proxy() as proxy,
    ):
        results, faults = measure_http2(
            rig,
            proxy,
            QUICK_ROWS if options.quick else ROWS,
            rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
            seconds=QUICK_SECONDS if options.quick else SECONDS,
        )
        print(table(results))
        try:
            requests = H2LOAD_QUICK if options.quick else H2LOAD_REQUESTS
            cpu, rate, wrong = measure_h2load(rig, proxy, requests=requests)
        except StartError as error:
            print(f"bench: {error}", file=sys.stderr)
        else:
            faults += wrong
            print(f"\nS1 by h2load, 64 requests at once: {cpu:.1f} us a request, {rate:,.0f} /s")
    return tell(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
