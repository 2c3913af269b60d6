"""The corpus, part two: fields, and everything that says where a body ends."""

from rawproxy.wire.http import Fields
from tests.wire.corpus.case import (
    BODY,
    CALL,
    CHUNKED,
    CODED,
    END,
    HOST,
    LENGTH,
    Accept,
    Case,
    Refuse,
    Short,
    chunks,
    head,
)

POST = b"POST %b HTTP/1.1" % CALL
OLD = b"POST %b HTTP/1.0" % CALL
LOCALHOST = b"Host: localhost"
SIZE = b"%d" % len(BODY)
TE = (b"transfer-encoding", b"chunked")
CL = (b"content-length", SIZE)

HIDDEN = head(b"GET /admin HTTP/1.1", b"Host: other")
FIELD_LIMIT, HEAD_LIMIT = 100, 32768


def field(name: str, rule: str, line: bytes, verdict: tuple[bytes, bytes] | Refuse) -> Case:
    """A GET with this field line."""
    raw = head(b"GET / HTTP/1.1", LOCALHOST, line)
    if isinstance(verdict, Refuse):
        return Case(name, rule, raw, verdict)
    return Case(name, rule, raw, Accept(b"GET", b"/", [HOST, verdict]))


def post(
    name: str, rule: str, lines: list[bytes], body: bytes, *fields: tuple[bytes, bytes]
) -> Case:
    """An accepted call with these lines behind its Host, which read as `fields`."""
    raw = head(POST, LOCALHOST, *lines) + body
    return Case(name, rule, raw, Accept(b"POST", CALL, [HOST, *fields], BODY))


def bad(name: str, rule: str, lines: list[bytes], body: bytes = b"", status: int = 400) -> Case:
    """A refused POST."""
    return Case(name, rule, head(POST, LOCALHOST, *lines) + body, Refuse(status))


def coded(name: str, rule: str, body: bytes) -> Case:
    """A call in chunks that are accepted."""
    return post(f"chunks: {name}", rule, [CODED], body, TE)


def miscoded(name: str, rule: str, body: bytes, status: int = 400) -> Case:
    """A call in chunks that are refused."""
    return bad(f"chunks: {name}", rule, [CODED], body, status)


def lengths(value: bytes, rule: str, status: int = 400) -> Case:
    """A Content-Length that is refused."""
    return bad(f"Content-Length {value!r}", rule, [b"Content-Length: " + value], BODY, status)


def codings(value: bytes, status: int) -> Case:
    """A Transfer-Encoding that is refused."""
    return bad(
        f"Transfer-Encoding {value!r}",
        "9112 6.1",
        [b"Transfer-Encoding: " + value],
        CHUNKED,
        status,
    )


def many(count: int) -> Fields:
    """So many fields, Host included."""
    return [HOST, *((b"x%d" % at, b"") for at in range(count - 1))]


def filled(size: int) -> bytes:
    """A head of this many bytes."""
    bare = head(b"GET / HTTP/1.1", LOCALHOST, b"X: ")
    return head(b"GET / HTTP/1.1", LOCALHOST, b"X: " + b"y" * (size - len(bare)))


