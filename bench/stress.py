"""`python -m bench.stress`: what happens to rawproxy when nobody is kind to it.

Slow readers, streams in pieces of a few bytes, an agent's request of 60 KB, a stream that lasts, a
shutdown under load, and one worker or two. In each scene every event is counted, and where the
content has to be the upstream's own, its hash is held against what came without a proxy.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench.processes import (
    Cores,
    Running,
    StartError,
    awake,
    cpu_seconds,
    on_cores,
    plan_cores,
    pss_bytes,
    raise_file_limit,
)
from bench.rig import DEFAULT_PROXY, Load, Rig, find_faults, open_rig, tell
from bench.samples import Samples
from bench.scenarios import SCENARIOS
from bench.slow import SlowReader, content_of, digest, reading_slowly
from bench.tables import markdown
from bench.translation import agent_request

__all__ = [
    "SCENES",
    "main",
    "measure_agent",
    "measure_drain",
    "measure_fragments",
    "measure_long",
    "measure_slow_readers",
    "measure_workers",
]

Scene = tuple[dict[str, float], list[str]]
"""Figures by their names, and what was wrong."""

_LOADS = {scenario.name: scenario.load for scenario in SCENARIOS}

MIB = 2**20

ROUNDS = 3
"""How often workers are compared."""

PATIENCE_SECONDS = 20.0
"""Longest wait until all streams are open."""


# -- what the scenes share


def _run(rig: Rig, load: Load, port: int, *options: str, timeout: float = 60.0) -> dict[str, Any]:
    """Run the load generator to its end and return its report."""
    process = rig.start_load(load, port, *options, "--timeout", str(timeout))
    try:
        written, _ = process.communicate(timeout=timeout + 10)
    finally:
        process.kill()
        process.wait()
    report: dict[str, Any] = json.loads(written)
    return report


def _upstream_hash(rig: Rig, load: Load) -> str:
    """Return the hash of what the mock itself answers."""
    direct = replace(load, connections=1, ramp_ms=0)
    return str(_run(rig, direct, rig.mock.port, "--requests", "1")["hash"])


def _find_lost(report: dict[str, Any], load: Load, wanted: str, streams: int) -> list[str]:
    """Return what is wrong where each of so many streams has to be whole, with the upstream's content."""
    faults = find_faults(report, load) + _find_changes(report, wanted)
    if report["ok"] != streams:
        faults.append(f"{report['ok']} of {streams} streams whole")
    return faults


def _find_changes(report: dict[str, Any], wanted: str) -> list[str]:
    """Return what tells that some reply was not what the upstream had said."""
    if report["hash"] != wanted:
        return ["the content is not the upstream's"]
    if report["hash_other"]:
        return [f"{report['hash_other']} replies have another content"]
    return []


def _stats(rig: Rig) -> dict[str, Any]:
    """Return what the mock tells of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{rig.mock.port}/stats", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _wait_until_asked(rig: Rig, before: int, streams: int) -> list[str]:
    """Wait until the mock was asked `streams` times more than `before`; return what was wrong."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (asked := _stats(rig)["requests"] - before) < streams and time.monotonic() < end:
        time.sleep(0.005)
    return [] if asked >= streams else [f"{asked} of {streams} streams were opened"]


# -- slow readers


