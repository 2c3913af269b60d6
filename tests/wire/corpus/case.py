"""One line of the corpus: bytes on the wire, and what has to become of them.

A verdict is about HTTP/1.1 alone. Whether a path exists, or a Host is welcome, is not looked at: a
request that is answered with 404 was accepted.
"""

from typing import NamedTuple

from rawproxy.wire.http import Fields

CALL = b"/v1/chat/completions"
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
"""A call. Where an accepted POST carries it to CALL, an upstream has to get it."""

HOST = (b"host", b"localhost")


class Accept(NamedTuple):
    """It is one request, with this meaning. `keep`: another one may follow on the connection."""

    method: bytes
    target: bytes
    fields: Fields
    body: bytes = b""
    keep: bool = True

    @property
    def is_call(self) -> bool:
        """Whether it goes upstream."""
        return (self.method, self.target, self.body) == (b"POST", CALL, BODY)


class Refuse(NamedTuple):
    """It is answered once, with this status, and the connection is closed."""

    status: int = 400


class Short(NamedTuple):
    """It is not whole: waited for, and refused when the connection ends there."""


class Case(NamedTuple):
    """`rule` is the section of RFC 9110 or 9112 that decides. `h1_only`: HTTP/2 begins so."""

    name: str
    rule: str
    raw: bytes
    verdict: Accept | Refuse | Short
    h1_only: bool = False


def head(*lines: bytes) -> bytes:
    """These lines as a head."""
    return b"\r\n".join([*lines, b"", b""])


def chunks(*parts: bytes) -> bytes:
    """These parts as chunks, without the last one."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


END = b"0\r\n\r\n"
CHUNKED = chunks(BODY[:10], BODY[10:]) + END
LENGTH = b"Content-Length: %d" % len(BODY)
CODED = b"Transfer-Encoding: chunked"