FIELDS = [
    field("no blank behind the colon", "9112 5.1", b"X:y", (b"x", b"y")),
    field("blanks and tabs around a value", "9112 5.1", b"X: \t y \t", (b"x", b"y")),
    field("an empty value", "9110 5.5", b"X:", (b"x", b"")),
    field("a value of blanks", "9110 5.5", b"X: \t ", (b"x", b"")),
    field("blanks and tabs inside a value", "9110 5.5", b"X: a \t b", (b"x", b"a \t b")),
    field("colons in a value", "9110 5.5", b"X: a:b: c", (b"x", b"a:b: c")),
    field("quotes in a value", "9110 5.5", b'X: "a', (b"x", b'"a')),
    field("bytes above 0x7f in a value", "9110 5.5", b"X: \x80\xff", (b"x", b"\x80\xff")),
    field("UTF-8 in a value", "9110 5.5", b"X: \xc3\xa4", (b"x", b"\xc3\xa4")),
    field("every token character in a name", "9110 5.1", b"!#$%&'*+-.^_`|~09aZ: b", (b"!#$%&'*+-.^_`|~09az", b"b")),
    field("a digit as name", "9110 5.1", b"1: b", (b"1", b"b")),
    field("an underscore in a name", "9110 5.1", b"Content_Length: 5", (b"content_length", b"5")),
    Case("the same field twice", "9110 5.3", head(b"GET / HTTP/1.1", LOCALHOST, b"A: 1", b"a: 2"),
         Accept(b"GET", b"/", [HOST, (b"a", b"1"), (b"a", b"2")])),
    field("a value of 8,000 bytes", "9110 5.4", b"X: " + b"y" * 8000, (b"x", b"y" * 8000)),
    field("an empty name", "9110 5.1", b": y", Refuse()),
    field("no colon", "9112 5", b"X", Refuse()),
    field("a blank for a colon", "9112 5", b"X y", Refuse()),
    field("a blank before the colon of any field", "9112 5.1", b"X : y", Refuse()),
    field("a tab before the colon", "9112 5.1", b"X\t: y", Refuse()),
    field("a blank in a name", "9110 5.1", b"X Y: z", Refuse()),
    field("a blank in front of a name", "9112 5.2", b" X: y", Refuse()),
    field("a tab in front of a name", "9112 5.2", b"\tX: y", Refuse()),
    field("only blanks in a line", "9112 5.2", b"  ", Refuse()),
    Case("a blank in front of the first field", "9112 2.2", head(b"GET / HTTP/1.1", b" X: y", LOCALHOST), Refuse()),
    Case("a blank line and a blank", "9112 2.2", head(b"GET / HTTP/1.1", b" ", LOCALHOST), Refuse()),
    *(field(f"{char.decode()} in a name", "9110 5.1", b"X%bY: z" % char, Refuse())
      for char in (b'"', b"(", b")", b",", b"/", b";", b"<", b"=", b">", b"?", b"@", b"[", b"\\", b"]", b"{", b"}")),
    *(field(f"{byte:#04x} in a name", "9110 5.1", b"X%cY: z" % byte, Refuse()) for byte in (0x00, 0x0B, 0x1F, 0x7F, 0x80, 0xFF)),
    *(field(f"{byte:#04x} in a value", "9110 5.5", b"X: a%cb" % byte, Refuse())
      for byte in (*range(9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F)),
    field("a control character at the end of a value", "9110 5.5", b"X: a\x0b", Refuse()),
    field("a NUL alone as a value", "9110 5.5", b"X: \x00", Refuse()),
    field("a bare CR in a value", "9110 5.5", b"X: a\rb", Refuse()),
    field("a bare CR at the end of a value", "9110 5.5", b"X: a\r", Refuse()),
    field("a bare CR and a field behind it", "9110 5.5", b"X: a\rContent-Length: 5", Refuse()),
    field("a bare LF in a value", "9110 5.5", b"X: a\nb", Refuse()),
    field("a bare LF and a field behind it", "9110 5.5", b"X: a\nContent-Length: 5", Refuse()),
    field("a bare LF in a name", "9110 5.1", b"X\nY: z", Refuse()),
    field("a folded line", "9112 5.2", b"X: a\r\n b", Refuse()),
    field("a line folded with a tab", "9112 5.2", b"X: a\r\n\tb", Refuse()),
    field("a folded line of blanks", "9112 5.2", b"X: a\r\n ", Refuse()),
    field("a fold that hides a field", "9112 5.2", b"X: a\r\n Content-Length: 5", Refuse()),
    Case("a folded Transfer-Encoding", "9112 5.2",
         head(POST, LOCALHOST, b"Transfer-Encoding:\r\n chunked") + CHUNKED, Refuse()),
    Case("as many fields as there may be", "9110 5.4",
         head(b"GET / HTTP/1.1", LOCALHOST, *(b"x%d:" % at for at in range(FIELD_LIMIT - 1))),
         Accept(b"GET", b"/", many(FIELD_LIMIT))),
    Case("one field too many", "6585 5",
         head(b"GET / HTTP/1.1", LOCALHOST, *(b"x%d:" % at for at in range(FIELD_LIMIT))), Refuse(431)),
    Case("as long a head as there may be", "9110 5.4", filled(HEAD_LIMIT),
         Accept(b"GET", b"/", [HOST, (b"x", b"y" * filled(HEAD_LIMIT).count(b"y"))])),
    Case("a head too long by one", "6585 5", filled(HEAD_LIMIT + 1), Refuse(431)),
    Case("a name without end", "6585 5", b"GET / HTTP/1.1\r\n" + b"x" * HEAD_LIMIT, Refuse(431)),
    Case("a target without end", "9110 15.5.15", b"GET /" + b"x" * HEAD_LIMIT, Refuse(431)),
]  # fmt: skip

LENGTHS = [
    post("a body of some length", "9112 6.2", [LENGTH], BODY, CL),
    post("Content-Length with blanks around", "9112 5.1", [b"Content-Length: \t" + SIZE + b" "], BODY, CL),
    post("content-length in lower case", "9110 5.1", [b"content-length: " + SIZE], BODY, CL),
    Case("Content-Length 0", "9112 6.2", head(POST, LOCALHOST, b"Content-Length: 0"),
         Accept(b"POST", CALL, [HOST, (b"content-length", b"0")])),
    Case("a POST without any framing", "9112 6.3", head(POST, LOCALHOST), Accept(b"POST", CALL, [HOST])),
    Case("a body that is not whole", "9112 8", head(POST, LOCALHOST, LENGTH) + BODY[:-1], Short()),
    Case("a body that has not begun", "9112 8", head(POST, LOCALHOST, LENGTH), Short()),
    *(Case(f"a {method.decode()} with a body", "9110 9.3", head(method + b" / HTTP/1.1", LOCALHOST, b"Content-Length: 2") + b"hi",
           Accept(method, b"/", [HOST, (b"content-length", b"2")], b"hi"))
      for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"PROPFIND")),
    Case("a GET in chunks", "9110 9.3.1", head(b"GET / HTTP/1.1", LOCALHOST, CODED) + chunks(b"hi") + END,
         Accept(b"GET", b"/", [HOST, TE], b"hi")),
    Case("a request as the body of a GET", "9110 9.3.1",
         head(b"GET / HTTP/1.1", LOCALHOST, b"Content-Length: %d" % len(HIDDEN)) + HIDDEN,
         Accept(b"GET", b"/", [HOST, (b"content-length", b"%d" % len(HIDDEN))], HIDDEN)),
    *(lengths(value, "9110 8.6") for value in (
        b"", b"-1", b"+5", b"-0", b"+0", b"0x5", b"0X5", b"5h", b"5.0", b"5,", b",5", b"5 5", b"5\t5", b"5;", b'"5"',
        b"five", b"1e1", b"5_0", b"\xd9\xa5", b"\xb2", b"00", b"05", b"0" * 30, b"=5", b"5, 5", b"5,5", b"5, 6", b"0, 5",
        b"99999999999999999999", b"18446744073709551616", b"18446744073709551621", b"1" * 400)),
    lengths(b"33554433", "9110 15.5.14", 413),
    lengths(b"9223372036854775807", "9110 15.5.14", 413),
    lengths(b"9999999999999999999", "9110 15.5.14", 413),
    bad("two equal Content-Lengths", "9112 6.3", [LENGTH, LENGTH], BODY),
    bad("two Content-Lengths that differ", "9112 6.3", [LENGTH, b"Content-Length: 0"], BODY),
    bad("two Content-Lengths apart", "9112 6.3", [LENGTH, b"A: b", b"CONTENT-LENGTH: 1"], BODY),
    bad("an empty Content-Length beside another", "9112 6.3", [b"Content-Length:", LENGTH], BODY),
    bad("a Content-Length with a blank before its colon", "9112 5.1", [b"Content-Length : " + SIZE], BODY),
    bad("a Content-Length with a control character", "9110 5.5", [b"Content-Length: " + SIZE + b"\x0b"], BODY),
    bad("a Content-Length with a NUL", "9110 5.5", [b"Content-Length: " + SIZE + b"\x00"], BODY),
    bad("a Content-Length in a folded line", "9112 5.2", [b"Content-Length:\r\n " + SIZE], BODY),
    Case("HTTP/1.0 with a body", "9112 6.2", head(OLD, LOCALHOST, LENGTH) + BODY,
         Accept(b"POST", CALL, [HOST, CL], BODY, keep=False)),
    Case("HTTP/1.0 with two Content-Lengths", "9112 6.3", head(OLD, LOCALHOST, LENGTH, b"Content-Length: 3") + BODY, Refuse()),
]  # fmt: skip

