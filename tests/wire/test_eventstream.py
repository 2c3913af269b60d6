"""AWS event streams: messages at every cut, every byte of them wrong, and botocore's word on them."""

import itertools
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from rawproxy.errors import FrameTooLong, WireError
from rawproxy.wire import eventstream
from rawproxy.wire.eventstream import (
    MAX_HEADERS,
    MAX_MESSAGE,
    EventFrame,
    Header,
    HeaderType,
    Splitter,
    alike,
    encode,
    mend,
    read_headers,
    read_tail,
    splitter,
    write,
    write_exception,
)
from rawproxy.wire.frame import Frame, Framing

FRAMING: Framing = eventstream
UUID = bytes(range(16))

# One header of each type, and its bytes by the words of the specification.
HEADERS: dict[HeaderType, tuple[bool | int | bytes, bytes]] = {
    HeaderType.TRUE: (True, b"\x01x\x00"),
    HeaderType.FALSE: (False, b"\x01x\x01"),
    HeaderType.BYTE: (-2, b"\x01x\x02\xfe"),
    HeaderType.SHORT: (258, b"\x01x\x03\x01\x02"),
    HeaderType.INT: (-2, b"\x01x\x04\xff\xff\xff\xfe"),
    HeaderType.LONG: (258, b"\x01x\x05\x00\x00\x00\x00\x00\x00\x01\x02"),
    HeaderType.BYTES: (b"\x00\xff", b"\x01x\x06\x00\x02\x00\xff"),
    HeaderType.STRING: ("\u00e9".encode(), b"\x01x\x07\x00\x02\xc3\xa9"),
    HeaderType.TIMESTAMP: (1, b"\x01x\x08\x00\x00\x00\x00\x00\x00\x00\x01"),
    HeaderType.UUID: (UUID, b"\x01x\x09" + UUID),
}
INTEGERS = {
    HeaderType.BYTE: 8, HeaderType.SHORT: 16, HeaderType.INT: 32, HeaderType.LONG: 64,
    HeaderType.TIMESTAMP: 64,
}  # fmt: skip


def text(name: bytes, value: bytes) -> Header:
    return Header(name, HeaderType.STRING, value)


ALL = [Header(b"h%d" % type_, type_, value) for type_, (value, _) in HEADERS.items()]
START = write(b'{"role":"assistant"}', name=b"messageStart")
DELTA = write('{"text":"h\u00e9"}'.encode(), name=b"contentBlockDelta")
EMPTY = encode([], b"")
THROTTLED = write_exception(b'{"message":"slow"}', b"throttlingException")
ERROR = encode(
    [text(b":message-type", b"error"), text(b":error-code", b"Oops"),
     text(b":error-message", '"\u00e9"'.encode())],
    b"",
)  # fmt: skip

# name -> (message, its kind, name and data, None where it has none)
MESSAGES: dict[str, tuple[bytes, bytes, bytes, bytes | None]] = {
    "event": (START, b"event", b"messageStart", b'{"role":"assistant"}'),
    "event without payload": (write(b"", name=b"end"), b"event", b"end", None),
    "event without a name": (write(b"{}"), b"event", b"", b"{}"),
    "nothing": (EMPTY, b"event", b"", None),
    "bytes without headers": (encode([], b"\x00"), b"event", b"", b"\x00"),
    "all headers": (encode(ALL, b"[]"), b"event", b"", b"[]"),
    "exception": (THROTTLED, b"exception", b"throttlingException", b'{"message":"slow"}'),
    "exception without payload": (
        write_exception(b"", b"internalServerException"), b"exception", b"internalServerException",
        b"{}",
    ),
    "exception without a name": (write_exception(b"{}", b""), b"exception", b"", b"{}"),
    "error": (ERROR, b"error", b"error", b'{"code":"Oops","message":"\\"\\u00e9\\""}'),
    "error without words": (
        encode([text(b":message-type", b"error"), text(b":error-code", b"\xff")], b"x"),
        b"error", b"error", b'{"code":"\\ufffd","message":""}',
    ),
    "a type nobody knows": (
        encode([text(b":message-type", b"new"), text(b":event-type", b"x")], b"{}"),
        b"new", b"x", b"{}",
    ),
    "a name that is no text": (
        encode([Header(b":event-type", HeaderType.INT, 7)], b"{}"), b"event", b"", b"{}",
    ),
}  # fmt: skip
CUTS = st.lists(st.integers(0, 700), max_size=10)


