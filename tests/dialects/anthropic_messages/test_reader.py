"""rawproxy.dialects.anthropic_messages.reader: events and bodies, whatever servers make of them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.anthropic_messages.reader import ReplyReader
from rawproxy.dialects.base import Back, ToolName
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
from rawproxy.dialects.fold import Block, Reply, fold
from rawproxy.errors import UpstreamCut, UpstreamNonsense
from rawproxy.wire import sse
from rawproxy.wire.frame import PlainFrame
from tests.dialects.order import Order

ORIGIN = Origin("anthropic")
BACK = Back(ORIGIN, seed="x")


def event(kind: str | None, **members: object) -> bytes:
    return json.dumps(({} if kind is None else {"type": kind}) | members).encode()


def start(**usage: object) -> bytes:
    message: dict[str, object] = {
        "id": "msg_1",
        "model": "m",
        "content": [],
        "usage": usage or None,
    }
    return event("message_start", message=message)


def block(index: int, kind: str, **members: object) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind} | members)


def delta(index: int, **members: object) -> bytes:
    return event("content_block_delta", index=index, delta=members)


def close(index: int) -> bytes:
    return event("content_block_stop", index=index)


def stop(word: str | None = "end_turn", usage: object = None, **members: object) -> bytes:
    return event("message_delta", delta={"stop_reason": word} | members, usage=usage)


END = event("message_stop")


def read(*data: bytes, back: Back = BACK, unknown: int = 0, name: bytes = b"") -> list[Event]:
    reader, order = ReplyReader(back), Order()
    events = [e for one in data for e in reader.read(PlainFrame(b"", name, one))]
    events += reader.close()
    for one in events:
        order.check(one)
    assert reader.unknown == unknown
    return events


def reply(*data: bytes, back: Back = BACK, unknown: int = 0) -> Reply:
    return fold(read(*data, back=back, unknown=unknown))


def blocks(found: Reply) -> list[tuple[str, str]]:
    items = found.choice(0).items
    return [(b.opened.kind, b.text) if isinstance(b, Block) else ("whole", b.shows) for b in items]


def test_a_plain_stream() -> None:
    assert read(
        start(input_tokens=5, output_tokens=1),
        event("ping"),
        block(0, "text", text=""),
        delta(0, type="text_delta", text="a"),
        delta(0, type="text_delta", text="b"),
        close(0),
        stop("end_turn", {"output_tokens": 7}),
        END,
    ) == [
        Start("msg_1", "m"),
        Usage(input=5, output=1),
        Open(0, "text"),
        Delta(0, "a"),
        Delta(0, "b"),
        Close(0),
        Stop("end", word="end_turn"),
        Usage(input=5, output=7),
        End(),
    ]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "end"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop_sequence"),
        ("tool_use", "end"),  # without a tool
        ("pause_turn", "pause"),
        ("refusal", "refusal"),
        ("model_context_window_exceeded", "context"),
        ("compaction", "compaction"),
        ("something_new", "end"),
    ],
)
def test_stop_reasons(word: str, reason: str) -> None:
    found = reply(start(), stop(word), END).choice(0).stop
    assert found is not None
    assert (found.reason, found.word) == (reason, word)


def test_what_a_stop_reason_explains() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "no"}
    assert reply(start(), stop("refusal", stop_details=details), END).choice(0).stop == Stop(
        "refusal", detail="no", category="bio", word="refusal"
    )
    assert reply(start(), stop("stop_sequence", stop_sequence="X"), END).choice(0).stop == Stop(
        "stop_sequence", sequence="X", word="stop_sequence"
    )


def test_tools_and_their_input() -> None:
    found = reply(
        start(),
        block(0, "tool_use", id="t1", name="f", input={}),
        delta(0, type="input_json_delta", partial_json=""),
        delta(0, type="input_json_delta", partial_json='{"x":'),
        delta(0, type="input_json_delta", partial_json=" 1}"),
        close(0),
        block(1, "tool_use", id="t2", name="g", input={}),
        close(1),
        block(2, "tool_use", id="t3", name="h", input={"at": "once"}),
        close(2),
        stop("tool_use"),
        END,
    )
    tools = found.choice(0).blocks("tool")
    assert [(b.opened.id, b.opened.name, b.text) for b in tools] == [
        ("t1", "f", '{"x": 1}'),
        ("t2", "g", ""),
        ("t3", "h", '{"at": "once"}'),
    ]
    assert found.choice(0).stop == Stop("tools", word="tool_use")


def test_interleaved_tools_and_repeated_ids() -> None:
    found = reply(
        start(),
        block(0, "tool_use", id="t", name="f", input={}),
        block(5, "tool_use", id="t", name="g", input={}),
        delta(0, partial_json='{"a":1}'),
        delta(5, partial_json='{"b":2}'),
        close(5),
        block(5, "tool_use", name="h", input={}),
        stop("tool_use"),
        END,
    )
    tools = found.choice(0).blocks("tool")
    assert [(b.opened.id, b.text) for b in tools] == [
        ("t", '{"a":1}'), ("call_x1", '{"b":2}'), ("call_x2", ""),
    ]  # fmt: skip


def test_names_and_kinds_are_the_client_s_again() -> None:
    back = Back(
        ORIGIN,
        tools={"ns__f": ToolName("f", "ns"), "patch": ToolName("patch", None, "freeform")},
        ids={"short": "long"},
        forced_tool="reply_json",
    )
    found = reply(
        start(),
        block(0, "tool_use", id="short", name="ns__f", input={}),
        close(0),
        block(1, "tool_use", id="b", name="patch", input={}),
        delta(1, partial_json='{"input":"a\\nb"}'),
        close(1),
        block(2, "tool_use", id="c", name="reply_json", input={}),
        delta(2, partial_json='{"ok":true}'),
        close(2),
        stop("tool_use"),
        END,
        back=back,
    )
    first, second = (b for b in found.choice(0).blocks("tool"))
    assert (first.opened.id, first.opened.name, first.opened.namespace) == ("long", "f", "ns")
    assert (second.opened.tool, second.text) == ("freeform", "a\nb")
    assert found.choice(0).text("text") == '{"ok":true}'


def test_a_signature_seals_the_joined_thinking_and_the_last_one_wins() -> None:
    events = read(
        start(),
        block(0, "thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="Hm", estimated_tokens=3),
        delta(0, type="thinking_delta", thinking=""),
        delta(0, type="thinking_delta", thinking="?"),
        delta(0, type="signature_delta", signature="half"),
        delta(0, type="signature_delta", signature="whole"),
        close(0),
        stop(),
        END,
    )
    raw = '{"type":"thinking","signature":"whole"}'
    assert Sealed(0, seal(ORIGIN, "thinking", raw, ["Hm?"])) in events


def test_thinking_that_is_not_shown_and_redacted_thinking() -> None:
    events = read(
        start(),
        block(0, "thinking", thinking="", signature=""),
        delta(0, type="signature_delta", signature="s"),
        close(0),
        block(1, "redacted_thinking", data="d"),
        delta(1, type="odd_delta"),
        close(1),
        block(2, "thinking", thinking="unsigned"),
        close(2),
        stop(),
        END,
        unknown=1,
    )
    assert events[1:-2] == [
        Open(0, "thinking"),
        Sealed(0, seal(ORIGIN, "thinking", '{"type":"thinking","signature":"s"}', [""])),
        Close(0),
        Open(1, "thinking"),
        Sealed(1, seal(ORIGIN, "redacted_thinking", '{"type":"redacted_thinking","data":"d"}')),
        Close(1),
        Open(2, "thinking"),
        Delta(2, "unsigned"),
        Close(2),
    ]


def test_ends_of_blocks_that_were_left_out() -> None:
    found = reply(
        start(),
        block(0, "thinking", thinking="", signature=""),
        delta(0, thinking="a"),
        delta(0, signature="s"),
        block(1, "text", text=""),
        delta(1, text="b"),
        block(2, "tool_use", id="t", name="f", input={"x": 1}),
        stop("tool_use"),
        END,
    )
    assert blocks(found) == [("thinking", "a"), ("text", "b"), ("tool", '{"x": 1}')]
    assert found.choice(0).blocks("thinking")[0].seal is not None


def test_starts_of_blocks_that_were_left_out() -> None:
    found = reply(
        start(),
        delta(0, thinking="a"),
        delta(0, text="b"),
        delta(1, text="c"),
        delta(0, text="d"),
        delta(9, partial_json="{}"),
        close(7),
        stop(),
        END,
        unknown=1,
    )
    assert blocks(found) == [("thinking", "a"), ("text", "b"), ("text", "c"), ("text", "d")]


CITATIONS: list[tuple[dict[str, object], tuple[str | None, str | None, str | None]]] = [
    (
        {"type": "web_search_result_location", "url": "https://a", "title": "A", "cited_text": "q"},
        ("https://a", "A", "q"),
    ),
    ({"type": "char_location", "document_title": "D", "cited_text": "q"}, (None, "D", "q")),
    ({"type": "search_result_location", "source": "https://b"}, ("https://b", None, None)),
    ({"type": "search_result_location", "source": "shelf 4"}, (None, None, None)),
]


@pytest.mark.parametrize(("citation", "said"), CITATIONS)
def test_citations(citation: dict[str, object], said: tuple[object, ...]) -> None:
    raw = Raw(json.dumps(citation).encode())
    events = read(
        start(), block(0, "text", text=""), delta(0, citation=citation), delta(0, text="a"), stop(), END
    )  # fmt: skip
    note = next(e for e in events if isinstance(e, Note))
    assert (note.url, note.title, note.quote) == said
    assert (note.block, note.dialect, note.raw) == (0, "anthropic_messages", raw)


@pytest.mark.parametrize("citation", [5, {"url": 5}])
def test_citations_that_are_none(citation: object) -> None:
    reply(start(), block(0, "text", text=""), delta(0, citation=citation), stop(), END, unknown=1)


def wholes(*data: bytes, unknown: int = 0) -> list[tuple[str, object]]:
    events = read(start(), *data, stop(), END, unknown=unknown)
    return [(e.shows, json.loads(bytes(e.raw))) for e in events if isinstance(e, Whole)]


def test_vendor_run_items_come_whole() -> None:
    call = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    assert wholes(
        event("content_block_start", index=0, content_block=call),
        delta(0, partial_json='{"query":'),
        delta(0, partial_json='"x"}'),
        close(0),
        event("content_block_start", index=1, content_block=found),
        close(1),
        block(2, "compaction", content=None),
        delta(2, type="compaction_delta", content="short", encrypted_content="e"),
        close(2),
        block(3, "mcp_tool_use", id="m", name="n", input={"a": 1}),  # its end is left out
    ) == [
        ("server_tool_use", call | {"input": {"query": "x"}}),
        ("web_search_tool_result", found),
        ("compaction", {"type": "compaction", "content": "short", "encrypted_content": "e"}),
        ("mcp_tool_use", {"type": "mcp_tool_use", "id": "m", "name": "n", "input": {"a": 1}}),
    ]


def test_vendor_run_input_that_is_no_json_and_blocks_nobody_knows() -> None:
    assert wholes(
        block(0, "server_tool_use", input={}),
        delta(0, partial_json="{"),
        close(0),
        block(1, "hologram", x=1),
        close(1),
        unknown=2,
    ) == [
        ("server_tool_use", {"type": "server_tool_use", "input": {}}),
        ("hologram", {"type": "hologram", "x": 1}),
    ]


def test_a_vendor_run_item_after_the_stop_is_not_said() -> None:
    events = read(start(), stop(), block(0, "compaction"), close(0), END)
    assert not any(isinstance(e, Whole) for e in events)


def test_counts_are_merged_as_they_come_and_then_added_up() -> None:
    cache = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}
    found = reply(
        start(
            input_tokens=7, cache_read_input_tokens=100.0, cache_creation_input_tokens=30,
            cache_creation=cache, output_tokens=2, service_tier="priority", server_tool_use=None,
        ),
        stop(
            "end_turn",
            {
                "input_tokens": None, "cache_read_input_tokens": 0, "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 4},
                "server_tool_use": {"web_search_requests": 1},
            },
        ),
        END,
    )  # fmt: skip
    assert found.tier == "priority"
    assert found.usage == Usage(
        input=37, output=9, cache_read=0, cache_write=30, cache_write_5m=10, cache_write_1h=20,
        reasoning=4, server_tools=Raw(b'{"web_search_requests": 1}'),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({"output_tokens": 1}, Usage(output=1)),
        ({"input_tokens": 0, "output_tokens": 0}, Usage(input=0, output=0)),
        ({"input_tokens": -3, "output_tokens": 2}, Usage(output=2)),
        (
            {"input_tokens": 1, "cache_creation": {"ephemeral_5m_input_tokens": 5}},
            Usage(input=6, cache_write=5, cache_write_5m=5),
        ),
        (
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 0,
                "cache_creation": {"ephemeral_1h_input_tokens": 5},
            },
            Usage(input=1, cache_write=0, cache_write_1h=0),
        ),
    ],
)
def test_counts_that_are_not_said(said: dict[str, object], usage: Usage) -> None:
    assert reply(start(**said), stop(), END).usage == usage


def test_an_event_s_type_may_be_missing_on_either_side() -> None:
    assert read(start(), stop(), END) == read(start(), stop(), END, name=b"odd")
    reader = ReplyReader(BACK)
    reader.read(PlainFrame(b"", b"message_start", event(None, message={"id": "m"})))
    assert reader.read(PlainFrame(b"", b"message_delta", event(None, delta={"stop_reason": "x"})))
    assert reader.read(PlainFrame(b"", b"message_stop", b"{}")) == [End()]


@pytest.mark.parametrize(
    ("data", "fail"),
    [
        (
            event("error", error={"type": "overloaded_error", "message": "busy"}),
            Fail("overloaded", "busy"),
        ),
        (event(None, error={"message": "oh"}), Fail("server", "oh")),
        (event("error"), Fail("server", "the upstream failed")),
    ],
)
def test_errors(data: bytes, fail: Fail) -> None:
    assert read(start(), block(0, "text"), delta(0, text="a"), data, END)[-1] == fail
    assert read(data) == [fail]


def test_nothing_is_said_after_the_end() -> None:
    before = [start(), block(0, "text"), delta(0, text="a"), close(0), stop(), END]
    late = [
        start(), block(1, "text"), delta(1, text="b"), delta(1, citation={"url": "https://a"}), stop(),
        event("error", error={}), END,
    ]  # fmt: skip
    assert read(*before, *late, unknown=1) == read(*before)


def test_a_terminator_stands_for_a_missing_stop_reason() -> None:
    assert read(start(), delta(0, text="a"), stop(None, {"output_tokens": 3}), END)[-2:] == [
        Stop("end"),
        End(),
    ]
    assert read(start(), stop(""), END)[-2:] == [Stop("end"), End()]


def test_the_end_of_bytes_ends_what_has_stopped() -> None:
    assert read(start(service_tier="batch"), stop())[-1] == End("batch")
    with pytest.raises(UpstreamCut):
        read(start(), delta(0, text="a"))
    with pytest.raises(UpstreamNonsense):
        read(END)


@pytest.mark.parametrize("data", [b"", b"  ", b"[DONE]", event("ping"), event("vibe", x=1)])
def test_frames_that_say_nothing(data: bytes) -> None:
    unknown = b"vibe" in data
    assert read(start(), data, stop(), END, unknown=unknown) == read(start(), stop(), END)


@pytest.mark.parametrize(
    "data",
    [
        b"[1]",
        block(0, "text", text=5),
        event("content_block_start", index=0),
        event("content_block_delta", index="0"),
        event("content_block_delta", index=0),
        event("message_start", message=5),
        block(3, "tool_use", id="t"),
    ],
)
def test_frames_of_another_shape_are_counted(data: bytes) -> None:
    read(start(), data, stop(), END, unknown=1)


@pytest.mark.parametrize("member", ["odd_delta", "input_json"])
def test_deltas_nobody_knows(member: str) -> None:
    for kind in ("text", "tool_use"):
        reply(
            start(), block(0, kind, id="t", name="f"), delta(0, type=member), stop(), END, unknown=1
        )


def test_bytes_that_are_no_json() -> None:
    for data in (b"<html>", b'{"a":', b"[" * 100_000):
        with pytest.raises(UpstreamNonsense):
            read(start(), data)


def test_several_documents_in_one_frame() -> None:
    events = [start(), delta(0, text="a"), b"[]", stop(), END]
    assert read(b"\n".join(events), unknown=1) == read(*events, unknown=1)


def body(content: object, **members: object) -> bytes:
    return json.dumps({"id": "msg_1", "model": "m", "content": content} | members).encode()


def test_a_body_reads_as_its_stream() -> None:
    thought = {"type": "thinking", "thinking": "Hm", "signature": "s"}
    text = {"type": "text", "text": "a", "citations": [{"url": "https://a"}]}
    assert ReplyReader(BACK).read_body(
        body(
            [thought, text, {"type": "tool_use", "id": "t", "name": "f", "input": {}}],
            stop_reason="tool_use",
            usage={"input_tokens": 1, "output_tokens": 2, "service_tier": "standard"},
        )
    ) == [
        Start("msg_1", "m"),
        Open(0, "thinking"),
        Delta(0, "Hm"),
        Sealed(0, seal(ORIGIN, "thinking", '{"type":"thinking","signature":"s"}', ["Hm"])),
        Close(0),
        Open(1, "text"),
        Delta(1, "a"),
        Note(1, "https://a", dialect="anthropic_messages", raw=Raw(b'{"url": "https://a"}')),
        Close(1),
        Open(2, "tool", id="t", name="f"),
        Close(2),
        Stop("tools", word="tool_use"),
        Usage(input=1, output=2),
        End("standard"),
    ]


def test_bodies_that_are_no_message() -> None:
    for data in (b"", b"[]", b"{}", body(None), body("text")):
        with pytest.raises(UpstreamNonsense):
            ReplyReader(BACK).read_body(data)
    error = b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'
    assert ReplyReader(BACK).read_body(error) == [Fail("overloaded", "busy")]


INDEX = st.integers(0, 2)
KIND = st.sampled_from(
    ["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "x"]
)
PIECE = st.sampled_from(["", "a", "{", '{"input":"b"}'])
FRAMES = st.one_of(
    st.builds(
        lambda index, kind, piece: block(
            index, kind, id="t", name="f", text=piece, thinking=piece, data="d", signature=piece
        ),
        INDEX, KIND, PIECE,
    ),
    st.builds(
        lambda index, member, piece: delta(index, **{member: piece}),
        INDEX, st.sampled_from(["text", "thinking", "signature", "partial_json", "content"]), PIECE,
    ),
    st.builds(lambda index: delta(index, citation={"url": "https://a"}), INDEX),
    st.builds(close, INDEX),
    st.builds(lambda count: stop(None, {"output_tokens": count}), INDEX),
    st.sampled_from([stop("tool_use"), start(input_tokens=1), event("ping")]),
)  # fmt: skip


@given(st.lists(FRAMES, max_size=20))
def test_the_order_of_events_holds_whatever_comes(frames: list[bytes]) -> None:
    reader, order = ReplyReader(BACK), Order()
    for data in [start(), *frames, stop(), END]:
        for one in reader.read(PlainFrame(b"", data=data)):
            order.check(one)
    assert order.over


@pytest.mark.parametrize("name", ["simple", "single_builtin_tool", "stream_error"])
def test_recorded_streams(recorded: Path, name: str) -> None:
    folder = recorded / "anthropic_messages" / name
    frames = sse.Splitter().feed((folder / "stream.sse").read_bytes())
    events = read(*(frame.data for frame in frames))
    assert isinstance(events[-1], Fail if name == "stream_error" else End)


@pytest.mark.parametrize("name", ["simple", "single_builtin_tool"])
def test_recorded_bodies(recorded: Path, name: str) -> None:
    data = (recorded / "anthropic_messages" / name / "reply.json").read_bytes()
    reader = ReplyReader(BACK)
    found = fold(reader.read_body(data))
    assert reader.unknown == 0
    assert [b["type"].replace("_use", "") for b in json.loads(data)["content"]] == [
        kind for kind, _ in blocks(found)
    ]
