"""What is written reads as what it was written from, or is not written at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.errors import HttpError
from rawproxy.wire.http import Body, End, Fields, RequestHead, ResponseHead
from rawproxy.wire.http1 import (
    LAST_CHUNK,
    Limits,
    RequestReader,
    RequestStart,
    ResponseReader,
    write_chunk,
    write_response_head,
)

# What an injection is made of.
SPICE = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\x00",
    b"\xff",
    b" ",
    b"\t",
    b":",
    b"a",
    b"set-cookie: b",
    b"\r\n\r\n",
]

HOST: Fields = [(b"host", b"h")]


def test_a_request_is_written_as_it_is_read() -> None:
    fields: Fields = [
        (b"host", b"h"),
        (b"authorization", b"Bearer k"),
        (b"x", b"\xff"),
        (b"y", b""),
    ]
    stream = RequestStart(b"POST", b"/v1/messages?a=b", fields).write(b"hello")
    assert RequestReader(Limits()).feed(stream) == [
        RequestHead(b"POST", b"/v1/messages?a=b", [*fields, (b"content-length", b"5")]),
        Body(b"hello"),
        End(),
    ]


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        (b"POST", b"", [b"0"]),
        (b"DELETE", b"", [b"0"]),
        (b"GET", b"", []),
        (b"HEAD", b"", []),
        (b"GET", b"hi", [b"2"]),
    ],
)
def test_a_request_without_body_says_so_where_one_is_expected(
    method: bytes, body: bytes, length: list[bytes]
) -> None:
    head = RequestReader(Limits()).feed(RequestStart(method, b"/", HOST).write(body))[0]
    assert isinstance(head, RequestHead)
    assert [value for name, value in head.fields if name == b"content-length"] == length


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        (b"GET /x HTTP/1.1\r\n", b"/", HOST),
        (b"", b"/", HOST),
        (b"GET", b"", HOST),
        (b"GET", b"v1", HOST),
        (b"GET", b"http://h/", HOST),
        (b"GET", b"/a b", HOST),
        (b"GET", b"/a#b", HOST),
        (b"GET", b"/\r\nx: y", HOST),
        (b"GET", b"/\xe4", HOST),
        (b"GET", b"**", HOST),
        (b"GET", b"/", []),
        (b"GET", b"/", HOST + HOST),
        (b"GET", b"/", [*HOST, (b"content-length", b"0")]),
        (b"GET", b"/", [*HOST, (b"transfer-encoding", b"chunked")]),
        (b"GET", b"/", [*HOST, (b"Transfer-Encoding", b"chunked")]),
        (b"GET", b"/", [*HOST, (b"x", b"y\r\nz: a")]),
    ],
)
def test_requests_that_are_not_written(method: bytes, target: bytes, fields: Fields) -> None:
    start = RequestStart(method, target, fields)
    for _ in range(2):
        with pytest.raises(HttpError) as caught:
            start.write(b"")
        assert caught.value.status == 500


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_start_is_written_for_one_body_after_another(method: bytes) -> None:
    start = RequestStart(method, b"/", HOST)
    for body in (b"one", b"", b"three", b""):
        assert start.write(body) == RequestStart(method, b"/", HOST).write(body)


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK"),
        (429, b"HTTP/1.1 429 Too Many Requests"),
        (529, b"HTTP/1.1 529 "),
        (999, b"HTTP/1.1 999 "),
        (100, b"HTTP/1.1 100 "),
    ],
)
def test_a_status_has_its_own_reason_or_none(status: int, line: bytes) -> None:
    assert write_response_head(status, [(b"a", b"b")]) == line + b"\r\na: b\r\n\r\n"


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (99, []),
        (1000, []),
        (-1, []),
        (200, [(b"", b"x")]),
        (200, [(b"a b", b"x")]),
        (200, [(b"a:", b"x")]),
        (200, [(b"a: b", b"x")]),
        (200, [(b"a: b\r\nc", b"x")]),
        (200, [(b"A", b"x")]),
        (200, [(b"\xe4", b"x")]),
        (200, [(b"a", b"x\r\nset-cookie: b")]),
        (200, [(b"a", b"x\r\n\r\nHTTP/1.1 200 OK")]),
        (200, [(b"a", b"x\r\n b")]),
        (200, [(b"a", b"x\r")]),
        (200, [(b"a", b"x\n")]),
        (200, [(b"a", b"x\r\n")]),
        (200, [(b"a", b"\x00")]),
        (200, [(b"a", b"\x7f")]),
        (200, [(b"content-length", b"1"), (b"content-length", b"1")]),
        (200, [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")]),
        (204, [(b"transfer-encoding", b"chunked")]),
        (204, [(b"content-length", b"0")]),
        (304, [(b"transfer-encoding", b"chunked")]),
        (199, [(b"content-length", b"5")]),
    ],
)
def test_response_heads_that_are_not_written(status: int, fields: Fields) -> None:
    with pytest.raises(HttpError) as caught:
        write_response_head(status, fields)
    assert caught.value.status == 500


@given(
    fields=st.lists(
        st.tuples(
            st.sampled_from([b"a", b"set-cookie", b""]) | st.binary(max_size=3),
            st.lists(st.sampled_from([*SPICE, b"a: b"]), max_size=3).map(b"".join),
        ),
        max_size=4,
    )
)
def test_whatever_is_written_reads_as_the_same_fields(fields: Fields) -> None:
    try:
        head = write_response_head(204, fields)
    except HttpError:
        return
    expected = [(name, value.strip(b" \t")) for name, value in fields]
    assert ResponseReader(Limits()).feed(head) == [ResponseHead(204, expected), End()]


def test_chunks_are_written_as_they_are_read() -> None:
    stream = write_response_head(200, [(b"transfer-encoding", b"chunked")])
    stream += write_chunk([b"hel", b"", b"lo"]) + write_chunk([b"x" * 300]) + write_chunk([b""])
    assert ResponseReader(Limits()).feed(stream + LAST_CHUNK)[1:] == [
        Body(b"hello" + b"x" * 300),
        End(),
    ]
    assert write_chunk([]) == b""
    assert write_chunk([b"x" * 26]) == b"1a\r\n" + b"x" * 26 + b"\r\n"
