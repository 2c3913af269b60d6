"""Speed and delay: each scenario direct and through every gateway, in interleaved rounds."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.gateways import Gateway
from bench.processes import Running, awake
from bench.rig import Load, Measured, Rig, find_faults

__all__ = ["DIRECT", "SCENARIOS", "Cell", "Scenario", "measure_scenarios"]

DIRECT = "direct"
"""The side without a gateway."""

NOISE_CORES = 0.25
"""A run during which the rest of the machine used more is repeated once."""

FULL_SECONDS = 1.0
"""For which a run goes on, at least, after the last of its streams was opened."""

WARM_UP_SECONDS = 0.3
"""Of load before the first measured run: fills the pool of connections and every cache."""


@dataclass(frozen=True)
class Scenario:
    """One row of the table: a load.

    Attributes:
        quick: a quick run includes it.
        workers: it is measured with two workers, too.
    """

    name: str
    title: str
    load: Load
    quick: bool = True
    workers: bool = False

    @property
    def unit(self) -> str:
        return "event" if self.load.stream else "request"


_BLOCKING = Load("chat", "mock-e0-z1024", stream=False, connections=64, expect=1024)
_BURST = Load("chat", "mock-e100-d0", stream=True, connections=64, expect=100)
_PACED = Load(
    "chat", "mock-e100-d10000", stream=True, connections=200, expect=100, gap_us=10_000,
    ramp_ms=1000,
)  # fmt: skip
_SLOW = Load(
    "chat", "mock-e20-d100000", stream=True, connections=1000, expect=20, gap_us=100_000,
    ramp_ms=1000,
)  # fmt: skip

SCENARIOS = (
    Scenario("S1", "blocking, 1 KB, 64 connections", _BLOCKING, workers=True),
    Scenario(
        "S1m",
        "S1 translated: Anthropic client, chat upstream",
        replace(_BLOCKING, kind="messages"),
        quick=False,
    ),
    Scenario("S2", "64 streams, events back to back", _BURST, quick=False),
    Scenario("S3lo", "20 streams, an event per 10 ms", replace(_PACED, connections=20)),
    Scenario("S3a", "200 streams, an event per 10 ms", _PACED, workers=True),
    Scenario("S3b", "1,000 streams, an event per 10 ms", replace(_PACED, connections=1000)),
    Scenario("S3c", "1,000 streams, an event per 100 ms", _SLOW, quick=False),
    Scenario(
        "S3m",
        "S3a translated: Anthropic client, chat upstream",
        replace(_PACED, kind="messages"),
        quick=False,
    ),
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
    """One scenario of one round on one side: "direct" or a gateway's name."""

    scenario: Scenario
    round: int
    side: str
    measured: Measured
    faults: tuple[str, ...]


@dataclass(frozen=True)
class _Target:
    """A side of a scenario: what is asked of whom."""

    side: str
    load: Load
    server: Running | None = None
    exact: bool = True


def measure_scenarios(
    rig: Rig,
    scenarios: Sequence[Scenario],
    gateways: Mapping[Gateway, Running],
    *,
    rounds: int,
    seconds: float,
) -> Iterator[Cell]:
    """Yield a cell for every round, scenario and side; gateways that wait for their turn sleep."""
    everyone = list(gateways.values())
    plan = {scenario: _find_targets(rig, scenario, gateways) for scenario in scenarios}
    for scenario, targets in plan.items():
        for target in targets:
            if target.server:
                _measure(rig, target, WARM_UP_SECONDS, everyone)
        print(f"warmed up for {scenario.name}", file=sys.stderr)
    for number in range(1, rounds + 1):
        for scenario, targets in plan.items():
            # Which side comes first changes, so that none always finds the machine as the same
            # other one left it. Direct is first always: what it delivers, the others have to.
            direct, *others = targets
            hashes = {}
            for target in [direct, *(others if number % 2 else reversed(others))]:
                lasting = max(seconds, scenario.load.ramp_ms / 1000 + FULL_SECONDS)
                measured = _measure_quietly(rig, target, lasting, everyone)
                hashes[target.side] = measured.report["hash"]
                cell = Cell(
                    scenario,
                    number,
                    target.side,
                    measured,
                    tuple(
                        f"{scenario.name} {target.side}, round {number}: {fault}"
                        for fault in _find_faults(target, measured, hashes[DIRECT])
                    ),
                )
                _report_progress(cell)
                yield cell


def _find_targets(
    rig: Rig, scenario: Scenario, gateways: Mapping[Gateway, Running]
) -> list[_Target]:
    targets = [_Target(DIRECT, scenario.load)]
    for gateway, server in gateways.items():
        load = gateway.adapt(scenario.load, rig.mock.port)
        if load and (scenario.workers or not gateway.wide):
            exact = gateway.exact and not scenario.load.translated
            targets.append(_Target(gateway.name, load, server, exact))
    return targets


def _find_faults(target: _Target, measured: Measured, expected: str) -> list[str]:
    """Return what is wrong with what arrived; of a side that passes it on, with every byte."""
    report = measured.report
    faults = find_faults(report, target.load)
    if target.exact and report["ok"]:
        if report["hash_other"]:
            faults.append(f"{report['hash_other']} replies were another text than the first")
        if report["hash"] != expected:
            faults.append("the replies are not what the upstream sent")
    return faults


def _measure(rig: Rig, target: _Target, seconds: float, everyone: Sequence[Running]) -> Measured:
    if not target.server:
        return rig.measure(target.load, seconds=seconds, proxy=None)
    with awake(target.server, among=everyone):
        return rig.measure(target.load, seconds=seconds, proxy=target.server)


def _measure_quietly(
    rig: Rig, target: _Target, seconds: float, everyone: Sequence[Running]
) -> Measured:
    measured = _measure(rig, target, seconds, everyone)
    if measured.other_cores > NOISE_CORES:
        again = _measure(rig, target, seconds, everyone)
        measured = min(measured, again, key=lambda one: one.other_cores)
    return measured


def _report_progress(cell: Cell) -> None:
    report = cell.measured.report
    rate = report["events_per_s" if cell.scenario.load.stream else "rps"]
    noise = cell.measured.other_cores
    print(
        f"round {cell.round} {cell.scenario.name:5}{cell.side:20}{rate:>10,.0f} "
        f"{cell.scenario.unit}s/s" + (f"  (others used {noise:.2f} cores)" if noise > 0.1 else ""),
        file=sys.stderr,
    )
