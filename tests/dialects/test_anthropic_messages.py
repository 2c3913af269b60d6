"""rawproxy.dialects.anthropic_messages: golden, recorded, and as a client reads it."""

import json
from pathlib import Path
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message

from rawproxy.dialects import anthropic_messages
from rawproxy.dialects.base import Back, Target
from rawproxy.dialects.call import Call, Thinking
from rawproxy.dialects.envelope import Origin, Vault, seal
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Open,
    Sealed,
    Start,
    Stop,
    Usage,
)
from rawproxy.dialects.fold import Reply, fold
from rawproxy.dialects.models import takes
from rawproxy.wire import sse
from rawproxy.wire.frame import PlainFrame

VAULT = Vault(b"key", "me")
BACK = Back(Origin("anthropic"))
HI: list[dict[str, object]] = [{"role": "user", "content": "Hi"}]
GOLDEN = Path(__file__).parent.parent / "golden" / "anthropic_messages"
CASES = sorted(case for case in GOLDEN.iterdir() if (case / "stream.sse").exists())
TARGET = Target("m", takes("anthropic_messages", "claude-opus-4-8"), Origin("anthropic"))


def read(messages: object) -> Call:
    body = {"model": "m", "max_tokens": 9, "messages": messages}
    return anthropic_messages.read_call(json.dumps(body).encode(), VAULT)


def events_of(stream: bytes) -> list[Event]:
    reader, checker = anthropic_messages.stream_reader(BACK), anthropic_messages.grammar()
    frames = sse.Splitter().feed(stream)
    assert [rule for frame in frames for rule in checker.check(frame)] + checker.close() == []
    events: list[Event] = []
    for frame in frames:
        said = reader.read(frame)
        if any(isinstance(event, Stop | Usage | End | Fail) for event in said):
            assert anthropic_messages.MARKS.search(frame.raw)
        events += said
    assert reader.unknown == 0
    return [*events, *reader.close()]


def meaning(reply: Reply) -> list[object]:
    choice = reply.choice(0)
    kinds = [choice.text(kind) for kind in ("thinking", "text", "tool")]
    seals = [block.seal for block in choice.blocks("thinking")]
    return [reply.start, reply.usage, reply.tier, choice.stop, *kinds, seals]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_cases_pass_through_events(case: Path) -> None:
    """Stream and body say the same, and what we write of either says it again."""
    call = anthropic_messages.read_call((case / "call.json").read_bytes(), VAULT)
    assert call.extra == {} or case.name == "everything"
    events = events_of((case / "stream.sse").read_bytes())
    writer = anthropic_messages.stream_writer(call, "x", 1)
    again = events_of(b"".join(map(writer.write, events)))
    if isinstance(events[-1], Fail):
        assert again[-1] == events[-1]
        return
    body, losses = anthropic_messages.write_reply(events, call, "x", 1)
    assert writer.losses == losses == []
    said = meaning(fold(events))
    for copy in (
        again,
        anthropic_messages.read_reply(body, BACK),
        anthropic_messages.read_reply((case / "reply.json").read_bytes(), BACK),
    ):
        assert meaning(fold(copy)) == said


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_calls_go_back_as_they_came(case: Path) -> None:
    body = (case / "call.json").read_bytes()
    call = anthropic_messages.read_call(body, VAULT)
    written = anthropic_messages.write_call(call, TARGET)
    assert json.loads(written.body) == json.loads(body) | {"model": "m"}
    assert written.losses == []


@pytest.mark.parametrize("name", ["simple", "single_builtin_tool", "stream_error"])
def test_recorded_streams(recorded: Path, name: str) -> None:
    folder = recorded / "anthropic_messages" / name
    body = (folder / "call.json").read_bytes()
    call = anthropic_messages.read_call(body, VAULT)
    assert anthropic_messages.write_call(call, TARGET).losses == []
    events = events_of((folder / "stream.sse").read_bytes())
    writer = anthropic_messages.stream_writer(call, "x", 1)
    again = events_of(b"".join(map(writer.write, events)))
    assert isinstance(events[-1], Fail if name == "stream_error" else End)
    assert again[-1] == events[-1]
    if isinstance(events[-1], End):
        assert meaning(fold(again)) == meaning(fold(events))


@pytest.mark.parametrize(
    "frame",
    [
        b'data: {"type" :\n data: "message_stop"}\n\n'.replace(b"\n data:", b""),
        b"event: message_delta\ndata: {}\n\n",
        b'event:error\ndata: {"message":"oh"}\n\n',
        b'data: {"error": {"message":"oh"}}\n\n',
        anthropic_messages.STREAM_END,
    ],
)
def test_marks_of_any_spelling(frame: bytes) -> None:
    assert anthropic_messages.MARKS.search(frame)


def test_text_is_no_mark() -> None:
    text = json.dumps({"type": "text_delta", "text": '{"type":"message_stop","error":1}'})
    assert not anthropic_messages.MARKS.search(text.encode())


def test_the_terminator_ends_what_has_stopped() -> None:
    reader = anthropic_messages.stream_reader(BACK)
    reader.read(PlainFrame(b"", data=b'{"type":"message_delta","delta":{"stop_reason":"x"}}'))
    (frame,) = sse.Splitter().feed(anthropic_messages.STREAM_END)
    assert reader.read(frame) == [End()]


def test_usage_needs_no_asking() -> None:
    assert anthropic_messages.ask_usage(b'{"stream":true}') is None
    assert not anthropic_messages.is_usage_only(PlainFrame(b""))


REASONING = seal(Origin("openai"), "reasoning", '{"id":"rs_1"}', ["Hm."])
REPLY: list[Event] = [
    Start("chatcmpl-1", "gpt"), Open(0, "thinking"), Delta(0, "H"), Delta(0, "m."),
    Sealed(0, REASONING), Close(0), Open(1, "text"), Delta(1, "Let me"), Delta(1, " see."), Close(1),
    Open(2, "tool", id="c1", name="f"), Delta(2, '{"x"'), Delta(2, ":1}"), Close(2),
    Open(3, "tool", id="c2", name="g"), Close(3), Stop("tools"),
    Usage(input=9, output=4, cache_read=2), End(),
]  # fmt: skip


def accumulated() -> Message:
    """Our stream, as the vendor's own client puts it together."""
    writer = anthropic_messages.stream_writer(read(HI), "x", 1)
    snapshot, buffers = None, dict[int, bytes]()
    for frame in sse.Splitter().feed(b"".join(map(writer.write, REPLY))):
        event: Any = json.loads(frame.data)
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    assert snapshot is not None
    return snapshot


def test_the_vendor_s_client_puts_our_stream_together() -> None:
    message = accumulated()
    body, _ = anthropic_messages.write_reply(REPLY, read(HI), "x", 1)
    whole = Message.model_validate_json(body)
    assert (message.id, message.role, message.stop_reason) == (whole.id, whole.role, "tool_use")
    assert [block.to_dict() for block in message.content] == [
        block.to_dict() for block in whole.content
    ]
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (7, 2, 4)


def test_what_the_client_returns_is_the_thought_we_sent_seal_and_all() -> None:
    content = [block.to_dict() for block in accumulated().content]
    call = read([*HI, {"role": "assistant", "content": content}, *HI])
    thought = call.turns[1].parts[0]
    assert thought == Thinking("Hm.", "messages[1].content[0]", REASONING)
