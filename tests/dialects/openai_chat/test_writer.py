"""rawproxy.dialects.openai_chat.writer: events to chunks and bodies that clients' accumulators accept."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

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
from rawproxy.dialects.fold import fold
from rawproxy.dialects.openai_chat.grammar import ChunkGrammar
from rawproxy.dialects.openai_chat.reader import ChunkReader
from rawproxy.dialects.openai_chat.writer import ChunkWriter, write_body
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire import sse

VAULT = Vault(b"key", "me")
CALL = Call("openai_chat", "asked", vault=VAULT)
COUNTING = Call("openai_chat", "asked", vault=VAULT, wants_usage=True)
LEGACY = Call("openai_chat", "asked", vault=VAULT, names={"tools": "functions"})
CLAUDE = seal(Origin("anthropic"), "thinking", '{"type":"thinking","signature":"s"}', ["ab"])
REDACTED = seal(Origin("anthropic"), "redacted_thinking", '{"type":"redacted_thinking"}')
NATIVE = seal(
    Origin("x"), "reasoning_details", '{"type":"reasoning.summary","id":"r","index":7}', ["ab"]
)
PLAIN = seal(Origin("deepseek"), "reasoning_content", "{}", ["ab"])
DONE: list[Any] = [Stop("end"), End()]


def stream(events: Sequence[Any], call: Call = CALL) -> tuple[list[Any], ChunkWriter]:
    writer = ChunkWriter(call, "exchange", 99)
    data = b"".join(writer.write(event) for event in events)
    grammar = ChunkGrammar()
    frames = sse.Splitter().feed(data)
    broken = [rule for frame in frames for rule in grammar.check(frame)]
    assert broken + grammar.close() == []
    chunks = [json.loads(frame.data) if frame.data != b"[DONE]" else "done" for frame in frames]
    return chunks, writer


def deltas(events: Sequence[Any], call: Call = CALL, choice: int = 0) -> list[Any]:
    chunks, _ = stream([Start(), *events], call)
    choices = [one for chunk in chunks if chunk != "done" for one in chunk["choices"]]
    return [one["delta"] for one in choices if one["index"] == choice and one["delta"]][1:]


def message(events: Sequence[Any], call: Call = CALL) -> Any:
    body, _ = write_body([Start(), *events], call, "exchange", 99)
    return json.loads(body)["choices"][0]["message"]


def text(*pieces: str, block: int = 0, phase: str | None = None, choice: int = 0) -> list[Event]:
    opened = Open(block, "text", choice, phase=phase)
    return [opened, *(Delta(block, piece) for piece in pieces), Close(block)]


def tool(*pieces: str, block: int = 0, **opened: Any) -> list[Event]:
    given_name = {"id": f"c{block}", "name": f"f{block}"} | opened
    pieces_said = [Delta(block, piece) for piece in pieces]
    return [Open(block, "tool", **given_name), *pieces_said, Close(block)]


def thinking(sealed: Any, *pieces: str, block: int = 0) -> list[Event]:
    said: list[Event] = [Delta(block, piece) for piece in pieces]
    if sealed:
        said.append(Sealed(block, sealed))
    return [Open(block, "thinking"), *said, Close(block)]


def test_a_stream_from_start_to_end() -> None:
    events = [
        Start("msg_1", "m", 7),
        *text("a", "b"),
        Usage(input=2, output=1),
        Stop("end"),
        End("flex"),
    ]
    chunks, _ = stream(events, COUNTING)
    assert [chunk != "done" and chunk["usage"] for chunk in chunks] == [
        None, None, None, None,
        {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}, False,
    ]  # fmt: skip
    assert {(c["id"], c["created"], c["model"]) for c in chunks[:-1]} == {
        ("chatcmpl-msg_1", 7, "m")
    }
    first, last = chunks[0]["choices"][0], chunks[-3]["choices"][0]
    assert first["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert (last["delta"], last["finish_reason"]) == ({}, "stop")
    assert (chunks[-2]["choices"], chunks[-2]["service_tier"]) == ([], "flex")


def test_what_the_upstream_left_out_is_ours() -> None:
    chunks, _ = stream([Start(), *DONE])
    assert (chunks[0]["id"], chunks[0]["created"], chunks[0]["model"]) == (
        "chatcmpl-exchange",
        99,
        "asked",
    )
    assert "usage" not in chunks[0]
    body = json.loads(write_body([Start(), *DONE], CALL, "chatcmpl-exchange", 99)[0])
    assert (body["id"], body["created"], body["model"]) == ("chatcmpl-exchange", 99, "asked")
    assert body["choices"][0]["message"]["content"] is None
    assert "usage" not in body


def test_nobody_counted() -> None:
    chunks, _ = stream([Start(), *DONE], COUNTING)
    assert (len(chunks), chunks[-1]) == (3, "done")


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("end", "stop"), ("length", "length"), ("tools", "tool_calls"), ("stop_sequence", "stop"),
        ("refusal", "content_filter"), ("filter", "content_filter"), ("pause", "stop"),
        ("context", "length"), ("malformed", "stop"), ("compaction", "stop"),
    ],
)  # fmt: skip
def test_finish_reasons(reason: Reason, word: str) -> None:
    chunks, _ = stream([Start(), Stop(reason, sequence="X"), End()])
    last = chunks[-2]["choices"][0]
    assert (last["finish_reason"], last["stop_sequence"]) == (word, "X")
    body = json.loads(write_body([Start(), Stop(reason), End()], CALL, "x", 9)[0])
    assert body["choices"][0]["finish_reason"] == word


def test_tool_calls_are_numbered_densely_and_said_once() -> None:
    events = [
        *text("a"),
        Open(1, "tool", id="c1", name="f", namespace="ns"),
        Open(2, "tool", id="c2", name="sh", tool="freeform"),
        Delta(2, "l"),
        Delta(1, "{}"),
        Delta(2, "s"),
        Close(2),
        Close(1),
        *tool(block=3),
        Stop("tools"),
        End(),
    ]
    assert [delta["tool_calls"][0] for delta in deltas(events)[1:]] == [
        {
            "index": 0,
            "id": "c1",
            "type": "function",
            "function": {"name": "ns__f", "arguments": ""},
        },
        {"index": 1, "id": "c2", "type": "custom", "custom": {"name": "sh", "input": ""}},
        {"index": 1, "custom": {"input": "l"}},
        {"index": 0, "function": {"arguments": "{}"}},
        {"index": 1, "custom": {"input": "s"}},
        {"index": 2, "id": "c3", "type": "function", "function": {"name": "f3", "arguments": ""}},
        {"index": 2, "function": {"arguments": "{}"}},
    ]
    assert message(events)["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "ns__f", "arguments": "{}"}},
        {"id": "c2", "type": "custom", "custom": {"name": "sh", "input": "ls"}},
        {"id": "c3", "type": "function", "function": {"name": "f3", "arguments": "{}"}},
    ]


def test_whoever_sends_functions_gets_one_function_call() -> None:
    events = [*tool('{"x"', ":1}"), *tool("{}", block=1), Stop("tools"), End()]
    chunks, writer = stream([Start(), *events], LEGACY)
    assert [chunk["choices"][0]["delta"].get("function_call") for chunk in chunks[1:-2]] == [
        {"name": "f0", "arguments": ""}, {"arguments": '{"x"'}, {"arguments": ":1}"},
    ]  # fmt: skip
    assert chunks[-2]["choices"][0]["finish_reason"] == "function_call"
    assert [loss.path for loss in writer.losses] == ["reply.f1"]
    body, losses = write_body([Start(), *events], LEGACY, "x", 9)
    choice = json.loads(body)["choices"][0]
    assert choice["message"]["function_call"] == {"name": "f0", "arguments": '{"x":1}'}
    assert (choice["finish_reason"], losses) == ("function_call", writer.losses)


def test_what_the_vendor_ran_has_no_words_here() -> None:
    events: list[Event] = [
        Start(),
        *tool("{}", runs="vendor", name="web_search"),
        Whole("anthropic_messages", Raw(b"{}"), "web_search_tool_result"),
        *text("a", block=1),
        Note(1, quote="no address"),
        *DONE,
    ]
    chunks, writer = stream(events)
    body, losses = write_body(events, CALL, "x", 9)
    assert len(chunks) == 4
    assert losses == writer.losses
    assert [loss.path for loss in losses] == [
        "reply.web_search", "reply.web_search_tool_result", "reply.citations",
    ]  # fmt: skip
    assert "tool_calls" not in json.loads(body)["choices"][0]["message"]


def test_refusals() -> None:
    said: list[Event] = [
        Open(0, "refusal"),
        Delta(0, "No"),
        Close(0),
        Stop("refusal", detail="No"),
        End(),
    ]
    assert deltas(said) == [{"refusal": "No"}]
    assert message(said)["refusal"] == "No"
    explained: list[Event] = [Stop("refusal", detail="Unsafe"), End()]
    assert deltas(explained) == [{"refusal": "Unsafe"}]
    assert message(explained)["refusal"] == "Unsafe"
    assert message([Stop("refusal"), End()])["refusal"] is None


def test_a_change_of_phase_is_a_blank_line() -> None:
    events = [
        *text("a", phase="commentary"), *text("b", block=1, phase="commentary"),
        *text("c", "d", block=2, phase="final_answer"), *text(block=3), *DONE,
    ]  # fmt: skip
    assert [delta["content"] for delta in deltas(events)] == ["a", "b", "\n\nc", "d"]
    assert message(events)["content"] == "ab\n\ncd"


def test_annotations_count_from_the_start_of_the_content() -> None:
    cited: list[Event] = [
        Note(1, "https://example.com", "T", start=0, end=1),
        Note(1, "https://example.org"),
    ]
    events = [*text("aé"), *text("bcd", block=1), *cited, *DONE]
    spans = [("T", 2, 3), ("", 2, 5)]
    for annotations in (deltas(events)[-1]["annotations"], message(events)["annotations"]):
        found = [one["url_citation"] for one in annotations]
        assert [(one["title"], one["start_index"], one["end_index"]) for one in found] == spans


def entries(events: Sequence[Any]) -> list[Any]:
    return [entry for delta in deltas(events) for entry in delta.get("reasoning_details", ())]


@pytest.mark.parametrize(
    ("sealed", "streamed", "whole"),
    [
        (None, [], {"type": "reasoning.text", "text": "ab"}),
        (PLAIN, [], {"type": "reasoning.text", "text": "ab"}),
        (
            NATIVE,
            [{"type": "reasoning.summary", "id": "r"}],
            {"type": "reasoning.summary", "id": "r", "summary": "ab"},
        ),
        (
            CLAUDE,
            [{"type": "reasoning.text", "signature": VAULT.pack(CLAUDE)}],
            {"type": "reasoning.text", "text": "ab", "signature": VAULT.pack(CLAUDE)},
        ),
    ],
)
def test_reasoning_and_its_seals(sealed: Any, streamed: list[Any], whole: Any) -> None:
    events = [*thinking(sealed, "a", "b"), *text("c", block=1), *DONE]
    said = [{"index": 0, "type": "reasoning.text", "text": one} for one in "ab"]
    assert entries(events) == said + [{"index": 0} | one for one in streamed]
    assert [delta.get("reasoning_content") for delta in deltas(events)][:2] == ["a", "b"]
    assert message(events)["reasoning_details"] == [whole | {"index": 0}]
    assert message(events)["reasoning_content"] == "ab"


def test_seals_without_text_and_on_other_blocks() -> None:
    events = [
        *thinking(None),
        *thinking(REDACTED, block=1),
        *thinking(seal(Origin("x"), "reasoning_content", "{}"), block=2),
        *thinking(CLAUDE, "ab", block=3),
        *tool("{}", block=4, seal=REDACTED),
        Stop("tools"),
        End(),
    ]
    packed = {"type": "reasoning.encrypted", "data": VAULT.pack(REDACTED)}
    signed = {"index": 1, "type": "reasoning.text"}
    assert entries(events) == [
        packed | {"index": 0},
        signed | {"text": "ab"},
        signed | {"signature": VAULT.pack(CLAUDE)},
        packed | {"index": 2},
    ]
    assert [entry["index"] for entry in message(events)["reasoning_details"]] == [0, 1, 2]
    assert [delta.keys() for delta in deltas(events)][-2:] == [{"tool_calls"}] * 2


def test_log_probabilities() -> None:
    one, two = b'{"content":[{"token":"a"}],"refusal":null}', b'{"content":[{"token":"b"}]}'
    events: list[Event] = [
        Open(0, "text"),
        Delta(0, "a", Raw(one)),
        Delta(0, "", Raw(two)),
        Close(0),
        *DONE,
    ]
    chunks, _ = stream([Start(), *events])
    assert [c["choices"][0]["logprobs"] for c in chunks[1:3]] == [json.loads(one), json.loads(two)]
    body = json.loads(write_body([Start(), *events], CALL, "x", 9)[0])
    assert body["choices"][0]["logprobs"] == {
        "content": [{"token": "a"}, {"token": "b"}],
        "refusal": [],
    }


def test_several_choices() -> None:
    events = [
        Start(),
        *text("x", choice=1),
        *text("a", block=1),
        Stop("length", 1),
        Stop("end"),
        End(),
    ]
    chunks, _ = stream(events)
    assert chunks[0]["choices"][0]["index"] == 0
    body = json.loads(write_body(events, CALL, "x", 9)[0])
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in body["choices"]] == [
        (0, "a", "stop"), (1, "x", "length"),
    ]  # fmt: skip


def test_a_body_has_usage_and_tier() -> None:
    body, _ = write_body(
        [Start(), Usage(input=1), Usage(output=2), Stop("end"), End("flex")], CALL, "x", 9
    )
    found = json.loads(body)
    assert (found["usage"]["total_tokens"], found["service_tier"]) == (3, "flex")


def test_usage_is_merged_until_the_end() -> None:
    chunks, _ = stream([Start(), Usage(input=1), Usage(output=2), *DONE], COUNTING)
    assert chunks[-2]["usage"]["total_tokens"] == 3


@pytest.mark.parametrize(
    "before", [[], [Start()], [Start(), Open(0, "tool", id="c", name="f"), Delta(0, "{")]]
)
def test_a_failure_is_the_last_word(before: list[Event]) -> None:
    chunks, writer = stream([*before, Fail("rate_limit", "slow down")])
    assert chunks[-1]["error"]["message"] == "slow down"
    assert chunks[-1]["error"]["code"] == "rate_limit_exceeded"
    assert writer.write(End()) == b""


def test_a_failed_reply_is_no_body() -> None:
    with pytest.raises(UpstreamNonsense):
        write_body([Start(), Fail("server", "m")], CALL, "x", 9)


def test_keepalives_mean_nothing() -> None:
    writer = ChunkWriter(CALL, "x", 9)
    writer.joined()
    (frame,) = sse.Splitter().feed(writer.keepalive())
    assert not frame.has_data


@st.composite
def replies(draw: st.DrawFn) -> list[Event]:
    """Any sequence that readers make: tools interleave with all, texts of a choice do not."""
    events: list[Event] = [Start(draw(st.none() | st.just("id")))]
    live: list[Open] = []
    for number in range(draw(st.integers(0, 6))):
        kinds: list[BlockKind] = ["text", "thinking", "tool", "refusal"]
        kind = draw(st.sampled_from(kinds))
        opened = Open(
            number, kind, draw(st.integers(0, 1)), f"c{number}", f"f{number}",
            tool=draw(st.sampled_from(["function", "freeform"])),
            seal=draw(st.none() | st.just(REDACTED)),
        )  # fmt: skip
        if kind != "tool":
            done = [one for one in live if one.kind != "tool" and one.choice == opened.choice]
            live = [one for one in live if one not in done]
            events += [Close(one.block) for one in done]
        events.append(opened)
        live.append(opened)
        for _ in range(draw(st.integers(0, 3))):
            block = draw(st.sampled_from(live)).block
            events.append(Delta(block, draw(st.text(min_size=1, max_size=3))))
        if opened.kind == "thinking" and draw(st.booleans()):
            events.append(Sealed(opened.block, draw(st.sampled_from([CLAUDE, NATIVE, PLAIN]))))
        if draw(st.booleans()):
            events.append(Close(live.pop(draw(st.integers(0, len(live) - 1))).block))
    if draw(st.booleans()):
        return [*events, Fail("server", "m")]
    chosen = {one.choice for one in events if isinstance(one, Open)} | {0}
    rest: list[Event] = [*(Close(one.block) for one in live), *(Stop("end", one) for one in chosen)]
    return [*events, *rest, Usage(input=1), End()]


@given(replies(), st.booleans())
def test_any_legal_reply_makes_a_good_stream(events: list[Event], counting: bool) -> None:
    chunks, writer = stream(events, COUNTING if counting else CALL)
    if isinstance(events[-1], Fail):
        return
    reader = ChunkReader(Back())
    data = b"".join(
        sse.write(json.dumps(one).encode() if one != "done" else b"[DONE]") for one in chunks
    )
    read = fold([event for frame in sse.Splitter().feed(data) for event in reader.read(frame)])
    said = fold(events)
    assert reader.unknown == len(writer.losses) == 0
    for number, choice in said.choices.items():
        for kind in ("text", "refusal"):
            assert read.choice(number).text(kind) == choice.text(kind)
        sent = [
            (b.opened.id, b.text or ("{}" if b.opened.tool == "function" else ""))
            for b in choice.blocks("tool")
        ]
        assert [(b.opened.id, b.text) for b in read.choice(number).blocks("tool")] == sent


def test_pieces_of_a_running_text_are_carried() -> None:
    """What was carried counts: a later citation says where in the whole text it stands."""
    writer, other = (ChunkWriter(CALL, "id", 0) for _ in range(2))
    for event in (Start(), Open(0, "text"), Delta(0, "ab")):
        assert writer.carry(0) is None
        assert writer.write(event) == other.write(event)
    carry = writer.carry(0)
    assert carry is not None
    assert carry(["ä%d".encode()]) == other.write(Delta(0, "ä%d"))
    assert carry([b"c"]) == other.write(Delta(0, "c"))
    said = b"".join(other.write(Delta(0, text)) for text in ('"', "\n\\n"))
    assert carry([b'\\"', b"\\n\\\\n"]) == said
    rest: list[Event] = [
        Close(0), Open(1, "text"), Delta(1, "xyz"), Note(1, url="u", start=0, end=3), Close(1), Stop("end"),
    ]  # fmt: skip
    assert [writer.write(event) for event in rest] == [other.write(event) for event in rest]
    assert writer.carry(2) is None
