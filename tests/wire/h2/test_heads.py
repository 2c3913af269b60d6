"""The heads of HTTP/2: which are read, which are refused with an answer, and which end the stream."""

import itertools
from collections.abc import Callable

import pytest
from hpack import NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.errors import HttpError
from rawproxy.wire.h2.heads import (
    Malformed,
    RequestHeads,
    check_trailers,
    read_request,
    read_response,
    read_status,
    write_request,
    write_response,
)
from rawproxy.wire.heads import LONGEST_REPEATED, read_request_head
from rawproxy.wire.http import Fields, RequestHead, ResponseHead
from rawproxy.wire.http1 import Limits
from rawproxy.wire.terms import Terms

MALFORMED = 0
START = {":method": "GET", ":scheme": "https", ":path": "/", ":authority": "h"}


def lines(**changed: str | None) -> Fields:
    """Return the pseudo-header fields of a request, some changed or left out."""
    start = {**START, **{f":{name}": value for name, value in changed.items()}}
    return [
        (name.encode(), value.encode("latin-1"))
        for name, value in start.items()
        if value is not None
    ]


def plus(*fields: tuple[str, str]) -> Fields:
    return lines() + [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]


def result(fields: Fields) -> int | list[bytes]:
    """Return method and target, the status it is refused with, or MALFORMED."""
    try:
        head, terms = read_request(fields, Limits())
    except Malformed:
        return MALFORMED
    except HttpError as error:
        return error.status
    assert all(not name.startswith(b":") for name, _ in head.fields)
    assert head.version == b"2"
    return terms.refusal.status if terms.refusal else [head.method, head.target]


