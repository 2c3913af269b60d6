"""One request body, collected as it comes, whatever the HTTP version.

Layer: net. What a body may take in all is said here: its own size is the wire's to count.
"""

from collections.abc import Awaitable, Callable

import trio

from rawproxy.errors import HttpError
from rawproxy.gateway.limits import Limits
from rawproxy.gateway.room import Share

__all__ = ["collect"]


async def collect(
    receive: Callable[[float], Awaitable[bytes]], limits: Limits, share: Share
) -> bytes:
    """Return the whole body.

    Args:
        receive: returns what came next of the body; b"" at its end. It is told how long to wait for
            that, on trio's clock; trio.TooSlowError: nothing came until then.
        limits: `body_seconds` is how long one call of `receive` may take, and `body_rate` what the body
            has to average after the first of them.
        share: of the room for all bodies; takes each piece before it is kept.

    Raises:
        HttpError: 408, it came too slowly; 503, there is no room; or what `receive` raises.
    """
    # Not a list of parts: one of two bytes would cost twenty times its size.
    body = bytearray()
    gap, rate = limits.body_seconds, limits.body_rate
    began = trio.current_time()
    while True:
        try:
            data = await receive(trio.current_time() + gap)
        except trio.TooSlowError:
            message = f"nothing of the request body came for {gap:g} s"
            raise HttpError(message, status=408) from None
        if not data:
            return bytes(body)
        share.take(len(data))
        body += data
        seconds = trio.current_time() - began
        if seconds > gap and len(body) < rate * seconds:
            raise HttpError(f"the request body came slower than {rate:g} bytes/s", status=408)
