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
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from rawproxy.app.admin import Admin
from rawproxy.app.build import Source, entrances_of, keys_of, pools_of, setup_of, sources_of
from rawproxy.app.config import (
    Config,
    Tcp,
    checked,
    from_mapping,
    load,
    parse_address,
)
from rawproxy.app.descriptors import connections_that_fit, raise_limit
from rawproxy.app.metrics import Metrics
from rawproxy.errors import ConfigError
from rawproxy.gateway.access import Doors
from rawproxy.gateway.record import Record
from rawproxy.net.conn import Conn
from rawproxy.net.drive import Sweeper
from rawproxy.net.listen import Connections, accept, open_tcp, open_unix
from rawproxy.net.response import Handler
from rawproxy.net.server import Server
from rawproxy.net.upstream import Upstreams
from rawproxy.net.welcome import AnyDownstream, Entrance, Serving, welcome
from rawproxy.wire.fields import is_loopback

__all__ = ["Proxy", "main", "open_proxy", "run_in_thread"]

_log = logging.getLogger("rawproxy")
_records = logging.getLogger("rawproxy.record")

ADMIN_CONNECTIONS = 64
"""Open connections to the admin pages: one of a scraper, a few of people."""

SWEEP_SECONDS = 0.25
"""How often the clocks are looked at; a quarter of the shortest one where that is less."""


class Proxy:
    """A proxy that is running.

    Attributes:
        urls: where it listens, e.g. `["http://127.0.0.1:8080"]`.
        admin_url: where the admin pages are; "" when they are off.
    """

    def __init__(self, config: Config, keep: Callable[[Record], None] | None = None) -> None:
        self.config = config
        self._also_keep = keep
        self.urls: list[str] = []
        self.admin_url = ""
        self.draining = False
        self.metrics = Metrics()
        self._sweeper = Sweeper(_period(config), Upstreams())
        pools = pools_of(config)
        self._sources = sources_of(config, pools)
        self._fetching = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._server = Server(setup_of(config, pools), self._keep, self._sweeper)
        self._entrance, self._unix_entrance = entrances_of(config.server)
        self._connections = Connections(_that_fit(config), self.metrics.refused)
        self._admin_connections = Connections(ADMIN_CONNECTIONS, self.metrics.refused)
        self._accepting: list[trio.CancelScope] = []
        self._unix: list[tuple[Path, int]] = []  # socket files of ours, with their inodes

    @property
    def embedded_models(self) -> list[str]:
        """The names by which engines in this process can be asked, the shortest first."""
        names = self._server.setup.site.router.names()
        return sorted((name for name in names if self._is_embedded(name)), key=len)

    async def open(self, nursery: trio.Nursery) -> None:
        """Open every listener and start serving in `nursery`.

        Raises:
            ConfigError: an address cannot be had.
        """
        nursery.start_soon(self._sweeper.sweep)
        await nursery.start(self._server.upstreams.run)
        config = self.config.server
        opened = [(text, sock) for text in config.listen for sock in await _bind(text)]
        admin = await _bind(self.config.admin.listen) if self.config.admin.listen else []
        for text, sock in opened:
            self._listen(nursery, sock, self._handler(sock))
            self.urls.append(_url(text, sock, tls=config.tls is not None))
        for sock in admin:
            self._listen(nursery, sock, self._admin().handle, drains=False)
            self.admin_url = _url(self.config.admin.listen, sock)
        self._nursery = nursery
        self._start_fetching()

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
        self._server.upstreams.renew()
        self._entrance, self._unix_entrance = entrances
        self.config = config
        usable = [one for one in self._sources if one.key.ready_at("") < math.inf]
        fetched = {source.written: source.key.secret for source in usable}
        for source in sources:
            if source.written in fetched:  # it serves until the next one is there
                source.key.renew(fetched[source.written])
        self._sources = sources
        self._start_fetching()

    async def drain(self) -> None:
        """Stop accepting, let exchanges end, and end the rest once `server.drain_seconds` are over."""
        self.draining = True
        for scope in self._accepting:
            scope.cancel()
        with trio.move_on_after(self.config.server.drain_seconds) as patience:
            await self._connections.drain()
        if patience.cancelled_caught:
            _log.warning("drain: %d exchanges are ended", len(self._sweeper.runs))
            for run in tuple(self._sweeper.runs):
                run.drain()
            with trio.move_on_after(1):
                await self._connections.drain()
        self.close()

    def close(self) -> None:
        """Let go of pooled connections and socket files."""
        self._server.upstreams.close()
        for path, inode in self._unix:
            # Another process may have put its own there meanwhile.
            with suppress(FileNotFoundError):
                if path.stat().st_ino == inode:
                    path.unlink()
        self._unix.clear()

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

    def _is_embedded(self, model: str) -> bool:
        if "*" in model:
            return False
        return self._server.setup.site.router.find(model)[0].upstream.engine is not None

    def _keep(self, record: Record) -> None:
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
        _records.info("%s", record.line().decode())

    def _handler(self, sock: socket.socket) -> Handler:
        server = self.config.server
        guarded = sock.family != socket.AF_UNIX and is_loopback(sock.getsockname()[0].encode())
        doors = Doors(tuple(server.hosts), tuple(server.origins), guarded)
        return partial(self._server.handle, doors=doors)

    def _entrance_of(self, sock: socket.socket, for_clients: bool) -> Entrance:
        inside = sock.family == socket.AF_UNIX or not for_clients
        return self._unix_entrance if inside else self._entrance

    def _admin(self) -> Admin:
        server = self.config.server
        doors = Doors(tuple(server.hosts), tuple(server.origins))
        return Admin(self.metrics, lambda: not self.draining, self._refresh, doors)

    def _refresh(self) -> None:
        self.metrics.connections.set(len(self._connections))
        self.metrics.running.set(len(self._sweeper.runs))
        self.metrics.upstream_connections.set(self._server.upstreams.open)

    def _listen(
        self, nursery: trio.Nursery, sock: socket.socket, handler: Handler, *, drains: bool = True
    ) -> None:
        if sock.family == socket.AF_UNIX:
            path = Path(sock.getsockname())
            self._unix.append((path, path.stat().st_ino))

        connections = self._connections if drains else self._admin_connections

        async def greet(conn: Conn) -> AnyDownstream:
            limits = self.config.server.limits
            serving = Serving(limits, handler, self._server.refuse)
            return await welcome(conn, self._entrance_of(sock, drains), serving)

        async def accepting() -> None:
            with sock, trio.CancelScope() as scope:
                if drains:  # the admin pages tell how a drain goes
                    self._accepting.append(scope)
                await accept(
                    sock, connections, greet, nursery.start_soon,
                    self.config.server.limits.write_seconds,
                )  # fmt: skip

        nursery.start_soon(accepting)