BOTH = [
    bad("Content-Length and Transfer-Encoding", "9112 6.3", [LENGTH, CODED], CHUNKED),
    bad("Transfer-Encoding and Content-Length", "9112 6.3", [CODED, LENGTH], CHUNKED),
    bad("Content-Length 0 and Transfer-Encoding", "9112 6.3", [b"Content-Length: 0", CODED], CHUNKED),
    bad("a Content-Length that fits and Transfer-Encoding", "9112 6.3", [b"Content-Length: %d" % len(CHUNKED), CODED], CHUNKED),
    bad("a bad Content-Length and Transfer-Encoding", "9112 6.3", [b"Content-Length: x", CODED], CHUNKED),
    bad("an empty Content-Length and Transfer-Encoding", "9112 6.3", [b"Content-Length:", CODED], CHUNKED),
    bad("Content-Length and identity", "9112 6.3", [LENGTH, b"Transfer-Encoding: identity"], BODY),
    bad("Content-Length and an unknown coding", "9112 6.3", [LENGTH, b"Transfer-Encoding: xchunked"], BODY),
    bad("Content-Length and an empty Transfer-Encoding", "9112 6.3", [LENGTH, b"Transfer-Encoding:"], BODY),
    bad("Content-Length and a coding named in Connection", "9112 6.3", [LENGTH, CODED, b"Connection: transfer-encoding"], CHUNKED),
    bad("Content-Length and a coding, both named in Connection", "9112 6.3",
        [LENGTH, CODED, b"Connection: content-length, transfer-encoding"], CHUNKED),
]  # fmt: skip

