"""Floods: each ends the connection at its limit, and whoever stays below it is let alone."""

from collections.abc import Callable, Iterator
from itertools import count, cycle

import pytest

from rawproxy.wire.h2.events import Http2Error
from rawproxy.wire.h2.floods import (
    CONTROLS,
    CONTROLS_PER_SECOND,
    EMPTIES,
    PRIORITIES,
    RESETS,
    RESETS_PER_SECOND,
    Bucket,
    Floods,
)
from rawproxy.wire.http import RequestHead
from rawproxy.wire.http2 import Http2Client, Http2Server
from tests.wire.h2peer import (
    ACK,
    GET,
    OK,
    Peer,
    asked,
    data,
    frame,
    get,
    goaway,
    headers,
    ok,
    ping,
    post,
    priority,
    rst,
    server,
    setting,
    window,
)

CALM = "broken ENHANCE_YOUR_CALM"


def odd() -> Iterator[int]:
    return count(1, 2)


def plain(one: bytes) -> Iterator[bytes]:
    return cycle([one])


def opened() -> Peer:
    """A server with a request on stream 1 whose body has not ended; SETTINGS have come."""
    peer = server()
    peer.send(post(1))
    return peer


def ended_by_client() -> Peer:
    peer = opened()
    peer.send(rst(1))
    return peer


def reset_by_us() -> Peer:
    peer = opened()
    peer.side.reset(1, 8)
    return peer


# The peer's first SETTINGS, and a first RST_STREAM, have taken a part of the allowance.
FLOODS: list[tuple[str, Callable[[], Peer], Callable[[], Iterator[bytes]], int]] = [
    ("requests reset by the client", server, lambda: (get(n) + rst(n) for n in odd()), RESETS),
    ("uploads reset by the client", server, lambda: (post(n) + rst(n) for n in odd()), RESETS),
    ("malformed heads", server, lambda: (headers(n, GET[1:]) for n in odd()), RESETS),
    ("windows overflown", server, lambda: (get(n) + window(n, 2**31 - 1) for n in odd()), RESETS),
    ("windows that grow by 0", server, lambda: (get(n) + window(n, 0) for n in odd()), RESETS),
    ("DATA after the end", server, lambda: (get(n) + data(n, b"x") for n in odd()), RESETS),
    ("HEADERS after the end", server, lambda: (get(n) + get(n) for n in odd()), RESETS),
    ("PRIORITY of a wrong length", server, lambda: (get(n) + frame("PRIORITY", 0, n, b"x") for n in odd()), RESETS),
    ("too many streams", lambda: full(1), lambda: (post(n) for n in count(3, 2)), RESETS),
    ("HEADERS on a stream it has reset", ended_by_client, lambda: plain(get(1)), RESETS - 1),
    ("PING", server, lambda: plain(ping()), CONTROLS - 1),
    ("PING answers", server, lambda: plain(ping(flags=ACK)), CONTROLS - 1),
    ("SETTINGS", server, lambda: plain(setting((4, 1), (4, 2))), CONTROLS - 1),
    ("SETTINGS answers", server, lambda: plain(setting(flags=ACK)), CONTROLS - 1),
    ("unknown frames", server, lambda: plain(frame(0x10, 0, 0, b"u=3")), CONTROLS - 1),
    ("GOAWAY", opened, lambda: plain(goaway()), CONTROLS - 1),
    ("RST_STREAM on a stream that is gone", ended_by_client, lambda: plain(rst(1)), CONTROLS - 1),
    ("wrong WINDOW_UPDATE on a stream that is gone", ended_by_client, lambda: plain(window(1, 0)), 7),
    ("HEADERS on a stream we have reset", reset_by_us, lambda: plain(get(1)), CONTROLS - 1),
    ("small DATA on a stream we have reset", reset_by_us, lambda: plain(data(1)), CONTROLS - 1),
    ("empty DATA", opened, lambda: plain(data(1)), EMPTIES),
    ("padded DATA without content", opened, lambda: plain(frame("DATA", 8, 1, b"\x01\x00")), EMPTIES),
    ("PRIORITY without a stream", server, lambda: plain(priority(1)), PRIORITIES),
    ("PRIORITY with a stream", opened, lambda: plain(priority(1)), 2 * PRIORITIES),
    ("WINDOW_UPDATE without a stream", server, lambda: plain(window(0, 1)), 5),
    ("WINDOW_UPDATE with a stream", opened, lambda: plain(window(1, 1)), 7),
    ("WINDOW_UPDATE after four DATA", lambda: answered(4), lambda: plain(window(0, 1)), 87),
    ("PING to a client", asked, lambda: plain(ping()), CONTROLS - 1),
    ("SETTINGS to a client", asked, lambda: plain(setting()), CONTROLS - 1),
    ("GOAWAY to a client", asked, lambda: plain(goaway(1)), CONTROLS - 1),
    ("empty DATA to a client", lambda: after(asked(), ok()), lambda: plain(data(1)), EMPTIES),
    ("WINDOW_UPDATE to a client", asked, lambda: plain(window(0, 1)), 7),
    ("PRIORITY to a client", asked, lambda: plain(priority(1)), 2 * PRIORITIES),
]  # fmt: skip


