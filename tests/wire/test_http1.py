"""One connection of HTTP/1.1, from both sides.

Which heads and bodies are read is in `test_heads` and `test_bodies`, that h11 understands the same
in `test_http1_with_h11`, writing in `test_http1_writing`. Here: what heads and bodies become
together, that no cut changes it, and that no end comes too early.
"""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rawproxy.errors import HttpError
from rawproxy.wire.http import Body, End, HttpEvent, RequestHead, ResponseHead
from rawproxy.wire.http1 import (
    CONTINUE,
    MAX_INTERIM,
    Limits,
    RequestReader,
    ResponseReader,
)

POST = b"POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED_POST = (
    b"POST /v1/messages HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nX: y\r\n\r\n"
)
GET = b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n"
PATCH = b"PATCH http://h/x HTTP/1.1\r\nHost: other\r\nContent-Length: 2\r\n\r\nhi"
OLD = b"POST /x HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi"


def joined(events: list[HttpEvent]) -> list[HttpEvent]:
    """Return the events with neighbouring Body events made one."""
    out: list[HttpEvent] = []
    for event in events:
        if isinstance(event, Body) and out and isinstance(out[-1], Body):
            out[-1] = Body(out[-1].data + event.data)
        else:
            out.append(event)
    return out


def reads(stream: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(bounds)]


def requests(stream: list[bytes], limits: Limits | None = None) -> list[HttpEvent]:
    """Return the events of all requests in a stream of reads."""
    reader = RequestReader(limits or Limits())
    events: list[HttpEvent] = []
    for data in stream:
        new = reader.feed(data)
        events += new
        while new and isinstance(new[-1], End):
            new = reader.next()
            events += new
    reader.close()
    return joined(events)


def response(stream: list[bytes], *, head_request: bool = False) -> list[HttpEvent]:
    """Return the events of a response whose connection is closed behind it."""
    reader = ResponseReader(Limits(), head_request=head_request)
    events = [event for data in stream for event in reader.feed(data)]
    return joined(events + reader.close())


# -- requests

REQUESTS: dict[str, tuple[bytes, list[HttpEvent]]] = {
    "length": (
        POST,
        [
            RequestHead(b"POST", b"/v1/messages", [(b"host", b"h"), (b"content-length", b"5")]),
            Body(b"hello"),
            End(),
        ],
    ),
    "chunked": (
        CHUNKED_POST,
        [
            RequestHead(
                b"POST", b"/v1/messages", [(b"host", b"h"), (b"transfer-encoding", b"chunked")]
            ),
            Body(b"hello"),
            End(),
        ],
    ),
    "no body": (GET, [RequestHead(b"GET", b"/v1/models", [(b"host", b"h")]), End()]),
    "absolute-form": (
        PATCH,
        [
            RequestHead(b"PATCH", b"/x", [(b"host", b"h"), (b"content-length", b"2")]),
            Body(b"hi"),
            End(),
        ],
    ),
    "HTTP/1.0": (
        OLD,
        [RequestHead(b"POST", b"/x", [(b"content-length", b"2")], b"1.0"), Body(b"hi"), End()],
    ),
    "rule 15: empty lines in front": (
        b"\r\n\r\n" + GET,
        [RequestHead(b"GET", b"/v1/models", [(b"host", b"h")]), End()],
    ),
    "rule 16: GET with a body": (
        GET[:-2] + b"Content-Length: 2\r\n\r\nhi",
        [
            RequestHead(b"GET", b"/v1/models", [(b"host", b"h"), (b"content-length", b"2")]),
            Body(b"hi"),
            End(),
        ],
    ),
    "rule 16: HEAD with a body": (
        b"HEAD / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        [
            RequestHead(b"HEAD", b"/", [(b"host", b"h"), (b"transfer-encoding", b"chunked")]),
            Body(b"hi"),
            End(),
        ],
    ),
}
REQUEST_ROWS = pytest.mark.parametrize(("stream", "events"), REQUESTS.values(), ids=REQUESTS.keys())


@REQUEST_ROWS
def test_a_request_reads_the_same_at_every_cut(stream: bytes, events: list[HttpEvent]) -> None:
    assert requests([stream]) == events
    assert requests([bytes([byte]) for byte in stream]) == events
    for cut in range(len(stream)):
        assert requests([stream[:cut], stream[cut:]]) == events


