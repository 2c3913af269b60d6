"""Broken streams of every dialect: each comes out grammatical in all others, or ends in the right error.

A case is what an upstream sends, and what a client of any dialect has to make of it: the text, the
tools, or that it broke. Each was seen on some server that copies one of these APIs.
"""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Back
from rawproxy.dialects.events import Event, Fail
from rawproxy.dialects.fold import Reply, fold
from rawproxy.dialects.grammar import validate
from rawproxy.dialects.translate import Stream
from rawproxy.errors import UpstreamError
from rawproxy.wire import eventstream, sse
from rawproxy.wire.frame import MAX_FRAME

CLIENTS = [name for name in DIALECTS if name != "plain_text"]
WITHOUT_TOOLS = {"openai_completions", "anthropic_complete"}

Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """What an upstream sends, and what it means.

    Attributes:
        text: all of it; None where it does not matter.
        tools: names and arguments of the calls, in order.
        broken: it ends in an error.
    """

    name: str
    dialect: str
    stream: bytes
    text: str | None = ""
    tools: tuple[tuple[str, Json], ...] = ()
    broken: bool = False


def data(*values: object) -> bytes:
    """Frames of SSE; text stays as it is."""
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return b"".join(sse.write(text.encode()) for text in texts)


def named(*values: Json) -> bytes:
    """Frames of SSE that are named by their type."""
    return b"".join(
        sse.write(json.dumps(value).encode(), name=value["type"].encode()) for value in values
    )


def chunk(delta: Json | None = None, finish: str | None = None, **more: Any) -> Json:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
    } | more


def called(index: int | None, arguments: str = "", **function: Any) -> Json:
    call: Json = {"function": {"arguments": arguments} | function}
    return chunk({"tool_calls": [call | ({} if index is None else {"index": index})]})


HI = {"content": "hi"}
DONE = "[DONE]"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CHAT = "openai_chat"
ONE = (("f", {"a": 1}),)
TWO: tuple[tuple[str, Json], ...] = (("f", {"a": 1}), ("g", {}))

