"""Addresses to listen on: `HOST:PORT`, `[::1]:PORT`, `unix:/path.sock`, `fd:N` and `systemd:`.

Layer: app. Opens nothing.
"""

import ipaddress
import re

import msgspec

from rawproxy.wire.fields import is_loopback

__all__ = ["Address", "Inherited", "Systemd", "Tcp", "Unix", "parse_address"]

ALLOWED = "`HOST:PORT`, `[::1]:PORT`, `unix:/path.sock`, `fd:N` or `systemd:`"

LONGEST_PATH = 107
"""Bytes of a unix socket's path on Linux: `sun_path` is 108 bytes, the last one zero (unix(7))."""

LAST_PORT = 65535

_FD = re.compile(r"fd:([0-9]{1,7})")
# `fd` and `systemd` are no hosts: a slip must not become a name that is looked up.
_TCP = re.compile(r"(?!fd:|systemd:)(\[[^\[\]]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


class Tcp(msgspec.Struct, frozen=True):
    """A TCP address. `host` has no brackets; port 0 lets the system choose one."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it; a name is not looked up."""
        return is_loopback(self.host.encode())

    @property
    def url(self) -> str:
        """`http://HOST:PORT`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class Unix(msgspec.Struct, frozen=True):
    """The path of a unix socket."""

    path: str

    @property
    def is_local(self) -> bool:
        """Always: a unix socket is a file of this machine."""
        return True

    @property
    def url(self) -> str:
        """`unix:/path.sock`."""
        return f"unix:{self.path}"


class Inherited(msgspec.Struct, frozen=True):
    """A listening socket that this process was started with: its descriptor."""

    fd: int

    @property
    def is_local(self) -> bool:
        """Not known here: whoever opens it looks at its real address."""
        return True

    @property
    def url(self) -> str:
        """`fd:N`."""
        return f"fd:{self.fd}"


class Systemd(msgspec.Struct, frozen=True):
    """All sockets that systemd hands over (sd_listen_fds(3))."""

    @property
    def is_local(self) -> bool:
        """Not known here, as with `Inherited`."""
        return True

    @property
    def url(self) -> str:
        """`systemd:`."""
        return "systemd:"


Address = Tcp | Unix | Inherited | Systemd


def parse_address(text: str) -> Address:
    """Return the address that `text` spells.

    Raises:
        ValueError: it is none; the message says what is allowed.
    """
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    if text == "systemd:":
        return Systemd()
    if (given := _FD.fullmatch(text)) is not None:
        return Inherited(int(given[1]))
    match = _TCP.fullmatch(text)
    if match is None:
        raise ValueError(f"is no address, must be {ALLOWED}")
    host, port = match[1], int(match[2])
    if port > LAST_PORT:
        raise ValueError(f"has a port past {LAST_PORT}, must be {ALLOWED}")
    if host.startswith("["):
        host = host[1:-1]
        if not _is_ipv6(host):
            raise ValueError(f"has no IPv6 address in its brackets, must be {ALLOWED}")
    return Tcp(host, port)


def _unix(path: str) -> Unix:
    if not path or "\0" in path:
        raise ValueError(f"names no path, must be {ALLOWED}")
    if len(path.encode("utf-8", "surrogateescape")) > LONGEST_PATH:
        raise ValueError(f"has a path longer than {LONGEST_PATH} bytes, the system's limit")
    return Unix(path)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
