"""Put the parts together and run them: configuration to upstreams, routes, listeners, signals.

Layer: app.
"""

import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

from rawproxy.app import logs
from rawproxy.app.admin import Admin, admin_listening
from rawproxy.app.build import (
    Source,
    doors_of,
    embedded_models,
    entrances_of,
    keys_of,
    pools_of,
    setup_of,
    sources_of,
)
from rawproxy.app.config import Config, checked, from_mapping, load
from rawproxy.app.descriptors import connections_that_fit, raise_limit
from rawproxy.app.heap import settle, tidy
from rawproxy.app.metrics import Families, Metrics, text_of
from rawproxy.app.notify import Notifier
from rawproxy.app.sockets import Listener, Sockets, is_local, url_of
from rawproxy.errors import ConfigError
from rawproxy.gateway.record import Record
from rawproxy.gateway.room import Room
from rawproxy.net.connections import Connections, Terms
from rawproxy.net.listen import Listening
from rawproxy.net.pump import Pump
from rawproxy.net.response import Begun, Request, Response
from rawproxy.net.server import Server
from rawproxy.net.sweep import Sweeper
from rawproxy.net.upstream import Upstreams
from rawproxy.net.welcome import Entrance, Serving

if TYPE_CHECKING:
    from rawproxy.app.workers import Supervisor

__all__ = ["Drained", "Proxy", "main", "open_proxy", "run_in_thread"]

_log = logging.getLogger("rawproxy")

SWEEP_SECONDS = 0.25
"""How often the clocks are looked at; a quarter of the shortest one where that is less."""


class Drained(NamedTuple):
    """How a drain went: exchanges that ended by themselves, and that were ended."""

    ended: int
    cut: int


