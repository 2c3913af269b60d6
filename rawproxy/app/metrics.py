"""Counters of what went through, in Prometheus' words.

Layer: app. Fed with records only; label values come from the configuration, never from a client.

A record is counted in six places or more, which takes 2.6 us when it is done again and again, and three times that
between two requests. So records wait, and many are counted at a time; or all of them when somebody reads.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import TYPE_CHECKING

from rawproxy.app.counters import Counter, Family, Gauge, Histogram
from rawproxy.gateway.record import Record

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

__all__ = [
    "MOST_WAITING", "Families", "Family", "Metrics", "lasting", "merge", "of_workers", "text_of",
]  # fmt: skip

MOST_WAITING = 64
"""Records that wait; with one more all of them are counted."""

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


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
    from prometheus_client import generate_latest

    return generate_latest(_registry(lambda: families))


def _registry(families: Callable[[], Families]) -> "CollectorRegistry":
    """Return a registry of prometheus_client's that holds what `families` returns whenever it is read."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector

    class Given(Collector):
        def collect(self) -> "Iterator[Metric]":
            for name, family in families().items():
                metric = Metric(name, family.help, family.kind)
                for sample in family.samples:
                    metric.add_sample(*sample)
                yield metric

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given())
    return registry


class Metrics:
    """The metrics of one proxy. One thread keeps records; any may read."""

    def __init__(self) -> None:
        self._waiting: deque[Record] = deque()
        self._counting = Lock()
        self._exchanges = Counter(
            "rawproxy_exchanges", "Exchanges that ended.", "client_dialect", "upstream", "outcome"
        )
        self._seconds = Histogram(
            "rawproxy_exchange_seconds", "Duration of exchanges.", "upstream", _SECONDS
        )
        self._ttft = Histogram(
            "rawproxy_ttft_seconds", "Time to the first reply byte.", "upstream", _SECONDS
        )
        self._tokens = Counter(
            "rawproxy_tokens", "Tokens that upstreams counted.", "upstream", "kind"
        )
        self._attempts = Counter("rawproxy_attempts", "Tries at upstreams.", "upstream", "ended")
        self._losses = Counter(
            "rawproxy_losses", "Fields that a dialect could not say.", "client_dialect", "upstream"
        )
        self._violations = Counter(
            "rawproxy_grammar_violations", "Rules that our own streams broke, of those watched.",
            "client_dialect", "rule",
        )  # fmt: skip
        self._unknown = Counter(
            "rawproxy_unknown_frames", "Frames that no table knows.", "upstream"
        )
        self._refused = Counter(
            "rawproxy_refused_connections", "Connections that came to nothing before any request.",
            "why",
        )  # fmt: skip
        self.connections = Gauge("rawproxy_connections", "Client connections that stand.")
        self.running = Gauge("rawproxy_running", "Exchanges under way.")
        self.upstream_connections = Gauge(
            "rawproxy_upstream_connections", "Upstream connections that stand."
        )

    @property
    def registry(self) -> "CollectorRegistry":
        """They, as prometheus_client has them: for a program with metrics of its own."""
        return _registry(self.families)

    def keep(self, record: Record) -> None:
        """Count one exchange, at the latest when somebody reads."""
        # Appending needs no lock; only counting does.
        self._waiting.append(record)
        if len(self._waiting) > MOST_WAITING:
            self._count_waiting()

    def _count_waiting(self) -> None:
        with self._counting:
            while self._waiting:
                self._count(self._waiting.popleft())

    def _count(self, record: Record) -> None:
        upstream = record.upstream
        self._exchanges.add(record.client_dialect, upstream, record.outcome)
        self._seconds.observe(upstream, record.duration_ms / 1000)
        if record.ttft_ms is not None:
            self._ttft.observe(upstream, record.ttft_ms / 1000)
        for note in record.attempts:
            self._attempts.add(note.upstream.partition("/")[0], note.ended)
        if record.input_tokens:
            self._tokens.add(upstream, "input", amount=record.input_tokens)
        if record.output_tokens:
            self._tokens.add(upstream, "output", amount=record.output_tokens)
        if record.losses:
            self._losses.add(record.client_dialect, upstream, amount=len(record.losses))
        for rule, count in record.violations.items():
            self._violations.add(record.client_dialect, rule, amount=count)
        if record.unknown_frames:
            self._unknown.add(upstream, amount=record.unknown_frames)

    def families(self) -> Families:
        """Return all of it. Takes a millisecond."""
        self._count_waiting()
        all_of_them: tuple[Counter | Histogram | Gauge, ...] = (
            self._exchanges, self._seconds, self._ttft, self._tokens, self._attempts, self._losses,
            self._violations, self._unknown, self._refused, self.connections, self.running,
            self.upstream_connections,
        )  # fmt: skip
        return {one.name: one.family() for one in all_of_them}

    def refused(self, why: str) -> None:
        """Count a connection that came to nothing: `full`, `proxy_header`, `tls` or `late`."""
        self._refused.add(why)
