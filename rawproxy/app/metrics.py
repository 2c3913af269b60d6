"""Counters of what went through, in Prometheus' words.

Layer: app. Fed with records only; label values come from the configuration, never from a client.
"""

from collections.abc import Iterable, Iterator
from functools import cache

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from rawproxy.gateway.record import Record

__all__ = ["Families", "Family", "Metrics", "lasting", "merge", "of_workers", "text_of"]

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


Sample = tuple[str, dict[str, str], float]
"""Name, labels, value."""


class Family(msgspec.Struct):
    """The samples of one metric: what a process tells another about it."""

    kind: str
    help: str
    samples: list[Sample]


Families = dict[str, Family]
"""By name."""


def merge(parts: Iterable[Families]) -> Families:
    """Return the sums: of counters, of buckets, of gauges. What was created first counts as created."""
    found: Families = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for part in parts:
        for name, family in part.items():
            found.setdefault(name, Family(family.kind, family.help, []))
            into = sums.setdefault(name, {})
            for sample, labels, value in family.samples:
                key = (sample, tuple(sorted(labels.items())))
                join = min if sample.endswith("_created") else float.__add__
                into[key] = join(into[key], value) if key in into else value
    for name, family in found.items():
        family.samples = [(sample, dict(key), value) for (sample, key), value in sums[name].items()]
    return found


def lasting(families: Families) -> Families:
    """Return what stays true of a process that has ended: all but its gauges."""
    return {name: family for name, family in families.items() if family.kind != "gauge"}


def of_workers(up: dict[int, bool], restarts: int) -> Families:
    """Return what is to be told of workers: which ones serve, how many took the place of others."""
    serving = [
        ("rawproxy_worker_up", {"worker": str(number)}, float(serves))
        for number, serves in up.items()
    ]
    told = "Workers that were started in place of another one."
    return {
        "rawproxy_worker_up": Family("gauge", "Whether the worker serves.", serving),
        "rawproxy_worker_restarts": Family(
            "counter", told, [("rawproxy_worker_restarts_total", {}, float(restarts))]
        ),
    }


def text_of(families: Families) -> bytes:
    """Return `families` in the text format. Takes milliseconds: for a thread."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(families))
    return generate_latest(registry)


class _Given(Collector):
    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            metric = Metric(name, family.help, family.kind)
            for sample in family.samples:
                metric.add_sample(*sample)
            yield metric


class Metrics:
    """The metrics of one proxy. Label children are kept: looking one up costs four times its use."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        labels = ("client_dialect", "upstream", "outcome")
        self._exchanges = cache(
            Counter("rawproxy_exchanges", "Exchanges that ended.", labels, registry=registry).labels
        )
        self._seconds = cache(Histogram(
            "rawproxy_exchange_seconds", "Duration of exchanges.", ("upstream",),
            buckets=_SECONDS, registry=registry,
        ).labels)  # fmt: skip
        self._ttft = cache(Histogram(
            "rawproxy_ttft_seconds", "Time to the first reply byte.", ("upstream",),
            buckets=_SECONDS, registry=registry,
        ).labels)  # fmt: skip
        self._tokens = cache(Counter(
            "rawproxy_tokens", "Tokens that upstreams counted.", ("upstream", "kind"),
            registry=registry,
        ).labels)  # fmt: skip
        self._attempts = cache(
            Counter(
                "rawproxy_attempts", "Tries at upstreams.", ("upstream", "ended"), registry=registry
            ).labels
        )
        self._losses = cache(Counter(
            "rawproxy_losses", "Fields that a dialect could not say.",
            ("client_dialect", "upstream"), registry=registry,
        ).labels)  # fmt: skip
        self._violations = cache(Counter(
            "rawproxy_grammar_violations", "Rules that our own streams broke, of those watched.",
            ("client_dialect", "rule"), registry=registry,
        ).labels)  # fmt: skip
        self._unknown = cache(Counter(
            "rawproxy_unknown_frames", "Frames that no table knows.", ("upstream",),
            registry=registry,
        ).labels)  # fmt: skip
        self._refused = cache(Counter(
            "rawproxy_refused_connections", "Connections that came to nothing before any request.",
            ("why",), registry=registry,
        ).labels)  # fmt: skip
        self.connections = Gauge(
            "rawproxy_connections", "Client connections that stand.", registry=registry
        )
        self.running = Gauge("rawproxy_running", "Exchanges under way.", registry=registry)
        self.upstream_connections = Gauge(
            "rawproxy_upstream_connections", "Upstream connections that stand.", registry=registry
        )

    def keep(self, record: Record) -> None:
        """Count one exchange."""
        upstream = record.upstream
        self._exchanges(record.client_dialect, upstream, record.outcome).inc()
        self._seconds(upstream).observe(record.duration_ms / 1000)
        if record.ttft_ms is not None:
            self._ttft(upstream).observe(record.ttft_ms / 1000)
        for note in record.attempts:
            self._attempts(note.upstream.partition("/")[0], note.ended).inc()
        for kind, count in (("input", record.input_tokens), ("output", record.output_tokens)):
            if count:
                self._tokens(upstream, kind).inc(count)
        if record.losses:
            self._losses(record.client_dialect, upstream).inc(len(record.losses))
        for rule, count in record.violations.items():
            self._violations(record.client_dialect, rule).inc(count)
        if record.unknown_frames:
            self._unknown(upstream).inc(record.unknown_frames)

    def families(self) -> Families:
        """Return all of it. Takes a millisecond."""
        return {
            metric.name: Family(
                metric.type,
                metric.documentation,
                [(one.name, dict(one.labels), one.value) for one in metric.samples],
            )
            for metric in self.registry.collect()
        }

    def refused(self, why: str) -> None:
        """Count a connection that came to nothing: `full`, `proxy_header`, `tls` or `late`."""
        self._refused(why).inc()
