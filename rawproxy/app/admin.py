"""The admin pages: /healthz, /readyz, /metrics. Read-only, for this machine.

Layer: app.
"""

from collections.abc import Callable

import trio

from rawproxy.app.metrics import Metrics
from rawproxy.errors import ClientError
from rawproxy.gateway.access import Doors
from rawproxy.net.response import Request, Response

__all__ = ["Admin"]

_TEXT = b"text/plain; charset=utf-8"
_METRICS = b"text/plain; version=0.0.4; charset=utf-8"


class Admin:
    """Answers on the admin listener.

    Args:
        metrics: what to show.
        ready: whether new requests are welcome.
        refresh: brings the gauges up to date.
        doors: which Host and Origin may ask.
    """

    def __init__(
        self, metrics: Metrics, ready: Callable[[], bool], refresh: Callable[[], None], doors: Doors
    ) -> None:
        self._metrics = metrics
        self._ready = ready
        self._refresh = refresh
        self._doors = doors

    async def handle(self, request: Request, response: Response) -> None:
        """Serve one request."""
        status, kind, body = await self._page(request)
        await response.answer(status, [(b"content-type", kind)], body)

    async def _page(self, request: Request) -> tuple[int, bytes, bytes]:
        try:
            self._doors.check(request.head.fields)
        except ClientError as error:
            return error.status, _TEXT, f"{error}\n".encode()
        if request.head.method not in (b"GET", b"HEAD"):
            return 405, _TEXT, b"this listener is read-only\n"
        match request.head.path:
            case b"/healthz":
                return 200, _TEXT, b"ok\n"
            case b"/readyz":
                return (200, _TEXT, b"ready\n") if self._ready() else (503, _TEXT, b"draining\n")
            case b"/metrics":
                self._refresh()
                return 200, _METRICS, await trio.to_thread.run_sync(self._metrics.text)
            case _:
                return 404, _TEXT, b"there is /healthz, /readyz and /metrics\n"
