"""What two coding agents need of any upstream: Codex and Claude Code.

Codex asks in Responses, with tools in namespaces and tools of free text. Claude Code asks in Messages,
and recovers from a conversation that is too long by the wording of the error.
"""

import json
from typing import Any

import pytest

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Back
from rawproxy.dialects.call import Call
from rawproxy.dialects.events import Close, Delta, End, Event, Open, Start, Stop, Usage
from rawproxy.dialects.freeform import wrap
from rawproxy.wire import sse
from rawproxy.wire.frame import MAX_FRAME
from tests.dialects.replies import CLIENTS, VAULT, asked
from tests.dialects.test_golden import GOLDEN, target

WITH_TOOLS = [name for name in CLIENTS if name not in ("openai_completions", "anthropic_complete")]
RESPONSES, MESSAGES = "openai_responses", "anthropic_messages"
OTHERS = [name for name in WITH_TOOLS if name != RESPONSES]


def codex() -> Call:
    body = (GOLDEN / RESPONSES / "codex_turn" / "call.json").read_bytes()
    return DIALECTS[RESPONSES].read_call(body, VAULT)


def done_items(stream: bytes) -> list[dict[str, Any]]:
    """What Codex looks at: it acts on items that are done, and on nothing else."""
    events = [json.loads(frame.data) for frame in sse.Splitter().feed(stream)]
    return [one["item"] for one in events if one["type"] == "response.output_item.done"]


def calling(dialect: str, name: str, arguments: str) -> list[Event]:
    """What an upstream's reply says that calls one tool, read with what was done to the call."""
    events: list[Event] = [
        Start("id", "m"), Open(0, "tool", id="t1", name=name), Delta(0, arguments), Close(0),
        Usage(input=1, output=1), Stop("tools"), End(),
    ]  # fmt: skip
    writer = DIALECTS[dialect].stream_writer(asked(dialect), "id", 0)
    stream = b"".join(map(writer.write, events))
    written = DIALECTS[dialect].write_call(codex(), target(dialect))
    reader = DIALECTS[dialect].stream_reader(written.back)
    splitter = DIALECTS[dialect].FRAMING.splitter(MAX_FRAME)
    read = [event for frame in splitter.feed(stream) for event in reader.read(frame)]
    return [*read, *reader.close()] if not isinstance(read[-1], End) else read


def to_codex(events: list[Event]) -> list[dict[str, Any]]:
    writer = DIALECTS[RESPONSES].stream_writer(codex(), "made", 7)
    return done_items(b"".join(map(writer.write, events)))


@pytest.mark.parametrize("dialect", OTHERS)
def test_a_tool_in_a_namespace_comes_back_with_both_names(dialect: str) -> None:
    """Codex refuses a name that was flattened."""
    tools = [tool for tool in codex().tools if tool.namespace and tool.kind == "function"]
    assert tools
    written = DIALECTS[dialect].write_call(codex(), target(dialect))
    for tool in tools:
        (known,) = [
            there
            for there, here in written.back.tools.items()
            if (here.name, here.namespace) == (tool.name, tool.namespace)
        ]
        assert known.encode() in written.body
        (item,) = to_codex(calling(dialect, known, '{"a": 1}'))
        assert (item["type"], item["name"], item["namespace"]) == (
            "function_call", tool.name, tool.namespace,
        )  # fmt: skip
        assert json.loads(item["arguments"]) == {"a": 1}


@pytest.mark.parametrize("dialect", OTHERS)
def test_a_tool_of_free_text_comes_back_as_text(dialect: str) -> None:
    (tool,) = [tool for tool in codex().tools if tool.kind == "freeform"]
    written = DIALECTS[dialect].write_call(codex(), target(dialect))
    known = next(
        (there for there, here in written.back.tools.items() if here.name == tool.name), tool.name
    )
    wrapped = dialect != "openai_chat"  # it has such tools itself
    text = 'say("hi")\n'
    events = calling(dialect, known, wrap(text) if wrapped else text)
    if not wrapped:
        events = [
            Open(0, "tool", id="t1", name=known, tool="freeform")
            if isinstance(event, Open)
            else event
            for event in events
        ]
    (item,) = to_codex(events)
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", tool.name, text)


@pytest.mark.parametrize("dialect", OTHERS)
def test_what_codex_says_as_developer_is_said(dialect: str) -> None:
    call = codex()
    said = [part.text for turn in call.turns if turn.role == "developer" for part in turn.parts]  # type: ignore[union-attr]
    body = DIALECTS[dialect].write_call(call, target(dialect)).body
    for text in said:
        assert (
            json.dumps(text, ensure_ascii=False)[1:-1].encode() in body
            or json.dumps(text)[1:-1].encode() in body
        )