class Proxy:
    """A proxy that is running.

    Attributes:
        urls: where it listens, e.g. `["http://127.0.0.1:8080"]`.
        admin_url: where the admin pages are; "" when they are off.
    """

    def __init__(
        self,
        config: Config,
        keep: Callable[[Record], None] | None = None,
        *,
        take_over: bool = False,
    ) -> None:
        logs.hush()
        self.config = config
        self._also_keep = keep
        self.urls: list[str] = []
        self.admin_url = ""
        self.draining = False
        self.metrics = Metrics()
        self._records = logs.RecordLog()
        self._pump = Pump(moves=os.environ.get("RAWPROXY_PUMP") != "off")
        self._sweeper = Sweeper(_period(config), Upstreams(self._pump))
        pools = pools_of(config)
        self._sources = sources_of(config, pools)
        self._fetching = trio.CancelScope()
        self._server = Server(setup_of(config, pools), self._keep, self._sweeper)
        self._entrance, self._unix_entrance = entrances_of(config.server)
        self._doors = doors_of(config)
        self._room = Room(config.server.limits.bodies_bytes)
        self._sockets = Sockets(take_over=take_over)
        self._connections = Connections(
            connections_that_fit(config.server.limits.connections), self.metrics.refused
        )
        self._nursery: trio.Nursery | None = None
        self._listening: Listening | None = None
        self._admin_listening: Listening | None = None
        self._ended = 0  # exchanges, since the start

    @property
    def embedded_models(self) -> list[str]:
        """The names by which engines in this process can be asked, the shortest first."""
        return embedded_models(self._server.setup.site.router)

    async def open(self, nursery: trio.Nursery) -> None:
        """Open every listener and start serving in `nursery`.

        Raises:
            ConfigError: an address cannot be had.
        """
        async with self._sockets.change(self.config) as listeners:
            await self.start(nursery)
            self.listen(listeners)

    async def start(self, nursery: trio.Nursery) -> None:
        """Start what runs beside the listeners in `nursery`."""
        self._nursery = nursery
        self._listening = Listening(self._connections, self._terms, nursery, self._pump)
        admin = Admin(self._text, self._not_ready, lambda: self._doors[True])
        self._admin_listening = admin_listening(
            admin, lambda: self.config.server.limits, self.metrics.refused, nursery
        )
        nursery.start_soon(self._sweeper.sweep)
        nursery.start_soon(self._pump.run)
        nursery.start_soon(self._connections.run)
        nursery.start_soon(self._records.run)
        await nursery.start(self._server.upstreams.run)
        self._start_fetching()

    def listen(self, listeners: Sequence[Listener]) -> None:
        """Accept on `listeners` from now on, and on no others; they are ours to close."""
        assert self._listening is not None
        assert self._admin_listening is not None
        write_seconds = self.config.server.limits.write_seconds
        clients = [one for one in listeners if one.place.role == "clients"]
        admin = [one for one in listeners if one.place.role == "admin"]
        self._listening.listen([one.sock for one in clients], write_seconds)
        self._admin_listening.listen([one.sock for one in admin], write_seconds)
        self.urls = [url_of(one, tls=self.config.server.tls is not None) for one in clients]
        self.admin_url = "".join(url_of(one) for one in admin[:1])

    async def change(self, config: Config) -> None:
        """Swap the configuration, listeners included: all of it, or on an error nothing.

        Raises:
            ConfigError: an address or a key cannot be had. The old configuration stays.
        """
        if config.server.workers != self.config.server.workers:
            _log.warning("server.workers: a change from 1 needs a restart")
        async with self._sockets.change(config) as listeners:
            self.reload(config)
            self.listen(listeners)

    def reload(self, config: Config) -> None:
        """Swap the configuration: exchanges under way keep the old one, listeners stay as they are.

        Certificates are read anew, and are for new connections, to clients and to upstreams.

        Raises:
            ConfigError: a key cannot be fetched here, or a file cannot be read. The old configuration
                stays.
        """
        pools = pools_of(config)
        sources = sources_of(config, pools)
        entrances = entrances_of(config.server)
        old, new = self._server.setup, setup_of(config, pools)
        if not (config.server.seal_key or keys_of(config)):
            new = replace(new, seal_key=old.seal_key)  # a random one lasts as long as the process
        self._server.setup = new
        self._doors = doors_of(config)
        self._room.most = config.server.limits.bodies_bytes
        self._server.upstreams.renew()
        self._entrance, self._unix_entrance = entrances
        self.config = config
        self._connections.most = connections_that_fit(config.server.limits.connections)
        self._sweeper.period = _period(config)
        usable = [one for one in self._sources if one.key.ready_at("") < math.inf]
        fetched = {source.written: source.key.secret for source in usable}
        for source in sources:
            if source.written in fetched:  # it serves until the next one is there
                source.key.renew(fetched[source.written])
        self._sources = sources
        self._start_fetching()

    async def drain(self) -> Drained:
        """Stop accepting, let exchanges end, and end the rest once `server.drain_seconds` are over."""
        assert self._listening is not None
        self.draining = True
        before, cut = self._ended, 0
        await self._listening.close()
        with trio.move_on_after(self.config.server.drain_seconds) as patience:
            await self._connections.drain()
        if patience.cancelled_caught:
            cut = len(self._sweeper.runs)
            for run in tuple(self._sweeper.runs):
                run.drain()
            with trio.move_on_after(1):
                await self._connections.drain()
        self.close()
        return Drained(max(0, self._ended - before - cut), cut)

    def close(self) -> None:
        """Let go of pooled connections and socket files."""
        self._server.upstreams.close()
        self._sockets.close()

    def _start_fetching(self) -> None:
        """Fetch what the keys need in place of what was fetched until now."""
        self._fetching.cancel()
        self._fetching = trio.CancelScope()
        if self._sources and self._nursery is not None:
            self._nursery.start_soon(self._fetch, self._sources, self._fetching)

    async def _fetch(self, sources: list[Source], scope: trio.CancelScope) -> None:
        from rawproxy.services.credentials import keep_fresh

        with scope:
            async with trio.open_nursery() as nursery:
                for source in sources:
                    nursery.start_soon(keep_fresh, source.key, source.fetch, source.path)

    def _keep(self, record: Record) -> None:
        self._ended += 1
        self.metrics.keep(record)
        if self._also_keep is not None:
            self._also_keep(record)
        if record.violations:
            broken = ", ".join(record.violations)
            _log.error(
                "exchange %s: our %s stream broke: %s",
                record.exchange,
                record.client_dialect,
                broken,
            )
        self._records.keep(record)

    async def _handle(self, request: Request, response: Response, *, guarded: bool) -> None:
        await self._server.handle(request, response, self._doors[guarded])

    def _terms(self, listener: socket.socket) -> Terms:
        """Return the terms of the connections of `listener`, by the configuration of their time."""
        inside = listener.family == socket.AF_UNIX
        guarded = not inside and is_local(listener)
        handler = partial(self._handle, guarded=guarded)

        def beginner(request: Request, response: Response) -> Begun | None:
            return self._server.beginner(request, response, self._doors[guarded])

        def terms() -> tuple[Entrance, Serving]:
            limits = self.config.server.limits
            serving = Serving(limits, handler, self._server.refuse, self._room, beginner)
            return self._unix_entrance if inside else self._entrance, serving

        return terms

    def _not_ready(self) -> str:
        return "draining" if self.draining else ""

    async def _text(self) -> bytes:
        return await trio.to_thread.run_sync(lambda: text_of(self.families()))

    def activity(self) -> tuple[int, int]:
        """Return how many exchanges are running, and how many have ended so far."""
        return len(self._sweeper.runs), self._ended

    def families(self) -> Families:
        """Return the metrics of now."""
        self.metrics.connections.set(len(self._connections))
        self.metrics.running.set(len(self._sweeper.runs))
        self.metrics.upstream_connections.set(self._server.upstreams.open)
        return self.metrics.families()


