"""HTTP/2's two roles: requests and answers, drains and GOAWAYs, against each other and against h2.

What each single frame does is in `h2/test_side`, what floods do in `h2/test_floods`.
"""

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.errors import HttpError
from rawproxy.wire.h2.side import Side
from rawproxy.wire.h2.stream import MAX_STREAMS
from rawproxy.wire.http import Body, End, Fields, HttpEvent, RequestHead, Reset, ResponseHead
from rawproxy.wire.http1 import Limits
from rawproxy.wire.http2 import STREAMS_BEFORE_SETTINGS, Http2Client, Http2Server, Refused
from tests.wire.h2peer import (
    ACK,
    POST,
    STREAMS,
    WINDOW,
    Peer,
    asked,
    client,
    data,
    get,
    goaway,
    headers,
    ok,
    ping,
    post,
    rst,
    server,
    setting,
    window,
)

LAST = 2**31 - 1
HEAD = RequestHead(b"POST", b"/v1/chat?x=y", [(b"host", b"h:1"), (b"a", b"b")], b"2")


def serving(peer: Peer) -> Http2Server:
    assert isinstance(peer.side, Http2Server)
    return peer.side


def asking(peer: Peer) -> Http2Client:
    assert isinstance(peer.side, Http2Client)
    return peer.side


def sent(peer: Peer) -> list[tuple[str, int, bool]]:
    """Return kind, stream and whether it ends the stream, of all that went out since."""
    return [(one.kind, one.stream, one.ends) for one in peer.read() if one.kind != "SETTINGS"]


# A server.


def test_a_request_comes_as_events() -> None:
    side = Http2Server(Limits(), streams=1, requests=1, now=0.0)
    peer = Peer(side)
    events = side.feed(peer.opening + post(1, ("a", "b")) + data(1, b"hello", end=True), 0.0)
    fields = [(b"host", b"h"), (b"a", b"b")]
    assert events == [
        (1, RequestHead(b"POST", b"/v1/chat", fields, b"2")),
        (1, Body(b"hello")),
        (1, End()),
    ]


def test_a_response_goes_out() -> None:
    peer = server()
    peer.send(get())
    side = serving(peer)
    side.head(1, 200, [(b"content-type", b"text/plain"), (b"connection", b"close")])
    assert side.body(1, b"hello") == 5
    side.end(1)
    _, head, body, end = peer.read()
    assert peer.fields(head) == [(b":status", b"200"), (b"content-type", b"text/plain")]
    assert (body.payload, body.ends, end.payload, end.ends) == (b"hello", False, b"", True)
    assert side.open == 0


def test_a_response_without_body_is_one_frame() -> None:
    peer = server()
    peer.send(get())
    serving(peer).head(1, 204, [], end=True)
    assert sent(peer) == [("HEADERS", 1, True)]
    assert serving(peer).open == 0


def test_interim_responses_come_before_the_final_one() -> None:
    peer = server()
    peer.send(get())
    serving(peer).head(1, 103, [(b"link", b"x")])
    serving(peer).head(1, 200, [], end=True)
    assert sent(peer) == [("HEADERS", 1, False), ("HEADERS", 1, True)]


@pytest.mark.parametrize("end", [True, False])
def test_an_answer_before_the_request_ended(end: bool) -> None:
    """RFC 9113 8.1: the rest of the request is not wanted, and that is no error."""
    peer = server()
    peer.send(post())
    serving(peer).head(1, 200, [], end=end)
    if not end:
        serving(peer).end(1)
    assert sent(peer)[-1] == ("RST_STREAM", 1, False)
    assert peer.seen[-1].code == "NO_ERROR"
    assert serving(peer).open == 0
    assert peer.send(data(1, b"rest"), data(1, end=True), get(3)) == ["3 GET", "3 end"]


def test_what_comes_too_late_for_a_stream_is_dropped() -> None:
    peer = server()
    peer.send(get(), rst(1))
    peer.read()
    side = serving(peer)
    side.head(1, 200, [])
    assert side.body(1, b"x") == 1
    side.end(1)
    assert peer.read() == []


def test_a_head_after_the_end_is_dropped() -> None:
    peer = server()
    peer.send(get())
    serving(peer).head(1, 200, [], end=True)
    serving(peer).head(1, 200, [], end=True)
    assert sent(peer) == [("HEADERS", 1, True)]