def measure_slow_readers(
    rig: Rig, proxy: Running, *, readers: int = 10, events: int = 40_000, seconds: float = 5.0
) -> Scene:
    """Have some clients read slowly a stream that its upstream writes at once, and measure others.

    The others are S3lo, with the slow ones and without. At the end each slow one reads the rest, and
    has to have every byte.
    """
    load = _LOADS["S3lo"]
    model = f"mock-e{events}-d0"
    alone = rig.measure(load, seconds=seconds, proxy=proxy)
    before, stats = pss_bytes(proxy.pid), _stats(rig)
    with reading_slowly(proxy.port, model, readers) as slow:
        faults = _wait_until_asked(rig, stats["requests"], readers)
        beside = rig.measure(load, seconds=seconds, proxy=proxy)
        held = pss_bytes(proxy.pid)
        written = _stats(rig)["events"] - stats["events"] - beside.report["events"]
    faults += [
        f"others, {when}: {fault}"
        for when, one in (("alone", alone), ("beside", beside))
        for fault in find_faults(one.report, load)
    ]
    direct = SlowReader(rig.mock.port, model)
    direct.finish()
    wanted = digest(content_of(direct.got))
    for one in slow:
        try:
            one.finish()
            if digest(content_of(one.got)) != wanted:
                faults.append("a slow reader got another content")
        except (OSError, ValueError) as error:
            faults.append(f"a slow reader: {error}")
    return {
        "slow readers": readers,
        "events that the upstream had written of each": written / readers,
        "events of each": events,
        "memory per slow reader, KiB": (held - before) / 1024 / readers,
        "S3lo alone: CPU us per event": alone.proxy_seconds * 1e6 / alone.report["events"],
        "S3lo beside them: CPU us per event": beside.proxy_seconds * 1e6 / beside.report["events"],
        "S3lo alone: late p99 ms": alone.report["gap_late_us"]["p99"] / 1000,
        "S3lo beside them: late p99 ms": beside.report["gap_late_us"]["p99"] / 1000,
    }, faults


# -- fragments


def measure_fragments(
    rig: Rig, proxy: Running, *, sizes: tuple[int, ...] = (1, 7, 100), requests: int = 40
) -> Scene:
    """Have the upstream write streams in pieces of 1 to N bytes, chunk framing and all."""
    figures: dict[str, float] = {}
    faults: list[str] = []
    whole = Load("chat", "mock-e20-d0", stream=True, connections=8, expect=20)
    wanted = _upstream_hash(rig, whole)
    for size in (0, *sizes):
        for kind in ("chat", "messages"):
            load = replace(whole, kind=kind, model=f"mock-e20-d0-p{size}")
            began = cpu_seconds(proxy.pid)
            report = _run(rig, load, proxy.port, "--requests", str(requests))
            used = cpu_seconds(proxy.pid) - began
            said = f"pieces of 1 to {size} bytes" if size else "whole events"
            said += ", translated" if kind == "messages" else ""
            wrong = find_faults(report, load)
            if report["ok"] != requests:
                wrong.append(f"{report['ok']} of {requests} streams whole")
            if kind == "chat":
                wrong += _find_changes(report, wanted)
            faults += [f"{said}: {fault}" for fault in wrong]
            figures[f"{said}: CPU us per event"] = used * 1e6 / max(1, report["events"])
    return figures, faults


# -- an agent's request


def measure_agent(rig: Rig, proxy: Running, *, seconds: float = 3.0) -> Scene:
    """Send an agent's request of 60 KB, passed on to Anthropic and translated for OpenAI chat.

    The upstream has to get the same body each time, and passed on the very one that was sent.
    """
    figures: dict[str, float] = {}
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for said, model in (("passed", "claude-mock-e1-d0-h1"), ("translated", "mock-e1-d0-h1")):
            asked = {**json.loads(agent_request()), "model": model}
            file = Path(folder, f"{said}.json")
            file.write_text(json.dumps(asked))
            load = Load(
                "messages", model, stream=True, connections=8, expect=1,
                options=("--body-file", str(file)),
            )  # fmt: skip
            _run(rig, load, rig.mock.port, "--requests", "1")
            sent = _stats(rig)["hashed"]
            rig.measure(load, seconds=0.3, proxy=proxy)
            before = _stats(rig)["hashed"]
            measured = rig.measure(load, seconds=seconds, proxy=proxy)
            after = _stats(rig)["hashed"]
            report = measured.report
            wrong = find_faults(report, load)
            if after["requests"] - before["requests"] != report["started"]:
                wrong.append("the upstream was asked another number of times")
            if after["changes"] != before["changes"]:
                wrong.append("the upstream got bodies that differ")
            if said == "passed" and after["hash"] != sent["hash"]:
                wrong.append("the upstream got another body than was sent")
            faults += [f"{said}: {fault}" for fault in wrong]
            figures[f"{said}: bytes sent"] = sent["bytes"]
            figures[f"{said}: bytes that the upstream got"] = after["bytes"]
            figures[f"{said}: CPU us per request"] = (
                measured.proxy_seconds * 1e6 / max(1, report["ok"])
            )
            figures[f"{said}: requests per second"] = report["rps"]
    return figures, faults


# -- a long stream


