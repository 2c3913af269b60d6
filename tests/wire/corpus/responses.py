"""The corpus, part three: responses of an upstream, to a POST unless a case says otherwise.

The bytes are all that comes; then the upstream closes. What a second response behind the first one
would look like is SECOND: nobody asked for it, and nobody may get it.
"""

from typing import NamedTuple

from rawproxy.wire.http import Fields
from tests.wire.corpus.case import chunks, head

REPLY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"first"},"finish_reason":"stop"}]}'
)
SECOND = b"HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\nContent-Length: 8\r\n\r\nsmuggled"
FIELD_LIMIT, HEAD_LIMIT = 200, 65536

OK = b"HTTP/1.1 200 OK"
JSON = b"Content-Type: application/json"
LENGTH = b"Content-Length: %d" % len(REPLY)
CODED = b"Transfer-Encoding: chunked"
TYPE = (b"content-type", b"application/json")
CL = (b"content-length", b"%d" % len(REPLY))
TE = (b"transfer-encoding", b"chunked")
END = b"0\r\n\r\n"
CHUNKED = chunks(REPLY[:20], REPLY[20:]) + END
WHOLE = head(OK, JSON, LENGTH) + REPLY


class Got(NamedTuple):
    """It is one response, with this meaning. `reusable`: the connection may carry another one."""

    status: int
    fields: Fields
    body: bytes = REPLY
    reusable: bool = True


class Broken(NamedTuple):
    """It is no response; nothing more is read of the connection."""


class Cut(NamedTuple):
    """It is not whole when the connection ends."""


class Answer(NamedTuple):
    """`rule` is the section of RFC 9110 or 9112 that decides; `to` the method of the request."""

    name: str
    rule: str
    raw: bytes
    verdict: Got | Broken | Cut
    to: bytes = b"POST"


def good(
    name: str, rule: str, raw: bytes, *fields: tuple[bytes, bytes], reusable: bool = True
) -> Answer:
    """A 200 that brings REPLY."""
    return Answer(name, rule, raw, Got(200, list(fields), reusable=reusable))


def bad(name: str, rule: str, raw: bytes) -> Answer:
    """What is no response, and a good one behind it."""
    return Answer(name, rule, raw + WHOLE, Broken())


def line(name: str, raw: bytes, status: int = 200, *, reusable: bool = True) -> Answer:
    """A status line that is read, before a body with its length."""
    verdict = Got(status, [TYPE, CL], reusable=reusable)
    return Answer(f"status line: {name}", "9112 4", head(raw, JSON, LENGTH) + REPLY, verdict)


def no_line(name: str, raw: bytes) -> Answer:
    """A status line that is none."""
    whole = head(raw, JSON, LENGTH) + REPLY
    return Answer(f"status line: {name}", "9112 4", whole, Broken())


def no_field(name: str, rule: str, raw: bytes) -> Answer:
    """A field line that is none."""
    return Answer(f"field: {name}", rule, head(OK, raw, LENGTH) + REPLY, Broken())


def framed(name: str, rule: str, *lines: bytes, body: bytes = REPLY) -> Answer:
    """Framing fields that two readers could read differently."""
    return Answer(f"framing: {name}", rule, head(OK, *lines) + body, Broken())


def coded(name: str, body: bytes, *, reusable: bool = True) -> Answer:
    """REPLY in chunks that are read."""
    return good(f"chunks: {name}", "9112 7.1", head(OK, CODED) + body, TE, reusable=reusable)


def miscoded(name: str, body: bytes) -> Answer:
    """Chunks that are none; what is behind the first of them counts for nothing."""
    raw = head(OK, CODED) + body + SECOND
    return Answer(f"chunks: {name}", "9112 7.1", raw, Broken())


def cut(name: str, rule: str, raw: bytes) -> Answer:
    """What ends too early."""
    return Answer(f"cut: {name}", rule, raw, Cut())