def _period(config: Config) -> float:
    """Return how often to look at the clocks."""
    stream = config.stream
    clocks = (
        stream.keepalive_seconds, stream.connect_seconds, stream.first_event_seconds,
        stream.silence_seconds, stream.total_seconds, config.server.limits.write_seconds,
    )  # fmt: skip
    return min([SWEEP_SECONDS, *(seconds / 4 for seconds in clocks if seconds > 0)])


@asynccontextmanager
async def open_proxy(
    config: Config | Mapping[str, object] | str | Path,
    *,
    keep: Callable[[Record], None] | None = None,
) -> AsyncIterator[Proxy]:
    """Run a proxy for as long as the block lasts; at its end what runs is cancelled.

    Args:
        config: a `Config`, a mapping of the same shape as the TOML file, or such a file's path.
        keep: gets the record of each exchange, beside the log.

    Raises:
        ConfigError: it cannot be used.
    """
    proxy = Proxy(_config(config), keep)
    async with trio.open_nursery() as nursery:
        await proxy.open(nursery)
        try:
            yield proxy
        finally:
            nursery.cancel_scope.cancel()
            proxy.close()


@contextmanager
def run_in_thread(config: Config | Mapping[str, object] | str | Path) -> Iterator[Proxy]:
    """Run a proxy in a thread of its own, for programs on asyncio or plain threads.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    opened: list[Proxy] = []
    failed: list[BaseException] = []
    ready = threading.Event()
    stop: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def run() -> None:
        with trio.CancelScope() as scope:
            stop.append((trio.lowlevel.current_trio_token(), scope))
            async with open_proxy(config) as proxy:
                opened.append(proxy)
                ready.set()
                await trio.sleep_forever()

    def thread() -> None:
        try:
            trio.run(run)
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    worker = threading.Thread(target=thread, name="rawproxy", daemon=True)
    worker.start()
    ready.wait()
    if failed:
        raise _first(failed[0])
    try:
        yield opened[0]
    finally:
        token, scope = stop[0]
        token.run_sync_soon(scope.cancel)
        worker.join()


def _config(config: Config | Mapping[str, object] | str | Path) -> Config:
    if isinstance(config, Config):
        return checked(config)
    if isinstance(config, str | Path):
        return load(str(config), os.environ)
    return from_mapping(dict(config))


def _first(error: BaseException) -> BaseException:
    """Return what a nursery wrapped."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def main(
    config: Config, *, log_level: str, reload: Callable[[], Config], take_over: bool = False
) -> int:
    """Serve until a signal ends it; return the exit code.

    SIGTERM and SIGINT drain, a second one exits at once; SIGHUP reads the configuration again.

    Args:
        config: the configuration.
        log_level: what is logged.
        reload: reads it again.
        take_over: whether another rawproxy may have the addresses, and is about to drain.
    """
    logs.set_up(log_level)
    raise_limit()
    try:
        return trio.run(_serve, config, log_level, reload, take_over)
    except BaseExceptionGroup as group:
        error = _first(group)
        if isinstance(error, ConfigError):
            raise error from None
        raise


