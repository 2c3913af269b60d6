"""A second reader of HTTP/1.1, slow and plain, that the tests hold rawproxy's against.

It shares no code with `rawproxy.wire`: it goes through the bytes by hand, section by section of RFC
9112, and has the same policy where the RFC leaves a choice. It knows no limits but of the numbers.
"""

import string
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple, NoReturn

from rawproxy.wire.http import Fields

TCHAR = frozenset(b"!#$%&'*+-.^_`|~" + string.digits.encode() + string.ascii_letters.encode())
VISIBLE = frozenset(range(0x21, 0x7F))
TEXT = VISIBLE | frozenset(b"\t ") | frozenset(range(0x80, 0x100))
HEX = frozenset(string.hexdigits.encode())
DIGITS = frozenset(string.digits.encode())
REG_NAME = frozenset(b"-._~!$&'()*+,;=" + string.digits.encode() + string.ascii_letters.encode())

LARGEST_BODY = 33554432


class Bad(Exception):
    """No reading of the bytes is allowed."""


class Unfinished(Exception):
    """What is there may still become a message."""


class Request(NamedTuple):
    """A request, and where it ends in the stream."""

    method: bytes
    target: bytes
    version: bytes
    fields: Fields
    body: bytes
    keep: bool
    end: int

    @property
    def is_chunked(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self.fields)


class Reply(NamedTuple):
    """A final response. `reusable`: its framing says where it ends, and that another may follow."""

    status: int
    fields: Fields
    body: bytes
    reusable: bool
    end: int


def bad(why: str) -> NoReturn:
    raise Bad(why)


def need(found: bool, why: str) -> None:
    if not found:
        bad(why)


class Cursor:
    """A place in the bytes."""

    def __init__(self, stream: bytes, at: int) -> None:
        self.stream = stream
        self.at = at

    def take(self, size: int) -> bytes:
        """The next bytes, so many."""
        if len(self.stream) - self.at < size:
            raise Unfinished
        self.at += size
        return self.stream[self.at - size : self.at]

    def line(self) -> bytes:
        """The next line, without its CRLF (9112 2.2)."""
        end = self.at
        while True:
            if end >= len(self.stream):
                raise Unfinished
            if self.stream[end] == 0x0D:
                break
            need(self.stream[end] in TEXT, "a line has a byte that no line has")
            end += 1
        if end + 1 >= len(self.stream):
            raise Unfinished
        need(self.stream[end + 1] == 0x0A, "a bare CR")
        found = self.stream[self.at : end]
        self.at = end + 2
        return found

    def fields(self) -> Fields:
        """Field lines up to a blank line (9112 5)."""
        found: Fields = []
        while line := self.line():
            colon = line.find(b":")
            need(colon > 0, "a field without a name")
            need(all(byte in TCHAR for byte in line[:colon]), "a name that is no token")
            found.append((line[:colon].lower(), line[colon + 1 :].strip(b" \t")))
        return found

    def chunked(self, limit: int) -> bytes:
        """A body of at most `limit` bytes in the chunked coding (9112 7.1); its trailers are dropped."""
        body = b""
        while True:
            size = self.size()
            if size == 0:
                self.fields()
                return body
            need(len(body) + size <= limit, "a body that is too long")
            body += self.take(size)
            need(self.take(1) == b"\r", "no line end behind a chunk")
            need(self.take(1) == b"\n", "no line end behind a chunk")

    def size(self) -> int:
        """The size of the next chunk; its extensions are checked."""
        digits, _, extensions = (line := self.line()).partition(b";")
        need(0 < len(digits) <= 16 and all(byte in HEX for byte in digits), "no chunk size")
        if len(digits) < len(line):
            need(len(extensions) < 256, "a chunk extension that is too long")
            check_extensions(extensions)
        return int(digits, 16)


def check_extensions(text: bytes) -> None:
    """`name[=token|quoted]`, separated by `;` (9112 7.1.1), with blanks behind `;` and around `=`."""
    at = 0

    def skip(allowed: frozenset[int]) -> int:
        nonlocal at
        start = at
        while at < len(text) and text[at] in allowed:
            at += 1
        return at - start

    while True:
        skip(frozenset(b" \t"))
        need(skip(TCHAR) > 0, "an extension without a name")
        if at == len(text):
            return
        mark = at
        skip(frozenset(b" \t"))
        if text[at : at + 1] == b"=":
            at += 1
            skip(frozenset(b" \t"))
            if text[at : at + 1] == b'"':
                at = quoted(text, at + 1)
            else:
                need(skip(TCHAR) > 0, "an extension without a value")
        else:
            at = mark
        if at == len(text):
            return
        need(text[at] == ord(";"), "a byte that no extension has")
        at += 1


def quoted(text: bytes, at: int) -> int:
    """Where the quoted string ends whose text begins here (9110 5.6.4)."""
    while text[at : at + 1] != b'"':
        at += 2 if text[at : at + 1] == b"\\" else 1
        need(at < len(text), "a quoted string without end")
    return at + 1


def named(fields: Fields, name: bytes) -> list[bytes]:
    return [value for key, value in fields if key == name]


def listed(values: list[bytes]) -> list[bytes]:
    return [item.strip(b" \t").lower() for value in values for item in value.split(b",")]


def framing(fields: Fields, version: bytes) -> int | None:
    """The length that the fields tell: -1 for chunks, None for nothing (9112 6.3)."""
    codings, lengths = named(fields, b"transfer-encoding"), named(fields, b"content-length")
    need(not (codings and lengths), "both framings")
    need(len(codings) < 2 and len(lengths) < 2, "a framing twice")
    if codings:
        need(version == b"1.1", "chunks in HTTP/1.0")
        need(codings[0].lower() == b"chunked", "another coding")
        return -1
    if lengths:
        value = lengths[0]
        need(bool(value) and all(byte in DIGITS for byte in value), "no length")
        need(value == b"0" or value[0] != 0x30, "zeros in front")
        need(len(value) < 20, "a length that is too long")
        return int(value)
    return None