def interim(status: int, *lines: bytes) -> bytes:
    """An interim response."""
    return head(b"HTTP/1.1 %d X" % status, *lines)


def filled(size: int) -> bytes:
    """A head of this many bytes for an empty body."""
    bare = head(OK, b"Content-Length: 0", b"X: ")
    return head(OK, b"Content-Length: 0", b"X: " + b"y" * (size - len(bare)))


def many(count: int) -> bytes:
    """A head with so many fields for an empty body."""
    return head(OK, b"Content-Length: 0", *(b"x%d:" % at for at in range(count - 1)))


def empty(status: int, *fields: tuple[bytes, bytes], reusable: bool = True) -> Got:
    return Got(status, list(fields), b"", reusable)


LINES = [
    line("usual", OK),
    line("no reason, but its blank", b"HTTP/1.1 200 "),
    line("no reason, and no blank", b"HTTP/1.1 200"),
    line("a reason of several words", b"HTTP/1.1 200 All is  well"),
    line("a reason with a tab", b"HTTP/1.1 200 a\tb"),
    line("a reason that is not ASCII", b"HTTP/1.1 200 \xc3\xa4\xff"),
    line("a reason that looks like a status line", b"HTTP/1.1 200 HTTP/1.1 500 X"),
    line("a reason that looks like a field", b"HTTP/1.1 200 Content-Length: 5"),
    line("an unknown status of a known class", b"HTTP/1.1 299 X", 299),
    line("a client's fault without a name", b"HTTP/1.1 499 X", 499),
    line("529", b"HTTP/1.1 529 Overloaded", 529),
    line("HTTP/1.0 does not stay", b"HTTP/1.0 200 OK", reusable=False),
    no_line("a status of two digits", b"HTTP/1.1 20 OK"),
    no_line("a status of four digits", b"HTTP/1.1 2000 OK"),
    no_line("a status below 100", b"HTTP/1.1 099 OK"),
    no_line("no status", b"HTTP/1.1 OK"),
    no_line("a negative status", b"HTTP/1.1 -20 OK"),
    no_line("a status in hexadecimal", b"HTTP/1.1 2A0 OK"),
    no_line("a status with a sign", b"HTTP/1.1 +20 OK"),
    no_line("a status that is not ASCII", b"HTTP/1.1 2\xb20 OK"),
    no_line("two blanks before the status", b"HTTP/1.1  200 OK"),
    no_line("a tab before the status", b"HTTP/1.1\t200 OK"),
    no_line("a tab behind the status", b"HTTP/1.1 200\tOK"),
    no_line("no blank behind the version", b"HTTP/1.1200 OK"),
    no_line("a blank in front", b" HTTP/1.1 200 OK"),
    no_line("HTTP/2.0", b"HTTP/2.0 200 OK"),
    no_line("HTTP/0.9", b"HTTP/0.9 200 OK"),
    no_line("HTTP/1.2", b"HTTP/1.2 200 OK"),
    no_line("HTTP/1.10", b"HTTP/1.10 200 OK"),
    no_line("a version of one number", b"HTTP/1 200 OK"),
    no_line("the version in lower case", b"http/1.1 200 OK"),
    no_line("another protocol", b"ICY 200 OK"),
    no_line("a request line", b"GET / HTTP/1.1"),
    no_line("a NUL in the reason", b"HTTP/1.1 200 O\x00K"),
    no_line("a bare CR in the reason", b"HTTP/1.1 200 O\rK"),
    no_line("a bare LF in the reason", b"HTTP/1.1 200 O\nX-Smuggled: 1"),
    no_line("a control character in the reason", b"HTTP/1.1 200 O\x1bK"),
    no_line("DEL in the reason", b"HTTP/1.1 200 O\x7fK"),
    bad("all line ends are bare LFs", "9112 2.2", WHOLE.replace(b"\r\n", b"\n")),
    bad("all line ends are bare CRs", "9112 2.2", WHOLE.replace(b"\r\n", b"\r")),
    bad("an empty line in front", "9112 2.2", b"\r\n"),
    bad("a body of HTTP/0.9", "9112 4", b"<html>hello</html>\r\n\r\n"),
    bad("the preface of HTTP/2", "9113 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
]  # fmt: skip

FIELDS = [
    good("field: blanks and tabs around a value", "9112 5.1", head(OK, b"X: \t y \t", LENGTH) + REPLY, (b"x", b"y"), CL),
    good("field: bytes above 0x7f", "9110 5.5", head(OK, b"X: \xc3\xa4", LENGTH) + REPLY, (b"x", b"\xc3\xa4"), CL),
    good("field: twice", "9110 5.3", head(OK, b"X: 1", b"x: 2", LENGTH) + REPLY, (b"x", b"1"), (b"x", b"2"), CL),
    good("field: empty", "9110 5.5", head(OK, b"X:", LENGTH) + REPLY, (b"x", b""), CL),
    good("Connection: close", "9112 9.6", head(OK, b"Connection: close", LENGTH) + REPLY, (b"connection", b"close"), CL,
         reusable=False),
    good("Connection: a list with close", "9112 9.6", head(OK, b"Connection: x, Close", LENGTH) + REPLY,
         (b"connection", b"x, Close"), CL, reusable=False),
    good("Connection: twice, close in the second", "9112 9.6",
         head(OK, b"Connection: keep-alive", b"Connection: close", LENGTH) + REPLY,
         (b"connection", b"keep-alive"), (b"connection", b"close"), CL, reusable=False),
    good("HTTP/1.0 with keep-alive", "9112 C.2.2", head(b"HTTP/1.0 200 OK", b"Connection: keep-alive", LENGTH) + REPLY,
         (b"connection", b"keep-alive"), CL, reusable=False),
    no_field("folded", "9112 5.2", b"X: a\r\n b"),
    no_field("folded with a tab", "9112 5.2", b"X: a\r\n\tX-Smuggled: 1"),
    no_field("folded, empty", "9112 5.2", b"X: a\r\n "),
    no_field("a framing that is folded", "9112 5.2", b"Transfer-Encoding:\r\n chunked"),
    no_field("a blank in front of the first", "9112 5.2", b" X: y"),
    no_field("a blank before the colon", "9112 5.1", b"X : y"),
    no_field("a framing with a blank before the colon", "9112 5.1", b"Transfer-Encoding : chunked"),
    no_field("no colon", "9112 5", b"X"),
    no_field("no name", "9110 5.1", b": y"),
    no_field("a blank in a name", "9110 5.1", b"X Y: z"),
    no_field("a name that is not ASCII", "9110 5.1", b"X\xff: z"),
    *(no_field(f"{byte:#04x} in a value", "9110 5.5", b"X: a%cX-Smuggled: 1" % byte)
      for byte in (0x00, 0x01, 0x08, 0x0A, 0x0B, 0x0C, 0x0D, 0x1B, 0x7F)),
    Answer("a head of 64 KiB", "9110 5.4", filled(HEAD_LIMIT), Got(200, [
        (b"content-length", b"0"), (b"x", b"y" * (HEAD_LIMIT - len(filled(0)) ))], b"")),
    Answer("a head of 64 KiB and a byte", "9110 5.4", filled(HEAD_LIMIT + 1), Broken()),
    Answer("a head without end", "9110 5.4", OK + b"\r\nX: " + b"y" * HEAD_LIMIT, Broken()),
    Answer("200 fields", "9110 5.4", many(FIELD_LIMIT), Got(200, [
        (b"content-length", b"0"), *((b"x%d" % at, b"") for at in range(FIELD_LIMIT - 1))], b"")),
    Answer("201 fields", "9110 5.4", many(FIELD_LIMIT + 1), Broken()),
]  # fmt: skip

FRAMING = [
    Answer("framing: a length of nothing", "9112 6.3", head(OK, b"Content-Length: 0"),
           empty(200, (b"content-length", b"0"))),
    good("framing: up to the end of the connection", "9112 6.3", head(OK, JSON) + REPLY, TYPE, reusable=False),
    Answer("framing: up to the end, and nothing there", "9112 6.3", head(OK, JSON), empty(200, TYPE, reusable=False)),
    Answer("framing: up to the end, even where it says keep-alive", "9112 6.3",
           head(OK, b"Connection: keep-alive") + REPLY + SECOND,
           Got(200, [(b"connection", b"keep-alive")], REPLY + SECOND, reusable=False)),
    framed("a length and chunks", "9112 6.3", LENGTH, CODED, body=CHUNKED),
    framed("chunks and a length", "9112 6.3", CODED, LENGTH, body=CHUNKED),
    framed("chunks and a length of nothing", "9112 6.3", CODED, b"Content-Length: 0", body=CHUNKED),
    framed("two lengths that differ", "9112 6.3", LENGTH, b"Content-Length: 0"),
    framed("two equal lengths", "9112 6.3", LENGTH, LENGTH),
    *(framed(f"the length {value.decode('latin-1')!r}", "9110 8.6", b"Content-Length: " + value)
      for value in (b"", b"-1", b"+5", b"5, 5", b"5,6", b"0x5", b"5 5", b"05", b"5.0", b"1e2", b"\xb2", b"5;", b"9" * 20)),
    *(framed(f"the coding {value.decode('latin-1')!r}", "9112 6.1", b"Transfer-Encoding: " + value, body=CHUNKED)
      for value in (b"", b"identity", b"gzip", b"gzip, chunked", b"chunked, chunked", b"chunked, identity", b"chunked;a",
                    b"xchunked", b'"chunked"', b"chunked,", b",chunked", b"\xffchunked")),
    framed("chunks said twice", "9112 6.1", CODED, CODED, body=CHUNKED),
    framed("another coding in a second line", "9112 6.1", CODED, b"Transfer-Encoding: identity", body=CHUNKED),
    Answer("framing: chunks in HTTP/1.0", "9112 6.1", head(b"HTTP/1.0 200 OK", CODED) + CHUNKED, Broken()),
    good("framing: chunks in capitals", "9112 7", head(OK, b"Transfer-Encoding: CHUNKED") + CHUNKED,
         (b"transfer-encoding", b"CHUNKED")),
    coded("usual", CHUNKED),
    coded("one byte each", b"".join(chunks(REPLY[at : at + 1]) for at in range(len(REPLY))) + END),
    coded("an extension", b"%x;a=b\r\n%b\r\n" % (len(REPLY), REPLY) + END),
    coded("a quoted extension", b'%x;a="b;\\"c"\r\n%b\r\n' % (len(REPLY), REPLY) + END),
    coded("zeros in front", b"000%x\r\n%b\r\n" % (len(REPLY), REPLY) + b"0000\r\n\r\n"),
    coded("a trailer", CHUNKED[:-2] + b"X-Smuggled: 1\r\n\r\n"),
    coded("a trailer that frames", CHUNKED[:-2] + b"Content-Length: 5\r\nSet-Cookie: a\r\n\r\n"),
    miscoded("no size", b"\r\nhello\r\n"),
    miscoded("a sign", b"+5\r\nhello\r\n"),
    miscoded("a negative size", b"-5\r\nhello\r\n"),
    miscoded("0x", b"0x5\r\nhello\r\n"),
    miscoded("17 digits", b"00000000000000005\r\nhello\r\n"),
    miscoded("a blank behind the size", b"5 \r\nhello\r\n"),
    miscoded("a blank in front of the size", b" 5\r\nhello\r\n"),
    miscoded("a bare LF behind the size", b"5\nhello\r\n"),
    miscoded("a bare CR behind the size", b"5\rhello\r\n"),
    miscoded("a bare LF behind the data", b"5\r\nhello\n"),
    miscoded("more data than its size", b"4\r\nhello\r\n"),
    miscoded("less data than its size", b"6\r\nhello\r\n"),
    miscoded("no CRLF behind the data", b"5\r\nhello0\r\n"),
    miscoded("a bare LF in an extension", b"5;a\nb\r\nhello\r\n"),
    miscoded("an extension without a name", b"5;\r\nhello\r\n"),
    miscoded("an extension of 257 bytes", b"5;" + b"a" * 256 + b"\r\nhello\r\n"),
    miscoded("a trailer that is folded", b"0\r\nX: a\r\n b\r\n\r\n"),
    miscoded("a trailer without colon", b"0\r\nX\r\n\r\n"),
    miscoded("a trailer with a bare LF", b"0\r\nX: a\nY: b\r\n\r\n"),
    miscoded("a trailer section of 64 KiB", b"0\r\nX: " + b"y" * HEAD_LIMIT + b"\r\n\r\n"),
]  # fmt: skip

STATUSES = [
    Answer("204", "9110 15.3.5", head(b"HTTP/1.1 204 X"), empty(204)),
    Answer("204 with a length of nothing", "9110 8.6", head(b"HTTP/1.1 204 X", b"Content-Length: 0"),
           empty(204, (b"content-length", b"0"))),
    Answer("204 with a length", "9112 6.3", head(b"HTTP/1.1 204 X", b"Content-Length: %d" % len(SECOND)) + SECOND,
           empty(204, (b"content-length", b"%d" % len(SECOND)), reusable=False)),
    Answer("204 with a length, and nothing of it", "9112 6.3", head(b"HTTP/1.1 204 X", b"Content-Length: 5"),
           empty(204, (b"content-length", b"5"), reusable=False)),
    Answer("204 with chunks", "9112 6.1", head(b"HTTP/1.1 204 X", CODED) + CHUNKED, empty(204, TE, reusable=False)),
    Answer("204 with chunks, and nothing of it", "9112 6.1", head(b"HTTP/1.1 204 X", CODED), empty(204, TE, reusable=False)),
    Answer("204 and bytes behind it", "9112 6.3", head(b"HTTP/1.1 204 X") + REPLY, empty(204, reusable=False)),
    Answer("304 with the length of what it stands for", "9112 6.3", head(b"HTTP/1.1 304 X", LENGTH), empty(304, CL)),
    Answer("304 with chunks", "9112 6.1", head(b"HTTP/1.1 304 X", CODED), empty(304, TE)),
    Answer("304 and a body", "9112 6.3", head(b"HTTP/1.1 304 X", LENGTH) + REPLY, empty(304, CL, reusable=False)),
    Answer("205 has a body when it says so", "9110 15.3.6", head(b"HTTP/1.1 205 X", LENGTH) + REPLY, Got(205, [CL])),
    Answer("HEAD and a length", "9110 9.3.2", head(OK, LENGTH), empty(200, CL), b"HEAD"),
    Answer("HEAD and chunks", "9110 9.3.2", head(OK, CODED), empty(200, TE), b"HEAD"),
    Answer("HEAD without framing", "9110 9.3.2", head(OK, JSON), empty(200, TYPE), b"HEAD"),
    Answer("HEAD and a body", "9112 6.3", WHOLE, empty(200, TYPE, CL, reusable=False), b"HEAD"),
    Answer("HEAD and both framings", "9112 6.3", head(OK, LENGTH, CODED), Broken(), b"HEAD"),
    good("100 in front", "9110 15.2.1", interim(100) + WHOLE, TYPE, CL),
    good("102 in front", "9110 15.2", interim(102, b"X: y") + WHOLE, TYPE, CL),
    good("103 in front", "9110 15.2", interim(103, b"Link: </x>") + WHOLE, TYPE, CL),
    good("several of them in front", "9110 15.2", interim(100) + interim(102) + interim(199) + WHOLE, TYPE, CL),
    good("eight of them in front", "9110 15.2", interim(100) * 8 + WHOLE, TYPE, CL),
    good("its close counts for nothing", "9110 15.2", interim(100, b"Connection: close") + WHOLE, TYPE, CL),
    bad("nine of them in front", "9110 15.2", interim(100) * 9),
    bad("101", "9110 15.2.2", interim(101, b"Upgrade: websocket", b"Connection: upgrade")),
    bad("an interim one with a length", "9110 8.6", interim(100, b"Content-Length: 5") + b"hello"),
    bad("an interim one with a length of nothing", "9110 8.6", interim(100, b"Content-Length: 0")),
    bad("an interim one in chunks", "9112 6.1", interim(103, CODED) + END),
    bad("an interim one and bytes", "9112 6.3", interim(100) + b"hello"),
    bad("an interim one and an empty line", "9112 2.2", interim(100) + b"\r\n"),
]  # fmt: skip

BEHIND = [
    good("behind: a second response", "9112 9.3", WHOLE + SECOND, TYPE, CL, reusable=False),
    good("behind: one byte", "9112 9.3", WHOLE + b"x", TYPE, CL, reusable=False),
    good("behind: an empty line", "9112 2.2", WHOLE + b"\r\n", TYPE, CL, reusable=False),
    good("behind: a NUL", "9112 9.3", WHOLE + b"\x00", TYPE, CL, reusable=False),
    good("behind: a timeout nobody asked for", "9110 15.5.9", WHOLE + head(b"HTTP/1.1 408 X", b"Content-Length: 0"),
         TYPE, CL, reusable=False),
    good("behind: an interim response", "9110 15.2", WHOLE + interim(100), TYPE, CL, reusable=False),
    good("behind a short length: the rest of the body", "9112 6.3", head(OK, LENGTH) + REPLY + REPLY, CL, reusable=False),
    coded("a second response behind", CHUNKED + SECOND, reusable=False),
    coded("a second last chunk behind", CHUNKED + END, reusable=False),
    Answer("behind 304: a second response", "9112 9.3", head(b"HTTP/1.1 304 X") + SECOND, empty(304, reusable=False)),
    Answer("behind an empty body: a second response", "9112 9.3", head(OK, b"Content-Length: 0") + SECOND,
           empty(200, (b"content-length", b"0"), reusable=False)),
]  # fmt: skip

CUTS = [
    cut("nothing at all", "9112 8", b""),
    cut("inside the status line", "9112 8", b"HTTP/1.1 20"),
    cut("behind the status line", "9112 8", OK + b"\r\n"),
    cut("inside the blank line", "9112 8", head(OK, LENGTH)[:-1]),
    cut("behind an interim response", "9112 8", interim(100)),
    cut("before the body", "9112 8", head(OK, LENGTH)),
    cut("one byte of the body is missing", "9112 8", WHOLE[:-1]),
    cut(
        "a length that no body has",
        "9112 8",
        head(OK, b"Content-Length: 9999999999999999999") + REPLY,
    ),
    cut("before the first chunk", "9112 8", head(OK, CODED)),
    cut("inside a chunk size", "9112 8", head(OK, CODED) + b"5"),
    cut("a chunk of 2^64 - 1 bytes", "9112 7.1", head(OK, CODED) + b"ffffffffffffffff\r\nhello"),
    cut("inside a chunk", "9112 8", head(OK, CODED) + CHUNKED[:15]),
    cut("before the last chunk", "9112 8", head(OK, CODED) + CHUNKED[: -len(END)]),
    cut("inside the last chunk", "9112 8", head(OK, CODED) + CHUNKED[:-2]),
    cut("inside the trailers", "9112 8", head(OK, CODED) + CHUNKED[:-2] + b"X: y\r\n"),
]

RESPONSES = [*LINES, *FIELDS, *FRAMING, *STATUSES, *BEHIND, *CUTS]
