"""One target, input after input: makes them, runs them, keeps what fails.

The same seed gives the same inputs in the same order, on any machine. There is no feedback from the
code under test: what makes inputs reach deep is that they are changed as what they are (`mutate`).
"""

import hashlib
import math
import re
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz.base import Target, timed

__all__ = [
    "MAX_SECONDS",
    "Finding",
    "Lane",
    "Report",
    "check",
    "inputs",
    "run_lane",
    "save",
    "shrink",
]

MAX_SECONDS = 0.1
"""CPU seconds that one call may take; see `base.Stopwatch`."""

RETRIES = 4
"""Runs of an input that is slow, before it is believed."""

SLOW = "slow"

TELL_SECONDS = 0.5
"""How often a lane says how far it is."""

SHRINK_SECONDS = 3.0
"""How long making one finding smaller may take."""

_VARIES = re.compile(r"[0-9]+|`[^`]*`|'[^']*'")

FRESH = 64
"""Changed inputs that are kept to be changed again."""


@dataclass(frozen=True)
class Finding:
    """An input for which something does not hold.

    Attributes:
        target: its name.
        data: the input.
        key: what tells it from other findings: where and how it failed.
        text: what went wrong, for people.
    """

    target: str
    data: bytes
    key: str
    text: str


@dataclass(frozen=True)
class Lane:
    """One share of the work on one target; `number` gives it inputs of its own."""

    target: str
    seed: int
    number: int
    seconds: float
    runs: int | None


@dataclass(frozen=True)
class Report:
    """How far a lane is: runs, seconds, and CPU seconds of the slowest call."""

    lane: Lane
    runs: int
    seconds: float
    slowest: float
    done: bool = False


def inputs(target: Target, rng: Random) -> Iterator[bytes]:
    """Yield the seeds of `target`, and then changed ones without end."""
    seeds = target.seeds()
    yield from seeds
    pool = list(seeds)
    while True:
        data = rng.choice(pool)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            data = target.mutate(rng, data, pool)
        if rng.random() < 0.02:
            if len(pool) < len(seeds) + FRESH:
                pool.append(data)
            else:
                pool[len(seeds) + rng.randrange(FRESH)] = data
        yield data


def check(target: Target, data: bytes) -> tuple[float, Finding | None]:
    """Run one input; return the CPU seconds of its slowest call, and the finding that it is.

    A slow one is run again: only what is slow each time is slow.
    """
    fastest = math.inf
    for _ in range(RETRIES):
        timed.slowest = 0.0
        try:
            target.run(data)
        except Exception as error:
            return 0.0, Finding(target.name, data, _place(error), _words(error))
        fastest = min(fastest, timed.slowest)
        if fastest < MAX_SECONDS:
            return fastest, None
    return fastest, Finding(
        target.name, data, SLOW, f"a call takes {fastest * 1000:.0f} ms of CPU\n"
    )


def shrink(target: Target, finding: Finding, seconds: float = SHRINK_SECONDS) -> Finding:
    """Return the same finding with less input, as far as `seconds` go. A slow input is slow by its size."""
    size = 0 if finding.key == SLOW else len(finding.data) // 2
    until = time.monotonic() + seconds
    while size:
        at = 0
        while at < len(finding.data):
            if time.monotonic() > until:
                return finding
            less = finding.data[:at] + finding.data[at + size :]
            _, found = check(target, less)
            if found is not None and found.key == finding.key:
                finding = found
            else:
                at += size
        size //= 2
    return finding


def run_lane(
    lane: Lane,
    target: Target,
    tell: Callable[[Report | Finding], None],
    begin: Callable[[bytes], None],
) -> None:
    """Run inputs until the time or the runs of `lane` are over.

    Args:
        lane: which, and how long.
        target: the target it names.
        tell: is told each new finding, made small, and every half second how far it is.
        begin: is shown each input before its run, which it may not survive.
    """
    rng = Random(f"{lane.seed} {lane.target} {lane.number}")
    began = told = time.monotonic()
    known: set[str] = set()
    slowest = 0.0
    for runs, data in enumerate(inputs(target, rng), 1):
        begin(data)
        spent, found = check(target, data)
        slowest = max(slowest, spent)
        if found is not None and found.key not in known:
            known.add(found.key)
            tell(found)  # at once: making it smaller may take its time
            tell(shrink(target, found))
        now = time.monotonic()
        over = now - began >= lane.seconds or runs == lane.runs
        if over or now - told >= TELL_SECONDS:
            told = now
            tell(Report(lane, runs, now - began, slowest, done=over))
        if over:
            return


def save(finding: Finding, folder: Path) -> Path:
    """Write the input of `finding` to `folder`, named after its target and its content."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{finding.target}-{hashlib.sha256(finding.data).hexdigest()[:12]}"
    path.write_bytes(finding.data)
    return path


def _place(error: Exception) -> str:
    """Return the kind of an error and the last lines it went through: the same for one fault."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    said = _VARIES.sub("", str(error))[:80] if isinstance(error, AssertionError) else ""
    lines = (f"{one.filename}:{one.lineno}" for one in frames)
    return " ".join([type(error).__name__, *lines, said])


def _words(error: Exception) -> str:
    lines = traceback.format_exception(error, limit=-6)
    text = "".join(lines)
    return text if len(text) < 4000 else f"{text[:2000]}\n...\n{text[-2000:]}"
