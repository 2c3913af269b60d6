"""rawproxy.dialects.openai_responses.grammar: the rules, and each way to break one."""

import itertools
import json
from typing import Any

import pytest

from rawproxy.dialects.openai_responses.grammar import ResponseGrammar
from rawproxy.wire import sse
from rawproxy.wire.frame import PlainFrame

USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
PART = {"type": "output_text", "text": "a", "annotations": []}
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "content": [PART]}
CALL = {"id": "f", "type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}
CUSTOM = {"id": "u", "type": "custom_tool_call", "call_id": "d", "name": "n", "input": "x"}
REASONING = {"id": "r", "type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]}
WHOLE = {"id": "w", "type": "web_search_call"}
FAILURE = {"code": "server_error", "message": "m"}

Event = dict[str, Any]


def event(kind: str, **members: object) -> Event:
    return {"type": kind} | members


def response(status: str, *output: object, **members: object) -> Event:
    said = {"id": "resp", "model": "m", "created_at": 0, "status": status, "output": output}
    return said | members


def begin(kind: str = "created", **members: object) -> Event:
    return event(f"response.{kind}", response=response("in_progress") | members)


def end(*output: object, status: str = "completed", **members: object) -> Event:
    said = response(status, *output, usage=USAGE) | members
    return event(f"response.{status}", response=said)


def added(item: Event, index: int = 0, **members: object) -> Event:
    empty: Event = {"content": [], "arguments": "", "input": "", "summary": []}
    begun = item | {name: value for name, value in empty.items() if name in item} | members
    return event("response.output_item.added", output_index=index, item=begun)


def done(item: object, index: int = 0) -> Event:
    return event("response.output_item.done", output_index=index, item=item)


def at(kind: str, index: int = 0, **members: object) -> Event:
    return event(f"response.{kind}", output_index=index, content_index=0) | members


def said(*pieces: str, done: object = "a") -> list[Event]:
    return [
        *(at("output_text.delta", delta=piece) for piece in pieces),
        at("output_text.done", text=done),
    ]


BEGUN = [begin(), begin("in_progress")]
PART_ADDED = at("content_part.added", part=PART)
PART_DONE = at("content_part.done", part=PART)
OPEN = [*BEGUN, added(MESSAGE), PART_ADDED]
TEXT = [*OPEN, *said("a"), PART_DONE, done(MESSAGE)]
ARGUMENTS = [
    at("function_call_arguments.delta", delta="{}"),
    at("function_call_arguments.done", arguments="{}"),
]
ERROR = event("error", message="m", error=FAILURE)
FAILED = event("response.failed", response=response("failed", error=FAILURE))


def frames(*events: Event) -> bytes:
    number = itertools.count()
    return b"".join(
        sse.write(
            json.dumps({"sequence_number": next(number)} | one).encode(), name=one["type"].encode()
        )
        for one in events
    )


def check(data: bytes) -> list[str]:
    grammar = ResponseGrammar()
    found = [rule for one in sse.Splitter().feed(data) for rule in grammar.check(one)]
    return [*found, *grammar.close()]


def broken(*events: Event) -> list[str]:
    return check(frames(*events))


@pytest.mark.parametrize(
    "events",
    [
        [*BEGUN, end()],
        [begin(status="queued"), event("response.queued", response=response("queued")), end()],
        [*TEXT, end(MESSAGE)],
        [*BEGUN, event("keepalive"), added(MESSAGE), event("keepalive"), PART_ADDED, *said("a"),
         PART_DONE, done(MESSAGE), end(MESSAGE)],
        [*TEXT[:-2], at("output_text.annotation.added", annotation={}), *TEXT[-2:], end(MESSAGE)],
        [*BEGUN, added(CALL), *ARGUMENTS, done(CALL), end(CALL)],
        [*BEGUN, added(CUSTOM), at("custom_tool_call_input.delta", delta="x"),
         at("custom_tool_call_input.done", input="x"), done(CUSTOM), end(CUSTOM)],
        [*BEGUN, added(REASONING), event(
            "response.reasoning_summary_part.added", output_index=0, summary_index=0, part={}
         ), event(
            "response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="t"
         ), event(
            "response.reasoning_summary_text.done", output_index=0, summary_index=0, text="t"
         ), event(
            "response.reasoning_summary_part.done", output_index=0, summary_index=0,
            part={"text": "t"},
         ), done(REASONING), end(REASONING)],
        [*BEGUN, added(REASONING), done(REASONING), end(REASONING)],
        [*BEGUN, added(WHOLE), event("response.web_search_call.searching"), done(WHOLE),
         end(WHOLE)],
        [*BEGUN, end(status="incomplete", incomplete_details={"reason": "content_filter"})],
        [*OPEN, ERROR, FAILED],
        [begin(), FAILED],
    ],
)  # fmt: skip
def test_good_streams(events: list[Event]) -> None:
    assert broken(*events) == []


def test_refusals() -> None:
    part = {"type": "refusal", "refusal": "no"}
    item = MESSAGE | {"content": [part]}
    assert broken(
        *OPEN, at("refusal.delta", delta="no"), at("refusal.done", refusal="no"),
        at("content_part.done", part=part), done(item), end(item),
    ) == []  # fmt: skip


def test_names_comments_and_the_terminator_of_others_may_be_there() -> None:
    data = b"".join(sse.write(frame.data) for frame in sse.Splitter().feed(frames(*BEGUN, end())))
    assert check(sse.comment(b"hi") + data + sse.write(b"[DONE]")) == []


@pytest.mark.parametrize(
    ("rule", "events"),
    [
        ("end: it never came", BEGUN),
        ("end: an error without response.failed", [*BEGUN, ERROR]),
        ("end: response.completed after an error", [*BEGUN, ERROR, end()]),
        ("end: a frame after response.completed", [*BEGUN, end(), event("keepalive")]),
        ("order: keepalive first", [event("keepalive"), *BEGUN, end()]),
        ("order: response.created again", [*BEGUN, begin(), end()]),
        ("sequence: 7 where 1 is due", [begin(), begin("in_progress", ) | {"sequence_number": 7},
                                        end() | {"sequence_number": 8}]),
        ("sequence: None where 1 is due", [begin(), end() | {"sequence_number": None}]),
        ("type: response.new is none of the API's", [*BEGUN, event("response.new"), end()]),
        ("error: it has no message, or no error object", [*BEGUN, event("error"), FAILED]),
        ("error: it has no code, or no message",
         [*BEGUN, event("response.failed", response=response("failed"))]),
        ("response: there is none", [event("response.created"), begin("in_progress", id=None)]),
        ("response: there is none", [*BEGUN, event("response.completed")]),
        ("response: it begins as completed", [begin(status="completed"), end()]),
        ("response: it has no model", [begin(model=None), end()]),
        ("response: its output is no list", [begin(output=None), end()]),
        ("id: the response has another one than before", [begin(), end(id="other")]),
        ("response: response.completed with status failed",
         [begin(), event("response.completed", response=response("failed", usage=USAGE))]),
        ("response: it is incomplete, and does not say why", [begin(), end(status="incomplete")]),
        ("usage: input_tokens is no number", [begin(), end(usage=None)]),
        ("usage: total_tokens is no number", [begin(), end(usage=USAGE | {"total_tokens": True})]),
        ("output: it is not the items of the stream", [*TEXT, end()]),
        ("output: it is not the items of the stream", [*TEXT, end(7)]),
        ("output: it is not the items of the stream", [*TEXT, end(MESSAGE | {"id": "x"})]),
        ("order: response.completed before every item is done", [*OPEN, end(MESSAGE)]),
        ("item: it has no type", [*BEGUN, added({}), end()]),
        ("item: message without id", [begin(), added(MESSAGE, id=None)]),
        ("item: function_call without call_id", [begin(), added(CALL, call_id="")]),
        ("item: content of message does not begin as []", [begin(), added(MESSAGE, content=[1])]),
        ("index: item 1 where 0 comes next", [begin(), added(MESSAGE, 1)]),
        ("index: item 0 where 1 comes next", [begin(), added(MESSAGE), added(CALL)]),
        ("id: two items have one id", [begin(), added(MESSAGE), added(MESSAGE, 1)]),
        ("id: two items have one call_id", [begin(), added(CALL), added(CALL, 1, id="g")]),
        ("index: response.output_item.done for item 0, which was not added",
         [begin(), done(MESSAGE)]),
        ("order: response.output_item.done for item 0, which is done", [*TEXT, done(MESSAGE)]),
        ("order: response.content_part.done for item 0, which is done", [*TEXT, PART_DONE]),
        ("order: response.output_text.delta for item 0, which is done", [*TEXT, *said("a")]),
        ("id: response.output_text.delta names another item than the one at its index",
         [*OPEN, at("output_text.delta", delta="a", item_id="x")]),
        ("item: there is none", [*OPEN, done(None)]),
        ("id: the id of an item changed", [*TEXT[:-1], done(MESSAGE | {"id": "x"})]),
        ("order: an item is done before its parts are", [*TEXT[:-2], done(MESSAGE)]),
        ("text: the message is not what its parts were",
         [*TEXT[:-1], done(MESSAGE | {"content": []})]),
        ("text: the message is not what its parts were",
         [*TEXT[:-1], done(MESSAGE | {"content": None})]),
        ("text: not what its deltas were",
         [begin(), added(CALL), *ARGUMENTS, done(CALL | {"arguments": ""})]),
        ("part: there is none, or no index of it", [*BEGUN, added(MESSAGE), at("content_part.added")]),
        ("index: part 0 where 1 comes next", [*OPEN, PART_ADDED]),
        ("order: part 0 is done before it was added, or twice",
         [*BEGUN, added(MESSAGE), PART_DONE]),
        ("text: the part is not what its text was", [*OPEN, PART_DONE]),
        ("item: response.output_text.delta for an item of type function_call",
         [*BEGUN, added(CALL), *said("a")]),
        ("order: response.output_text.delta for part 0, which is not open",
         [*BEGUN, added(MESSAGE), *said("a")]),
        ("text: response.output_text.delta without it", [*OPEN, at("output_text.delta")]),
        ("order: response.output_text.delta after the text was done",
         [*OPEN, *said("a"), at("output_text.delta", delta="a")]),
        ("text: it is not what its deltas were", [*OPEN, *said("a", done="b")]),
        ("order: an annotation of part 0, which is not open",
         [*BEGUN, added(MESSAGE), at("output_text.annotation.added")]),
        ("annotation: there is none", [*OPEN, at("output_text.annotation.added")]),
        ("index: response.output_text.annotation.added for item 1, which was not added",
         [*OPEN, at("output_text.annotation.added", 1)]),
    ],
)  # fmt: skip
def test_bad_streams(rule: str, events: list[Event]) -> None:
    assert rule in broken(*events)


def test_data_that_is_no_event() -> None:
    assert check(sse.write(b"[]"))[0] == "json: the data is not a JSON object"


def test_the_event_line_agrees_with_the_type() -> None:
    data = json.dumps(begin() | {"sequence_number": 0}).encode()
    frame = PlainFrame(b"", b"ping", data, has_data=True)
    assert ResponseGrammar().check(frame) == [
        "event: the data is of type response.created, the event line says 'ping'"
    ]
