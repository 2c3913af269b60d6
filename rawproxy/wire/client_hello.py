"""The server name that a TLS client asks for, read off its first message.

Layer: wire. Reads and decides nothing else: OpenSSL gets the same bytes, and tells what is wrong.
Spec:  https://www.rfc-editor.org/rfc/rfc6066#section-3 (server_name), RFC 8446 sections 4.1.2, 5.1

Python's own `sni_callback` is not used: a name that is not ASCII ends, with the client's bytes, on
standard error (`sys.unraisablehook`), past every log.
"""

__all__ = ["LONGEST", "MOST_RECORDS", "server_name"]

LONGEST = 16384
"""Bytes of a ClientHello that are looked at. Those of browsers with post-quantum keys have 2,000."""

MOST_RECORDS = 32
"""Records that a ClientHello may come in. Real ones have one or two; a thousand that trickle in would be
read anew with each byte."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _HOST_NAME = 0, 0


class _Cut(Exception):
    """A length leads past the end."""


class _Bytes:
    """Takes lengths and what they announce off the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise _Cut
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        """Return a vector whose length has `size` bytes."""
        return self.take(self.number(size))


def server_name(data: bytes) -> str | None:
    """Return the name that a client asks for, in lower case; "" for none, None while more is needed.

    Args:
        data: all bytes of the connection so far. What begins no ClientHello, or a broken one, or one
            past LONGEST or MOST_RECORDS, asks for no name.
    """
    message = b""
    records = _Bytes(data)
    for _ in range(MOST_RECORDS):
        try:
            if records.number(1) != _HANDSHAKE:
                return ""
            records.take(2)  # the version means nothing here
            size = records.number(2)
            message += records.take(size)
        except _Cut:
            return None if len(data) <= LONGEST else ""
        whole = _whole(message)
        if whole is not None:
            return _name(whole)
    return ""


def _whole(message: bytes) -> bytes | None:
    """Return the ClientHello without its head; b"" when it is something else, None when it is cut."""
    if message and message[0] != _CLIENT_HELLO:
        return b""
    size = int.from_bytes(message[1:4])
    return message[4 : 4 + size] if len(message) >= 4 + size else None


def _name(hello: bytes) -> str:
    try:
        return _find(_Bytes(hello)).decode("ascii").lower().removesuffix(".")
    except (_Cut, UnicodeDecodeError):
        return ""


def _find(hello: _Bytes) -> bytes:
    hello.take(2 + 32)  # version, random
    hello.vector(1)  # session id
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compression methods
    extensions = _Bytes(hello.vector(2)) if hello else _Bytes(b"")
    while extensions:
        kind, body = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            names = _Bytes(_Bytes(body).vector(2))
            kind, name = names.number(1), names.vector(2)
            return name if kind == _HOST_NAME else b""
    return b""