CHAT_CASES = [
    Case("no terminator", CHAT, data(chunk(HI), chunk({}, "stop")), "hi"),
    Case("no finish_reason", CHAT, data(chunk(HI), DONE), "hi"),
    Case("nothing behind the text", CHAT, data(chunk(HI)), None, broken=True),
    Case("nothing at all", CHAT, b"", None, broken=True),
    Case("comments only", CHAT, b": ping\n\n: ping\n\n", None, broken=True),
    Case("a repeated role", CHAT,
         data(chunk({"role": "assistant"} | HI), chunk({"role": "assistant"} | HI), chunk({}, "stop"), DONE), "hihi"),
    Case("two documents in a data line", CHAT,
         data(json.dumps(chunk(HI)) + json.dumps(chunk(HI)), chunk({}, "stop"), DONE), "hihi"),
    Case("times and counts in floats", CHAT,
         data(chunk(HI, created=1.5), chunk({}, "stop", usage={"prompt_tokens": 3.0, "completion_tokens": 2.0}), DONE),
         "hi"),
    Case("usage on the finish chunk", CHAT, data(chunk(HI), chunk({}, "stop", usage=USAGE), DONE), "hi"),
    Case("usage on every chunk", CHAT,
         data(chunk(HI, usage=USAGE), chunk(HI, usage=USAGE), chunk({}, "stop", usage=USAGE), DONE), "hihi"),
    Case("usage before anything", CHAT, data({"choices": [], "usage": USAGE}, chunk(HI), chunk({}, "stop"), DONE), "hi"),
    Case("an unknown event", CHAT, data(chunk(HI), {"object": "heartbeat"}, chunk({}, "stop"), DONE), "hi"),
    Case("nulls for everything", CHAT,
         data({"id": None, "model": None, "choices": None}, chunk(HI | {"tool_calls": None, "role": None}),
              chunk({}, "stop"), DONE), "hi"),
    Case("content in parts", CHAT, data(chunk({"content": [{"type": "text", "text": "hi"}]}), chunk({}, "stop"), DONE), "hi"),
    Case("finished twice", CHAT, data(chunk(HI), chunk({}, "stop"), chunk({}, "stop"), DONE, DONE), "hi"),
    Case("text behind the end", CHAT, data(chunk(HI), chunk({}, "stop"), chunk(HI), DONE), "hi"),
    Case("tools without index", CHAT,
         data(called(None, '{"a":', name="f"), called(None, "1}"), chunk({}, "tool_calls"), DONE), None, ONE),
    Case("tools that begin at one", CHAT,
         data(called(1, '{"a": 1}', name="f"), called(2, "", name="g"), chunk({}, "tool_calls"), DONE), None, TWO),
    Case("tools interleaved", CHAT,
         data(called(0, "", name="f"), called(1, "", name="g"), called(0, '{"a"'), called(1, "{"), called(0, ": 1}"),
              called(1, "}"), chunk({}, "tool_calls"), DONE), None, TWO),
    Case("a name in every piece", CHAT,
         data(called(0, '{"a"', name="f"), called(0, ": 1}", name="f"), chunk({}, "tool_calls"), DONE), None, ONE),
    Case("the name behind the arguments", CHAT,
         data(called(0, '{"a": 1}'), called(0, "", name="f"), chunk({}, "tool_calls"), DONE), None, ONE),
    Case("one id for two tools", CHAT,
         data(chunk({"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": '{"a": 1}'}}]}),
              chunk({"tool_calls": [{"index": 1, "id": "x", "function": {"name": "g", "arguments": "{}"}}]}),
              chunk({}, "tool_calls"), DONE), None, TWO),
    Case("arguments as an object", CHAT, data(called(0, {"a": 1}, name="f"), chunk({}, "tool_calls"), DONE), None, ONE),  # type: ignore[arg-type]
    Case("tools that finish with stop", CHAT, data(called(0, '{"a": 1}', name="f"), chunk({}, "stop"), DONE), None, ONE),
    Case("an error without type", CHAT, data(chunk(HI), {"error": "boom"}), None, broken=True),
    Case("an error before anything", CHAT, data({"error": {"message": "boom", "code": 500}}), None, broken=True),
    Case("an error as finish_reason", CHAT, data(chunk(HI), chunk({}, "error"), DONE), None, broken=True),
    Case("JSON that ends in the middle", CHAT, data(chunk(HI), '{"choices":[{"del'), None, broken=True),
    Case("a page of HTML", CHAT, b"<html><body>502</body></html>\n\n", None, broken=True),
    Case("no blank line at the end", CHAT, data(chunk(HI), chunk({}, "stop"), DONE)[:-2], "hi"),
    Case("line ends of Windows", CHAT, data(chunk(HI), chunk({}, "stop"), DONE).replace(b"\n", b"\r\n"), "hi"),
    Case("half an emoji", CHAT, data('{"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}', chunk({}, "stop"), DONE),
         "a\ufffd"),
]  # fmt: skip

MESSAGES = "anthropic_messages"
START = {
    "type": "message_start",
    "message": {"id": "m", "model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}},
}
TEXT = {"type": "text", "text": ""}
STOPPED = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn"},
    "usage": {"output_tokens": 2},
}
ENDED = {"type": "message_stop"}


def begun(index: int, block: Json | None = None) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": block or TEXT}


def grown(index: int, text: str = "hi") -> Json:
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": "text_delta", "text": text},
    }


def closed(index: int) -> Json:
    return {"type": "content_block_stop", "index": index}


def tool(name: str, **more: Any) -> Json:
    return {"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": {}} | more


def piece(index: int, text: str) -> Json:
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": "input_json_delta", "partial_json": text},
    }


TOOLS = {
    "type": "message_delta",
    "delta": {"stop_reason": "tool_use"},
    "usage": {"output_tokens": 2},
}

