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
from rawproxy.dialects.groove import TRIES, Groove, around, unescaped
from rawproxy.dialects.pipe import TranslatePipe
from rawproxy.errors import UpstreamNonsense
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


def known(groove: Groove, data: bytes) -> list[bytes]:
    """The texts of `data`, of which nothing is left."""
    texts, end = groove.texts(data)
    assert end == len(data)
    return texts


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
    assert known(groove, data) == [b" a", "ü".encode(), b"{"]
    assert known(groove, b"") == []


def test_a_text_as_every_encoder_spells_it_fits(groove: Groove) -> None:
    text = rb"a\n\"b\"}\\\t"
    assert known(groove, FRAME % text) == [text]
    assert known(groove, FRAME % text * 3) == [text] * 3
    assert known(groove, FRAME % b"\\\\" + FRAME % b"n") == [b"\\\\", b"n"]


ODD = [
    FRAME % b"",
    FRAME % b"a\\u0041b",
    FRAME % b"a\\/b",
    FRAME % b"a\\",
    FRAME % b'a"b',
    FRAME % b"a\x01b",
    FRAME % b"\xff",
    FRAME % b"a\xe2\x80\xa8b",
    FRAME % b"a\xe2\x80\xa9b",
    FRAME % b"a\xc2\x85b",
    b": comment\n\n",
    (FRAME % b"a")[:-1],
    (FRAME % b"a")[1:],
    (FRAME % b"a").replace(b'"index":0', b'"index":1'),
    (FRAME % b"a").replace(b'"x"', b'"y"'),
    b"data: [DONE]\n\n",
]


@pytest.mark.parametrize("data", ODD)
def test_everything_else_is_read(groove: Groove, data: bytes) -> None:
    assert groove.texts(data) == ([], 0)


@pytest.mark.parametrize("data", ODD)
@pytest.mark.parametrize("times", [1, 2, 5])
def test_what_stands_before_it_is_known(groove: Groove, data: bytes, times: int) -> None:
    before = FRAME % b"word" * times
    assert groove.texts(before + data) == ([b"word"] * times, len(before))
    assert groove.texts(before + data + FRAME % b"a") == ([b"word"] * times, len(before))


@pytest.mark.parametrize(
    "events",
    [[], deltas("a", "b"), [Delta(1, "a")], [Close(0)], [Delta(0, "a", b"{}")]],  # type: ignore[arg-type]
)
def test_a_groove_ends_where_something_else_is_said(groove: Groove, events: list[Event]) -> None:
    groove.learn(frame(b"whatever"), events)
    assert groove.block == -1


def test_a_text_that_does_not_fit_does_not_end_it(groove: Groove) -> None:
    groove.learn(frame(FRAME % b"a\\u0041b"), deltas("aAb"))
    assert groove.block == 0
    assert known(groove, FRAME % b"c") == [b"c"]


def test_members_that_count_may_differ() -> None:
    groove = learnt(NUMBERED % (7, b"one", b"Ab"), NUMBERED % (8, b"two", b"c"))
    more = NUMBERED % (10, b"three", b"") + NUMBERED % (11, b"x", b"y")
    assert known(groove, more) == [b"three", b"x"]
    assert groove.texts((NUMBERED % (11, b"a", b"b")).replace(b"11,", b"11}")) == ([], 0)
    odd = (NUMBERED % (11, b"a", b"b")).replace(b"number", b"member")
    assert groove.texts(odd) == ([], 0)
    assert groove.texts(more + odd) == ([b"three", b"x"], len(more))
    stamped = b'{"created_at":"2026-01-01T00:00:%02d.5Z","delta":"%b"}\n'
    groove = Groove()
    for second in (1, 2):
        groove.learn(frame(stamped % (second, b"word%d" % second)), deltas(f"word{second}"))
    assert known(groove, stamped % (9, b"x")) == [b"x"]


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


