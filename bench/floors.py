"""What is promised, as a table of data: each target with the figure of a result that it is held to.

The floor is what is accepted, the moonshot what is wanted. Both are ratios within one run, wherever
the machine would decide otherwise. Nothing here fails a run: a target that does not hold is told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench.gateways import OURS
from bench.report import Result
from bench.scenarios import DIRECT

__all__ = ["TARGETS", "Judged", "Target", "judge"]

CROWD = 1000
"""Streams open where a target says "open stream"."""


@dataclass(frozen=True)
class Target:
    """One promise.

    Attributes:
        name: what it is about.
        measure: takes it from a result; None: it is not in there.
        floor, moonshot: None: nothing is promised.
        unit: what stands behind a value.
        at_least: more is better; else less is.
    """

    name: str
    measure: Callable[[Result], float | None]
    floor: float | None
    moonshot: float | None
    unit: str = "x"
    at_least: bool = False

    def holds(self, value: float | None, bound: float | None) -> bool | None:
        """Return whether `value` keeps `bound`; None where either is not known."""
        if value is None or bound is None:
            return None
        return value >= bound if self.at_least else value <= bound


@dataclass(frozen=True)
class Judged:
    """A target beside what was measured, as the cells of a table."""

    name: str
    measured: str
    floor: str
    holds_floor: str
    moonshot: str
    holds_moonshot: str


def _values(result: Result, scenario: str, side: str, figure: str) -> list[float]:
    found = result.get("scenarios", {}).get(scenario, {}).get(side, {}).get(figure, {})
    values: list[float] = found.get("values", [])
    return values


def _times(scenario: str, figure: str, than: str, result: Result) -> float | None:
    """Return how many times another side's figure ours is: the median over the rounds."""
    ours, theirs = (_values(result, scenario, side, figure) for side in (OURS, than))
    ratios = [our / their for our, their in zip(ours, theirs, strict=False) if their]
    return median(ratios) if ratios else None


def _delay(scenario: str, figure: str, than: str, result: Result) -> float | None:
    """Return how many times another side's delay ours is: of the medians.

    A delay that was added may be less than nothing in one round, as it is a difference.
    """
    ours, theirs = (_values(result, scenario, side, figure) for side in (OURS, than))
    return median(ours) / median(theirs) if ours and theirs and median(theirs) > 0 else None


def _cheaper(scenario: str, than: str, result: Result) -> float | None:
    """Return how many times our CPU time another gateway's is."""
    times = _times(scenario, "cpu_us", than, result)
    return 1 / times if times else None


def _delivered(result: Result) -> float | None:
    times = _times("S3b", "per_second", DIRECT, result)
    return times * 100 if times else None


def _held(figure: str, result: Result, count: int = CROWD) -> float | None:
    """Return a figure of our runs that held `count` streams."""
    runs = result.get("memory", {}).get(OURS, [])
    values = [run[figure] for run in runs if run["streams"] == count]
    return median(values) if values else None


def _growth(figure: str, result: Result) -> float | None:
    """Return the figure with the most streams, divided by that with the fewest."""
    counts = sorted({run["streams"] for run in result.get("memory", {}).get(OURS, [])})
    if len(counts) < 2:
        return None
    few, many = (_held(figure, result, count) for count in (counts[0], counts[-1]))
    return many / few if few and many and few > 0 else None


def _answered(result: Result) -> float | None:
    runs = result.get("start", {}).get("gateways", {}).get(OURS, [])
    return median(run["answered_ms"] for run in runs) if runs else None


def _imported(result: Result) -> float | None:
    values = result.get("start", {}).get("import_ms")
    return median(values) if values else None


def _ratio_of(section: str, name: str, result: Result) -> float | None:
    """Return a ratio that another part of the bench has computed."""
    values = result.get(section, {}).get("ratios", {}).get(name)
    return median(values) if values else None


def _cpu(scenario: str, than: str) -> Callable[[Result], float | None]:
    return partial(_times, scenario, "cpu_us", than)