@pytest.mark.parametrize("late", [get(1), data(1, b"x")], ids=["head", "data"])
def test_what_comes_after_both_have_ended_breaks_the_connection(late: bytes) -> None:
    """RFC 9113 5.1: its client has said that there is nothing more."""
    peer = server()
    peer.send(get(1), get(3))
    serving(peer).head(1, 200, [], end=True)
    assert (
        peer.outcome([window(1, 1), rst(1), late]) == "broken STREAM_CLOSED, GOAWAY 3 STREAM_CLOSED"
    )


def test_a_second_head_is_a_mistake_of_ours() -> None:
    peer = server()
    peer.send(get())
    serving(peer).head(1, 200, [])
    with pytest.raises(AssertionError, match="a response has one final head"):
        serving(peer).head(1, 200, [])


def test_a_head_that_must_not_go_out_sends_nothing() -> None:
    peer = server()
    peer.send(get())
    peer.read()
    with pytest.raises(HttpError, match="must not be sent"):
        serving(peer).head(1, 200, [(b"a", b"b\r\nc: d")])
    assert peer.read() == []
    serving(peer).head(1, 500, [], end=True)
    assert sent(peer) == [("HEADERS", 1, True)]


@pytest.mark.parametrize(
    ("request_", "goes_on"),
    [
        (post(1, ("expect", "100-continue")), True),
        (post(1, ("expect", "100-continue"), ("content-length", "5")), True),
        (get(1, ("expect", "100-continue")), False),
        (post(1), False),
        (post(1, ("expect", "100-continue"), ("content-length", "99999999999")), False),
        (post(1, ("expect", "100-continue"), ("content-encoding", "gzip")), False),
    ],
)
def test_who_waits_to_be_told_to_go_on(request_: bytes, goes_on: bool) -> None:
    peer = server()
    peer.send(request_)
    heads = peer.read("HEADERS")
    assert [peer.fields(one) for one in heads] == ([[(b":status", b"100")]] if goes_on else [])


def test_a_refused_request_is_answered() -> None:
    peer = server()
    peer.send(post(1, ("content-length", "99999999999")))
    serving(peer).head(1, 413, [])
    serving(peer).body(1, b"too large")
    serving(peer).end(1)
    assert [one[0] for one in sent(peer)] == ["HEADERS", "DATA", "DATA", "RST_STREAM"]


@pytest.mark.parametrize("size", [99, 100, 101])
@pytest.mark.parametrize("told", [True, False])
def test_the_bytes_of_a_body(size: int, told: bool) -> None:
    peer = server(limits=Limits(body_bytes=100))
    length = [("content-length", str(size))] if told else []
    got = peer.send(post(1, *length), *[data(1, b"x")] * size, data(1, end=True))
    if size <= 100:
        assert got == ["1 POST", f"1 body {size}", "1 end"]
    else:
        assert got == ["1 POST", *([] if told else ["1 body 100"]), "1 refused 413"]


def test_which_requests_are_alike() -> None:
    """Also where one between them was reset before anybody heard of it."""
    peer = server()
    side = peer.side
    assert isinstance(side, Http2Server)
    mine, yours = ("authorization", "mine"), ("authorization", "yours")
    peer.send(post(1, mine, ("content-length", "1")), post(3, mine, ("content-length", "2")))
    first = side.alike(1)
    assert side.alike(3) is first
    ends_early = headers(5, [*POST, yours, ("content-length", "3")], end=True)
    assert peer.outcome([ends_early]) == "RST 5 PROTOCOL_ERROR"
    peer.send(post(7, yours, ("content-length", "4")), post(9, mine, ("content-length", "5")))
    assert side.alike(7) is not first
    assert side.alike(9) not in (first, side.alike(7))
    assert side.alike(5) is not side.alike(5)


def test_refused_heads_say_why() -> None:
    side = Http2Server(Limits(head_fields=1), streams=1, requests=9, now=0.0)
    peer = Peer(side)
    ((stream, event),) = side.feed(peer.opening + get(1, ("a", "b"), ("c", "d")), 0.0)
    assert stream == 1
    assert isinstance(event, Refused)
    assert (event.error.status, str(event.error)) == (431, "more than 1 header fields")


