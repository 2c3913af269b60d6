"""rawproxy.dialects.openai_responses: the dialect as a whole, and as a client uses it."""

import json
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from pydantic import TypeAdapter

from rawproxy.dialects import anthropic_messages, openai_chat, openai_responses
from rawproxy.dialects.base import Back, Dialect, Given, Glance, Target
from rawproxy.dialects.call import Call, Thinking, ToolCall
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
from rawproxy.dialects.models import Takes, takes
from rawproxy.errors import ClientError
from rawproxy.wire import sse
from rawproxy.wire.frame import PlainFrame

VAULT = Vault(b"key", "me")
OPENAI = Origin("openai")
GOLDEN = Path(__file__).parent.parent / "golden"
CALLS = sorted((GOLDEN / "openai_responses").glob("*/call.json"))
OTHERS = sorted(
    path for path in GOLDEN.glob("*/*/call.json")
    if path.parent.parent.name in ("openai_chat", "anthropic_messages")
)  # fmt: skip
TAKES = Takes(
    sampling=False, stop=False, reasoning="effort", developer=True, freeform=True, breakpoints=True
)
PARAMS: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsBase)


def case(path: Path) -> str:
    return path.parent.name


def read(**body: object) -> Call:
    whole = {"model": "m", "input": "Hi"} | body
    return openai_responses.read_call(json.dumps(whole).encode(), VAULT)


def checked(body: dict[str, Any]) -> None:
    """Raise unless the package of the vendor has such a request in its types."""
    found = PARAMS.validate_python(body)
    for tools in (found.get("tools"), found.get("include")):
        list(tools or ())  # validated as it is walked through


def test_it_is_a_dialect() -> None:
    dialect: Dialect = openai_responses
    assert dialect.NAME == "openai_responses"
    assert dialect.FRAMING is sse
    assert (dialect.MODEL_FIELD, dialect.REPLY_MODEL) == ("model", ("model", "response.model"))
    assert (dialect.STREAM_END, dialect.KEEPALIVE_BEGINS) == (b"", True)


@pytest.mark.parametrize("path", CALLS, ids=case)
def test_a_call_goes_back_as_it_came(path: Path) -> None:
    given = json.loads(path.read_bytes())
    if case(path) != "codex_turn":  # it sends less of its items than the package types
        checked(given)
    call = openai_responses.read_call(path.read_bytes(), VAULT)
    written = openai_responses.write_call(call, Target(call.model, Takes(), OPENAI))
    for tool in given.get("tools", ()):
        if tool.get("format") == {"type": "text"}:
            del tool["format"]  # the default
    assert json.loads(written.body) == given
    assert written.losses == []


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: f"{path.parent.parent.name}/{case(path)}")
def test_calls_of_other_dialects_are_requests_of_this_one(path: Path) -> None:
    readers = {
        "openai_chat": openai_chat.read_call,
        "anthropic_messages": anthropic_messages.read_call,
    }
    call = readers[path.parent.parent.name](path.read_bytes(), VAULT)
    checked(json.loads(openai_responses.write_call(call, Target("gpt-5.6", TAKES, OPENAI)).body))


def test_a_coding_agent_can_ask_another_vendor() -> None:
    body = (GOLDEN / "openai_responses" / "codex_turn" / "call.json").read_bytes()
    call = openai_responses.read_call(body, VAULT)
    model = "claude-opus-4-8"
    target = Target(model, takes("anthropic_messages", model), Origin("anthropic"))
    written = anthropic_messages.write_call(call, target)
    asked = json.loads(written.body)
    assert [tool["name"] for tool in asked["tools"]] == [
        "functions__read_file", "functions__view_image", "clock__sleep", "exec",
    ]  # fmt: skip
    results = asked["messages"][-1]["content"]
    assert [block["type"] for block in results] == ["tool_result", "tool_result"]
    assert results[0]["content"][1]["type"] == "image"
    assert written.back.tools["functions__view_image"].namespace == "functions"
    assert written.back.tools["exec"].kind == "freeform"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"model": 3}, "model"),
    ],
)
def test_what_has_to_be_there(body: dict[str, object], param: str) -> None:
    with pytest.raises(ClientError) as caught:
        read(**body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "body",
    [
        {"input": None, "previous_response_id": "resp_1"},
        {"input": None, "conversation": "conv_1"},
        {"input": None, "model": None, "prompt": {"id": "pmpt_1"}},
    ],
)
def test_what_may_stand_in_its_place(body: dict[str, object]) -> None:
    assert read(**body).turns == ()


def test_a_question_for_tokens_may_lack_anything() -> None:
    assert openai_responses.read_count(b"{}", VAULT).model == ""
    call = openai_responses.read_count(b'{"input":"Hi","personality":"friendly"}', VAULT)
    assert len(call.turns) == 1
    assert call.extra == {"personality": b'"friendly"'}


def test_the_answer_to_it() -> None:
    answer = json.loads(openai_responses.write_count(12))
    assert answer == {"object": "response.input_tokens", "input_tokens": 12}


def test_a_glance() -> None:
    body = b'{"input":"Hi","n":7,"model":"m","stream":true}'
    assert openai_responses.glance(body, Given()) == Glance("m", stream=True)


