"""Pipes carry whole replies, however they are cut, and never make a cut one look whole.

`Plain` is the smallest dialect there can be: the data of a frame is a word, or `t:` and text.
"""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.base import (
    NOTHING_GIVEN,
    Back,
    Carry,
    Dialect,
    ErrorReply,
    Given,
    Glance,
    Grammar,
    Marking,
    Target,
    Written,
)
from rawproxy.dialects.call import Call
from rawproxy.dialects.ends import (
    BodySink,
    BodySource,
    EngineSource,
    Sink,
    Source,
    StreamSink,
    StreamSource,
)
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Open,
    Start,
    Stop,
    Usage,
)
from rawproxy.dialects.fold import fold
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.pipe import Edit, PassBody, PassPipe, Pipe, RawPipe, TranslatePipe
from rawproxy.dialects.reading import decode, encode
from rawproxy.dialects.reframe import Reframer
from rawproxy.dialects.scribe import Scribe
from rawproxy.errors import UpstreamCut, UpstreamNonsense
from rawproxy.wire import eventstream, jsonarray, ndjson, sse
from rawproxy.wire.frame import Frame, Framing

LOST = Loss("usage", "no such thing there")


class Reader:
    """Knows `start`, `t:<text>`, `usage:<n>`, `stop` and `stop:1`, `error`, `end`."""

    def __init__(self, back: Back) -> None:
        self.unknown = 0
        self._scribe = Scribe(back)

    def read(self, frame: Frame) -> list[Event]:
        word, _, rest = frame.data.decode().partition(":")
        match word:
            case "start":
                return self._scribe.start(model="plain")
            case "t":
                return self._scribe.text("text", rest)
            case "usage":
                return self._scribe.usage(Usage(output=int(rest)))
            case "stop":
                return self._scribe.stop("end", int(rest or 0))
            case "error":
                return self._scribe.fail(Fail("overloaded", "theirs"))
            case "end":
                return self._scribe.end()
        raise UpstreamNonsense("no such word")

    def close(self) -> list[Event]:
        return self._scribe.close()


class Writer:
    """Writes what `Reader` reads; has no word for usage."""

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self.has_joined = False

    def write(self, event: Event) -> bytes:
        match event:
            case Start():
                return sse.write(b"start")
            case Delta(text=text):
                return sse.write(b"t:" + text.encode())
            case Usage():
                self.losses.append(LOST)
            case Stop():
                return sse.write(b"stop")
            case Fail(message=message):
                return sse.write(b"error:" + message.encode())
            case End():
                return sse.write(b"end")
            case _:
                pass
        return b""

    def carry(self, block: int) -> Carry | None:
        return None

    def keepalive(self) -> bytes:
        return sse.comment(b"joined" if self.has_joined else b"alone")

    def joined(self) -> None:
        self.has_joined = True