@pytest.mark.parametrize("streams", [1, 2, 5])
def test_one_stream_too_many_is_refused_alone(streams: int) -> None:
    peer = server(streams=streams)
    numbers = range(1, 2 * streams, 2)
    for number in numbers:
        assert peer.send(get(number))
    peer.read()
    assert peer.outcome([get(2 * streams + 1)]) == f"RST {2 * streams + 1} REFUSED_STREAM"
    serving(peer).head(1, 200, [], end=True)
    assert peer.send(get(2 * streams + 3)) == [f"{2 * streams + 3} GET", f"{2 * streams + 3} end"]


# A server that drains.


def test_a_drain_without_streams() -> None:
    peer = server()
    peer.send()
    serving(peer).drain(1.0)
    first, asks = peer.read()[1:]
    assert (first.kind, first.number, first.code, asks.kind) == ("GOAWAY", LAST, "NO_ERROR", "PING")
    assert serving(peer).draining
    assert not serving(peer).done
    assert serving(peer).waiting_for_pong == 1.0
    peer.send(ping(asks.payload, flags=ACK))
    (second,) = peer.read()
    assert (second.kind, second.number, second.code) == ("GOAWAY", 0, "NO_ERROR")
    assert serving(peer).done


def test_a_drain_with_streams() -> None:
    """What was under way when GOAWAY was sent is taken; what comes later is not, and may go elsewhere."""
    peer = server()
    peer.send(get(1))
    serving(peer).drain(0.0)
    asks = peer.read("PING")[0]
    assert peer.send(get(3)) == ["3 GET", "3 end"]
    assert peer.outcome([ping(asks.payload, flags=ACK)]) == "GOAWAY 3 NO_ERROR"
    assert peer.outcome([get(5)]) == "RST 5 REFUSED_STREAM"
    for number in (1, 3):
        assert not serving(peer).done
        serving(peer).head(number, 200, [])
        serving(peer).body(number, b"x")
        serving(peer).end(number)
    assert serving(peer).done
    assert not serving(peer).gone


def test_a_drain_does_not_wait_for_a_client_that_does_not_answer() -> None:
    peer = server()
    peer.send(get(1))
    serving(peer).drain(0.0)
    serving(peer).drain(9.0)
    assert [one.number for one in peer.read("GOAWAY")] == [LAST, 1]
    serving(peer).drain(10.0)
    asks = next(one for one in peer.seen if one.kind == "PING")
    peer.send(ping(asks.payload, flags=ACK))
    assert peer.read("GOAWAY") == []


def test_another_ping_ends_no_drain() -> None:
    peer = server()
    peer.send()
    serving(peer).ping(0.0)
    before = peer.read("PING")[0]
    serving(peer).drain(0.0)
    peer.read()
    peer.send(ping(before.payload, flags=ACK), ping(flags=ACK))
    assert peer.read() == []


def test_a_broken_connection_does_not_drain() -> None:
    peer = server()
    peer.send(ping(b""))
    peer.read()
    serving(peer).drain(0.0)
    assert peer.read() == []
    assert serving(peer).done


def test_the_goaway_of_a_broken_drain_names_no_stream_that_was_refused() -> None:
    peer = server()
    peer.send(get(1))
    serving(peer).drain(0.0)
    serving(peer).drain(0.0)
    peer.send(get(3))
    peer.read()
    assert peer.outcome([get(2)]) == "broken PROTOCOL_ERROR, GOAWAY 1 PROTOCOL_ERROR"


@pytest.mark.parametrize("requests", [1, 2, 50])
def test_a_connection_takes_so_many_requests(requests: int) -> None:
    peer = server(requests=requests)
    for number in range(1, 2 * requests, 2):
        assert not serving(peer).draining
        peer.send(get(number))
        serving(peer).head(number, 200, [], end=True)
    assert serving(peer).draining
    assert [one.number for one in peer.read("GOAWAY")] == [LAST]


def test_a_client_that_does_not_hear_of_the_drain_is_cut_off() -> None:
    """It gets as many requests more as it may have streams, which may have been on their way."""
    peer = server(requests=1, streams=3)
    taken = 0
    for number in range(1, 21, 2):
        taken += bool(peer.send(get(number)))
        serving(peer).head(number, 200, [], end=True)
    assert taken == 1 + 3
    assert [one.number for one in peer.read("GOAWAY")] == [LAST, 7]