REQUESTS = [
    # RFC 9113 8.3.1: what there has to be
    ("8.3.1", "GET", lines(), [b"GET", b"/"]),
    ("8.3.1", "no method", lines(method=None), MALFORMED),
    ("8.3.1", "no scheme", lines(scheme=None), MALFORMED),
    ("8.3.1", "no path", lines(path=None), MALFORMED),
    ("8.3.1", "an empty path", lines(path=""), MALFORMED),
    ("8.3.1", "no fields", [], MALFORMED),
    ("8.3.1", "no authority, and no host", lines(authority=None), 400),
    ("8.3.1", "a host for the authority", [*lines(authority=None), (b"host", b"h")], [b"GET", b"/"]),
    ("8.3.1", "two hosts for the authority", [*lines(authority=None), (b"host", b"h"), (b"host", b"h")], 400),
    ("8.3.1", "authority and the same host", plus(("host", "H")), [b"GET", b"/"]),
    ("8.3.1", "authority and another host", plus(("host", "evil")), 400),
    ("8.3.1", "authority and two hosts", plus(("host", "h"), ("host", "h")), 400),
    ("8.3.1", "an empty authority", lines(authority=""), 400),
    ("8.3.1", "a port", lines(authority="h:8080"), [b"GET", b"/"]),
    ("8.3.1", "a port too high", lines(authority="h:70000"), 400),
    ("8.3.1", "a user in the authority", lines(authority="me@h"), 400),
    ("8.3.1", "an authority that is a URL", lines(authority="h/x"), 400),
    ("8.3.1", "IPv6", lines(authority="[::1]:80"), [b"GET", b"/"]),
    ("8.3.1", "no IPv6", lines(authority="[::z]"), 400),
    ("8.3.1", "http", lines(scheme="http"), [b"GET", b"/"]),
    ("8.3.1", "HTTPS", lines(scheme="HTTPS"), [b"GET", b"/"]),
    ("8.3.1", "another scheme", lines(scheme="ftp"), 400),
    ("8.3.1", "an empty scheme", lines(scheme=""), 400),
    # RFC 9113 8.3: pseudo-header fields
    ("8.3", "a method twice", [(b":method", b"GET"), *lines()], MALFORMED),
    ("8.3", "a path twice", [(b":path", b"/"), *lines()], MALFORMED),
    ("8.3", "an authority twice", [(b":authority", b"h"), *lines()], MALFORMED),
    ("8.3", "a status", plus((":status", "200")), MALFORMED),
    ("8.3", "one that does not exist", plus((":cat", "x")), MALFORMED),
    ("8.3", "an empty one", plus((":", "x")), MALFORMED),
    ("8.3", "one after a field", [(b"a", b"b"), *lines()], MALFORMED),
    ("8.3", "the last after a field", [*lines(path=None), (b"a", b"b"), (b":path", b"/")], MALFORMED),
    ("8.3", "a line end in the path", lines(path="/\r\n"), MALFORMED),
    ("8.3", "NUL in the authority", lines(authority="h\0"), MALFORMED),
    ("8.3", "a blank before the method", lines(method=" GET"), MALFORMED),
    ("8.3", "upper case in its name", [(b":Method", b"GET"), *lines(method=None)], MALFORMED),
    ("8441", ":protocol", plus((":protocol", "websocket")), MALFORMED),
    # RFC 9110 and 9112: as HTTP/1.1
    ("9110 9.1", "any method that is a token", lines(method="M-SEARCH"), [b"M-SEARCH", b"/"]),
    ("9110 9.1", "a method in lower case", lines(method="get"), [b"get", b"/"]),
    ("9110 9.1", "an empty method", lines(method=""), 400),
    ("9110 9.1", "a blank in the method", lines(method="GET /"), 400),
    ("9110 9.1", "a slash in the method", lines(method="GET/"), 400),
    ("9112 3.2", "a query", lines(path="/a?b=c"), [b"GET", b"/a?b=c"]),
    ("9112 3.2", "a path without a slash", lines(path="a"), 400),
    ("9112 3.2", "a URL for a path", lines(path="http://h/"), 400),
    ("9112 3.2", "a blank in the path", lines(path="/a b"), 400),
    ("9112 3.2", "a fragment", lines(path="/a#b"), 400),
    ("9112 3.2", "a control character in the path", lines(path="/\x01"), 400),
    ("9112 3.2", "a byte above 0x7f in the path", lines(path="/\xe9"), 400),
    ("9112 3.2", "OPTIONS *", lines(method="OPTIONS", path="*"), [b"OPTIONS", b"*"]),
    ("9112 3.2", "GET *", lines(path="*"), 400),
    ("9112 3.2", "OPTIONS **", lines(method="OPTIONS", path="**"), 400),
    ("8.5", "CONNECT", lines(method="CONNECT", scheme=None, path=None), 501),
    ("8.5", "CONNECT with a path", lines(method="CONNECT", scheme=None), MALFORMED),
    ("8.5", "CONNECT without authority", lines(method="CONNECT", scheme=None, path=None, authority=None), MALFORMED),
    # RFC 9113 8.2.1: fields
    ("8.2.1", "a field", plus(("accept", "*/*")), [b"GET", b"/"]),
    ("8.2.1", "an empty value", plus(("a", "")), [b"GET", b"/"]),
    ("8.2.1", "blanks inside a value", plus(("a", "b \t c")), [b"GET", b"/"]),
    ("8.2.1", "bytes above 0x7f in a value", plus(("a", "\xe9")), [b"GET", b"/"]),
    ("8.2.1", "an empty name", plus(("", "b")), MALFORMED),
    ("8.2.1", "upper case", plus(("Accept", "b")), MALFORMED),
    ("8.2.1", "a colon in a name", plus(("a:", "b")), MALFORMED),
    ("8.2.1", "a blank in a name", plus(("a b", "c")), MALFORMED),
    ("8.2.1", "a control character in a name", plus(("a\x01", "b")), MALFORMED),
    ("8.2.1", "DEL in a name", plus(("a\x7f", "b")), MALFORMED),
    ("8.2.1", "a byte above 0x7f in a name", plus(("\xe9", "b")), MALFORMED),
    ("8.2.1", "LF in a name", plus(("a\nb", "c")), MALFORMED),
    ("8.2.1", "LF in a value", plus(("a", "b\nc:d")), MALFORMED),
    ("8.2.1", "CR in a value", plus(("a", "b\rc")), MALFORMED),
    ("8.2.1", "NUL in a value", plus(("a", "b\0c")), MALFORMED),
    ("8.2.1", "a blank before a value", plus(("a", " b")), MALFORMED),
    ("8.2.1", "a tab after a value", plus(("a", "b\t")), MALFORMED),
    ("8.2.1", "nothing but a blank", plus(("a", " ")), MALFORMED),
    ("9110 5.5", "another control character in a value", plus(("a", "b\x01c")), 400),
    ("9110 5.5", "DEL in a value", plus(("a", "\x7f")), 400),
    ("9110 5.6.2", "a name that is no token", plus(("a(b)", "c")), 400),
    # RFC 9113 8.2.2: fields that are about an HTTP/1.1 connection
    *[("8.2.2", name, plus((name, "x")), MALFORMED) for name in (
        "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")],
    ("8.2.2", "te: trailers", plus(("te", "trailers")), [b"GET", b"/"]),
    ("8.2.2", "te: Trailers", plus(("te", "Trailers")), [b"GET", b"/"]),
    ("8.2.2", "te: gzip", plus(("te", "gzip")), MALFORMED),
    ("8.2.2", "te: trailers, gzip", plus(("te", "trailers, gzip")), MALFORMED),
    # RFC 9110: what tells of the body
    ("9110 8.6", "a length", plus(("content-length", "5")), [b"GET", b"/"]),
    ("9110 8.6", "a length twice", plus(("content-length", "5"), ("content-length", "5")), 400),
    ("9110 8.6", "a list of lengths", plus(("content-length", "5, 5")), 400),
    ("9110 8.6", "a signed length", plus(("content-length", "+5")), 400),
    ("9110 8.4", "identity", plus(("content-encoding", "identity")), [b"GET", b"/"]),
    ("9110 8.4", "gzip", plus(("content-encoding", "gzip")), 415),
    ("9110 10.1.1", "100-continue", plus(("expect", "100-Continue")), [b"GET", b"/"]),
    ("9110 10.1.1", "another expectation", plus(("expect", "200-ok")), 417),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "expected"),
    [case[2:] for case in REQUESTS],
    ids=[f"{case[0]} {case[1]}" for case in REQUESTS],
)
def test_requests(fields: Fields, expected: int | list[bytes]) -> None:
    assert result(fields) == expected


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"a", b"A", b"b c", b"", b"x:", b"a\n", b"content-length", b"te", b"host"]),
            st.sampled_from([b"", b"1", b"trailers", b"h", b"a b", b"\x01", b"a\nb: c", b"\xe9", b" a"]),
        ),
        max_size=3,
    )
)  # fmt: skip
def test_what_is_read_here_is_read_by_http_1(fields: Fields) -> None:
    """Another reader behind us may speak HTTP/1.1: it has to find the same fields."""
    if not isinstance(result(lines() + fields), list):
        return
    head, _ = read_request(lines() + fields, Limits())
    text = b"".join(b"\r\n%b: %b" % field for field in head.fields)
    again, _ = read_request_head(b"GET / HTTP/1.1" + text, max_fields=100)
    assert again.fields == head.fields


