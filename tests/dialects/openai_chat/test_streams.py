"""rawproxy.dialects.openai_chat: streams: golden, recorded, and as a client reads them."""

import json
from pathlib import Path

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from rawproxy.dialects import openai_chat
from rawproxy.dialects.base import Back, Target
from rawproxy.dialects.call import Call
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
from rawproxy.dialects.fold import fold
from rawproxy.dialects.models import Takes
from rawproxy.wire import sse

VAULT = Vault(b"key", "me")
HI: list[dict[str, object]] = [{"role": "user", "content": "Hi"}]
GOLDEN = Path(__file__).parent.parent.parent / "golden" / "openai_chat"


def read(**body: object) -> Call:
    return openai_chat.read_call(json.dumps({"model": "m", "messages": HI} | body).encode(), VAULT)


CASES = sorted(case for case in GOLDEN.iterdir() if (case / "stream.sse").exists())


def events_of(stream: bytes, back: Back = Back()) -> list[Event]:  # noqa: B008 - a frozen value
    reader, checker = openai_chat.stream_reader(back), openai_chat.grammar()
    frames = sse.Splitter().feed(stream)
    assert [rule for frame in frames for rule in checker.check(frame)] + checker.close() == []
    assert all(
        openai_chat.MARKS.search(frame.raw)
        for frame in frames
        for event in reader.read(frame)
        if isinstance(event, Stop | Usage | End | Fail)
    )
    assert reader.unknown == 0
    reader = openai_chat.stream_reader(back)
    return [*(event for frame in frames for event in reader.read(frame)), *reader.close()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_cases_pass_through_events(case: Path) -> None:
    """Stream and body say the same, and what we write of either says it again."""
    call = openai_chat.read_call((case / "call.json").read_bytes(), VAULT)
    assert call.extra == {} or case.name == "everything"
    events = events_of((case / "stream.sse").read_bytes(), Back(Origin("here")))
    writer = openai_chat.stream_writer(call, "x", 1)
    again = events_of(b"".join(map(writer.write, events)), Back(Origin("here")))
    if isinstance(events[-1], Fail):
        assert again[-1] == events[-1]
        return
    whole = (case / "reply.json").read_bytes()
    said = fold(openai_chat.read_reply(whole, Back(Origin("here"))))
    assert fold(events) == said
    body, losses = openai_chat.write_reply(events, call, "x", 1)
    for copy in (fold(again), fold(openai_chat.read_reply(body, Back(Origin("here"))))):
        for kind in ("thinking", "text", "refusal", "tool"):
            assert copy.choice(0).text(kind) == said.choice(0).text(kind)
        assert (copy.usage, copy.tier, copy.choice(0).stop) == (
            said.usage,
            said.tier,
            said.choice(0).stop,
        )
    assert writer.losses == losses == []


@pytest.mark.parametrize("name", ["simple", "single_builtin_tool", "stream_error"])
def test_recorded_streams(recorded: Path, name: str) -> None:
    folder = recorded / "openai_chat" / name
    call = openai_chat.read_call((folder / "call.json").read_bytes(), VAULT)
    assert openai_chat.write_call(call, Target("m", Takes())).losses == []
    events = events_of((folder / "stream.sse").read_bytes())
    assert isinstance(events[-1], Fail if name == "stream_error" else End)
    if (folder / "reply.json").exists():
        reply = openai_chat.read_reply((folder / "reply.json").read_bytes(), Back())
        assert openai_chat.write_reply(reply, call, "x", 1)[1] == []


CLAUDE = seal(Origin("anthropic"), "thinking", '{"type":"thinking","signature":"s"}', ["Hm."])
REPLY: list[Event] = [
    Start("msg_1", "claude"), Open(0, "thinking"), Delta(0, "H"), Delta(0, "m."), Sealed(0, CLAUDE),
    Close(0), Open(1, "text"), Delta(1, "Let me"), Delta(1, " see."), Close(1),
    Open(2, "tool", id="c1", name="f"), Delta(2, '{"x"'), Delta(2, ":1}"), Close(2),
    Open(3, "tool", id="c2", name="g"), Close(3), Usage(input=9, output=4), Stop("tools"), End(),
]  # fmt: skip


def test_the_vendor_s_client_puts_our_stream_together() -> None:
    """And what it returns with the next call is the thought we sent, seal and all."""
    call = read(stream=True, stream_options={"include_usage": True})
    call.vault = VAULT
    writer, state = openai_chat.stream_writer(call, "x", 1), ChatCompletionStreamState()
    frames = sse.Splitter().feed(b"".join(map(writer.write, REPLY)))
    for frame in frames[:-1]:
        state.handle_chunk(ChatCompletionChunk.model_validate_json(frame.data))
    final = state.get_final_completion()
    message = final.choices[0].message.to_dict()
    assert (message["role"], message["content"]) == ("assistant", "Let me see.")
    calls = final.choices[0].message.tool_calls or ()
    assert [(call.id, call.function.arguments) for call in calls] == [
        ("c1", '{"x":1}'),
        ("c2", "{}"),
    ]
    assert final.usage is not None
    assert final.usage.total_tokens == 13
    returned = read(messages=[*HI, message]).turns[1].parts[0]
    assert (
        returned
        == openai_chat.read_call(  # as from a body
            json.dumps({"model": "m", "messages": [*HI, body_message(call)]}).encode(), VAULT
        )
        .turns[1]
        .parts[0]
    )
    assert getattr(returned, "seal", None) == CLAUDE


def body_message(call: Call) -> object:
    body, _ = openai_chat.write_reply(REPLY, call, "x", 1)
    ChatCompletion.model_validate_json(body)
    return json.loads(body)["choices"][0]["message"]
