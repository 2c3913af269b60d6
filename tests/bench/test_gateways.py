"""Gateways in a run: started, put to sleep, asked, and held to what arrives directly.

A second mock stands for each gateway. Nothing is about speed.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import memory
from bench.gateways import Gateway, Launch, rawproxy, started, started_all, two_workers
from bench.processes import StartError, awake, build, free_port, plan_cores, running
from bench.report import summarise_scenarios
from bench.rig import Load, Rig
from bench.scenarios import SCENARIOS, Scenario, measure_scenarios
from bench.sections import format_tables
from bench.start import measure_starts

BLOCKING = Scenario("S1", "", Load("chat", "mock-e0-z100", stream=False, connections=2, expect=100))
STREAM = Scenario("S2", "", Load("chat", "mock-e3-d0", stream=True, connections=2, expect=3))
TRANSLATED = replace(BLOCKING, name="S1m", load=replace(BLOCKING.load, kind="messages"))


def mock(_folder: Path, _upstream: int) -> Launch:
    return Launch([str(build("mock")), "0"])


def changed(load: Load, _port: int) -> Load | None:
    """A gateway that says something else than the upstream does."""
    return replace(load, model="mock-e0-z101") if not load.stream else load


def never(_load: Load, _port: int) -> Load | None:
    return None


GOOD = Gateway("good", mock, exact=True)
CHANGING = Gateway("changing", mock, changed, exact=True)
FREE = Gateway("free", mock, changed)
UNABLE = Gateway("unable", mock, never)
WIDE = Gateway("wide", mock, wide=True)
DEAD = Gateway("dead", lambda *_: Launch([sys.executable, "-c", "import sys; sys.exit('no')"]))


def wait_until_stopped(pid: int) -> None:
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.slow
def test_only_one_is_awake(rig: Rig) -> None:
    with started_all([GOOD, FREE, DEAD], rig.cores, rig.mock.port) as (servers, faults):
        assert list(servers) == [GOOD, FREE]
        assert [list(faults), "no" in faults["dead"][0]] == [["dead"], True]
        pids = [server.pid for server in servers.values()]
        for server in servers.values():
            with awake(server, among=list(servers.values())):
                for pid in pids:
                    if pid != server.pid:
                        wait_until_stopped(pid)
                assert not is_stopped(server.pid)
            wait_until_stopped(server.pid)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.slow
def test_what_arrives_is_what_the_upstream_sent(rig: Rig) -> None:
    """A gateway that passes has to pass every byte; of one that translates nothing is said."""
    gateways = [GOOD, CHANGING, FREE, UNABLE, WIDE]
    scenarios = [BLOCKING, STREAM, TRANSLATED]
    with started_all(gateways, rig.cores, rig.mock.port) as (servers, _):
        cells = list(measure_scenarios(rig, scenarios, servers, rounds=2, seconds=0.02))
    sides = ["direct", "good", "changing", "free"]
    for scenario in scenarios:
        order = [(cell.round, cell.side) for cell in cells if cell.scenario == scenario]
        assert order == [
            *((1, side) for side in sides),
            *((2, side) for side in (sides[0], *reversed(sides[1:]))),
        ]
    said = {fault for cell in cells for fault in cell.faults}
    assert said == {
        f"S1 changing, round {at}: the replies are not what the upstream sent" for at in (1, 2)
    }
    found = summarise_scenarios(cells)
    assert list(found) == ["S1", "S2", "S1m"]
    assert set(found["S1"]["good"]) - set(found["S1"]["direct"]) == {
        "cpu_us", "added_p50_ms", "added_p99_ms",
    }  # fmt: skip
    assert len(found["S2"]["free"]["cpu_us"]["values"]) == 2


@pytest.mark.slow
def test_two_workers_are_measured_where_a_row_says_so(rig: Rig) -> None:
    scenarios = [replace(BLOCKING, workers=True), STREAM]
    with started_all([WIDE], rig.cores, rig.mock.port) as (servers, _):
        cells = list(measure_scenarios(rig, scenarios, servers, rounds=1, seconds=0.02))
    assert [(cell.scenario.name, cell.side) for cell in cells] == [
        ("S1", "direct"), ("S1", "wide"), ("S2", "direct"),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_gateway_holds_streams_and_starts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPEN_SECONDS", "SETTLE_SECONDS", "WATCH_SECONDS", "REST_SECONDS"):
        monkeypatch.setattr(memory, name, 0.2)
    small = replace(GOOD, most_streams=20)
    found, faults = memory.measure_memory(rig, [small, UNABLE, DEAD], streams=[10, 30])
    assert [run["streams"] for run in found["direct"]] == [10, 30]
    # The mock that stands for the gateway writes the streams, and the rig's own none.
    assert list(found) == ["direct", "good"]
    assert [run["streams"] for run in found["good"]] == [0]
    assert faults["good"] == ["memory good, 10 streams: 0 were open"]
    assert "did not start" in faults["dead"][0]
    times, wrong = measure_starts(rig, [GOOD, DEAD], runs=1)
    assert times["good"][0]["answered_ms"] > times["good"][0]["listening_ms"] > 0
    assert list(wrong) == ["dead"]


@pytest.mark.slow
def test_a_port_that_was_told_is_waited_for() -> None:
    port = free_port()
    words = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with running(words, plan_cores().proxy, port=port) as server:
        assert server.port == port
    with (
        pytest.raises(StartError),
        running([sys.executable, "-c", ""], plan_cores().proxy, port=free_port()),
    ):
        pass


@pytest.mark.slow
def test_ours_is_measured_with_one_worker_and_with_two(rig: Rig) -> None:
    one, two = rawproxy(), two_workers()
    assert (one.name, two.name) == ("rawproxy", "rawproxy, 2 workers")
    assert one.is_ours
    assert two.is_ours
    assert not GOOD.is_ours
    assert two.cores(rig.cores) >= one.cores(rig.cores) == rig.cores.proxy
    with started(two, rig.cores, rig.mock.port) as server:
        report = rig.measure(STREAM.load, seconds=0.05, proxy=server).report
    assert report["ok"] > 0
    assert report["err"] == ""


def test_a_run_without_gateways_is_a_table_too() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    assert {scenario.name for scenario in SCENARIOS if scenario.workers} == {"S1", "S3a"}
    direct = {"per_second": {"median": 1000.0, "min": 1.0, "max": 2.0, "values": [1000.0]}}
    machine = {"commit": "a", "cpu": "x", "cores": 2, "kernel": "6", "python": "3", "versions": {}}
    result = {
        "date": "2026-01-01T00:00:00+00:00", "machine": machine, "faults": ["S1 direct: x"],
        "settings": {"rounds": 1, "seconds": 1.0}, "scenarios": {"S1": {"direct": direct}},
        "missing": {"nginx": "apt-get is not there"}, "remarks": ["envoy: slow", "it: slow", "envoy: slow"],
    }  # fmt: skip
    shown = format_tables(result)
    assert "without nginx: apt-get is not there." in shown
    assert "**1 faults: these figures do not count.**" in shown
    assert shown.endswith("\n\n- envoy: slow (2 times)\n- it: slow")
    assert "not measured" in shown
    assert "| **S1** blocking, 1 KB, 64 connections           |  1,000 |" in shown