def test_the_authority_is_the_first_field() -> None:
    head, terms = read_request(plus(("a", "b"), ("host", "H"), ("c", "d")), Limits())
    assert head == RequestHead(b"GET", b"/", [(b"host", b"h"), (b"a", b"b"), (b"c", b"d")], b"2")
    assert terms.length is None


def test_a_host_moves_to_the_front() -> None:
    fields = [*lines(authority=None), (b"a", b"b"), (b"host", b"H")]
    assert read_request(fields, Limits())[0].fields == [(b"host", b"H"), (b"a", b"b")]


def test_cookies_are_joined() -> None:
    fields = plus(("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"))
    assert read_request(fields, Limits())[0].fields[1:] == [(b"x", b"y"), (b"cookie", b"a=b; c=d")]
    assert read_request(plus(("cookie", "a")), Limits())[0].fields[1:] == [(b"cookie", b"a")]


def test_what_the_terms_say() -> None:
    _, terms = read_request(plus(("content-length", "5"), ("expect", "100-continue")), Limits())
    assert (terms.length, terms.expects_continue, terms.refusal) == (5, True, None)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_bytes_of_a_head(more: int) -> None:
    """Each field counts 32 bytes beside its name and value: RFC 9113 6.5.2."""
    limits = Limits(head_bytes=1000)
    used = sum(len(name) + len(value) + 32 for name, value in lines()) + 1 + 32
    fields = plus(("a", "b" * (1000 - used + more)))
    if more <= 0:
        read_request(fields, limits)
    else:
        with pytest.raises(HttpError, match="header fields have passed 1000 bytes") as caught:
            read_request(fields, limits)
        assert caught.value.status == 431


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_fields_of_a_head(more: int) -> None:
    fields = plus(*[("a", "b")] * (10 + more))
    if more <= 0:
        read_request(fields, Limits(head_fields=10))
    else:
        with pytest.raises(HttpError, match="more than 10 header fields") as caught:
            read_request(fields, Limits(head_fields=10))
        assert caught.value.status == 431


STATUSES = {b"100": 100, b"200": 200, b"599": 599, b"999": 999}


@pytest.mark.parametrize("value", STATUSES)
def test_statuses(value: bytes) -> None:
    assert read_status([(b":status", value)]) == STATUSES[value]