def test_a_client_that_says_goaway_is_answered() -> None:
    peer = server()
    peer.send(get(1), goaway(0, 0))
    assert serving(peer).goaway == (0, 0)
    assert not serving(peer).gone
    assert not serving(peer).done
    serving(peer).head(1, 200, [], end=True)
    assert serving(peer).gone
    assert serving(peer).done


# A client.


def test_a_request_goes_out() -> None:
    peer = client()
    peer.send()
    peer.read()
    side = asking(peer)
    assert side.request(HEAD, b"https", end=False) == 1
    assert side.body(1, b"hello") == 5
    side.end(1)
    head, body, end = peer.read()
    assert peer.fields(head) == [
        (b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"h:1"),
        (b":path", b"/v1/chat?x=y"), (b"a", b"b"),
    ]  # fmt: skip
    assert (body.payload, end.ends) == (b"hello", True)


def test_a_response_comes_as_events() -> None:
    peer = asked()
    events = asking(peer).feed(ok(1, ("a", "b")) + data(1, b"hi", end=True), 0.0)
    assert events == [(1, ResponseHead(200, [(b"a", b"b")], b"2")), (1, Body(b"hi")), (1, End())]


def test_a_response_may_end_before_the_request() -> None:
    peer = asked()
    assert peer.send(ok(), data(1, end=True)) == ["1 200", "1 end"]
    assert asking(peer).open == 1
    assert asking(peer).body(1, b"rest") == 4
    asking(peer).end(1)
    assert asking(peer).open == 0


def test_a_server_may_not_want_the_rest() -> None:
    """RFC 9113 8.1: RST_STREAM with NO_ERROR after a whole answer is no reset for the caller."""
    peer = asked()
    assert peer.send(ok(end=True), rst(1, 0)) == ["1 200", "1 end"]
    assert asking(peer).open == 0
    assert asking(peer).body(1, b"rest") == 4


def test_the_answer_to_head_has_no_body() -> None:
    peer = asked(method=b"HEAD", end=True)
    assert peer.send(ok(1, ("content-length", "5"), end=True)) == ["1 200", "1 end"]
    peer = asked(method=b"HEAD", end=True)
    assert peer.send(ok(), data(1, b"x")) == ["1 200", "1 reset PROTOCOL_ERROR"]


def test_a_request_that_must_not_go_out_takes_no_stream() -> None:
    peer = asked(0)
    peer.send()
    with pytest.raises(HttpError):
        asking(peer).request(RequestHead(b"GET", b"/", []), b"http", end=True)
    assert asking(peer).request(HEAD, b"http", end=True) == 1


def test_room_before_and_after_settings() -> None:
    peer = client(settings=setting((STREAMS, 3)))
    side = asking(peer)
    assert (side.settled, side.room, side.usable) == (False, STREAMS_BEFORE_SETTINGS, True)
    side.request(HEAD, b"http", end=True)
    assert side.room == STREAMS_BEFORE_SETTINGS - 1
    peer.send()
    assert (side.settled, side.room) == (True, 2)
    side.request(HEAD, b"http", end=True)
    side.request(HEAD, b"http", end=True)
    assert (side.room, side.usable) == (0, True)
    with pytest.raises(AssertionError, match="no stream can be opened now"):
        side.request(HEAD, b"http", end=True)
    peer.send(ok(3, end=True))
    assert side.room == 1


@pytest.mark.parametrize(
    ("streams", "room"),
    [(0, 0), (1, 1), (MAX_STREAMS, 256), (MAX_STREAMS + 1, 256), (2**32 - 1, 256)],
)
def test_room_is_what_the_server_says_and_the_windows_hold(streams: int, room: int) -> None:
    peer = client(settings=setting((STREAMS, streams)))
    peer.send()
    assert asking(peer).room == room


def test_a_server_may_take_back_streams() -> None:
    peer = asked(3)
    peer.send(setting((STREAMS, 1)))
    assert asking(peer).room == 0
    assert peer.send(*[ok(number, end=True) for number in (1, 3, 5)])[-1] == "5 end"


def test_settings_that_allow_less_than_is_open_break_nothing() -> None:
    """Requests that went out before the first SETTINGS are the server's to refuse."""
    peer = client(settings=setting((STREAMS, 1)))
    for _ in range(3):
        asking(peer).request(HEAD, b"http", end=True)
    assert peer.send(rst(3, 7), rst(5, 7), ok(1, end=True)) == [
        "3 reset REFUSED_STREAM", "5 reset REFUSED_STREAM", "1 200", "1 end",
    ]  # fmt: skip