def pieces(stream: bytes, cuts: list[int]) -> Iterator[bytes]:
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    return (stream[start:end] for start, end in itertools.pairwise(bounds))


def every_cut(stream: bytes) -> list[list[int]]:
    return [[], list(range(len(stream))), *([cut] for cut in range(len(stream)))]


def split(stream: bytes, cuts: list[int]) -> tuple[list[EventFrame], bytes]:
    """Feed `stream` in pieces; check that no byte is lost; return the messages, and the tail."""
    splitter = Splitter()
    frames = [frame for data in pieces(stream, cuts) for frame in splitter.feed(data)]
    tail = splitter.close()
    assert b"".join(frame.raw for frame in frames) + tail == stream
    return [frame for frame in frames if isinstance(frame, EventFrame)], tail


def collect(stream: bytes, cuts: list[int], limit: int = MAX_MESSAGE) -> list[Frame]:
    """Split as a pass-through does: what cannot be read goes on in pieces."""
    splitter = Splitter(max_frame=limit)
    frames: list[Frame] = []
    for data in pieces(stream, cuts):
        try:
            frames += splitter.feed(data)
        except WireError:
            frames += splitter.skip()
    assert b"".join(frame.raw for frame in frames) + splitter.close() == stream
    assert not any(frame.has_data for frame in frames if not frame.whole)
    return frames


def checked(lengths: bytes, rest: bytes) -> bytes:
    """Return a message of these lengths with good checksums."""
    message = lengths + zlib.crc32(lengths).to_bytes(4) + rest
    return message + zlib.crc32(message).to_bytes(4)


def with_headers(block: bytes, payload: bytes = b"") -> bytes:
    total = 16 + len(block) + len(payload)
    return checked(total.to_bytes(4) + len(block).to_bytes(4), block + payload)


def broken(message: bytes, at: int = -1) -> bytes:
    changed = bytearray(message)
    changed[at] ^= 1
    return bytes(changed)


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("message", "kind", "name", "data"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_reads_the_same_at_every_cut(
    message: bytes, kind: bytes, name: bytes, data: bytes | None
) -> None:
    for cuts in every_cut(message + DELTA):
        [frame, last], tail = split(message + DELTA, cuts)
        assert (frame.raw, frame.kind, frame.name, frame.whole) == (message, kind, name, True)
        assert (frame.data, frame.has_data) == (data or b"", data is not None), cuts
        assert (last.name, tail) == (b"contentBlockDelta", b"")


@given(messages=st.lists(st.sampled_from([row[0] for row in MESSAGES.values()])), cuts=CUTS)
def test_cuts_never_change_a_stream(messages: list[bytes], cuts: list[int]) -> None:
    frames, tail = split(b"".join(messages), cuts)
    assert [frame.raw for frame in frames] == messages
    assert tail == b""


def test_a_frame_has_all_headers_of_its_message() -> None:
    [frame], _ = split(encode(ALL, b""), [])
    assert frame.headers == {header.name: header.value for header in ALL}


def test_a_large_message_in_small_reads_is_whole() -> None:
    message = write(b"x" * 2**17, name=b"x")
    frames, _ = split(message * 2, list(range(len(message))))
    assert [frame.raw for frame in frames] == [message, message]


def test_an_empty_read_changes_nothing() -> None:
    splitter = Splitter()
    assert splitter.feed(b"") == splitter.feed(DELTA[:-1]) == splitter.feed(b"") == []
    assert [frame.raw for frame in splitter.feed(DELTA[-1:])] == [DELTA]


@pytest.mark.parametrize("size", range(len(DELTA)))
def test_a_tail_is_no_frame(size: int) -> None:
    frames, tail = split(START + DELTA[:size], [])
    assert (len(frames), tail) == (1, DELTA[:size])
    assert read_tail(tail) is None
    assert mend(tail) == b""


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("type_", "value", "block"), [(t, v, b) for t, (v, b) in HEADERS.items()])
def test_every_type_of_header(type_: HeaderType, value: bool | int | bytes, block: bytes) -> None:
    header = Header(b"x", type_, value)
    assert read_headers(block) == [header]
    assert encode([header], b"")[12:-4] == block
    for size in range(1, len(block)):
        with pytest.raises(WireError, match="breaks off"):
            read_headers(block[:size])