async def _bind(text: str) -> list[socket.socket]:
    address = parse_address(text)
    try:
        if isinstance(address, Tcp):
            return await open_tcp(address.host, address.port)
        return [open_unix(address.path)]
    except OSError as error:
        raise ConfigError(f"cannot listen on {text}: {error.strerror or error}") from error


def _url(text: str, sock: socket.socket, *, tls: bool = False) -> str:
    if sock.family == socket.AF_UNIX:
        return text
    host, port = sock.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _that_fit(config: Config) -> int:
    """Return how many client connections to take: as many as configured, if there are descriptors."""
    wanted = config.server.limits.connections
    fit = connections_that_fit(wanted)
    if fit < wanted:
        words = "server.limits.connections is %d, but the limit on open files leaves room for %d"
        _log.warning(words, wanted, fit)
    return fit


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


def main(config: Config, *, log_level: str, reload: Callable[[], Config]) -> int:
    """Serve until a signal ends it; return the exit code.

    SIGTERM and SIGINT drain, a second one exits at once; SIGHUP reads the configuration again.
    """
    _set_up_logging(log_level)
    raise_limit()
    try:
        return trio.run(_serve, config, reload)
    except BaseExceptionGroup as group:
        error = _first(group)
        if isinstance(error, ConfigError):
            raise error from None
        raise


def _set_up_logging(level: str) -> None:
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )


async def _serve(config: Config, reload: Callable[[], Config]) -> int:
    proxy = Proxy(config)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            await proxy.open(nursery)
            for url in proxy.urls:
                _say(f"listening on {url}")
            if proxy.admin_url:
                _say(f"admin on {proxy.admin_url}")
            for model in proxy.embedded_models[:1]:
                sys.stderr.write(_TRY_IT.format(url=proxy.urls[0], model=model))
            async for number in signals:
                if number == signal.SIGHUP:
                    _reload(proxy, reload)
                elif proxy.draining:
                    break
                else:
                    nursery.start_soon(_drain, proxy, nursery.cancel_scope)
            nursery.cancel_scope.cancel()
    return 0


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


async def _drain(proxy: Proxy, scope: trio.CancelScope) -> None:
    await proxy.drain()
    scope.cancel()


def _reload(proxy: Proxy, reload: Callable[[], Config]) -> None:
    try:
        proxy.reload(reload())
    except ConfigError as error:
        _log.error("the configuration stays as it was: %s", error)
    else:
        _log.info("the configuration was read again")


def _say(text: str) -> None:
    sys.stderr.write(f"rawproxy: {text}\n")
    sys.stderr.flush()
