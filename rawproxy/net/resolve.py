"""Names to addresses: cached, and in threads of its own.

Layer: net. trio has no cache for names, and its getaddrinfo shares the common thread limiter and
outlives a cancel: a few dead name servers would block every other use of threads.
"""

import codecs
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import lru_cache

import trio

from rawproxy.errors import Exhausted, UpstreamConnectError
from rawproxy.net.conn import SCARCE
from rawproxy.wire.fields import is_loopback

__all__ = ["NEGATIVE_SECONDS", "POSITIVE_SECONDS", "THREADS", "Resolver"]

_log = logging.getLogger("rawproxy")

codecs.lookup("idna")  # read now: there may be no descriptor left at the first look-up

THREADS = 16
"""Look-ups at the same time; each may hang for as long as the system's resolver does."""

POSITIVE_SECONDS = 30.0
"""getaddrinfo tells no TTL; half a minute follows a fail-over by DNS soon enough."""

NEGATIVE_SECONDS = 5.0

KNOWN_LITERALS = 256
"""Hosts of which it is remembered whether they are addresses: finding it out takes thirty calls."""

Address = tuple[socket.AddressFamily, str]
"""A family and a numeric address."""


async def _system_lookup(host: str, limiter: trio.CapacityLimiter) -> list[Address]:
    try:
        found = await trio.to_thread.run_sync(
            lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM),
            limiter=limiter,
            abandon_on_cancel=True,
        )
    except socket.gaierror:
        socket.socket().close()  # the C library calls a name unknown that it had no descriptor to ask for
        raise
    return [(family, str(address[0])) for family, _, _, _, address in found]


class Resolver:
    """A cache in front of the system's resolver.

    Args:
        lookup: finds the addresses of a name; raises OSError when there are none.
    """

    def __init__(
        self,
        lookup: Callable[[str, trio.CapacityLimiter], Awaitable[list[Address]]] = _system_lookup,
    ) -> None:
        self._lookup = lookup
        self._limiter: trio.CapacityLimiter | None = None
        # None: there was nothing left to ask with; that is not kept.
        self._cache: dict[str, tuple[float, list[Address] | None]] = {}
        self._asking: dict[str, trio.Event] = {}

    async def resolve(self, host: str) -> list[Address]:
        """Return the addresses of `host`, in the order to try.

        Raises:
            UpstreamConnectError: it has none, or only such as no upstream has (link-local, multicast).
            Exhausted: there is no descriptor or memory to ask with.
        """
        addresses = self._known(host)
        if addresses is None:
            await self._asked(host).wait()
            _, addresses = self._cache[host]
        if addresses is None:
            raise Exhausted("the proxy is out of descriptors or memory")
        if not addresses:
            raise UpstreamConnectError("the upstream's name has no address")
        return addresses

    def own(self, host: str) -> Address | None:
        """Return the address of this machine that `host` is; None where it is none, or was not asked for."""
        addresses = self._known(host)
        return addresses[0] if addresses and is_loopback(addresses[0][1].encode()) else None

    def _known(self, host: str) -> list[Address] | None:
        """Return what is known by now of the addresses of `host`; None where it has to be asked for."""
        literal = _literal(host)
        if literal is not None:
            return [literal]
        until, addresses = self._cache.get(host, (0.0, None))
        return addresses if trio.current_time() < until else None

    def _asked(self, host: str) -> trio.Event:
        """Return the event of the look-up under way: one for each name, whoever waits for it.

        It is nobody's own task: a caller that gives up leaves it to the others, and a name whose
        server hangs holds one thread, not one for each caller.
        """
        event = self._asking.get(host)
        if event is None:
            event = self._asking[host] = trio.Event()
            trio.lowlevel.spawn_system_task(self._ask, host)
        return event

    async def _ask(self, host: str) -> None:
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(THREADS)
        addresses: list[Address] | None = []
        try:
            found = await self._lookup(host, self._limiter)
            addresses = [address for address in dict.fromkeys(found) if _usable(address[1])]
        except (OSError, ValueError) as error:  # no such name, or none at all
            if isinstance(error, OSError) and error.errno in SCARCE:
                addresses = None
        except Exception:  # no thread, say: this task is nobody's own, and would end the program
            _log.exception("a look-up failed by a fault of ours")
        finally:
            keep = POSITIVE_SECONDS if addresses else NEGATIVE_SECONDS if addresses == [] else 0.0
            self._cache[host] = (trio.current_time() + keep, addresses)
            self._asking.pop(host).set()


@lru_cache(KNOWN_LITERALS)
def _literal(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return (socket.AF_INET if address.version == 4 else socket.AF_INET6), host


def _usable(text: str) -> bool:
    # A name that points into the link-local range is how metadata services are reached by mistake.
    address = ipaddress.ip_address(text.partition("%")[0])
    return not (address.is_link_local or address.is_multicast or address.is_unspecified)
