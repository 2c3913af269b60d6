"""rawproxy.dialects.openai_responses.item_reader: input items as turns."""

from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.call import (
    Audio,
    Base64,
    Cache,
    Document,
    File,
    Image,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Url,
)
from rawproxy.dialects.envelope import UNKNOWN, Origin, Vault, seal
from rawproxy.dialects.openai_responses.item_reader import ItemReader
from rawproxy.dialects.openai_responses.reasoning import RESPONSES
from rawproxy.dialects.openai_responses.tool_reader import ToolReader
from rawproxy.dialects.reading import Fields, encode
from rawproxy.errors import ClientError

VAULT = Vault(b"key", "me")


class Read:
    def __init__(self, **body: object) -> None:
        self.names: dict[str, str] = {}
        tools = ToolReader()
        self.reader = ItemReader(self.names, VAULT, tools)
        self.turns = self.reader.turns(Fields.of(encode(body)))
        self.extra = tools.extra


def turn_of(item: object) -> Turn:
    (turn,) = Read(input=[item]).turns
    return turn


def test_a_string_is_what_the_user_says() -> None:
    assert Read(input="Hi", instructions="Be brief.").turns == (
        Turn("system", (Text("Be brief.", "instructions"),), "instructions"),
        Turn("user", (Text("Hi", "input"),), "input"),
    )


def test_nothing_said_is_no_turn() -> None:
    assert Read(input=None).turns == ()


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
def test_an_item_without_type_is_a_message(role: Any) -> None:
    read = Read(input=[{"role": role, "content": "Hi"}])
    assert read.turns == (Turn(role, (Text("Hi", "input[0].content"),), "input[0]"),)
    assert read.extra == {}


def test_a_message_keeps_its_id_status_and_type() -> None:
    text = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}
    read = Read(input=[{
        "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "phase": "commentary", "content": [text, {"type": "refusal", "refusal": "No."}],
    }])  # fmt: skip
    spoken = Text("Hi", "input[0].content[0]", phase="commentary")
    refused = Refusal("No.", "input[0].content[1]")
    assert read.turns == (Turn("assistant", (spoken, refused), "input[0]"),)
    assert read.extra == {
        "input[0].type": b'"message"',
        "input[0].id": b'"msg_1"',
        "input[0].status": b'"completed"',
        "input[0].content[0].annotations": b"[]",
        "input[0].content[0].logprobs": b"[]",
    }


def test_a_phase_without_text_is_kept() -> None:
    refusal = {"type": "refusal", "refusal": "No."}
    read = Read(input=[{"role": "assistant", "phase": "final_answer", "content": [refusal]}])
    assert read.extra == {"input[0].phase": b'"final_answer"'}


@pytest.mark.parametrize(
    ("role", "kind", "extra"),
    [
        ("user", "input_text", {}),
        ("assistant", "output_text", {}),
        ("assistant", "input_text", {"input[0].content[0].type": b'"input_text"'}),
        ("user", "text", {"input[0].content[0].type": b'"text"'}),
    ],
)
def test_texts_of_an_unusual_type_keep_it(role: str, kind: str, extra: dict[str, bytes]) -> None:
    read = Read(input=[{"role": role, "content": [{"type": kind, "text": "Hi"}]}])
    assert read.turns[0].parts == (Text("Hi", "input[0].content[0]"),)
    assert read.extra == extra