CODINGS = [
    coded("two of them", "9112 7.1", CHUNKED),
    post("the coding in upper case", "9112 7", [b"TRANSFER-ENCODING: CHUNKED"], CHUNKED, (b"transfer-encoding", b"CHUNKED")),
    post("the coding in mixed case", "9112 7", [b"Transfer-Encoding:\tChUnKeD "], CHUNKED, (b"transfer-encoding", b"ChUnKeD")),
    *(codings(value, 501) for value in (
        b"gzip", b"identity", b"gzip, chunked", b"identity, chunked", b"x", b"xchunked", b"chunkedx", b"chunked-x",
        b'"chunked"', b"'chunked'", b"chunked;", b"chunked;q=1", b"chunked; a=b", b"chunked chunked", b"chun ked", b"deflate",
        b"chunk", b"\xe3\x83\xbbchunked", b"gzip,chunked")),
    *(codings(value, 400) for value in (
        b"", b",", b",chunked", b"chunked,", b"chunked, ", b"chunked,,", b"chunked, chunked", b"chunked, gzip",
        b"chunked, identity", b"chunked,gzip,chunked", b"gzip,,chunked", b"chunked\x00", b"\x0bchunked", b"chunked\x0b",
        b"chunked\r", b"chun\x00ked", b"\rchunked")),
    bad("two equal Transfer-Encodings", "9112 6.1", [CODED, CODED], CHUNKED),
    bad("a Transfer-Encoding and an empty one", "9112 6.1", [CODED, b"Transfer-Encoding:"], CHUNKED),
    bad("two codings in two fields", "9112 6.1", [b"Transfer-Encoding: gzip", CODED], CHUNKED),
    bad("chunked and then identity", "9112 6.1", [CODED, b"Transfer-Encoding: identity"], CHUNKED),
    bad("a Transfer-Encoding with a blank before its colon", "9112 5.1", [b"Transfer-Encoding : chunked"], CHUNKED),
    bad("a Transfer-Encoding with a tab before its colon", "9112 5.1", [b"Transfer-Encoding\t: chunked"], CHUNKED),
    bad("a Transfer-Encoding behind a bare LF", "9112 2.2", [b"X: y\nTransfer-Encoding: chunked"], CHUNKED),
    bad("a Transfer-Encoding with a blank in front", "9112 5.2", [b"A: b", b" Transfer-Encoding: chunked"], CHUNKED),
    bad("a Transfer-Encoding with a NUL in its name", "9110 5.1", [b"Transfer-Encoding\x00: chunked"], CHUNKED),
    bad("a Transfer-Encoding behind a bare CR", "9112 2.2", [b"X: y\rTransfer-Encoding: chunked"], CHUNKED),
    Case("a GET with an unknown coding", "9112 6.1", head(b"GET / HTTP/1.1", LOCALHOST, b"Transfer-Encoding: gzip"), Refuse(501)),
    Case("HTTP/1.0 in chunks", "9112 6.1", head(OLD, LOCALHOST, CODED) + CHUNKED, Refuse()),
    Case("HTTP/1.0 in chunks that wants to stay", "9112 6.1",
         head(OLD, LOCALHOST, CODED, b"Connection: keep-alive") + CHUNKED, Refuse()),
    Case("HTTP/1.0 with both framings", "9112 6.1", head(OLD, LOCALHOST, CODED, LENGTH) + CHUNKED, Refuse()),
    Case("an underscore is no dash", "9110 5.1",
         head(POST, LOCALHOST, LENGTH, b"Transfer_Encoding: chunked") + BODY,
         Accept(b"POST", CALL, [HOST, CL, (b"transfer_encoding", b"chunked")], BODY)),
]  # fmt: skip

