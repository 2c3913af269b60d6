"""rawproxy.dialects.anthropic_messages.grammar: the rules, and each way to break one."""

import json
from pathlib import Path

import pytest

from rawproxy.dialects.anthropic_messages.grammar import ReplyGrammar
from rawproxy.wire import sse
from rawproxy.wire.frame import PlainFrame

USAGE = {"input_tokens": 1, "output_tokens": 1}


def event(kind: str, *, name: str | None = None, **members: object) -> bytes:
    data = json.dumps({"type": kind} | members).encode()
    return sse.write(data, name=(kind if name is None else name).encode())


def start(**members: object) -> bytes:
    message: dict[str, object] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": None, "usage": USAGE,
    }  # fmt: skip
    return event("message_start", message=message | members)


def block(index: int = 0, kind: str = "text", **members: object) -> bytes:
    begins: dict[str, dict[str, object]] = {
        "text": {"text": ""}, "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"id": "t", "name": "f", "input": {}},
    }  # fmt: skip
    item = {"type": kind} | begins.get(kind, {}) | members
    return event("content_block_start", index=index, content_block=item)


def delta(kind: str, member: str, piece: object = "a", *, index: object = 0) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, member: piece})


def close(index: int = 0) -> bytes:
    return event("content_block_stop", index=index)


def stop(word: str | None = "end_turn", usage: object = USAGE, **members: object) -> bytes:
    return event("message_delta", delta={"stop_reason": word} | members, usage=usage)


END = event("message_stop")
TEXT = delta("text_delta", "text")
INPUT = delta("input_json_delta", "partial_json", "{}")
ERROR = event("error", error={"type": "api_error", "message": "oh"})


def broken(*frames: bytes) -> list[str]:
    grammar = ReplyGrammar()
    found = [rule for one in sse.Splitter().feed(b"".join(frames)) for rule in grammar.check(one)]
    return [*found, *grammar.close()]


GOOD: list[list[bytes]] = [
    [start(), stop(), END],
    [sse.comment(b"x"), start(), event("ping"), block(), TEXT, close(), stop(), END, sse.comment(b"x")],
    [start(), block(), delta("citations_delta", "citation", {}), close(), stop(None), stop(), END],
    [start(), block(0, "thinking"), delta("thinking_delta", "thinking"), delta("signature_delta", "signature"), close(), stop(), END],
    [start(), block(0, "tool_use"), INPUT, close(), stop("tool_use"), END],
    [start(), block(0, "tool_use"), close(), stop("tool_use"), END],
    [start(), block(0, "tool_use"), delta("input_json_delta", "partial_json", '{"a'), close(), stop("max_tokens"), END],
    [start(), block(0, "redacted_thinking", data="d"), close(), block(1), close(1), stop(), END],
    [start(), block(0, "server_tool_use", input={}), INPUT, close(), stop("pause_turn"), END],
    [start(), block(0, "compaction", content=None), delta("compaction_delta", "content"), close(), stop(), END],
    [start(), event("new_thing", x=1), stop("stop_sequence", stop_sequence="X"), END],
    [ERROR],
    [start(), block(), TEXT, ERROR],
]  # fmt: skip


@pytest.mark.parametrize("frames", GOOD)
def test_streams_that_keep_the_rules(frames: list[bytes]) -> None:
    assert broken(*frames) == []


BAD: dict[str, list[bytes]] = {
    "order: vibe before message_start": [event("vibe"), start(), stop(), END],
    "order: ping before message_start": [event("ping"), start(), stop(), END],
    "order: a second message_start": [start(), start(), stop(), END],
    "event: the data is of type message_stop, the event line says ''": [start(), stop(), event("message_stop", name="")],
    "event: the data is of type ping, the event line says 'pong'": [start(), event("ping", name="pong"), stop(), END],
    "start: there is no message": [event("message_start"), stop(), END],
    "start: the message has no id, or no model": [start(id=""), stop(), END],
    "start: stop_reason is not None": [start(stop_reason=""), stop(), END],
    "start: role is not 'assistant'": [start(role="user"), stop(), END],
    "usage: missing": [start(usage=None), stop(), END],
    "usage: input_tokens is no number": [start(usage={"input_tokens": True, "output_tokens": 1}), stop(), END],
    "usage: output_tokens is no number": [start(), stop("end_turn", {}), END],
    "order: a block begins while block 0 is open": [start(), block(), block(1), close(1), stop(), END],
    "index: block 1 where 0 comes next": [start(), block(1), close(), stop(), END],
    "block: it has no type": [start(), event("content_block_start", index=0), close(), stop(), END],
    "block: text does not begin with text ''": [start(), block(text="a"), close(), stop(), END],
    "block: tool_use does not begin with input {}": [start(), block(0, "tool_use", input={"a": 1}), close(), stop(), END],
    "block: tool_use without its id, or its name": [start(), block(0, "tool_use", name=""), close(), stop(), END],
    "index: content_block_delta for block 2, which is not open": [start(), delta("text_delta", "text", index=2), stop(), END],
    "index: content_block_stop for block 0, which is not open": [start(), block(), close(), close(), stop(), END],
    "delta: there is none": [start(), block(), event("content_block_delta", index=0), close(), stop(), END],
    "delta: text_delta in a block of type thinking": [start(), block(0, "thinking"), TEXT, close(), stop(), END],
    "delta: text_delta without text": [start(), block(), delta("text_delta", "text", None), close(), stop(), END],
    "delta: citations_delta without citation": [start(), block(), delta("citations_delta", "citation"), close(), stop(), END],
    "signature: a second one replaces the first": [start(), block(0, "thinking"), *[delta("signature_delta", "signature")] * 2, close(), stop(), END],
    "order: the signature is not the last of its block": [start(), block(0, "thinking"), delta("signature_delta", "signature"), delta("thinking_delta", "thinking"), close(), stop(), END],
    "order: a block after the stop_reason": [start(), stop(), block(), close(), END],
    "order: message_delta while block 0 is open": [start(), block(), stop(), END],
    "stop: over is no stop_reason": [start(), stop("over"), END],
    "stop: tool_use without a tool_use block": [start(), stop("tool_use"), END],
    "json: the input of a tool is not a JSON object": [start(), block(0, "tool_use"), delta("input_json_delta", "partial_json", "[1]"), close(), stop("tool_use"), END],
    "stop: stop_sequence does not say which": [start(), stop("stop_sequence"), END],
    "stop: message_stop without a stop_reason before it": [start(), stop(None), END],
    "end: a frame after message_stop": [start(), stop(), END, event("ping")],
    "end: a frame after an error": [ERROR, END],
    "end: neither message_stop nor an error came": [start(), stop()],
    "error: it has no type, or no message": [event("error", error={"message": "oh"})],
    "json: the data is not a JSON object": [start(), sse.write(b"[DONE]"), stop(), END],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "frames"), BAD.items())
def test_each_rule_can_be_broken(rule: str, frames: list[bytes]) -> None:
    assert broken(*frames) == [rule]


def test_a_message_delta_needs_a_delta() -> None:
    assert broken(start(), event("message_delta", usage=USAGE), stop(), END) == [
        "delta: there is none"
    ]


def test_frames_without_data_are_comments() -> None:
    assert ReplyGrammar().check(PlainFrame(b": x\n\n")) == []


@pytest.mark.parametrize("name", ["simple", "single_builtin_tool", "stream_error"])
def test_the_vendor_keeps_the_rules(recorded: Path, name: str) -> None:
    assert broken((recorded / "anthropic_messages" / name / "stream.sse").read_bytes()) == []