class Plain:
    """The dialect. Its bodies are `{"text": ...}` or `{"error": ...}`."""

    NAME = "plain"
    FRAMING: Framing = sse
    MODEL_FIELD = "model"
    REPLY_MODEL: tuple[str, ...] = ()
    KEEPALIVE_BEGINS = False
    MARKS: Marking = re.compile(rb"data: (?:usage|stop|error|end)")
    STREAM_END = b"data: end\n\n"

    def read_reply(self, body: bytes, back: Back) -> list[Event]:
        try:
            found = decode(body, dict[str, str])
        except ValueError:
            raise UpstreamNonsense("no such body") from None
        scribe = Scribe(back)
        if "error" in found:
            return scribe.fail(Fail("overloaded", found["error"]))
        text = scribe.text("text", found["text"])
        return [*scribe.start(), *text, *scribe.stop("end"), *scribe.end()]

    def write_reply(
        self, events: list[Event], call: Call, reply_id: str, now: int
    ) -> tuple[bytes, list[Loss]]:
        reply = fold(events)
        said = {"text": reply.choice(0).text("text"), "id": f"{call.model}-{reply_id}-{now}"}
        return encode(said), [] if reply.usage is None else [LOST]

    def stream_reader(self, back: Back) -> Reader:
        return Reader(back)

    def stream_writer(self, call: Call, reply_id: str, now: int) -> Writer:
        return Writer()

    def glance(self, body: bytes, given: Given) -> Glance:
        raise NotImplementedError

    def read_call(self, body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:
        raise NotImplementedError

    def write_call(self, call: Call, target: Target) -> Written:
        raise NotImplementedError

    def read_error(self, status: int, body: bytes) -> Fail:
        raise NotImplementedError

    def write_error(self, fail: Fail) -> ErrorReply:
        raise NotImplementedError

    def grammar(self) -> Grammar:
        raise NotImplementedError

    def ask_usage(self, body: bytes) -> bytes | None:
        raise NotImplementedError

    def is_usage_only(self, frame: Frame) -> bool:
        raise NotImplementedError


PLAIN: Dialect = Plain()
CALL = Call("plain", "m")
FAIL = Fail("timeout", "ours")
TOLD = b"data: error:ours\n\n"
STREAM = (
    b"\xef\xbb\xbf: hello\n\ndata: start\n\n\n\ndata: t:one\r\n\r\ndata: t:two\n\n: ping\n\n"
    b"data: usage:7\r\rdata: stop\n\ndata: end\n\n"
)
LIMIT = 40
"""Bytes a frame may have in most of these tests."""


def passing(edit: Edit | None = None, choices: int = 1) -> PassPipe:
    return PassPipe(PLAIN, Writer(), frame_bytes=LIMIT, choices=choices, edit=edit)


def streaming(sink: Sink | None = None) -> TranslatePipe:
    return TranslatePipe(StreamSource(Reader(Back()), sse, LIMIT), sink or StreamSink(Writer()))


def body_sink() -> BodySink:
    return BodySink(PLAIN, CALL, "id", 7)


def through(pipe: Pipe, data: bytes, cuts: list[int] | None = None) -> bytes:
    bounds = sorted({0, len(data), *(cut for cut in cuts or () if cut < len(data))})
    fed = [part for start, end in itertools.pairwise(bounds) for part in pipe.feed(data[start:end])]
    return b"".join(fed)


def whole(pipe: Pipe, data: bytes, cuts: list[int] | None = None) -> bytes:
    return through(pipe, data, cuts) + b"".join(pipe.close())


CUTS = st.lists(st.integers(1, len(STREAM)))


# -- PassPipe


@given(cuts=CUTS)
def test_what_passes_keeps_every_byte(cuts: list[int]) -> None:
    pipe = passing()
    assert whole(pipe, STREAM, cuts) == STREAM
    tally = pipe.tally
    assert (tally.model, tally.usage, tally.stop) == ("plain", Usage(output=7), Stop("end"))
    assert (tally.bearing, tally.whole, tally.ended) == (True, True, True)
    assert (tally.deltas, tally.unknown, tally.repaired) == (3, 0, False)
    assert pipe.losses == []


def test_frames_of_one_read_leave_in_one_write() -> None:
    pipe = passing()
    assert pipe.feed(STREAM[:20]) == [STREAM[:12]]
    assert len(pipe.feed(STREAM[20:])) == 1


@given(cuts=CUTS)
def test_half_a_frame_waits_and_is_dropped_before_the_terminal_error(cuts: list[int]) -> None:
    pipe = passing()
    assert through(pipe, b"data: t:one\n\ndata: t:tw", cuts) == b"data: t:one\n\n"
    with pytest.raises(UpstreamCut):
        pipe.close()
    assert pipe.fail(FAIL) == [TOLD]
    assert pipe.tally.failure == FAIL
    assert pipe.fail(FAIL) == []


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"data: start\n\ndata: t:one\n\n",
        b"data: t:one\n\ndata: t:two",  # a last frame that does not say the end
        b"data: t:one\n\ndata: sto",
        b"data: t:one\n\n: stop",
    ],
)
def test_the_end_of_bytes_before_stop_is_a_cut(stream: bytes) -> None:
    for pipe in (passing(), streaming()):
        through(pipe, stream)
        with pytest.raises(UpstreamCut):
            pipe.close()
        assert pipe.fail(FAIL) == [TOLD]
        assert pipe.fail(FAIL) == []


def test_every_choice_that_was_asked_for_has_to_stop() -> None:
    pipe = passing(choices=2)
    pipe.feed(b"data: t:one\n\ndata: stop\n\n")
    with pytest.raises(UpstreamCut):
        pipe.close()
    pipe = passing(choices=2)
    assert whole(pipe, b"data: stop\n\ndata: stop:1\n\n").endswith(b"data: end\n\n")