A, B = BODY[:26], BODY[26:]  # 26 is 1a
REST = chunks(B) + END


def first(line: bytes) -> bytes:
    """A body whose first chunk has this size line."""
    return line + b"\r\n" + A + b"\r\n" + REST


SIZES = [
    coded("one", "9112 7.1", chunks(BODY) + END),
    coded("one byte each", "9112 7.1", chunks(*(BODY[at : at + 1] for at in range(len(BODY)))) + END),
    coded("a size in upper case", "9112 7.1", first(b"1A")),
    coded("a size with zeros in front", "9112 7.1", first(b"00000000000001a")),
    coded("a last chunk of many zeros", "9112 7.1", chunks(BODY) + b"0000000000\r\n\r\n"),
    Case("chunks: none but the last", "9112 7.1", head(POST, LOCALHOST, CODED) + END, Accept(b"POST", CALL, [HOST, TE])),
    *(miscoded(f"a size of {size!r}", "9112 7.1", first(size)) for size in (
        b"", b" ", b"0x1a", b"0X1a", b"x1a", b"+1a", b"-1a", b"1a h", b"1ah", b"1a.", b"1a,", b"1_a", b" 1a", b"\t1a", b"1a ",
        b"1a\t", b"1a  ", b"1 a", b"\xef\xbc\x91", b"1a\x00", b"\x001a", b"1a\x0b", b"1a\r", b"\r1a", b"0000000000000001a",
        b"10000000000000000", b"1000000000000001a", b"1a#", b"'1a'", b'"1a"', b"1a:")),
    miscoded("a size that passes the limit", "9110 15.5.14", b"2000001\r\n", 413),
    miscoded("a size of 2^64 - 1", "9112 7.1", b"ffffffffffffffff\r\nx", 413),
    miscoded("a size of 2^63", "9112 7.1", b"8000000000000000\r\nx", 413),
    miscoded("a negative size in disguise", "9112 7.1", chunks(A) + b"fffffffffffffff0\r\nx", 413),
    miscoded("a chunk longer than its size", "9112 7.1", b"19\r\n" + A + b"\r\n" + REST),
    miscoded("a chunk shorter than its size", "9112 7.1", b"1b\r\n" + A + b"\r\n" + REST),
    miscoded("no line end behind a chunk", "9112 7.1", b"1a\r\n" + A + REST),
    miscoded("a bare LF behind a chunk", "9112 7.1", b"1a\r\n" + A + b"\n" + REST),
    miscoded("a bare CR behind a chunk", "9112 7.1", b"1a\r\n" + A + b"\r" + REST),
    miscoded("two line ends behind a chunk", "9112 7.1", b"1a\r\n" + A + b"\r\n\r\n" + REST),
    miscoded("other bytes behind a chunk", "9112 7.1", b"1a\r\n" + A + b"XX" + REST),
    miscoded("a bare LF behind a size", "9112 7.1", b"1a\n" + A + b"\r\n" + REST),
    miscoded("a bare CR behind a size", "9112 7.1", b"1a\r" + A + b"\r\n" + REST),
    miscoded("a bare LF behind the last size", "9112 7.1", chunks(BODY) + b"0\n\r\n"),
    miscoded("an empty line in front", "9112 7.1", b"\r\n" + CHUNKED),
    miscoded("a line that is no size", "9112 7.1", chunks(A) + b"GET / HTTP/1.1\r\n\r\n"),
    miscoded("a body without chunks", "9112 7.1", BODY),
    Case("chunks: no last one", "9112 8", head(POST, LOCALHOST, CODED) + chunks(BODY), Short()),
    Case("chunks: no line end at the end", "9112 8", head(POST, LOCALHOST, CODED) + CHUNKED[:-2], Short()),
    Case("chunks: half a line end at the end", "9112 8", head(POST, LOCALHOST, CODED) + CHUNKED[:-1], Short()),
    Case("chunks: the size of the last one alone", "9112 8", head(POST, LOCALHOST, CODED) + chunks(BODY) + b"0", Short()),
    Case("chunks: half a chunk", "9112 8", head(POST, LOCALHOST, CODED) + b"1a\r\n" + A[:5], Short()),
]  # fmt: skip

