"""Memory per open stream, and what happens when all clients of them hang up at once."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.processes import Running, cpu_seconds, pss_bytes
from bench.rig import Load, Rig, find_faults

__all__ = ["Holding", "measure_memory"]

# One event a second for longer than the run: open, and almost idle.
_SLOW = Load("chat", "mock-e1000-d1000000", stream=True, connections=1000, expect=-1, ramp_ms=1000)

# A first stream and a first reply make the proxy load what it loads late: that is not a stream's.
_WARM_UP = Load("chat", "mock-e10-d0", stream=True, connections=4, expect=10)

SETTLE_SECONDS = 1.5
"""Between the last stream's start and the reading: each has had an event by then."""

OPEN_SECONDS = 20.0
"""Longest wait until all streams are open, or all are gone."""

REST_SECONDS = 1.0
"""A second after a hang-up the proxy should be idle: its CPU time is read over the one after."""

POLL_SECONDS = 0.001


@dataclass(frozen=True)
class Holding:
    """One run: `streams` open streams held, then hung up on all at once.

    Memory is of the proxy alone and both of its sides: the sockets' buffers are the kernel's and
    not in it. `hang_up_ms` is how long the upstream went on writing to some client that had left;
    `cpu_ms_after` the proxy's CPU time in the second that starts a second after the hang-up.
    """

    streams: int
    hang_up_ms: float
    start_ms: float | None = None
    idle_mib: float | None = None
    kib_per_stream: float | None = None
    cpu_ms_after: float | None = None


def measure_memory(
    rig: Rig, *, streams: int, runs: int, with_proxy: bool
) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Return the runs of each side ("direct", "proxy"), and what went wrong.

    Every run has a new proxy: one that has seen load keeps memory that new streams then reuse.
    """
    found: dict[str, list[dict[str, Any]]] = {"direct": []}
    faults: list[str] = []
    for number in range(1, runs + 1):
        holdings = {"direct": _hold(rig, None, streams)}
        if with_proxy:
            with rig.proxy() as proxy:
                faults += _warm_up(rig, proxy)
                holdings["proxy"] = _hold(rig, proxy, streams)
        for side, holding in holdings.items():
            found.setdefault(side, []).append(asdict(holding))
            if holding.streams != streams:
                faults.append(f"memory {side}: {holding.streams} of {streams} streams open")
            if holding.hang_up_ms >= OPEN_SECONDS * 1000:
                faults.append(f"memory {side}: streams still open {OPEN_SECONDS} s after hang-up")
            _report_progress(number, side, holding)
    return found, faults


def _warm_up(rig: Rig, proxy: Running) -> list[str]:
    report = rig.measure(_WARM_UP, seconds=0.2, proxy=proxy).report
    return [f"memory warm-up: {fault}" for fault in find_faults(report, _WARM_UP)]


def _hold(rig: Rig, proxy: Running | None, streams: int) -> Holding:
    idle = pss_bytes(proxy.pid) if proxy else 0
    with _held_open(rig, proxy, streams) as process:
        opened = _wait_for_streams(rig, streams)
        time.sleep(SETTLE_SECONDS)
        held = pss_bytes(proxy.pid) if proxy else 0
        left_at = time.monotonic()
        process.kill()  # the kernel closes all of its sockets
        process.wait()
        _wait_for_streams(rig, 0)
        hang_up_ms = (time.monotonic() - left_at) * 1000
    if not proxy:
        return Holding(opened, hang_up_ms)
    time.sleep(max(0.0, REST_SECONDS - hang_up_ms / 1000))
    used = cpu_seconds(proxy.pid)
    time.sleep(REST_SECONDS)
    return Holding(
        opened,
        hang_up_ms,
        start_ms=proxy.start_seconds * 1000,
        idle_mib=idle / 2**20,
        kib_per_stream=(held - idle) / 2**10 / streams,
        cpu_ms_after=(cpu_seconds(proxy.pid) - used) * 1000,
    )


@contextmanager
def _held_open(rig: Rig, proxy: Running | None, streams: int) -> Iterator[Any]:
    load = replace(_SLOW, connections=streams)
    port = proxy.port if proxy else rig.mock.port
    process = rig.start_load(load, port, "--requests", str(streams))
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _wait_for_streams(rig: Rig, wanted: int) -> int:
    """Wait until the mock writes as many streams as `wanted`; return how many it writes."""
    end = time.monotonic() + OPEN_SECONDS
    while (there := rig.open_streams()) != wanted and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    return there


def _report_progress(number: int, side: str, holding: Holding) -> None:
    memory = "" if holding.kib_per_stream is None else f"{holding.kib_per_stream:.1f} KiB each, "
    print(
        f"memory {number} {side:7}{holding.streams} streams, {memory}"
        f"all gone {holding.hang_up_ms:.0f} ms after the hang-up",
        file=sys.stderr,
    )