@pytest.mark.parametrize(
    "fields",
    [[], [(b":status", b"")], [(b":status", b"20")], [(b":status", b"2000")], [(b":status", b"099")],
     [(b":status", b"+20")], [(b":status", b"20x")], [(b"status", b"200")], [(b"a", b"b"), (b":status", b"200")]],
)  # fmt: skip
def test_no_status(fields: Fields) -> None:
    with pytest.raises(Malformed):
        read_status(fields)
    with pytest.raises(Malformed):
        read_response(fields, Limits())


def test_a_response() -> None:
    fields = [
        (b":status", b"200"),
        (b"content-length", b"5"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
    ]
    assert read_response(fields, Limits()) == (ResponseHead(200, fields[1:], b"2"), 5)
    assert read_response(fields[:1], Limits())[1] is None


@pytest.mark.parametrize(
    ("field", "error"),
    [((b"a", b"b\x01"), HttpError), ((b"A", b"b"), Malformed), ((b":path", b"/"), Malformed),
     ((b"connection", b"close"), Malformed), ((b"content-length", b"1,1"), HttpError),
     ((b"a", b"b" * 40_000), HttpError)],
)  # fmt: skip
def test_responses_that_are_wrong(field: tuple[bytes, bytes], error: type[Exception]) -> None:
    with pytest.raises(error):
        read_response([(b":status", b"200"), field], Limits())


@pytest.mark.parametrize(
    ("field", "error"),
    [((b"a", b"b\x01"), HttpError), ((b"A", b"b"), Malformed), ((b":path", b"/"), Malformed),
     ((b":status", b"200"), Malformed), ((b"connection", b"close"), Malformed), ((b"a", b"b" * 40_000), HttpError)],
)  # fmt: skip
def test_trailers_that_are_wrong(field: tuple[bytes, bytes], error: type[Exception]) -> None:
    with pytest.raises(error):
        check_trailers([field], Limits())


def test_trailers() -> None:
    check_trailers([(b"x-sum", b"1")], Limits())
    check_trailers([], Limits())


# One after the other.

LIKE = [
    plus(("a", "b"), ("content-length", "%"), ("c", "d")),
    plus(("content-length", "%")),
    plus(("cookie", "a"), ("content-length", "%"), ("cookie", "b")),
    plus(("content-length", "%"), ("expect", "100-continue")),
    plus(("content-length", "%"), ("content-length", "%")),
    plus(("content-length", "%"), ("content-encoding", "gzip")),
    [(b":path", b"/"), (b":method", b"POST"), (b":scheme", b"http"), (b"host", b"h"), (b"content-length", b"%")],
    plus(("a", "%")),
    plus(("Content-Length", "%")),
    plus(),
]  # fmt: skip
LENGTHS = [
    b"7", b"0", b"12345", b"9" * 19, b"9" * 20, b"", b"07", b"+7", b"7 7", b"7, 7", b"7\r\nA: b", b"7\x00", b" 7",
]  # fmt: skip


def with_length(like: Fields, digits: bytes) -> Fields:
    return [(name, value.replace(b"%", digits)) for name, value in like]


def outcome(read: Callable[[Fields], tuple[RequestHead, Terms]], fields: Fields) -> object:
    try:
        head, terms = read(fields)
    except (HttpError, Malformed) as error:
        return str(error), getattr(error, "status", None)
    refusal = terms.refusal and terms.refusal.status
    return head, terms.length, terms.keep_alive, terms.expects_continue, refusal


@pytest.mark.parametrize("digits", LENGTHS)
@pytest.mark.parametrize("like", LIKE)
def test_a_head_says_the_same_whatever_came_before_it(like: Fields, digits: bytes) -> None:
    one = RequestHeads(Limits())
    for length in (b"7", b"8", digits, b"9", digits, b"7"):
        fields = with_length(like, length)
        assert outcome(one.read, fields) == outcome(
            lambda fields: read_request(fields, Limits()), fields
        )


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(plus(("a", "x"), ("content-length", "7"), ("c", "d")), id="another value before it"),
        pytest.param(plus(("a", "b"), ("content-length", "7"), ("c", "x")), id="another value behind it"),
        pytest.param(plus(("a", "b"), ("content-length", "7"), ("c", "d"), ("e", "f")), id="one more"),
        pytest.param(plus(("a", "b"), ("content-length", "7")), id="one less"),
        pytest.param(plus(("a", "b"), ("c", "d")), id="no length"),
        pytest.param(plus(("a", "b"), ("x", "7"), ("c", "d")), id="another name"),
        pytest.param(plus(("a", "b"), ("content-length", "x"), ("c", "d")), id="one that is refused"),
    ],
)  # fmt: skip
def test_which_heads_are_alike(other: Fields) -> None:
    one = RequestHeads(Limits())
    seen = [one.alike]
    heads = [with_length(LIKE[0], length) for length in (b"1", b"2", b"2", b"4", b"5")]
    for fields in (*heads[:3], other, *heads[3:]):
        outcome(one.read, fields)
        seen.append(one.alike)
    same = [first is second for first, second in itertools.pairwise(seen)]
    assert same == [False, True, True, False, False, True]


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_long_head_is_not_kept(more: int) -> None:
    size = sum(len(name) + len(value) for name, value in plus(("content-length", "7"), ("a", "")))
    fields = plus(("content-length", "7"), ("a", "b" * (LONGEST_REPEATED - size + more)))
    one = RequestHeads(Limits())
    one.read(fields)
    first = one.alike
    one.read(fields)
    assert (one.alike is first) is (more <= 0)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_head_that_says_the_same_has_the_same_limit(more: int) -> None:
    """RFC 9113 6.5.2: its length is part of its size."""
    fields = plus(("content-length", "7"))
    most = sum(32 + len(name) + len(value) for name, value in fields)
    one = RequestHeads(Limits(head_bytes=most + 1))
    one.read(fields)
    longer = plus(("content-length", "7" * (2 + more)))
    if more <= 0:
        one.read(longer)
    else:
        with pytest.raises(HttpError, match="have passed"):
            one.read(longer)


