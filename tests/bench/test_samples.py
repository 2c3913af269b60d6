"""Figures of a comparison: what they are divided by."""

from typing import Any

from bench.rig import Load, Measured
from bench.samples import Samples

STREAM = Load("chat", "m", stream=True, connections=1, expect=2, gap_us=10)
BLOCKING = Load("chat", "m", stream=False, connections=1, expect=2)


def report(**more: Any) -> dict[str, Any]:
    late = {"gap_late_us": {"p99": 1500}}
    return {"events": 200, "ok": 100, "events_per_s": 20.0, "rps": 10.0, **late, **more}


def test_the_unit_is_an_event_or_a_reply() -> None:
    measured = Measured(report(), proxy_seconds=0.02, other_cores=0.0)
    samples, others = Samples(), Samples()
    samples.add(measured, STREAM)
    others.add(measured, BLOCKING)
    assert (samples.cpu, samples.rate, samples.late) == ("100.0", "20", "1.50")
    assert (others.cpu, others.rate, others.late) == ("200.0", "10", "-")
    assert samples.ratio_to(others) == "0.50"
    assert samples.ratio_to(Samples()) == "-"


def test_a_run_without_a_good_reply_is_told_and_divides_by_nothing() -> None:
    samples = Samples()
    samples.add(Measured(report(events=0, ok=0), proxy_seconds=0.5, other_cores=0.0), STREAM)
    assert samples.cpu_us == [500_000.0]
