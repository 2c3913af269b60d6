"""Speed and delay: each scenario direct and through the proxy, in interleaved rounds."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.processes import Running
from bench.rig import Load, Measured, Rig, find_faults

__all__ = ["SCENARIOS", "Cell", "Scenario", "measure_scenarios"]

NOISE_CORES = 0.25
"""A run during which the rest of the machine used more is repeated once."""

WARM_UP_SECONDS = 0.5
"""Of load before the first measured run: fills the pool of connections and every cache."""


@dataclass(frozen=True)
class Scenario:
    """One row of the table: a load, and whether a quick run includes it."""

    name: str
    title: str
    load: Load
    quick: bool = True

    @property
    def unit(self) -> str:
        return "event" if self.load.stream else "request"


_BLOCKING = Load("chat", "mock-e0-z1024", stream=False, connections=64, expect=1024)
_BURST = Load("chat", "mock-e100-d0", stream=True, connections=64, expect=100)
_PACED = Load(
    "chat", "mock-e100-d10000", stream=True, connections=200, expect=100, gap_us=10_000,
    ramp_ms=1000,
)  # fmt: skip

SCENARIOS = (
    Scenario("S1", "blocking, 1 KB, 64 connections", _BLOCKING),
    Scenario(
        "S1m",
        "S1 translated: Anthropic client, chat upstream",
        replace(_BLOCKING, kind="messages"),
        quick=False,
    ),
    Scenario("S2", "64 streams, events back to back", _BURST),
    Scenario("S3a", "200 streams, an event per 10 ms", _PACED),
    Scenario("S3lo", "20 streams, an event per 10 ms", replace(_PACED, connections=20)),
    Scenario(
        "S5",
        "S2 translated: Anthropic client, chat upstream",
        replace(_BURST, kind="messages"),
    ),
    Scenario(
        "S5r",
        "S2 translated: chat client, Anthropic upstream",
        replace(_BURST, model="claude-mock-e100-d0"),
        quick=False,
    ),
)


@dataclass(frozen=True)
class Cell:
    """One scenario of one round on one side: "direct" or "proxy"."""

    scenario: Scenario
    round: int
    side: str
    measured: Measured

    @property
    def faults(self) -> list[str]:
        found = find_faults(self.measured.report, self.scenario.load)
        return [f"{self.scenario.name} {self.side}, round {self.round}: {fault}" for fault in found]


def measure_scenarios(
    rig: Rig,
    scenarios: Sequence[Scenario],
    *,
    proxy: Running | None,
    rounds: int,
    seconds: float,
) -> Iterator[Cell]:
    """Yield a cell for every round, scenario and side; only the direct side without a proxy."""
    sides: list[tuple[str, Running | None]] = [("direct", None)]
    if proxy:
        sides.append(("proxy", proxy))
        for scenario in scenarios:
            rig.measure(scenario.load, seconds=WARM_UP_SECONDS, proxy=proxy)
    for number in range(1, rounds + 1):
        for scenario in scenarios:
            # Which side comes first changes, so that neither always finds the machine as the
            # other left it.
            for side, target in sides if number % 2 else reversed(sides):
                cell = _measure_quietly(rig, scenario, number, side, target, seconds)
                _report_progress(cell)
                yield cell


def _measure_quietly(
    rig: Rig, scenario: Scenario, number: int, side: str, target: Running | None, seconds: float
) -> Cell:
    measured = rig.measure(scenario.load, seconds=seconds, proxy=target)
    if measured.other_cores > NOISE_CORES:
        again = rig.measure(scenario.load, seconds=seconds, proxy=target)
        measured = min(measured, again, key=lambda one: one.other_cores)
    return Cell(scenario, number, side, measured)


def _report_progress(cell: Cell) -> None:
    report = cell.measured.report
    rate = report["events_per_s" if cell.scenario.load.stream else "rps"]
    noise = cell.measured.other_cores
    print(
        f"round {cell.round} {cell.scenario.name:5}{cell.side:7}{rate:>10,.0f} "
        f"{cell.scenario.unit}s/s" + (f"  (others used {noise:.2f} cores)" if noise > 0.1 else ""),
        file=sys.stderr,
    )
