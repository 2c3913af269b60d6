"""Streams of requests that are broken on purpose: a grammar makes them, one to three hits spoil them.

Deterministic: the same seed gives the same streams, on every machine.
"""

import json
import random
import re
from collections.abc import Callable, Iterator

from rawproxy.wire.http import Body, End, HttpEvent, RequestHead
from rawproxy.wire.http1 import RequestReader
from tests.wire.strict import Request

CALL = b"/v1/chat/completions"

_TARGETS = [
    CALL, CALL, CALL, CALL, b"/v1/models", b"/", b"/a?b=c", b"*", b"http://localhost" + CALL, b"https://localhost",
    b"HTTP://localhost:80?x", b"localhost:80", CALL + b"?a", b"/%0d%0aX:y", b"//localhost/", b"/a#b",
]  # fmt: skip
_METHODS = [b"POST"] * 6 + [b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE", b"PRI"]
_VERSIONS = [b"HTTP/1.1"] * 12 + [b"HTTP/1.0", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1"]
_HOSTS = [b"localhost"] * 12 + [
    b"localhost:80",
    b"[::1]",
    b"127.0.0.1:8080",
    b"",
    b"a b",
    b"u@localhost",
    b"a,b",
]
_FIELDS = [
    b"Accept: */*", b"X: y", b"x-a:\t b \t", b"X-Empty:", b"Connection: keep-alive", b"Connection: close", b"TE: trailers",
    b"Expect: 100-continue", b"Connection: x, close", b"X: \xff", b"Upgrade: h2c", b"Content-Encoding: identity",
    b"Trailer: X", b"Content-Type: application/json", b"X: a\r\n b", b"Transfer_Encoding: chunked", b"Keep-Alive: 5",
]  # fmt: skip
_FRAMING = [
    b"Content-Length: 0", b"Content-Length: 3", b"content-length: 5, 5", b"Content-Length: +5", b"Content-Length: 05",
    b"Transfer-Encoding: chunked", b"transfer-encoding: Chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding:",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding:\x0bchunked", b"Content-Length : 4", b"Host: other",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"X: y\nTransfer-Encoding: chunked",
]  # fmt: skip
_EXTENSIONS = [b"", b"", b"", b";a", b";a=b", b'; a = "b;c"', b";", b" ;a", b';a="\r\n', b";a=b\n"]
_TRAILERS = [b""] * 6 + [
    b"X: y\r\n",
    b"Content-Length: 5\r\n",
    b"Host: other\r\n",
    b"X : y\r\n",
    b"X\r\n",
    b"X: y\n",
]
_SPICE = [
    b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r\n", b"\r\n ", b"\r\n\t", b"\r\n\r\n", b"\x00", b"\x01", b"\x0b", b"\x0c", b"\x1f", b"\x7f",
    b"\x80", b"\xff", b" ", b"\t", b":", b";", b",", b"#", b"*", b"\"", b"\\", b"/", b"?", b"%", b"=", b"@", b"0", b"1", b"5", b"a",
    b"f", b"_", b"+", b"-", b"0x", b"0\r\n\r\n", b"5\r\nhello\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b" HTTP/1.1",
    *(line + b"\r\n" for line in _FRAMING),
]  # fmt: skip
_LINE_ENDS = [
    b"\n",
    b"\r",
    b"\r\r\n",
    b"\n\r",
    b"\r\n\r\n",
    b" \r\n",
    b"",
    b"\x0b",
    b"\x85",
    b"\xe2\x80\xa8",
]
_NUMBER = re.compile(rb"\d+|(?<=\n)[0-9a-f]+(?=[;\r])")


def _body(rng: random.Random) -> bytes:
    """A call; each one is another, so that an upstream can tell them apart."""
    said = [{"role": "user", "content": "x" * rng.choice([0, 1, 5, 40])}]
    call = {"model": "m", "messages": said, "user": f"{rng.getrandbits(48):012x}"}
    return json.dumps(call, separators=(",", ":")).encode()


def _chunked(rng: random.Random, body: bytes) -> bytes:
    out = []
    at = 0
    while at < len(body):
        size = rng.choice([1, 2, 7, 16, 26, len(body)])
        part = body[at : at + size]
        at += size
        digits = rng.choice([b"%x", b"%X", b"0%x", b"%06x"]) % len(part)
        out.append(b"%b%b\r\n%b\r\n" % (digits, rng.choice(_EXTENSIONS[:6]), part))
    last = b"0" if rng.random() < 0.9 else b"000"
    return b"%b%b%b\r\n%b\r\n" % (
        b"".join(out),
        last,
        rng.choice(_EXTENSIONS if rng.random() < 0.1 else [b""]),
        rng.choice(_TRAILERS if rng.random() < 0.3 else [b""]),
    )


def request(rng: random.Random) -> bytes:
    """A request of the grammar, mostly a good one."""
    usual = rng.random() < 0.7
    method = b"POST" if usual else rng.choice(_METHODS)
    target = CALL if usual else rng.choice(_TARGETS)
    version = b"HTTP/1.1" if usual else rng.choice(_VERSIONS)
    lines = [b"Host: " + (b"localhost" if usual else rng.choice(_HOSTS))]
    lines += rng.sample(_FIELDS if rng.random() < 0.2 else _FIELDS[:4], rng.choice([0, 1, 1, 2, 4]))
    body = b"" if method in (b"GET", b"HEAD") and rng.random() < 0.8 else _body(rng)
    if body and rng.random() < 0.5:
        lines.append(rng.choice([b"Transfer-Encoding: chunked", b"transfer-encoding:chunked"]))
        body = _chunked(rng, body)
    elif body or rng.random() < 0.3:
        lines.append(rng.choice([b"Content-Length: %d", b"content-length:%d"]) % len(body))
    rng.shuffle(lines)
    head = b"\r\n".join([b"%b %b %b" % (method, target, version), *lines, b"", b""])
    return rng.choice([b""] * 9 + [b"\r\n"]) + head + body


def _place(rng: random.Random, data: bytes) -> int:
    """A place to hit: half of them at a line end or in the head, where meaning is."""
    ends = [found.start() for found in re.finditer(rb"[\r\n: ,;]", data)]
    if ends and rng.random() < 0.6:
        return rng.choice(ends) + rng.choice([0, 0, 1, 2])
    return rng.randrange(len(data) + 1)


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = _place(rng, data)
    piece = rng.choice(_SPICE) if rng.random() < 0.8 else rng.randbytes(rng.choice([1, 2, 4]))
    return data[:at] + piece + data[at:]


def _drop(rng: random.Random, data: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + data[at + rng.choice([1, 1, 1, 2, 4, 20]) :]


def _double(rng: random.Random, data: bytes) -> bytes:
    at = _place(rng, data)
    size = rng.choice([1, 2, 8, 40])
    return data[:at] + data[at : at + size] * 2 + data[at + size :]


def _replace(rng: random.Random, data: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + rng.choice(_SPICE)[:1] + data[at + 1 :]


def _line_end(rng: random.Random, data: bytes) -> bytes:
    ends = [found.start() for found in re.finditer(rb"\r\n", data)]
    if not ends:
        return data
    at = rng.choice(ends)
    return data[:at] + rng.choice(_LINE_ENDS) + data[at + 2 :]


def _line(rng: random.Random, data: bytes) -> bytes:
    """A line more, twice, gone, or in another place."""
    lines = data.split(b"\r\n")
    at = rng.randrange(len(lines))
    match rng.randrange(4):
        case 0:
            lines.insert(at, rng.choice(_FRAMING if rng.random() < 0.7 else _FIELDS))
        case 1:
            lines.insert(at, lines[rng.randrange(len(lines))])
        case 2:
            del lines[at]
        case _:
            lines.insert(rng.randrange(len(lines)), lines.pop(at))
    return b"\r\n".join(lines)


def _number(rng: random.Random, data: bytes) -> bytes:
    """A length or a size that is off."""
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    one = rng.choice(found)
    value = int(one[0], 16)
    wrong = [
        b"%d" % max(0, value + rng.choice([-2, -1, 1, 2, 100])), b"%x" % (value + rng.choice([1, 16])), b"0" + one[0],
        b"-" + one[0], b"+" + one[0], b"0x" + one[0], one[0] + b" ", one[0] + b",", one[0] + b"0" * 20, b"f" * 16, b"",
        one[0].swapcase(), b"%d" % (2**64 + value),
    ]  # fmt: skip
    return data[: one.start()] + rng.choice(wrong) + data[one.end() :]


def _case(rng: random.Random, data: bytes) -> bytes:
    at = _place(rng, data)
    size = rng.choice([1, 3, 10])
    return data[:at] + data[at : at + size].swapcase() + data[at + size :]


def _splice(rng: random.Random, data: bytes) -> bytes:
    """The beginning of this one and the end of another."""
    other = request(rng)
    return data[: _place(rng, data)] + other[_place(rng, other) :]


_HITS: list[Callable[[random.Random, bytes], bytes]] = [
    _insert, _insert, _drop, _double, _replace, _line_end, _line_end, _line, _line, _number, _number, _case, _splice,
]  # fmt: skip


def stream(rng: random.Random) -> bytes:
    """Up to three requests; most streams are hit in one to three places, some not at all."""
    data = b"".join([request(rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))])
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        data = rng.choice(_HITS)(rng, data)
    return data


def streams(seed: int, count: int) -> Iterator[bytes]:
    """So many streams."""
    rng = random.Random(seed)
    for _ in range(count):
        yield stream(rng)


def meaning(reader: RequestReader, events: list[HttpEvent], end: int) -> Request | None:
    """The request that these events make up, once it is whole."""
    if not events or not isinstance(events[-1], End):
        return None
    head = events[0]
    assert isinstance(head, RequestHead)
    body = b"".join([event.data for event in events if isinstance(event, Body)])
    return Request(
        head.method, head.target, head.version, head.fields, body, reader.keep_alive, end
    )