EXTENSIONS = [
    *(coded(f"the extension {value!r}", "9112 7.1.1", first(b"1a" + value)) for value in (
        b";a", b";a=b", b";a=b;c=d", b";a=1", b'; a = "b c"', b";\ta\t=\tb", b';a=""', b';a="\\""', b';a="\\\\"', b';a="; b=c"',
        b";!#$%&'*+-.^_`|~=x", b';a="\xc3\xa4"', b";a;b;c", b';a="\\\xff"', b';a="0\t"')),
    coded("an extension of the last one", "9112 7.1.1", chunks(BODY) + b"0;a=b\r\n\r\n"),
    coded("an extension of 256 bytes", "9112 7.1.1", first(b"1a;" + b"a" * 255)),
    *(miscoded(f"the extension {value!r}", "9112 7.1.1", first(b"1a" + value)) for value in (
        b";", b"; ", b";;", b";a;", b";a=", b";=b", b";a=b=c", b";a b", b' ;a', b"\t;a", b";a=b ", b";a ;b", b';a="b', b';a=b"',
        b';a="b"c', b";a=\x00", b';a="\x00"', b';a="\x0b"', b';a="\\\x00"', b";a=\x7f", b";a=(b)", b";a=b,c", b";\xff", b";a=\xff",
        b";a\rb", b";a\nb", b";a=b\r", b';a="\r\n"', b';a="\n0\n"', b",a", b" a", b'"a"', b";a=b\nX")),
    miscoded("an extension of 257 bytes", "9112 7.1.1", first(b"1a;" + b"a" * 256)),
    miscoded("an extension without end", "9112 7.1.1", b"1a;" + b"a" * 5000),
    miscoded("a bare LF in an extension hides a chunk", "9112 7.1.1", b"5;a\n\r\nhello\r\n0\r\n\r\n"),
    miscoded("a quote that swallows the last chunk", "9112 7.1.1", b'1a;a="\r\n' + A + b"\r\n0\r\n\r\n"),
    miscoded("extensions that outweigh the body", "9112 7.1.1",
             b"".join(b"1;%b\r\nx\r\n" % (b"a" * 255) for _ in range(70)) + END),
]  # fmt: skip

