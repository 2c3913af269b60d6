"""All sockets are looked at together: what is ready is handled by plain calls, at a third of a task's cost.

Layer: net. The pump looks while trio would wait (`net.standby`), or has trio wake it once for everything
that is ready at a time; a socket stays registered with the kernel for as long as it is open. A `Taker`
is called for it and never waits: it reads and feeds, notes that a client has left, or wakes the task that
has to wait for something. What it wants to send goes out when all who are ready have read: the peers are
woken once, and not between two reads.
Source: https://man7.org/linux/man-pages/man7/epoll.7.html (level-triggered).
"""

import logging
import math
import select
import selectors
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import outcome
import trio
from trio.lowlevel import Abort

from rawproxy.net.standby import Standby, find_epoll

__all__ = ["BATCH", "Pump", "Taker", "Then"]

_log = logging.getLogger("rawproxy")

PAUSE_SECONDS = 0.1
"""After a fault of ours, so that one that stays does not take all the time there is."""

COARSE_SECONDS = 0.05
"""How much later than asked a wait may end: the ends of many are looked at together."""

BATCH = 64
"""Sockets that are read before anything is sent, and before tasks have their turn. More make each of them
cheaper, and the first that is read is sent the later (docs/DECISIONS.md)."""

Then = Callable[[float], None]
"""What is left to be done when all who are ready have read. It is told the time, on trio's clock."""

Taker = Callable[[], Then | None]
"""Takes what there is to read on a socket, and returns what is left to be done; has not to raise."""


# It costs one socket something; the others go on.
_FAULT = "the pump: a fault of ours with one socket"


class _Selector:
    """`select.epoll` as far as it is used, for systems that do not have it."""

    def __init__(self) -> None:
        self._selector: Any = selectors.DefaultSelector()
        self.fileno, self.close = self._selector.fileno, self._selector.close
        self.unregister = self._selector.unregister

    def register(self, fd: int, _: int, /) -> None:
        self._selector.register(fd, selectors.EVENT_READ)

    def poll(self, timeout: float, _: int, /) -> list[tuple[int, int]]:
        # All of them: nobody promises that those who are left out come first the next time.
        return [(key.fd, events) for key, events in self._selector.select(timeout)]


_READ = getattr(select, "EPOLLIN", selectors.EVENT_READ)