@pytest.mark.parametrize(
    ("stream", "added"),
    [
        (b"data: t:x\n\ndata: stop\n\n", b"data: end\n\n"),
        (b"data: t:x\n\ndata: stop", b"data: stop\n\ndata: end\n\n"),
        (b"data: t:x\n\ndata: stop\r\n", b"data: stop\r\n\ndata: end\n\n"),
        (b"data: t:x\n\ndata: stop\n\ndata: end", b"data: end\n\n"),
        (b"data: t:x\n\ndata: end", b"data: end\n\n"),
        (b"data: t:x\n\ndata: stop\n\ndata: usage:1", b"data: end\n\n"),
        (b"data: t:x\n\ndata: stop\n\ndata: en", b"data: end\n\n"),
        (b"data: t:x\n\ndata: error", b"data: error\n\n"),
    ],
)
@given(cuts=CUTS)
def test_what_the_upstream_left_out_is_written(
    stream: bytes, added: bytes, cuts: list[int]
) -> None:
    pipe = passing()
    sent = through(pipe, stream, cuts)
    assert sent == stream[: stream.rindex(b"\n\n") + 2]
    assert b"".join(pipe.close()) == added
    assert pipe.tally.repaired
    assert pipe.fail(FAIL) == []


def test_a_failure_of_the_upstream_is_passed_and_is_the_only_one() -> None:
    pipe = passing()
    stream = b"data: t:x\n\ndata: error\n\n"
    assert whole(pipe, stream) == stream
    assert pipe.tally.failure == Fail("overloaded", "theirs")
    assert not pipe.tally.repaired
    assert pipe.fail(FAIL) == []


@pytest.mark.parametrize("over", [-1, 0, 1])
@given(cuts=st.lists(st.integers(1, 2 * LIMIT)))
def test_a_frame_that_is_too_long_passes_unread(over: int, cuts: list[int]) -> None:
    line = b"data: usage:".ljust(LIMIT - 1 + over, b"1") + b"\n"  # the blank line is not counted
    stream = b"data: t:x\n\n" + line + b"\ndata: stop\n\ndata: end\n\n"
    pipe = passing()
    assert whole(pipe, stream, cuts) == stream
    assert (pipe.tally.usage is None) is (over > 0)
    assert pipe.tally.unknown == (over > 0)
    assert (pipe.tally.deltas, pipe.tally.whole, pipe.tally.repaired) == (1, True, False)


@given(cuts=st.lists(st.integers(1, 200)))
def test_a_long_frame_that_breaks_off_is_ended_before_the_error(cuts: list[int]) -> None:
    stream = b"data: t:x\n\ndata: " + b"x" * 100
    pipe = passing()
    assert through(pipe, stream, [12, *cuts]) == stream
    assert pipe.keepalive() == b""
    with pytest.raises(UpstreamCut):
        pipe.close()
    assert b"".join(pipe.fail(FAIL)) == b"\n\n" + TOLD


def test_a_long_frame_that_breaks_off_after_stop_is_ended_before_the_terminator() -> None:
    stream = b"data: t:x\n\ndata: stop\n\ndata: " + b"x" * 100
    pipe = passing()
    assert through(pipe, stream, [30, 90]) == stream
    assert pipe.close() == [b"\n\n", b"data: end\n\n"]
    assert pipe.tally.repaired


def test_a_long_first_frame_is_where_the_stream_begins() -> None:
    pipe = passing()
    assert pipe.feed(b"data: " + b"x" * 100) == [b"data: " + b"x" * 100]
    assert pipe.keepalive() == b""
    pipe.feed(b"\n\n")
    assert pipe.keepalive() == b": joined\n\n"


def test_a_keepalive_may_stand_between_frames_only() -> None:
    pipe = passing()
    assert pipe.keepalive() == b": alone\n\n"
    pipe.feed(b"data: t:x\n\ndata: t:")  # the second one is held back: nobody saw a part of it
    assert pipe.keepalive() == b": joined\n\n"


def test_frames_that_are_nonsense_pass_and_are_counted() -> None:
    stream = b"data: what\n\ndata: t:x\n\ndata: stop\n\ndata: end\n\n"
    pipe = passing()
    assert whole(pipe, stream) == stream
    assert pipe.tally.unknown == 1


