"""Frames of one framing as frames of another."""

from rawproxy.dialects import anthropic_messages
from rawproxy.dialects.call import Call
from rawproxy.dialects.events import Close, Delta, End, Event, Fail, Open, Start, Stop, Usage
from rawproxy.dialects.reframe import Reframed, Reframer
from rawproxy.wire import eventstream, jsonarray, ndjson, sse

SAID = b': ping\n\nevent: a\ndata: {"n":1}\n\ndata: {"n":2}\n\n'


def test_lines_of_json() -> None:
    reframer = Reframer(ndjson)
    assert reframer.frames(SAID, sse) == b'{"n":1}\n{"n":2}\n'
    assert reframer.close() == b""


def test_an_array_is_opened_and_closed_once() -> None:
    reframer = Reframer(jsonarray)
    assert reframer.close() == b""
    first = reframer.frames(SAID, sse)
    assert first.startswith(b'[{"n":1},')
    assert reframer.frames(b'data: {"n":3}\n\n', sse).startswith(b",")
    assert reframer.close() == b"]"
    assert reframer.close() == b""
    assert reframer.frames(b'data: {"n":4}\n\n', sse) == b""


def test_messages_of_aws_keep_their_names() -> None:
    frames = eventstream.splitter(1000).feed(Reframer(eventstream).frames(SAID, sse))
    assert [(frame.name, frame.data) for frame in frames] == [(b"a", b'{"n":1}'), (b"", b'{"n":2}')]


def test_a_writer_in_another_framing() -> None:
    call = Call(anthropic_messages.NAME, "m", stream=True)
    writer = Reframed(anthropic_messages.stream_writer(call, "id", 0), sse, Reframer(jsonarray))
    assert writer.keepalive() == b""
    events: list[Event] = [
        Start(), Open(0, "text"), Delta(0, "hi"), Close(0), Usage(output=1), Stop("end"), End(),
    ]  # fmt: skip
    written = b"".join(map(writer.write, events))
    assert written.startswith(b'[{"type":"message_start"')
    assert written.endswith(b'{"type":"message_stop"}]')
    assert writer.losses == []
    assert writer.write(Fail("server", "late")) == b""


def test_an_error_ends_it_too() -> None:
    call = Call(anthropic_messages.NAME, "m", stream=True)
    writer = Reframed(anthropic_messages.stream_writer(call, "id", 0), sse, Reframer(jsonarray))
    writer.joined()
    assert writer.write(Fail("server", "it broke")).endswith(b"]")


def test_no_piece_goes_out_in_the_old_framing() -> None:
    call = Call(anthropic_messages.NAME, "m", stream=True)
    writer = Reframed(anthropic_messages.stream_writer(call, "id", 0), sse, Reframer(jsonarray))
    for event in (Start(), Open(0, "text"), Delta(0, "hi")):
        writer.write(event)
    assert writer.carry(0) is None