def test_numbers_run_out() -> None:
    peer = client()
    peer.send()
    side = asking(peer)
    side._next = LAST - 2
    assert side.room == 2
    assert side.request(HEAD, b"http", end=True) == LAST - 2
    assert (side.room, side.usable) == (1, True)
    assert side.request(HEAD, b"http", end=True) == LAST
    assert (side.room, side.usable) == (0, False)
    assert peer.send(ok(LAST, end=True)) == [f"{LAST} 200", f"{LAST} end"]


def test_after_goaway_nothing_is_asked() -> None:
    peer = asked(2)
    assert peer.send(goaway(1, 11)) == ["3 reset REFUSED_STREAM"]
    side = asking(peer)
    assert (side.goaway, side.room, side.usable, side.gone) == ((1, 11), 0, False, False)
    assert peer.read() == []
    assert peer.send(ok(1), data(1, b"x")) == ["1 200", "1 body 1"]
    assert side.body(1, b"more") == 4
    side.end(1)
    assert peer.send(data(1, end=True)) == ["1 end"]
    assert side.gone


def test_a_broken_connection_has_no_room() -> None:
    peer = asked(1)
    peer.send(ping(b""))
    assert (asking(peer).room, asking(peer).usable, asking(peer).gone) == (0, False, True)


def test_a_request_that_is_given_up() -> None:
    peer = asked(1)
    asking(peer).reset(1, 8)
    (reset,) = peer.read()
    assert (reset.kind, reset.stream, reset.code) == ("RST_STREAM", 1, "CANCEL")
    assert asking(peer).open == 0
    assert peer.send(ok(), data(1, b"late"), headers(1, [("x", "y")], end=True), window(1, 5)) == []


# Against each other.


def pump(one: Side, other: Side, cut: int) -> list[list[tuple[int, HttpEvent | Refused]]]:
    """Carry bytes both ways, in pieces of `cut`, until none are left; return what each side heard.

    All bodies are used at once.
    """
    heard: list[list[tuple[int, HttpEvent | Refused]]] = [[], []]
    busy = True
    while busy:
        busy = False
        for at, (source, target) in enumerate([(other, one), (one, other)]):
            carried = source.take()
            busy = busy or bool(carried)
            for start in range(0, len(carried), cut):
                for stream, event in target.feed(carried[start : start + cut], 0.0):
                    heard[at].append((stream, event))
                    if isinstance(event, Body):
                        target.acknowledge(stream, len(event.data))
    return heard


def content(heard: list[tuple[int, HttpEvent | Refused]], stream: int) -> bytes:
    return b"".join(
        [one.data for number, one in heard if number == stream and isinstance(one, Body)]
    )


@given(
    bodies=st.lists(st.integers(0, 200_000), min_size=1, max_size=5),
    cut=st.integers(1, 70_000),
)
def test_a_client_and_a_server_of_ours(bodies: list[int], cut: int) -> None:
    """Bodies of all sizes go both ways on streams at once, whatever the windows and cuts."""
    asks = Http2Client(Limits(), now=0.0)
    serves = Http2Server(Limits(), streams=100, requests=100, now=0.0)
    heard: list[list[tuple[int, HttpEvent | Refused]]] = [[], []]
    cut = max(cut, sum(bodies) // 200)
    numbers = [asks.request(HEAD, b"https", end=False) for _ in bodies]

    def carry() -> None:
        for at, new in enumerate(pump(asks, serves, cut)):
            heard[at] += new

    def send(side: Side, left: dict[int, bytes]) -> None:
        while any(left.values()):
            for number, body in left.items():
                left[number] = body[side.body(number, body) :]
            carry()
        for number in left:
            side.end(number)
        carry()

    contents = {
        number: bytes([number]) * size for number, size in zip(numbers, bodies, strict=True)
    }
    carry()
    send(asks, dict(contents))
    for number in numbers:
        assert content(heard[1], number) == contents[number]
        serves.head(number, 200, [(b"content-length", b"%d" % len(contents[number]))])
    send(serves, dict(contents))
    for number in numbers:
        assert content(heard[0], number) == contents[number]
        assert (number, End()) in heard[0]
    assert asks.open == serves.open == 0
    assert asks.usable


def test_resets_go_both_ways() -> None:
    asks = Http2Client(Limits(), now=0.0)
    serves = Http2Server(Limits(), streams=100, requests=100, now=0.0)
    first, second = (asks.request(HEAD, b"https", end=False) for _ in range(2))
    pump(asks, serves, 9)
    asks.reset(first, 8)
    serves.reset(second, 2)
    assert pump(asks, serves, 9) == [[(second, Reset(2))], [(first, Reset(8))]]
    assert asks.open == serves.open == 0


def test_a_drained_server_leaves_a_client_that_is_not_usable() -> None:
    asks = Http2Client(Limits(), now=0.0)
    serves = Http2Server(Limits(), streams=100, requests=100, now=0.0)
    number = asks.request(HEAD, b"https", end=True)
    pump(asks, serves, 9)
    serves.drain(0.0)
    assert pump(asks, serves, 9) == [[], []]
    assert not asks.usable
    serves.head(number, 200, [], end=True)
    assert pump(asks, serves, 9)[0] == [(number, ResponseHead(200, [], b"2")), (number, End())]
    assert serves.done
    assert asks.gone


# Against h2 as it is.

PLAIN: Fields = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":path", b"/x"),
    (b":authority", b"h"),
]