class Pump:
    """Calls the taker of each descriptor that has something to read, an end or an error.

    Args:
        moves: whether replies are relayed in it and reads waited for. False leaves both to trio, with
            a task for each: slower, and the same in everything else. Then it only watches.
    """

    def __init__(self, *, moves: bool = True) -> None:
        self.moves = moves
        self._poll: Any = select.epoll() if hasattr(select, "epoll") else _Selector()
        self._takers: dict[int, Taker] = {}
        self._registered: set[int] = set()
        self._over = False
        self._until: dict[int, float] = {}  # reads that are not waited for longer
        self._alarm = trio.CancelScope()  # its deadline is when to look at those
        self._together = 0  # blocks of `together` that we are in
        self._later: list[Then] = []
        self.now: Callable[[], float] = trio.current_time
        """Return the time on trio's clock, once it runs without two calls in front of it."""

    def __contains__(self, fd: int) -> bool:
        """Return whether somebody is called for it."""
        return fd in self._takers

    def take(self, fd: int, taker: Taker) -> None:
        """Call `taker` each time that there is something to read, until `leave` or `forget`."""
        if fd not in self._registered and not self._over:
            self._poll.register(fd, _READ)
            self._registered.add(fd)
        self._takers[fd] = taker

    def leave(self, fd: int) -> None:
        """Call nobody for it any more; harmless where nobody was."""
        # It stays registered: the next taker mostly comes before the next byte.
        self._takers.pop(fd, None)

    def forget(self, fd: int) -> None:
        """Learn that a descriptor is about to be closed. A `receive` that waits for it ends."""
        if fd in self._registered:
            self._unregister(fd)
        taker = self._takers.pop(fd, None)
        if isinstance(taker, _Wait):
            taker.end(outcome.Error(trio.ClosedResourceError()))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have what is asked for by `later` in this block done at its end."""
        self._together += 1
        try:
            yield
        finally:
            self._apart()

    def _apart(self) -> None:
        if self._together == 1 and self._later:
            self._do_later()
        self._together -= 1
        if not self._together and self._later:
            self._do_later()

    def _do_later(self) -> None:
        later, self._later = self._later, []
        _do_all(later, self.now())

    def later(self, do: Then) -> bool:
        """Do this once all that is ready now was handled; False outside of that: then nobody will.

        What one of those puts off comes behind all of them; what that one would is not put off.
        """
        if self._together:
            self._later.append(do)
        return self._together > 0

    async def receive(
        self, fd: int, receive: Callable[[], bytes | None], until: float = math.inf
    ) -> bytes:
        """Return what `receive` gives, once it gives anything but None.

        Args:
            fd: the descriptor that it reads.
            receive: is called each time that there is something to read; what it raises is raised here.
            until: on trio's clock.

        Raises:
            trio.TooSlowError: it gave nothing until then, or up to `COARSE_SECONDS` later.
            trio.ClosedResourceError: the descriptor was closed meanwhile.
        """
        over = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
        self.receive_later(fd, receive, until, over)
        data: bytes = await trio.lowlevel.wait_task_rescheduled(partial(self._abort, fd))
        return data

    def receive_later(
        self,
        fd: int,
        receive: Callable[[], bytes | None],
        until: float,
        over: Callable[[outcome.Outcome[bytes]], None],
    ) -> None:
        """Do as `receive`, and call `over` with what it would return or raise."""
        self.take(fd, _Wait(self, fd, receive, over))
        if until < math.inf:
            self.hurry(fd, until)

    def _abort(self, fd: int, _: object) -> Abort:
        self.over(fd)
        return Abort.SUCCEEDED

    def hurry(self, fd: int, until: float) -> None:
        """Change how long a `receive` that waits may do so; where none does, nothing happens."""
        if not isinstance(self._takers.get(fd), _Wait):
            return
        self._until[fd] = until
        if until < self._alarm.deadline:
            self._alarm.deadline = until

    def wake(self, fd: int) -> None:
        """Have a `receive` that waits return b""; where none does, nothing happens."""
        wait = self._takers.get(fd)
        if isinstance(wait, _Wait):
            wait.end(outcome.Value(b""))

    def over(self, fd: int) -> None:
        """Learn that the wait for a descriptor is over."""
        self._takers.pop(fd, None)
        self._until.pop(fd, None)

    async def run(self) -> None:
        """Look until cancelled."""
        self.now = trio.lowlevel.current_clock().current_time
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._on_and_on, self._expire, name="Pump.expire")
                await self._on_and_on(self._look)
        finally:
            self._over = True
            self._registered.clear()
            self._poll.close()

    @staticmethod
    async def _on_and_on(loop: Callable[[], Awaitable[None]]) -> None:
        failed = False
        while True:
            try:
                if failed:
                    await trio.sleep(PAUSE_SECONDS)
                failed = False
                await loop()
            except Exception:  # without it everybody would wait for ever
                _log.exception("the pump pauses: a fault of ours")
                failed = True

    async def _expire(self) -> None:
        """End the waits that have lasted too long: with one deadline of trio's for all of them."""
        looked = -math.inf
        while True:
            soonest = min(self._until.values(), default=math.inf)
            self._alarm = trio.CancelScope(deadline=max(soonest, looked + COARSE_SECONDS))
            with self._alarm:
                await trio.sleep_forever()
            looked = trio.current_time()
            for fd in [fd for fd, until in self._until.items() if until <= looked]:
                wait = self._takers.get(fd)
                if isinstance(wait, _Wait):
                    wait()  # what is there by now came in time: it is us who are late
                    if self._takers.get(fd) is wait:
                        wait.end(outcome.Error(trio.TooSlowError()))

    async def _look(self) -> None:
        epoll = await find_epoll() if self.moves else None
        if epoll is not None:
            standby = Standby(self, BATCH)
            self.take(epoll, standby.wanted)
            try:
                await standby.run()
            finally:
                self.forget(epoll)
        number = self._poll.fileno()
        while True:
            await trio.lowlevel.wait_readable(number)
            self.look(0)

    def look(self, timeout: float) -> tuple[float, int]:
        """Handle up to `BATCH` sockets that are ready now or, where none is, within `timeout` seconds.

        Returns:
            The time after that, on trio's clock, and how many were handled.
        """
        takers = self._takers
        thens: list[Then] = []
        ready = self._poll.poll(timeout, BATCH)
        now = self.now()
        self._together += 1  # a `with` would cost as much as an event's system call
        try:
            for fd, _ in ready:
                taker = takers.get(fd)
                if taker is None:
                    # The kernel would tell it again and again.
                    self._unregister(fd)
                    continue
                try:
                    then = taker()
                except Exception:
                    _log.exception(_FAULT)
                else:
                    if then is not None:
                        thens.append(then)
            if thens:
                _do_all(thens, now)
        finally:
            self._apart()
        return now, len(ready)

    def _unregister(self, fd: int) -> None:
        self._registered.discard(fd)
        with suppress(OSError, KeyError):  # it is closed already
            self._poll.unregister(fd)


class _Wait:
    """Somebody waits for something to read: the taker of its descriptor."""

    __slots__ = ("_fd", "_over", "_pump", "_receive")

    def __init__(
        self,
        pump: Pump,
        fd: int,
        receive: Callable[[], bytes | None],
        over: Callable[[outcome.Outcome[bytes]], None],
    ) -> None:
        self._pump = pump
        self._fd = fd
        self._receive = receive
        self._over = over

    def __call__(self) -> None:
        # It is read here, not by a task: until that one runs the kernel would tell of it again.
        try:
            data = self._receive()
        except Exception as error:
            self.end(outcome.Error(error))
        else:
            if data is not None:
                self.end(outcome.Value(data))

    def end(self, result: outcome.Outcome[bytes]) -> None:
        self._pump.over(self._fd)
        self._over(result)


def _do_all(what: list[Then], now: float) -> None:
    for do in what:
        try:
            do(now)
        except Exception:
            _log.exception(_FAULT)