# -- Claude Code

AGENT: dict[str, Any] = {
    "model": "claude-opus-4-8", "max_tokens": 64000, "stream": True,
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197; cch=abc;"},
        {"type": "text", "text": "You write code.", "cache_control": {"type": "ephemeral"}},
    ],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Fix it."}]},
        {"role": "system", "content": "The branch is main."},
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}]},
        {"role": "user", "content": "Go on."},
    ],
    "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "metadata": {"user_id": json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": "s" * 36})},
    "tools": [{
        "name": "Bash", "description": "Runs a command.",
        "input_schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "properties": {
                "command": {"type": "string", "pattern": "^.+$"},
                "timeout": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": "none"}]},
                "env": {"type": "object", "propertyNames": {"type": "string"}},
            },
            "required": ["command"], "additionalProperties": False,
        },
    }],
}  # fmt: skip


@pytest.mark.parametrize("dialect", [name for name in CLIENTS if name != MESSAGES])
def test_what_changes_with_every_request_is_not_sent(dialect: str) -> None:
    """It would keep every prompt out of the upstream's cache."""
    call = DIALECTS[MESSAGES].read_call(json.dumps(AGENT).encode(), VAULT)
    body = DIALECTS[dialect].write_call(call, target(dialect)).body
    assert b"billing" not in body
    for text in (b"You write code.", b"Fix it.", b"The branch is main.", b"I look.", b"Go on."):
        assert text in body


@pytest.mark.parametrize("dialect", [name for name in WITH_TOOLS if name != MESSAGES])
def test_its_schemas_go_on_and_are_never_strict(dialect: str) -> None:
    call = DIALECTS[MESSAGES].read_call(json.dumps(AGENT).encode(), VAULT)
    body = DIALECTS[dialect].write_call(call, target(dialect)).body
    assert b"exclusiveMinimum" in body
    assert b'"strict":true' not in body.replace(b" ", b"")


OVERFLOWS = {
    "openai_chat": (400, {"error": {
        "message": "This model's maximum context length is 1000 tokens. However, your messages resulted in 1200 tokens.",
        "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded",
    }}),
    "openai_responses": (400, {"error": {
        "message": "This model's maximum context length is 1000 tokens. However, your messages resulted in 1200 tokens.",
        "type": "invalid_request_error", "param": "input", "code": "context_length_exceeded",
    }}),
    "openai_completions": (400, {"error": {
        "message": "This model's maximum context length is 1000 tokens, however you requested 1200 tokens",
        "type": "invalid_request_error", "param": None, "code": None,
    }}),
    "anthropic_complete": (400, {"type": "error", "error": {
        "type": "invalid_request_error", "message": "prompt is too long: 1200 tokens > 1000 maximum",
    }}),
    "gemini": (400, {"error": {
        "code": 400, "status": "INVALID_ARGUMENT",
        "message": "The input token count (1200) exceeds the maximum number of tokens allowed (1000).",
    }}),
    "bedrock_converse": (400, {"message": "prompt is too long: 1200 tokens > 1000 maximum"}),
    "ollama_chat": (400, {"error": "prompt is too long: 1200 tokens > 1000 maximum"}),
    "plain_text": (400, {"error": "prompt is too long: 1200 tokens > 1000 maximum"}),
}  # fmt: skip


@pytest.mark.parametrize("dialect", OVERFLOWS)
def test_a_conversation_that_is_too_long_is_told_in_words_that_it_knows(dialect: str) -> None:
    status, body = OVERFLOWS[dialect]
    fail = DIALECTS[dialect].read_error(status, json.dumps(body).encode())
    assert fail.kind == "overflow"
    said = DIALECTS[MESSAGES].write_error(fail)
    message = json.loads(said.body)["error"]["message"]
    assert (said.status, message) == (400, "prompt is too long: 1200 tokens > 1000 maximum")


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_is_told_its_own_status_of_it(client: str) -> None:
    fail = DIALECTS["openai_chat"].read_error(400, json.dumps(OVERFLOWS["openai_chat"][1]).encode())
    assert DIALECTS[client].write_error(fail).status == 400


def test_nothing_of_an_agent_is_undone_where_nothing_was_done() -> None:
    written = DIALECTS[RESPONSES].write_call(codex(), target(RESPONSES))
    assert (written.losses, written.back.tools) == ([], Back().tools)
