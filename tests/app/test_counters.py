"""Our counters tell what prometheus_client's would."""

import prometheus_client
import pytest
from prometheus_client.core import Metric

from rawproxy.app.counters import Counter, Family, Gauge, Histogram

BOUNDS = (0.1, 0.5, 1, 2.5)


def theirs(metric: Metric) -> Family:
    samples = [(one.name, dict(one.labels), one.value) for one in metric.samples]
    return Family(metric.type, metric.documentation, samples)


def timeless(family: Family) -> Family:
    """The family without the times, which are never those of another one."""
    rows = [
        (name, labels, 0.0 if name.endswith("_created") else value)
        for name, labels, value in family.samples
    ]
    return Family(family.kind, family.help, sorted(rows, key=str))


def test_a_counter() -> None:
    model = prometheus_client.Counter("c", "What it counts.", ("a", "b"), registry=None)
    ours = Counter("c", "What it counts.", "a", "b")
    for values, amount in ((("x", "y"), 1), (("x", "y"), 2.5), (("z", ""), 7)):
        model.labels(*values).inc(amount)
        ours.add(*values, amount=amount)
    [metric] = model.collect()
    assert timeless(ours.family()) == timeless(theirs(metric))
    assert ours.name == metric.name


def test_a_counter_that_counted_nothing_is_told_all_the_same() -> None:
    assert Counter("c", "t", "a").family() == Family("counter", "t", [])


def test_the_time_is_that_of_the_first_count() -> None:
    model = prometheus_client.Counter("c", "t", ("a",), registry=None)
    ours = Counter("c", "t", "a")
    model.labels("x").inc()
    ours.add("x")
    first = ours.family().samples
    ours.add("x")
    assert ours.family().samples[1] == first[1]
    [(_, _, created)] = [one for one in first if one[0] == "c_created"]
    [(_, _, expected)] = [one for one in theirs(*model.collect()).samples if one[0] == "c_created"]
    assert created == pytest.approx(expected, abs=60)


@pytest.mark.parametrize("value", [0, 0.05, 0.1, 0.100001, 1, 2.5, 2.6, 1000])
def test_a_histogram(value: float) -> None:
    model = prometheus_client.Histogram("h", "Sizes.", ("a",), buckets=BOUNDS, registry=None)
    ours = Histogram("h", "Sizes.", "a", BOUNDS)
    for label, one in (("x", value), ("x", 0.3), ("y", value)):
        model.labels(label).observe(one)
        ours.observe(label, one)
    [metric] = model.collect()
    assert timeless(ours.family()) == timeless(theirs(metric))
    assert ours.name == metric.name


def test_a_gauge() -> None:
    model = prometheus_client.Gauge("g", "How many.", registry=None)
    ours = Gauge("g", "How many.")
    for value in (3, 0):
        model.set(value)
        ours.set(value)
        assert ours.family() == theirs(*model.collect())