def measure_long(rig: Rig, proxy: Running, *, seconds: float = 1800.0, streams: int = 50) -> Scene:
    """Hold streams that tell an event every 100 ms for so long; look at memory and CPU meanwhile."""
    events = max(10, int(seconds * 10))
    load = Load(
        "chat", f"mock-e{events}-d100000", stream=True, connections=streams, expect=events,
        gap_us=100_000, ramp_ms=500,
    )  # fmt: skip
    wanted = _upstream_hash(rig, replace(load, model=f"mock-e{events}-d0"))
    before = _stats(rig)["requests"]
    process = rig.start_load(
        load, proxy.port, "--requests", str(streams), "--timeout", str(seconds + 60)
    )
    try:
        faults = _wait_until_asked(rig, before, streams)
        samples: list[tuple[int, float]] = []
        for at in range(1, 11):  # at 5 %, 15 %, and so on
            time.sleep(seconds * (0.05 if at == 1 else 0.1))
            samples.append((pss_bytes(proxy.pid), cpu_seconds(proxy.pid)))
            print(f"long stream: {at * 10 - 5} %", file=sys.stderr, flush=True)
        report = json.loads(process.communicate(timeout=seconds + 90)[0])
    finally:
        process.kill()
        process.wait()
    faults += _find_lost(report, load, wanted, streams)
    memory = [pss for pss, _ in samples]
    per_tenth = streams * seconds  # events in a tenth of the time
    return {
        "seconds": seconds,
        "streams": streams,
        "memory at 5 %, MiB": memory[0] / MIB,
        "memory at 95 %, MiB": memory[-1] / MIB,
        "memory at most, MiB": max(memory) / MIB,
        "first tenth: CPU us per event": (samples[1][1] - samples[0][1]) * 1e6 / per_tenth,
        "last tenth: CPU us per event": (samples[-1][1] - samples[-2][1]) * 1e6 / per_tenth,
        "late p99 ms": report["gap_late_us"]["p99"] / 1000,
    }, faults


# -- a shutdown


