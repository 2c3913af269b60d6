"""HTTP/2 beside HTTP/1.1: that both are really spoken, and that what is wrong is told."""

import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bench.http2 import (
    ROWS,
    VERSIONS,
    Row,
    _read_h2load,
    measure_h2load,
    measure_http2,
    table,
)
from bench.processes import Running
from bench.rig import Load, Rig
from bench.samples import Samples

SMALL = Load("chat", "mock-e5-d1000", stream=True, connections=20, expect=5, gap_us=1000)


@pytest.fixture(scope="module")
def served(rig: Rig) -> Iterator[tuple[Rig, Running]]:
    with rig.proxy() as proxy:
        yield rig, proxy


@pytest.mark.slow
def test_both_versions_are_measured(served: tuple[Rig, Running]) -> None:
    rows = (Row("closed", SMALL, 2), Row("once", SMALL, 4, once=True))
    results, faults = measure_http2(*served, rows, rounds=2, seconds=0.2)
    assert faults == []
    assert [len(results["closed"][version].cpu_us) for version in VERSIONS] == [2, 2]
    assert [len(results["once"][version].cpu_us) for version in VERSIONS] == [1, 1]


@pytest.mark.slow
def test_wrong_replies_are_told_of_each_version(served: tuple[Rig, Running]) -> None:
    rows = (Row("closed", replace(SMALL, expect=6), 2),)
    _, faults = measure_http2(*served, rows, rounds=1, seconds=0.1)
    assert {fault.partition(": ")[0] for fault in faults} == {
        f"closed, {version}" for version in VERSIONS
    }


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("h2load"), reason="needs h2load (Debian: nghttp2-client)")
def test_h2load_is_answered(served: tuple[Rig, Running]) -> None:
    cpu, rate, faults = measure_h2load(*served, requests=200)
    assert faults == []
    assert cpu > 0
    assert rate > 0


def test_the_streams_are_spread_over_the_connections() -> None:
    for row in ROWS:
        load = row.over("HTTP/2")
        per_connection = int(load.options[load.options.index("--http2") + 1])
        assert load.connections * per_connection == row.load.connections
        assert row.over("HTTP/1.1").connections == row.load.connections


def test_what_h2load_counts_is_read() -> None:
    said = "finished in 1.00s, 995.00 req/s, 1MB/s\nstatus codes: 995 2xx, 0 3xx, 0 4xx, 5 5xx\n"
    assert _read_h2load(said, 995) == (995.0, [])
    assert _read_h2load(said, 1000)[1] == ["h2load: 995 of 1000 requests were answered"]
    assert _read_h2load("", 1)[1]


def test_what_was_not_measured_has_no_ratio() -> None:
    results = {"many": {"HTTP/1.1": Samples(), "HTTP/2": Samples([5.0], [10.0], [1.0])}}
    row = table(results).splitlines()[2]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["many", "-", "5.0", "-", "-", "10", "-", "1.00"]
