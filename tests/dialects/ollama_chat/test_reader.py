"""rawproxy.dialects.ollama_chat.reader: lines and bodies, in every shape that servers send."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.base import Back, ToolName
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
from rawproxy.dialects.ollama_chat.reader import LineReader
from rawproxy.errors import UpstreamCut, UpstreamNonsense
from rawproxy.wire import ndjson
from rawproxy.wire.frame import PlainFrame
from tests.dialects.order import Order

SEEDED = Back(seed="s")
START = Start(None, "m", 1767225600)
DONE: dict[str, Any] = {"done": True, "done_reason": "stop"}
ENDED: list[Event] = [Stop("end", word="stop"), End()]


def line(message: Any = None, **members: Any) -> bytes:
    head = {"model": "m", "created_at": "2026-01-01T00:00:00.5Z", "done": False}
    said = {} if message is None else {"message": message}
    return json.dumps(head | said | members).encode() + b"\n"


def read(*lines: bytes, back: Back = SEEDED) -> tuple[list[Event], LineReader]:
    reader, order = LineReader(back), Order()
    frames = ndjson.splitter(9999).feed(b"".join(lines))
    events = [event for frame in frames for event in reader.read(frame)]
    events += reader.close()
    for event in events:
        order.check(event)
    return events, reader


def events(*lines: bytes, back: Back = SEEDED) -> list[Event]:
    return read(*lines, back=back)[0]


def call(name: str | None = "f", arguments: object = {}, **more: Any) -> Any:
    return more | {"function": {"name": name, "arguments": arguments, "index": 0}}


def test_thinking_and_text() -> None:
    said = events(
        line({"role": "assistant", "content": "", "thinking": "H"}), b"\n",
        line({"thinking": "m."}), line({"content": "a"}), line({"content": "b"}),
        line({"content": ""}, **DONE, prompt_eval_count=3, eval_count=2.0, total_duration=1),
    )  # fmt: skip
    assert said == [
        START, Open(0, "thinking"), Delta(0, "H"), Delta(0, "m."), Close(0), Open(1, "text"),
        Delta(1, "a"), Delta(1, "b"), Close(1), Stop("end", word="stop"), Usage(3, 2), End(),
    ]  # fmt: skip


def test_tool_calls_come_whole() -> None:
    said = events(
        line({"content": "a", "tool_calls": [call(arguments={"x": 1}), call("g", id="c")]}),
        line({"tool_calls": [call("h", '{"y": 2}'), call("i", None)]}, **DONE),
    )
    assert said[:4] == [START, Open(0, "text"), Delta(0, "a"), Close(0)]
    assert said[4:] == [
        Open(1, "tool", id="call_s1", name="f"), Delta(1, '{"x": 1}'), Close(1),
        Open(2, "tool", id="c", name="g"), Delta(2, "{}"), Close(2),
        Open(3, "tool", id="call_s3", name="h"), Delta(3, '{"y": 2}'), Close(3),
        Open(4, "tool", id="call_s4", name="i"), Delta(4, "{}"), Close(4),
        Stop("tools", word="stop"), End(),
    ]  # fmt: skip


def test_names_and_kinds_are_the_client_s() -> None:
    back = Back(tools={"ns__f": ToolName("f", "ns"), "g": ToolName("g", kind="freeform")}, seed="s")
    calls = [call("ns__f"), call("g", {"input": "a\nb"})]
    said = events(line({"tool_calls": calls}, **DONE), back=back)
    assert Open(0, "tool", id="call_s0", name="f", namespace="ns") in said
    assert Delta(1, "a\nb") in said


@pytest.mark.parametrize(
    ("word", "stop"),
    [
        ("stop", Stop("end", word="stop")),
        ("length", Stop("length", word="length")),
        ("load", Stop("end", word="load")),
        ("unload", Stop("end", word="unload")),
        ("new", Stop("end", word="new")),
        (None, Stop("end")),
    ],
)
def test_reasons(word: str | None, stop: Stop) -> None:
    assert events(line({"content": ""}, done=True, done_reason=word)) == [START, stop, End()]


def test_generate() -> None:
    said = events(
        line(response="", thinking="Hm."), line(response="a"),
        line(response="", done=True, done_reason="stop", context=[1]),
    )  # fmt: skip
    assert [event.text for event in said if isinstance(event, Delta)] == ["Hm.", "a"]
    assert said[-2:] == ENDED


def test_logprobs_belong_to_the_text() -> None:
    said = events(
        line({"thinking": "H"}, logprobs=[{"token": "H"}]),
        line({"content": "a"}, logprobs=[{"token": "a"}]),
        line({"content": "b"}, logprobs={"odd": 1}),
        line({"content": ""}, logprobs=[], **DONE),
    )
    assert [event.logprobs for event in said if isinstance(event, Delta)] == [
        Raw(), Raw(b'{"content":[{"token": "a"}]}'), Raw(),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("2026-01-01T00:00:00.123456789Z", 1767225600),
        ("2026-01-01T02:00:00+02:00", 1767225600),
        ("2026-01-01T00:00:00", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_times(time: str | None, seconds: int | None) -> None:
    assert events(line({"content": ""}, created_at=time, **DONE))[0] == Start(None, "m", seconds)


@pytest.mark.parametrize(
    ("error", "fail"),
    [
        ("boom", Fail("server", "boom")),
        ("model 'x' not found", Fail("not_found", "model 'x' not found")),
        ({"message": "m"}, Fail("server", "m")),
    ],
)
def test_an_error_ends_the_reply_and_closes_nothing(error: object, fail: Fail) -> None:
    failed = json.dumps({"error": error}).encode() + b"\n"
    said, reader = read(line({"content": "a"}), failed, line({"content": "b"}), failed)
    assert said == [START, Open(0, "text"), Delta(0, "a"), fail]
    assert reader.unknown == 1
    assert events(failed) == [fail]


@pytest.mark.parametrize(
    ("odd", "unknown"),
    [
        (b"{}\n", 1),
        (b'{"status":"pulling"}\n', 1),
        (b'{"error":null}\n', 1),
        (b'{"message":"a"}\n', 2),
        (b'{"message":{"content":1,"thinking":2,"tool_calls":{}},"model":7,"x":1}\n', 5),
        (b'{"message":{"tool_calls":[1,{},{"function":{}},{"function":{"name":1}}]}}\n', 4),
        (line({"content": "late"}, **DONE), 1),
    ],
)
def test_what_is_odd_is_counted(odd: bytes, unknown: int) -> None:
    first = line({"content": "a"})
    last = line({"content": ""}, **DONE)
    lines = [first, last, odd] if b"late" in odd else [first, odd, last]
    said, reader = read(*lines)
    assert said == [START, Open(0, "text"), Delta(0, "a"), Close(0), *ENDED]
    assert reader.unknown == unknown


@pytest.mark.parametrize("count", ["many", -1, 1e300, None, [1]])
def test_a_count_that_is_none(count: object) -> None:
    assert events(line({"content": ""}, **DONE, eval_count=count)) == [START, *ENDED]


@pytest.mark.parametrize("data", [b"words", b"[1]", b'"a"', b"3"])
def test_what_is_no_object_is_nonsense(data: bytes) -> None:
    with pytest.raises(UpstreamNonsense):
        LineReader(Back()).read(PlainFrame(data, data=data, has_data=True))


@pytest.mark.parametrize("lines", [[], [line({"content": "a"})]])
def test_a_reply_that_is_not_done_is_cut(lines: list[bytes]) -> None:
    with pytest.raises(UpstreamCut):
        read(*lines)


def test_a_reader_that_sees_the_last_line_only() -> None:
    last = line({"content": ""}, **DONE, eval_count=2)
    assert events(last, back=Back(partial=True)) == [
        START, Stop("end", word="stop"), Usage(output=2), End(),
    ]  # fmt: skip


def test_a_body_is_done_whether_it_says_so_or_not() -> None:
    body = line({"content": "a"})
    whole: list[Event] = [START, Open(0, "text"), Delta(0, "a"), Close(0), Stop("end"), End()]
    assert LineReader(SEEDED).read_body(body) == whole
    assert LineReader(SEEDED).read_body(line(response="a")) == whole
    assert LineReader(SEEDED).read_body(b'{"error":"m"}') == [Fail("server", "m")]
    assert LineReader(SEEDED).read_body(b'{"done":true}') == [Start(), Stop("end"), End()]


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b'{"choices":[]}'])
def test_a_body_of_another_api_is_nonsense(body: bytes) -> None:
    with pytest.raises(UpstreamNonsense):
        LineReader(Back()).read_body(body)


STREAM = b"".join(
    [line({"thinking": "H\u00e4"}), line({"content": "\u2028a"}), line({"tool_calls": [call()]}),
     line({"content": ""}, **DONE)]
)  # fmt: skip


@given(cuts=st.lists(st.integers(0, len(STREAM))))
def test_cuts_never_change_the_meaning(cuts: list[int]) -> None:
    bounds = sorted({0, len(STREAM), *cuts})
    splitter, reader = ndjson.splitter(9999), LineReader(SEEDED)
    reads = [STREAM[start:end] for start, end in itertools.pairwise(bounds)]
    frames = [frame for data in reads for frame in splitter.feed(data)]
    said = [event for frame in frames for event in reader.read(frame)] + reader.close()
    assert said == events(STREAM)