def stays(fields: Fields, version: bytes) -> bool:
    return version == b"1.1" and b"close" not in listed(named(fields, b"connection"))


def is_version(word: bytes) -> bool:
    return word in (b"HTTP/1.0", b"HTTP/1.1")


def check_host(value: bytes) -> None:
    """`uri-host [":" port]`, the host not empty (9110 7.2)."""
    if value[:1] == b"[":
        address, closed, rest = value[1:].partition(b"]")
        need(bool(closed) and b"%" not in address, "no address in brackets")
        try:
            IPv6Address(address.decode("ascii"))
        except (AddressValueError, UnicodeDecodeError):
            bad("no address in brackets")
    else:
        name, colon, port = value.partition(b":")
        rest = colon + port
        need(bool(name), "an empty host")
        at = 0
        while at < len(name):
            if name[at] == ord("%"):
                digits = name[at + 1 : at + 3]
                need(len(digits) == 2 and all(byte in HEX for byte in digits), "a bad escape")
                at += 3
            else:
                need(name[at] in REG_NAME, "a byte that no host has")
                at += 1
    if rest:
        port = rest[1:]
        need(rest[:1] == b":" and 0 < len(port) < 6, "no port")
        need(all(byte in DIGITS for byte in port) and int(port) < 65536, "no port")


def resolve(method: bytes, target: bytes, fields: Fields) -> tuple[bytes, Fields]:
    """The target in origin-form, and the fields that go with it (9112 3.2)."""
    need(bool(target) and all(byte in VISIBLE for byte in target), "a target with a strange byte")
    need(b"#" not in target and method != b"CONNECT", "a fragment, or a tunnel")
    if target[:1] == b"/" or (target == b"*" and method == b"OPTIONS"):
        return target, fields
    scheme, found, rest = target.partition(b"://")
    need(bool(found) and scheme.lower() in (b"http", b"https"), "no target")
    ends = [at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0]
    authority = rest[: min(ends)] if ends else rest
    check_host(authority)
    path = rest[len(authority) :]
    if not path and method == b"OPTIONS":
        path = b"*"
    if path[:1] not in (b"/", b"*"):
        path = b"/" + path
    return path, [(b"host", authority), *(one for one in fields if one[0] != b"host")]


def read_request(stream: bytes, at: int = 0) -> Request:
    """Read the request that begins at `at`; Bad or Unfinished where there is none."""
    cursor = Cursor(stream, at)
    while stream[cursor.at : cursor.at + 2] == b"\r\n":
        cursor.at += 2
    words = cursor.line().split(b" ")
    need(len(words) == 3, "no three words")
    method, target, version = words
    need(bool(method) and all(byte in TCHAR for byte in method), "no method")
    need(is_version(version), "no version of ours")
    version = version[5:]
    fields = cursor.fields()
    hosts = named(fields, b"host")
    need(len(hosts) == 1 or (not hosts and version == b"1.0"), "not one Host")
    if hosts:
        check_host(hosts[0])
    length = framing(fields, version)
    target, fields = resolve(method, target, fields)
    need(all(value.lower() == b"100-continue" for value in named(fields, b"expect")), "Expect")
    need({b"", b"identity"}.issuperset(listed(named(fields, b"content-encoding"))), "a coding")
    need((length or 0) <= LARGEST_BODY, "a body that is too long")
    body = cursor.chunked(LARGEST_BODY) if length == -1 else cursor.take(length or 0)
    return Request(method, target, version, fields, body, stays(fields, version), cursor.at)


def read_requests(stream: bytes) -> tuple[list[Request], str]:
    """All requests of a connection, and how it goes on: `bad`, `short`, `closed` or `idle`."""
    found: list[Request] = []
    at = 0
    while stream[at:].strip(b"\r\n"):
        try:
            found.append(read_request(stream, at))
        except Bad:
            return found, "bad"
        except Unfinished:
            return found, "short"
        at = found[-1].end
        if not found[-1].keep:
            return found, "closed"
    rest = stream[at:].replace(b"\r\n", b"")
    return found, "bad" if rest not in (b"", b"\r") else "short" if rest else "idle"


def read_reply(stream: bytes, at: int = 0, *, to: bytes = b"GET", closed: bool = False) -> Reply:
    """Read the final response to a request with the method `to`.

    Args:
        stream: the bytes of the connection.
        at: where the response begins.
        to: the method of the request.
        closed: the connection ends behind the bytes.
    """
    cursor = Cursor(stream, at)
    while True:
        line = cursor.line()
        need(is_version(line[:8]) and line[8:9] == b" ", "no status line")
        code, blank = line[9:12], line[12:13]
        need(len(code) == 3 and all(byte in DIGITS for byte in code), "no status")
        need(code[0] > 0x30 and blank in (b"", b" "), "no status")
        version, status = line[5:8], int(code)
        fields = cursor.fields()
        length = framing(fields, version)
        if status >= 200:
            break
        need(status != 101 and length is None, "an interim response with a body")
    keep = stays(fields, version)
    if to == b"HEAD" or status == 304:
        body = b""
    elif status == 204:
        body, keep = b"", keep and not length
    elif length is None:
        if not closed:
            raise Unfinished
        body, keep = cursor.take(len(stream) - cursor.at), False
    else:
        body = cursor.chunked(2**64) if length == -1 else cursor.take(length)
    return Reply(status, fields, body, keep, cursor.at)
