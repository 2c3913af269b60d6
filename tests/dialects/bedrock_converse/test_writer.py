"""rawproxy.dialects.bedrock_converse.writer: events to a stream, and to a body."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.bedrock_converse.grammar import ReplyGrammar
from rawproxy.dialects.bedrock_converse.writer import ReplyWriter, write_body
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
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire import eventstream

VAULT = Vault(b"key", "me")
CALL = Call("bedrock_converse", "asked", vault=VAULT)
CLAUDE = Origin("anthropic")
OWN = seal(CLAUDE, "thinking", '{"type":"thinking","signature":"sig"}', ["Hm"])
REDACTED = seal(CLAUDE, "redactedContent", '{"redactedContent":"ZA=="}')
MESSAGES = seal(CLAUDE, "redacted_thinking", '{"type":"redacted_thinking","data":"d"}')
FOREIGN = seal(Origin("openai"), "reasoning", '{"id":"rs_1"}', ["Hm"])
DONE: list[Event] = [Stop("end"), End()]
NO_COUNTS = {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}

Message = tuple[str, Any]


def checked(stream: bytes) -> list[Message]:
    grammar = ReplyGrammar()
    frames = eventstream.Splitter().feed(stream)
    assert [rule for one in frames for rule in grammar.check(one)] + grammar.close() == []
    return [(one.name.decode(), json.loads(one.data)) for one in frames]


def stream(*events: Event, losses: tuple[str, ...] = (), call: Call = CALL) -> list[Message]:
    writer = ReplyWriter(call)
    found = checked(b"".join(map(writer.write, events)))
    assert [loss.path for loss in writer.losses] == list(losses)
    return found


def body(*events: Event, losses: tuple[str, ...] = (), call: Call = CALL) -> dict[str, Any]:
    data, lost = write_body(list(events), call)
    assert [loss.path for loss in lost] == list(losses)
    return dict(json.loads(data))


def content(found: list[Message]) -> list[dict[str, Any]]:
    """What a client makes of a stream: blocks put together from their deltas."""
    made: list[dict[str, Any]] = []
    for _, one in found:
        at = one.get("contentBlockIndex", -1)
        made += [{}] * (at == len(made))
        if "start" in one:
            made[at] = {kind: dict(item) for kind, item in one["start"].items()}
        match one.get("delta", {}):
            case {"text": piece}:
                made[at]["text"] = made[at].get("text", "") + piece
            case {"toolUse": {"input": piece}}:
                made[at]["toolUse"]["input"] = made[at]["toolUse"].get("input", "") + piece
            case {"reasoningContent": {"redactedContent": data}}:
                made[at] = {"reasoningContent": {"redactedContent": data}}
            case {"reasoningContent": pieces}:
                inner = made[at].setdefault("reasoningContent", {"reasoningText": {}})
                said = inner["reasoningText"]
                said |= {name: said.get(name, "") + piece for name, piece in pieces.items()}
            case {"citation": citation}:
                made[at].setdefault("citations", []).append(citation)
            case {"toolResult": results}:
                made[at]["toolResult"]["content"] = results
            case {"image": image}:
                made[at]["image"] |= image
    for block in made:
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"])
        if "citations" in block:
            inner = {"content": [{"text": block.pop("text", "")}]}
            block["citationsContent"] = inner | {"citations": block.pop("citations")}
    return made


def both(*events: Event, losses: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The blocks, which are the same in a stream and in a body."""
    all_events = (Start(), *events, *DONE)
    blocks = content(stream(*all_events, losses=losses))
    assert body(*all_events, losses=losses)["output"]["message"]["content"] == blocks
    return blocks


def block(number: int, kind: Any, *text: str, **opened: Any) -> list[Event]:
    return [
        Open(number, kind, **opened),
        *(Delta(number, piece) for piece in text),
        Close(number),
    ]


def signed(text: str, signature: str) -> dict[str, Any]:
    return {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}}


def test_a_plain_stream() -> None:
    usage = Usage(
        input=10, output=4, cache_read=3, cache_write=2, cache_write_1h=2, cache_write_5m=0
    )
    events = [Start("x", "m"), *block(0, "text", "a", "b"), Stop("end"), usage, End("standard")]
    assert stream(*events) == [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "a"}}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "b"}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        (
            "metadata",
            {
                "usage": {
                    "inputTokens": 5, "outputTokens": 4, "totalTokens": 14,
                    "cacheReadInputTokens": 3, "cacheWriteInputTokens": 2,
                    "cacheDetails": [{"ttl": "1h", "inputTokens": 2}],
                },
                "metrics": {"latencyMs": 0}, "serviceTier": {"type": "default"},
            },
        ),
    ]  # fmt: skip