def plain(*, client_side: bool) -> h2.connection.H2Connection:
    made = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=client_side, header_encoding=None)
    )
    made.initiate_connection()
    return made


def swap(
    side: Side, other: h2.connection.H2Connection
) -> tuple[list[tuple[int, HttpEvent | Refused]], list[h2.events.Event]]:
    """Carry bytes both ways until none are left; return what each heard."""
    ours: list[tuple[int, HttpEvent | Refused]] = []
    theirs: list[h2.events.Event] = []
    while True:
        there, here = side.take(), other.data_to_send()
        if not there and not here:
            return ours, theirs
        if there:
            new = other.receive_data(there)
            theirs += new
            for event in new:
                if isinstance(event, h2.events.DataReceived):
                    other.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        for stream, heard in side.feed(here, 0.0):
            ours.append((stream, heard))
            if isinstance(heard, Body):
                side.acknowledge(stream, len(heard.data))


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 300_000])
def test_our_server_and_h2(size: int) -> None:
    side = Http2Server(Limits(), streams=10, requests=10, now=0.0)
    other = plain(client_side=True)
    heard, _ = swap(side, other)
    other.send_headers(1, [*PLAIN, (b"content-length", b"%d" % size)])
    left = size
    while left:
        step = min(left, other.local_flow_control_window(1), other.max_outbound_frame_size)
        other.send_data(1, bytes(step), pad_length=3 if step < 10_000 else None)
        left -= step
        heard += swap(side, other)[0]
    other.end_stream(1)
    heard += swap(side, other)[0]
    assert len(content(heard, 1)) == size
    assert heard[-1] == (1, End())
    side.head(1, 200, [(b"a", b"b")])
    body, got = bytes(size), []
    while body:
        body = body[side.body(1, body) :]
        got += swap(side, other)[1]
    side.end(1)
    got += swap(side, other)[1]
    assert sum([len(one.data) for one in got if isinstance(one, h2.events.DataReceived)]) == size
    assert isinstance(got[-1], h2.events.StreamEnded)
    assert side.open == 0


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 300_000])
def test_our_client_and_h2(size: int) -> None:
    side = Http2Client(Limits(), now=0.0)
    other = plain(client_side=False)
    swap(side, other)
    number = side.request(HEAD, b"https", end=False)
    body, got = bytes(size), []
    while body:
        body = body[side.body(number, body) :]
        got += swap(side, other)[1]
    side.end(number)
    got += swap(side, other)[1]
    assert sum([len(one.data) for one in got if isinstance(one, h2.events.DataReceived)]) == size
    assert isinstance(got[-1], h2.events.StreamEnded)
    other.send_headers(number, [(b":status", b"103"), (b"link", b"x")])
    other.send_headers(number, [(b":status", b"200")])
    heard, _ = swap(side, other)
    left = size
    while left:
        step = min(left, other.local_flow_control_window(number), other.max_outbound_frame_size)
        other.send_data(number, bytes(step))
        left -= step
        heard += swap(side, other)[0]
    other.send_headers(number, [(b"x-sum", b"1")], end_stream=True)
    heard += swap(side, other)[0]
    assert heard[0] == (number, ResponseHead(200, [], b"2"))
    assert len(content(heard, number)) == size
    assert heard[-1] == (number, End())
    assert side.open == 0


