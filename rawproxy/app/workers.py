"""The first process of several: opens the listeners, starts the workers, keeps their number, speaks for all.

Layer: app. Serves no client itself. Workers share its listening sockets, so what waits in a queue is
served by whoever lives; each is an interpreter of its own, started anew when it ends.
"""

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

import trio
from msgspec.structs import replace

from rawproxy.app.admin import Admin, admin_listening
from rawproxy.app.build import (
    doors_of,
    embedded_models,
    entrances_of,
    keys_of,
    pools_of,
    setup_of,
    sources_of,
)
from rawproxy.app.channel import (
    Ask,
    Begin,
    Channel,
    Configure,
    Drain,
    Ended,
    Failed,
    Hello,
    Ready,
    Told,
)
from rawproxy.app.config import Config
from rawproxy.app.metrics import Families, Metrics, lasting, merge, of_workers, text_of
from rawproxy.app.serve import Drained
from rawproxy.app.sockets import Listener, Sockets, url_of
from rawproxy.errors import ConfigError
from rawproxy.gateway.keys import Secret
from rawproxy.net.listen import Listening

__all__ = ["Supervisor", "backoff"]

_log = logging.getLogger("rawproxy")

SHORT_LIFE_SECONDS = 10.0
"""A worker that ends earlier may end again at once: the next one has to wait a little."""

FIRST_BACKOFF, MOST_BACKOFF = 0.1, 5.0

FAILURES = 3
"""Starts in a row that fail by the configuration, with nobody serving, until we give up."""

PULL_SECONDS = 1.0
"""How often metrics are asked for: what a worker that is killed has counted since then is lost."""

ANSWER_SECONDS = 1.0
"""How long a scrape waits for a worker; then it gets what was told last."""

KILL_SECONDS = 5.0
"""How long after the end of a drain a worker may still be there."""


def backoff(short_lives: int) -> float:
    """Return how many seconds to wait after so many short lives in a row: 0, 0.1, 0.2, ... at most 5."""
    return min(MOST_BACKOFF, FIRST_BACKOFF * 2 ** (short_lives - 2)) if short_lives > 1 else 0.0


