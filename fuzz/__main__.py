"""`python -m fuzz`: feed every parser with inputs that nobody should send, and keep what breaks one.

Exit code 1 when something was found. Each input that did is kept in fuzz/crashes, and the command
that runs it again is printed.
"""

import argparse
import fnmatch
import importlib
import os
import sys
import time
from pathlib import Path

from fuzz.base import Target
from fuzz.engine import MAX_SECONDS, Finding, Lane, Report, check, save
from fuzz.fleet import hunt

FOLDER = Path(__file__).parent

TARGETS_MODULE = "fuzz.targets"


def read_arguments(words: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    add = parser.add_argument
    add(
        "--target",
        action="append",
        metavar="NAME",
        help="which, * allowed, may be repeated; default: all",
    )
    add("--seconds", type=float, default=2.0, help="for each target; default: %(default)g")
    add("--runs", type=int, help="inputs for each target and job, if that is less")
    add(
        "--seed",
        type=int,
        default=0,
        help="the same one gives the same inputs; default: %(default)d",
    )
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes; default: %(default)d")
    add(
        "--crashes",
        type=Path,
        default=FOLDER / "crashes",
        metavar="DIR",
        help="where inputs are kept",
    )
    add("--replay", type=Path, metavar="FILE", help="run this one input of --target, and stop")
    add("--list", action="store_true", help="print the targets, and stop")
    add("--module", default=TARGETS_MODULE, help="has the TARGETS; default: %(default)s")
    options = parser.parse_args(words)
    options.targets = importlib.import_module(options.module).TARGETS
    patterns = options.target or ["*"]
    chosen = [
        name for name in options.targets if any(fnmatch.fnmatch(name, one) for one in patterns)
    ]
    for pattern in patterns:
        if not fnmatch.filter(options.targets, pattern):
            parser.error(f"no such target: {pattern} (--list names them)")
    if options.replay and len(chosen) != 1:
        parser.error("--replay takes the --target that the input is for")
    if options.jobs < 1:
        parser.error("--jobs: at least 1")
    options.chosen = chosen
    return options


class Board:
    """What is known of a run, for the lines that tell it."""

    def __init__(self) -> None:
        self.began = self._told = time.monotonic()
        self.reports: dict[Lane, Report] = {}
        self.findings: dict[tuple[str, str], Finding] = {}

    def note(self, said: Report | Finding) -> None:
        """Learn what a lane says; of one fault the last input told is the smallest."""
        if isinstance(said, Report):
            self.reports[said.lane] = said
        else:
            self.findings[said.target, said.key] = said

    def line(self) -> str | None:
        """Return how far the run is, once a second."""
        now = time.monotonic()
        if now - self._told < 1 or not self.reports:
            return None
        self._told = now
        runs = sum(report.runs for report in self.reports.values())
        slowest = max(self.reports.values(), key=lambda report: report.slowest)
        at_work = sorted({lane.target for lane, report in self.reports.items() if not report.done})
        return (
            f"{now - self.began:6.0f} s {runs:10,} runs {runs / (now - self.began):8,.0f}/s  slowest "
            f"{slowest.slowest * 1000:.1f} ms ({slowest.lane.target})  {len(self.findings)} findings  "
            f"{', '.join(at_work)}"
        )

    def table(self) -> str:
        """Return one line for each target."""
        lines = [f"{'target':28} {'runs':>10} {'runs/s':>8} {'slowest ms':>10} {'findings':>8}"]
        for name in dict.fromkeys(lane.target for lane in self.reports):
            reports = [report for lane, report in self.reports.items() if lane.target == name]
            runs = sum(report.runs for report in reports)
            speed = sum(report.runs / max(report.seconds, 1e-9) for report in reports)
            slowest = max(report.slowest for report in reports) * 1000
            found = len([one for one, _ in self.findings if one == name])
            lines.append(f"{name:28} {runs:10,} {speed:8,.0f} {slowest:10.1f} {found:8}")
        return "\n".join(lines)


def lanes_of(options: argparse.Namespace) -> list[Lane]:
    """Return the work: one lane for each target, and more where there are more jobs than targets."""
    shares = max(1, options.jobs // len(options.chosen))
    return [
        Lane(name, options.seed, number, options.seconds, options.runs)
        for name in options.chosen
        for number in range(shares)
    ]


def replay(target: Target, path: Path) -> int:
    """Run one input; return the exit code."""
    data = path.read_bytes()
    spent, found = check(target, data)
    if found is None:
        print(
            f"{target.name}: {len(data)} bytes, slowest call {spent * 1000:.1f} ms: nothing wrong"
        )
        return 0
    print(f"{target.name}: {len(data)} bytes: {found.text}", end="")
    return 1


def run(options: argparse.Namespace) -> int:
    """Run all lanes; return the exit code."""
    board = Board()
    try:
        for said in hunt(lanes_of(options), options.jobs, options.module):
            board.note(said)
            if line := board.line():
                print(line, file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    print(board.table())
    module = "" if options.module == TARGETS_MODULE else f" --module {options.module}"
    for finding in board.findings.values():
        path = save(finding, options.crashes)
        print(f"\nFOUND {finding.target}, {len(finding.data)} bytes: {finding.text}", end="")
        print(f"replay: python -m fuzz --replay {path} --target {finding.target}{module}")
    if not board.findings:
        print(
            f"\nnothing found: no exception, no broken promise, no call over {MAX_SECONDS * 1000:.0f} ms"
        )
    return 1 if board.findings else 0


def main(words: list[str]) -> int:
    """Do what the arguments say; return the exit code."""
    options = read_arguments(words)
    if options.list:
        print("\n".join(options.chosen))
        return 0
    if options.replay:
        return replay(options.targets[options.chosen[0]], options.replay)
    return run(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
