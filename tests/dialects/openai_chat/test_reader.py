"""rawproxy.dialects.openai_chat.reader: chunks and bodies to events, whatever servers make of them."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.base import Back, ToolName
from rawproxy.dialects.envelope import Origin
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Sealed,
    Start,
    Stop,
    Usage,
)
from rawproxy.dialects.fold import Block, Reply, fold
from rawproxy.dialects.openai_chat.reader import ChunkReader
from rawproxy.errors import UpstreamCut, UpstreamNonsense
from rawproxy.wire import sse
from rawproxy.wire.frame import PlainFrame

BACK = Back(Origin("deepseek"), seed="x")


def delta(index: int = 0, finish: str | None = None, /, **members: object) -> dict[str, object]:
    return {"index": index, "delta": members, "finish_reason": finish}


def chunk(*choices: object, **members: object) -> bytes:
    return json.dumps({"id": "chatcmpl-1", "model": "m", "choices": choices} | members).encode()


def tool(
    index: int | None, call_id: str | None = None, name: str | None = None, arguments: object = None
) -> bytes:
    function = {"name": name, "arguments": arguments}
    return chunk(delta(tool_calls=[{"index": index, "id": call_id, "function": function}]))


STOP = chunk(delta(0, "stop"))
DONE = b"[DONE]"


def read(*data: bytes, back: Back = BACK, unknown: int = 0) -> list[Event]:
    reader = ChunkReader(back)
    events = [event for one in data for event in reader.read(PlainFrame(b"", data=one))]
    assert reader.unknown == unknown
    return [*events, *reader.close()]


def reply(*data: bytes, back: Back = BACK, unknown: int = 0) -> Reply:
    return fold(read(*data, back=back, unknown=unknown))


def calls(found: Reply, choice: int = 0) -> list[tuple[str | None, str | None, str]]:
    return [(b.opened.id, b.opened.name, b.text) for b in found.choice(choice).blocks("tool")]


def kinds(found: Reply) -> list[tuple[str, str]]:
    return [(b.opened.kind, b.text) for b in found.choice(0).items if isinstance(b, Block)]


def test_a_plain_stream() -> None:
    assert read(
        chunk(delta(role="assistant", content=""), created=5.0),
        chunk(delta(content="a")),
        STOP,
        chunk(usage={"prompt_tokens": 2, "completion_tokens": 1}, service_tier="flex"),
        DONE,
    ) == [
        Start("chatcmpl-1", "m", 5),
        Open(0, "text"),
        Delta(0, "a"),
        Close(0),
        Stop("end", word="stop"),
        Usage(input=2, output=1),
        End("flex"),
    ]


@pytest.mark.parametrize(
    ("word", "stop"),
    [
        ("stop", Stop("end", word="stop")),
        ("length", Stop("length", word="length")),
        ("content_filter", Stop("filter", word="content_filter")),
        ("tool_calls", Stop("end", word="tool_calls")),  # without any
        ("model_length", Stop("context", word="model_length")),
        ("eos", Stop("end", word="eos")),
    ],
)
def test_finish_reasons(word: str, stop: Stop) -> None:
    assert reply(chunk(delta(0, word, content="a")), DONE).choice(0).stop == stop


@pytest.mark.parametrize(
    ("word", "kind"), [("error", "server"), ("insufficient_system_resource", "overloaded")]
)
def test_finish_reasons_of_broken_replies(word: str, kind: str) -> None:
    *_, failed = read(chunk(delta(0, word, content="a")), DONE)
    assert isinstance(failed, Fail)
    assert failed.kind == kind


@pytest.mark.parametrize(
    ("members", "sequence"),
    [
        ({"stop_reason": "END"}, "END"),
        ({"stop_sequence": "END"}, "END"),
        ({"stop_reason": 128001}, None),
        ({"stop_reason": None}, None),
    ],
)
def test_the_stop_sequence_that_matched(members: dict[str, object], sequence: str | None) -> None:
    stop = reply(chunk(delta(0, "stop", content="a") | members), DONE).choice(0).stop
    assert stop is not None
    assert (stop.sequence, stop.reason) == (sequence, "stop_sequence" if sequence else "end")


def test_a_text_and_a_refusal_in_one_are_both_read() -> None:
    found = reply(chunk(delta(content="Well,", refusal="no.")), STOP, DONE)
    assert kinds(found) == [("text", "Well,"), ("refusal", "no.")]


def test_a_refusal() -> None:
    found = reply(chunk(delta(refusal="No")), chunk(delta(refusal=", sorry.")), STOP, DONE)
    assert kinds(found) == [("refusal", "No, sorry.")]
    assert found.choice(0).stop == Stop("refusal", detail="No, sorry.", word="stop")


TOOLS = {
    "in pieces": (
        (tool(0, "a", "f", ""), tool(0, None, None, '{"x"'), tool(0, None, None, ":1}")),
        [("a", "f", '{"x":1}')],
    ),
    "repeated id and name": ((tool(0, "a", "f", "{"), tool(0, "a", "f", "}")), [("a", "f", "{}")]),
    "a new id at a used index": (
        (tool(0, "a", "f", "{"), tool(0, "b", "f", "{}")),
        [("a", "f", "{"), ("b", "f", "{}")],
    ),
    "no ids, one index": (
        (tool(0, "", "f", "{}"), tool(0, "", "g", "{}")),
        [("call_x0", "f", "{}"), ("call_x1", "g", "{}")],
    ),
    "an id twice": (
        (tool(0, "a", "f", "{}"), tool(1, "a", "f", "{}")),
        [("a", "f", "{}"), ("call_x1", "f", "{}")],
    ),
    "a late name": ((tool(0, "a", None, "{"), tool(0, None, "f", "}")), [("a", "f", "{}")]),
    "gaps, and out of order": (
        (tool(3, "a", "f", "{}"), tool(1, "b", "g", "{}")),
        [("a", "f", "{}"), ("b", "g", "{}")],
    ),
    "interleaved": (
        (
            tool(0, "a", "f", "{"),
            tool(1, "b", "g", "{"),
            tool(0, None, None, "}"),
            tool(1, None, None, "}"),
        ),
        [("a", "f", "{}"), ("b", "g", "{}")],
    ),
    "an index in floats, or none": (
        (
            tool(None, "a", "f", "{"),
            chunk(delta(tool_calls=[{"index": 0.0, "function": {"arguments": "}"}}])),
        ),
        [("a", "f", "{}")],
    ),
    "arguments as an object": ((tool(0, "a", "f", {"x": 1.50}),), [("a", "f", '{"x":1.5}')]),
    "none at all": ((tool(0, "a", "f"),), [("a", "f", "")]),
    "the deprecated one": (
        (
            chunk(delta(function_call={"name": "f", "arguments": "{"})),
            chunk(delta(function_call={"arguments": "}"})),
        ),
        [("call_x0", "f", "{}")],
    ),
}


@pytest.mark.parametrize(("data", "expected"), TOOLS.values(), ids=TOOLS.keys())
def test_tool_calls(data: tuple[bytes, ...], expected: list[tuple[str, str, str]]) -> None:
    found = reply(*data, STOP, DONE)
    assert calls(found) == expected
    assert found.choice(0).stop == Stop("tools", word="stop")


def test_custom_tools_and_renamed_ones() -> None:
    custom = [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": "l"}}]
    more = [{"index": 0, "custom": {"input": "s"}}]
    back = Back(tools={"p_1": ToolName("patch", None, "freeform")}, ids={"b": "long"})
    found = reply(
        chunk(delta(tool_calls=custom)),
        chunk(delta(tool_calls=more)),
        tool(1, "b", "p_1", '{"input":"x\\ny"}'),
        STOP,
        DONE,
        back=back,
    )
    assert calls(found) == [("a", "sh", "ls"), ("long", "patch", "x\ny")]
    assert [block.opened.tool for block in found.choice(0).blocks("tool")] == ["freeform"] * 2


def test_a_forced_tool_is_the_text() -> None:
    back = Back(forced_tool="json")
    assert kinds(reply(tool(0, "a", "json", "{}"), STOP, DONE, back=back)) == [("text", "{}")]


def test_calls_that_make_no_sense_are_counted() -> None:
    nameless = reply(tool(0, "a", None, "{}"), STOP, DONE, unknown=1)
    assert calls(nameless) == []
    late = reply(
        tool(0, "a", "f", "{}"),
        tool(1, "b", "g", "{}"),
        tool(0, None, None, "}"),
        STOP,
        DONE,
        unknown=1,
    )
    assert calls(late) == [("a", "f", "{}"), ("b", "g", "{}")]


def seals(found: Reply) -> list[object]:
    return [
        (block.text, block.seal.form, json.loads(block.seal.raw))
        for block in found.choice(0).blocks("thinking")
        if block.seal
    ]


THOUGHTS = {
    "plain text": (
        (delta(reasoning_content="a"), delta(reasoning_content="b"), delta(content="c")),
        [("ab", "reasoning_content", {})],
    ),
    "both spellings: the first wins": (
        (delta(reasoning_content="a", reasoning="a"),),
        [("a", "reasoning_content", {})],
    ),
    "details and the same as text": (
        (
            delta(
                reasoning="a",
                reasoning_details=[{"type": "reasoning.text", "text": "a", "index": 0}],
            ),
            delta(
                reasoning="b",
                reasoning_details=[{"type": "reasoning.text", "text": "b", "index": 0}],
            ),
            delta(reasoning_details=[{"type": "reasoning.text", "signature": "s", "index": 0}]),
            delta(content="c"),
        ),
        [("ab", "reasoning_details", {"type": "reasoning.text", "signature": "s", "index": 0})],
    ),
    "details without anything to seal": (
        (
            delta(reasoning_details=[{"type": "reasoning.text", "text": "a", "index": 0}]),
            delta(refusal="c"),
        ),
        [("a", "reasoning_content", {})],
    ),
    "nothing in them": ((delta(reasoning_details=[{"type": "reasoning.text", "index": 0}]),), []),
    "a summary, then encrypted": (
        (
            delta(
                reasoning_details=[
                    {"type": "reasoning.summary", "summary": "a", "id": "r", "index": 0}
                ]
            ),
            delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "d", "index": 1}]),
            delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f"}}]),
        ),
        [
            ("a", "reasoning_details", {"type": "reasoning.summary", "id": "r", "index": 0}),
            ("", "reasoning_details", {"type": "reasoning.encrypted", "data": "d", "index": 1}),
        ],
    ),
    "encrypted beside text": (
        (delta(reasoning="a", reasoning_details=[{"type": "reasoning.encrypted", "data": "d"}]),),
        [
            ("", "reasoning_details", {"type": "reasoning.encrypted", "data": "d"}),
            ("a", "reasoning_content", {}),
        ],
    ),
    "blocks of LiteLLM": (
        (
            delta(
                reasoning_content="a",
                thinking_blocks=[{"type": "thinking", "thinking": "a", "signature": "s"}],
            ),
        ),
        [("a", "thinking", {"type": "thinking", "signature": "s"})],
    ),
}


@pytest.mark.parametrize(("deltas", "expected"), THOUGHTS.values(), ids=THOUGHTS.keys())
def test_reasoning(deltas: tuple[object, ...], expected: list[object]) -> None:
    found = reply(*(chunk(one) for one in deltas), STOP, DONE)
    assert seals(found) == expected
    for block in found.choice(0).blocks("thinking"):
        assert block.seal is not None
        assert block.seal.origin == BACK.origin
        assert block.seal.covers(block.text)


def test_reasoning_between_the_words() -> None:
    events = read(
        chunk(delta(reasoning_content="a")),
        chunk(delta(content="b")),
        chunk(delta(reasoning_content="c")),
        STOP,
        DONE,
    )
    assert [type(event).__name__ for event in events] == [
        "Start", "Open", "Delta", "Sealed", "Close", "Open", "Delta", "Close",
        "Open", "Delta", "Sealed", "Close", "Stop", "End",
    ]  # fmt: skip
    assert [event.block for event in events if isinstance(event, Sealed)] == [0, 2]


def test_content_in_parts() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "a"}]},
        {"type": "text", "text": "b"},
        {"type": "reference"},
    ]
    found = reply(chunk(delta(content=parts)), STOP, DONE, unknown=1)
    assert kinds(found) == [("thinking", "a"), ("text", "b")]


def test_log_probabilities_stay_as_they_are() -> None:
    first, second = b'{"content": [{"token": "a"}]}', b'{"content":[],"refusal":null}'
    data = b'{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":%s}]}' % first
    empty = b'{"choices":[{"index":0,"delta":{"content":""},"logprobs":%s}]}' % second
    events = read(empty, data, empty, STOP, DONE)
    deltas = [event for event in events if isinstance(event, Delta)]
    assert [(one.text, bytes(one.logprobs)) for one in deltas] == [("a", first), ("", second)]


def test_annotations() -> None:
    cited = {"url": "https://example.com", "title": "T", "start_index": 1, "end_index": 2}
    note = {"type": "url_citation", "url_citation": cited}
    events = read(chunk(delta(content="ab")), chunk(delta(annotations=[note])), STOP, DONE)
    (found,) = [event for event in events if isinstance(event, Note)]
    assert (found.block, found.url, found.title, found.start, found.end) == (
        0,
        "https://example.com",
        "T",
        1,
        2,
    )
    assert json.loads(bytes(found.raw)) == note


@pytest.mark.parametrize(
    "one",
    [
        delta(annotations=[{"type": "url_citation", "url_citation": {}}]),  # before any text
        delta(content="a", annotations=[{"type": "file_citation"}]),
        delta(content="a", audio={"id": "x"}),
    ],
)
def test_what_no_event_can_say_is_counted(one: object) -> None:
    assert reply(chunk(one), STOP, DONE, unknown=1).choice(0).stop is not None


def test_several_choices_each_with_its_own_end() -> None:
    found = reply(
        chunk(delta(0, content="a"), delta(1, content="x")),
        chunk(delta(1, "length", content="y")),
        chunk(delta(0, "stop", content="b")),
        DONE,
    )
    assert [found.choice(one).text("text") for one in (0, 1)] == ["ab", "xy"]
    stops = [found.choice(one).stop for one in (0, 1)]
    assert stops == [Stop("end", word="stop"), Stop("length", 1, word="length")]


def test_azure_s_first_chunk_is_not_the_start() -> None:
    azure = b'{"id":"","model":"","created":0,"choices":[],"prompt_filter_results":[{}]}'
    assert read(azure, chunk(delta(content="a"), created=7), STOP, DONE)[0] == Start(
        "chatcmpl-1", "m", 7
    )


@pytest.mark.parametrize(
    "data",
    [
        (chunk(delta(0, "stop", content="a") | {"usage": {"prompt_tokens": 4}}), DONE),
        (
            chunk(delta(content="a"), usage={"prompt_tokens": 1}),
            chunk(delta(0, "stop"), usage={"prompt_tokens": 4}),
            DONE,
        ),
        (
            chunk(delta(0, "stop", content="a")),
            chunk(usage={"prompt_tokens": 4}),
            chunk(usage=None),
            DONE,
        ),
    ],
)
def test_usage_in_odd_places(data: tuple[bytes, ...]) -> None:
    assert reply(*data).usage == Usage(input=4)


BROKEN = {
    "no finish_reason": (chunk(delta(content="a")), DONE),
    "finish_reason twice": (chunk(delta(content="a")), STOP, STOP, DONE),
    "several documents in a line": (chunk(delta(content="a")) + STOP + b" " + DONE,),
    "a line for each": (chunk(delta(content="a")) + b"\n" + STOP, DONE),
    "no [DONE]": (chunk(delta(content="a")), STOP),
    "[DONE] twice": (chunk(delta(content="a")), STOP, DONE, DONE),
    "the role again and again": (
        chunk(delta(role="assistant", content="a")),
        chunk(delta(0, "stop", role="assistant")),
        DONE,
    ),
    "no index, no delta": (
        b'{"choices":[{"delta":{"content":"a"}}]}',
        b'{"choices":[{"finish_reason":"stop"}]}',
        DONE,
    ),
    "empty data": (b"", chunk(delta(content="a")), STOP, DONE),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_streams_that_can_be_repaired(data: tuple[bytes, ...]) -> None:
    found = reply(*data)
    assert (kinds(found), len(found.choices)) == ([("text", "a")], 1)


@pytest.mark.parametrize(
    "data",
    [
        (chunk(delta(content="a")), b'["x"]', STOP, DONE),
        (chunk(delta(content="a")), b'{"choices":5}', STOP, DONE),
        (chunk(delta(content="a")), STOP, chunk(delta(content="late")), DONE),
        (chunk(delta(content="a")), STOP, DONE, chunk(delta(content="later"))),
    ],
)
def test_frames_that_nobody_knows_are_counted(data: tuple[bytes, ...]) -> None:
    assert kinds(reply(*data, unknown=1)) == [("text", "a")]


@pytest.mark.parametrize("data", [b"oops", b"{", b"[DONE]", b'{"choices":[]}x', b"[" * 100_000])
def test_what_is_not_of_the_dialect_at_all(data: bytes) -> None:
    with pytest.raises(UpstreamNonsense):
        read(data)


def test_the_end_of_bytes_before_the_end() -> None:
    with pytest.raises(UpstreamCut):
        read(chunk(delta(content="a")))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"", b'{"error":{"message":"m","type":"server_error"}}'),
        (b"", b'{"error":"m"}'),
        (b"", b'{"object":"error","message":"m"}'),
        (b"error", b'{"message":"m"}'),
        (b"error", b'{"error":{"message":"m"}}'),
    ],
)
def test_errors_in_the_stream(name: bytes, data: bytes) -> None:
    reader = ChunkReader(BACK)
    reader.read(PlainFrame(b"", data=chunk(delta(content="a"))))
    assert reader.read(PlainFrame(b"", name=name, data=data)) == [Fail("server", "m")]
    assert reader.close() == []


def test_a_body_reads_like_a_stream() -> None:
    message = {
        "role": "assistant", "content": "b", "reasoning_content": "a", "annotations": [],
        "tool_calls": [
            {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "y", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }  # fmt: skip
    body = chunk(
        {"index": 0, "message": message, "finish_reason": "tool_calls"}, usage={"prompt_tokens": 1}
    )
    found = fold(ChunkReader(BACK).read_body(body))
    assert kinds(found) == [("thinking", "a"), ("text", "b"), ("tool", "{}"), ("tool", "{}")]
    assert found.usage == Usage(input=1)
    assert found.choice(0).stop == Stop("tools", word="tool_calls")


def test_a_body_is_whole_without_finish_reason() -> None:
    events = ChunkReader(BACK).read_body(b'{"choices":[{"message":{"content":"a"}}]}')
    assert events[-2:] == [Stop("end"), End()]


@pytest.mark.parametrize(
    "body", [b'{"error":{"message":"m"}}', b'{"object":"error","message":"m"}']
)
def test_a_body_that_is_an_error(body: bytes) -> None:
    assert ChunkReader(BACK).read_body(body) == [Fail("server", "m")]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"choices":[]}'])
def test_a_body_that_is_no_answer(body: bytes) -> None:
    with pytest.raises(UpstreamNonsense):
        ChunkReader(BACK).read_body(body)


@given(st.lists(st.text(max_size=3), max_size=12), st.lists(st.integers(0, 200), max_size=6))
def test_cuts_never_change_the_meaning(texts: list[str], cuts: list[int]) -> None:
    data = [chunk(delta(content=text)) for text in texts]
    stream = b"".join(sse.write(one) for one in [*data, STOP, DONE])
    splitter, reader = sse.Splitter(), ChunkReader(BACK)
    events: list[Event] = []
    bounds = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    for start, end in itertools.pairwise(bounds):
        for frame in splitter.feed(stream[start:end]):
            events += reader.read(frame)
    assert fold(events).choice(0).text("text") == "".join(texts)
    assert events == read(*data, STOP, DONE)