def test_a_plain_body() -> None:
    assert body(Start("x", "m"), *block(0, "text", "a"), Stop("end"), Usage(input=2), End()) == {
        "output": {"message": {"role": "assistant", "content": [{"text": "a"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 2, "outputTokens": 0, "totalTokens": 2},
        "metrics": {"latencyMs": 0},
    }


def test_a_reply_without_anything() -> None:
    assert both(*block(0, "text"), *block(1, "thinking")) == []
    assert stream(End())[-1] == ("metadata", {"usage": NO_COUNTS, "metrics": {"latencyMs": 0}})
    assert body(*DONE)["usage"] == NO_COUNTS


def test_counts_are_merged() -> None:
    events: list[Event] = [Start(), Usage(input=5), Stop("end"), Usage(output=2), End()]
    assert stream(*events)[-1][1]["usage"]["totalTokens"] == 7


def test_kinds_of_blocks() -> None:
    assert both(
        *block(0, "thinking", "H", "m"),
        *block(1, "refusal", "No."),
        *block(2, "tool", '{"x"', ":1}", id="t1", name="f"),
        *block(3, "tool", id="t2", name="g", namespace="ns"),
        *block(4, "tool", "ls\n", '"x"', id="t3", name="sh", tool="freeform"),
        *block(5, "text", ""),
    ) == [
        {"reasoningContent": {"reasoningText": {"text": "Hm"}}},
        {"text": "No."},
        {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"x": 1}}},
        {"toolUse": {"toolUseId": "t2", "name": "ns__g", "input": {}}},
        {"toolUse": {"toolUseId": "t3", "name": "sh", "input": {"input": 'ls\n"x"'}}},
    ]


def test_arguments_that_are_no_object_go_to_a_stream_as_they_are() -> None:
    events = [Start(), *block(0, "tool", "{a", id="t", name="f"), Stop("length"), End()]
    assert (
        "contentBlockDelta",
        {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{a"}}},
    ) in stream(*events)
    found = body(*events, losses=("reply.input",))["output"]["message"]["content"]
    assert found[0]["toolUse"]["input"] == {"_raw": "{a"}


def test_seals_of_its_own_are_native_and_others_travel_in_envelopes() -> None:
    def thought(number: int, *text: str, sealed: Any) -> list[Event]:
        opened, *rest = block(number, "thinking", *text)
        return [opened, *rest[:-1], Sealed(number, sealed), Close(number)]

    assert both(
        *thought(0, "Hm", sealed=OWN),
        *thought(1, "Hm", sealed=FOREIGN),
        *thought(2, sealed=REDACTED),
        *thought(3, sealed=FOREIGN),
        *thought(4, "Hm", sealed=REDACTED),
        *thought(5, sealed=MESSAGES),
        *block(6, "text", "a"),
    ) == [
        signed("Hm", "sig"),
        signed("Hm", VAULT.pack(FOREIGN)),
        {"reasoningContent": {"redactedContent": "ZA=="}},
        signed("", VAULT.pack(FOREIGN)),
        signed("Hm", VAULT.pack(REDACTED)),
        signed("", VAULT.pack(MESSAGES)),
        {"text": "a"},
    ]


def test_a_seal_of_a_tool_or_a_text_has_a_carrier_before_it() -> None:
    carrier = signed("", VAULT.pack(FOREIGN))
    assert both(
        *block(0, "text", "a", seal=FOREIGN),
        *block(1, "tool", id="t", name="f", seal=FOREIGN),
    ) == [
        carrier,
        {"text": "a"},
        carrier,
        {"toolUse": {"toolUseId": "t", "name": "f", "input": {}}},
    ]


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
        {"toolUse": {"toolUseId": "a", "name": "f", "input": {"a": 1}}},
        {"toolUse": {"toolUseId": "b", "name": "g", "input": {"b": 2}}},
    ]


CITED = {"title": "T", "location": {"documentChar": {"documentIndex": 0}}}
WEB = {"title": "T", "sourceContent": [{"text": "q"}], "location": {"web": {"url": "https://a"}}}


def test_citations_of_its_own_and_of_others() -> None:
    own = Note(0, dialect="bedrock_converse", raw=Raw(json.dumps(CITED).encode()))
    other = Note(0, "https://a", "T", "q", dialect="openai_chat", raw=Raw(b"{}"))
    nothing = Note(0, dialect="openai_chat", raw=Raw(b"{}"))
    text = Open(0, "text")
    for note, cited in ((own, CITED), (other, WEB)):
        inner = {"content": [{"text": "a"}], "citations": [cited]}
        assert both(text, Delta(0, "a"), note, Close(0)) == [{"citationsContent": inner}]
    inner = {"content": [{"text": ""}], "citations": [CITED]}
    assert both(text, own, Close(0)) == [{"citationsContent": inner}]
    lost = ("reply.citations",)
    assert both(text, Delta(0, "a"), nothing, nothing, Close(0), losses=lost) == [{"text": "a"}]
    late = (Start(), text, Delta(0, "a"), Close(0), own, *DONE)
    assert content(stream(*late, losses=lost)) == [{"text": "a"}]
    assert "citationsContent" in body(*late)["output"]["message"]["content"][0]


def test_thinking_cites_nothing() -> None:
    note = Note(0, "https://a")
    events = (Start(), Open(0, "thinking"), Delta(0, "a"), note, Close(0), *DONE)
    assert content(stream(*events, losses=("reply.citations",))) == [
        {"reasoningContent": {"reasoningText": {"text": "a"}}}
    ]


SEARCH = {"toolUse": {"toolUseId": "s", "name": "n", "type": "server_tool_use", "input": {"q": 1}}}
FOUND = {"toolResult": {"toolUseId": "s", "content": [{"text": "a"}]}}
PICTURE = {"image": {"format": "png", "source": {"bytes": "YQ=="}}}


def whole(item: dict[str, Any], dialect: str = "bedrock_converse", choice: int = 0) -> Whole:
    return Whole(dialect, Raw(json.dumps(item).encode()), next(iter(item)), choice)


def test_vendor_run_items() -> None:
    assert both(whole(SEARCH), whole(FOUND), *block(0, "text", "a"), whole(PICTURE)) == [
        SEARCH, FOUND, {"text": "a"}, PICTURE,
    ]  # fmt: skip
    both(whole({"search": {}}, "openai_chat"), losses=("reply.search",))
    events: list[Event] = [Start(), Open(0, "text"), Delta(0, "a"), whole(FOUND), Close(0), *DONE]
    assert content(stream(*events)) == [{"text": "a"}, FOUND]
    assert content(stream(whole(FOUND), *DONE)) == [FOUND]


def test_vendor_run_items_that_have_no_stream() -> None:
    video = whole({"video": {"format": "mp4"}})
    assert content(stream(Start(), video, *DONE, losses=("reply.video",))) == []
    assert body(Start(), video, *DONE)["output"]["message"]["content"] == [
        {"video": {"format": "mp4"}}
    ]


def test_tools_that_the_vendor_ran_are_not_for_the_client_to_run() -> None:
    ran = block(0, "tool", "{}", id="t", name="search", runs="vendor")
    assert both(*ran, losses=("reply.search",)) == []


def test_one_answer_only() -> None:
    events = (
        Start(), *block(0, "text", "a"), Open(1, "text", 1), Delta(1, "b"), Sealed(1, OWN),
        whole(FOUND, choice=1), Close(1), Stop("length", 1), *DONE,
    )  # fmt: skip
    found = stream(*events, losses=("reply.choices", "reply.toolResult"))
    assert content(found) == [{"text": "a"}]
    assert found[-2] == ("messageStop", {"stopReason": "end_turn"})
    assert body(*events, losses=("reply.choices",))["stopReason"] == "end_turn"


def test_log_probabilities_have_no_place() -> None:
    logprobs = Raw(b'{"content":[]}')
    lost = ("reply.logprobs",)
    assert both(Open(0, "text"), Delta(0, "a", logprobs), Close(0), losses=lost) == [{"text": "a"}]
    assert both(Open(0, "text"), Delta(0, "", logprobs), Close(0), losses=lost) == []


@pytest.mark.parametrize(
    ("stop", "word"),
    [
        (Stop("length"), "max_tokens"),
        (Stop("stop_sequence"), "stop_sequence"),
        (Stop("pause"), "end_turn"),
        (Stop("refusal"), "content_filtered"),
        (Stop("filter"), "content_filtered"),
        (Stop("filter", word="guardrail_intervened"), "guardrail_intervened"),
        (Stop("filter", word="max_tokens"), "content_filtered"),
        (Stop("end", word="stop"), "end_turn"),
        (Stop("context"), "model_context_window_exceeded"),
        (Stop("malformed"), "malformed_model_output"),
        (Stop("malformed", word="malformed_tool_use"), "malformed_tool_use"),
        (Stop("compaction"), "end_turn"),
    ],
)
def test_stop_reasons(stop: Stop, word: str) -> None:
    assert stream(Start(), stop, End())[-2] == ("messageStop", {"stopReason": word})
    assert body(Start(), stop, End())["stopReason"] == word


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        (b'["/delta/stop_sequence"]', {"delta": {"stop_sequence": "X"}}),
        (b'["/stop_sequence","/usage"]', {"stop_sequence": "X"}),
        (b'["/delta/stop_sequence","/stop_sequence"]', {"delta": {"stop_sequence": "X"}, "stop_sequence": "X"}),
        (b'["/other"]', None),
        (b"[5]", None),
    ],
)  # fmt: skip
def test_the_stop_sequence_where_the_client_looks_for_it(asked: bytes, fields: object) -> None:
    extra = {"additionalModelResponseFieldPaths": asked}
    call = Call("bedrock_converse", "m", extra=extra, vault=VAULT)
    events = (Start(), Stop("stop_sequence", sequence="X"), End())
    assert stream(*events, call=call)[-2][1].get("additionalModelResponseFields") == fields
    assert body(*events, call=call).get("additionalModelResponseFields") == fields
    assert "additionalModelResponseFields" not in body(Start(), *DONE, call=call)


