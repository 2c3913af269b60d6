"""What a target is, and what targets share.

An input alone decides everything that a target does with it, how it is cut as well: so a file is the
whole case, and a replay is the same run.
"""

import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any, ParamSpec, TypeVar

__all__ = ["MAX_INPUT", "READ", "Mutate", "Target", "held", "pick", "pieces", "reads", "timed"]

T = TypeVar("T")
P = ParamSpec("P")

READ = 32768
"""Bytes that one read of a socket brings at most (`net.conn.READ_BYTES`), so no parser is fed more."""

MAX_INPUT = 2 * READ
"""Bytes of an input. At this size what is quadratic is slow."""

MAX_PIECES = 48
"""Reads that one input is cut into: enough to cut anywhere, few enough to stay fast."""

Mutate = Callable[[Random, bytes, Sequence[bytes]], bytes]
"""Returns an input made of another one, and perhaps of pieces of the inputs in a pool."""


@dataclass(frozen=True)
class Target:
    """One parser, and how to feed it.

    Attributes:
        name: as `--target` has it.
        run: feeds it one input; raises where something does not hold. Any exception is a finding.
        seeds: returns the inputs to begin with.
        mutate: makes others of them.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    mutate: Mutate


class Stopwatch:
    """Calls what a target tests, and keeps the CPU seconds of the slowest call.

    An input is fed several times in a run; what a peer can make us do at once is one call.
    """

    slowest = 0.0

    def __call__(self, call: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        began = time.thread_time()
        try:
            return call(*args, **more)
        finally:
            self.slowest = max(self.slowest, time.thread_time() - began)


timed = Stopwatch()
"""The one of this process; `engine` looks at it after each run."""


def pick(data: bytes, options: Sequence[T], salt: int = 0) -> T:
    """Return one of `options`, always the same for the same input; another `salt`, another choice."""
    return options[zlib.crc32(data, salt) % len(options)]


def reads(data: bytes) -> list[bytes]:
    """Return `data` as reads that are as large as they can be."""
    return [data[at : at + READ] for at in range(0, len(data), READ)]


def pieces(data: bytes, salt: int = 0) -> list[bytes]:
    """Return `data` cut into reads: byte by byte where it is short, else in a few places."""
    size = len(data)
    if size <= MAX_PIECES:
        return [data[at : at + 1] for at in range(size)]
    rng = Random(zlib.crc32(data, salt))
    count = rng.choice((1, 2, 3, MAX_PIECES - 1))
    if rng.random() < 0.5:
        cuts: Iterable[int] = (rng.randrange(1, size) for _ in range(count))
    else:  # close to one another: one thing may span many reads
        begin = rng.randrange(1, size)
        cuts = (min(size, begin + rng.randrange(2 * MAX_PIECES)) for _ in range(count))
    bounds = sorted({*range(0, size, READ), size, *cuts})
    return [data[start:end] for start, end in pairwise(bounds)]


def held(thing: Any) -> int:
    """Return how many bytes of input an object of ours keeps, in whatever it is made of."""
    if isinstance(thing, bytes | bytearray | str):
        return len(thing)
    if isinstance(thing, dict):
        return sum(held(key) + held(value) for key, value in thing.items())
    if isinstance(thing, list | tuple | set | frozenset):
        return sum(map(held, thing))
    if not type(thing).__module__.startswith("rawproxy."):
        return 0
    names = {name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())}
    names.update(getattr(thing, "__dict__", ()))
    return sum(held(getattr(thing, name, None)) for name in names)