TRAILERS = [
    *(coded(f"the trailer {value!r}", "9112 7.1.2", chunks(BODY) + b"0\r\n" + value + b"\r\n\r\n") for value in (
        b"X: y", b"X:", b"X: y\r\nZ: \xff", b"Expires: 0",
        # Forbidden there (9110 6.5.1), and dropped as all others are: they change nothing.
        b"Content-Length: 5", b"Content-Length: +5", b"Transfer-Encoding: chunked", b"Host: other", b"Authorization: Bearer x",
        b"Connection: close", b"Expect: 100-continue", b"Content-Encoding: gzip")),
    *(miscoded(f"the trailer {value!r}", "9112 7.1.2", chunks(BODY) + b"0\r\n" + value + b"\r\n\r\n") for value in (
        b"X", b": y", b"X : y", b" X: y", b"X: y\r\n z", b"X: \x00", b"X: \x0b", b"X\x00: y", b"X: a\rb", b"X: a\nb",
        b"GET / HTTP/1.1", b"GET /admin HTTP/1.1\r\nHost: other", b"X y: z", b"X\x7f: y")),
    miscoded("a trailer that ends in a bare LF", "9112 7.1.2", chunks(BODY) + b"0\r\nX: y\n\r\n"),
    miscoded("a blank line of a bare LF", "9112 7.1.2", chunks(BODY) + b"0\r\n\n"),
    miscoded("a blank line of a bare CR", "9112 7.1.2", chunks(BODY) + b"0\r\n\rX"),
    miscoded("trailers too long", "6585 5", chunks(BODY) + b"0\r\nX: " + b"y" * HEAD_LIMIT + b"\r\n\r\n", 431),
    Case("chunks: a trailer that is not whole", "9112 8", head(POST, LOCALHOST, CODED) + chunks(BODY) + b"0\r\nX: y\r\n", Short()),
]  # fmt: skip


def with_body(name: str, rule: str, line: bytes, *, keep: bool = True) -> Case:
    """An accepted call with one more field line."""
    label, _, value = line.partition(b":")
    pair = (label.lower(), value.strip())
    return Case(name, rule, head(POST, LOCALHOST, LENGTH, line) + BODY,
                Accept(b"POST", CALL, [HOST, CL, pair], BODY, keep))  # fmt: skip


