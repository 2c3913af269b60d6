"""Counters of what went through, in Prometheus' words.

Layer: app. Fed with records only; label values come from the configuration, never from a client.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rawproxy.gateway.record import Record

__all__ = ["Metrics"]

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The metrics of one proxy. Label children are kept: looking one up costs four times its use."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        labels = ("client_dialect", "upstream", "outcome")
        self._exchanges = Counter(
            "rawproxy_exchanges", "Exchanges that ended.", labels, registry=registry
        )
        self._seconds = Histogram(
            "rawproxy_exchange_seconds", "Duration of exchanges.", ("upstream",),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._ttft = Histogram(
            "rawproxy_ttft_seconds", "Time to the first reply byte.", ("upstream",),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._tokens = Counter(
            "rawproxy_tokens", "Tokens that upstreams counted.", ("upstream", "kind"),
            registry=registry,
        )  # fmt: skip
        self._attempts = Counter(
            "rawproxy_attempts", "Tries at upstreams.", ("upstream", "ended"), registry=registry
        )
        self._losses = Counter(
            "rawproxy_losses", "Fields that a dialect could not say.",
            ("client_dialect", "upstream"), registry=registry,
        )  # fmt: skip
        self._violations = Counter(
            "rawproxy_grammar_violations", "Rules that our own streams broke, of those watched.",
            ("client_dialect", "rule"), registry=registry,
        )  # fmt: skip
        self._unknown = Counter(
            "rawproxy_unknown_frames", "Frames that no table knows.", ("upstream",),
            registry=registry,
        )  # fmt: skip
        self._refused = Counter(
            "rawproxy_refused_connections", "Connections that came to nothing before any request.",
            ("why",), registry=registry,
        )  # fmt: skip
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
        self._exchanges.labels(record.client_dialect, upstream, record.outcome).inc()
        self._seconds.labels(upstream).observe(record.duration_ms / 1000)
        if record.ttft_ms is not None:
            self._ttft.labels(upstream).observe(record.ttft_ms / 1000)
        for note in record.attempts:
            self._attempts.labels(note.upstream.partition("/")[0], note.ended).inc()
        for kind, count in (("input", record.input_tokens), ("output", record.output_tokens)):
            if count:
                self._tokens.labels(upstream, kind).inc(count)
        if record.losses:
            self._losses.labels(record.client_dialect, upstream).inc(len(record.losses))
        for rule, count in record.violations.items():
            self._violations.labels(record.client_dialect, rule).inc(count)
        if record.unknown_frames:
            self._unknown.labels(upstream).inc(record.unknown_frames)

    def refused(self, why: str) -> None:
        """Count a connection that came to nothing: `full`, `proxy_header`, `tls` or `late`."""
        self._refused.labels(why).inc()

    def text(self) -> bytes:
        """Return all of it in the text format. Takes milliseconds: for a thread."""
        return generate_latest(self.registry)
