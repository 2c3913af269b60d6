"""rawproxy.dialects.openai_responses.body: events to one whole response."""

import json
from typing import Any

import pytest
from hypothesis import given
from msgspec import Raw
from openai.types.responses import Response

from rawproxy.dialects.base import Back
from rawproxy.dialects.envelope import Origin
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Reason,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.fold import fold
from rawproxy.dialects.openai_responses.body import write_body
from rawproxy.dialects.openai_responses.reader import ResponseReader
from rawproxy.errors import UpstreamNonsense
from tests.dialects.openai_responses.test_writer import (
    CALL,
    CLAUDE,
    DONE,
    REDACTED,
    VAULT,
    empty,
    native,
    replies,
    said_by,
    seals,
    text,
    thinking,
    tool,
)


def body(events: list[Any], lost: tuple[str, ...] = ()) -> Any:
    data, losses = write_body([Start("resp_1", "m", 7), *events], CALL, "exchange", 99)
    assert tuple(loss.path for loss in losses) == lost
    Response.model_validate_json(data)
    return json.loads(data)


def output(*events: Any, lost: tuple[str, ...] = ()) -> Any:
    return body([*events, *DONE], lost)["output"]


def test_a_whole_reply() -> None:
    said = body([*text("a", "b"), Usage(input=2), Usage(output=1), Stop("end"), End("standard")])
    assert (said["id"], said["model"], said["created_at"]) == ("resp_1", "m", 7)
    assert (said["status"], said["usage"]["total_tokens"]) == ("completed", 3)
    assert said["service_tier"] == "default"
    part = {"type": "output_text", "text": "ab", "annotations": [], "logprobs": []}
    assert said["output"] == [
        {"id": "msg_1_0", "type": "message", "status": "completed", "role": "assistant",
         "content": [part]}
    ]  # fmt: skip


def test_what_the_upstream_left_out_is_ours() -> None:
    said = json.loads(write_body([Start(), *DONE], CALL, "exchange", 99)[0])
    assert (said["id"], said["model"], said["created_at"]) == ("resp_exchange", "asked", 99)


def test_texts_of_one_phase_are_one_message() -> None:
    found = output(
        *text("a", phase="commentary"), *text("b", block=1, phase="commentary"),
        *text("c", block=2), Open(3, "refusal"), Delta(3, "no"), Close(3), *tool("{}", block=4),
        *text("d", block=5),
    )  # fmt: skip
    assert [len(one.get("content", ())) for one in found] == [2, 2, 0, 1]
    assert [one.get("phase") for one in found] == ["commentary", None, None, None]


def test_calls() -> None:
    found = output(*tool(), *tool("x", block=1, tool="freeform"), *tool(block=2, tool="freeform"))
    assert [one.get("arguments", one.get("input")) for one in found] == ["{}", "x", ""]


def test_seals() -> None:
    shown, hidden, before, called, bare = output(
        *thinking(CLAUDE, "ab"), *thinking(REDACTED, block=1), *tool("{}", block=2, seal=CLAUDE),
        *thinking(None, "t", block=3), *thinking(None, block=4),
    )  # fmt: skip
    envelopes = [one["encrypted_content"] for one in (shown, hidden, before)]
    assert [VAULT.open(one) for one in envelopes] == [CLAUDE, REDACTED, CLAUDE]
    assert called["type"] == "function_call"
    assert (len(bare["summary"]), "encrypted_content" in bare) == (1, False)


def test_the_vendor_s_own_item_goes_back_as_it_was() -> None:
    (item,) = output(*thinking(native("a", "b"), "a\n\nb"))
    assert (item["id"], item["encrypted_content"]) == ("rs_theirs", "gAAA")
    assert [part["text"] for part in item["summary"]] == ["a", "b"]