def test_a_text_that_is_spelled_otherwise_teaches_nothing() -> None:
    groove = Groove()
    for _ in range(3):
        groove.learn(frame(FRAME % b"a\\/b"), deltas("a/b"))
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
    assert known(groove, aws(b"a") + aws(b"longer")) == [b"a", b"longer"]
    broken = bytearray(aws(b"a"))
    broken[40] ^= 1
    others = (
        aws(b"a", b"other"),
        aws(b"a")[:-1],
        bytes(broken),
        aws(b"\\/"),
        eventstream.write(b'{"delta":"a","p":"abc"} ', name=b"delta"),
        b"\0" * 20,
    )
    before = aws(b"word")
    for data in others:
        assert groove.texts(data) == ([], 0)
        assert groove.texts(before + data) == ([b"word"], len(before))
        assert groove.texts(before + data + before) == ([b"word"], len(before))


def test_around() -> None:
    write = around(b"<\0>")
    assert write([b"x"]) == b"<x>"
    assert write([b"x", b"y"]) == b"<x><y>"


def test_unescaped() -> None:
    assert unescaped("aé".encode()) == "aé"
    assert unescaped(b'\\n\\"\\\\') == '\n"\\'


# -- in a pipe: nobody can tell that a frame was not read

CLIENTS = [name for name in DIALECTS if name != "plain_text"]
PAIRS = list(itertools.permutations(CLIENTS, 2))
GROOVED = [
    pair for pair in PAIRS if "anthropic_complete" not in pair
]  # its first form says all of the text each time


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


def pipe(source: str, target: str, frame_bytes: int = MAX_FRAME) -> TranslatePipe:
    dialect = DIALECTS[source]
    reading = StreamSource(dialect.stream_reader(Back()), dialect.FRAMING, frame_bytes)
    call = Call(target, "m", stream=True, wants_usage=True)
    return TranslatePipe(reading, StreamSink(DIALECTS[target].stream_writer(call, "id", 0)))


@pytest.mark.parametrize(("source", "target"), PAIRS)
@settings(max_examples=10)
@given(
    st.lists(st.text(min_size=1, max_size=4) | st.sampled_from(['"', "\n"]), max_size=12),
    st.lists(st.integers(1, 999), max_size=24),
)
def test_a_pipe_says_the_same_with_and_without(
    source: str, target: str, texts: list[str], sizes: list[int]
) -> None:
    """Whatever the sizes of the reads."""
    frames = stream(source, [text.encode("utf-8", "replace").decode() for text in texts])
    plain = pipe(source, target)
    plain._source._groove = Deaf()  # type: ignore[attr-defined]
    whole = pipe(source, target)
    data, said = b"".join(frames), b""
    for size in [*sizes, len(data)]:
        said += b"".join(whole.feed(data[:size]))
        data = data[size:]
    expected = b"".join(part for frame in frames for part in plain.feed(frame))
    assert said + b"".join(whole.close()) == expected + b"".join(plain.close())
    assert whole.tally.deltas == plain.tally.deltas


@pytest.mark.parametrize(("source", "target"), GROOVED)
def test_of_one_long_read_little_is_read_as_json(
    monkeypatch: pytest.MonkeyPatch, source: str, target: str
) -> None:
    frames = stream(source, [f"word {number} " for number in range(500)])
    whole, plain = pipe(source, target), pipe(source, target)
    plain._source._groove = Deaf()  # type: ignore[attr-defined]
    reader = whole._source._reader  # type: ignore[attr-defined]
    real, asked = reader.read, []

    def read(frame: Frame) -> list[Event]:
        asked.append(frame)
        found: list[Event] = real(frame)
        return found

    monkeypatch.setattr(reader, "read", read)
    said = b"".join(whole.feed(b"".join(frames)))
    assert said == b"".join(part for frame in frames for part in plain.feed(frame))
    assert len(asked) < 50


