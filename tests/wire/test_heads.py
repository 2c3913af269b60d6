"""Which heads are read, what they say, and which are refused, by which rule.

"Rule n" is a row of the framing rules this proxy keeps: RFC 9112, the strict choice wherever it
leaves one. Each row of fields is tried below a common start line, which the fast reader takes, and
below an uncommon one, which goes the long way: both must say the same.
"""

import itertools
from collections.abc import Callable, Iterator

import pytest

from rawproxy.errors import HttpError
from rawproxy.wire import heads
from rawproxy.wire.heads import (
    LONGEST_KNOWN,
    LONGEST_REPEATED,
    MOST_KNOWN,
    RequestHeads,
    Section,
    check_with_h11,
    read_request_head,
    read_response_head,
)
from rawproxy.wire.http import Fields, RequestHead, ResponseHead
from rawproxy.wire.terms import CHUNKED, Terms

HOST = b"Host: proxy.example\r\n"
FAST, SLOW = b"POST / HTTP/1.1\r\n", b"PATCH / HTTP/1.1\r\n"


def request(head: bytes) -> tuple[RequestHead, Terms]:
    return read_request_head(head, max_fields=100)


def response(head: bytes) -> tuple[ResponseHead, Terms]:
    return read_response_head(head, max_fields=100)


# -- request lines

REQUEST_LINES = [
    ("the common form", b"GET / HTTP/1.1", b"GET", b"/", b"1.1"),
    (
        "a query",
        b"POST /v1/messages?beta=true HTTP/1.1",
        b"POST",
        b"/v1/messages?beta=true",
        b"1.1",
    ),
    ("a question mark in the query", b"GET /?a=?b HTTP/1.1", b"GET", b"/?a=?b", b"1.1"),
    ("two slashes are a path", b"GET //v1/models HTTP/1.1", b"GET", b"//v1/models", b"1.1"),
    ("dots and percents are not read", b"GET /../%2e%00 HTTP/1.1", b"GET", b"/../%2e%00", b"1.1"),
    ("rule 16: GET is common", b"HEAD / HTTP/1.1", b"HEAD", b"/", b"1.1"),
    ("an uncommon method", b"PATCH /x HTTP/1.1", b"PATCH", b"/x", b"1.1"),
    ("9110 9.1: any token is a method", b"M-SEARCH!'~ /x HTTP/1.1", b"M-SEARCH!'~", b"/x", b"1.1"),
    ("9110 9.1: methods are case-sensitive", b"get / HTTP/1.1", b"get", b"/", b"1.1"),
    ("rule 11: HTTP/1.0", b"GET / HTTP/1.0", b"GET", b"/", b"1.0"),
    ("rule 10: * for OPTIONS", b"OPTIONS * HTTP/1.1", b"OPTIONS", b"*", b"1.1"),
    ("OPTIONS of a path", b"OPTIONS /v1 HTTP/1.1", b"OPTIONS", b"/v1", b"1.1"),
]


@pytest.mark.parametrize(
    ("line", "method", "target", "version"),
    [row[1:] for row in REQUEST_LINES],
    ids=[row[0] for row in REQUEST_LINES],
)
def test_request_lines_that_are_read(
    line: bytes, method: bytes, target: bytes, version: bytes
) -> None:
    head, _ = request(line + b"\r\nHost: h")
    assert head == RequestHead(method, target, [(b"host", b"h")], version)


ABSOLUTE_FORMS = [
    ("a path", b"GET http://a.example/x?y HTTP/1.1", b"/x?y", b"a.example"),
    ("a port", b"GET http://a.example:8080/x HTTP/1.1", b"/x", b"a.example:8080"),
    ("an address", b"GET http://[::1]:80/ HTTP/1.1", b"/", b"[::1]:80"),
    ("https, in capitals", b"POST HTTPS://a.example/ HTTP/1.1", b"/", b"a.example"),
    ("no path", b"GET http://a.example HTTP/1.1", b"/", b"a.example"),
    ("a query only", b"GET http://a.example?q HTTP/1.1", b"/?q", b"a.example"),
    ("9112 3.2.4: OPTIONS without path", b"OPTIONS http://a.example HTTP/1.1", b"*", b"a.example"),
    ("OPTIONS with path", b"OPTIONS http://a.example/ HTTP/1.1", b"/", b"a.example"),
]


