"""rawproxy.dialects.anthropic_messages.writer: events to a stream, and to a body."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.anthropic_messages.grammar import ReplyGrammar
from rawproxy.dialects.anthropic_messages.writer import ReplyWriter, write_body
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Origin, Vault, seal
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Reason,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.fold import Block, fold
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire import sse

VAULT = Vault(b"key", "me")
CALL = Call("anthropic_messages", "asked", vault=VAULT)
OWN = seal(Origin("anthropic"), "thinking", '{"type":"thinking","signature":"sig"}', ["Hm"])
REDACTED = seal(Origin("anthropic"), "redacted_thinking", '{"type":"redacted_thinking","data":"d"}')
FOREIGN = seal(Origin("openai"), "reasoning", '{"id":"rs_1"}', ["Hm"])
DONE: list[Event] = [Stop("end"), End()]
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def checked(stream: bytes) -> list[dict[str, Any]]:
    grammar = ReplyGrammar()
    frames = sse.Splitter().feed(stream)
    assert [rule for one in frames for rule in grammar.check(one)] + grammar.close() == []
    return [json.loads(one.data) for one in frames if one.has_data]


def stream(*events: Event, losses: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    writer = ReplyWriter(CALL, "made")
    found = checked(b"".join(map(writer.write, events)))
    assert [loss.path for loss in writer.losses] == list(losses)
    return found


def body(*events: Event, losses: tuple[str, ...] = ()) -> dict[str, Any]:
    data, lost = write_body(list(events), CALL, "made")
    assert [loss.path for loss in lost] == list(losses)
    return dict(json.loads(data))


def content(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a client makes of a stream: blocks put together from their deltas."""
    made: list[dict[str, Any]] = []
    for event in found:
        if event["type"] == "content_block_start":
            made.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            match event["delta"]:
                case {"partial_json": piece}:
                    made[-1]["input"] = made[-1]["input"] or ""
                    made[-1]["input"] += piece
                case {"signature": signature}:
                    made[-1]["signature"] = signature
                case {"citation": citation}:
                    made[-1].setdefault("citations", []).append(citation)
                case {"text": piece}:
                    made[-1]["text"] += piece
                case {"thinking": piece}:
                    made[-1]["thinking"] += piece
    for one in made:
        if isinstance(one.get("input"), str):
            one["input"] = json.loads(one["input"])
    return made


