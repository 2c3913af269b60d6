"""Metrics are made of records only."""

from rawproxy.app.metrics import Metrics
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
    text = metrics.text().decode()
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


def test_what_was_not_there_is_not_counted() -> None:
    metrics = Metrics()
    metrics.keep(Record("rp_1", 0.0))
    text = metrics.text().decode()
    assert "rawproxy_ttft_seconds_sum" not in text
    assert "rawproxy_losses_total{" not in text