@pytest.mark.parametrize("begun", [False, True])
def test_a_failure_is_the_end(*, begun: bool) -> None:
    writer = ReplyWriter(CALL)
    before: list[Event] = [Start(), Open(0, "text"), Delta(0, "a")] if begun else []
    written = b"".join(
        map(writer.write, [*before, Fail("rate_limit", "slow"), Delta(0, "b"), End()])
    )
    assert checked(written)[-1] == ("throttlingException", {"message": "slow"})
    with pytest.raises(UpstreamNonsense):
        write_body([*before, Fail("server", "x")], CALL)


def test_nothing_follows_the_end() -> None:
    writer = ReplyWriter(CALL)
    for event in (Start(), *DONE):
        writer.write(event)
    assert writer.write(Fail("server", "late")) == b""


def test_nothing_keeps_a_stream_alive() -> None:
    assert ReplyWriter(CALL).keepalive() == b""


def test_a_stream_that_has_begun_without_us() -> None:
    writer = ReplyWriter(CALL)
    writer.joined()
    assert writer.write(Start()) == b""


@pytest.mark.parametrize("kind", ["text"])
def test_pieces_of_a_running_text_are_carried(kind: Any) -> None:
    writer, other = ReplyWriter(CALL), ReplyWriter(CALL)
    begun: list[Event] = [Start(), Open(0, kind)]
    for event in (*begun, Delta(0, "a")):
        assert writer.carry(0) is None
        assert writer.write(event) == other.write(event)
    carry = writer.carry(0)
    assert carry is not None
    assert carry(["ä%d".encode()]) == other.write(Delta(0, "ä%d"))
    assert writer.carry(1) is None
    writer.write(Fail("server", "x"))
    assert writer.carry(0) is None


