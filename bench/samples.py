"""What was measured of one side of a comparison, a value for each round."""

import statistics
from dataclasses import dataclass, field

from bench.rig import Load, Measured
from bench.tables import ranged

__all__ = ["Samples"]


@dataclass
class Samples:
    """Figures of a load, a value for each round.

    Attributes:
        cpu_us: CPU time per event that arrived, or per reply.
        per_second: of them.
        late_p99_ms: how much later than it should an event came; of paced streams only.
    """

    cpu_us: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    late_p99_ms: list[float] = field(default_factory=list)

    def add(self, measured: Measured, load: Load) -> None:
        """Take in one run of `load`."""
        report = measured.report
        units = report["events"] if load.stream else report["ok"]
        self.cpu_us.append(measured.proxy_seconds * 1e6 / max(1, units))
        self.per_second.append(report["events_per_s" if load.stream else "rps"])
        if load.gap_us:
            self.late_p99_ms.append(report["gap_late_us"]["p99"] / 1000)

    def ratios_to(self, other: "Samples") -> list[float]:
        """Return how many times the CPU time of `other` this is, round by round."""
        return [ours / theirs for ours, theirs in zip(self.cpu_us, other.cpu_us, strict=True)]

    def ratio_to(self, other: "Samples") -> str:
        """Return how many times the CPU time of `other` this is, by medians; "-" where one lacks."""
        if not self.cpu_us or not other.cpu_us:
            return "-"
        return f"{statistics.median(self.cpu_us) / statistics.median(other.cpu_us):.2f}"

    @property
    def cpu(self) -> str:
        """CPU time as a cell of a table."""
        return ranged(self.cpu_us)

    @property
    def rate(self) -> str:
        """Events or replies per second as a cell of a table."""
        return ranged(self.per_second, ",.0f")

    @property
    def late(self) -> str:
        """Lateness as a cell of a table."""
        return ranged(self.late_p99_ms, ".2f")
