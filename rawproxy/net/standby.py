"""Waiting in trio's place: what wakes no task costs no turn of trio's.

Layer: net. A turn of trio's costs as much as an event that is relayed. Before trio waits it tells its
instruments; this one waits itself, for the pump's sockets and for trio's own epoll, which stands among
them, and lets trio go on as soon as a task has to run.
Sources: https://trio.readthedocs.io/en/stable/reference-lowlevel.html#instrument-api,
https://man7.org/linux/man-pages/man5/proc_pid_fdinfo.5.html (`tfd`: what an epoll waits for).
"""

import inspect
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import trio

__all__ = ["STAY_SECONDS", "Looks", "Standby", "find_epoll"]

STAY_SECONDS = 0.25
"""How long trio is kept from its turn while sockets are handled: a deadline that one of them brings
forward is seen up to this much later."""

_taken: trio.lowlevel.RunVar[bool] = trio.lowlevel.RunVar("rawproxy_standby", default=False)
"""Whether one waits already: it would not see what another one waits for, and hold that up."""

_FDINFO = Path("/proc/self/fdinfo")


class Looks(Protocol):
    """What is done in the meantime: the pump, as far as it is seen from here."""

    def look(self, timeout: float) -> tuple[float, int]:
        """Handle what is ready now or, where nothing is, within `timeout` seconds.

        Returns:
            The time after that, on trio's clock, and how much was handled.
        """
        ...


class Standby(trio.abc.Instrument):
    """Looks where trio would wait.

    Args:
        pump: looks; its wait has to end where trio's own epoll is ready, by a call of `wanted`.
        batch: how much it handles at a time: where it was that much, more may be ready.
    """

    def __init__(self, pump: Looks, batch: int) -> None:
        self._pump = pump
        self._batch = batch
        self._wanted = False
        self._bell = -1
        self._fault: Exception | None = None

    async def run(self) -> None:
        """Do so until cancelled. A fault of the pump's is raised here."""
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        _taken.set(True)
        trio.lowlevel.add_instrument(self)
        try:
            while self._fault is None:
                await trio.lowlevel.wait_readable(self._bell)
                os.eventfd_read(self._bell)
            raise self._fault
        finally:
            trio.lowlevel.remove_instrument(self)
            _taken.set(False)
            trio.lowlevel.notify_closing(self._bell)
            os.close(self._bell)

    def wanted(self) -> None:
        """Let trio have its turn."""
        self._wanted = True

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        """Do as trio asks of an instrument: a task has to run."""
        self._wanted = True

    def before_io_wait(self, timeout: float) -> None:
        """Do as trio asks of an instrument: it is about to wait, 0 seconds where tasks have to run."""
        try:
            if timeout > 0:
                self._wait(timeout)
            elif self._pump.look(0)[1] and not trio.lowlevel.current_statistics().tasks_runnable:
                self._ring()  # a clock of trio's testing tools jumps where nothing happens
        except Exception as error:  # trio would do without us from then on
            self._fault = error
            self._ring()

    def _wait(self, timeout: float) -> None:
        self._wanted = False
        start = trio.current_time()
        now, handled = self._pump.look(timeout)
        if not handled and trio.lowlevel.current_statistics().seconds_to_next_deadline > 0:
            return  # it is not a deadline: trio's testing tools wait for nothing to happen
        end = min(start + timeout, now + STAY_SECONDS)
        while not self._wanted and handled < self._batch and now < end:
            now, handled = self._pump.look(end - now)
        # trio still means to wait as long as it said; and its own epoll was perhaps ready only a moment.
        self._ring()

    def _ring(self) -> None:
        os.eventfd_write(self._bell, 1)


async def find_epoll() -> int | None:
    """Return the descriptor of the epoll on which trio waits, for one who is about to stand by.

    None on a system that does not tell; where trio is the guest of another loop, which must not be held
    up; and where one stands by already: a second pump is left to a task.
    """
    if not hasattr(os, "eventfd") or not _waits_itself():
        return None
    marker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, marker)
            for _ in range(2):  # after one of them the other task has begun
                await trio.lowlevel.checkpoint()
            found = _who_waits_for(marker)
            nursery.cancel_scope.cancel()
    finally:
        os.close(marker)
    return (
        None if _taken.get() else found
    )  # not before: of two who ask at a time one may be the first


def _waits_itself() -> bool:
    """Return whether it is `trio.run` that called us, not a host (`start_guest_run`)."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not trio.run.__code__:
        frame = frame.f_back
    return frame is not None


def _who_waits_for(fd: int) -> int | None:
    """Return the epoll of this process in which `fd` is registered."""
    line = re.compile(rb"^tfd:\s+%d\s" % fd, re.MULTILINE)
    with suppress(OSError):
        for info in _FDINFO.iterdir():
            with suppress(OSError):  # the descriptor of this very listing is closed by now
                if line.search(info.read_bytes()):
                    return int(info.name)
    return None