def edited(frame: Frame) -> bytes:
    if frame.data.startswith(b"usage"):
        return b""
    return frame.raw.replace(b"one", b"1")


@given(cuts=CUTS)
def test_an_edit_changes_and_drops_frames(cuts: list[int]) -> None:
    pipe = passing(edited)
    expected = STREAM.replace(b"data: usage:7\r\r", b"").replace(b"one", b"1")
    assert whole(pipe, STREAM, cuts) == expected
    assert pipe.tally.usage == Usage(output=7)


@given(cuts=st.lists(st.integers(1, 120)))
def test_an_edit_never_sees_a_piece_of_a_frame(cuts: list[int]) -> None:
    stream = b"data: " + b"one " * 20 + b"\r\r\ndata: t:one\r\n\r\n"
    assert through(passing(edited), stream, cuts) == stream[: -len(b"one\r\n\r\n")] + b"1\r\n\r\n"


# -- PassBody


BODY = b'{"text" : "hi"}'


@pytest.mark.parametrize(("over", "held"), [(-1, True), (0, True), (1, False)])
def test_a_body_is_held_up_to_its_limit(over: int, *, held: bool) -> None:
    pipe = PassBody(PLAIN, limit=len(BODY) - over)
    first = pipe.feed(BODY[:5])
    assert (first, pipe.tally.bearing) == ([], False)
    second = pipe.feed(BODY[5:])
    assert b"".join(second) == (b"" if held else BODY)
    assert pipe.tally.bearing is not held
    assert pipe.close() == ([BODY] if held else [])
    assert pipe.tally.stop == (Stop("end") if held else None)
    assert pipe.tally.bearing
    assert pipe.losses == []
    assert pipe.keepalive() == b""


def test_a_body_past_its_limit_goes_on_as_it_comes() -> None:
    pipe = PassBody(PLAIN, limit=3)
    assert pipe.feed(b"1234") == [b"1234"]
    assert pipe.feed(b"5") == [b"5"]
    assert pipe.close() == []


@pytest.mark.parametrize(
    ("body", "unknown"),
    [(b"[1.50]", 1), (b'{"text":"\\ud83d"}', 0)],
    ids=["of another shape", "half a pair"],
)
def test_a_body_passes_as_it_is(body: bytes, unknown: int) -> None:
    pipe = PassBody(PLAIN, limit=99)
    assert whole(pipe, body) == body
    assert (pipe.tally.unknown, pipe.tally.bearing) == (unknown, True)


@pytest.mark.parametrize("body", [b"", b"<html>", BODY[:-1], BODY + b"x"])
def test_a_body_that_is_no_json_is_not_passed(body: bytes) -> None:
    pipe = PassBody(PLAIN, limit=99)
    pipe.feed(body)
    with pytest.raises(UpstreamNonsense):
        pipe.close()
    assert pipe.fail(FAIL) == []
    assert pipe.tally.failure == FAIL


def test_an_error_in_a_body_is_seen() -> None:
    pipe = PassBody(PLAIN, limit=99)
    assert whole(pipe, b'{"error":"theirs"}') == b'{"error":"theirs"}'
    assert pipe.tally.failure == Fail("overloaded", "theirs")
    assert not pipe.tally.bearing


# -- RawPipe


def test_nobody_looks_into_a_coded_body() -> None:
    pipe = RawPipe()
    assert pipe.feed(b"\x1f\x8b\x08") == [b"\x1f\x8b\x08"]
    assert pipe.tally.bearing
    assert (pipe.close(), pipe.keepalive(), pipe.losses) == ([], b"", [])
    assert pipe.fail(FAIL) == []
    assert pipe.tally.failure == FAIL


# -- TranslatePipe


ANSWER = b'{"text":"onetwo","id":"m-id-7"}'
WRITTEN = b"".join(
    sse.write(word) for word in (b"start", b"t:one", b"t:two", b"stop", b"end")
)  # what is left of STREAM


@given(cuts=CUTS)
def test_a_stream_becomes_a_stream(cuts: list[int]) -> None:
    pipe = streaming()
    assert whole(pipe, STREAM, cuts) == WRITTEN
    assert (pipe.tally.repaired, pipe.tally.ended, pipe.tally.deltas) == (False, True, 2)
    assert pipe.losses == [LOST]
    assert pipe.keepalive() == b""