@pytest.mark.parametrize(("type_", "bits"), INTEGERS.items())
def test_integers_fill_their_type_and_no_more(type_: HeaderType, bits: int) -> None:
    for value in (-(2 ** (bits - 1)), -1, 0, 2 ** (bits - 1) - 1):
        header = Header(b"x", type_, value)
        assert read_headers(encode([header], b"")[12:-4]) == [header]
    for value in (-(2 ** (bits - 1)) - 1, 2 ** (bits - 1)):
        with pytest.raises(ValueError, match="'x' has a value of more than"):
            encode([Header(b"x", type_, value)], b"")


@pytest.mark.parametrize("type_", [HeaderType.BYTES, HeaderType.STRING])
def test_a_value_has_32767_bytes_at_most(type_: HeaderType) -> None:
    longest = Header(b"n" * 255, type_, b"v" * 32767)
    assert read_headers(encode([longest], b"")[12:-4]) == [longest]
    with pytest.raises(ValueError, match="32768 bytes"):
        encode([Header(b"x", type_, b"v" * 32768)], b"")


@pytest.mark.parametrize("name", [b"", b"n" * 256])
def test_a_name_has_1_to_255_bytes(name: bytes) -> None:
    with pytest.raises(ValueError, match=f"name has {len(name)} bytes"):
        encode([text(name, b"")], b"")


@pytest.mark.parametrize("size", [15, 17])
def test_a_uuid_has_16_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes"):
        encode([Header(b"x", HeaderType.UUID, bytes(size))], b"")


@pytest.mark.parametrize(
    ("block", "message"),
    [(b"\x01x\x0a", "unknown type"), (b"\x01x\xff", "unknown type"), (b"\x05x", "breaks off"),
     (b"\x01x\x00\x01x\x01", "twice"), (b"\x01x\x07\x00\x05abc", "breaks off")],
)  # fmt: skip
def test_headers_that_cannot_be_read(block: bytes, message: str) -> None:
    with pytest.raises(WireError, match=message):
        read_headers(block)
    with pytest.raises(WireError, match=message):
        Splitter().feed(with_headers(block))


# --- messages that are broken ---------------------------------------------------------------------


@pytest.mark.parametrize("message", [START, THROTTLED, EMPTY], ids=["event", "exception", "empty"])
def test_no_byte_can_change_unseen(message: bytes) -> None:
    for at, bit in itertools.product(range(len(message)), range(8)):
        changed = bytearray(message)
        changed[at] ^= 1 << bit
        with pytest.raises(WireError):
            Splitter().feed(bytes(changed))
        assert [frame.whole for frame in collect(bytes(changed), [])] == [False]


@settings(max_examples=200)
@given(at=st.integers(0, len(START) - 1), bit=st.integers(0, 7), cuts=CUTS)
def test_what_is_broken_is_the_same_at_every_cut(at: int, bit: int, cuts: list[int]) -> None:
    changed = bytearray(START)
    changed[at] ^= 1 << bit
    stream = DELTA + bytes(changed) + DELTA
    # Behind a bad prelude nobody knows where a message begins.
    expected = [DELTA] if at < 12 else [DELTA, DELTA]
    assert [frame.raw for frame in collect(stream, cuts) if frame.whole] == expected


@pytest.mark.parametrize(
    "bad",
    [broken(START), broken(START, 20), with_headers(b"\x01x\x0a")],
    ids=["checksum", "header", "type"],
)
def test_a_bad_message_is_a_piece_and_the_next_one_a_frame(bad: bytes) -> None:
    splitter = Splitter()
    with pytest.raises(WireError) as raised:
        splitter.feed(DELTA + bad + bad + START + DELTA[:5])
    assert not isinstance(raised.value, FrameTooLong)
    with pytest.raises(WireError) as again:  # nobody has called skip
        splitter.feed(DELTA[5:])
    assert again.value is raised.value
    assert [(frame.raw, frame.whole) for frame in splitter.skip()] == [
        (DELTA, True),
        (bad, False),
        (bad, False),
        (START, True),
        (DELTA, True),
    ]
    assert splitter.skip() == []
    assert not splitter.mid_frame
    assert splitter.close() == b""


LENGTHS = {
    "checksum": broken(START, 11),
    "no room for the checksums": checked((15).to_bytes(4) + bytes(4), b""),
    "no room for the headers": checked((20).to_bytes(4) + (5).to_bytes(4), b"1234"),
    "too many headers": checked((2**20).to_bytes(4) + (MAX_HEADERS + 1).to_bytes(4), b""),
}