def full(streams: int) -> Peer:
    peer = server(streams=streams)
    peer.send(post(1))
    return peer


def after(peer: Peer, *frames: bytes) -> Peer:
    peer.send(*frames)
    return peer


def answered(frames: int) -> Peer:
    peer = opened()
    assert isinstance(peer.side, Http2Server)
    peer.side.head(1, 200, [])
    for _ in range(frames):
        peer.side.body(1, b"x")
    return peer


@pytest.mark.parametrize(
    ("start", "flood", "limit"), [one[1:] for one in FLOODS], ids=[one[0] for one in FLOODS]
)
def test_a_flood_ends_at_its_limit(
    start: Callable[[], Peer], flood: Callable[[], Iterator[bytes]], limit: int
) -> None:
    assert limit < 2000
    peer = start()
    frames = flood()
    for _ in range(limit - 1):
        assert CALM not in peer.send(next(frames))
    assert CALM not in peer.send(next(frames))
    assert not peer.side.gone or peer.side.goaway
    assert peer.send(next(frames))[-1] == CALM
    assert peer.read("GOAWAY")[-1].code == "ENHANCE_YOUR_CALM"


@pytest.mark.parametrize("limit", [RESETS])
def test_a_flood_of_faults_in_answers_ends_the_connection_to_an_upstream(limit: int) -> None:
    peer = asked(0)
    peer.send()
    side = peer.side
    assert isinstance(side, Http2Client)
    head = RequestHead(b"GET", b"/", [(b"host", b"h")], b"2")
    for _ in range(limit):
        assert len(peer.send(headers(side.request(head, b"https", end=True), OK[1:]))) == 1
    assert peer.send(headers(side.request(head, b"https", end=True), OK[1:])) == [CALM]


@pytest.mark.parametrize("rate", [0.5, 0.9])
@pytest.mark.parametrize(
    ("frames", "per_second"),
    [(lambda: plain(ping()), CONTROLS_PER_SECOND), (lambda: (get(n) + rst(n) for n in odd()), RESETS_PER_SECOND)],
    ids=["PING", "resets"],
)  # fmt: skip
def test_chatter_at_a_human_rate_is_let_alone(
    frames: Callable[[], Iterator[bytes]], per_second: float, rate: float
) -> None:
    peer = server()
    sent = frames()
    for _ in range(1500):
        peer.now += 1 / (per_second * rate)
        assert CALM not in peer.send(next(sent))


def test_resets_after_the_answer_began_cost_nothing() -> None:
    """A reader that has seen enough of a stream goes; that work was wanted."""
    peer = server()
    assert isinstance(peer.side, Http2Server)
    for number in range(1, 2 * 500, 2):
        peer.send(get(number))
        peer.side.head(number, 200, [])
        peer.side.body(number, b"x")
        assert peer.send(rst(number)) == [f"{number} reset CANCEL"]


def test_interim_answers_are_no_beginning() -> None:
    peer = server()
    assert isinstance(peer.side, Http2Server)
    told: list[str] = []
    for number in range(1, 2 * RESETS, 2):
        peer.send(get(number))
        peer.side.head(number, 103, [])
        told = peer.send(rst(number))
    assert told[-1] != CALM
    number += 2
    assert peer.send(get(number), rst(number))[-1] == CALM


def test_content_between_empty_frames() -> None:
    peer = opened()
    for _ in range(100):
        assert CALM not in peer.send(*[data(1)] * EMPTIES, data(1, b"x"))


@pytest.mark.parametrize(("spent", "left"), [(0, True), (2, True), (3, False)])
def test_a_bucket_is_spent(spent: int, left: bool) -> None:
    bucket = Bucket(3, 1.0, 10.0)
    for _ in range(spent):
        bucket.take(10.0)
    assert bucket.take(10.0) is left


def test_a_bucket_fills_with_time_and_no_further() -> None:
    bucket = Bucket(2, 0.5, 0.0)
    assert [bucket.take(at) for at in (0, 0, 0, 1.9, 2, 2, 100, 100, 100)] == [
        True, True, False, False, True, False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("streams", [0, 1, 10])
@pytest.mark.parametrize("sent", [0, 1, 100])
def test_window_updates_are_earned(streams: int, sent: int) -> None:
    floods = Floods(0.0)
    floods.streams, floods.data_sent = streams, sent
    for _ in range(5 + 2 * (streams + 10 * sent)):
        floods.window_update()
    with pytest.raises(Http2Error, match="HTTP/2: too many WINDOW_UPDATE frames") as caught:
        floods.window_update()
    assert caught.value.code == 0xB