@given(cuts=CUTS)
def test_a_stream_becomes_a_body(cuts: list[int]) -> None:
    pipe = streaming(body_sink())
    assert through(pipe, STREAM, cuts) == b""
    assert pipe.keepalive() == b""
    assert pipe.close() == [ANSWER]
    assert pipe.losses == [LOST]


@pytest.mark.parametrize(
    ("sink", "expected"),
    [
        (StreamSink(Writer()), sse.write(b"start") + b"data: t:hi\n\ndata: stop\n\ndata: end\n\n"),
        (body_sink(), b'{"text":"hi","id":"m-id-7"}'),
    ],
    ids=["stream", "body"],
)
def test_a_body_becomes_either(sink: Sink, expected: bytes) -> None:
    pipe = TranslatePipe(BodySource(PLAIN.read_reply, Back(), len(BODY)), sink)
    assert through(pipe, BODY, [3, 9]) == b""
    assert b"".join(pipe.close()) == expected
    assert (pipe.tally.repaired, pipe.tally.ended, pipe.losses) == (False, True, [])


def test_a_body_past_its_limit_is_not_read() -> None:
    pipe = TranslatePipe(BodySource(PLAIN.read_reply, Back(), len(BODY) - 1), body_sink())
    assert pipe.feed(BODY[:-1]) == []
    with pytest.raises(UpstreamNonsense, match=f"{len(BODY) - 1} bytes"):
        pipe.feed(BODY[-1:])


ENGINE: list[Event] = [
    Start("id"), Open(0, "text"), Delta(0, "onetwo"), Close(0), Usage(output=1), Stop("end"), End()
]  # fmt: skip


@pytest.mark.parametrize(
    ("sink", "expected"),
    [
        (
            StreamSink(Writer()),
            sse.write(b"start") + b"data: t:onetwo\n\ndata: stop\n\ndata: end\n\n",
        ),
        (body_sink(), ANSWER),
    ],
    ids=["stream", "body"],
)  # fmt: skip
def test_an_engine_s_events_become_either(sink: Sink, expected: bytes) -> None:
    pipe = TranslatePipe(EngineSource(), sink)
    said = [part for event in ENGINE for part in pipe.say([event])]
    assert b"".join([*said, *pipe.close()]) == expected
    assert not pipe.tally.repaired


def test_an_engine_that_stops_early_is_cut() -> None:
    pipe = TranslatePipe(EngineSource(), StreamSink(Writer()))
    pipe.say(ENGINE[:-1])
    with pytest.raises(UpstreamCut):
        pipe.close()
    with pytest.raises(AssertionError, match="an engine has no bytes"):
        pipe.feed(b"x")


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: t:x\n\ndata: stop\n\n", b"data: end\n\n"),
        (b"data: t:x\n\ndata: stop", b"data: stop\n\ndata: end\n\n"),
        (b"data: t:x\n\ndata: stop\n\ndata: end", b"data: end\n\n"),
        (b"data: t:x\n\ndata: stop\n\ndata: what", b"data: end\n\n"),
        (b"data: t:x\n\ndata: stop\n\ndata: t:y", b"data: end\n\n"),
        (b"data: t:x\n\ndata: stop\n\ndata: usage:1", b"data: end\n\n"),
    ],
)
def test_a_translated_reply_is_completed(stream: bytes, expected: bytes) -> None:
    pipe = streaming()
    through(pipe, stream)
    assert b"".join(pipe.close()) == expected
    assert pipe.tally.repaired
    assert (pipe.tally.usage is not None) is (b"usage" in stream)


@pytest.mark.parametrize("stream", [b"data: t:x\n\ndata: error", b"data: t:x\n\ndata: error\n\n"])
@pytest.mark.parametrize("to", ["stream", "body"])
def test_a_failure_of_the_upstream_is_told_once(stream: bytes, to: str) -> None:
    pipe = streaming(body_sink() if to == "body" else None)
    sent = whole(pipe, stream)
    assert sent.count(b"error") == (to == "stream")
    assert pipe.tally.failure == Fail("overloaded", "theirs")
    assert pipe.fail(FAIL) == []
    assert (pipe.feed(b"data: t:y\n\n"), pipe.close()) == ([], [])


def test_a_failure_has_no_words_in_a_body() -> None:
    pipe = streaming(body_sink())
    pipe.feed(b"data: t:x\n\n")
    assert pipe.fail(FAIL) == []
    assert pipe.close() == []