@pytest.mark.parametrize(
    ("line", "target", "host"),
    [row[1:] for row in ABSOLUTE_FORMS],
    ids=[row[0] for row in ABSOLUTE_FORMS],
)
def test_rule_10_the_authority_of_an_absolute_target_replaces_host(
    line: bytes, target: bytes, host: bytes
) -> None:
    head, _ = request(line + b"\r\nX: 1\r\nHost: other.example")
    assert head.target == target
    assert head.fields == [(b"host", host), (b"x", b"1")]


def test_an_absolute_target_gives_http_1_0_its_host() -> None:
    head, _ = request(b"GET http://a.example/ HTTP/1.0")
    assert head == RequestHead(b"GET", b"/", [(b"host", b"a.example")], b"1.0")


REFUSED_LINES = [
    ("rule 10: CTL in the target", b"GET /\x01 HTTP/1.1", 400),
    ("rule 10: DEL in the target", b"GET /\x7f HTTP/1.1", 400),
    ("rule 10: NUL in the target", b"GET /\x00 HTTP/1.1", 400),
    ("rule 10: SP in the target", b"GET /a b HTTP/1.1", 400),
    ("rule 10: HTAB in the target", b"GET /a\tb HTTP/1.1", 400),
    ("rule 10: fragment", b"GET /a#b HTTP/1.1", 400),
    ("rule 10: fragment in absolute-form", b"GET http://a.example/#b HTTP/1.1", 400),
    ("rule 10: obs-text in the target", b"GET /\xff HTTP/1.1", 400),
    ("rule 10: no slash", b"GET v1/models HTTP/1.1", 400),
    ("rule 10: a query alone", b"GET ?a HTTP/1.1", 400),
    ("rule 10: * for GET", b"GET * HTTP/1.1", 400),
    ("rule 10: more than *", b"OPTIONS *a HTTP/1.1", 400),
    ("rule 10: another scheme", b"GET ftp://a.example/ HTTP/1.1", 400),
    ("rule 10: no authority", b"GET http:///x HTTP/1.1", 400),
    ("rule 10: nothing behind the scheme", b"GET http:// HTTP/1.1", 400),
    ("9110 4.2.4: userinfo", b"GET http://user:pass@a.example/ HTTP/1.1", 400),
    ("rule 9: port out of range", b"GET http://a.example:65536/ HTTP/1.1", 400),
    ("rule 10: authority-form", b"GET a.example:443 HTTP/1.1", 400),
    ("no tunnels", b"CONNECT a.example:443 HTTP/1.1", 501),
    ("no tunnels, to a path neither", b"CONNECT / HTTP/1.1", 501),
    ("rule 11: 0.9 by its form", b"GET /", 400),
    ("rule 11: 0.9", b"GET / HTTP/0.9", 505),
    ("rule 11: 1.2", b"GET / HTTP/1.2", 505),
    ("rule 11: 2.0", b"GET / HTTP/2.0", 505),
    ("rule 11: 9.9", b"GET / HTTP/9.9", 505),
    ("rule 11: the preface of HTTP/2", b"PRI * HTTP/2.0", 505),
    ("rule 11: two digits", b"GET / HTTP/1.10", 400),
    ("rule 11: no minor version", b"GET / HTTP/1", 400),
    ("rule 11: leading zero", b"GET / HTTP/01.1", 400),
    ("rule 11: lower case", b"GET / http/1.1", 400),
    ("rule 11: another protocol", b"GET / RTSP/1.0", 400),
    ("9112 3: two blanks behind the method", b"GET  / HTTP/1.1", 400),
    ("9112 3: two blanks behind the target", b"GET /  HTTP/1.1", 400),
    ("9112 3: HTAB for SP", b"GET\t/\tHTTP/1.1", 400),
    ("9112 3: blank in front", b" GET / HTTP/1.1", 400),
    ("9112 3: blank behind", b"GET / HTTP/1.1 ", 400),
    ("9112 3: no target", b"GET HTTP/1.1", 400),
    ("9112 3: an empty target", b"GET  HTTP/1.1", 400),
    ("9112 3: no method", b"/ HTTP/1.1", 400),
    ("9112 3: an empty line", b"", 400),
    ("9110 9.1: method is no token", b"GE(T) / HTTP/1.1", 400),
    ("9110 9.1: colon in the method", b"GET: / HTTP/1.1", 400),
    ("rule 6: bare CR in the line", b"GET /\r HTTP/1.1", 400),
    ("rule 7: bare LF for CRLF", b"GET / HTTP/1.1\nX: y", 400),
    ("a status line", b"HTTP/1.1 200 OK", 400),
]


