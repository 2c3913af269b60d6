"""One request body, collected as it comes, whatever the HTTP version.

Layer: net. What a body may take in all is said here: its own size is the wire's to count.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from rawproxy.errors import HttpError
from rawproxy.gateway.limits import Limits
from rawproxy.gateway.room import Share

__all__ = ["LATE_SECONDS", "collect"]

LATE_SECONDS = 1.0
"""A wait that ends so much later than it should: it is us who stood still, as with a machine that slept."""


async def collect(
    receive: Callable[[float], Awaitable[bytes]], limits: Limits, share: Share
) -> bytes:
    """Return the whole body.

    A wait that ends `LATE_SECONDS` late says nothing about the client: both limits begin anew. Two of them
    in a row count, as with the looks of the `Sweeper`.

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
    stood_still = False
    while True:
        until = trio.current_time() + gap
        data: bytes | None = None
        with suppress(trio.TooSlowError):
            data = await receive(until)
        now = trio.current_time()
        stood_still = not stood_still and now - until > LATE_SECONDS
        if stood_still:
            began = now
        elif data is None:
            raise HttpError(f"nothing of the request body came for {gap:g} s", status=408)
        if data is None:
            continue
        if not data:
            return bytes(body)
        share.take(len(data))
        body += data
        if now - began > gap and len(body) < rate * (now - began):
            raise HttpError(f"the request body came slower than {rate:g} bytes/s", status=408)