@pytest.mark.parametrize("bad", LENGTHS.values(), ids=LENGTHS)
def test_behind_a_bad_prelude_all_is_pieces(bad: bytes) -> None:
    splitter = Splitter()
    with pytest.raises(WireError, match=r"prelude does not match|lengths contradict"):
        splitter.feed(DELTA + bad[:12])
    first, piece = splitter.skip()
    assert (first.raw, first.whole, piece.raw, piece.whole) == (DELTA, True, bad[:12], False)
    for data in (bad[12:], DELTA):
        assert splitter.mid_frame
        assert [(frame.raw, frame.whole) for frame in splitter.feed(data)] == [(data, False)]
    assert splitter.feed(b"") == []
    assert splitter.close() == b""


def test_what_was_broken_is_given_back_at_close() -> None:
    splitter = Splitter()
    with pytest.raises(WireError):
        splitter.feed(broken(START) + DELTA)
    assert splitter.close() == broken(START) + DELTA


# --- messages that are too long -------------------------------------------------------------------

LIMIT = 150
LONG = encode([text(b":event-type", b"x")], b"y" * (LIMIT - 32 + 1))


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_limit_counts_all_bytes(over: int) -> None:
    message = encode([], b"x" * (LIMIT - 16 + over))
    for cuts in every_cut(message):
        assert all(frame.whole for frame in collect(message, cuts, LIMIT)) is (over <= 0), cuts


def test_a_long_message_is_known_by_its_prelude() -> None:
    splitter = Splitter(max_frame=LIMIT)
    assert splitter.feed(DELTA + LONG[:11])[0].raw == DELTA
    with pytest.raises(FrameTooLong, match="150 bytes"):
        splitter.feed(LONG[11:12])
    [piece] = splitter.skip()
    assert (piece.raw, piece.whole) == (LONG[:12], False)
    for data in (LONG[12:50], LONG[50:-1]):
        assert splitter.mid_frame
        assert [frame.raw for frame in splitter.feed(data)] == [data]
    piece, frame = splitter.feed(LONG[-1:] + DELTA)
    assert (piece.raw, piece.whole, frame.raw, frame.whole) == (LONG[-1:], False, DELTA, True)
    assert not splitter.mid_frame


def test_messages_around_those_that_are_too_long_are_frames() -> None:
    splitter = Splitter(max_frame=LIMIT)
    with pytest.raises(FrameTooLong):
        splitter.feed(DELTA + LONG + LONG + DELTA)
    assert [(frame.raw, frame.whole) for frame in splitter.skip()] == [
        (DELTA, True),
        (LONG, False),
        (LONG, False),
        (DELTA, True),
    ]


@given(
    parts=st.lists(st.sampled_from([DELTA, LONG, EMPTY, broken(DELTA), broken(LONG)]), max_size=5),
    cuts=CUTS,
)
def test_cuts_never_change_what_is_read_around_a_long_message(
    parts: list[bytes], cuts: list[int]
) -> None:
    frames = collect(b"".join(parts), cuts, LIMIT)
    good = [part for part in parts if part in (DELTA, EMPTY)]
    assert [frame.raw for frame in frames if frame.whole] == good


@pytest.mark.parametrize("over", [0, 1])
def test_no_message_is_longer_than_the_protocol_allows(over: int) -> None:
    prelude = (MAX_MESSAGE + over).to_bytes(4) + bytes(4)
    splitter = Splitter(max_frame=2 * MAX_MESSAGE)
    if over:
        with pytest.raises(FrameTooLong):
            splitter.feed(checked(prelude, b"")[:12])
    else:
        assert splitter.feed(checked(prelude, b"")[:12]) == []


# --- writing --------------------------------------------------------------------------------------


def test_the_bytes_of_a_message() -> None:
    # From the specification's own words, by hand: 16 bytes, and the checksums of them.
    assert EMPTY.hex(" ", 4) == "00000010 00000000 05c248eb 7d98c8ff"


def test_an_event_is_json() -> None:
    [frame], _ = split(START, [])
    assert frame.headers == {
        b":event-type": b"messageStart",
        b":content-type": b"application/json",
        b":message-type": b"event",
    }


@given(data=st.binary(max_size=60), name=st.binary(max_size=20))
def test_what_is_written_reads_back(data: bytes, name: bytes) -> None:
    [event, exception], _ = split(write(data, name=name) + write_exception(data, name), [])
    assert (event.kind, event.name, event.data) == (b"event", name, data)
    assert (exception.kind, exception.name) == (b"exception", name)
    assert exception.data == (data or b"{}")


