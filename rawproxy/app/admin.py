"""The admin pages: /healthz, /readyz, /metrics. Read-only, for this machine.

Layer: app.
"""

from collections.abc import Awaitable, Callable

import trio

from rawproxy.errors import ClientError
from rawproxy.gateway.access import Doors
from rawproxy.gateway.limits import Limits
from rawproxy.gateway.room import Room
from rawproxy.net.connections import Connections
from rawproxy.net.listen import Listening
from rawproxy.net.response import Request, Response
from rawproxy.net.server import Server
from rawproxy.net.welcome import Entrance, Serving, Why

__all__ = ["Admin", "admin_listening"]

BODIES_BYTES = 1048576
"""Room for the bodies of requests to the admin pages, which need none."""

CONNECTIONS = 64
"""Open connections to the admin pages: one of a scraper, a few of people."""

_TEXT = b"text/plain; charset=utf-8"
_METRICS = b"text/plain; version=0.0.4; charset=utf-8"


class Admin:
    """Answers on the admin listener.

    Args:
        metrics: what to show, in the text format.
        not_ready: why no request is welcome; "" while they are.
        doors: which Host and Origin may ask.
    """

    def __init__(
        self,
        metrics: Callable[[], Awaitable[bytes]],
        not_ready: Callable[[], str],
        doors: Callable[[], Doors],
    ) -> None:
        self._metrics = metrics
        self._not_ready = not_ready
        self._doors = doors

    async def handle(self, request: Request, response: Response) -> None:
        """Serve one request."""
        status, kind, body = await self._page(request)
        await response.answer(status, [(b"content-type", kind)], body)

    async def _page(self, request: Request) -> tuple[int, bytes, bytes]:
        try:
            self._doors().check(request.head.fields)
        except ClientError as error:
            return error.status, _TEXT, f"{error}\n".encode()
        if request.head.method not in (b"GET", b"HEAD"):
            return 405, _TEXT, b"this listener is read-only\n"
        match request.head.path:
            case b"/healthz":
                return 200, _TEXT, b"ok\n"
            case b"/readyz":
                why = self._not_ready()
                return 503 if why else 200, _TEXT, f"{why or 'ready'}\n".encode()
            case b"/metrics":
                return 200, _METRICS, await self._metrics()
            case _:
                return 404, _TEXT, b"there is /healthz, /readyz and /metrics\n"


def admin_listening(
    admin: Admin,
    limits: Callable[[], Limits],
    refused: Callable[[Why], None],
    nursery: trio.Nursery,
) -> Listening:
    """Return what accepts for `admin`; its connections and bodies do not count as clients'."""
    room = Room(BODIES_BYTES)

    def terms() -> tuple[Entrance, Serving]:
        return Entrance(), Serving(limits(), admin.handle, Server.refuse, room)

    return Listening(Connections(CONNECTIONS, refused), lambda _: terms, nursery)