# What goes out.


def test_a_request_is_written() -> None:
    head = RequestHead(b"POST", b"/x?y", [(b"a", b" b "), (b"host", b"h:1"), (b"c", b"d")])
    assert write_request(head, b"https") == [
        (b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"h:1"), (b":path", b"/x?y"),
        (b"a", b"b"), (b"c", b"d"),
    ]  # fmt: skip


def test_a_response_is_written() -> None:
    assert write_response(200, [(b"a", b" b")]) == [(b":status", b"200"), (b"a", b"b")]


@pytest.mark.parametrize(
    "name",
    [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te"],
)
def test_what_is_about_an_http_1_connection_is_left_out(name: bytes) -> None:
    assert write_response(200, [(name, b"x"), (b"a", b"b")]) == [(b":status", b"200"), (b"a", b"b")]


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key", b"cookie", b"set-cookie"])
def test_secrets_stay_out_of_the_table(name: bytes) -> None:
    """RFC 7541 7.1.3: what is in the table can be found out by guessing."""
    _, secret, other = write_response(200, [(name, b"s"), (b"a", b"b")])
    assert isinstance(secret, NeverIndexedHeaderTuple)
    assert not isinstance(other, NeverIndexedHeaderTuple)
    assert tuple(secret) == (name, b"s")


@pytest.mark.parametrize(
    "field",
    [(b"A", b"b"), (b"", b"b"), (b"a:", b"b"), (b":path", b"/"), (b"a b", b"c"), (b"a\n", b"c"),
     (b"a", b"b\r\nc: d"), (b"a", b"b\n"), (b"a", b"\0"), (b"a", b"\x7f"), (b"a", b"\r"), (b"a", b"\x01")],
)  # fmt: skip
def test_what_never_goes_out(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(HttpError, match="a header field that must not be sent"):
        write_response(200, [field])
    with pytest.raises(HttpError, match="a header field that must not be sent"):
        write_request(RequestHead(b"GET", b"/", [(b"host", b"h"), field]), b"http")


@pytest.mark.parametrize(
    "head",
    [RequestHead(b"G T", b"/", [(b"host", b"h")]), RequestHead(b"GET", b"x", [(b"host", b"h")]),
     RequestHead(b"GET", b"/\r\n", [(b"host", b"h")]), RequestHead(b"GET", b"/", []),
     RequestHead(b"GET", b"/", [(b"host", b"h"), (b"host", b"h")])],
)  # fmt: skip
def test_requests_that_never_go_out(head: RequestHead) -> None:
    with pytest.raises(HttpError) as caught:
        write_request(head, b"http")
    assert caught.value.status == 500


@pytest.mark.parametrize("status", [99, 1000, 0, -200])
def test_statuses_that_never_go_out(status: int) -> None:
    with pytest.raises(HttpError) as caught:
        write_response(status, [])
    assert caught.value.status == 500