def measure_drain(rig: Rig, *, streams: int = 200, seconds: float = 3.0) -> Scene:
    """Send SIGTERM to a proxy with open streams: each has to come to its end, then the proxy's."""
    figures: dict[str, float] = {}
    faults: list[str] = []
    events = int(seconds * 20)
    load = Load("chat", f"mock-e{events}-d50000", stream=True, connections=streams, expect=events)
    wanted = _upstream_hash(rig, replace(load, model=f"mock-e{events}-d0"))
    over_http2 = replace(load, connections=2, options=("--http2", str(streams // 2)))
    for said, asked in (("HTTP/1.1", load), ("HTTP/2", over_http2)):
        with rig.proxy() as proxy:
            before = _stats(rig)["requests"]
            process = rig.start_load(asked, proxy.port, "--requests", str(streams))
            try:
                wrong = _wait_until_asked(rig, before, streams)
                there = rig.open_streams()  # where the machine is busy, some have ended
                if not there:
                    wrong.append("all streams had ended before SIGTERM")
                os.kill(proxy.pid, signal.SIGTERM)
                began = time.monotonic()
                report = json.loads(process.communicate(timeout=60)[0])
                told = time.monotonic() - began
                # Its exit is looked at, and left for `running` to collect.
                ended = os.waitid(os.P_PID, proxy.pid, os.WEXITED | os.WNOWAIT)
                gone = time.monotonic() - began
            finally:
                process.kill()
                process.wait()
        wrong += _find_lost(report, asked, wanted, streams)
        if ended is None or ended.si_status:
            wrong.append(f"the proxy ended with {ended and ended.si_status}")
        faults += [f"{said}: {fault}" for fault in wrong]
        figures[f"{said}: streams open at SIGTERM"] = there
        figures[f"{said}: streams whole"] = report["ok"]
        figures[f"{said}: seconds from SIGTERM to the last stream's end"] = told
        figures[f"{said}: seconds from there to the exit"] = gone - told
    return figures, faults


# -- workers


def measure_workers(
    rig: Rig, command: str, *, counts: tuple[int, ...] = (1, 2), seconds: float = 3.0
) -> Scene:
    """Send S1 to one worker and to several in turns; they may use every core, as the rig does."""
    every = rig.cores.proxy | rig.cores.mock | rig.cores.load
    cores = Cores(every, rig.cores.mock, rig.cores.load)
    load = _LOADS["S1"]
    found = {count: Samples() for count in counts}
    figures: dict[str, float] = {}
    faults: list[str] = []
    with ExitStack() as stack:
        proxies: dict[int, Running] = {}
        for count in counts:
            wide = Rig(rig.mock, cores, f"{command} --workers {count}")
            proxies[count] = stack.enter_context(wide.proxy())
        for number in range(ROUNDS + 1):  # round 0 warms up
            for count, proxy in proxies.items():
                with awake(proxy, among=[*proxies.values()]):
                    measured = rig.measure(load, seconds=seconds if number else 0.5, proxy=proxy)
                if number:
                    found[count].add(measured, load)
                faults += [f"{count}: {fault}" for fault in find_faults(measured.report, load)]
        memory = {count: pss_bytes(proxy.pid) / MIB for count, proxy in proxies.items()}
    for count, samples in found.items():
        figures[f"{count}: requests per second"] = median(samples.per_second)
        figures[f"{count}: CPU us per request"] = median(samples.cpu_us)
        figures[f"{count}: memory, MiB"] = memory[count]
    return figures, faults


# -- all of them


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        seconds: of a run under load.
        long_seconds: of the long stream.
        events: of each slow reader's stream.
        command: starts the proxy.
    """

    seconds: float
    long_seconds: float
    events: int
    command: str


def _with_proxy(measure: Callable[[Rig, Running, Settings], Scene]) -> Callable[..., Scene]:
    """Return the scene in front of a proxy of its own, that has answered before."""

    def scene(rig: Rig, settings: Settings) -> Scene:
        with rig.proxy() as proxy:
            rig.measure(_LOADS["S3lo"], seconds=0.3, proxy=proxy)
            return measure(rig, proxy, settings)

    return scene


SCENES: dict[str, Callable[[Rig, Settings], Scene]] = {
    "slow readers": _with_proxy(
        lambda rig, proxy, how: measure_slow_readers(
            rig, proxy, events=how.events, seconds=how.seconds
        )
    ),
    "fragments": _with_proxy(lambda rig, proxy, _: measure_fragments(rig, proxy)),
    "agent": _with_proxy(lambda rig, proxy, how: measure_agent(rig, proxy, seconds=how.seconds)),
    "drain": lambda rig, _: measure_drain(rig),
    "workers": lambda rig, how: measure_workers(rig, how.command, seconds=how.seconds),
    "long": _with_proxy(lambda rig, proxy, how: measure_long(rig, proxy, seconds=how.long_seconds)),
}


def table(found: dict[str, dict[str, float]]) -> str:
    """Return a row for each figure of each scene."""
    rows = [
        [f"{scene}: {name}", f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"]
        for scene, figures in found.items()
        for name, value in figures.items()
    ]
    return markdown(["scene", "figure"], rows)


def main(words: list[str]) -> int:
    """Play the scenes and print their figures; 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.stress", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    parser.add_argument("--only", metavar="SCENE,...", help=f"of {', '.join(SCENES)}")
    parser.add_argument("--seconds", type=float, help="of the long stream; default: half an hour")
    parser.add_argument("--proxy-command", default=DEFAULT_PROXY, metavar="COMMAND")
    options = parser.parse_args(words)
    chosen = options.only.split(",") if options.only else list(SCENES)
    if unknown := set(chosen) - set(SCENES):
        parser.error(f"no such scene: {', '.join(sorted(unknown))}")
    long_seconds = options.seconds or (10.0 if options.quick else 1800.0)
    settings = Settings(1.5 if options.quick else 5.0, long_seconds, 40_000, options.proxy_command)
    raise_file_limit()
    cores = plan_cores()
    found: dict[str, dict[str, float]] = {}
    faults: list[str] = []
    try:
        with open_rig(cores, options.proxy_command) as rig, on_cores(cores.load):
            for name in chosen:
                print(f"scene: {name}", file=sys.stderr, flush=True)
                found[name], wrong = SCENES[name](rig, settings)
                faults += [f"{name}: {fault}" for fault in wrong]
    except StartError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(table(found))
    return tell(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