@pytest.mark.parametrize(
    ("frame", "noted"),
    [
        (b'data: {"type":"response.completed","response":{}}\n\n', True),
        (b'data: {"sequence_number":3,"type": "response.incomplete"}\n\n', True),
        (b"event: response.failed\ndata: {}\n\n", True),
        (b"event: error\ndata: {}\n\n", True),
        (b'data: {"error":{"message":"x"}}\n\n', True),
        (b'data: {"type":"response.created","response":{"error":null,"usage":null}}\n\n', False),
        (b'data: {"type":"response.output_text.delta","delta":"{\\"error\\":{"}\n\n', False),
        (b'event: keepalive\ndata: {"type":"keepalive"}\n\n', False),
    ],
)
def test_marks(frame: bytes, noted: bool) -> None:
    assert (openai_responses.MARKS.search(frame) is not None) is noted


def test_usage_comes_without_asking() -> None:
    assert openai_responses.ask_usage(b"{}") is None
    assert not openai_responses.is_usage_only(PlainFrame(b""))


def test_errors_are_those_of_openai() -> None:
    fail = openai_responses.read_error(429, b'{"error":{"message":"slow down"}}')
    assert fail.kind == "rate_limit"
    answer = openai_responses.write_error(fail)
    assert (answer.status, json.loads(answer.body)["error"]["message"]) == (429, "slow down")


CLAUDE = Origin("anthropic", model="claude-opus-4-8")
SIGNED = seal(CLAUDE, "thinking", '{"type":"thinking","signature":"c2ln"}', ["Let me\n\nsee."])
HIDDEN = seal(CLAUDE, "redacted_thinking", '{"type":"redacted_thinking","data":"eA=="}')
REPLY: list[Event] = [
    Start("msg_1", "claude-opus-4-8"),
    Open(0, "thinking"), Delta(0, "Let me\n\n"), Delta(0, "see."), Sealed(0, SIGNED), Close(0),
    Open(1, "thinking"), Sealed(1, HIDDEN), Close(1),
    Open(2, "text"), Delta(2, "I look."), Close(2),
    Open(3, "tool", id="call_1", name="f", namespace="ns"), Delta(3, "{}"), Close(3),
    Open(4, "tool", id="call_2", name="c", tool="freeform"), Delta(4, "x"), Close(4),
    Usage(5, 7), Stop("tools"), End(),
]  # fmt: skip


def output_of(stream: bool) -> list[object]:
    """Return the items that a client gets, and will send back."""
    call = Call("openai_responses", "m", stream=stream, vault=VAULT)
    if not stream:
        output: list[object] = json.loads(
            openai_responses.write_reply(REPLY, call, "resp_1", 0)[0]
        )["output"]
        return output
    writer, checker = openai_responses.stream_writer(call, "resp_1", 0), openai_responses.grammar()
    frames = sse.Splitter().feed(b"".join(writer.write(event) for event in REPLY))
    assert [rule for frame in frames for rule in checker.check(frame)] + checker.close() == []
    said = [json.loads(frame.data) for frame in frames]
    return [one["item"] for one in said if one["type"] == "response.output_item.done"]


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_client_gets_it_can_give_back(stream: bool) -> None:
    call = read(input=output_of(stream))
    parts = list(call.parts())
    thoughts = [part for part in parts if isinstance(part, Thinking)]
    assert [(part.text, part.seal) for part in thoughts] == [
        ("Let me\n\nsee.", SIGNED),
        ("", HIDDEN),
    ]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    assert [(part.id, part.name, part.namespace, part.kind, part.arguments) for part in calls] == [
        ("call_1", "f", "ns", "function", "{}"),
        ("call_2", "c", None, "freeform", "x"),
    ]
    assert call.unopened == ()


ITEM = {
    "id": "rs_1", "type": "reasoning", "encrypted_content": "gAAA", "status": "completed",
    "summary": [{"type": "summary_text", "text": "**One**"}, {"type": "summary_text", "text": "Two."}],
}  # fmt: skip
FINAL = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed",
    "output": [ITEM],
}  # fmt: skip


def test_a_native_item_comes_back_to_its_issuer_by_way_of_another_dialect() -> None:
    """Asked by a Messages client: the item travels in a signature, and is rebuilt from it."""
    events = openai_responses.read_reply(json.dumps(FINAL).encode(), Back(OPENAI))
    client = Call("anthropic_messages", "m", vault=VAULT)
    reply = json.loads(anthropic_messages.write_reply(events, client, "msg_1", 0)[0])
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": reply["content"]},
        {"role": "user", "content": "Go on"},
    ]
    asked = {"model": "m", "max_tokens": 99, "messages": messages}
    call = anthropic_messages.read_call(json.dumps(asked).encode(), VAULT)
    body = json.loads(openai_responses.write_call(call, Target("m", TAKES, OPENAI)).body)
    assert ITEM in body["input"]


def test_a_failed_reply_is_told() -> None:
    failed = FINAL | {"status": "failed", "error": {"code": "server_error", "message": "x"}}
    events = openai_responses.read_reply(json.dumps(failed).encode(), Back(OPENAI))
    assert isinstance(events[-1], Fail)
    assert openai_responses.stream_reader(Back(OPENAI)).unknown == 0
