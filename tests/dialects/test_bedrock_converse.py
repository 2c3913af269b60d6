"""rawproxy.dialects.bedrock_converse: golden, and as the vendor's client reads it."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.eventstream import EventStream  # type: ignore[import-untyped]
from botocore.parsers import create_parser  # type: ignore[import-untyped]
from botocore.session import get_session  # type: ignore[import-untyped]

from rawproxy.dialects import bedrock_converse
from rawproxy.dialects.base import Back, Dialect, Given, Glance, Target
from rawproxy.dialects.call import Call, Thinking
from rawproxy.dialects.envelope import Origin, Vault, seal
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
from rawproxy.dialects.models import takes
from rawproxy.dialects.reading import encode
from rawproxy.errors import ClientError
from rawproxy.wire import eventstream
from rawproxy.wire.frame import PlainFrame

DIALECT: Dialect = bedrock_converse
VAULT = Vault(b"key", "me")
BACK = Back(Origin("anthropic"))
MODEL = "us.anthropic.claude-opus-4-8-v1:0"
GIVEN = Given(MODEL, True)
HI: list[dict[str, object]] = [{"role": "user", "content": [{"text": "Hi"}]}]
GOLDEN = Path(__file__).parent.parent / "golden" / "bedrock_converse"
CASES = sorted(case for case in GOLDEN.iterdir() if (case / "stream.jsonl").exists())
TARGET = Target(MODEL, takes("bedrock_converse", MODEL), Origin("anthropic"))


def read(messages: object) -> Call:
    return bedrock_converse.read_call(json.dumps({"messages": messages}).encode(), VAULT, GIVEN)


def stream_of(case: Path) -> bytes:
    messages = map(json.loads, (case / "stream.jsonl").read_text().splitlines())
    return b"".join(message(one["name"], one["data"]) for one in messages)


def message(name: str, data: object) -> bytes:
    payload = json.dumps(data).encode()
    if name.endswith("Exception"):
        return eventstream.write_exception(payload, name.encode())
    return eventstream.write(payload, name=name.encode())


def events_of(stream: bytes) -> list[Event]:
    reader, checker = bedrock_converse.stream_reader(BACK), bedrock_converse.grammar()
    frames = eventstream.Splitter().feed(stream)
    assert [rule for frame in frames for rule in checker.check(frame)] + checker.close() == []
    events: list[Event] = []
    for frame in frames:
        said = reader.read(frame)
        if any(isinstance(event, Stop | Usage | End | Fail) for event in said):
            assert bedrock_converse.MARKS.search(frame.raw)
        else:
            assert not bedrock_converse.MARKS.search(frame.raw)
        events += said
    assert reader.unknown == 0
    return [*events, *reader.close()]


def meaning(reply: Reply) -> list[object]:
    items = [
        (item.opened.kind, item.text, item.seal, item.notes) if isinstance(item, Block) else item
        for item in reply.choice(0).items
    ]
    return [reply.start, reply.usage, reply.tier, reply.choice(0).stop, *items]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_cases_pass_through_events(case: Path) -> None:
    """Stream and body say the same, and what we write of either says it again."""
    call = bedrock_converse.read_call((case / "call.json").read_bytes(), VAULT, GIVEN)
    events = events_of(stream_of(case))
    writer = bedrock_converse.stream_writer(call, "x", 1)
    again = events_of(b"".join(map(writer.write, events)))
    if isinstance(events[-1], Fail):
        assert again[-1] == events[-1]
        return
    body, losses = bedrock_converse.write_reply(events, call, "x", 1)
    assert writer.losses == losses == []
    said = json_free(meaning(fold(events)))
    for copy in (
        again,
        bedrock_converse.read_reply(body, BACK),
        bedrock_converse.read_reply((case / "reply.json").read_bytes(), BACK),
    ):
        assert json_free(meaning(fold(copy))) == said


def json_free(said: list[object]) -> bytes:
    """What was said, without the white space in which JSON may differ."""
    return b"".join(encode(said).replace(rb"\n", b"").split())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_calls_go_back_as_they_came(case: Path) -> None:
    body = (case / "call.json").read_bytes()
    call = bedrock_converse.read_call(body, VAULT, GIVEN)
    written = bedrock_converse.write_call(call, TARGET)
    assert json.loads(written.body, parse_float=str) == json.loads(body, parse_float=str)
    assert written.losses == []


def test_glance_believes_the_path() -> None:
    body = json.dumps({"messages": HI, "stream": True}).encode()
    assert bedrock_converse.glance(body, Given("m", True)) == Glance("m", True)
    assert bedrock_converse.glance(body, Given("m")) == Glance("m", False)
    with pytest.raises(ClientError, match="cannot be read"):
        bedrock_converse.glance(b"[]", Given("m"))


def test_count_tokens() -> None:
    asked = {"input": {"converse": {"messages": HI}}}
    call = bedrock_converse.read_count(json.dumps(asked).encode(), VAULT, Given("m"))
    assert (call.model, call.turns[0].parts[0].path) == (
        "m",
        "input.converse.messages[0].content[0]",
    )
    assert json.loads(bedrock_converse.write_count(7)) == {"inputTokens": 7}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input.converse"),
        ({"input": {}}, "input.converse"),
        ({"input": {"invokeModel": {"body": "e30="}}}, "input.invokeModel"),
        ({"input": {"converse": {}}}, "input.converse.messages"),
    ],
)
def test_counts_that_cannot_be_asked(body: object, param: str) -> None:
    with pytest.raises(ClientError) as error:
        bedrock_converse.read_count(json.dumps(body).encode(), VAULT)
    assert error.value.param == param


def test_text_is_no_mark() -> None:
    frame = message("contentBlockDelta", {"delta": {"text": ":event-type messageStop metadata"}})
    assert not bedrock_converse.MARKS.search(frame)


def test_an_error_message_is_marked() -> None:
    texts = ((b":message-type", b"error"), (b":error-code", b"x"))
    headers = [
        eventstream.Header(name, eventstream.HeaderType.STRING, text) for name, text in texts
    ]
    assert bedrock_converse.MARKS.search(eventstream.encode(headers, b""))


def test_usage_needs_no_asking() -> None:
    assert bedrock_converse.ask_usage(b"{}") is None
    assert not bedrock_converse.is_usage_only(PlainFrame(b""))


FOREIGN = seal(Origin("openai"), "reasoning", '{"id":"rs_1"}', ["Hm."])
ABOUT = seal(Origin("gemini"), "thoughtSignature", '{"thoughtSignature":"x"}', about="next")
REPLY: list[Event] = [
    Start("chatcmpl-1", "gpt"), Open(0, "thinking"), Delta(0, "H"), Delta(0, "m."),
    Sealed(0, FOREIGN), Close(0), Open(1, "text"), Delta(1, "Let me"), Delta(1, " see."),
    Note(1, "https://a.example", "A", "see"), Close(1),
    Open(2, "tool", id="c1", name="f"), Delta(2, '{"x"'), Delta(2, ":1}"), Close(2),
    Open(3, "tool", id="c2", name="g", seal=ABOUT), Close(3), Stop("tools"),
    Usage(input=9, output=4, cache_read=2), End(),
]  # fmt: skip


class Connection:
    """What botocore reads a stream from."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def stream(self) -> Iterator[bytes]:
        while piece := self._file.read(7):
            yield piece


