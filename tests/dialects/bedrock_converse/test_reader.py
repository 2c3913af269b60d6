"""rawproxy.dialects.bedrock_converse.reader: streams and bodies, whatever servers make of them."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.base import Back, ToolName
from rawproxy.dialects.bedrock_converse.reader import ReplyReader
from rawproxy.dialects.envelope import Origin, seal
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
    Whole,
)
from rawproxy.dialects.fold import Block, fold
from rawproxy.errors import UpstreamCut, UpstreamNonsense
from rawproxy.wire import eventstream
from rawproxy.wire.frame import PlainFrame
from tests.dialects.order import Order

ORIGIN = Origin("anthropic")
BACK = Back(ORIGIN, seed="x")

Message = tuple[str, object]

START: Message = ("messageStart", {"role": "assistant", "p": "abc"})
COUNTS = {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7}
METADATA: Message = ("metadata", {"usage": COUNTS, "metrics": {"latencyMs": 1}})


def begin(index: int, start: object) -> Message:
    return "contentBlockStart", {"contentBlockIndex": index, "start": start}


def delta(index: object, **delta: object) -> Message:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": delta}


def end(index: int) -> Message:
    return "contentBlockStop", {"contentBlockIndex": index}


def stop(word: object = "end_turn", fields: object = None) -> Message:
    return "messageStop", {"stopReason": word, "additionalModelResponseFields": fields}


def tool(index: int, *pieces: str, tool_id: str | None = "t", name: str = "f") -> list[Message]:
    return [
        begin(index, {"toolUse": {"toolUseId": tool_id, "name": name}}),
        *(delta(index, toolUse={"input": piece}) for piece in pieces),
    ]


DONE = [stop(), METADATA]


def wire(*messages: Message) -> bytes:
    return b"".join(
        eventstream.write(json.dumps(data).encode(), name=name.encode()) for name, data in messages
    )


def read(*messages: Message, back: Back = BACK, unknown: int = 0) -> list[Event]:
    reader = ReplyReader(back)
    frames = eventstream.Splitter().feed(wire(*messages))
    events = [event for frame in frames for event in reader.read(frame)]
    events += reader.close()
    order = Order()
    for event in events:
        order.check(event)
    assert order.over
    assert reader.unknown == unknown
    return events


def blocks(*messages: Message, unknown: int = 0, back: Back = BACK) -> list[tuple[str, str]]:
    """Kind and text of each block."""
    events = read(START, *messages, *DONE, unknown=unknown, back=back)
    items = fold(events).choice(0).items
    return [
        (item.opened.kind, item.text) if isinstance(item, Block) else (item.shows, bytes(item.raw).decode())
        for item in items
    ]  # fmt: skip


def whole(content: object, unknown: int = 0, **members: object) -> list[Event]:
    reader = ReplyReader(BACK)
    said = {"output": {"message": {"role": "assistant", "content": content}}} | members
    events = reader.read_body(json.dumps(said).encode())
    order = Order()
    for event in events:
        order.check(event)
    assert reader.unknown == unknown
    return events


def test_a_plain_stream() -> None:
    assert read(START, delta(0, text="a"), delta(0, text="b"), end(0), *DONE) == [
        Start(), Open(0, "text"), Delta(0, "a"), Delta(0, "b"), Close(0),
        Stop("end", word="end_turn"), Usage(input=5, output=2), End(),
    ]  # fmt: skip


def test_thinking_and_its_signature() -> None:
    native = '{"type":"thinking","signature":"sig"}'
    assert read(
        START, delta(0, reasoningContent={"text": "H"}), delta(0, reasoningContent={"text": "m"}),
        delta(0, reasoningContent={"signature": "s"}), delta(0, reasoningContent={"signature": "ig"}),
        end(0), *DONE,
    )[1:6] == [
        Open(0, "thinking"), Delta(0, "H"), Delta(0, "m"),
        Sealed(0, seal(ORIGIN, "thinking", native, ["Hm"])), Close(0),
    ]  # fmt: skip


def test_a_signature_without_text_is_a_block_of_its_own() -> None:
    events = read(START, delta(0, reasoningContent={"signature": "s"}), end(0), *DONE)
    native = '{"type":"thinking","signature":"s"}'
    assert events[1:4] == [
        Open(0, "thinking"), Sealed(0, seal(ORIGIN, "thinking", native, [""])), Close(0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pieces", "data"),
    [
        (["YQ=="], "YQ=="),
        (["YQ==", "Yg=="], base64.b64encode(b"ab").decode()),
        (["?", "Yg=="], "?Yg=="),
    ],
)
def test_encrypted_thinking(pieces: list[str], data: str) -> None:
    deltas = [delta(0, reasoningContent={"redactedContent": piece}) for piece in pieces]
    native = json.dumps({"redactedContent": data}, separators=(",", ":"))
    assert read(START, *deltas, end(0), *DONE)[2] == Sealed(
        0, seal(ORIGIN, "redactedContent", native)
    )


def test_thinking_that_is_signed_and_encrypted_is_two_blocks() -> None:
    said = {"text": "a", "signature": "s", "redactedContent": "YQ=="}
    events = read(START, delta(0, reasoningContent=said), end(0), *DONE)
    assert [event.seal.form for event in events if isinstance(event, Sealed)] == [
        "thinking",
        "redactedContent",
    ]


def test_tools() -> None:
    messages = [*tool(0, '{"a"', ":1}"), end(0), *tool(3, tool_id=None), end(3)]
    assert read(START, *messages, stop("tool_use"), METADATA) == [
        Start(), Open(0, "tool", id="t", name="f"), Delta(0, '{"a"'), Delta(0, ":1}"), Close(0),
        Open(1, "tool", id="call_x1", name="f"), Close(1),
        Stop("tools", word="tool_use"), Usage(input=5, output=2), End(),
    ]  # fmt: skip


def test_names_and_kinds_of_the_client() -> None:
    back = Back(ORIGIN, {"ns__f": ToolName("f", "ns"), "g": ToolName("g", kind="freeform")})
    found = read(
        START, *tool(0, "{}", name="ns__f"), end(0), *tool(1, '{"input":"x"}', tool_id="u", name="g"),
        end(1), *DONE, back=back,
    )  # fmt: skip
    opened = [event for event in found if isinstance(event, Open)]
    assert [(one.name, one.namespace, one.tool) for one in opened] == [
        ("f", "ns", "function"),
        ("g", None, "freeform"),
    ]
    assert Delta(1, "x") in found


def test_a_forced_tool_is_the_text() -> None:
    assert blocks(*tool(0, "{}", name="reply"), end(0), back=Back(forced_tool="reply")) == [
        ("text", "{}")
    ]


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        # gaps, ends that are missing, indexes that are used again
        ([delta(2, text="a"), end(2), delta(7, text="b"), end(7)], [("text", "a"), ("text", "b")]),
        ([delta(0, text="a"), delta(1, text="b")], [("text", "a"), ("text", "b")]),
        ([delta(0, reasoningContent={"text": "a"}), delta(0, text="b")], [("thinking", "a"), ("text", "b")]),
        ([delta(0, text="a"), *tool(1, "{}")], [("text", "a"), ("tool", "{}")]),
        ([*tool(0, "{"), delta(1, text="a"), delta(0, toolUse={"input": "}"})], [("tool", "{}"), ("text", "a")]),
        ([*tool(0, "{}"), delta(0, text="a")], [("tool", "{}"), ("text", "a")]),
        ([*tool(0, "{}"), *tool(0, "{}", tool_id="u")], [("tool", "{}"), ("tool", "{}")]),
        # nothing in it
        ([delta(0, text=""), end(0)], []),
        ([delta(0, reasoningContent={}), end(0)], []),
        ([end(4)], []),
        ([begin(0, {}), end(0)], []),
        ([delta(None, text="a"), delta(0.0, text="b")], [("text", "ab")]),
        # the whole input at once
        ([*tool(0), delta(0, toolUse={"input": {"a": 1}})], [("tool", '{"a": 1}')]),
        ([*tool(0), delta(0, toolUse={"input": None})], [("tool", "")]),
    ],
)  # fmt: skip
def test_odd_orders(messages: list[Message], found: list[tuple[str, str]]) -> None:
    assert blocks(*messages) == found


@pytest.mark.parametrize(
    "message",
    [
        ("ping", {}),
        ("contentBlockDelta", {"contentBlockIndex": "x"}),
        ("contentBlockDelta", {"contentBlockIndex": 0}),
        delta(0),
        delta(0, text=5),
        delta(0, sound={}),
        delta(0, toolUse={"input": "{}"}),
        delta(0, citation=5),
        begin(0, None),
        begin(0, {"toolUse": 5}),
        begin(0, {"toolUse": {"toolUseId": "t"}}),
        begin(0, {"image": 5}),
        ("metadata", {"usage": 5}),
        ("metadata", {"usage": {"inputTokens": "x"}}),
        ("metadata", {"serviceTier": 5}),
    ],
)
def test_what_no_table_knows_is_counted(message: Message) -> None:
    assert blocks(message, unknown=1) == []


def test_what_is_no_json_is_nonsense() -> None:
    with pytest.raises(UpstreamNonsense):
        ReplyReader(BACK).read(PlainFrame(b"", b"messageStart", b"[]", True))


def test_a_frame_without_data_says_nothing() -> None:
    assert ReplyReader(BACK).read(PlainFrame(b"", b"contentBlockStop")) == []


def test_the_end_comes_with_the_bytes_where_metadata_is_missing() -> None:
    assert read(START, delta(0, text="a"), stop())[-2:] == [Stop("end", word="end_turn"), End()]
    assert read(START, METADATA, stop())[-3:] == [
        Usage(input=5, output=2), Stop("end", word="end_turn"), End(),
    ]  # fmt: skip
    assert read(START, *DONE, delta(0, text="late"), METADATA, stop())[-1] == End()


@pytest.mark.parametrize("messages", [[], [START], [START, delta(0, text="a"), end(0)], [METADATA]])
def test_without_a_stop_the_reply_is_broken(messages: list[Message]) -> None:
    with pytest.raises(UpstreamCut):
        read(*messages)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "end"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop_sequence"),
        ("guardrail_intervened", "filter"),
        ("content_filtered", "filter"),
        ("malformed_model_output", "malformed"),
        ("malformed_tool_use", "malformed"),
        ("model_context_window_exceeded", "context"),
        ("tool_use", "end"),
        ("something_new", "end"),
    ],
)
def test_stop_reasons(word: str, reason: str) -> None:
    stopped = read(START, stop(word), METADATA)[1]
    assert isinstance(stopped, Stop)
    assert (stopped.reason, stopped.word) == (reason, word)


def test_a_stop_reason_of_another_type() -> None:
    assert read(START, stop(5), METADATA)[1] == Stop("end")


@pytest.mark.parametrize(
    ("fields", "sequence"),
    [
        (None, None),
        ({}, None),
        (5, None),
        ({"stop_sequence": "X"}, "X"),
        ({"delta": {"stop_sequence": "X"}}, "X"),
        ({"delta": {"stop_sequence": None}}, None),
    ],
)
def test_which_stop_sequence_it_was(fields: object, sequence: str | None) -> None:
    stopped = read(START, stop("stop_sequence", fields), METADATA)[1]
    assert isinstance(stopped, Stop)
    assert stopped.sequence == sequence


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"inputTokens": 3, "outputTokens": 2.0}, Usage(input=3, output=2)),
        (
            {"inputTokens": 3, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 5,
             "cacheDetails": [{"ttl": "1h", "inputTokens": 2}, {"ttl": "5m", "inputTokens": 3}]},
            Usage(input=12, cache_read=4, cache_write=5, cache_write_1h=2, cache_write_5m=3),
        ),
        ({"inputTokens": 1, "outputTokens": -1}, Usage(input=1)),
    ],
)  # fmt: skip
def test_counts(counts: object, usage: Usage) -> None:
    events = read(START, stop(), ("metadata", {"usage": counts, "serviceTier": {"type": "flex"}}))
    assert events[-2:] == [usage, End("flex")]


CITATION = {"title": "T", "sourceContent": [{"text": "q"}, {"text": "r"}], "location": {"web": {"url": "https://a"}}}  # fmt: skip


@pytest.mark.parametrize(
    ("citation", "url", "quote"),
    [
        (CITATION, "https://a", "qr"),
        (
            {"title": "T", "source": "https://b", "location": {"documentPage": {}}},
            "https://b",
            None,
        ),
        ({"title": "T", "source": "a book"}, None, None),
    ],
)
def test_citations(citation: object, url: str | None, quote: str | None) -> None:
    note = read(START, delta(0, text="a"), delta(0, citation=citation), end(0), *DONE)[3]
    raw = Raw(json.dumps(citation).encode())
    assert isinstance(note, Note)
    assert (note.block, note.url, note.title, note.quote) == (0, url, "T", quote)
    assert (note.dialect, bytes(note.raw)) == ("bedrock_converse", bytes(raw))


def test_a_citation_before_any_text() -> None:
    found = [type(event) for event in read(START, delta(0, citation=CITATION), end(0), *DONE)]
    assert found == [Start, Open, Note, Close, Stop, Usage, End]


def test_a_citation_after_the_stop_says_nothing() -> None:
    assert read(START, stop(), delta(0, citation=CITATION), METADATA)[1:] == [
        Stop("end", word="end_turn"), Usage(input=5, output=2), End(),
    ]  # fmt: skip


SERVER = {"toolUseId": "s", "name": "search", "type": "server_tool_use"}


@pytest.mark.parametrize(
    ("messages", "item"),
    [
        (
            [begin(0, {"toolUse": SERVER}), delta(0, toolUse={"input": '{"q"'}), delta(0, toolUse={"input": ":1}"})],
            {"toolUse": SERVER | {"input": {"q": 1}}},
        ),
        ([begin(0, {"toolUse": SERVER})], {"toolUse": SERVER | {"input": {}}}),
        (
            [begin(0, {"toolUse": SERVER}), delta(0, toolUse={"input": "{"})],
            {"toolUse": SERVER | {"input": "{"}},
        ),
        (
            [begin(0, {"toolResult": {"toolUseId": "s"}}), delta(0, toolResult=[{"text": "a"}]), delta(0, toolResult=[{"json": 1}])],
            {"toolResult": {"toolUseId": "s", "content": [{"text": "a"}, {"json": 1}]}},
        ),
        (
            [begin(0, {"image": {"format": "png"}}), delta(0, image={"source": {"bytes": "YQ=="}})],
            {"image": {"format": "png", "source": {"bytes": "YQ=="}}},
        ),
    ],
)  # fmt: skip
def test_vendor_run_items(messages: list[Message], item: dict[str, object]) -> None:
    ((shows, raw),) = blocks(*messages, end(0))
    assert ([shows], json.loads(raw)) == (list(item), item)
    (first, *_) = whole([item])[1:]
    assert isinstance(first, Whole)
    assert json.loads(bytes(first.raw)) == item


def test_vendor_run_items_of_a_new_kind_are_kept_and_counted() -> None:
    assert blocks(begin(0, {"sound": {}}), end(0), unknown=1) == [("sound", '{"sound":{}}')]
    assert blocks(begin(0, {"image": {}}), delta(0, text="a"), end(0)) == [
        ("image", '{"image":{}}')
    ]
    assert blocks(begin(0, {"image": {}}), delta(0, image=5), end(0), unknown=1) != []


def test_vendor_run_items_end_what_runs() -> None:
    messages = [delta(0, text="a"), begin(1, {"image": {}}), end(1), delta(2, text="b"), end(2)]
    assert blocks(*messages) == [("text", "a"), ("image", '{"image":{}}'), ("text", "b")]


def test_vendor_run_items_after_the_stop_say_nothing() -> None:
    events = read(START, stop(), begin(0, {"image": {}}), end(0), METADATA)
    assert not any(isinstance(event, Whole) for event in events)


def test_an_exception_is_the_end() -> None:
    reader = ReplyReader(BACK)
    failed = eventstream.write_exception(b'{"message":"slow"}', b"throttlingException")
    frames = eventstream.Splitter().feed(wire(START, delta(0, text="a")) + failed + wire(*DONE))
    events = [event for frame in frames for event in reader.read(frame)]
    assert events[-1] == Fail("rate_limit", "slow")
    assert reader.close() == []


def test_an_exception_in_another_framing_has_its_name() -> None:
    frame = PlainFrame(b"", b"validationException", b'{"message":"bad"}', True)
    assert ReplyReader(BACK).read(frame) == [Fail("invalid", "bad")]


def test_a_reader_that_sees_marks_only() -> None:
    reader = ReplyReader(Back(ORIGIN, partial=True))
    frames = eventstream.Splitter().feed(wire(stop("tool_use"), METADATA))
    assert [event for frame in frames for event in reader.read(frame)] == [
        Start(), Stop("tools", word="tool_use"), Usage(input=5, output=2), End(),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([{"text": "a"}, {"text": ""}], [("text", "a")]),
        (
            [{"reasoningContent": {"reasoningText": {"text": "a", "signature": "s"}}}],
            [("thinking", "a")],
        ),
        ([{"reasoningContent": {"redactedContent": "YQ=="}}], [("thinking", "")]),
        (
            [{"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1.50}}}],
            [("tool", '{"a": 1.5}')],
        ),
        ([{"toolUse": {"toolUseId": "t", "name": "f", "input": None}}], [("tool", "")]),
        ([{"citationsContent": {"content": [{"text": "a"}, {"text": "b"}]}}], [("text", "ab")]),
        ([{"citationsContent": {"citations": [CITATION]}}], [("text", "")]),
        (None, []),
    ],
)
def test_bodies(content: object, found: list[tuple[str, str]]) -> None:
    events = whole(content, stopReason="end_turn", usage=COUNTS)
    said = fold(events).choice(0).items
    assert [(item.opened.kind, item.text) for item in said if isinstance(item, Block)] == found
    assert events[-2:] == [Usage(input=5, output=2), End()]


def test_a_body_without_a_stop_is_whole_all_the_same() -> None:
    assert whole([{"text": "a"}])[-2:] == [Stop("end"), End()]


@pytest.mark.parametrize("block", [5, {"text": 5}, {}, {"image": 5}])
def test_blocks_that_no_table_knows(block: object) -> None:
    assert whole([block], unknown=1) == [Start(), Stop("end"), End()]


@pytest.mark.parametrize("body", [b"?", b"[]", b"{}", b'{"output":5}'])
def test_bodies_of_something_else(body: bytes) -> None:
    with pytest.raises(UpstreamNonsense):
        ReplyReader(BACK).read_body(body)


GOLDEN = Path(__file__).parent.parent.parent / "golden" / "bedrock_converse"


def golden(name: str) -> list[Message]:
    lines = (GOLDEN / name / "stream.jsonl").read_text().splitlines()
    return [(one["name"], one["data"]) for one in map(json.loads, lines)]


@given(st.data())
def test_cuts_never_change_the_meaning(data: st.DataObject) -> None:
    stream = wire(*golden("parallel_tools"))
    cuts = data.draw(st.lists(st.integers(0, len(stream))).map(sorted))
    reader, splitter = ReplyReader(BACK), eventstream.Splitter()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    frames = [frame for piece in pieces for frame in splitter.feed(piece)]
    events = [event for frame in frames for event in reader.read(frame)]
    assert [*events, *reader.close()] == read(*golden("parallel_tools"))


@given(st.lists(st.sampled_from([
    START, delta(0, text="a"), delta(1, text="b"), delta(0, reasoningContent={"text": "h"}),
    delta(1, reasoningContent={"signature": "s"}), *tool(1, "{"), *tool(2, "{}"), end(0), end(1),
    begin(0, {"image": {}}), delta(0, citation={}), delta(3, toolUse={"input": ""}), METADATA, stop(),
])))  # fmt: skip
def test_any_order_is_read(messages: list[Message]) -> None:
    reader, order = ReplyReader(BACK), Order()
    for frame in eventstream.Splitter().feed(wire(*messages, stop(), METADATA)):
        for event in reader.read(frame):
            order.check(event)
    assert order.over
