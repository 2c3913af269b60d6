"""rawproxy.dialects.openai_completions.reader: whatever servers send as completions."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.base import Back
from rawproxy.dialects.events import Close, Delta, End, Event, Fail, Open, Start, Stop, Usage
from rawproxy.dialects.openai_completions.reader import CompletionReader
from rawproxy.errors import UpstreamCut, UpstreamNonsense
from rawproxy.wire import sse
from rawproxy.wire.frame import PlainFrame
from tests.dialects.order import Order


def frame(data: object, name: bytes = b"") -> PlainFrame:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return PlainFrame(b"", name, text, has_data=True)


def choice(text: str | None = None, finish: str | None = None, **members: Any) -> dict[str, Any]:
    return {"choices": [{"text": text, "finish_reason": finish} | members]}


def read(*frames: object) -> list[Event]:
    reader = CompletionReader(Back())
    return [event for one in frames for event in reader.read(frame(one))]


def body(value: object) -> list[Event]:
    return CompletionReader(Back()).read_body(json.dumps(value).encode())


def test_a_stream_from_start_to_end() -> None:
    head = {"id": "cmpl-1", "model": "m", "created": 7.0}
    events = read(
        head | choice("a", index=0),
        head | choice("b", "stop", index=0.0),
        head | {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 1}},
        b"[DONE]",
    )
    assert events == [
        Start("cmpl-1", "m", 7), Open(0, "text"), Delta(0, "a"), Delta(0, "b"), Close(0),
        Stop("end", word="stop"), Usage(input=2, output=1), End(),
    ]  # fmt: skip


def test_choices_stand_beside_one_another() -> None:
    events = read(choice("a", index=1), choice("b", "length"), choice("c", "stop", index=1))
    assert events == [
        Start(), Open(0, "text", 1), Delta(0, "a"), Open(1, "text"), Delta(1, "b"), Close(1),
        Stop("length", word="length"), Delta(0, "c"), Close(0), Stop("end", 1, word="stop"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("members", "stop"),
    [
        ({"finish_reason": "content_filter"}, Stop("filter", word="content_filter")),
        ({"finish_reason": "eos_token"}, Stop("end", word="eos_token")),
        ({"finish_reason": "new"}, Stop("end", word="new")),
        ({"finish_reason": "stop", "stop_reason": 7}, Stop("end", word="stop")),
        (
            {"finish_reason": "stop", "stop_reason": "\n"},
            Stop("stop_sequence", 0, "\n", word="stop"),
        ),
        (
            {"finish_reason": "stop", "stop_sequence": "x"},
            Stop("stop_sequence", 0, "x", word="stop"),
        ),
        ({"finish_reason": "length", "stop_sequence": "x"}, Stop("length", word="length")),
    ],
)
def test_why_it_stopped(members: dict[str, object], stop: Stop) -> None:
    assert read({"choices": [members]}) == [Start(), stop]


@pytest.mark.parametrize(
    ("word", "kind"),
    [("error", "server"), ("abort", "server"), ("insufficient_system_resource", "overloaded")],
)
def test_a_reply_that_broke_off(word: str, kind: str) -> None:
    events = read(choice("a", word), choice("b"))
    assert isinstance(fail := events[-1], Fail)
    assert (fail.kind, len(events)) == (kind, 4)  # nothing is closed


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        ({"error": {"message": "no", "type": "server_error"}}, b"", "no"),
        ({"object": "error", "message": "no"}, b"", "no"),
        ({"message": "no"}, b"error", "no"),
    ],
)
def test_errors_in_a_stream(data: object, name: bytes, message: str) -> None:
    reader = CompletionReader(Back())
    assert reader.read(frame(data, name)) == [Fail("server", message)]
    assert reader.read(frame(choice("a"))) == []
    assert reader.read(frame(b"[DONE]")) == []
    assert reader.unknown == 1
    assert reader.close() == []


def test_probabilities_come_with_their_text() -> None:
    lists = {"tokens": ["a"], "token_logprobs": [-1]}
    tokens = b'{"content":[{"token":"a","logprob":-1,"bytes":null,"top_logprobs":[]}]}'
    assert read(choice("a", logprobs=lists))[2:] == [Delta(0, "a", Raw(tokens))]
    assert read(choice("", logprobs=lists))[2:] == [Delta(0, "", Raw(tokens))]


@pytest.mark.parametrize(
    ("frames", "unknown"),
    [
        ([b" ", b"7", {"choices": 7}], 2),
        ([choice("a", "stop"), choice("b"), choice("")], 1),
        ([{"choices": [], "id": ""}, {"choices": None}], 0),
    ],
)
def test_what_no_table_knows_is_counted(frames: list[object], unknown: int) -> None:
    reader = CompletionReader(Back())
    for one in frames:
        reader.read(frame(one))
    assert reader.unknown == unknown


@pytest.mark.parametrize("frames", [[b"oops"], [b"[DONE]"]])
def test_what_is_not_of_the_dialect_at_all(frames: list[object]) -> None:
    with pytest.raises(UpstreamNonsense):
        read(*frames)


def test_the_terminator_ends_what_did_not_stop() -> None:
    """One or the other is there in every whole stream."""
    assert read(choice("a"), b"[DONE]")[-2:] == [Stop("end"), End()]


def test_a_cut_reply_is_no_end() -> None:
    reader = CompletionReader(Back())
    reader.read(frame(choice("a")))
    with pytest.raises(UpstreamCut):
        reader.close()
    reader.read(frame(choice("", "stop")))
    assert reader.close() == [End()]


def test_a_body() -> None:
    both = [{"text": "a", "index": 0}, {"text": "b", "index": 1, "finish_reason": "length"}]
    assert body({"id": "i", "choices": both, "usage": {"prompt_tokens": 1}}) == [
        Start("i"), Open(0, "text"), Delta(0, "a"), Open(1, "text", 1), Delta(1, "b"), Close(1),
        Stop("length", 1, word="length"), Usage(input=1), Close(0), Stop("end"), End(),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value", [{"error": {"message": "no"}}, {"object": "error", "message": "no"}]
)
def test_an_error_for_a_body(value: object) -> None:
    assert body(value) == [Fail("server", "no")]


@pytest.mark.parametrize("value", [{}, [], {"choices": []}, {"choices": 7}])
def test_a_body_that_is_no_completion(value: object) -> None:
    with pytest.raises(UpstreamNonsense):
        body(value)


PIECES: list[object] = [
    choice("a"), choice("b", index=1), choice("", "stop"), choice(None, "length", index=1),
    {"usage": {"prompt_tokens": 3.0}}, {"error": {"message": "m"}}, b"[DONE]", b"null", b"",
    choice("c", logprobs={"tokens": ["c"]}), {"id": "x", "choices": None}, choice("d", "abort"),
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_any_order_of_frames_gives_events_in_order(frames: list[object]) -> None:
    reader, order = CompletionReader(Back()), Order()
    try:
        for one in frames:
            for event in reader.read(frame(one)):
                order.check(event)
        for event in reader.close():
            order.check(event)
    except (UpstreamNonsense, UpstreamCut):
        return
    assert order.over


def test_frames_as_they_come_off_the_wire() -> None:
    data = b': hello\n\ndata: {"choices":[{"text":"a","finish_reason":"stop"}]}\r\n\r\n'
    reader = CompletionReader(Back())
    events = [event for one in sse.Splitter().feed(data) for event in reader.read(one)]
    assert events[-1] == Stop("end", word="stop")
