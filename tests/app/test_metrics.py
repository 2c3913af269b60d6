"""Metrics are made of records only."""

from threading import Event, Thread

import msgspec
import pytest
from prometheus_client import generate_latest

from rawproxy.app.metrics import (
    MOST_WAITING,
    Families,
    Metrics,
    lasting,
    merge,
    of_workers,
    text_of,
)
from rawproxy.gateway.record import AttemptNote, Record


def test_a_record_is_counted_everywhere() -> None:
    metrics = Metrics()
    metrics.keep(
        Record(
            "rp_1", 0.0, client_dialect="openai_chat", upstream="a", outcome="broken",
            attempts=[AttemptNote("a/m", "server"), AttemptNote("a/m", "ok", 200)],
            input_tokens=3, output_tokens=0, losses=["seed", "n"], unknown_frames=4, ttft_ms=20.0,
            duration_ms=2000.0,
        )
    )  # fmt: skip
    text = text_of(metrics.families()).decode()
    for line in (
        'rawproxy_exchanges_total{client_dialect="openai_chat",outcome="broken",upstream="a"} 1.0',
        'rawproxy_exchange_seconds_sum{upstream="a"} 2.0',
        'rawproxy_ttft_seconds_sum{upstream="a"} 0.02',
        'rawproxy_attempts_total{ended="server",upstream="a"} 1.0',
        'rawproxy_tokens_total{kind="input",upstream="a"} 3.0',
        'rawproxy_losses_total{client_dialect="openai_chat",upstream="a"} 2.0',
        'rawproxy_unknown_frames_total{upstream="a"} 4.0',
    ):
        assert line in text
    assert 'kind="output"' not in text


@pytest.mark.parametrize("records", range(MOST_WAITING - 1, MOST_WAITING + 3))
def test_only_so_many_wait_to_be_counted(records: int) -> None:
    metrics = Metrics()
    for _ in range(records):
        metrics.keep(Record("rp_1", 0.0, upstream="a"))
    assert len(metrics._waiting) == records % (MOST_WAITING + 1)
    text = text_of(metrics.families()).decode()
    assert f'rawproxy_exchange_seconds_count{{upstream="a"}} {records}.0' in text


def test_any_thread_may_read_while_records_come() -> None:
    metrics, done, counts = Metrics(), Event(), 20_000

    def read() -> None:
        while not done.is_set():
            metrics.families()

    reader = Thread(target=read)
    reader.start()
    for _ in range(counts):
        metrics.keep(Record("rp_1", 0.0, upstream="a"))
    done.set()
    reader.join()
    text = text_of(metrics.families()).decode()
    assert f'rawproxy_exchange_seconds_count{{upstream="a"}} {counts}.0' in text


def test_what_was_not_there_is_not_counted() -> None:
    metrics = Metrics()
    metrics.keep(Record("rp_1", 0.0))
    text = text_of(metrics.families()).decode()
    assert "rawproxy_ttft_seconds_sum" not in text
    assert "rawproxy_losses_total{" not in text


def counted(upstream: str, seconds: float) -> Families:
    metrics = Metrics()
    metrics.keep(Record("rp_1", 0.0, upstream=upstream, duration_ms=seconds * 1000))
    metrics.connections.set(3)
    return metrics.families()


def test_processes_add_up() -> None:
    text = text_of(merge([counted("a", 2), counted("a", 3), counted("b", 1)])).decode()
    for line in (
        'rawproxy_exchange_seconds_count{upstream="a"} 2.0',
        'rawproxy_exchange_seconds_sum{upstream="a"} 5.0',
        'rawproxy_exchange_seconds_bucket{le="2.5",upstream="a"} 1.0',
        'rawproxy_exchange_seconds_bucket{le="+Inf",upstream="a"} 2.0',
        'rawproxy_exchange_seconds_count{upstream="b"} 1.0',
        "rawproxy_connections 9.0",
    ):
        assert line in text.splitlines()


def test_what_was_created_first_counts() -> None:
    first, second = counted("a", 1), counted("a", 1)
    [created] = [
        sample[2]
        for sample in merge([second, first])["rawproxy_exchange_seconds"].samples
        if sample[0].endswith("_created")
    ]
    made = [
        one for one in first["rawproxy_exchange_seconds"].samples if one[0].endswith("_created")
    ]
    assert created == made[0][2]


def test_adding_changes_no_part() -> None:
    part = counted("a", 1)
    before = msgspec.json.encode(part)
    merge([part, part])
    assert msgspec.json.encode(part) == before
    assert merge([]) == {}


def test_of_a_process_that_ended_the_counters_stay() -> None:
    text = text_of(lasting(counted("a", 2))).decode()
    assert 'rawproxy_exchange_seconds_count{upstream="a"} 1.0' in text
    assert "rawproxy_connections" not in text


def test_merged_text_is_that_of_one_process() -> None:
    """The text of one part is what prometheus_client itself writes."""
    metrics = Metrics()
    metrics.keep(Record("rp_1", 0.0, upstream="a", duration_ms=10, losses=["seed"]))
    own = generate_latest(metrics.registry).splitlines()
    assert sorted(text_of(merge([metrics.families()])).splitlines()) == sorted(own)


def test_workers() -> None:
    text = text_of(of_workers({1: True, 2: False}, 4)).decode()
    for line in (
        'rawproxy_worker_up{worker="1"} 1.0',
        'rawproxy_worker_up{worker="2"} 0.0',
        "rawproxy_worker_restarts_total 4.0",
    ):
        assert line in text.splitlines()
