"""Many lanes at once, each in a process of its own, which may die or hang without harm to the others."""

import contextlib
import importlib
import multiprocessing
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from fuzz.base import MAX_INPUT
from fuzz.engine import Finding, Lane, Report, run_lane

__all__ = ["hunt"]

HANG_SECONDS = 30.0
"""Without a word from a process for so long, its input hangs."""

HEADROOM = 4
"""Times MAX_INPUT for which there is room: seeds may be longer than what is made of them."""

MEMORY_BYTES = 4 * 2**30
"""Address space of a process: what grows without bound fails with a MemoryError."""

_SIZE = 4  # bytes before the input in the shared memory: its length

_spawn = multiprocessing.get_context("spawn")


class _Worker:
    """A process that runs one lane after another, and the memory in which it leaves its input."""

    def __init__(self, module: str) -> None:
        self.cell: Any = _spawn.RawArray("B", _SIZE + HEADROOM * MAX_INPUT)
        self.pipe, other = _spawn.Pipe()
        self.process = _spawn.Process(target=_work, args=(other, self.cell, module), daemon=True)
        self.process.start()
        other.close()
        self.lane: Lane | None = None
        self.heard = time.monotonic()

    def give(self, lane: Lane) -> None:
        self.lane, self.heard = lane, time.monotonic()
        self.pipe.send(lane)

    def last_input(self) -> bytes:
        seen = bytes(self.cell)
        return seen[_SIZE : _SIZE + int.from_bytes(seen[:_SIZE])]

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def hunt(lanes: Sequence[Lane], jobs: int, module: str) -> Iterator[Report | Finding]:
    """Run `lanes`, `jobs` at a time; yield what they say, as they say it.

    Args:
        lanes: in this order.
        jobs: processes.
        module: has the `TARGETS` that the lanes name.
    """
    left = list(lanes)
    workers = [_Worker(module) for _ in range(min(jobs, len(left)))]
    try:
        while True:
            for at, worker in enumerate(workers):
                if worker.lane is None and left:
                    if not worker.process.is_alive():
                        workers[at] = worker = _Worker(module)
                    worker.give(left.pop(0))
            busy = {worker.pipe: worker for worker in workers if worker.lane is not None}
            if not busy:
                return
            heard: list[Any] = wait(list(busy), timeout=1.0)
            for pipe in heard:
                yield _hear(busy[pipe])
            for worker in busy.values():
                if worker.lane is not None and time.monotonic() - worker.heard > HANG_SECONDS:
                    yield _lose(worker, "hangs", f"no end after {HANG_SECONDS:.0f} seconds\n")
    finally:
        for worker in workers:
            worker.end()


def _hear(worker: _Worker) -> Report | Finding:
    try:
        said: Report | Finding = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        return _lose(worker, "died", f"the process ended with {worker.process.exitcode}\n")
    worker.heard = time.monotonic()
    if isinstance(said, Report) and said.done:
        worker.lane = None
    return said


def _lose(worker: _Worker, key: str, text: str) -> Finding:
    """Give a process up; return its last input as a finding."""
    lane, data = worker.lane, worker.last_input()
    assert lane is not None
    worker.lane = None
    worker.end()
    return Finding(lane.target, data, key, text)


def _work(pipe: Connection, cell: Any, module: str) -> None:
    """Run lanes until the pipe ends; what a process of the fleet does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us ends us
    with contextlib.suppress(ValueError, OSError):  # not every system has this limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    targets = importlib.import_module(module).TARGETS
    memory = memoryview(cell).cast("B")

    def begin(data: bytes) -> None:
        memory[:_SIZE] = len(data).to_bytes(_SIZE)
        memory[_SIZE : _SIZE + len(data)] = data

    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            lane = pipe.recv()
            run_lane(lane, targets[lane.target], pipe.send, begin)