@pytest.mark.parametrize("cuts", [[], [len(STREAM)]])
def test_what_stands_behind_the_end_has_no_meaning(cuts: list[int]) -> None:
    pipe = streaming()
    assert whole(pipe, STREAM + b"data: what\n\ndata: t:x\n\n", cuts) == WRITTEN
    assert pipe.say([Delta(0, "x")]) == []
    assert pipe.fail(FAIL) == []


@pytest.mark.parametrize(
    "data", [b"data: what\n\n", b"data: " + b"x" * LIMIT], ids=["nonsense", "too long"]
)
def test_a_stream_that_cannot_be_read_is_nonsense(data: bytes) -> None:
    pipe = streaming()
    with pytest.raises(UpstreamNonsense):
        pipe.feed(data)
    assert pipe.fail(FAIL) == [TOLD]


@given(cuts=st.lists(st.integers(1, 60)))
def test_what_stands_before_nonsense_is_told(cuts: list[int]) -> None:
    """In whatever reads it came: the text, then one error."""
    pipe = streaming()
    stream = b"data: t:x\n\ndata: what\n\ndata: t:y\n\n"
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    sent = b""
    try:
        for start, end in itertools.pairwise(bounds):
            sent += b"".join(pipe.feed(stream[start:end]))
    except UpstreamNonsense:
        sent += b"".join(pipe.fail(Fail("server", "no such word", status=502)))
    assert sent == b"data: start\n\ndata: t:x\n\ndata: error:no such word\n\n"
    assert pipe.tally.failure == Fail("server", "no such word", status=502)


@pytest.mark.parametrize(
    ("pipe", "broken"),
    [
        (passing(), False),
        (PassBody(PLAIN, limit=9), False),
        (RawPipe(), False),
        (streaming(), True),
    ],
    ids=["pass", "body", "raw", "translate"],
)
def test_after_a_failure_only_a_pass_goes_on(pipe: Pipe, *, broken: bool) -> None:
    """What it passes is whole in itself, and the upstream may have more to say."""
    assert not pipe.broken
    pipe.fail(FAIL)
    assert pipe.broken is broken


def test_each_source_says_whether_its_end_is_a_repair() -> None:
    sources: list[Source] = [
        StreamSource(Reader(Back()), sse, LIMIT), BodySource(PLAIN.read_reply, Back(), 1), EngineSource()
    ]  # fmt: skip
    assert [source.repairs for source in sources] == [True, False, False]


def test_nothing_can_be_told_inside_a_message_that_no_bytes_end() -> None:
    """Of an AWS message that is too long only pieces went out: the connection breaks off."""
    pipe = PassPipe(PLAIN, Writer(), frame_bytes=LIMIT, framing=eventstream)
    message = eventstream.write(b'"%b"' % (b"x" * 100), name=b"a")
    assert b"".join(pipe.feed(message[:60])) == message[:60]
    assert pipe.fail(FAIL) == []
    assert pipe.tally.failure == FAIL


def test_a_rest_that_cannot_be_reframed_is_left_out() -> None:
    pipe = PassPipe(PLAIN, Writer(), frame_bytes=LIMIT, reframe=Reframer(ndjson))
    long = b"data: " + b"x" * 100
    assert b"".join(pipe.feed(b"data: t:one\n\n" + long)) == b"t:one\n"
    assert pipe.keepalive() == b": joined\n\n"
    assert pipe.feed(b"x\n\ndata: t:two\n\n") == [b"t:two\n"]
    pipe.feed(long)
    assert pipe.fail(FAIL) == [Writer().write(FAIL)]


def test_what_is_reframed_is_closed_as_its_framing_asks() -> None:
    pipe = PassPipe(PLAIN, Writer(), frame_bytes=LIMIT, reframe=Reframer(jsonarray))
    got = through(pipe, b"data: start\n\ndata: stop\n\n")
    parts = pipe.close()
    assert (got, parts) == (b"[start,\r\nstop", [b",\r\nend", b"]"])
    assert pipe.tally.repaired  # `end` is ours


def test_an_engine_that_speaks_after_its_end_is_not_heard() -> None:
    pipe = TranslatePipe(EngineSource(), StreamSink(Writer()))
    assert pipe.say([Start(), Stop("end"), End()])
    assert pipe.say([Start()]) == []