def test_tools_are_not_carried() -> None:
    writer = ReplyWriter(CALL)
    for event in (Start(), Open(0, "tool", id="t", name="f"), Delta(0, "{")):
        writer.write(event)
    assert writer.carry(0) is None


REASONS: list[Reason] = ["end", "length", "refusal", "malformed"]
KINDS: list[Any] = ["text", "thinking", "refusal", "tool"]


@st.composite
def replies(draw: st.DrawFn) -> list[Event]:
    """Any reply that events allow: blocks that interleave, several choices, a failure anywhere."""
    events: list[Event] = [Start()]
    live: list[Open] = []
    number = 0
    for _ in range(draw(st.integers(0, 12))):
        kind, choice = draw(st.sampled_from(KINDS)), draw(st.integers(0, 1))
        match draw(st.sampled_from(["open", "delta", "close", "seal", "whole", "usage", "note"])):
            case "open":
                live.append(Open(number, kind, choice, f"t{number}", "f"))
                number += 1
                events.append(live[-1])
            case "whole":
                events.append(whole(FOUND, choice=choice))
            case "usage":
                events.append(Usage(input=draw(st.integers(0, 9))))
            case word if live:
                opened = draw(st.sampled_from(live))
                if word == "delta":
                    events.append(Delta(opened.block, "{}"))
                elif word == "note":
                    events.append(Note(opened.block, "https://a"))
                elif word == "seal" and opened.kind == "thinking":
                    events += [Sealed(opened.block, FOREIGN), Close(opened.block)]
                    live.remove(opened)
                elif word == "close":
                    live.remove(opened)
                    events.append(Close(opened.block))
    if draw(st.booleans()):
        return [*events, Fail("server", "x")]
    events += [Close(opened.block) for opened in live]
    reason = draw(st.sampled_from(REASONS))
    return [*events, Stop(reason), Stop("end", 1), Usage(output=1), End()]


@given(replies())
def test_any_reply_keeps_the_rules(events: list[Event]) -> None:
    writer = ReplyWriter(CALL)
    checked(b"".join(map(writer.write, events)))