def test_citations_and_logprobs() -> None:
    logprobs = Raw(b'{"content":[{"token":"a","logprob":-1.5,"bytes":[],"top_logprobs":[]}]}')
    (message,) = output(
        Open(0, "text"), Delta(0, "a", logprobs), Note(0, "https://a"), Note(0, title="t"),
        Close(0), lost=("reply.citations",),
    )  # fmt: skip
    (part,) = message["content"]
    assert part["annotations"][0]["end_index"] == 1
    assert part["logprobs"][0]["token"] == "a"


def test_what_has_no_words_here_is_told() -> None:
    own = Raw(
        b'{"id":"ws_1","type":"web_search_call","status":"completed",'
        b'"action":{"type":"search","query":"q"}}'
    )
    events: list[Any] = [
        Whole("anthropic_messages", Raw(b"{}"), "server_tool_use"), Open(0, "refusal"),
        Delta(0, "no", Raw(b"7")), Note(0, "https://a"), Close(0), *tool(block=1, runs="vendor"),
        Whole("openai_responses", own, "web_search_call"), Open(2, "text", 1), Delta(2, "x"),
        Close(2), Stop("end", 1),
    ]  # fmt: skip
    found = output(
        *events,
        lost=(
            "reply.choices", "reply.server_tool_use", "reply.citations", "reply.logprobs",
            "reply.f1",
        ),
    )  # fmt: skip
    assert [one["type"] for one in found] == ["message", "web_search_call"]


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("end", "completed", None), ("tools", "completed", None),
        ("length", "incomplete", "max_output_tokens"), ("filter", "incomplete", "content_filter"),
        ("refusal", "incomplete", "content_filter"),
    ],
)  # fmt: skip
def test_why_it_stopped(reason: Reason, status: str, why: str | None) -> None:
    said = body([*text("a"), Stop(reason), End()])
    assert (said["status"], said["output"][0]["status"]) == (status, status)
    assert said["incomplete_details"] == (why and {"reason": why})


def test_a_call_that_was_cut_off_says_so() -> None:
    said = body([*tool(), *tool(block=1), Stop("length"), End()])
    assert [(one["status"], one["arguments"]) for one in said["output"]] == [
        ("completed", "{}"),
        ("incomplete", ""),
    ]


@pytest.mark.parametrize("last", [[], [*thinking(None, "t")]])
def test_what_is_cut_before_it_speaks(last: list[Any]) -> None:
    assert body([*last, Stop("length"), End()])["status"] == "incomplete"


@pytest.mark.parametrize("events", [[Open(0, "refusal"), Delta(0, "no"), Close(0)], []])
def test_a_refusal_in_words_is_complete(events: list[Any]) -> None:
    said = body([*events, Stop("refusal", detail="no"), End()])
    assert said["status"] == "completed"
    assert said["output"][0]["content"] == [{"type": "refusal", "refusal": "no"}]


def test_output_that_cannot_be_read_is_a_failure() -> None:
    said = json.loads(write_body([Start(), Stop("malformed"), End()], CALL, "x", 9)[0])
    assert (said["status"], said["error"]["code"]) == ("failed", "server_error")


def test_a_failed_reply_is_no_body() -> None:
    with pytest.raises(UpstreamNonsense):
        write_body([Start(), Fail("server", "m")], CALL, "x", 9)


@given(replies())
def test_any_legal_reply_reads_back_as_the_same(events: list[Event]) -> None:
    if isinstance(events[-1], Fail):
        return
    data, losses = write_body(events, CALL, "exchange", 99)
    reader = ResponseReader(Back(Origin("other")))
    got, said = fold(reader.read_body(data)).choice(0), fold(events).choice(0)
    assert (reader.unknown, losses) == (0, [])
    for kind in ("text", "thinking", "refusal"):
        assert said_by(got, kind) == said_by(said, kind)
    assert [one.text for one in got.blocks("tool")] == [
        one.text or empty(one) for one in said.blocks("tool")
    ]
    assert seals(got) == seals(said)