MESSAGES_CASES = [
    Case("no message_stop", MESSAGES, named(START, begun(0), grown(0), closed(0), STOPPED), "hi"),
    Case("no message_delta", MESSAGES, named(START, begun(0), grown(0), closed(0), ENDED), "hi"),
    Case("no stop of the block", MESSAGES, named(START, begun(0), grown(0), STOPPED, ENDED), "hi"),
    Case("no start of the block", MESSAGES, named(START, grown(0), closed(0), STOPPED, ENDED), "hi"),
    Case("no start at all", MESSAGES, named(begun(0), grown(0), closed(0), STOPPED, ENDED), "hi"),
    Case("no usage", MESSAGES, named({"type": "message_start", "message": {}}, begun(0), grown(0), closed(0),
         {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, ENDED), "hi"),
    Case("gaps in the indexes", MESSAGES, named(START, begun(3), grown(3), closed(3), begun(7), grown(7), closed(7),
         STOPPED, ENDED), "hihi"),
    Case("an unknown event", MESSAGES, named(START, {"type": "news"}, begun(0), grown(0), closed(0), STOPPED, ENDED), "hi"),
    Case("an unknown block", MESSAGES, named(START, begun(0, {"type": "hologram"}), closed(0), begun(1), grown(1),
         closed(1), STOPPED, ENDED), "hi"),
    Case("an unknown stop_reason", MESSAGES, named(START, begun(0), grown(0), closed(0),
         {"type": "message_delta", "delta": {"stop_reason": "bored"}, "usage": {"output_tokens": 2}}, ENDED), "hi"),
    Case("no event lines", MESSAGES, data(START, begun(0), grown(0), closed(0), STOPPED, ENDED), "hi"),
    Case("message_delta twice", MESSAGES, named(START, begun(0), grown(0), closed(0), STOPPED, STOPPED, ENDED), "hi"),
    Case("a terminator of another API", MESSAGES, named(START, begun(0), grown(0), closed(0), STOPPED, ENDED) + data(DONE), "hi"),
    Case("tool input in the start", MESSAGES, named(START, begun(0, tool("f", input={"a": 1})), closed(0), TOOLS, ENDED),
         None, ONE),
    Case("tools interleaved", MESSAGES, named(START, begun(0, tool("f")), begun(1, tool("g")), piece(0, '{"a"'),
         piece(1, "{}"), piece(0, ": 1}"), closed(1), closed(0), TOOLS, ENDED), None, TWO),
    Case("an error without message", MESSAGES, named(START, {"type": "error"}), None, broken=True),
    Case("cut in a tool", MESSAGES, named(START, begun(0, tool("f")), piece(0, '{"a"')), None, broken=True),
]  # fmt: skip

RESPONSES = "openai_responses"


def response(kind: str, **more: Any) -> Json:
    return {"type": f"response.{kind}"} | more


def message_item(text: str) -> Json:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": content,
    }


CREATED = response("created", response={"id": "resp_1", "model": "m", "output": []})
SAID = response("output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta="hi")
ITEM = response(
    "output_item.added", output_index=0, item={"type": "message", "id": "msg_1", "content": []}
)
PART = response("content_part.added", item_id="msg_1", output_index=0, content_index=0,
                part={"type": "output_text", "text": ""})  # fmt: skip
COMPLETED = response(
    "completed", response={"id": "resp_1", "status": "completed", "output": [message_item("hi")]}
)
FUNCTION = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "f",
    "arguments": '{"a": 1}',
}

RESPONSES_CASES = [
    Case("no items, only deltas", RESPONSES, named(CREATED, SAID, COMPLETED), "hi"),
    Case("no deltas, only the item", RESPONSES,
         named(CREATED, response("output_item.done", output_index=0, item=message_item("hi")), COMPLETED), "hi"),
    Case("nothing but the end", RESPONSES, named(COMPLETED), "hi"),
    Case("no end", RESPONSES, named(CREATED, ITEM, PART, SAID), None, broken=True),
    Case("an unknown event", RESPONSES, named(CREATED, response("dream"), ITEM, PART, SAID, COMPLETED), "hi"),
    Case("an error and a failure", RESPONSES,
         named(CREATED, {"type": "error", "message": "boom"}, response("failed", response={"error": {"message": "boom"}})),
         None, broken=True),
    Case("arguments only when done", RESPONSES,
         named(CREATED, response("output_item.done", output_index=0, item=FUNCTION),
               response("completed", response={"output": [FUNCTION]})), None, ONE),
    Case("no event lines", RESPONSES, data(CREATED, ITEM, PART, SAID, COMPLETED), "hi"),
]  # fmt: skip

OLLAMA, CONVERSE = "ollama_chat", "bedrock_converse"


def lines(*values: Json) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def aws(*messages: tuple[str, Json]) -> bytes:
    return b"".join(
        eventstream.write(json.dumps(value).encode(), name=name.encode())
        for name, value in messages
    )


WORD = {"message": {"role": "assistant", "content": "hi"}, "done": False}
GROWN = ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "hi"}})
OVER = ("messageStop", {"stopReason": "end_turn"})