PATH = "input[0].content[0]"
PDF = "application/pdf"
PARTS: list[tuple[dict[str, object], Part]] = [
    (
        {"type": "input_text", "text": "a", "annotations": [{"type": "url_citation"}]},
        Text("a", PATH, citations=Raw(b'[{"type":"url_citation"}]')),
    ),
    (
        {"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "low"},
        Image(Base64("QQ=="), PATH, "image/png", "low"),
    ),
    ({"type": "input_image", "image_url": "https://x/y.png"}, Image(Url("https://x/y.png"), PATH)),
    ({"type": "input_image", "file_id": "file-1"}, Image(File("file-1", "openai"), PATH)),
    (
        {"type": "input_file", "file_data": "data:application/pdf;base64,QQ==", "filename": "a"},
        Document(Base64("QQ=="), PATH, PDF, "a"),
    ),
    ({"type": "input_file", "file_data": "QQ=="}, Document(Base64("QQ=="), PATH)),
    ({"type": "input_file", "file_url": "https://x/y"}, Document(Url("https://x/y"), PATH)),
    ({"type": "input_file", "file_id": "file-1"}, Document(File("file-1", "openai"), PATH)),
    (
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
        Audio("QQ==", "wav", PATH),
    ),
    (
        {"type": "hologram", "x": 1},
        Opaque(RESPONSES, Raw(b'{"type":"hologram","x":1}'), "hologram", PATH),
    ),
]


@pytest.mark.parametrize(("given", "part"), PARTS)
def test_parts_of_a_message(given: object, part: Part) -> None:
    read = Read(input=[{"role": "user", "content": [given]}])
    assert read.turns[0].parts == (part,)
    assert read.extra == {}


def test_a_breakpoint_is_read_and_its_name_remembered() -> None:
    mark = {"mode": "explicit", "ttl": "30m", "new": 1}
    part = {"type": "input_text", "text": "a", "prompt_cache_breakpoint": mark}
    read = Read(input=[{"role": "user", "content": [part]}])
    assert read.turns[0].parts == (Text("a", PATH, Cache("30m")),)
    assert read.names == {"cache": "prompt_cache_breakpoint"}
    assert read.extra == {f"{PATH}.prompt_cache_breakpoint.new": b"1"}


def test_calls_and_their_results() -> None:
    picture = {"type": "input_image", "file_id": "file-1"}
    read = Read(input=[
        {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "b", "name": "g", "namespace": "ns", "input": "x"},
        {"type": "function_call_output", "call_id": "a", "output": "1", "name": "f"},
        {"type": "custom_tool_call_output", "call_id": "b", "output": [picture]},
        {"type": "function_call_output", "call_id": "c"},
    ])  # fmt: skip
    image = Image(File("file-1", "openai"), "input[3].output[0]")
    assert [turn.role for turn in read.turns] == ["assistant"] * 2 + ["user"] * 3
    assert [part for turn in read.turns for part in turn.parts] == [
        ToolCall("a", "f", "{}", "input[0]"),
        ToolCall("b", "g", "x", "input[1]", "freeform", "ns"),
        ToolResult("a", (Text("1", "input[2].output"),), "input[2]", "f"),
        ToolResult("b", (image,), "input[3]"),
        ToolResult("c", (), "input[4]"),
    ]
    assert read.extra == {
        "input[0].id": b'"fc_1"',
        "input[2].type": b'"function_call_output"',
        "input[3].type": b'"custom_tool_call_output"',
        "input[4].type": b'"function_call_output"',
    }


@pytest.mark.parametrize(
    ("item", "role", "kind"),
    [
        ({"type": "item_reference", "id": "msg_1"}, "assistant", "item_reference"),
        ({"id": "msg_1"}, "assistant", "item_reference"),
        ({"type": None, "id": "msg_1"}, "assistant", "item_reference"),
        ({"type": "compaction", "encrypted_content": "x"}, "assistant", "compaction"),
        ({"type": "web_search_call", "id": "ws_1"}, "assistant", "web_search_call"),
        ({"type": "shell_call_output", "call_id": "a"}, "user", "shell_call_output"),
        ({"type": "mcp_approval_response"}, "user", "mcp_approval_response"),
        ({"type": "function_call_output", "output": "1"}, "user", "function_call_output"),
    ],
)
def test_other_items_are_kept_whole(item: object, role: Any, kind: str) -> None:
    opaque = Opaque(RESPONSES, Raw(encode(item)), kind, f"input[0].{kind}")
    assert turn_of(item) == Turn(role, (opaque,), "input[0]")


def test_tools_among_the_items_are_tools() -> None:
    function = {"type": "function", "name": "f"}
    read = Read(input=[
        {"type": "additional_tools", "id": "at_1", "role": "developer", "tools": [function]},
        {"type": "additional_tools", "tools": [{"type": "namespace", "name": "ns", "tools": [function]}]},
    ])  # fmt: skip
    assert read.turns == (Turn("developer", (), "input[0]"), Turn("developer", (), "input[1]"))
    assert read.reader.more_tools == [
        Tool("f", "input[0].tools[0]"),
        Tool("f", "input[1].tools[0].tools[0]", namespace="ns"),
    ]
    assert read.extra == {
        "input[0].type": b'"additional_tools"',
        "input[0].id": b'"at_1"',
        "input[1].type": b'"additional_tools"',
    }


SUMMARY = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]