@pytest.mark.parametrize("source", CLIENTS)
@pytest.mark.parametrize("torn", [0, 50])
def test_a_frame_that_is_too_long_is_so_in_a_groove_as_well(source: str, torn: int) -> None:
    reply = pipe(source, "anthropic_messages", 600)
    frames = stream(source, ["a", "b", "c", "y" * 600])
    at = next(at for at, data in enumerate(frames) if b"yyy" in data)
    long = frames[at]
    said = b"".join(part for data in frames[:at] for part in reply.feed(data))
    assert said.count(b"text_delta") == 3
    with pytest.raises(UpstreamNonsense, match="600"):
        [reply.feed(data) for data in (long[:torn], long[torn:]) if data]


def test_nonsense_behind_texts_of_one_read_ends_the_reply_behind_them() -> None:
    carried, plain = (
        pipe("openai_chat", "anthropic_messages"),
        pipe("openai_chat", "anthropic_messages"),
    )
    plain._source._groove = Deaf()  # type: ignore[attr-defined]
    start, first, second, third, *_ = stream("openai_chat", ["a", "b", "c"])
    said = []
    for reply in (carried, plain):
        reads = [start + first, second, third, second + third + b"data: {oh\n\n"]
        said.append(b"".join(part for read in reads for part in reply.feed(read)))
        assert reply.broken
    assert said[0] == said[1]
    assert b"event: error" in said[0]


def test_what_may_vary_varies_once_it_was_seen_to() -> None:
    groove = learnt(NUMBERED % (7, b"one", b"a"), NUMBERED % (7, b"two", b"a"))
    assert known(groove, NUMBERED % (7, b"x", b"a")) == [b"x"]
    later = NUMBERED % (8, b"three", b"b")
    assert groove.texts(later) == ([], 0)
    groove.learn(frame(NUMBERED % (7, b"\\u0041", b"a")), deltas("A"))  # it is the text that is odd
    assert groove.texts(later) == ([], 0)
    groove.learn(frame(later), deltas("three"))
    assert known(groove, NUMBERED % (9, b"x", b"c") + NUMBERED % (7, b"y", b"a")) == [b"x", b"y"]
    assert groove.block == 0


def test_what_varies_may_be_nothing_else() -> None:
    groove = learnt(NUMBERED % (7, b"one", b"Ab"), NUMBERED % (8, b"two", b"c"))
    data = NUMBERED % (9, b"x", b"y")
    for other in (data.replace(b'9,"delta"', b'9 "delta"'), data.replace(b'"y"', b'"y!"')):
        assert groove.texts(other) == ([], 0)


@pytest.mark.parametrize(
    "number", [b"", b"0x10", b"17p", b"007", b"-1", b"1.5", b"1e9", b'"9"', b"9" * 19]
)
def test_a_number_that_varies_stays_a_number(number: bytes) -> None:
    groove = learnt(NUMBERED % (7, b"one", b"a"), NUMBERED % (8, b"two", b"b"))
    data = NUMBERED % (9, b"x", b"c")
    assert known(groove, data.replace(b"9", b"0")) == [b"x"]
    assert groove.texts(data.replace(b"9", number)) == ([], 0)


def test_of_a_number_with_a_fraction_nothing_varies() -> None:
    data = NUMBERED % (7, b"one", b"a")
    groove = learnt(data.replace(b"7", b"1.5"), data.replace(b"7", b"2.5"))
    assert groove.block == -1


def test_a_reply_that_may_be_cut_off_is_read_to_the_sequence() -> None:
    """Its texts are not carried past it."""
    frames = stream("openai_chat", ["a", "b", "c", "d STOP e", "f"])
    dialect, other = DIALECTS["openai_chat"], DIALECTS["anthropic_messages"]
    reading = StreamSource(dialect.stream_reader(Back()), dialect.FRAMING, MAX_FRAME)
    writer = other.stream_writer(Call("anthropic_messages", "m", stream=True), "id", 0)
    reply = TranslatePipe(reading, StreamSink(writer), stops=("STOP",))
    said = b"".join(part for data in frames for part in reply.feed(data))
    assert reply.broken
    assert said.count(b"text_delta") == 4
    assert b'"stop_sequence":"STOP"' in said