@pytest.mark.parametrize(
    ("line", "status"),
    [row[1:] for row in REFUSED_LINES],
    ids=[row[0] for row in REFUSED_LINES],
)
def test_request_lines_that_are_refused(line: bytes, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        request(line + b"\r\nHost: h")
    assert caught.value.status == status


# -- fields

GOOD_FIELDS: list[tuple[str, bytes, Fields]] = [
    ("names are folded to lower case", b"X-ABC: d", [(b"x-abc", b"d")]),
    ("9110 5.5: blanks around a value", b"a: \t b \t", [(b"a", b"b")]),
    ("9110 5.5: no blank", b"a:b", [(b"a", b"b")]),
    ("blanks and HTAB inside a value", b"a: b\t c", [(b"a", b"b\t c")]),
    ("an empty value", b"a:", [(b"a", b"")]),
    ("a value of blanks", b"a: \t ", [(b"a", b"")]),
    ("colons in a value", b"a: b:c:", [(b"a", b"b:c:")]),
    ("order and repetition are kept", b"b: 1\r\na: 2\r\nb: 3", [(b"b", b"1"), (b"a", b"2"), (b"b", b"3")]),
    ("9110 5.6.2: all of tchar", b"!#$%&'*+-.^_`|~09az: x", [(b"!#$%&'*+-.^_`|~09az", b"x")]),
    ("9110 5.5: obs-text in a value", b"a: \x80\xff", [(b"a", b"\x80\xff")]),
    ("all of VCHAR", b"a: " + bytes(range(0x21, 0x7F)), [(b"a", bytes(range(0x21, 0x7F)))]),
    ("no tunnels: Upgrade is a field like others", b"Upgrade: h2c", [(b"upgrade", b"h2c")]),
    ("content coding: identity", b"Content-Encoding: Identity", [(b"content-encoding", b"Identity")]),
    ("content coding: none", b"Content-Encoding:", [(b"content-encoding", b"")]),
]  # fmt: skip


@pytest.mark.parametrize("start", [FAST, SLOW], ids=["fast", "slow"])
@pytest.mark.parametrize(
    ("lines", "fields"),
    [row[1:] for row in GOOD_FIELDS],
    ids=[row[0] for row in GOOD_FIELDS],
)
def test_fields_that_are_read(start: bytes, lines: bytes, fields: Fields) -> None:
    head, terms = request(start + HOST + lines)
    assert head.fields == [(b"host", b"proxy.example"), *fields]
    assert terms == Terms(0, keep_alive=True)


TERMS = [
    ("no body", b"X: y", Terms(0, keep_alive=True)),
    ("a length", b"Content-Length: 12", Terms(12, keep_alive=True)),
    ("a length of none", b"Content-Length: 0", Terms(0, keep_alive=True)),
    ("rule 4: 19 digits", b"Content-Length: 9999999999999999999", Terms(10**19 - 1, keep_alive=True)),
    ("chunked", b"Transfer-Encoding: chunked", Terms(CHUNKED, keep_alive=True)),
    ("9112 7: codings in any case", b"Transfer-Encoding: Chunked", Terms(CHUNKED, keep_alive=True)),
    ("9112 9.6: close", b"Connection: close", Terms(0, keep_alive=False)),
    ("close, in a list and in capitals", b"Connection: x, CLOSE ,y", Terms(0, keep_alive=False)),
    ("close, in a second field", b"Connection: x\r\nConnection: close", Terms(0, keep_alive=False)),
    ("keep-alive", b"Connection: keep-alive", Terms(0, keep_alive=True)),
    ("another option", b"Connection: closed", Terms(0, keep_alive=True)),
    ("9110 10.1.1: 100-continue", b"Expect: 100-Continue", Terms(0, keep_alive=True, expects_continue=True)),
]  # fmt: skip


@pytest.mark.parametrize("start", [FAST, SLOW], ids=["fast", "slow"])
@pytest.mark.parametrize(
    ("lines", "terms"), [row[1:] for row in TERMS], ids=[row[0] for row in TERMS]
)
def test_what_a_request_says_of_its_body(start: bytes, lines: bytes, terms: Terms) -> None:
    assert request(start + HOST + lines)[1] == terms


@pytest.mark.parametrize("lines", [b"", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n"])
def test_http_1_0_neither_stays_nor_waits(lines: bytes) -> None:
    _, terms = request(b"POST / HTTP/1.0\r\n" + lines + b"Content-Length: 3")
    assert terms == Terms(3, keep_alive=False)


REFUSED_FIELDS = [
    ("rule 1: both framings", b"Transfer-Encoding: chunked\r\nContent-Length: 3", 400),
    ("rule 1: the other way round", b"Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
    ("rule 1: with an unknown coding", b"Transfer-Encoding: x\r\nContent-Length: 3", 400),
    ("rule 1: with a length of none", b"Content-Length: 0\r\nTransfer-Encoding: chunked", 400),
    ("rule 2: an unknown coding", b"Transfer-Encoding: gzip", 501),
    ("rule 2: identity", b"Transfer-Encoding: identity", 501),
    ("rule 2: a coding below chunked", b"Transfer-Encoding: gzip, chunked", 501),
    ("rule 2: nearly chunked", b"Transfer-Encoding: xchunked", 501),
    ("rule 2: quoted", b'Transfer-Encoding: "chunked"', 501),
    ("rule 2: with a parameter", b"Transfer-Encoding: chunked;a=b", 501),
    ("rule 2: cut in two by a blank", b"Transfer-Encoding: chun ked", 501),
    ("rule 2: not final", b"Transfer-Encoding: chunked, gzip", 400),
    ("rule 2: twice", b"Transfer-Encoding: chunked, chunked", 400),
    ("rule 2: two fields", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
    ("rule 2: two fields, one of them other", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 400),
    ("rule 2: empty", b"Transfer-Encoding:", 400),
    ("rule 2: empty member in front", b"Transfer-Encoding: , chunked", 400),
    ("rule 2: empty member behind", b"Transfer-Encoding: chunked,", 400),
    ("rule 2: VT in front", b"Transfer-Encoding: \x0bchunked", 400),
    ("rule 4: plus", b"Content-Length: +3", 400),
    ("rule 4: minus", b"Content-Length: -3", 400),
    ("rule 4: hex", b"Content-Length: 0x3", 400),
    ("rule 4: underscore", b"Content-Length: 1_0", 400),
    ("rule 4: fraction", b"Content-Length: 3.0", 400),
    ("rule 4: exponent", b"Content-Length: 1e3", 400),
    ("rule 4: a zero in front", b"Content-Length: 03", 400),
    ("rule 4: a blank inside", b"Content-Length: 1 2", 400),
    ("rule 4: empty", b"Content-Length:", 400),
    ("rule 4: 20 digits", b"Content-Length: 10000000000000000000", 400),
    ("rule 4: an Arabic digit in UTF-8", b"Content-Length: \xd9\xa3", 400),
    ("rule 4: list of equals", b"Content-Length: 3, 3", 400),
    ("rule 4: list of others", b"Content-Length: 3, 4", 400),
    ("rule 4: twice, equal", b"Content-Length: 3\r\nContent-Length: 3", 400),
    ("rule 4: twice, not equal", b"Content-Length: 3\r\nContent-Length: 4", 400),
    ("rule 5: obs-fold, SP", b"A: b\r\n c", 400),
    ("rule 5: obs-fold, HTAB", b"A: b\r\n\tc", 400),
    ("rule 5: obs-fold of nothing", b"A: b\r\n ", 400),
    ("rule 5: obs-fold that hides a length", b"A: b\r\n Content-Length: 3", 400),
    ("rule 6: SP before the colon", b"Content-Length : 3", 400),
    ("rule 6: HTAB before the colon", b"A\t: b", 400),
    ("rule 6: bare CR in a value", b"A: b\rc", 400),
    ("rule 6: bare CR at the end", b"A: b\r", 400),
    ("rule 6: CR twice", b"A: b\r\r\nC: d", 400),
    ("rule 6: NUL in a value", b"A: b\x00c", 400),
    ("rule 6: SOH in a value", b"A: \x01", 400),
    ("rule 6: BS in a value", b"A: b\x08", 400),
    ("rule 6: FF in a value", b"A: \x0cb", 400),
    ("rule 6: ESC in a value", b"A: \x1b[0m", 400),
    ("rule 6: US in a value", b"A: \x1f", 400),
    ("rule 6: DEL in a value", b"A: \x7f", 400),
    ("rule 7: bare LF", b"A: b\nC: d", 400),
    ("rule 7: bare LF at the end", b"A: b\n", 400),
    ("9110 5.1: no colon", b"A", 400),
    ("9110 5.1: no name", b": b", 400),
    ("9110 5.1: blank in a name", b"A b: c", 400),
    ("9110 5.1: blank in front of a name", b"X: y\r\n A: b", 400),
    ("9110 5.1: a delimiter in a name", b"A(b): c", 400),
    ("9110 5.1: a slash in a name", b"A/b: c", 400),
    ("9110 5.1: NUL in a name", b"A\x00b: c", 400),
    ("9110 5.1: obs-text in a name", b"\xe4: c", 400),
    ("9110 5.1: an empty line inside", b"A: b\r\n\r\nC: d", 400),
    ("rule 9: a second Host", b"Host: proxy.example", 400),
]  # fmt: skip


@pytest.mark.parametrize("start", [FAST, SLOW], ids=["fast", "slow"])
@pytest.mark.parametrize(
    ("lines", "status"),
    [row[1:] for row in REFUSED_FIELDS],
    ids=[row[0] for row in REFUSED_FIELDS],
)
def test_fields_that_are_refused(start: bytes, lines: bytes, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        request(start + HOST + lines)
    assert caught.value.status == status


@pytest.mark.parametrize("start", [FAST, SLOW], ids=["fast", "slow"])
@pytest.mark.parametrize(
    "lines",
    [
        b"Host:",
        b"X: y",
        b"Host: a/b",
        b"Host: a b",
        b"Host: a, b",
        b"Host: user@a",
        b"Host: http://a",
        b"Host: a:",
        b"Host: a:x",
        b"Host: a:65536",
        b"Host: :80",
        b"Host: [::1",
        b"Host: [1:2]",
        b"Host: \xe4",
        b"Host: a?b",
        b"Host: a#b",
        b"Host: a\\b",
        b"Host: a%zz",
        b"Host: a\r\nhost: b",
    ],
)
def test_rule_9_host_is_one_and_well_formed(start: bytes, lines: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        request(start + lines)
    assert caught.value.status == 400


def test_rule_3_http_1_0_has_no_transfer_encoding() -> None:
    with pytest.raises(HttpError) as caught:
        request(b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked")
    assert caught.value.status == 400


@pytest.mark.parametrize("lines", [b"Host: a\r\nHost: a", b"Host: a b", b"Host:"])
def test_http_1_0_may_leave_host_out_but_not_send_a_bad_one(lines: bytes) -> None:
    assert request(b"GET / HTTP/1.0")[0].fields == []
    with pytest.raises(HttpError):
        request(b"GET / HTTP/1.0\r\n" + lines)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Expect: 100-continue\r\nExpect: 200-ok", 417),
        (b"Expect: 100-continue, 100-continue", 417),
        (b"Expect:", 417),
        (b"Content-Encoding: gzip", 415),
        (b"Content-Encoding: identity, br", 415),
        (b"Content-Encoding: identity\r\nContent-Encoding: ZSTD", 415),
        (b"Content-Encoding: gzip\r\nExpect: tea", 415),
    ],
)
def test_requests_that_are_read_and_yet_refused(lines: bytes, status: int) -> None:
    _, terms = request(FAST + HOST + lines)
    assert terms.refusal is not None
    assert terms.refusal.status == status


@pytest.mark.parametrize("start", [FAST, SLOW], ids=["fast", "slow"])
@pytest.mark.parametrize("count", [3, 4, 5])
def test_the_number_of_fields_is_limited(start: bytes, count: int) -> None:
    head = start + HOST + b"\r\n".join([b"A: b"] * (count - 1))
    if count <= 4:
        assert len(read_request_head(head, max_fields=4)[0].fields) == count
        return
    with pytest.raises(HttpError) as caught:
        read_request_head(head, max_fields=4)
    assert caught.value.status == 431


# -- responses

STATUS_LINES = [
    ("the common form", b"HTTP/1.1 200 OK", 200, b"1.1"),
    ("9112 4: no reason", b"HTTP/1.1 200 ", 200, b"1.1"),
    ("no blank behind the status, as some send it", b"HTTP/1.1 200", 200, b"1.1"),
    ("a reason of several words", b"HTTP/1.1 429 Too Many\tRequests", 429, b"1.1"),
    ("9112 4: obs-text in the reason", b"HTTP/1.1 200 \xc3\xa4", 200, b"1.1"),
    ("an unregistered status", b"HTTP/1.1 529 Overloaded", 529, b"1.1"),
    ("9110 15: a status of no class", b"HTTP/1.1 999 Denied", 999, b"1.1"),
    ("an interim response", b"HTTP/1.1 103 Early Hints", 103, b"1.1"),
    ("rule 11: HTTP/1.0", b"HTTP/1.0 200 OK", 200, b"1.0"),
]


@pytest.mark.parametrize(
    ("line", "status", "version"),
    [row[1:] for row in STATUS_LINES],
    ids=[row[0] for row in STATUS_LINES],
)
def test_status_lines_that_are_read(line: bytes, status: int, version: bytes) -> None:
    head, terms = response(line + b"\r\nServer: \xfcpstream")
    assert head == ResponseHead(status, [(b"server", b"\xfcpstream")], version)
    assert terms == Terms(None, keep_alive=version == b"1.1")
    assert response(line)[0].status == status


@pytest.mark.parametrize(
    ("lines", "terms"),
    [
        (b"Content-Length: 3", Terms(3, keep_alive=True)),
        (b"Content-Length: 0\r\nConnection: Close", Terms(0, keep_alive=False)),
        (b"Transfer-Encoding: chunked", Terms(CHUNKED, keep_alive=True)),
        (b"Content-Encoding: gzip\r\nExpect: tea", Terms(None, keep_alive=True)),
    ],
)
def test_what_a_response_says_of_its_body(lines: bytes, terms: Terms) -> None:
    assert response(b"HTTP/1.1 200 OK\r\n" + lines)[1] == terms


REFUSED_RESPONSES = [
    (
        "rule 1: both framings",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
    ),
    ("rule 2: an unknown coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip"),
    ("rule 2: not final", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip"),
    ("rule 3: chunked in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked"),
    ("rule 4: twice, equal", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1"),
    ("rule 4: a list", b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1"),
    ("rule 4: sign", b"HTTP/1.1 200 OK\r\nContent-Length: +1"),
    ("rule 5: obs-fold", b"HTTP/1.1 200 OK\r\nA: b\r\n c"),
    ("rule 6: SP before the colon", b"HTTP/1.1 200 OK\r\nA : b"),
    ("rule 6: NUL", b"HTTP/1.1 200 OK\r\nA: \x00"),
    ("rule 6: CTL in the reason", b"HTTP/1.1 200 O\x01K\r\nA: b"),
    ("rule 6: bare CR in the reason", b"HTTP/1.1 200 OK\rSet-Cookie: a\r\nA: b"),
    ("rule 7: bare LF", b"HTTP/1.1 200 OK\nA: b"),
    ("rule 11: 2.0", b"HTTP/2.0 200 OK"),
    ("rule 11: two digits", b"HTTP/1.11 200 OK"),
    ("9112 4: a status below 100", b"HTTP/1.1 099 OK"),
    ("9112 4: two digits", b"HTTP/1.1 20 OK"),
    ("9112 4: four digits", b"HTTP/1.1 2000 OK"),
    ("9112 4: no status", b"HTTP/1.1 OK"),
    ("9112 4: two blanks", b"HTTP/1.1  200 OK"),
    ("9112 4: blank in front", b" HTTP/1.1 200 OK"),
    ("another protocol", b"ICY 200 OK"),
    ("a request line", b"GET / HTTP/1.1"),
]


@pytest.mark.parametrize(
    "head", [row[1] for row in REFUSED_RESPONSES], ids=[row[0] for row in REFUSED_RESPONSES]
)
def test_responses_that_are_refused(head: bytes) -> None:
    with pytest.raises(HttpError):
        response(head)


# -- h11 has a say in uncommon heads


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nA: b", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b"]
)
def test_h11_refuses_requests(head: bytes) -> None:
    with pytest.raises(HttpError):
        check_with_h11(head, response=False)


def test_h11_refuses_responses_and_its_words_stay_here() -> None:
    with pytest.raises(HttpError) as caught:
        check_with_h11(b"HTTP/1.1 200 OK\r\nAuthorization : canary", response=True)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "head",
    [SLOW + HOST + b"Authorization : canary", b"GET canary HTTP/1.1\r\nHost: a", FAST + b"Host: c/canary"],
)  # fmt: skip
def test_errors_never_quote_the_head(head: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        request(head)
    assert "canary" not in str(caught.value)


# -- lines that were read before


@pytest.fixture
def known() -> Iterator[dict[bytes, tuple[bytes, bytes]]]:
    """The lines that are remembered: none at first, and afterwards those of before."""
    before = dict(heads._known)
    heads._known.clear()
    yield heads._known
    heads._known.clear()
    heads._known.update(before)


def test_heads_share_the_fields_that_repeat(known: dict[bytes, tuple[bytes, bytes]]) -> None:
    lines = HOST + b"Content-Length: 0\r\nUser-Agent:  curl/8 \t\r\nX-Secret: 1"
    first, second = (request(FAST + lines)[0].fields for _ in range(2))
    assert first == second
    shared = [one[0] for one, other in zip(first, second, strict=True) if one is other]
    assert shared == [b"host", b"user-agent"]
    assert known[b"User-Agent:  curl/8 \t"] == (b"user-agent", b"curl/8")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"Authorization: Bearer sk-canary", id="a credential"),
        pytest.param(b"x-api-key: sk-canary", id="another one"),
        pytest.param(b"Cookie: a=b", id="a cookie"),
        pytest.param(b"Accept: %b" % (b"a" * LONGEST_KNOWN), id="a long line"),
        pytest.param(b"Accept: \xff", id="an uncommon line"),
    ],
)
def test_what_is_never_remembered(line: bytes, known: dict[bytes, tuple[bytes, bytes]]) -> None:
    request(FAST + HOST + line)
    assert list(known) == [HOST.strip()]


def test_only_so_many_lines_are_remembered(known: dict[bytes, tuple[bytes, bytes]]) -> None:
    for number in range(2 * MOST_KNOWN):
        value = b"%d.example" % number
        head, _ = request(FAST + b"Host: " + value)
        assert head.fields == [(b"host", value)]
        assert len(known) <= MOST_KNOWN


# -- heads of one connection

BASES = [
    pytest.param(FAST + HOST + b"Content-Length: %b\r\nAccept: a", id="in the middle"),
    pytest.param(FAST + HOST + b"content-length:%b", id="last"),
    pytest.param(FAST + b"CONTENT-LENGTH: \t %b \t\r\n" + HOST[:-2], id="first, with blanks"),
    pytest.param(SLOW + HOST + b"Content-Length: %b\r\nAccept: a", id="an uncommon method"),
    pytest.param(
        b"POST http://other/x HTTP/1.1\r\n" + HOST + b"Content-Length: %b", id="absolute-form"
    ),
    pytest.param(b"POST / HTTP/1.0\r\nContent-Length: %b", id="HTTP/1.0"),
    pytest.param(FAST + HOST + b"Expect: 100-continue\r\nContent-Length: %b", id="Expect"),
    pytest.param(FAST + HOST + b"Content-Encoding: gzip\r\nContent-Length: %b", id="refused"),
    pytest.param(
        FAST + HOST + b"X: content-length: 3\r\nContent-Length: %b", id="named in another field"
    ),
    pytest.param(FAST + HOST + b"X: %%b\r\nContent-Length: %b\r\nAccept: 7", id="digits elsewhere"),
    pytest.param(
        FAST + HOST + b"X: %b\r\nContent-Length: %%b" % (b"x" * LONGEST_REPEATED), id="a long head"
    ),
    pytest.param(FAST + HOST + b"X: %b", id="no length"),
    pytest.param(FAST + HOST + b"Transfer-Encoding: chunked\r\nX: %b", id="chunked"),
]
LENGTHS = [
    b"7", b"0", b"12345", b"9" * 19, b"9" * 20, b"", b" ", b"07", b"+7", b"-7", b"7 7", b"7, 7", b"7,7", b"0x7",
    b"7\t", b" 7", b"\xb2", b"7\r\nA: b", b"7\r\nContent-Length: 7", b"7\r\nTransfer-Encoding: chunked", b"7\r\n 7",
    b"7\nA: b", b"7\r\n\r\n", b"7\x00",
]  # fmt: skip


def outcome(read: Callable[[bytes], tuple[RequestHead, Terms]], head: bytes) -> object:
    try:
        found, terms = read(head)
    except HttpError as error:
        return str(error), error.status
    refusal = terms.refusal and terms.refusal.status
    return found, terms.length, terms.keep_alive, terms.expects_continue, refusal


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("base", BASES)
def test_a_head_says_the_same_whatever_came_before_it(base: bytes, length: bytes) -> None:
    one = RequestHeads(100)
    for digits in (b"7", b"8", length, b"9", length, b"7"):
        head = base.replace(b"%b", digits)
        assert outcome(one.read, head) == outcome(request, head)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(FAST + HOST + b"Content-Length: 7\r\nX: 2", id="another value behind it"),
        pytest.param(FAST + b"Host: b\r\nContent-Length: 7\r\nX: 1", id="another value before it"),
        pytest.param(FAST + HOST + b"Content-Length: 7\r\nX: 1\r\nY: 1", id="one more"),
        pytest.param(FAST + HOST + b"Content-Length: 7", id="one less"),
        pytest.param(FAST + HOST + b"X: 1", id="no length"),
    ],
)
def test_a_head_that_says_anything_else_is_no_repeated_one(other: bytes) -> None:
    like = FAST + HOST + b"Content-Length: %d\r\nX: 1"
    one = RequestHeads(100)
    seen = [one.alike]
    for head in (like % 1, like % 2, like % 3, other, like % 4, like % 5, like % 6):
        outcome(one.read, head)
        seen.append(one.alike)
    same = [one is two for one, two in itertools.pairwise(seen)]
    assert same == [False, False, True, False, False, True, True]


def test_heads_that_are_repeated_share_their_fields() -> None:
    head = FAST + HOST + b"X: 1\r\nContent-Length: %d\r\nY: 2"
    one = RequestHeads(100)
    fields = [one.read(head % length)[0].fields for length in (1, 2, 3)]
    assert fields[2] is not fields[1]
    shared = [a[0] for a, b in zip(fields[1], fields[2], strict=True) if a is b]
    assert shared == [b"host", b"x", b"y"]


# -- sections

LINES = b"GET / HTTP/1.1\r\nHost: h"


def feed_all(section: Section, stream: bytes, step: int) -> list[tuple[bytes, bytes] | None]:
    return [section.feed(stream[at : at + step]) for at in range(0, len(stream), step)]


def test_a_section_ends_with_a_blank_line_wherever_it_is_cut() -> None:
    stream = LINES + b"\r\n\r\nrest"
    for cut in range(1, len(stream)):
        section = Section(1000)
        first = section.feed(stream[:cut])
        if cut < len(LINES) + 4:
            assert first is None
            assert section.feed(stream[cut:]) == (LINES, b"rest")
        else:
            assert first == (LINES, stream[len(LINES) + 4 : cut])
        assert section.size == 0


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_the_limit_of_a_section_counts_its_blank_line(step: int, spare: int) -> None:
    stream = LINES + b"\r\n\r\n"
    section = Section(len(stream) + spare)
    if spare >= 0:
        assert feed_all(section, stream, step)[-1] == (LINES, b"")
        return
    with pytest.raises(HttpError) as caught:
        feed_all(section, stream, step)
    assert caught.value.status == 431


def test_a_section_without_end_is_refused_at_its_limit() -> None:
    section = Section(100)
    assert section.feed(b"a" * 99) is None
    with pytest.raises(HttpError) as caught:
        section.feed(b"a")
    assert caught.value.status == 431


@pytest.mark.parametrize("step", [1, 3, 100])
@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\nHost: h\n\n",  # rule 7
        b"GET / HTTP/1.1\r\nHost: h\n\n",
        b"GET / HTTP/1.1\rHost: h\r\r",  # rule 6
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",  # TLS on a plain port
        b"GET /\x00",
    ],
)
def test_what_can_never_be_a_head_is_refused_before_its_end(stream: bytes, step: int) -> None:
    with pytest.raises(HttpError) as caught:
        feed_all(Section(1000), stream, step)
    assert caught.value.status == 400


def test_a_line_end_cut_in_two_is_none_the_worse() -> None:
    section = Section(1000)
    assert [section.feed(read) for read in (b"A: b\r", b"\n", b"C: d\r", b"\n\r")] == [None] * 4
    assert section.feed(b"\n") == (b"A: b\r\nC: d", b"")


def test_bytes_on_hold_are_not_looked_at() -> None:
    section = Section(10)
    section.hold(b"\x00" * 20)
    assert section.size == 20
    assert section.take() == b"\x00" * 20
    assert section.size == 0
