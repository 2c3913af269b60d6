"""Targets with faults that were put there: what finds faults has to find these."""

import os
import time

from fuzz.base import Target, timed
from fuzz.mutate import of_bytes

MAGIC = b"boom"

SEED = b"a quiet input"


def _fails(data: bytes) -> None:
    assert MAGIC not in data, f"{len(data)} bytes"


def _burn(data: bytes) -> None:
    until = time.thread_time() + (0.15 if MAGIC in data else 0.0)
    while time.thread_time() < until:
        pass


def _is_slow(data: bytes) -> None:
    timed(_burn, data)


def _dies(data: bytes) -> None:
    if MAGIC in data:
        os._exit(7)


def _fine(data: bytes) -> None:
    timed(len, data)


TARGETS = {
    name: Target(name, run, lambda: [SEED], of_bytes([MAGIC]))
    for name, run in (("fails", _fails), ("slow", _is_slow), ("dies", _dies), ("fine", _fine))
}
