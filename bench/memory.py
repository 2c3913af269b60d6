"""What open streams cost: memory and CPU of each; and what happens when all clients hang up at once."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from bench.gateways import Gateway, started
from bench.processes import Running, StartError, cpu_seconds, pss_bytes
from bench.rig import Load, Rig, find_faults
from bench.scenarios import DIRECT

__all__ = ["Holding", "measure_memory"]

DIRECT_RATE = 5000

# A first stream and a first reply make a gateway load what it loads late: that is not a stream's.
_WARM_UP = Load("chat", "mock-e10-d0", stream=True, connections=4, expect=10)

ENDLESS = 1_000_000
"""Events of a stream: more than there is time for."""

OPENED_PER_SECOND = 1000

SETTLE_SECONDS = 1.0
"""After every stream had time for an event, before anything is read."""

WATCH_SECONDS = 2.0
"""Over which the cost of events is taken."""

OPEN_SECONDS = 60.0
"""Longest wait until all streams are open."""

GONE_SECONDS = 15.0
"""Longest wait until all streams are gone after their clients."""

REST_SECONDS = 1.0
"""A second after a hang-up a gateway should be idle: its CPU time is read over the one after."""

POLL_SECONDS = 0.001


@dataclass(frozen=True)
class Holding:
    """One run: `streams` open streams held, then hung up on all at once.

    Memory is of the gateway alone and both of its sides: the sockets' buffers are the kernel's and
    not in it.

    Attributes:
        streams: how many were open.
        hang_up_ms: how long the upstream went on writing to some client that had left.
        idle_mib: before, after a few calls.
        kib_per_stream: what was more then, divided by the streams.
        open_us: CPU time to open one, without the events that were relayed meanwhile.
        event_us: CPU time of an event while all of them were open.
        cpu_ms_after: CPU time in the second that starts a second after the hang-up.
    """

    streams: int
    hang_up_ms: float
    idle_mib: float | None = None
    kib_per_stream: float | None = None
    open_us: float | None = None
    event_us: float | None = None
    cpu_ms_after: float | None = None


def measure_memory(
    rig: Rig, gateways: Sequence[Gateway], *, streams: Sequence[int]
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[str]]]:
    """Return the runs of each side, and what went wrong there.

    Every run has a new process: one that has seen load keeps memory that new streams then reuse.
    """
    sides: list[Gateway | None] = [None, *gateways]
    found: dict[str, list[dict[str, Any]]] = {}
    faults: dict[str, list[str]] = {}
    for number, count in enumerate(streams, 1):
        for gateway in sides:
            side = gateway.name if gateway else DIRECT
            if gateway and count > gateway.most_streams:
                continue
            holding, wrong = _measure_once(rig, gateway, count)
            wrong = [f"memory {side}, {count:,} streams: {fault}" for fault in wrong]
            faults.setdefault(side, []).extend(wrong)
            if holding:
                found.setdefault(side, []).append(asdict(holding))
                _report_progress(number, side, holding)
    return found, faults


def _measure_once(
    rig: Rig, gateway: Gateway | None, count: int
) -> tuple[Holding | None, list[str]]:
    rate = gateway.event_rate if gateway else DIRECT_RATE
    wanted = Load(
        "chat",
        f"mock-e{ENDLESS}-d{count * 1_000_000 // rate}",
        stream=True,
        connections=count,
        expect=-1,
        ramp_ms=count * 1000 // OPENED_PER_SECOND,
    )
    if not gateway:
        holding = _hold(rig, None, wanted)
        return holding, _find_faults(holding, count)
    load, warm_up = (gateway.adapt(one, rig.mock.port) for one in (wanted, _WARM_UP))
    if not load or not warm_up:
        return None, []
    try:
        with started(gateway, rig.cores, rig.mock.port) as server:
            report = rig.measure(warm_up, seconds=0.2, proxy=server).report
            holding = _hold(rig, server, load)
    except StartError as error:
        return None, [str(error)]
    return holding, find_faults(report, warm_up) + _find_faults(holding, count)


def _find_faults(holding: Holding, count: int) -> list[str]:
    faults = []
    if holding.streams != count:
        faults.append(f"{holding.streams:,} were open")
    if holding.hang_up_ms >= GONE_SECONDS * 1000:
        faults.append(f"some were still open {GONE_SECONDS:.0f} s after their clients had left")
    return faults


def _hold(rig: Rig, server: Running | None, load: Load) -> Holding:
    gap_seconds = int(load.model.rpartition("-d")[2]) / 1e6
    idle = pss_bytes(server.pid) if server else 0
    cpu_before, events_before = _spent(rig, server)
    with _held_open(rig, server, load) as process:
        opened = _wait_for_streams(rig, load.connections, OPEN_SECONDS)
        cpu_open, events_open = _spent(rig, server)
        time.sleep(gap_seconds + SETTLE_SECONDS)
        cpu_began, events_began = _spent(rig, server)
        time.sleep(WATCH_SECONDS)
        cpu_ended, events_ended = _spent(rig, server)
        held = pss_bytes(server.pid) if server else 0
        left_at = time.monotonic()
        process.kill()  # the kernel closes all of its sockets
        process.wait()
        _wait_for_streams(rig, 0, GONE_SECONDS)
        hang_up_ms = (time.monotonic() - left_at) * 1000
    if not server:
        return Holding(opened, hang_up_ms)
    time.sleep(max(0.0, REST_SECONDS - hang_up_ms / 1000))
    used = cpu_seconds(server.pid)
    time.sleep(REST_SECONDS)
    event_seconds = (cpu_ended - cpu_began) / max(events_ended - events_began, 1)
    opening = cpu_open - cpu_before - (events_open - events_before) * event_seconds
    return Holding(
        opened,
        hang_up_ms,
        idle_mib=idle / 2**20,
        kib_per_stream=(held - idle) / 2**10 / load.connections,
        open_us=opening / load.connections * 1e6,
        event_us=event_seconds * 1e6,
        cpu_ms_after=(cpu_seconds(server.pid) - used) * 1000,
    )


def _spent(rig: Rig, server: Running | None) -> tuple[float, int]:
    """Return the gateway's CPU time and how many events the mock has written, by now."""
    return (cpu_seconds(server.pid) if server else 0.0), rig.stats()["events"]


@contextmanager
def _held_open(rig: Rig, server: Running | None, load: Load) -> Iterator[Any]:
    port = server.port if server else rig.mock.port
    words = ("--requests", str(load.connections), "--timeout", "600")
    process = rig.start_load(load, port, *words)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _wait_for_streams(rig: Rig, wanted: int, seconds: float) -> int:
    """Wait until the mock writes as many streams as `wanted`; return how many it writes."""
    end = time.monotonic() + seconds
    while (there := rig.stats()["streams"]) != wanted and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    return there


def _report_progress(number: int, side: str, holding: Holding) -> None:
    memory = "" if holding.kib_per_stream is None else f"{holding.kib_per_stream:.1f} KiB each, "
    cost = "" if holding.event_us is None else f"{holding.event_us:.1f} us an event, "
    print(
        f"memory {number} {side:20}{holding.streams:,} streams, {memory}{cost}"
        f"all gone {holding.hang_up_ms:.0f} ms after the hang-up",
        file=sys.stderr,
    )