def test_h2_reads_our_goaway() -> None:
    """It takes any GOAWAY for the end, and no frame after it; so only the GOAWAY is shown to it."""
    side = Http2Server(Limits(), streams=10, requests=10, now=0.0)
    other = plain(client_side=True)
    other.send_headers(1, PLAIN, end_stream=True)
    swap(side, other)
    side.drain(0.0)
    (got,) = other.receive_data(side.take()[: 9 + 8])
    assert isinstance(got, h2.events.ConnectionTerminated)
    assert (got.error_code, got.last_stream_id) == (0, LAST)


def test_our_client_hears_of_h2s_goaway() -> None:
    side = Http2Client(Limits(), now=0.0)
    other = plain(client_side=False)
    numbers = [side.request(HEAD, b"https", end=True) for _ in range(2)]
    swap(side, other)
    other.close_connection(error_code=0, last_stream_id=1)
    assert swap(side, other)[0] == [(numbers[1], Reset(7))]
    assert side.goaway == (1, 0)


def test_a_window_of_h2s_is_kept() -> None:
    side = Http2Client(Limits(), now=0.0)
    other = plain(client_side=False)
    other.update_settings({WINDOW: 10})
    swap(side, other)
    number = side.request(HEAD, b"https", end=False)
    assert side.body(number, bytes(11)) == 10
    swap(side, other)
    assert side.body(number, b"x") == 1


# Whatever happens.

STREAM = st.sampled_from([1, 3, 5, 2, 0])
SOME_FRAMES = st.one_of(
    st.builds(get, STREAM, end=st.booleans()),
    st.builds(ok, STREAM, end=st.booleans()),
    st.builds(headers, STREAM, st.sampled_from([[], [("x", "y")], [(":status", "103")]]), end=st.booleans()),
    st.builds(data, STREAM, st.binary(max_size=3), end=st.booleans()),
    st.builds(rst, STREAM, st.sampled_from([0, 7, 8])),
    st.builds(window, STREAM, st.sampled_from([0, 1, 2**31 - 1])),
    st.builds(goaway, STREAM),
    st.builds(lambda value: setting((WINDOW, value)), st.sampled_from([0, 9, 2**31 - 1])),
    st.builds(lambda value: setting((STREAMS, value)), st.integers(0, 4)),
)  # fmt: skip
SOME_CALLS = st.tuples(
    st.sampled_from(["head", "body", "end", "reset", "acknowledge", "ping", "drain"]), STREAM
)


def call(side: Side, name: str, stream: int) -> None:
    match name:
        case "head" if isinstance(side, Http2Server):
            # A second final head is the caller's mistake, so here the first one is interim.
            side.head(stream, 103 if stream in (1, 2) else 200, []) if not began(
                side, stream
            ) else None
        case "head" if isinstance(side, Http2Client) and side.room:
            side.request(HEAD, b"https", end=stream == 1)
        case "body" if not isinstance(side, Http2Server) or began(side, stream):
            side.body(stream, b"hello")
        case "end" if not isinstance(side, Http2Server) or began(side, stream):
            side.end(stream)
        case "reset":
            side.reset(stream, 8)
        case "acknowledge":
            side.acknowledge(stream, 3)
        case "ping":
            side.ping(0.0)
        case "drain" if isinstance(side, Http2Server):
            side.drain(0.0)


def began(side: Side, stream: int) -> bool:
    return stream not in side._streams or side._streams[stream].began


@given(st.booleans(), st.lists(SOME_FRAMES | SOME_CALLS, max_size=25))
def test_whatever_happens_only_the_connection_breaks(
    serves: bool, steps: list[bytes | tuple[str, int]]
) -> None:
    """No order of frames and calls raises anything else, or opens a window by more than came."""
    peer = server(streams=2) if serves else asked(1)
    for step in steps:
        if isinstance(step, bytes):
            told = peer.send(step)
            assert not told or not told[-1].startswith("broken") or peer.side.gone
        else:
            call(peer.side, *step)
        peer.read()
        assert peer.side.open <= (3 if serves else 100)
