"""rawproxy.dialects.openai_responses.writer: events to a stream that clients' accumulators accept."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent

from rawproxy.dialects.base import Back
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Origin, Vault, seal
from rawproxy.dialects.events import (
    BlockKind,
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
from rawproxy.dialects.fold import Block, Choice, fold
from rawproxy.dialects.openai_responses.grammar import ResponseGrammar
from rawproxy.dialects.openai_responses.reader import ResponseReader
from rawproxy.dialects.openai_responses.reasoning import read_reasoning
from rawproxy.dialects.openai_responses.writer import ResponseWriter
from rawproxy.wire import sse

CASES = sorted((Path(__file__).parents[2] / "golden" / "openai_responses").iterdir())
VAULT = Vault(b"key", "me")
CALL = Call("openai_responses", "asked", vault=VAULT)
CLAUDE = seal(Origin("anthropic"), "thinking", '{"type":"thinking","signature":"s"}', ["ab"])
REDACTED = seal(Origin("anthropic"), "redacted_thinking", '{"type":"redacted_thinking"}')
DONE: list[Any] = [Stop("end"), End()]
EVENT: Any = ResponseStreamEvent


def native(*texts: str) -> Any:
    item = {
        "id": "rs_theirs", "type": "reasoning", "encrypted_content": "gAAA",
        "summary": [{"type": "summary_text", "text": text} for text in texts],
    }  # fmt: skip
    raw = {name: Raw(json.dumps(value).encode()) for name, value in item.items()}
    return read_reasoning(raw, Origin("openai"))[1]


def frames(data: bytes) -> list[Any]:
    """The frames' data, after both checkers took them: our grammar and the SDK's accumulator."""
    found = sse.Splitter().feed(data)
    grammar = ResponseGrammar()
    broken = [rule for frame in found for rule in grammar.check(frame)]
    assert broken + grammar.close() == []
    accumulate(data)
    return [json.loads(frame.data) for frame in found]


def accumulate(data: bytes) -> Any:
    """What `client.responses.stream()` makes of it; None where it raises for an error."""
    state: Any = ResponseStreamState(input_tools=[], text_format=openai.omit)
    for frame in sse.Splitter().feed(data):
        event = json.loads(frame.data)
        if event.get("error"):
            return None
        if event["type"] != "keepalive":
            state.handle_event(construct_type(type_=EVENT, value=event))
    return state._completed_response


def stream(events: Sequence[Any], call: Call = CALL) -> tuple[list[Any], ResponseWriter]:
    writer = ResponseWriter(call, "exchange", 99)
    return frames(b"".join(writer.write(event) for event in events)), writer


def output(events: Sequence[Any]) -> list[Any]:
    said, writer = stream([Start("resp_1"), *events, *DONE])
    assert writer.losses == []
    found: list[Any] = said[-1]["response"]["output"]
    done = [one for one in said if one["type"] == "response.output_item.done"]
    assert found == [one["item"] for one in sorted(done, key=lambda one: one["output_index"])]
    return found


def text(*pieces: str, block: int = 0, **opened: Any) -> list[Event]:
    return [
        Open(block, "text", **opened),
        *(Delta(block, piece) for piece in pieces),
        Close(block),
    ]


def tool(*pieces: str, block: int = 0, **opened: Any) -> list[Event]:
    given_name = {"id": f"c{block}", "name": f"f{block}"} | opened
    pieces_said = [Delta(block, piece) for piece in pieces]
    return [Open(block, "tool", **given_name), *pieces_said, Close(block)]


def thinking(sealed: Any, *pieces: str, block: int = 0) -> list[Event]:
    said: list[Event] = [Delta(block, piece) for piece in pieces]
    if sealed:
        said.append(Sealed(block, sealed))
    return [Open(block, "thinking"), *said, Close(block)]


def types(said: list[Any]) -> list[str]:
    return [one["type"].removeprefix("response.") for one in said]


def test_a_stream_from_start_to_end() -> None:
    events = [Start("msg_1", "m", 7), *text("a", "b"), Usage(input=2), Usage(output=1)]
    said, _ = stream([*events, Stop("end"), End("standard")])
    assert types(said) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.delta", "output_text.done", "content_part.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    assert [one["sequence_number"] for one in said] == list(range(10))
    assert said[4] == {
        "type": "response.output_text.delta", "item_id": "msg_msg_1_0", "output_index": 0,
        "content_index": 0, "delta": "a", "logprobs": [], "sequence_number": 4,
    }  # fmt: skip
    response = said[-1]["response"]
    assert (response["id"], response["model"], response["created_at"]) == ("resp_msg_1", "m", 7)
    assert response["usage"] == {
        "input_tokens": 2, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 3,
    }  # fmt: skip
    assert response["service_tier"] == "default"
    part = {"type": "output_text", "text": "ab", "annotations": [], "logprobs": []}
    assert response["output"] == [
        {"id": "msg_msg_1_0", "type": "message", "status": "completed", "role": "assistant",
         "content": [part]}
    ]  # fmt: skip


def test_what_the_upstream_left_out_is_ours() -> None:
    said, _ = stream([Start(), *DONE])
    response = said[0]["response"]
    assert (response["id"], response["model"], response["created_at"]) == (
        "resp_exchange",
        "asked",
        99,
    )
    assert said[-1]["response"]["output"] == []


def test_a_call_and_its_arguments() -> None:
    said, _ = stream([Start("resp_1"), *tool('{"a"', ":1}", namespace="ns"), Stop("tools"), End()])
    assert types(said)[2:-1] == [
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
    ]  # fmt: skip
    item = {"id": "fc_1_0", "type": "function_call", "call_id": "c0", "name": "f0"}
    item["namespace"] = "ns"
    assert said[2]["item"] == item | {"status": "in_progress", "arguments": ""}
    assert said[5]["arguments"] == '{"a":1}'
    assert said[6]["item"] == item | {"status": "completed", "arguments": '{"a":1}'}


def test_a_call_without_arguments_says_an_empty_object() -> None:
    assert output(tool())[0]["arguments"] == "{}"


def test_freeform_input() -> None:
    said, _ = stream([Start("resp_1"), *tool("print", "()", tool="freeform"), *DONE])
    assert types(said)[3:6] == [
        "custom_tool_call_input.delta", "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
    ]  # fmt: skip
    assert said[6]["item"] == {
        "id": "ctc_1_0", "type": "custom_tool_call", "status": "completed", "call_id": "c0",
        "name": "f0", "input": "print()",
    }  # fmt: skip
    assert output(tool(tool="freeform"))[0]["input"] == ""


def test_calls_that_interleave_keep_their_order() -> None:
    found = output([
        Open(0, "tool", id="a", name="f"), Open(1, "tool", id="b", name="g"),
        Delta(1, "{"), Delta(0, "[]"), Close(0), Delta(1, "}"), Close(1),
    ])  # fmt: skip
    assert [(one["call_id"], one["arguments"]) for one in found] == [("a", "[]"), ("b", "{}")]


def test_thinking_is_a_summary() -> None:
    said, _ = stream([Start("resp_1"), *thinking(None, "a", "b"), *DONE])
    assert types(said)[2:-1] == [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.delta", "reasoning_summary_text.done",
        "reasoning_summary_part.done", "output_item.done",
    ]  # fmt: skip
    summary = [{"type": "summary_text", "text": "ab"}]
    assert said[-2]["item"] == {"id": "rs_1_0", "type": "reasoning", "summary": summary}


def test_a_seal_travels_in_an_envelope() -> None:
    (shown,) = output(thinking(CLAUDE, "ab"))
    assert VAULT.open(shown["encrypted_content"]) == CLAUDE
    (hidden,) = output(thinking(REDACTED))
    assert hidden["summary"] == []
    assert VAULT.open(hidden["encrypted_content"]) == REDACTED


def test_the_vendor_s_own_item_goes_back_under_its_own_id() -> None:
    (item,) = output(thinking(native()))
    assert (item["id"], item["encrypted_content"]) == ("rs_theirs", "gAAA")


def test_the_vendor_s_own_item_is_enveloped_where_its_text_streamed_under_an_id_of_ours() -> None:
    (item,) = output(thinking(native("a", "b"), "a\n\nb"))
    assert item["id"] == "rs_1_0"
    assert VAULT.open(item["encrypted_content"]) == native("a", "b")


def test_a_seal_of_a_call_or_a_text_stands_before_it() -> None:
    found = output(
        [*text("a"), *tool("{}", block=1, seal=CLAUDE), *text("b", block=2, seal=CLAUDE)]
    )
    assert [one["type"] for one in found] == [
        "message", "reasoning", "function_call", "reasoning", "message",
    ]  # fmt: skip
    assert found[1]["summary"] == []
    assert VAULT.open(found[3]["encrypted_content"]) == CLAUDE


def test_texts_of_one_phase_are_one_message() -> None:
    found = output([
        *text("a", block=0, phase="commentary"), *text("b", block=1, phase="commentary"),
        *text("c", block=2), Open(3, "refusal"), Delta(3, "no"), Close(3),
    ])  # fmt: skip
    assert [one.get("phase") for one in found] == ["commentary", None]
    assert [[part.get("text") for part in one["content"]] for one in found] == [
        ["a", "b"],
        ["c", None],
    ]


def test_a_text_that_is_open_beside_a_call() -> None:
    found = output([
        Open(0, "text"), Delta(0, "a"), *tool("{}", block=1), Delta(0, "b"), Close(0),
        *text("c", block=2),
    ])  # fmt: skip
    assert [one["type"] for one in found] == ["message", "function_call", "message"]
    assert found[0]["content"][0]["text"] == "ab"


def test_two_texts_at_once_are_two_messages() -> None:
    found = output([
        Open(0, "text"), Delta(0, "a"), Open(1, "text"), Delta(1, "b"), Delta(0, "c"), Close(0),
        Close(1),
    ])  # fmt: skip
    assert [one["content"][0]["text"] for one in found] == ["ac", "b"]


def test_what_says_nothing_is_not_written() -> None:
    assert output([Open(0, "text"), Close(0), *thinking(None, block=1), Usage(input=1)]) == []


def test_citations() -> None:
    note = Note(0, "https://a", "A", start=1, end=2)
    own = Raw(b'{"type":"file_citation","file_id":"f","filename":"n","index":1}')
    said, writer = stream([
        Start(), Open(0, "text"), Delta(0, "abc"), note, Close(0), Note(0, "https://b"),
        Note(0, dialect="openai_responses", raw=own), *DONE,
    ])  # fmt: skip
    kind: dict[str, object] = {"type": "url_citation"}
    first = kind | {"url": "https://a", "title": "A", "start_index": 1, "end_index": 2}
    second = kind | {"url": "https://b", "title": "", "start_index": 0, "end_index": 3}
    added = [one for one in said if one["type"].endswith("annotation.added")]
    assert [one["annotation_index"] for one in added] == [0, 1, 2]
    part = said[-1]["response"]["output"][0]["content"][0]
    assert part["annotations"] == [first, second, json.loads(bytes(own))]
    assert writer.losses == []


def test_a_citation_may_come_before_its_text() -> None:
    found = output([Open(0, "text"), Note(0, "https://a"), Delta(0, "abc"), Close(0)])
    assert found[0]["content"][0]["annotations"][0]["end_index"] == 0


@pytest.mark.parametrize(
    "events",
    [
        [*text("a"), Note(0, None, "A")],
        [*text(), Note(0, "https://a")],
        [*text("a"), *tool("{}", block=1), Note(0, "https://a")],
        [Open(0, "refusal"), Delta(0, "a"), Note(0, "https://a"), Close(0)],
    ],
    ids=["no address", "no text", "too late", "of a refusal"],
)
def test_citations_without_a_place_are_told(events: list[Any]) -> None:
    _, writer = stream([Start(), *events, *DONE])
    assert [loss.path for loss in writer.losses] == ["reply.citations"]


def test_logprobs() -> None:
    logprobs = Raw(b'{"content":[{"token":"%d","logprob":-1.50}],"refusal":null}')
    said, writer = stream(
        [Start(), Open(0, "text"), Delta(0, "", logprobs), Delta(0, "a"), Close(0), *DONE]
    )
    tokens = [{"token": "%d", "logprob": -1.5}]
    assert [one["logprobs"] for one in said[4:7]] == [tokens, [], tokens]
    assert said[-1]["response"]["output"][0]["content"][0]["logprobs"] == tokens
    assert writer.losses == []


@pytest.mark.parametrize("kind", ["text", "refusal"])
def test_other_logprobs_are_told(kind: BlockKind) -> None:
    said, writer = stream(
        [Start(), Open(0, kind), Delta(0, "a", Raw(b'{"content":1}')), Close(0), *DONE]
    )
    assert said[4]["delta"] == "a"
    assert [loss.path for loss in writer.losses] == ["reply.logprobs"]


def test_items_of_the_vendor_s_own_go_whole() -> None:
    raw = Raw(b'{"id":"ws_1","type":"web_search_call","status":"completed","n":1.50}')
    writer = ResponseWriter(CALL, "exchange", 99)
    events = [Start(), *text("a"), Whole("openai_responses", raw, "web_search_call"), *DONE]
    data = b"".join(writer.write(event) for event in events)
    assert data.count(bytes(raw)) == 3
    assert types(frames(data))[-4:-1] == [
        "output_item.done",
        "output_item.added",
        "output_item.done",
    ]


def test_what_has_no_words_here_is_told() -> None:
    other = Whole("anthropic_messages", Raw(b"{}"), "server_tool_use")
    _, writer = stream([
        Start(), other, Whole("openai_responses", Raw(b"{}"), "x", choice=1),
        *tool("{}", runs="vendor"), Open(1, "text", 1), Delta(1, "b"), Sealed(1, CLAUDE), Close(1),
        Stop("end", 1), *DONE,
    ])  # fmt: skip
    assert [loss.path for loss in writer.losses] == [
        "reply.server_tool_use", "reply.choices", "reply.f0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("end", "completed", None), ("tools", "completed", None), ("pause", "completed", None),
        ("stop_sequence", "completed", None), ("compaction", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("context", "incomplete", "max_output_tokens"),
        ("filter", "incomplete", "content_filter"), ("refusal", "incomplete", "content_filter"),
    ],
)  # fmt: skip
def test_why_it_stopped(reason: Reason, status: str, why: str | None) -> None:
    said, _ = stream([Start(), *text("a"), Stop(reason), End()])
    response = said[-1]["response"]
    assert said[-1]["type"] == f"response.{status}"
    assert (response["status"], response["output"][0]["status"]) == (status, status)
    assert response["incomplete_details"] == (why and {"reason": why})


def test_a_call_that_was_cut_off_says_so() -> None:
    said, _ = stream([Start(), *tool(), Stop("length"), End()])
    item = said[-1]["response"]["output"][0]
    assert (item["status"], item["arguments"]) == ("incomplete", "")


@pytest.mark.parametrize("events", [[Open(0, "refusal"), Delta(0, "no"), Close(0)], text()])
def test_a_refusal_in_words_is_complete(events: list[Any]) -> None:
    said, _ = stream([Start(), *events, Stop("refusal", detail="no"), End()])
    assert said[-1]["type"] == "response.completed"
    content = said[-1]["response"]["output"][0]["content"]
    assert content == [{"type": "refusal", "refusal": "no"}]


def test_output_that_cannot_be_read_is_a_failure() -> None:
    said, _ = stream([Start(), Stop("malformed"), End()])
    assert types(said)[-2:] == ["error", "failed"]


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ([], 0),
        ([Start()], 0),
        ([Start(), *text("a"), Open(1, "tool", id="c", name="f"), Delta(1, "{")], 1),
        ([Start(), Open(0, "text"), Delta(0, "a")], 0),
        ([Start(), *tool("{}")], 1),
    ],
)
def test_a_failure_is_the_last_word(before: list[Event], kept: int) -> None:
    said, writer = stream([*before, Usage(input=1), Fail("rate_limit", "slow", retry_after=2.0)])
    event, last = said[-2:]
    told = {"code": "rate_limit_exceeded", "message": "slow Please try again in 2s."}
    assert event["error"] == told | {"type": "rate_limit_exceeded", "param": None}
    assert {name: event[name] for name in ("code", "message", "param")} == told | {"param": None}
    assert (last["type"], last["response"]["error"]) == ("response.failed", told)
    assert last["response"]["usage"]["input_tokens"] == 1
    assert len(last["response"]["output"]) == kept
    assert writer.write(End()) == writer.keepalive() == b""


def test_a_failure_before_anyone_counted() -> None:
    said, _ = stream([Fail("server", "m")])
    assert types(said) == ["created", "in_progress", "error", "failed"]
    assert said[-1]["response"]["usage"] is None


def test_pieces_are_carried_as_they_stand() -> None:
    writer = ResponseWriter(CALL, "exchange", 99)
    before: list[Event] = [Start("resp_1"), Open(0, "text"), Delta(0, "a")]
    data = b"".join(writer.write(event) for event in before)
    carry = writer.carry(0)
    assert carry is not None
    data += carry(["é%d".encode()]) + writer.keepalive() + carry([b"b"])
    after = [Note(0, "u"), Close(0), *DONE]
    said = frames(data + b"".join(writer.write(event) for event in after))
    assert said[5]["delta"] == "é%d"
    part = said[-1]["response"]["output"][0]["content"][0]
    assert (part["text"], part["annotations"][0]["end_index"]) == ("aé%db", 5)


@pytest.mark.parametrize(
    "events",
    [
        [],
        [Open(0, "text")],
        [Open(0, "refusal"), Delta(0, "a")],
        [Open(0, "tool", id="c", name="f")],
        [Open(0, "text"), Delta(0, "a"), Open(1, "tool", id="c", name="f"), Close(1)],
        [Open(0, "text"), Delta(0, "a"), Close(0)],
        [Open(0, "text"), Delta(0, "a"), Fail("server", "m")],
    ],
)
def test_nothing_else_is_carried(events: list[Event]) -> None:
    writer = ResponseWriter(CALL, "exchange", 99)
    for event in [Start(), *events]:
        writer.write(event)
    assert writer.carry(0) is None


def test_a_stream_that_began_without_us_is_not_begun_again() -> None:
    writer = ResponseWriter(CALL, "exchange", 99)
    writer.joined()
    assert b"keepalive" in writer.keepalive()
    said = [json.loads(one.data) for one in sse.Splitter().feed(writer.write(Fail("server", "m")))]
    assert types(said) == ["error", "failed"]
    assert [one["sequence_number"] for one in said] == [1, 2]


def test_a_keepalive_begins_the_stream_and_its_id_stays() -> None:
    writer = ResponseWriter(CALL, "exchange", 99)
    data = writer.keepalive() + writer.write(Start("resp_theirs", "m")) + writer.keepalive()
    data += b"".join(writer.write(event) for event in [*text("a"), *DONE])
    said = frames(data)
    assert types(said)[:5] == [
        "created", "in_progress", "keepalive", "keepalive", "output_item.added",
    ]  # fmt: skip
    assert {one["response"]["id"] for one in said if "response" in one} == {"resp_exchange"}


def test_the_sdk_puts_the_reply_together() -> None:
    writer = ResponseWriter(CALL, "exchange", 99)
    events = [
        Start(), *thinking(CLAUDE, "ab"), *text("hel", "lo", block=1), *tool('{"a":1}', block=2),
        Stop("tools"), End(),
    ]  # fmt: skip
    response = accumulate(b"".join(writer.write(event) for event in events))
    assert response.output_text == "hello"
    assert response.output[2].arguments == '{"a":1}'


def golden(case: Path) -> list[Event]:
    reader = ResponseReader(Back(Origin("openai")))
    found = sse.Splitter().feed((case / "stream.sse").read_bytes())
    return [event for frame in found for event in reader.read(frame)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_cases_say_the_same_again(case: Path) -> None:
    events = golden(case)
    writer = ResponseWriter(CALL, "exchange", 99)
    data = b"".join(writer.write(event) for event in events)
    frames(data)
    reader = ResponseReader(Back())
    read = [event for frame in sse.Splitter().feed(data) for event in reader.read(frame)]
    assert (reader.unknown, writer.losses) == (0, [])
    assert [one for one in read if not isinstance(one, Sealed)] == [
        one for one in events if not isinstance(one, Sealed)
    ]
    sealed = [one for one in read if isinstance(one, Sealed)]
    assert [one.block for one in sealed] == [one.block for one in events if isinstance(one, Sealed)]


@st.composite
def replies(draw: st.DrawFn) -> list[Event]:
    """Any sequence that readers make: tools interleave with all, texts of a choice do not."""
    events: list[Event] = [Start(draw(st.none() | st.just("resp_id")))]
    live: list[Open] = []
    for number in range(draw(st.integers(0, 6))):
        kinds: list[BlockKind] = ["text", "thinking", "tool", "refusal"]
        kind = draw(st.sampled_from(kinds))
        opened = Open(
            number, kind, 0, f"c{number}", f"f{number}",
            tool=draw(st.sampled_from(["function", "freeform"])),
            seal=draw(st.none() | st.just(REDACTED)) if kind != "thinking" else None,
            phase=draw(st.none() | st.just("commentary")) if kind == "text" else None,
        )  # fmt: skip
        if kind != "tool":
            done = [one for one in live if one.kind != "tool"]
            live = [one for one in live if one not in done]
            events += [Close(one.block) for one in done]
        events.append(opened)
        live.append(opened)
        for _ in range(draw(st.integers(0, 3))):
            block = draw(st.sampled_from(live)).block
            events.append(Delta(block, draw(st.text(min_size=1, max_size=3))))
            if draw(st.booleans()) and kind == "text":
                events.append(Note(number, "https://a", "A", start=0, end=1))
        if kind == "thinking" and draw(st.booleans()):
            events.append(Sealed(number, draw(st.sampled_from([CLAUDE, native()]))))
        if draw(st.booleans()):
            events.append(Close(live.pop(draw(st.integers(0, len(live) - 1))).block))
    if draw(st.booleans()):
        return [*events, Fail("server", "m")]
    rest: list[Event] = [Close(one.block) for one in live]
    return [*events, *rest, Stop("end"), Usage(input=1), End()]


def said_by(choice: Choice, kind: str) -> list[tuple[str | None, str]]:
    return [(block.opened.phase, block.text) for block in choice.blocks(kind) if block.text]


def seals(choice: Choice) -> int:
    blocks = [item for item in choice.items if isinstance(item, Block)]
    return sum((block.seal is not None) + (block.opened.seal is not None) for block in blocks)


@given(replies(), st.booleans())
def test_any_legal_reply_makes_a_good_stream(events: list[Event], alive: bool) -> None:
    writer = ResponseWriter(CALL, "exchange", 99)
    data = writer.keepalive() if alive else b""
    for event in events:
        data += writer.write(event) + (writer.keepalive() if alive else b"")
    frames(data)
    reader = ResponseReader(Back(Origin("other")))
    read = [event for frame in sse.Splitter().feed(data) for event in reader.read(frame)]
    assert reader.unknown == len(writer.losses) == 0
    if isinstance(events[-1], Fail):
        assert read[-1] == Fail("server", "m", code=None)
        return
    got, said = fold(read).choice(0), fold(events).choice(0)
    for kind in ("text", "thinking", "refusal"):
        assert said_by(got, kind) == said_by(said, kind)
    assert [
        (one.opened.id, one.opened.name, one.opened.tool, one.text) for one in got.blocks("tool")
    ] == [
        (one.opened.id, one.opened.name, one.opened.tool, one.text or empty(one))
        for one in said.blocks("tool")
    ]
    assert len([note for block in got.blocks("text") for note in block.notes]) == len(
        [note for block in said.blocks("text") for note in block.notes]
    )
    assert seals(got) == seals(said)


def empty(block: Block) -> str:
    return "{}" if block.opened.tool == "function" else ""