@REQUEST_ROWS
def test_a_request_cut_off_anywhere_is_never_whole(stream: bytes, events: list[HttpEvent]) -> None:
    begin = len(stream) - len(stream.lstrip(b"\r\n"))
    for end in range(begin + 1, len(stream)):
        reader = RequestReader(Limits())
        assert End() not in reader.feed(stream[:end])
        assert not reader.idle
        with pytest.raises(HttpError):
            reader.close()


@given(
    order=st.permutations([POST, CHUNKED_POST, GET, PATCH]),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
@settings(max_examples=50)
def test_pipelined_requests_come_one_by_one(order: list[bytes], cuts: list[int]) -> None:
    expected = [event for stream in order for event in requests([stream])]
    assert requests(reads(b"".join(order), cuts)) == joined(expected)


def test_a_pipelined_request_waits_for_the_response() -> None:
    reader = RequestReader(Limits())
    assert reader.idle
    assert joined(reader.feed(POST + GET)) == REQUESTS["length"][1]
    assert (reader.idle, reader.buffered) == (False, len(GET))
    assert reader.feed(b"\x00") == []  # nor is it read before its time
    assert reader.buffered == len(GET) + 1
    assert reader.next() == REQUESTS["no body"][1]
    assert (reader.idle, reader.buffered) == (False, 1)
    reader.close()  # the client may close while its last request is answered
    with pytest.raises(HttpError):
        reader.next()


def test_a_reader_knows_a_request_that_says_the_same_as_the_one_before() -> None:
    reader = RequestReader(Limits())
    seen = [reader.alike]
    for stream in (POST, POST, POST, GET, GET):
        assert joined(reader.feed(stream)) == joined(requests([stream]))
        seen.append(reader.alike)
        assert reader.next() == []
    assert [one is two for one, two in itertools.pairwise(seen)] == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_a_reader_knows_when_nothing_has_come() -> None:
    reader = RequestReader(Limits())
    assert (reader.idle, reader.head) == (True, None)
    seen = []
    for data in (b"\r\n", b"G", GET[1:]):
        reader.feed(data)
        seen.append(reader.idle)
    assert seen == [True, False, True]
    reader.next()
    assert (reader.idle, reader.head) == (True, None)
    reader.feed(POST[:-1])
    assert (reader.idle, reader.buffered) == (False, 0)


def test_a_read_gives_one_body_event() -> None:
    head, _, body = CHUNKED_POST.partition(b"\r\n\r\n")
    reader = RequestReader(Limits())
    reader.feed(head + b"\r\n\r\n")
    assert reader.feed(body) == [Body(b"hello"), End()]
    assert reader.next() == []
    reader.feed(head + b"\r\n\r\n")
    assert reader.feed(b"3\r\n") == []
    assert reader.feed(b"") == []


@pytest.mark.parametrize(
    ("stream", "keep_alive"),
    [
        (GET, True),
        (OLD, False),
        (GET[:-2] + b"Connection: close\r\n\r\n", False),
    ],
)
def test_the_head_says_whether_the_connection_stays(stream: bytes, *, keep_alive: bool) -> None:
    reader = RequestReader(Limits())
    reader.feed(stream)
    assert reader.keep_alive is keep_alive


# -- 100-continue

WAITING = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"


def test_a_client_that_waits_is_told_to_go_on() -> None:
    reader = RequestReader(Limits())
    seen = []
    for data in (WAITING, b"", b"h"):
        reader.feed(data)
        seen.append(reader.wants_continue)
    assert seen == [True, True, False]
    assert reader.feed(b"i") == [Body(b"i"), End()]


@pytest.mark.parametrize(
    "stream",
    [
        WAITING + b"h",
        WAITING.replace(b"Content-Length: 2", b"Content-Length: 0"),
        WAITING.replace(b"HTTP/1.1", b"HTTP/1.0"),
        GET,
    ],
)
def test_a_client_that_does_not_wait_is_told_nothing(stream: bytes) -> None:
    reader = RequestReader(Limits())
    reader.feed(stream)
    assert not reader.wants_continue


def test_continue_is_an_interim_response() -> None:
    events = response([CONTINUE, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    assert events == [ResponseHead(200, [(b"content-length", b"0")]), End()]


# -- refusals

SMALL = Limits(head_bytes=200, head_fields=3, body_bytes=10)


@pytest.mark.parametrize(
    ("stream", "status", "has_head"),
    [
        (GET[:-2] + b"Content-Length: 11\r\n\r\n", 413, True),
        (GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\nb\r\n", 413, True),
        (GET[:-2] + b"Content-Encoding: gzip\r\n\r\n", 415, True),
        (GET[:-2] + b"Expect: tea\r\n\r\n", 417, True),
        (GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\nx", 400, True),
        (GET[:-2] + b"Transfer-Encoding: gzip\r\n\r\n", 501, False),
        (GET[:-2] + b"A: b\r\n" * 3 + b"\r\n", 431, False),
        (GET[:-2] + b"A: %b\r\n\r\n" % (b"b" * 200), 431, False),
        (b"\r\n" * 101, 431, False),
        (b"GET / HTTP/3.0\r\n\r\n", 505, False),
        (b"\n" + GET, 400, False),
        (b"\r\r\n" + GET, 400, False),
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_a_refusal_has_a_status_and_is_final(
    stream: bytes, status: int, step: int, *, has_head: bool
) -> None:
    reader = RequestReader(SMALL)
    failures = []
    for at in range(0, len(stream), step):
        try:
            reader.feed(stream[at : at + step])
        except HttpError as error:
            failures.append(error.status)
    assert failures
    assert set(failures) == {status}
    assert (reader.head is not None) is has_head
    assert not reader.keep_alive
    assert not reader.wants_continue
    with pytest.raises(HttpError) as caught:
        reader.feed(GET)
    assert caught.value.status == status
    with pytest.raises(HttpError):
        reader.close()


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_limits_are_exact(spare: int) -> None:
    limits = Limits(head_bytes=len(GET) + spare, head_fields=1, body_bytes=0)
    if spare >= 0:
        assert requests([GET], limits) == REQUESTS["no body"][1]
        return
    with pytest.raises(HttpError) as caught:
        requests([GET], limits)
    assert caught.value.status == 431


@pytest.mark.parametrize("size", [9, 10, 11])
def test_a_length_is_refused_before_its_body(size: int) -> None:
    head = GET[:-2] + b"Content-Length: %d\r\n\r\n" % size
    if size <= 10:
        assert requests([head, b"x" * size], SMALL)[1:] == [Body(b"x" * size), End()]
        return
    with pytest.raises(HttpError) as caught:
        RequestReader(SMALL).feed(head)
    assert caught.value.status == 413


def test_empty_lines_are_limited_by_themselves() -> None:
    assert requests([b"\r\n" * 100 + GET], SMALL) == REQUESTS["no body"][1]


def test_next_comes_after_the_end() -> None:
    with pytest.raises(AssertionError):
        RequestReader(Limits()).next()


# -- responses

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH_REPLY = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED_REPLY = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n"
HELLO: list[HttpEvent] = [Body(b"hello"), End()]

RESPONSES: dict[str, tuple[bytes, list[HttpEvent], bool]] = {
    "length": (LENGTH_REPLY, [ResponseHead(200, [(b"content-length", b"5")]), *HELLO], True),
    "chunked": (
        CHUNKED_REPLY,
        [ResponseHead(200, [(b"transfer-encoding", b"chunked")]), *HELLO],
        True,
    ),
    "a length of none": (
        OK + b"Content-Length: 0\r\n\r\n",
        [ResponseHead(200, [(b"content-length", b"0")]), End()],
        True,
    ),
    "close": (
        OK + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello",
        [ResponseHead(200, [(b"content-length", b"5"), (b"connection", b"close")]), *HELLO],
        False,
    ),
    "HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
        [
            ResponseHead(200, [(b"content-length", b"5"), (b"connection", b"keep-alive")], b"1.0"),
            *HELLO,
        ],
        False,
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", [ResponseHead(204, []), End()], True),
    "204 with a length of none": (
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        [ResponseHead(204, [(b"content-length", b"0")]), End()],
        True,
    ),
    "204 with a length": (
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        [ResponseHead(204, [(b"content-length", b"5")]), End()],
        False,
    ),
    "204, chunked": (
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        [ResponseHead(204, [(b"transfer-encoding", b"chunked")]), End()],
        False,
    ),
    "304 with a length": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        [ResponseHead(304, [(b"content-length", b"5")]), End()],
        True,
    ),
    "interim responses": (
        b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + LENGTH_REPLY,
        [ResponseHead(200, [(b"content-length", b"5")]), *HELLO],
        True,
    ),
}
RESPONSE_ROWS = pytest.mark.parametrize(
    ("stream", "events", "reusable"), RESPONSES.values(), ids=RESPONSES.keys()
)


@RESPONSE_ROWS
def test_a_response_reads_the_same_at_every_cut(
    stream: bytes, events: list[HttpEvent], *, reusable: bool
) -> None:
    for cut in range(len(stream)):
        reader = ResponseReader(Limits())
        assert joined(reader.feed(stream[:cut]) + reader.feed(stream[cut:])) == events
        assert reader.reusable is reusable
    assert response([bytes([byte]) for byte in stream]) == events


@RESPONSE_ROWS
def test_a_response_cut_off_anywhere_is_never_whole(
    stream: bytes, events: list[HttpEvent], *, reusable: bool
) -> None:
    for end in range(len(stream)):
        reader = ResponseReader(Limits())
        assert End() not in reader.feed(stream[:end])
        assert reader.started is (end > 0)
        assert not reader.reusable
        with pytest.raises(HttpError):
            reader.close()


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])  # fmt: skip
def test_the_response_to_a_head_has_no_body(framing: bytes) -> None:
    reader = ResponseReader(Limits(), head_request=True)
    assert isinstance(reader.feed(OK + framing + b"\r\n")[-1], End)
    assert reader.reusable


@pytest.mark.parametrize("head", [OK + b"\r\n", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_a_body_without_framing_ends_with_the_connection(head: bytes) -> None:
    reader = ResponseReader(Limits())
    events = reader.feed(head + b"hel") + reader.feed(b"lo")
    assert joined(events)[1:] == [Body(b"hello")]
    assert reader.close() == [End()]
    assert not reader.reusable
    assert reader.close() == []


@pytest.mark.parametrize("stream", [LENGTH_REPLY, CHUNKED_REPLY])
def test_more_of_a_body_is_its_bytes_at_every_cut(stream: bytes) -> None:
    for cut in range(stream.index(b"\r\n\r\n") + 4, len(stream)):
        reader = ResponseReader(Limits())
        body = b"".join(
            event.data for event in reader.feed(stream[:cut]) if isinstance(event, Body)
        )
        body += reader.more(stream[cut:])
        assert (body, reader.ended, reader.reusable) == (b"hello", True, True)
        assert reader.more(b"H") == b""
        assert not reader.reusable


def test_more_of_a_body_may_be_its_end_or_a_break() -> None:
    reader = ResponseReader(Limits())
    reader.feed(OK + b"\r\n")
    assert (reader.more(b"hel"), reader.more(b"lo"), reader.ended) == (b"hel", b"lo", False)
    assert reader.close() == [End()]
    assert reader.reusable is False
    cut = ResponseReader(Limits())
    cut.feed(LENGTH_REPLY[:-1])
    with pytest.raises(HttpError, match="inside a response"):
        cut.close()


def test_a_body_that_breaks_its_framing_is_refused_for_good() -> None:
    reader = ResponseReader(Limits())
    reader.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    for data in (b"5\r\nhello!", b"\r\n0\r\n\r\n", b""):
        with pytest.raises(HttpError):
            reader.more(data)
    assert not reader.reusable


@pytest.mark.parametrize("stream", [LENGTH_REPLY, CHUNKED_REPLY])
def test_surplus_bytes_spoil_the_connection(stream: bytes) -> None:
    at_once, later = ResponseReader(Limits()), ResponseReader(Limits())
    assert isinstance(at_once.feed(stream + b"H")[-1], End)
    assert not at_once.reusable
    later.feed(stream)
    assert later.reusable
    assert later.feed(b"") == []
    assert later.reusable
    assert later.feed(b"H") == []
    assert not later.reusable


def test_the_end_of_the_connection_after_the_end_is_no_error() -> None:
    reader = ResponseReader(Limits())
    reader.feed(LENGTH_REPLY)
    assert reader.close() == []
    assert not reader.reusable


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1),
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello!",
        OK + b"A: %b\r\n\r\n" % (b"b" * 40000),
        OK + b"A: b\r\n" * 101 + b"\r\n",
        b"\r\n" + LENGTH_REPLY,
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ],
)
def test_broken_responses_are_refused_for_good(stream: bytes) -> None:
    reader = ResponseReader(Limits())
    with pytest.raises(HttpError):
        reader.feed(stream)
    with pytest.raises(HttpError):
        reader.feed(LENGTH_REPLY)
    with pytest.raises(HttpError):
        reader.close()
    assert not reader.reusable


def test_a_few_interim_responses_are_allowed() -> None:
    reader = ResponseReader(Limits())
    assert reader.feed(b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_INTERIM) == []
    assert reader.feed(LENGTH_REPLY)[1:] == HELLO


def test_a_response_may_be_longer_than_any_request() -> None:
    limits = Limits(body_bytes=3)
    assert ResponseReader(limits).feed(LENGTH_REPLY)[1:] == HELLO
    assert ResponseReader(limits).feed(CHUNKED_REPLY)[1:] == HELLO
