"""Sources and sinks of a translation; that they work together is in test_pipe."""

import pytest

from rawproxy.dialects import anthropic_messages, openai_chat
from rawproxy.dialects.base import Back, Dialect
from rawproxy.dialects.call import Call
from rawproxy.dialects.ends import BodySink, BodySource, EngineSource, StreamSink, StreamSource
from rawproxy.dialects.events import Close, Delta, End, Event, Fail, Open, Start, Stop
from rawproxy.dialects.pipe import TranslatePipe
from rawproxy.errors import UpstreamCut, UpstreamNonsense
from rawproxy.wire import eventstream, sse

CHAT: Dialect = openai_chat
MESSAGES: Dialect = anthropic_messages
HELLO = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'


def source(limit: int = 1000) -> StreamSource:
    return StreamSource(CHAT.stream_reader(Back()), sse, limit)


def test_a_stream_says_what_its_frames_say() -> None:
    reading = source()
    assert reading.feed(HELLO[:9]) == []
    assert Delta(0, "hi") in reading.feed(HELLO[9:])
    with pytest.raises(UpstreamCut):
        reading.close()


def test_what_stands_before_a_bad_frame_in_the_same_read_is_said() -> None:
    events = source().feed(HELLO + b"data: {nonsense\n\n")
    assert Delta(0, "hi") in events
    assert isinstance(events[-1], Fail)


def test_a_bad_frame_alone_is_nonsense() -> None:
    with pytest.raises(UpstreamNonsense):
        source().feed(b"data: {nonsense\n\n")


def test_what_stands_before_a_frame_that_is_too_long_is_said() -> None:
    events = source(len(HELLO)).feed(HELLO + HELLO.replace(b"hi", b"x" * 100))
    assert Delta(0, "hi") in events
    assert isinstance(events[-1], Fail)
    assert "passed" in events[-1].message


def test_a_broken_message_of_aws_is_nonsense() -> None:
    message = bytearray(eventstream.write(b"{}", name=b"messageStart"))
    message[-1] ^= 1
    reading = StreamSource(CHAT.stream_reader(Back()), eventstream, 1000)
    with pytest.raises(UpstreamNonsense, match="checksum"):
        reading.feed(bytes(message))


def test_nothing_is_read_behind_the_end() -> None:
    done = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    events = source().feed(HELLO + done + b"data: {nonsense\n\n")
    assert events[-1] == End()


def test_a_body_is_read_at_its_end() -> None:
    reading = BodySource(CHAT.read_reply, Back(), 1000)
    body = b'{"id":"c","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
    assert reading.feed(body[:20]) == reading.feed(body[20:]) == []
    assert Delta(0, "hi") in reading.close()


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_body_has_a_limit(over: int) -> None:
    reading = BodySource(CHAT.read_reply, Back(), 10)
    if over > 0:
        with pytest.raises(UpstreamNonsense, match="10 bytes"):
            reading.feed(b"x" * (10 + over))
    else:
        assert reading.feed(b"x" * (10 + over)) == []


def test_an_engine_has_no_bytes() -> None:
    with pytest.raises(AssertionError):
        EngineSource().feed(b"x")
    with pytest.raises(UpstreamCut):
        EngineSource().close()


def test_a_stream_is_written_as_it_is_said_and_a_body_at_the_end() -> None:
    call = Call(MESSAGES.NAME, "m")
    events: list[Event] = [Start(), Open(0, "text"), Delta(0, "hi"), Stop("end"), End()]
    stream = StreamSink(MESSAGES.stream_writer(call, "id", 0))
    assert b"message_start" in stream.write(events[0])
    assert (stream.close(), stream.losses) == (b"", [])
    assert stream.keepalive().startswith(b"event: ping")
    body = BodySink(MESSAGES, call, "id", 0)
    assert [body.write(event) for event in events] == [b""] * len(events)
    assert b'"text":"hi"' in body.close()
    assert (body.keepalive(), body.losses) == (b"", [])


def test_an_engine_says_nothing_behind_its_end() -> None:
    writer = MESSAGES.stream_writer(Call(MESSAGES.NAME, "m"), "id", 0)
    pipe = TranslatePipe(EngineSource(), StreamSink(writer))
    assert pipe.say([Start(), Open(0, "text"), Delta(0, "hi"), Close(0), Stop("end"), End()])
    assert pipe.say([Delta(0, "more")]) == []


def test_only_a_stream_is_carried() -> None:
    assert BodySource(CHAT.read_reply, Back(), 10).texts(b"x") == ([], b"x")
    assert EngineSource().texts(b"x") == ([], b"x")
    assert BodySink(CHAT, Call(CHAT.NAME, "m"), "id", 0).carry(0) is None


def test_a_stream_is_steady_from_the_second_frame_alike() -> None:
    reading = source()
    reading.feed(HELLO)
    one, two, six = [HELLO.replace(b"hi", word) for word in (b"one", b"two", b"six")]
    reading.feed(one)
    assert reading.steady == -1
    reading.feed(two + six[:9])
    assert reading.steady == 0
    assert reading.texts(six[9:] + one + two[:9]) == ([b"six", b"one"], two[:9])
    assert reading.feed(two[:9]) == []
    assert reading.steady == 0
    assert reading.texts(two[9:]) == ([b"two"], b"")


def test_a_stream_is_not_steady_inside_of_a_long_frame() -> None:
    """Its bytes would be looked at again with each read."""
    reading = source()
    one, two = [HELLO.replace(b"hi", word) for word in (b"one", b"two")]
    reading.feed(HELLO + one + two)
    assert reading.texts(one[:9]) == ([], one[:9])
    assert reading.feed(one[:9]) == []
    assert reading.steady == -1
    assert reading.feed(one[9:]) == [Delta(0, "one")]
    assert reading.steady == 0