def boto(stream: bytes) -> list[dict[str, Any]]:
    """The messages of a stream, as botocore's own parser gives them to the client."""
    model = get_session().get_service_model("bedrock-runtime").operation_model("ConverseStream")
    shape = model.get_event_stream_output()
    parser = create_parser("rest-json")
    return list(
        EventStream(Connection(stream), shape, parser._event_stream_parser, "ConverseStream")
    )


def put_together(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Content blocks from their deltas, the way clients of boto3 do it."""
    blocks: dict[int, dict[str, Any]] = {}
    for one in messages:
        match one:
            case {"contentBlockStart": {"contentBlockIndex": at, "start": {"toolUse": tool}}}:
                blocks[at] = {"toolUse": tool | {"input": ""}}
            case {"contentBlockDelta": {"contentBlockIndex": at, "delta": delta}}:
                block = blocks.setdefault(at, {})
                match delta:
                    case {"text": text}:
                        block["text"] = block.get("text", "") + text
                    case {"toolUse": {"input": text}}:
                        block["toolUse"]["input"] += text
                    case {"reasoningContent": piece}:
                        inner = block.setdefault("reasoningContent", {"reasoningText": {}})
                        for name, text in piece.items():
                            said = inner["reasoningText"]
                            said[name] = said.get(name, "") + text
                    case {"citation": citation}:
                        block.setdefault("citations", []).append(citation)
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"])
        if "citations" in block:
            text, citations = block.pop("text"), block.pop("citations")
            block["citationsContent"] = {"content": [{"text": text}], "citations": citations}
    return [blocks[at] for at in sorted(blocks)]


def test_the_vendor_s_client_puts_our_stream_together() -> None:
    writer = bedrock_converse.stream_writer(read(HI), "x", 1)
    messages = boto(b"".join(map(writer.write, REPLY)))
    body, _ = bedrock_converse.write_reply(REPLY, read(HI), "x", 1)
    whole = json.loads(body)
    assert put_together(messages) == whole["output"]["message"]["content"]
    assert messages[-2:] == [
        {"messageStop": {"stopReason": "tool_use"}},
        {"metadata": {"usage": whole["usage"], "metrics": {"latencyMs": 0}}},
    ]
    assert whole["usage"] == {
        "inputTokens": 7, "outputTokens": 4, "totalTokens": 13, "cacheReadInputTokens": 2,
    }  # fmt: skip


def test_what_the_client_returns_is_the_thought_we_sent_seal_and_all() -> None:
    writer = bedrock_converse.stream_writer(read(HI), "x", 1)
    content = put_together(boto(b"".join(map(writer.write, REPLY))))
    call = read([*HI, {"role": "assistant", "content": content}, *HI])
    thoughts = [part for part in call.turns[1].parts if isinstance(part, Thinking)]
    assert thoughts == [
        Thinking("Hm.", "messages[1].content[0]", FOREIGN),
        Thinking("", "messages[1].content[3]", ABOUT),
    ]
