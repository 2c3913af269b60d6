"""The frames of a byte stream: what is held of them, and when they are refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.wire.h2.events import Http2Error
from rawproxy.wire.h2.floods import EMPTIES
from rawproxy.wire.h2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_CONTINUATIONS,
    MAX_FRAME,
    PREFACE,
    SETTINGS,
    UNKNOWN,
    Frame,
    Guard,
    frame_header,
    write_frame,
    write_head,
)
from tests.wire.h2peer import GET, block, data, frame, get, padded, parts, post, setting, window


def begun(max_block: int = 1000) -> Guard:
    guard = Guard(max_block)
    assert [one.kind for one in guard.cut(setting())] == [SETTINGS]
    return guard


def code_of(guard: Guard, sent: bytes) -> int:
    with pytest.raises(Http2Error) as caught:
        list(guard.cut(sent))
    return caught.value.code


def test_a_frame() -> None:
    assert list(begun().cut(data(7, b"hello", end=True))) == [Frame(DATA, 1, 7, b"hello", 5)]


def test_padding_counts_and_is_taken_off() -> None:
    assert list(begun().cut(frame("DATA", 8, 7, padded(b"hello", 3)))) == [
        Frame(DATA, 8, 7, b"hello", 9)
    ]


def test_priority_is_taken_off() -> None:
    sent = frame("HEADERS", 0x24, 7, b"\x80\0\0\x05\x10" + b"block")
    assert list(begun().cut(sent)) == [Frame(HEADERS, 0x24, 7, b"block", 10, depends_on=5)]


def test_a_block_in_parts_is_one_frame() -> None:
    cut = list(begun().cut(b"".join(parts(7, GET, 3))))
    assert [(one.kind, one.stream, one.flags, one.payload) for one in cut] == [
        (HEADERS, 7, 1, block(GET))
    ]


@pytest.mark.parametrize("kind", [10, 0x10, 0xFF])
def test_all_unknown_kinds_are_one(kind: int) -> None:
    assert list(begun().cut(frame(kind, 3, 7, b"x"))) == [Frame(UNKNOWN, 3, 7, b"x", 1)]


def test_frames_are_written_as_they_are_read() -> None:
    sent = write_frame(DATA, 1, 7, b"x" * 300)
    assert sent == frame_header(DATA, 1, 7, 300) + b"x" * 300 == data(7, b"x" * 300, end=True)


@given(st.lists(st.integers(0, 400), max_size=20))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    sent = (
        PREFACE
        + setting()
        + post(1)
        + data(1, b"hello" * 20)
        + b"".join(parts(3, GET, 4))
        + window(0, 9)
    )
    whole = list(Guard(1000, PREFACE).cut(sent))
    guard = Guard(1000, PREFACE)
    bounds = [0, *sorted(cuts), len(sent)]
    pieces = [sent[start:end] for start, end in itertools.pairwise(bounds)]
    assert [one for piece in pieces for one in guard.cut(piece)] == whole
    assert len(whole) == 5


def test_a_frame_that_is_too_long_is_refused_by_its_header() -> None:
    assert code_of(begun(), data(1, bytes(16385))[:9]) == 6


@pytest.mark.parametrize(("size", "fits"), [(999, True), (1000, True), (1001, False)])
def test_the_bytes_of_a_block_in_one_frame(size: int, fits: bool) -> None:
    sent = frame("HEADERS", END_HEADERS, 1, bytes(size))
    if fits:
        assert len(list(begun(1000).cut(sent))) == 1
    else:
        assert code_of(begun(1000), sent[:9]) == 0xB


@pytest.mark.parametrize(("size", "fits"), [(599, True), (600, True), (601, False)])
def test_the_bytes_of_a_block_in_parts(size: int, fits: bool) -> None:
    guard = begun(1000)
    assert list(guard.cut(frame("HEADERS", 0, 1, bytes(400)))) == []
    last = frame("CONTINUATION", END_HEADERS, 1, bytes(size))
    if fits:
        assert [len(one.payload) for one in guard.cut(last)] == [400 + size]
        assert [len(one.payload) for one in guard.cut(frame("HEADERS", 4, 3, bytes(1000)))] == [
            1000
        ]
    else:
        assert code_of(guard, last[:9]) == 0xB


@pytest.mark.parametrize("many", [MAX_CONTINUATIONS - 1, MAX_CONTINUATIONS, MAX_CONTINUATIONS + 1])
def test_the_parts_of_a_block(many: int) -> None:
    middle = frame("CONTINUATION", 0, 1, b"x")
    sent = frame("HEADERS", 0, 1, b"x") + (many - 1) * middle + frame("CONTINUATION", 4, 1, b"x")
    if many <= MAX_CONTINUATIONS:
        assert [len(one.payload) for one in begun().cut(sent)] == [many + 1]
    else:
        assert code_of(begun(), sent) == 0xB


@pytest.mark.parametrize("many", [EMPTIES - 1, EMPTIES, EMPTIES + 1])
def test_empty_parts_of_a_block(many: int) -> None:
    sent = frame("HEADERS", 0, 1, b"x") + many * frame("CONTINUATION", 0, 1)
    guard = begun()
    if many <= EMPTIES:
        assert list(guard.cut(sent + frame("CONTINUATION", 0, 1, b"x"))) == []
        assert list(guard.cut((EMPTIES - 1) * frame("CONTINUATION", 0, 1))) == []
        assert len(list(guard.cut(frame("CONTINUATION", 4, 1)))) == 1
        assert list(guard.cut(sent)) == [], "the next block begins anew"
    else:
        assert code_of(guard, sent) == 0xB


def test_an_empty_head_is_an_empty_part() -> None:
    sent = frame("HEADERS", 0, 1) + EMPTIES * frame("CONTINUATION", 0, 1)
    assert code_of(begun(), sent) == 0xB


def test_padding_of_headers_is_not_of_the_block() -> None:
    sent = frame("HEADERS", 0x0C, 1, padded(b"block", 200))
    assert [one.payload for one in begun().cut(sent)] == [b"block"]


@pytest.mark.parametrize("size", [0, 1, 8, 9, 10, 16384 + 8])
def test_no_more_is_held_than_a_frame(size: int) -> None:
    guard = begun()
    sent = data(1, bytes(16384))[:size]
    assert list(guard.cut(sent)) == []
    assert (guard.unfinished is not None) is (size > 0)


def test_a_block_that_is_not_whole_is_partial() -> None:
    guard = begun()
    first, last = parts(1, GET, 1)
    assert list(guard.cut(first)) == []
    assert guard.unfinished is not None
    assert len(list(guard.cut(last))) == 1
    assert guard.unfinished is None


def test_what_is_not_whole_has_a_place() -> None:
    """So that a peer whose reads all end inside a frame is not taken for one that never ends one."""
    guard = begun()
    frame = data(1, b"x" * 100)
    seen = []
    for piece in (frame[:50], frame[50:] + frame[:50], frame[50:90], frame[90:]):
        list(guard.cut(piece))
        seen.append(guard.unfinished)
    assert seen[0] is not None
    assert seen[1] == seen[2] == seen[0] + 1
    assert seen[3] is None


def test_the_preface_comes_first() -> None:
    guard = Guard(1000, PREFACE)
    assert guard.unfinished is None
    for at in range(len(PREFACE)):
        assert list(guard.cut(PREFACE[at : at + 1])) == []
        assert (guard.unfinished is not None) is (at < len(PREFACE) - 1)
    assert len(list(guard.cut(setting() + get()))) == 2


@pytest.mark.parametrize("at", range(24))
def test_a_wrong_preface_is_refused_at_its_first_wrong_byte(at: int) -> None:
    guard = Guard(1000, PREFACE)
    assert list(guard.cut(PREFACE[:at])) == []
    assert code_of(guard, b"\xff") == 1


LENGTHS = [
    ("RST_STREAM", 0, 1, {4}), ("PING", 0, 0, {8}), ("PING", 1, 0, {8}), ("WINDOW_UPDATE", 0, 0, {4}),
    ("WINDOW_UPDATE", 0, 1, {4}), ("SETTINGS", 0, 0, {0, 6, 12}), ("SETTINGS", 1, 0, {0}),
    ("GOAWAY", 0, 0, set(range(8, 14))),
]  # fmt: skip


@pytest.mark.parametrize("size", range(14))
@pytest.mark.parametrize(("kind", "flags", "stream", "sizes"), LENGTHS)
def test_lengths(kind: str, flags: int, stream: int, sizes: set[int], size: int) -> None:
    sent = frame(kind, flags, stream, bytes(size))
    if size in sizes:
        assert len(list(begun().cut(sent))) == 1
    else:
        assert code_of(begun(), sent[:9]) == 6


@pytest.mark.parametrize("kind", range(11))
@pytest.mark.parametrize("stream", [0, 1])
def test_what_may_stand_inside_a_block(kind: int, stream: int) -> None:
    guard = begun()
    assert list(guard.cut(frame("HEADERS", 0, 1, b"x"))) == []
    sent = frame(kind, 4, stream, b"x")
    if kind == CONTINUATION and stream:
        assert len(list(guard.cut(sent))) == 1
    else:
        assert code_of(guard, sent[:9]) == 1


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize(
    ("size", "parts"),
    [(0, 1), (1, 1), (MAX_FRAME - 1, 1), (MAX_FRAME, 1), (MAX_FRAME + 1, 2), (2 * MAX_FRAME, 2),
     (2 * MAX_FRAME + 1, 3)],
)  # fmt: skip
def test_a_head_goes_out_in_frames(size: int, parts: int, end: bool) -> None:
    block = bytes(index % 251 for index in range(size))
    sent = write_head(5, block, end=end)
    (whole,) = begun(size).cut(sent)
    assert (whole.kind, whole.stream, whole.payload) == (HEADERS, 5, block)
    assert bool(whole.flags & END_STREAM) is end
    assert len(sent) == size + 9 * parts
