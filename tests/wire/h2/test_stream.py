"""One stream: how it begins, and that the windows fit one another."""

from rawproxy.wire.h2.machine import Machine
from rawproxy.wire.h2.stream import MAX_CONNECTION_WINDOW, MAX_STREAMS, STREAM_WINDOW, Stream
from rawproxy.wire.http1 import Limits


def test_a_stream_begins_with_nothing_done() -> None:
    made = Machine(Limits(), client_side=True, streams=1)
    stream = Stream(1, made.open(1))
    flags = (
        stream.given,
        stream.quiet,
        stream.began,
        stream.ended,
        stream.peer_ended,
        stream.bodiless,
    )
    assert not any(flags)
    assert (stream.id, stream.window, stream.unused, stream.credit, stream.size) == (
        1,
        STREAM_WINDOW,
        0,
        0,
        0,
    )
    assert stream.length is None
    assert stream.h2.outbound_flow_control_window == 65535


def test_as_many_streams_as_fill_a_connection() -> None:
    assert MAX_STREAMS * STREAM_WINDOW == MAX_CONNECTION_WINDOW <= 2**31 - 1