def test_what_nobody_reads_is_not_written() -> None:
    assert len(encode([], bytes(MAX_MESSAGE - 16))) == MAX_MESSAGE
    with pytest.raises(FrameTooLong, match=f"{MAX_MESSAGE + 1} bytes"):
        encode([], bytes(MAX_MESSAGE - 15))
    most = [text(b"%d" % number, bytes(2**15 - 5)) for number in range(4)]
    assert len(encode(most, b"")) == 16 + MAX_HEADERS
    with pytest.raises(FrameTooLong, match=f"{MAX_HEADERS + 3} of them headers"):
        encode([*most, Header(b"x", HeaderType.TRUE, True)], b"")


def test_a_stream_is_its_messages() -> None:
    stream = FRAMING.OPEN + FRAMING.BETWEEN.join([START, DELTA]) + FRAMING.CLOSE
    assert [frame.raw for frame in splitter(1000).feed(stream)] == [START, DELTA]
    assert FRAMING.TYPE == b"application/vnd.amazon.eventstream"


# --- botocore, the reader that most clients have --------------------------------------------------

VALUES: dict[HeaderType, st.SearchStrategy[Any]] = {
    HeaderType.TRUE: st.just(True),
    HeaderType.FALSE: st.just(False),
    HeaderType.BYTES: st.binary(max_size=20),
    HeaderType.STRING: st.text(max_size=20).map(str.encode),
    HeaderType.UUID: st.binary(min_size=16, max_size=16),
    **{
        type_: st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        for type_, bits in INTEGERS.items()
    },
}
NAMES = st.text(min_size=1, max_size=20).map(str.encode)
SOME_HEADERS = st.lists(
    st.sampled_from(HeaderType).flatmap(
        lambda type_: st.builds(Header, NAMES, st.just(type_), VALUES[type_])
    ),
    max_size=6,
    unique_by=lambda header: header.name,
)


@given(messages=st.lists(st.tuples(SOME_HEADERS, st.binary(max_size=40)), max_size=3), cuts=CUTS)
def test_botocore_reads_what_is_written(
    messages: list[tuple[list[Header], bytes]], cuts: list[int]
) -> None:
    stream = b"".join(encode(headers, payload) for headers, payload in messages)
    buffer = EventStreamBuffer()
    read = []
    for data in pieces(stream, cuts):
        buffer.add_data(data)
        read += [(message.headers, message.payload) for message in buffer]
    assert read == [
        (
            {
                name.decode(): value.decode() if type_ is HeaderType.STRING else value  # type: ignore[union-attr]
                for name, type_, value in headers
            },
            payload,
        )
        for headers, payload in messages
    ]
    frames, _ = split(stream, cuts)
    assert [(frame.headers, frame.raw[-4 - len(payload) : -4]) for frame, (_, payload) in
            zip(frames, messages, strict=True)] == [
        ({name: value for name, _, value in headers}, payload) for headers, payload in messages
    ]  # fmt: skip


@settings(max_examples=300)
@given(at=st.integers(0, len(START) - 1), byte=st.integers(0, 255))
def test_botocore_reads_no_message_that_is_refused_here(at: int, byte: int) -> None:
    message = START[:at] + bytes([byte]) + START[at + 1 :]
    buffer = EventStreamBuffer()
    buffer.add_data(message)
    if message == START:
        assert json.loads(next(buffer).payload) == {"role": "assistant"}
        return
    with pytest.raises(ParserError):
        next(buffer)
    with pytest.raises(WireError):
        Splitter().feed(message)


def test_payloads_of_messages_that_are_framed_alike() -> None:
    like, other = write(b"{}", name=b"a"), write(b"{}", name=b"b")
    data = write(b"one", name=b"a") + write(b"", name=b"a")
    span = alike(like)
    found = span(data, 0)
    assert found is not None
    start, end, after = found
    assert (data[start:end], after) == (b"one", len(like) + 1)
    assert span(data, after) == (len(data) - 4, len(data) - 4, len(data))
    assert span(b"", 0) is span(data, len(data)) is span(data, 1) is None
    swollen = (len(like) + 8).to_bytes(4, "big") + like[4:]
    shorter = like[:4] + (1).to_bytes(4, "big") + like[8:]
    broken = [like[:-1] + b"\0", like[:-1], other, b"\0" * 40, swollen, shorter]
    assert [span(one, 0) for one in broken] == [None] * len(broken)
