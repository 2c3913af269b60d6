"""Streams are checked frame by frame; each violation names its frame, counted from 1."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.grammar import Violation, validate
from rawproxy.wire import sse
from rawproxy.wire.frame import MAX_FRAME

CHAT = (
    b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}\n\n'
    b": ping\n\n"
    b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\r\n\r\n'
    b"data: [DONE]\n\n"
)
MESSAGES = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message",'
    b'"role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,'
    b'"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"Hi"}}\n\n'
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn",'
    b'"stop_sequence":null},"usage":{"output_tokens":5}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
STREAMS = {"openai_chat": CHAT, "anthropic_messages": MESSAGES}


def broken(dialect: str, stream: bytes) -> list[tuple[int, str]]:
    return [(violation.frame, violation.rule) for violation in validate(dialect, stream)]


@pytest.mark.parametrize("dialect", STREAMS)
def test_a_stream_that_keeps_the_rules(dialect: str) -> None:
    assert list(validate(dialect, STREAMS[dialect])) == []


@pytest.mark.parametrize("dialect", STREAMS)
def test_a_stream_that_lacks_its_last_frame(dialect: str) -> None:
    frames = sse.Splitter().feed(STREAMS[dialect])
    cut = b"".join(frame.raw for frame in frames[:-1])
    (violation,) = validate(dialect, cut)
    assert violation.frame == len(frames)
    assert violation.what


@pytest.mark.parametrize("dialect", STREAMS)
def test_an_unfinished_last_frame(dialect: str) -> None:
    stream = STREAMS[dialect]
    frames = len(sse.Splitter().feed(stream))
    assert (frames, "framing") in broken(dialect, stream[:-2])
    # A line end too many opens no frame.
    assert broken(dialect, stream + b"\n") == []
    assert broken(dialect, stream + b"data: ") == [(frames + 1, "framing")]


@pytest.mark.parametrize("dialect", STREAMS)
def test_nothing_at_all_is_no_stream(dialect: str) -> None:
    assert {frame for frame, _ in broken(dialect, b"")} == {1}


@pytest.mark.parametrize("dialect", STREAMS)
def test_frames_are_counted_from_one_comments_included(dialect: str) -> None:
    assert (2, "json") in broken(dialect, b": ping\n\n" + b"data: {\n\n" + STREAMS[dialect])


def test_a_frame_that_is_too_long() -> None:
    (violation,) = validate("openai_chat", [b": ping\n\n", b"data: " + b"x" * MAX_FRAME])
    assert (violation.frame, violation.rule) == (2, "size")


@given(cuts=st.lists(st.integers(0, len(CHAT))))
def test_cuts_never_change_the_violations(cuts: list[int]) -> None:
    stream = b"data: {\r\n\r\n" + CHAT.replace(b"\n", b"\r\n")
    bounds = [0, *sorted(cuts), len(stream)]
    reads = [stream[start:end] for start, end in itertools.pairwise(bounds)]
    assert list(validate("openai_chat", reads)) == list(validate("openai_chat", stream))


def test_a_wrong_name_is_told_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match=r"must be one of: "):
        validate("openai", [])


def test_a_violation_reads_as_a_line() -> None:
    assert str(Violation(3, "order", "a frame: too early")) == "frame 3: order: a frame: too early"


def test_the_lf_of_a_torn_crlf_is_no_frame() -> None:
    stream = CHAT.replace(b"\n", b"\r\n")
    at = stream.index(b"\r\n\r\n") + 3
    assert list(validate("openai_chat", [stream[:at], stream[at:]])) == []
