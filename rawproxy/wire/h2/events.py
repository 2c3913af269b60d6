"""What an HTTP/2 connection gives out, beside the events of every HTTP message.

Layer: wire. Declarations only.
"""

import msgspec
from h2.errors import ErrorCodes

from rawproxy.errors import HttpError, WireError
from rawproxy.wire.http import HttpEvent

__all__ = ["Events", "Http2Error", "Refused"]


class Refused(msgspec.Struct, frozen=True):
    """Answer this request with `error.status` and end the stream: nothing more comes of it."""

    error: HttpError


Events = list[tuple[int, HttpEvent | Refused]]
"""What came, in order, each with its stream's id."""


class Http2Error(WireError):
    """The peer broke the connection, or its allowance: GOAWAY has to be sent, and then the end.

    Attributes:
        reason: the message, without the words `HTTP/2`.
        code: what GOAWAY says; https://www.rfc-editor.org/rfc/rfc9113#section-7
        events: what `feed` read before it; it may be acted on.
    """

    def __init__(self, reason: str, code: int = ErrorCodes.PROTOCOL_ERROR) -> None:
        super().__init__(f"HTTP/2: {reason}")
        self.reason = reason
        self.code = int(code)
        self.events: Events = []