class Seat:
    """The place of one worker, and what is known of those who had it.

    Attributes:
        number: from 1.
        channel: to the one who has it now.
        up: whether it serves.
        restarts: how often it was given to another one.
        told: its metrics, last heard.
        answered: set when it has told them.
        greeted: set when it has everything imported.
        configured: set when it has answered to that, or died.
        ready: set when it serves for the first time.
        failure: why it does not.
        wanted: whether anybody is to have it.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.channel: Channel | None = None
        self.up = False
        self.restarts = 0
        self.told: Families = {}
        self.answered = trio.Event()
        self.greeted = trio.Event()
        self.configured = trio.Event()
        self.ready = trio.Event()
        self.failure = ""
        self.wanted = True


class Supervisor:
    """A proxy of several processes; to be used as a `Proxy` is."""

    def __init__(self, config: Config, *, log_level: str, take_over: bool = False) -> None:
        self.config = config
        self.urls: list[str] = []
        self.admin_url = ""
        self.draining = False
        self.embedded_models: list[str] = []
        self._log_level = log_level
        self._random_key = Secret(secrets.token_hex())
        self._sockets = Sockets(take_over=take_over)
        self._listeners: list[Listener] = []
        self._seats: list[Seat] = []
        self._metrics = Metrics()  # of this process: it serves the admin pages alone
        self._gone: Families = {}  # what those that have ended had counted
        self._drained = Drained(0, 0)
        self._living = 0
        self._opened = trio.Event()
        self._ending = trio.Event()
        self._all_ended = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._admin_listening: Listening | None = None
        self._check(config)

    async def open(self, nursery: trio.Nursery) -> None:
        """Start the workers and open every listener; return when all serve.

        Raises:
            ConfigError: an address cannot be had, or no worker can use the configuration.
        """
        self._nursery = nursery
        admin = Admin(self._text, self._not_ready, lambda: doors_of(self.config)[True])
        self._admin_listening = admin_listening(
            admin, lambda: self.config.server.limits, self._metrics.refused, nursery
        )
        self._seat(self.config.server.workers)
        for seat in self._seats:  # nobody is to wait in a queue until they have imported it all
            await seat.greeted.wait()
        async with self._sockets.change(self.config) as listeners:
            self._listen(listeners)
        self._opened.set()
        for seat in self._seats:
            await seat.ready.wait()
        nursery.start_soon(self._pull)

    async def change(self, config: Config) -> None:
        """Swap the configuration of all workers, listeners included: all of it, or on an error nothing.

        Raises:
            ConfigError: it cannot be used. The old configuration stays.
        """
        self._check(config)
        async with self._sockets.change(config) as listeners:
            self.config = config
            self._listen(listeners)
        self._seat(config.server.workers)
        waiting = [seat for seat in self._seats if seat.greeted.is_set()]
        with trio.move_on_after(KILL_SECONDS):  # one that hangs must not keep signals waiting
            for seat in waiting:
                await self._configure(seat)
            for seat in waiting:
                await seat.configured.wait()

    async def drain(self) -> Drained:
        """Let the workers drain; return when the last one has ended."""
        self.draining = True
        self._ending.set()
        for listener in self._clients():
            listener.sock.close()
        for seat in self._seats:
            if seat.channel is not None:
                await seat.channel.send(Drain())
        if self._living:
            with trio.move_on_after(self.config.server.drain_seconds + KILL_SECONDS):
                await self._all_ended.wait()
        self.close()
        return self._drained

    def close(self) -> None:
        """Remove the socket files."""
        self._sockets.close()

    # -- configuration

    def _check(self, config: Config) -> None:
        """Raise ConfigError for what would fail in every worker."""
        pools = pools_of(config)
        sources_of(config, pools)
        entrances_of(config.server)
        self.embedded_models = embedded_models(setup_of(config, pools).site.router)

    def _listen(self, listeners: Sequence[Listener]) -> None:
        kept = {one.sock for one in listeners}
        for one in self._clients():
            if one.sock not in kept:
                one.sock.close()
        self._listeners = list(listeners)
        admin = [one for one in listeners if one.place.role == "admin"]
        assert self._admin_listening is not None
        self._admin_listening.listen(
            [one.sock for one in admin], self.config.server.limits.write_seconds
        )
        self.urls = [url_of(one, tls=self.config.server.tls is not None) for one in self._clients()]
        self.admin_url = "".join(url_of(one) for one in admin[:1])

    def _clients(self) -> list[Listener]:
        return [one for one in self._listeners if one.place.role == "clients"]

    async def _configure(self, seat: Seat) -> None:
        config = self.config
        if not (config.server.seal_key or keys_of(config)):
            # Each worker would make one of its own, and none could open what another has sealed.
            config = replace(config, server=replace(config.server, seal_key=self._random_key))
        if seat.channel is None:
            return
        seat.configured.set()  # whoever waits for an older one waits in vain
        seat.configured = trio.Event()
        clients = self._clients()
        message = Configure(config, [one.place for one in clients])
        await seat.channel.send(message, [one.sock for one in clients])

    # -- workers

    def _seat(self, count: int) -> None:
        """Have `count` workers: start what is missing, drain what is too many."""
        assert self._nursery is not None
        for seat in self._seats[count:]:
            seat.wanted = False
            if seat.channel is not None:
                self._nursery.start_soon(seat.channel.send, Drain())
        del self._seats[count:]
        while len(self._seats) < count:
            self._seats.append(Seat(len(self._seats) + 1))
            self._living += 1
            self._nursery.start_soon(self._keep, self._seats[-1])

    async def _keep(self, seat: Seat) -> None:
        """Keep one seat taken, until that is not wanted any more."""
        short_lives = failures = 0
        try:
            while True:
                began = trio.current_time()
                seat.failure = "it ended before it served"
                code = await self._one_life(seat)
                if self.draining or not seat.wanted:
                    return
                failures = failures + 1 if seat.failure else 0
                if failures >= FAILURES and not any(one.up for one in self._seats):
                    raise ConfigError(f"no worker can be started: {seat.failure}")
                short = trio.current_time() - began < SHORT_LIFE_SECONDS
                short_lives = short_lives + 1 if short else 0
                seconds = backoff(short_lives)
                how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
                _log.warning("worker %d %s, the next one starts in %g s", seat.number, how, seconds)
                with trio.move_on_after(seconds):
                    await self._ending.wait()
                seat.restarts += 1
        finally:
            self._living -= 1
            if not self._living:
                self._all_ended.set()

    async def _one_life(self, seat: Seat) -> int:
        """Start a worker, and return its exit code when it has ended."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        seat.channel = Channel(ours)
        try:
            with theirs:
                process = await _start(theirs)
            try:
                await self._converse(seat)
                # It has closed its end: it is about to go, or hangs.
                with trio.move_on_after(KILL_SECONDS):
                    return await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
            return -signal.SIGKILL
        finally:
            seat.up = False
            if seat.greeted.is_set():  # else somebody may wait for it still
                seat.greeted = trio.Event()
            seat.channel.close()
            seat.channel = None
            self._gone = merge([self._gone, lasting(seat.told)])
            seat.told = {}
            seat.answered.set()
            seat.configured.set()

    async def _converse(self, seat: Seat) -> None:
        """Hear what a worker says, until it is gone."""
        assert seat.channel is not None
        while (message := await seat.channel.receive()) is not None:
            match message:
                case Hello():
                    await seat.channel.send(Begin(self._log_level))
                    seat.greeted.set()
                    await self._opened.wait()
                    await (seat.channel.send(Drain()) if self.draining else self._configure(seat))
                case Ready():
                    seat.up, seat.failure = True, ""
                    seat.ready.set()
                    seat.configured.set()
                case Failed(why):
                    _log.error("worker %d cannot use the configuration: %s", seat.number, why)
                    seat.configured.set()
                    if not seat.up:
                        seat.failure = why
                        return
                case Told(families):
                    seat.told = families
                    seat.answered.set()
                case Ended(ended, cut):
                    before = self._drained
                    self._drained = Drained(before.ended + ended, before.cut + cut)

    # -- the admin pages

    def _not_ready(self) -> str:
        if self.draining:
            return "draining"
        return "" if any(seat.up for seat in self._seats) else "no worker is up"

    async def _pull(self) -> None:
        while True:
            await trio.sleep(PULL_SECONDS)
            if self.admin_url:
                await self._ask_all()

    async def _ask_all(self) -> None:
        """Bring `told` of all seats up to date, as far as the workers answer."""
        with trio.move_on_after(ANSWER_SECONDS):
            async with trio.open_nursery() as nursery:
                for seat in self._seats:
                    if seat.up:
                        nursery.start_soon(self._ask, seat)

    async def _ask(self, seat: Seat) -> None:
        assert seat.channel is not None
        seat.answered = trio.Event()
        await seat.channel.send(Ask())
        await seat.answered.wait()

    async def _text(self) -> bytes:
        await self._ask_all()
        families = merge(
            [self._metrics.families(), self._gone, *(seat.told for seat in self._seats)]
        )
        families |= of_workers(
            {seat.number: seat.up for seat in self._seats},
            sum(seat.restarts for seat in self._seats),
        )
        return await trio.to_thread.run_sync(text_of, families)


async def _start(channel: socket.socket) -> trio.Process:
    """Start a worker with this end of a channel. It has our modules, and signals of its own."""
    environ = dict(os.environ)
    environ["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return await trio.lowlevel.open_process(
        [sys.executable, "-P", "-m", "rawproxy.app.worker", str(channel.fileno())],
        stdin=subprocess.DEVNULL, pass_fds=[channel.fileno()], env=environ, process_group=0,
    )  # fmt: skip