OTHER_CASES = [
    Case("no line is the last", OLLAMA, lines(WORD), None, broken=True),
    Case("no end of the last line", OLLAMA, lines(WORD, {"done": True})[:-1], "hi"),
    Case("an error in a line", OLLAMA, lines(WORD, {"error": "boom"}), None, broken=True),
    Case("blank lines", OLLAMA, lines(WORD) + b"\n\r\n" + lines({"done": True}), "hi"),
    Case("no metadata", CONVERSE, aws(("messageStart", {"role": "assistant"}), GROWN, OVER), "hi"),
    Case("no messageStart", CONVERSE, aws(GROWN, OVER, ("metadata", {"usage": {"inputTokens": 1}})), "hi"),
    Case("no messageStop", CONVERSE, aws(("messageStart", {"role": "assistant"}), GROWN), None, broken=True),
    Case("a message with a wrong checksum", CONVERSE, aws(GROWN, OVER)[:-1] + b"\0", None, broken=True),
    Case("half a message", CONVERSE, aws(GROWN, OVER)[:-9], None, broken=True),
    Case("an exception", CONVERSE,
         aws(GROWN) + eventstream.write_exception(b'{"message":"boom"}', b"throttlingException"), None, broken=True),
    Case("no stop_reason", "anthropic_complete", data({"type": "completion", "completion": " hi"}), None, broken=True),
    Case("text that shrinks", "anthropic_complete",
         data({"completion": " hi", "stop_reason": None}, {"completion": " h", "stop_reason": None},
              {"completion": " hi", "stop_reason": "stop_sequence"}, DONE), "hi"),
    Case("no finish_reason", "openai_completions",
         data({"choices": [{"index": 0, "text": "hi"}]}, DONE), "hi"),
    Case("gemini: no finishReason", "gemini", data({"candidates": [{"content": {"parts": [{"text": "hi"}]}}]}), None,
         broken=True),
    Case("gemini: no index, no role", "gemini",
         data({"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}), "hi"),
    Case("gemini: an error", "gemini", data({"error": {"code": 503, "message": "boom", "status": "UNAVAILABLE"}}), None,
         broken=True),
    Case("gemini: names in snake case", "gemini",
         data({"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}],
               "usageMetadata": {"promptTokenCount": 1.0}}), "hi"),
]  # fmt: skip

CASES = [*CHAT_CASES, *MESSAGES_CASES, *RESPONSES_CASES, *OTHER_CASES]
JOURNEYS = [
    pytest.param(case, client, id=f"{case.dialect}: {case.name} -> {client}")
    for case in CASES
    for client in CLIENTS
]


def read_back(client: str, stream: bytes) -> tuple[Reply | None, list[Event]]:
    """What a client of a dialect reads; None where it ends in an error, or breaks off."""
    dialect = DIALECTS[client]
    reader = dialect.stream_reader(Back())
    events: list[Event] = []
    splitter = dialect.FRAMING.splitter(MAX_FRAME)
    for frame in splitter.feed(stream):
        events += reader.read(frame) if frame.has_data else []
    try:
        events += reader.close()
    except UpstreamError:
        return None, events
    return (None if any(isinstance(event, Fail) for event in events) else fold(events)), events


def test_there_are_enough() -> None:
    assert len(CASES) >= 40
    assert len({(case.dialect, case.name) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(("case", "client"), JOURNEYS)
def test_a_broken_stream(case: Case, client: str, size: int) -> None:
    translation = Stream(case.dialect, client, model="m")
    reads = [case.stream[at : at + size] for at in range(0, len(case.stream), size)]
    written = b"".join(map(translation.feed, reads)) + translation.close()
    assert [str(one) for one in validate(client, written)] == []
    reply, events = read_back(client, written)
    if case.broken:
        assert reply is None
        assert sum(isinstance(event, Fail) for event in events) == 1
        return
    assert reply is not None
    choice = reply.choice(0)
    assert choice.stop is not None
    if case.text is not None:
        assert choice.text("text") == case.text
    if client not in WITHOUT_TOOLS:
        tools = [
            (block.opened.name, json.loads(block.text or "{}")) for block in choice.blocks("tool")
        ]
        assert sorted(tools, key=str) == sorted(case.tools, key=str)
        assert len({block.opened.id for block in choice.blocks("tool")}) == len(tools)
        assert (choice.stop.reason == "tools") == bool(tools)