def test_reasoning_that_is_encrypted_is_sealed() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": SUMMARY, "content": None, "encrypted_content": "gA"}  # fmt: skip
    read = Read(input=[item])
    ((thinking,),) = [turn.parts for turn in read.turns]
    assert isinstance(thinking, Thinking)
    assert (thinking.text, thinking.path) == ("a\n\nb", "input[0]")
    assert thinking.seal is not None
    assert (thinking.seal.origin, thinking.seal.cuts) == (UNKNOWN, (3, 1))
    assert read.extra == {}


def test_our_own_envelope_is_opened() -> None:
    made = seal(Origin("anthropic"), "thinking", '{"signature":"s"}', ["a\n\nb"])
    item = {"type": "reasoning", "id": "rs_1", "summary": SUMMARY, "encrypted_content": VAULT.pack(made)}  # fmt: skip
    read = Read(input=[item])
    assert read.turns[0].parts == (Thinking("a\n\nb", "input[0]", made),)
    assert (read.extra, read.reader.unopened) == ({}, [])


def test_an_envelope_of_somebody_else_stays_shut() -> None:
    made = seal(Origin("anthropic"), "thinking", "{}")
    other = Vault(b"key", "other").pack(made)
    read = Read(input=[{"type": "reasoning", "summary": [], "encrypted_content": other}])
    assert read.turns[0].parts == (Thinking("", "input[0]"),)
    assert read.reader.unopened == ["input[0]"]


@pytest.mark.parametrize(
    ("fields", "text", "kept"),
    [
        ({"summary": []}, "", []),
        ({}, "", []),
        ({"summary": SUMMARY[:1]}, "a", []),
        ({"summary": SUMMARY}, "a\n\nb", ["summary"]),
        ({"summary": [], "content": [{"type": "reasoning_text", "text": "a"}]}, "a", ["summary", "content"]),
    ],
)  # fmt: skip
def test_reasoning_in_the_open_is_text(
    fields: dict[str, object], text: str, kept: list[str]
) -> None:
    read = Read(input=[{"type": "reasoning", "id": "rs_1", **fields}])
    assert read.turns[0].parts == (Thinking(text, "input[0]"),)
    assert read.extra.keys() == {"input[0].id", *(f"input[0].{name}" for name in kept)}


def content(part: object) -> object:
    return [{"role": "user", "content": [part]}]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (7, "input"),
        (["Hi"], "input[0]"),
        ([{"content": "Hi"}], "input[0].role"),
        ([{"role": "tool", "content": "Hi"}], "input[0].role"),
        ([{"role": "user"}], "input[0].content"),
        ([{"role": "user", "content": 7}], "input[0].content"),
        ([{"type": "function_call", "name": "f"}], "input[0].call_id"),
        ([{"type": "function_call_output", "call_id": "a", "output": {}}], "input[0].output"),
        ([{"type": "reasoning", "encrypted_content": 1}], "input[0].encrypted_content"),
        (content({}), f"{PATH}.type"),
        (content({"type": "input_text"}), f"{PATH}.text"),
        (content({"type": "input_image"}), f"{PATH}.image_url"),
        (content({"type": "input_file"}), f"{PATH}.file_data"),
        (content({"type": "input_audio"}), f"{PATH}.input_audio"),
    ],
)
def test_errors_name_the_field(given: object, param: str) -> None:
    with pytest.raises(ClientError) as caught:
        Read(input=given)
    assert caught.value.param == param