def _cheap(scenario: str, than: str) -> Callable[[Result], float | None]:
    return partial(_cheaper, scenario, than)


def _many(name: str, scenario: str, than: str, floor: float, moonshot: float) -> Target:
    return Target(name, _cheap(scenario, than), floor, moonshot, "x cheaper", at_least=True)


TARGETS = (
    Target("request (S1): CPU, of nginx's", _cpu("S1", "nginx"), 3.5, 2.0),
    _many("request (S1): CPU, LiteLLM's", "S1", "LiteLLM", 130, 240),
    _many("request (S1): CPU, Portkey's", "S1", "Portkey", 14, 25),
    Target("event (S3a): CPU, of nginx's", _cpu("S3a", "nginx"), 2.0, 1.3),
    Target("event (S3lo): CPU, of nginx's", _cpu("S3lo", "nginx"), 2.3, 1.7),
    _many("translated event (S5): CPU, claude-code-router's", "S5", "claude-code-router", 4, 6),
    _many("translated event (S5): CPU, LiteLLM's", "S5", "LiteLLM", 70, 110),
    _many("translated request (S1m): CPU, LiteLLM's", "S1m", "LiteLLM", 100, 180),
    Target(
        "added delay to the first event, median (S3lo), of nginx's",
        partial(_delay, "S3lo", "added_p50_ms", "nginx"),
        4.0,
        2.0,
    ),
    Target(
        "lateness of events, 99th percentile (S3a), of nginx's",
        partial(_delay, "S3a", "late_p99_ms", "nginx"),
        3.0,
        1.0,
    ),
    Target("memory of an open stream", partial(_held, "kib_per_stream"), 17, 4, " KiB"),
    Target("memory when idle", partial(_held, "idle_mib"), 45, 30, " MiB"),
    Target("events delivered (S3b), of direct", _delivered, 90, 95, " %", at_least=True),
    Target(
        "1,000 clients hang up: CPU in the second after the next",
        partial(_held, "cpu_ms_after"),
        10,
        None,
        " ms",
    ),
    Target(
        "1,000 clients hang up: last upstream stream gone",
        partial(_held, "hang_up_ms"),
        1000,
        100,
        " ms",
    ),
    Target(
        "cost of an event, from the fewest streams to the most", partial(_growth, "event_us"), 1.5, 1.1
    ),
    Target(
        "cost of a request, from the fewest streams to the most", partial(_growth, "open_us"), 1.5, 1.1
    ),
    Target("import of rawproxy.dialects, CPU", _imported, 60, 40, " ms"),
    Target("start to the first answer", _answered, 400, 250, " ms"),
    Target(
        "event, TLS to the upstream: CPU, of nginx's with it", partial(_ratio_of, "tls", "upstream"),
        1.8, 1.4,
    ),
    Target(
        "event, TLS on both sides: CPU, of nginx's with it", partial(_ratio_of, "tls", "both"),
        1.8, 1.4,
    ),
    Target(
        "event, HTTP/2 to the client: CPU, of ours over HTTP/1.1",
        partial(_ratio_of, "http2", "event"), 1.5, None,
    ),
)  # fmt: skip


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def judge(result: Result) -> list[Judged]:
    """Return every target with what `result` says of it; what was not measured is told so."""
    words = {True: "yes", False: "**no**", None: "-"}

    def bound(target: Target, value: float | None) -> str:
        sign = ">=" if target.at_least else "<="
        return "-" if value is None else f"{sign} {value:g}{target.unit}"

    judged = []
    for target in TARGETS:
        value = target.measure(result)
        judged.append(
            Judged(
                target.name,
                "not measured" if value is None else f"{_three_digits(value)}{target.unit}",
                bound(target, target.floor),
                words[target.holds(value, target.floor)],
                bound(target, target.moonshot),
                words[target.holds(value, target.moonshot)],
            )
        )
    return judged