def both(*events: Event, losses: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The blocks, which are the same in a stream and in a body."""
    all_events = (Start(), *events, *DONE)
    blocks = content(stream(*all_events, losses=losses))
    assert body(*all_events, losses=losses)["content"] == blocks
    return blocks


def block(number: int, kind: Any, *text: str, **opened: Any) -> list[Event]:
    return [
        Open(number, kind, **opened),
        *(Delta(number, piece) for piece in text),
        Close(number),
    ]


def test_a_plain_stream() -> None:
    usage = Usage(input=10, output=4, cache_read=3, cache_write=2)
    assert stream(Start("msg_1", "m"), *block(0, "text", "a", "b"), Stop("end"), usage, End()) == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
                "stop_reason": None, "stop_sequence": None,
                "usage": {"input_tokens": 0, "output_tokens": 1},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "b"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 5, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3,
                "output_tokens": 4,
            },
        },
        {"type": "message_stop"},
    ]  # fmt: skip


def test_a_plain_body() -> None:
    assert body(Start("x", "m"), *block(0, "text", "a"), Stop("end"), Usage(input=2), End()) == {
        "id": "msg_x", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn",
        "stop_sequence": None, "usage": {"input_tokens": 2, "output_tokens": 0},
    }  # fmt: skip


def test_ids_and_models_that_nobody_gave() -> None:
    message = stream(Start(), *DONE)[0]["message"]
    assert (message["id"], message["model"]) == ("msg_made", "asked")
    assert (body(*DONE)["id"], body(*DONE)["model"]) == ("msg_made", "asked")


def test_a_reply_without_any_block_gets_an_empty_text() -> None:
    assert both() == [{"type": "text", "text": ""}]
    assert both(*block(0, "text"), *block(1, "thinking")) == [{"type": "text", "text": ""}]


def test_kinds_of_blocks() -> None:
    assert both(
        *block(0, "thinking", "H", "m"),
        *block(1, "refusal", "No."),
        *block(2, "tool", '{"x"', ":1}", id="t1", name="f"),
        *block(3, "tool", id="t2", name="g", namespace="ns"),
        *block(4, "tool", "ls\n", '"x"', id="t3", name="sh", tool="freeform"),
    ) == [
        {"type": "thinking", "thinking": "Hm", "signature": ""},
        {"type": "text", "text": "No."},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "t2", "name": "ns__g", "input": {}},
        {"type": "tool_use", "id": "t3", "name": "sh", "input": {"input": 'ls\n"x"'}},
    ]


def test_arguments_that_are_no_object_go_to_a_stream_as_they_are() -> None:
    events: list[Event] = [
        Start(),
        *block(0, "tool", "{a", id="t", name="f"),
        Stop("length"),
        End(),
    ]
    deltas = [e["delta"] for e in stream(*events) if e["type"] == "content_block_delta"]
    assert deltas == [{"type": "input_json_delta", "partial_json": "{a"}]
    found = body(*events, losses=("reply.input",))
    assert found["content"][0]["input"] == {"_raw": "{a"}


def test_seals_of_its_own_are_native_and_others_travel_in_envelopes() -> None:
    def thought(number: int, *text: str, sealed: Any) -> list[Event]:
        opened, *rest = block(number, "thinking", *text)
        return [opened, *rest[:-1], Sealed(number, sealed), Close(number)]

    found = both(
        *thought(0, "Hm", sealed=OWN),
        *thought(1, "Hm", sealed=FOREIGN),
        *thought(2, sealed=REDACTED),
        *thought(3, sealed=FOREIGN),
        *thought(4, "Hm", sealed=REDACTED),
        *block(5, "text", "a"),
    )
    assert found == [
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "thinking", "thinking": "Hm", "signature": VAULT.pack(FOREIGN)},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "thinking", "thinking": "", "signature": VAULT.pack(FOREIGN)},
        {"type": "thinking", "thinking": "Hm", "signature": VAULT.pack(REDACTED)},
        {"type": "text", "text": "a"},
    ]


def test_a_seal_of_a_tool_or_a_text_has_a_carrier_before_it() -> None:
    carrier = {"type": "thinking", "thinking": "", "signature": VAULT.pack(FOREIGN)}
    assert both(
        *block(0, "text", "a", seal=FOREIGN),
        *block(1, "tool", id="t", name="f", seal=FOREIGN),
    ) == [
        carrier,
        {"type": "text", "text": "a"},
        carrier,
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    ]


def test_a_redacted_seal_that_is_followed_by_text() -> None:
    events: list[Event] = [
        Start(), Open(0, "thinking"), Sealed(0, REDACTED), Delta(0, "Hm"), Close(0), *DONE,
    ]  # fmt: skip
    expected = {"type": "thinking", "thinking": "Hm", "signature": VAULT.pack(REDACTED)}
    assert content(stream(*events)) == body(*events)["content"] == [expected]


def test_interleaved_blocks_come_one_after_another() -> None:
    assert both(
        Open(0, "tool", id="a", name="f"),
        Open(1, "tool", id="b", name="g"),
        Delta(1, '{"b"'),
        Delta(0, '{"a"'),
        Delta(1, ":2}"),
        Close(1),
        Delta(0, ":1}"),
        Close(0),
    ) == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {"b": 2}},
    ]


CITED = {"type": "char_location", "cited_text": "q"}


def test_citations_of_its_own_and_of_others() -> None:
    own = Note(0, dialect="anthropic_messages", raw=Raw(json.dumps(CITED).encode()))
    other = Note(0, url="https://a", dialect="openai_chat", raw=Raw(b"{}"))
    text = Open(0, "text")
    assert both(text, own, Delta(0, "a"), Close(0)) == [
        {"type": "text", "text": "a", "citations": [CITED]}
    ]
    assert both(text, own, Close(0)) == [{"type": "text", "text": "", "citations": [CITED]}]
    both(text, Delta(0, "a"), other, other, Close(0), losses=("reply.citations",))
    late = (Start(), text, Delta(0, "a"), Close(0), own, *DONE)
    assert "citations" not in content(stream(*late, losses=("reply.citations",)))[0]
    assert body(*late)["content"][0]["citations"] == [CITED]


SEARCH = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}


def whole(item: dict[str, Any], dialect: str = "anthropic_messages", choice: int = 0) -> Whole:
    return Whole(dialect, Raw(json.dumps(item).encode()), item["type"], choice)


def test_vendor_run_items() -> None:
    assert both(whole(SEARCH), whole(FOUND), *block(0, "text", "a")) == [
        SEARCH, FOUND, {"type": "text", "text": "a"},
    ]  # fmt: skip
    both(whole({"type": "search_call"}, "openai_chat"), losses=("reply.search_call",))
    events: list[Event] = [Start(), Open(0, "text"), Delta(0, "a"), whole(FOUND), Close(0), *DONE]
    assert content(stream(*events)) == [{"type": "text", "text": "a"}, FOUND]


def test_a_vendor_run_item_may_come_first() -> None:
    assert content(stream(whole(FOUND), *DONE)) == [FOUND]


def test_tools_that_the_vendor_ran_are_not_for_the_client_to_run() -> None:
    assert both(
        *block(0, "tool", "{}", id="t", name="search", runs="vendor"), losses=("reply.search",)
    ) == [{"type": "text", "text": ""}]


def test_one_answer_only() -> None:
    events = (
        Start(), *block(0, "text", "a"), Open(1, "text", 1), Delta(1, "b"), Sealed(1, OWN),
        whole(FOUND, choice=1), Close(1), Stop("length", 1), *DONE,
    )  # fmt: skip
    found = stream(*events, losses=("reply.choices", "reply.web_search_tool_result"))
    assert content(found) == [{"type": "text", "text": "a"}]
    assert found[-2]["delta"]["stop_reason"] == "end_turn"
    assert body(*events, losses=("reply.choices",))["content"] == [{"type": "text", "text": "a"}]


def test_log_probabilities_have_no_place() -> None:
    logprobs = Raw(b'{"content":[]}')
    lost = ("reply.logprobs",)
    assert both(Open(0, "text"), Delta(0, "a", logprobs), Close(0), losses=lost) == [
        {"type": "text", "text": "a"}
    ]
    assert both(Open(0, "text"), Delta(0, "", logprobs), Close(0), losses=lost) == [
        {"type": "text", "text": ""}
    ]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("end", "end_turn"),
        ("length", "max_tokens"),
        ("pause", "pause_turn"),
        ("context", "model_context_window_exceeded"),
        ("malformed", "end_turn"),
        ("compaction", "compaction"),
    ],
)
def test_stop_reasons(reason: Reason, word: str) -> None:
    delta = stream(Start(), Stop(reason), End())[-2]["delta"]
    assert delta == {"stop_reason": word, "stop_sequence": None}
    assert body(Start(), Stop(reason), End())["stop_reason"] == word


@pytest.mark.parametrize("reason", ["refusal", "filter"])
def test_a_refusal_has_details(reason: Reason) -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "no"}
    events = (Start(), Stop(reason, detail="no", category="bio"), End())
    assert stream(*events)[-2]["delta"]["stop_details"] == details
    assert body(*events)["stop_details"] == details


def test_the_stop_sequence_that_matched() -> None:
    delta = stream(Start(), Stop("stop_sequence", sequence="X"), End())[-2]["delta"]
    assert (delta["stop_reason"], delta["stop_sequence"]) == ("stop_sequence", "X")


def test_every_count() -> None:
    events = (
        Start(),
        Usage(input=100, cache_read=50, cache_write=30, cache_write_5m=10, cache_write_1h=20),
        Usage(output=9, reasoning=4, server_tools=Raw(b'{"web_search_requests":1}')),
        Stop("end"),
        End("priority"),
    )
    expected = {
        "input_tokens": 20, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4},
        "server_tool_use": {"web_search_requests": 1}, "service_tier": "priority",
    }  # fmt: skip
    assert stream(*events)[-2]["usage"] == body(*events)["usage"] == expected


def test_counts_are_never_below_zero_and_unknown_tiers_are_left_out() -> None:
    usage = body(Start(), Usage(input=1, cache_read=5), Stop("end"), End("flex"))["usage"]
    assert usage == {"input_tokens": 0, "cache_read_input_tokens": 5, "output_tokens": 0}


def test_a_failure_ends_the_stream() -> None:
    writer = ReplyWriter(CALL, "made")
    events = [Start(), Open(0, "text"), Delta(0, "a"), Fail("overloaded", "busy"), Close(0), *DONE]
    found = checked(b"".join(map(writer.write, events)))
    error = {"type": "overloaded_error", "message": "busy"}
    assert found[-1] == {"type": "error", "error": error}
    assert writer.keepalive() == b""
    assert len(stream(Fail("server", "oh"))) == 1
    with pytest.raises(UpstreamNonsense):
        body(Fail("server", "oh"))


def test_keepalives() -> None:
    writer = ReplyWriter(CALL, "made")
    assert writer.keepalive() == b": keepalive\n\n"
    data = writer.write(Start())
    assert writer.keepalive() == PING
    assert writer.write(Start()) == b""
    checked(data + PING + b"".join(map(writer.write, DONE)))
    assert writer.keepalive() == b""
    other = ReplyWriter(CALL, "made")
    other.joined()
    assert other.keepalive() == PING


@st.composite
def replies(draw: st.DrawFn) -> list[Event]:
    """Any sequence of events that the table of `events` allows."""
    events: list[Event] = [Start()]
    open_blocks: dict[int, str] = {}
    sealed: set[int] = set()
    count = tools = 0
    for _ in range(draw(st.integers(0, 20))):
        kinds = ["text", "thinking", "tool", "refusal", "whole", "usage"]
        kinds += ["delta", "seal", "note", "close"] if open_blocks else []
        what = draw(st.sampled_from(kinds))
        at = draw(st.sampled_from(sorted(open_blocks))) if open_blocks else 0
        match what:
            case "whole":
                events.append(whole(draw(st.sampled_from([SEARCH, FOUND]))))
            case "usage":
                events.append(Usage(output=count + 1))
            case "delta":
                events.append(Delta(at, "{}" if open_blocks[at] == "tool" else "a"))
            case "seal":
                if open_blocks[at] == "thinking" and at not in sealed:
                    sealed.add(at)
                    events.append(Sealed(at, draw(st.sampled_from([OWN, REDACTED, FOREIGN]))))
            case "note":
                events.append(Note(at, dialect="anthropic_messages", raw=Raw(b"{}")))
            case "close":
                del open_blocks[at]
                events.append(Close(at))
            case "tool":
                kind = draw(st.sampled_from(["function", "freeform"]))
                events.append(Open(count, "tool", id=f"t{count}", name="f", tool=kind))
                tools += 1
            case kind:
                about = draw(st.sampled_from([None, FOREIGN]))
                events.append(Open(count, kind, seal=about))  # type: ignore[arg-type]
        if isinstance(events[-1], Open) and events[-1].block == count:
            open_blocks[count] = what
            count += 1
    events += [Close(at) for at in open_blocks]
    reason: Reason = "length" if tools else draw(st.sampled_from(["end", "refusal"]))
    return [*events, Stop(reason), End()]


@given(replies())
def test_whatever_is_said_keeps_the_rules_and_is_all_there(events: list[Event]) -> None:
    writer = ReplyWriter(CALL, "made")
    parts = [writer.write(event) + writer.keepalive() for event in events]
    deltas = [
        event["delta"]
        for event in checked(b"".join(parts))
        if "index" in event and "delta" in event
    ]
    said = fold(events).choice(0)
    blocks = [block for block in said.items if isinstance(block, Block)]
    for kinds, member in ((("text", "refusal"), "text"), (("thinking",), "thinking")):
        expected = "".join(block.text for block in blocks if block.opened.kind in kinds)
        assert "".join(delta.get(member, "") for delta in deltas) == expected


def test_pieces_of_a_running_text_are_carried() -> None:
    """Of a text only: what is thought is sealed, and readers have to know all of it."""
    writer, other = (ReplyWriter(Call("x", "m"), "id") for _ in range(2))
    begun: list[Event] = [Start(), Open(0, "thinking"), Delta(0, "a")]
    for event in begun:
        assert writer.carry(0) is None
        assert writer.write(event) == other.write(event)
    assert writer.carry(0) is None
    rest: list[Event] = [Close(0), Open(1, "text"), Delta(1, "a")]
    for event in rest:
        assert writer.write(event) == other.write(event)
    carry = writer.carry(1)
    assert carry is not None
    assert carry(["ä%d".encode()]) == other.write(Delta(1, "ä%d"))
    writer.write(Fail("server", "x"))
    assert writer.carry(1) is None
