"""The stretch of a stream in which nothing changes but a text."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Back
from rawproxy.dialects.call import Call
from rawproxy.dialects.ends import StreamSink, StreamSource
from rawproxy.dialects.events import Close, Delta, End, Event, Open, Start, Stop, Usage
from rawproxy.dialects.groove import TRIES, Groove, between
from rawproxy.dialects.pipe import TranslatePipe
from rawproxy.wire import eventstream
from rawproxy.wire.frame import MAX_FRAME, Frame, PlainFrame

FRAME = b'data: {"id":"x","choices":[{"delta":{"content":"%b"},"index":0}]}\n\n'
NUMBERED = b'data: {"sequence_number":%d,"delta":"%b","obfuscation":"%b"}\n\n'


def deltas(*texts: str) -> list[Event]:
    return [Delta(0, text) for text in texts]


def frame(raw: bytes) -> Frame:
    return PlainFrame(raw, data=raw, has_data=True)


def learnt(*raws: bytes) -> Groove:
    groove = Groove()
    for raw in raws:
        text = (
            json.loads(raw[6:]).get("delta")
            or json.loads(raw[6:])["choices"][0]["delta"]["content"]
        )
        groove.learn(frame(raw), deltas(text))
    return groove


@pytest.fixture
def groove() -> Groove:
    return learnt(FRAME % b"one", FRAME % b"two")


def test_two_frames_alike_make_a_groove() -> None:
    groove = Groove()
    groove.learn(frame(FRAME % b"one"), deltas("one"))
    assert groove.block == -1
    groove.learn(frame(FRAME % b"two"), deltas("two"))
    assert groove.block == 0


def test_frames_that_fit_are_known_by_their_bytes(groove: Groove) -> None:
    data = FRAME % b" a" + FRAME % "ü".encode() + FRAME % b"{"
    assert groove.texts(data) == [b" a", "ü".encode(), b"{"]
    assert groove.texts(b"") == []


@pytest.mark.parametrize(
    "data",
    [
        FRAME % b"",
        FRAME % b"a\\nb",
        FRAME % b'a"b',
        FRAME % b"a\x01b",
        FRAME % b"\xff",
        FRAME % b"a\xe2\x80\xa8b",
        FRAME % b"a\xe2\x80\xa9b",
        FRAME % b"a\xc2\x85b",
        FRAME % b"a" + b": comment\n\n",
        (FRAME % b"a")[:-1],
        (FRAME % b"a")[1:],
        (FRAME % b"a").replace(b'"index":0', b'"index":1'),
        (FRAME % b"a").replace(b'"x"', b'"y"'),
        b"data: [DONE]\n\n",
    ],
)
def test_everything_else_is_read(groove: Groove, data: bytes) -> None:
    assert groove.texts(data) is None


@pytest.mark.parametrize(
    "events",
    [[], deltas("a", "b"), [Delta(1, "a")], [Close(0)], [Delta(0, "a", b"{}")]],  # type: ignore[arg-type]
)
def test_a_groove_ends_where_something_else_is_said(groove: Groove, events: list[Event]) -> None:
    groove.learn(frame(b"whatever"), events)
    assert groove.block == -1


def test_a_text_that_does_not_fit_does_not_end_it(groove: Groove) -> None:
    groove.learn(frame(FRAME % b"a\\nb"), deltas("a\nb"))
    assert groove.block == 0
    assert groove.texts(FRAME % b"c") == [b"c"]


def test_members_that_count_may_differ() -> None:
    groove = learnt(NUMBERED % (7, b"one", b"Ab"), NUMBERED % (8, b"two", b"c"))
    assert groove.texts(NUMBERED % (10, b"three", b"")) == [b"three"]
    assert groove.texts((NUMBERED % (11, b"a", b"b")).replace(b"11,", b"11}")) is None
    assert groove.texts((NUMBERED % (11, b"a", b"b")).replace(b"number", b"member")) is None
    stamped = b'{"created_at":"2026-01-01T00:00:%02d.5Z","delta":"%b"}\n'
    groove = Groove()
    for second in (1, 2):
        groove.learn(frame(stamped % (second, b"word%d" % second)), deltas(f"word{second}"))
    assert groove.texts(stamped % (9, b"x")) == [b"x"]


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"content":"x","other":"x"}\n\n',
        b'data: {"created":1,"sequence_number":2,"content":"x"}\n\n',
        b'data: {"content":"\\u0078"}\n\n',
    ],
)
def test_where_the_text_is_not_certain_there_is_none(raw: bytes) -> None:
    groove = Groove()
    for _ in range(3):
        groove.learn(frame(raw), deltas("x"))
    assert groove.block == -1


def test_a_text_that_is_escaped_teaches_nothing() -> None:
    groove = Groove()
    for _ in range(3):
        groove.learn(frame(FRAME % b"a\\nb"), deltas("a\nb"))
    assert groove.block == -1


@pytest.mark.parametrize("over", [-1, 0])
def test_learning_is_given_up(over: int) -> None:
    groove = Groove()
    for _ in range(TRIES - 1 + over):
        groove.learn(frame(b"x"), [])
    groove.learn(frame(FRAME % b"one"), deltas("one"))
    groove.learn(frame(FRAME % b"two"), deltas("two"))
    assert groove.block == (0 if over < 0 else -1)


def aws(text: bytes, name: bytes = b"delta") -> bytes:
    return eventstream.write(b'{"delta":"%b","p":"abc"}' % text, name=name)


def test_messages_of_aws_are_known_by_their_payload() -> None:
    groove = Groove(eventstream.alike)
    for text in ("one", "two"):
        (message,) = eventstream.splitter(1000).feed(aws(text.encode()))
        groove.learn(message, deltas(text))
    assert groove.texts(aws(b"a") + aws(b"longer")) == [b"a", b"longer"]
    broken = bytearray(aws(b"a"))
    broken[40] ^= 1
    others = (
        aws(b"a", b"other"),
        aws(b"a")[:-1],
        bytes(broken),
        aws(b"\\n"),
        aws(b"a") + b"xxxx",
        b"\0" * 20,
    )
    assert [groove.texts(data) for data in others] == [None] * len(others)


def test_between() -> None:
    assert between(b"<", b">", b"x") == b"<x>"


# -- in a pipe: nobody can tell that a frame was not read

CLIENTS = [name for name in DIALECTS if name != "plain_text"]
PAIRS = list(itertools.permutations(CLIENTS, 2))


def stream(dialect: str, texts: list[str]) -> list[bytes]:
    call = Call(dialect, "m", stream=True, wants_usage=True)
    writer = DIALECTS[dialect].stream_writer(call, "id", 0)
    events: list[Event] = [
        Start("id", "m"), Open(0, "text"), *deltas(*texts), Close(0),
        Usage(input=1, output=2), Stop("end"), End(),
    ]  # fmt: skip
    return [data for event in events if (data := writer.write(event))]


class Deaf(Groove):
    """Learns nothing."""

    def learn(self, frame: Frame, events: list[Event]) -> None:
        pass


def pipe(source: str, target: str) -> TranslatePipe:
    dialect = DIALECTS[source]
    reading = StreamSource(dialect.stream_reader(Back()), dialect.FRAMING, MAX_FRAME)
    call = Call(target, "m", stream=True, wants_usage=True)
    return TranslatePipe(reading, StreamSink(DIALECTS[target].stream_writer(call, "id", 0)))


@pytest.mark.parametrize(("source", "target"), PAIRS)
@settings(max_examples=10)
@given(
    st.lists(st.text(min_size=1, max_size=4), max_size=12),
    st.lists(st.integers(1, 3), max_size=12),
)
def test_a_pipe_says_the_same_with_and_without(
    source: str, target: str, texts: list[str], sizes: list[int]
) -> None:
    frames = stream(source, [text.encode("utf-8", "replace").decode() for text in texts])
    plain = pipe(source, target)
    plain._source._groove = Deaf()  # type: ignore[attr-defined]
    whole = pipe(source, target)
    reads, at = [], 0
    for size in [*sizes, *[1] * len(frames)]:
        reads.append(b"".join(frames[at : at + size]))
        at += size
    said = b"".join(part for read in reads if read for part in whole.feed(read))
    expected = b"".join(part for frame in frames for part in plain.feed(frame))
    assert said + b"".join(whole.close()) == expected + b"".join(plain.close())
    assert whole.tally.deltas == plain.tally.deltas


def test_what_varies_may_be_nothing_else() -> None:
    groove = learnt(NUMBERED % (7, b"one", b"Ab"), NUMBERED % (8, b"two", b"c"))
    data = NUMBERED % (9, b"x", b"y")
    for other in (data.replace(b'9,"delta"', b'9 "delta"'), data.replace(b'"y"', b'"y!"')):
        assert groove.texts(other) is None
