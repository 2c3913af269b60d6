"""Where inputs begin: the golden cases of every dialect, and what is written here by hand."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.reading import encode
from rawproxy.wire import eventstream

__all__ = [
    "HELLOS",
    "HTTP_WORDS",
    "PROXIED",
    "PROXY_WORDS",
    "REQUESTS",
    "RESPONSES",
    "bodies",
    "streams",
    "words",
]

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"

MAX_WORDS = 800


def bodies(dialect: str, kind: str) -> list[bytes]:
    """Return every `call` or `reply` of `dialect`, those that were translated into it as well."""
    own = sorted(GOLDEN.glob(f"{dialect}/*/{kind}.*"))
    return [
        path.read_bytes() for path in [*own, *sorted(GOLDEN.glob(f"*/*/to/{dialect}.{kind}.json"))]
    ]


def streams(dialect: str) -> list[bytes]:
    """Return every stream of `dialect`, as it comes off the wire."""
    own = sorted(GOLDEN.glob(f"{dialect}/*/stream.*"))
    others = [
        path
        for path in sorted(GOLDEN.glob(f"*/*/to/{dialect}.*"))
        if not path.name.endswith(".call.json")
    ]
    binary = DIALECTS[dialect].FRAMING is eventstream
    return [_framed(path.read_bytes()) if binary else path.read_bytes() for path in [*own, *others]]


def _framed(lines: bytes) -> bytes:
    messages = [json.loads(line) for line in lines.splitlines()]
    return b"".join(
        eventstream.write_exception(encode(one["data"]), one["name"].encode())
        if one["name"].endswith("Exception")
        else eventstream.write(encode(one["data"]), name=one["name"].encode())
        for one in messages
    )


@cache
def words(dialect: str) -> tuple[str, ...]:
    """Return the keys and the short strings that the golden files of `dialect` have."""
    found: dict[str, None] = {}
    for data in [*bodies(dialect, "call"), *bodies(dialect, "reply")]:
        found.update(dict.fromkeys(_strings(_load(data))))
    for data in streams(dialect):
        for frame in DIALECTS[dialect].FRAMING.splitter(2**24).feed(data):
            found.update(dict.fromkeys(_strings(_load(frame.data))))
    return tuple(word for word in found if len(word) < 40)[:MAX_WORDS]


def _load(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield key
            yield from _strings(member)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value


REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a?b=c HTTP/1.1\r\nHost: a.example:8080\r\nAccept: */*\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /v1/messages HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 11\r\nX: \xc3\xbc\r\n\r\nhello worldGET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n1;a=b;c=\"d\\\"e\"\r\nh\r\n00A\r\n0123456789\r\n0;z\r\nX: y\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET http://other.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"\r\n\r\nPATCH /x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x\r\nContent-Length: 0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"x" * 900 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 30 + b"\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200 + b"0\r\n\r\n",
]  # fmt: skip

RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200\r\n\r\nuntil the end",
    b"HTTP/1.0 200 OK\r\nContent-Type: x\r\n\r\nold",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 3\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 599 \xe9\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx and more",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3;x=y\r\nabc\r\n" * 100 + b"0\r\nX: y\r\n\r\n",
]  # fmt: skip

HTTP_WORDS = [
    b"Host: a", b"Host:", b"Host: a/b", b"Host: [::1", b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: 05",
    b"Content-Length: 1, 1", b"Content-Length: +5", b"Content-Length : 5", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: identity",
    b"Transfer-Encoding:\x0bchunked", b"transfer-encoding: xchunked", b"Connection: close", b"Connection: content-length",
    b"Expect: 100-continue", b"Expect: x", b" folded: x", b"\tx", b"X: y", b"X:\x00", b"X: \x7f", b": x", b"X", b"",
    b"0", b"5", b"5;a=b", b"5 ;a", b"5;", b"0x5", b"-1", b"ffffffffffffffff", b"1" + b"0" * 16, b"hello", b"GET / HTTP/1.1",
    b"GET  / HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"GET a HTTP/1.1", b"GET /# HTTP/1.1", b"PRI * HTTP/2.0", b"GET / HTTP/1.2",
    b"HTTP/1.1 200 OK", b"HTTP/1.1 99 x", b"HTTP/1.1 100 x", b"HTTP/2 200", b"\n", b"\r", b"X: y\nZ: w", b"\r\nX",
]  # fmt: skip

_V2 = b"\r\n\r\n\0\r\nQUIT\n"

PROXIED = [
    b"PROXY TCP4 203.0.113.7 10.0.0.1 12345 443\r\nGET / HTTP/1.1\r\n",
    b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 whatever\r\nrest",
    _V2 + b"\x21\x11\0\x0c" + bytes(range(12)) + b"rest", _V2 + b"\x21\x21\0\x24" + bytes(36), _V2 + b"\x20\0\0\0",
    _V2 + b"\x21\x31\0\xd8" + b"/run/a".ljust(216, b"\0"), _V2 + b"\x21\x11\0\x13" + bytes(12) + b"\x03\0\x04abcdGET /",
]  # fmt: skip

PROXY_WORDS = [
    b"PROXY ", b"TCP4", b"TCP6", b"UNKNOWN", b"1.1.1.1", b"::ffff:1.2.3.4", b"fe80::1%eth0", b"01.2.3.4", b"65536", b"\r\n", _V2,
    b"\x21\x11", b"\x20", b"\x02\x18", b"\x02\x19", b"\x31", b" ", b"\xc2\xb2",
]  # fmt: skip


def _vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size) + data


def _hello(extensions: bytes, size: int = 2**14) -> bytes:
    """Return a ClientHello in records of `size` bytes."""
    ciphers = _vector(1, b"s" * 32) + _vector(2, b"\x13\x01") + _vector(1, b"\0")
    message = b"\x01" + _vector(3, b"\x03\x03" + b"r" * 32 + ciphers + _vector(2, extensions))
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + _vector(2, part) for part in parts)


def _asks(name: bytes, kind: bytes = b"\0") -> bytes:
    return b"\0\0" + _vector(2, _vector(2, kind + _vector(2, name)))


HELLOS = [
    _hello(_asks(b"a.example")), _hello(b"\0\x10\0\x05\0\x03\x02h2" + _asks(b"A.Example.")), _hello(b""), _hello(_asks(b"")),
    _hello(_asks(b"a.example"), 20), _hello(_asks(b"\xff")), _hello(_asks(b"x", b"\1")), _hello(b"\0\x15" + _vector(2, bytes(9000)) + _asks(b"b.example")),
    b"\x16\x03\x01\0\4\2\0\0\0", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\0" * 40,
]  # fmt: skip
