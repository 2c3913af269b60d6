"""rawproxy.dialects.openai_responses.items: items and the response around them."""

import json

import pytest
from msgspec import Raw
from openai.types.responses import Response

from rawproxy.dialects.call import Call, Identity, Sampling
from rawproxy.dialects.envelope import Origin, Vault, seal
from rawproxy.dialects.events import Note, Open, Stop, Usage
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.openai_responses import items
from rawproxy.dialects.openai_responses.items import Head, Losses
from rawproxy.dialects.reading import encode

CALL = Call(
    "openai_responses", "m", limit=9, sampling=Sampling(temperature=0.5), parallel_tools=False,
    identity=Identity(metadata=Raw(b'{"a":"b"}')),
)  # fmt: skip


@pytest.mark.parametrize(
    ("reply_id", "response_id", "item_id"),
    [
        ("resp_1", "resp_1", "msg_1_0"),
        ("msg_1", "resp_msg_1", "msg_msg_1_0"),
        ('a"b', 'resp_a"b', "msg_a_b_0"),
        ("resp_" + "x" * 99, "resp_" + "x" * 99, "msg_" + "x" * 48 + "_0"),
    ],
)
def test_ids(reply_id: str, response_id: str, item_id: str) -> None:
    head = Head.of(CALL, reply_id, 1)
    assert (head.id, head.item_id("message", 0)) == (response_id, item_id)
    assert len(head.item_id("custom_tool_call", 99)) <= 64


def test_the_response_is_whole_to_the_sdk() -> None:
    head = Head.of(CALL, "resp_1", 1, "own")
    said = head.response("completed", usage=items.write_usage(Usage(input=2)), tier="standard")
    response = Response.model_validate_json(encode(said))
    assert (response.model, response.max_output_tokens, response.temperature) == ("own", 9, 0.5)
    assert (response.parallel_tool_calls, response.metadata) == (False, {"a": "b"})
    assert (response.service_tier, response.error) == ("default", None)


def test_a_response_says_why() -> None:
    head = Head.of(CALL, "resp_1", 1)
    said = head.response("incomplete", reason="content_filter", error={"code": "c"}, tier="flex")
    assert said["incomplete_details"] == {"reason": "content_filter"}
    assert (said["error"], said["service_tier"], said["usage"]) == ({"code": "c"}, "flex", None)


@pytest.mark.parametrize(
    ("stop", "refused", "why"),
    [
        (Stop("end"), False, None), (Stop("length"), True, "max_output_tokens"),
        (Stop("context"), False, "max_output_tokens"), (Stop("filter"), False, "content_filter"),
        (Stop("refusal"), False, "content_filter"), (Stop("refusal"), True, None),
    ],
)  # fmt: skip
def test_incomplete(stop: Stop, refused: bool, why: str | None) -> None:
    assert items.incomplete(stop, refused=refused) == why


def test_member() -> None:
    members = {"a": Raw(b'"x"'), "n": Raw(b"null")}
    assert items.member(members, "a", str) == "x"
    assert [items.member(members, name, int) for name in ("a", "n", "z")] == [None, None, None]


def test_parts_and_messages() -> None:
    assert items.part("refusal", "no") == {"type": "refusal", "refusal": "no"}
    said = items.message("msg_1", "completed", [items.part("text", "a")], "commentary")
    assert said["phase"] == "commentary"
    assert "phase" not in items.message("msg_1", "completed", [], None)


def test_tool_calls() -> None:
    opened = Open(0, "tool", id="c", name="f", namespace="ns")
    said = items.tool_call(opened, "fc_1", "completed", "{}")
    assert (said["type"], said["arguments"], said["namespace"]) == ("function_call", "{}", "ns")
    said = items.tool_call(Open(0, "tool", tool="freeform"), "ctc_1", "completed", "x")
    assert (said["type"], said["input"], "namespace" in said) == ("custom_tool_call", "x", False)


def test_reasoning() -> None:
    vault = Vault(b"k", "me")
    sealed = seal(Origin("a"), "thinking", "{}", ["t"])
    said = items.reasoning("rs_1", "t", sealed, vault)
    assert said["summary"] == [{"type": "summary_text", "text": "t"}]
    assert vault.open(str(said["encrypted_content"])) == sealed
    assert items.reasoning("rs_1") == {"id": "rs_1", "type": "reasoning", "summary": []}


@pytest.mark.parametrize(
    ("form", "text", "item"),
    [
        ("reasoning", "", {"id": "rs_2", "encrypted_content": "x"}),
        ("reasoning", "other", None),
        ("thinking", "", None),
    ],
)
def test_the_vendor_s_own_item(form: str, text: str, item: object) -> None:
    sealed = seal(Origin("openai"), form, '{"id":"rs_2","encrypted_content":"x"}')
    head = Head.of(CALL, "resp_1", 1)
    made = head.native_reasoning("rs_1", text, sealed)
    assert (made and json.loads(encode(made))) == item
    assert head.native_reasoning("rs_1", text, None) is None
    assert head.native_reasoning("rs_1", text, sealed) is None  # not twice


def test_an_item_of_the_vendor_s_without_an_id_gets_one() -> None:
    sealed = seal(Origin("openai"), "reasoning", '{"encrypted_content":"x"}')
    made = Head.of(CALL, "resp_1", 1).native_reasoning("rs_1", "", sealed)
    assert made is not None
    assert bytes(made["id"]) == b'"rs_1"'


def test_annotations() -> None:
    raw = Raw(b'{"type":"file_path"}')
    assert items.annotation(Note(0, dialect="openai_responses", raw=raw), 3) == raw
    assert items.annotation(Note(0, title="no address"), 3) is None
    assert items.annotation(Note(0, "u"), 3) == {
        "type": "url_citation", "url": "u", "title": "", "start_index": 0, "end_index": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "wrapped"),
    [(b'[{"a":1.0}]', b'{"content":[{"a":1.0}]}'), (b"[]", None), (b"null", None), (b"", None)],
)
def test_logprobs(raw: bytes, wrapped: bytes | None) -> None:
    found = items.wrap_logprobs(Raw(raw))
    assert (None if found is None else bytes(found)) == wrapped
    if found is not None:
        assert encode(items.read_logprobs(found)) == raw


def test_logprobs_of_another_form() -> None:
    assert items.read_logprobs(b'{"refusal":[]}') == []
    assert items.read_logprobs(b"[]") is None


def test_usage() -> None:
    usage = Usage(input=5, output=3, cache_read=1, cache_write=2, reasoning=1)
    assert items.read_usage(Raw(encode(items.write_usage(usage)))) == usage
    assert items.read_usage(Raw(b'{"input_tokens":2.0,"output_tokens":-1}')) == Usage(input=2)
    assert items.read_usage(Raw(b"null")) is None
    assert items.write_usage(None)["total_tokens"] == 0


def test_losses_are_told_once() -> None:
    losses = Losses()
    losses.add("x")
    losses.add("x")
    assert losses.found == [Loss("reply.x", "no such thing there")]


@pytest.mark.parametrize(
    ("name", "aside"),
    [
        ("keepalive", True), ("response.web_search_call.searching", True),
        ("response.code_interpreter_call_code.delta", True), ("response.audio.delta", True),
        ("response.mcp_list_tools.failed", True), ("response.output_text.delta", False),
    ],
)  # fmt: skip
def test_events_beside_the_items(name: str, aside: bool) -> None:
    assert bool(items.ASIDE.fullmatch(name)) is aside
