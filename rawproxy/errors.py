"""Every error rawproxy raises on purpose, in one tree.

Layer: 0 (imported by all, imports nothing).

The tree answers one question: who is to blame? The answer decides what happens
next, so it is a class, not a string to be matched:

    WireError       bytes broke a protocol; wire/ does not know whose bytes
    ClientError     the client is at fault: answer it, never retry
    UpstreamError   the upstream is at fault: another attempt may help
    ConfigError     the operator is at fault: say where, before anything listens

Anything else that escapes (TypeError, AssertionError, ...) is a bug in rawproxy: 500,
logged with its traceback, and that exchange only.

A message names the thing and the limit, never a secret and never a body.
"""

__all__ = [
    "ClientError",
    "ConfigError",
    "Exhausted",
    "Forbidden",
    "FrameTooLong",
    "HttpError",
    "NotFound",
    "NotProcessed",
    "RawproxyError",
    "TooLarge",
    "Unauthorized",
    "Untranslatable",
    "UpstreamConnectError",
    "UpstreamCut",
    "UpstreamError",
    "UpstreamNonsense",
    "UpstreamStall",
    "WireError",
]


class RawproxyError(Exception):
    """Root of the tree. Never raised itself."""

    status = 500
    """HTTP status to answer with, if nothing has been sent downstream yet."""


class WireError(RawproxyError):
    """Bytes that no reading of the protocol allows. net/ re-raises it with blame."""


class FrameTooLong(WireError):
    """One frame has passed the limit `stream.frame_bytes`."""


class HttpError(WireError):
    """An HTTP message broke a rule of RFC 9110 or 9112, or a limit of ours.

    `status` is what a server answers, with `retry_after` seconds where that is known; the connection
    is closed after it. The message never quotes the bytes: they may hold a credential.
    """

    def __init__(
        self, message: str, *, status: int = 400, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class ConfigError(RawproxyError):
    """The configuration cannot be used. One line for each fault."""


class ClientError(RawproxyError):
    """The request cannot be served as it stands. The message is shown to the client."""

    status = 400

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class Unauthorized(ClientError):
    """No credential of ours, or one we do not know."""

    status = 401


class Forbidden(ClientError):
    """A known caller, or a browser page, asks for what it may not have."""

    status = 403


class NotFound(ClientError):
    """No such path, or no such model."""

    status = 404


class TooLarge(ClientError):
    """A request body passed the limit `server.limits.body_bytes`."""

    status = 413


class Untranslatable(ClientError):
    """The call says something that the other dialect cannot say without corrupting the answer."""


class UpstreamError(RawproxyError):
    """The upstream did not give a usable answer."""

    status = 502


class UpstreamConnectError(UpstreamError):
    """No connection was made, so nothing was sent."""


class Exhausted(UpstreamError):
    """This machine has no descriptor or memory left for a connection: nothing was sent, and it passes."""

    status = 503
    retry_after = 1.0
    """Seconds after which asking again may help."""


class UpstreamStall(UpstreamError):
    """The upstream passed one of our clocks: connect, first event, silence, total."""

    status = 504


class UpstreamCut(UpstreamError):
    """The reply ended before it was whole."""


class NotProcessed(UpstreamCut):
    """The upstream did nothing with the request: it may be sent again (RFC 9113 8.7)."""


class UpstreamNonsense(UpstreamError):
    """The upstream answered with bytes that its dialect does not allow."""
