"""The listening sockets of a configuration: opened, kept over a reload, given up.

Layer: app. Whoever accepts on a socket closes it; this file closes only what nobody came to use.
"""

import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from rawproxy.app.address import Inherited, Systemd, Tcp, Unix, parse_address
from rawproxy.app.config import Config
from rawproxy.errors import ConfigError
from rawproxy.net.listen import adopt, open_tcp, open_unix
from rawproxy.wire.fields import is_loopback

__all__ = ["Listener", "Place", "Sockets", "is_local", "url_of"]

FIRST_FD = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""


class Place(NamedTuple):
    """What a socket is for: clients or the admin pages, by which address.

    Attributes:
        role: who comes there.
        text: the address, as it is written.
        turn: 0 for the first of several that are written alike (port 0 is another port each time).
    """

    role: Literal["clients", "admin"]
    text: str
    turn: int = 0


class Listener(NamedTuple):
    """A listening socket and its place."""

    place: Place
    sock: socket.socket


class Sockets:
    """The sockets that are open.

    Args:
        take_over: whether the first ones may be opened beside another rawproxy, which is to end then.
        environ: where systemd says what it hands over; what was read is removed from it.
    """

    def __init__(
        self, *, take_over: bool = False, environ: MutableMapping[str, str] | None = None
    ) -> None:
        self._take_over = take_over
        self._environ = os.environ if environ is None else environ
        self._open: dict[Place, list[socket.socket]] = {}
        self._files: dict[Place, tuple[Path, int]] = {}  # socket files of ours, with their inodes
        self._begun = False

    @asynccontextmanager
    async def change(self, config: Config) -> AsyncIterator[list[Listener]]:
        """Open what `config` has more than there is, and give all of it to the block.

        When the block ends, those that `config` has no longer are forgotten; when it raises, all is as
        it was before.

        Raises:
            ConfigError: an address cannot be had.
        """
        wanted = list(_places(config))
        fresh: dict[Place, list[socket.socket]] = {}
        try:
            for place in wanted:
                if place not in self._open:
                    fresh[place] = await self._bind(place, fresh)
            found = {**self._open, **fresh}
            for place in wanted:
                _check_open(place, found[place], config)
            yield [Listener(place, sock) for place in wanted for sock in found[place]]
        except BaseException:
            for place, sockets in fresh.items():
                self._remove_file(place)
                for sock in sockets:
                    sock.close()
            raise
        for place in self._open.keys() - set(wanted):
            self._remove_file(place)
        self._open = {place: found[place] for place in wanted}
        self._begun = True

    def close(self) -> None:
        """Remove the socket files."""
        for place in tuple(self._files):
            self._remove_file(place)

    async def _bind(
        self, place: Place, fresh: dict[Place, list[socket.socket]]
    ) -> list[socket.socket]:
        address = parse_address(place.text)
        share = self._take_over and not self._begun
        try:
            match address:
                case Tcp(host, port):
                    return await open_tcp(host, port, share=share)
                case Unix(path):
                    sock = open_unix(path, share=share)
                    self._files[place] = Path(path), os.stat(path).st_ino
                    return [sock]
                case Inherited(fd):
                    return self._adopt([fd], fresh)
                case Systemd():
                    return self._adopt(_from_systemd(self._environ), fresh)
        except OSError as error:
            raise ConfigError(f"cannot listen on {place.text}: {_words(error)}") from error

    def _adopt(
        self, fds: list[int], fresh: dict[Place, list[socket.socket]]
    ) -> list[socket.socket]:
        if self._begun:  # by now the number may be any socket of ours
            raise OSError("it is inherited at the start only, and needs a restart")
        if {sock.fileno() for sockets in fresh.values() for sock in sockets} & set(fds):
            raise OSError("another address has it already")
        return [adopt(fd) for fd in fds]

    def _remove_file(self, place: Place) -> None:
        if place in self._files:
            path, inode = self._files.pop(place)
            # Another process may have put its own there meanwhile.
            with suppress(FileNotFoundError):
                if path.stat().st_ino == inode:
                    path.unlink()


def _places(config: Config) -> Iterator[Place]:
    turns: Counter[str] = Counter()
    for text in config.server.listen:
        yield Place("clients", text, turns[text])
        turns[text] += 1
    if config.admin.listen:
        yield Place("admin", config.admin.listen)


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def _from_systemd(environ: MutableMapping[str, str]) -> list[int]:
    """Return the descriptors that systemd hands over to this process (sd_listen_fds(3))."""
    pid, count = environ.get("LISTEN_PID", ""), environ.get("LISTEN_FDS", "")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(name, None)  # they are for nobody whom we start
    if pid != str(os.getpid()) or not count.isdecimal() or int(count) == 0:
        raise OSError("systemd hands no socket to this process, start it by a .socket unit")
    return list(range(FIRST_FD, FIRST_FD + int(count)))


def is_local(sock: socket.socket) -> bool:
    """Return whether only this machine can reach `sock`."""
    return sock.family == socket.AF_UNIX or is_loopback(sock.getsockname()[0].encode())


def _check_open(place: Place, sockets: list[socket.socket], config: Config) -> None:
    """Hold inherited sockets, whose addresses were not known before, to the rules for all."""
    where = 'in access mode "open"' if place.role == "clients" else "for the admin pages"
    if place.role == "clients" and config.access.mode != "open":
        return
    if not isinstance(parse_address(place.text), Tcp) and not all(map(is_local, sockets)):
        what = f"is open to others, must be loopback or a unix socket {where}"
        raise ConfigError(f"cannot listen on {place.text}: {what}")


def url_of(listener: Listener, *, tls: bool = False) -> str:
    """Return where a listener is, in the words of a client; unix sockets stay without TLS."""
    if listener.sock.family == socket.AF_UNIX:
        text = listener.place.text
        return text if text.startswith("unix:") else f"unix:{listener.sock.getsockname()}"
    host, port = listener.sock.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