def _running(config: Config, log_level: str, *, take_over: bool) -> "Proxy | Supervisor":
    """Return what serves `config`: this process, or several."""
    if config.server.workers == 1:
        return Proxy(config, take_over=take_over)
    from rawproxy.app.workers import Supervisor

    return Supervisor(config, log_level=log_level, take_over=take_over)


async def _serve(
    config: Config, log_level: str, reload: Callable[[], Config], take_over: bool
) -> int:
    notifier = Notifier(os.environ)
    proxy = _running(config, log_level, take_over=take_over)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            await proxy.open(nursery)
            settle()
            if isinstance(proxy, Proxy):
                nursery.start_soon(tidy, proxy.activity)
            _say_where(proxy)
            notifier.ready(_status(proxy))
            nursery.start_soon(notifier.keep_alive)
            async for number in signals:
                if number == signal.SIGHUP:
                    await _reload(proxy, reload, notifier)
                elif proxy.draining:
                    break
                else:
                    notifier.stopping()
                    nursery.start_soon(_drain, proxy, nursery.cancel_scope)
            nursery.cancel_scope.cancel()
    proxy.close()
    return 0


def _say_where(proxy: "Proxy | Supervisor") -> None:
    for url in proxy.urls:
        _say(f"listening on {url}")
    if proxy.admin_url:
        _say(f"admin on {proxy.admin_url}")
    _tell_what_fits(proxy.config.server.limits.connections)
    for model in proxy.embedded_models[:1]:
        sys.stderr.write(_TRY_IT.format(url=proxy.urls[0], model=model))


def _status(proxy: "Proxy | Supervisor") -> str:
    return f"listening on {' '.join(proxy.urls)}"


_TRY_IT = """
Try it:

    curl -N {url}/v1/chat/completions -H 'content-type: application/json' \\
      -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Tell me about rivers."}}]}}'

    from anthropic import Anthropic
    client = Anthropic(base_url="{url}", api_key="any")
    with client.messages.stream(
        model="{model}", max_tokens=80, messages=[{{"role": "user", "content": "Tell me about rivers."}}]
    ) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)

"""


def _tell_what_fits(wanted: int) -> None:
    """Log that there are descriptors for fewer connections than `wanted`, if so."""
    fit = connections_that_fit(wanted)
    if fit < wanted:
        words = "server.limits.connections is %d, but the limit on open files leaves room for %d"
        _log.warning(words, wanted, fit)


async def _drain(proxy: "Proxy | Supervisor", scope: trio.CancelScope) -> None:
    began = trio.current_time()
    drained = await proxy.drain()
    _log.info(
        "drained: %d exchanges ended by themselves, %d were cut, in %.1f s",
        drained.ended, drained.cut, trio.current_time() - began,
    )  # fmt: skip
    scope.cancel()


async def _reload(
    proxy: "Proxy | Supervisor", reload: Callable[[], Config], notifier: Notifier
) -> None:
    if proxy.draining:
        return
    notifier.reloading()
    before = proxy.urls
    try:
        await proxy.change(reload())
    except ConfigError as error:
        _log.error("the configuration stays as it was: %s", error)
    else:
        _log.info("the configuration was read again")
        for url in proxy.urls:
            if url not in before:
                _say(f"listening on {url}")
    notifier.ready(_status(proxy))


def _say(text: str) -> None:
    logs.flush()
    sys.stderr.write(f"rawproxy: {text}\n")
    sys.stderr.flush()