OPTIONS = [
    *(with_body(f"Connection: {value.decode()}", "9112 9.6", b"Connection: " + value, keep=False)
      for value in (b"close", b"Close", b"CLOSE", b"close, x", b"x, close", b"keep-alive, close", b",close", b"x,\tclose ,y")),
    *(with_body(f"Connection: {value.decode() or 'empty'}", "9112 9.3", b"Connection: " + value)
      for value in (b"keep-alive", b"Keep-Alive", b"", b"x", b"closed", b"not-close", b"close-not", b"content-length", b"host",
                    b"authorization", b"te, trailer")),
    Case("close in the second Connection", "9110 7.6.1",
         head(POST, LOCALHOST, LENGTH, b"Connection: keep-alive", b"Connection: close") + BODY,
         Accept(b"POST", CALL, [HOST, CL, (b"connection", b"keep-alive"), (b"connection", b"close")], BODY, keep=False)),
    Case("HTTP/1.0 does not stay", "9112 9.3", head(OLD, LOCALHOST, LENGTH, b"Connection: keep-alive") + BODY,
         Accept(b"POST", CALL, [HOST, CL, (b"connection", b"keep-alive")], BODY, keep=False)),
    with_body("Proxy-Connection means nothing", "9112 C.2.2", b"Proxy-Connection: close"),
    with_body("Keep-Alive means nothing", "9112 C.2.2", b"Keep-Alive: timeout=0"),
    with_body("TE", "9110 10.1.4", b"TE: trailers, gzip"),
    with_body("Trailer", "9110 6.6.2", b"Trailer: X"),
    with_body("Content-Encoding identity", "9110 8.4", b"Content-Encoding: identity"),
    bad("Content-Encoding gzip", "9110 8.4", [LENGTH, b"Content-Encoding: gzip"], BODY, 415),
    bad("Content-Encoding identity and gzip", "9110 8.4", [LENGTH, b"Content-Encoding: identity, gzip"], BODY, 415),
    with_body("Expect with its body behind it", "9110 10.1.1", b"Expect: 100-continue"),
    with_body("Expect in upper case", "9110 10.1.1", b"Expect: 100-CONTINUE"),
    Case("Expect in HTTP/1.0", "9110 10.1.1", head(OLD, LOCALHOST, LENGTH, b"Expect: 100-continue") + BODY,
         Accept(b"POST", CALL, [HOST, CL, (b"expect", b"100-continue")], BODY, keep=False)),
    Case("Expect and no body", "9110 10.1.1", head(b"GET / HTTP/1.1", LOCALHOST, b"Expect: 100-continue"),
         Accept(b"GET", b"/", [HOST, (b"expect", b"100-continue")])),
    *(bad(f"Expect: {value.decode() or 'empty'}", "9110 10.1.1", [LENGTH, b"Expect: " + value], BODY, 417)
      for value in (b"", b"x", b"100-continue, x", b"100-continue,100-continue", b"100-continue;q=1", b"200-ok", b"100")),
    bad("Expect twice, the second unknown", "9110 10.1.1", [LENGTH, b"Expect: 100-continue", b"Expect: x"], BODY, 417),
    with_body("Upgrade is not followed", "9110 7.8", b"Upgrade: foo/2"),
    Case("h2c is not followed", "9110 7.8",
         head(POST, LOCALHOST, LENGTH, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk") + BODY,
         Accept(b"POST", CALL, [HOST, CL, (b"connection", b"Upgrade, HTTP2-Settings"), (b"upgrade", b"h2c"),
                                (b"http2-settings", b"AAMAAABk")], BODY)),
    Case("a WebSocket is not followed", "9110 7.8",
         head(b"GET / HTTP/1.1", LOCALHOST, b"Connection: Upgrade", b"Upgrade: websocket"),
         Accept(b"GET", b"/", [HOST, (b"connection", b"Upgrade"), (b"upgrade", b"websocket")])),
    Case("TRACE says nothing back", "9110 9.3.8", head(b"TRACE / HTTP/1.1", LOCALHOST, b"X-Secret: a"),
         Accept(b"TRACE", b"/", [HOST, (b"x-secret", b"a")])),
    Case("Max-Forwards 0", "9110 7.6.2", head(b"OPTIONS * HTTP/1.1", LOCALHOST, b"Max-Forwards: 0"),
         Accept(b"OPTIONS", b"*", [HOST, (b"max-forwards", b"0")])),
    with_body("a method in a field is only a field", "9110 9.1", b"X-HTTP-Method-Override: DELETE"),
]  # fmt: skip

FRAMING = [*FIELDS, *LENGTHS, *BOTH, *CODINGS, *SIZES, *EXTENSIONS, *TRAILERS, *OPTIONS]
