"""rawproxy.dialects.openai_chat.messages: messages to turns, and turns to messages."""

import json
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects.base import Target
from rawproxy.dialects.call import (
    Audio,
    Base64,
    Cache,
    Call,
    Document,
    File,
    Image,
    Inline,
    Opaque,
    Part,
    Refusal,
    SearchResult,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    Url,
    Video,
)
from rawproxy.dialects.envelope import UNKNOWN, Origin, Seal, Vault, seal
from rawproxy.dialects.models import Takes
from rawproxy.dialects.narrowing import Naming
from rawproxy.dialects.openai_chat.messages import MessageReader, MessageWriter, joined
from rawproxy.dialects.reading import Fields
from rawproxy.errors import ClientError

VAULT = Vault(b"key", "me")
COMPATIBLE = Takes(reasoning_text=True)
OPENAI = Takes(breakpoints=True, developer=True, freeform=True)


def read(message: object) -> tuple[Turn, MessageReader]:
    reader = MessageReader("openai_chat", {}, VAULT)
    return reader.turn(Fields.of(json.dumps(message).encode(), "m[0]")), reader


def parts_of(message: object) -> list[Part]:
    turn, reader = read(message)
    assert reader.extra == {}
    return list(turn.parts)


def write(
    *turns: Turn, takes: Takes = COMPATIBLE, dialect: str = "anthropic_messages", **call: Any
) -> tuple[list[Any], dict[str, str]]:
    own = dialect == "openai_chat"
    naming = Naming(exact=own, longest_id=40, longest_name=64)
    asked = Call(dialect, "m", turns, **call)
    target = Target("m", takes, Origin("here"))
    writer = MessageWriter(asked, target, own=own, naming=naming)
    return json.loads(json.dumps(writer.messages(), default=_raw)), dict(writer.losses)


def _raw(value: object) -> object:
    assert isinstance(value, Raw)
    return json.loads(bytes(value))


def user(*parts: Part) -> Turn:
    return Turn("user", parts, "m[0]")


def assistant(*parts: Part) -> Turn:
    return Turn("assistant", parts, "m[1]")


CONTENTS: list[tuple[object, Part]] = [
    ({"type": "text", "text": "a"}, Text("a", "m[0].content[0]")),
    ({"type": "refusal", "refusal": "no"}, Refusal("no", "m[0].content[0]")),
    (
        {
            "type": "text",
            "text": "a",
            "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"},
        },
        Text("a", "m[0].content[0]", Cache("12h")),
    ),
    (
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        Text("a", "m[0].content[0]", Cache()),
    ),
    (
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        Image(Base64("AA=="), "m[0].content[0]", "image/png", "low"),
    ),
    (
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        Image(Url("https://example.com/a.png"), "m[0].content[0]"),
    ),
    (
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
        Video(Url("https://example.com/a.mp4"), "m[0].content[0]"),
    ),
    (
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        Audio("AA==", "wav", "m[0].content[0]"),
    ),
    (
        {"type": "file", "file": {"file_id": "file-1"}},
        Document(File("file-1", "openai"), "m[0].content[0]"),
    ),
    (
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
        },
        Document(Base64("AA=="), "m[0].content[0]", "application/pdf", "a.pdf"),
    ),
    (
        {"type": "file", "file": {"file_data": "https://example.com/a.pdf"}},
        Document(Url("https://example.com/a.pdf"), "m[0].content[0]"),
    ),
    (
        {"type": "input_text", "text": "a"},
        Opaque(
            "openai_chat", Raw(b'{"type":"input_text","text":"a"}'), "input_text", "m[0].content[0]"
        ),
    ),
]


@pytest.mark.parametrize(("item", "part"), CONTENTS)
def test_parts_are_read_and_go_back_as_they_came(item: dict[str, object], part: Part) -> None:
    turn, reader = read({"role": "user", "content": [item]})
    assert (turn.parts, reader.extra) == ((part,), {})
    messages, losses = write(turn, dialect="openai_chat", names=reader.names)
    assert (messages, losses) == ([{"role": "user", "content": [item]}], {})


@pytest.mark.parametrize(
    ("item", "part"),
    [
        (
            {"type": "image_url", "image_url": "https://example.com/a.png"},
            Image(Url("https://example.com/a.png"), "m[0].content[0]"),
        ),
        (
            {"type": "file", "file": {"file_data": "AA=="}},
            Document(Base64("AA=="), "m[0].content[0]", "application/pdf"),
        ),
    ],
)
def test_sloppy_spellings_of_parts(item: object, part: Part) -> None:
    assert parts_of({"role": "user", "content": [item]}) == [part]


MESSAGES: list[dict[str, object]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "developer", "content": [{"type": "text", "text": "Be brief."}], "name": "dev"},
    {"role": "user", "content": "Hi", "name": "ann"},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {"role": "user", "content": ""},
    {"role": "assistant", "content": "Hello", "name": "bot"},
    {"role": "assistant", "content": ""},
    {"role": "assistant", "content": None, "refusal": "No."},
    {
        "role": "assistant",
        "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}],
    },
    {"role": "assistant", "content": "a", "reasoning_content": "r"},
    {"role": "assistant", "content": "a", "reasoning": "r"},
    {
        "role": "assistant",
        "content": "a",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "r", "signature": "s", "index": 0},
            {"type": "reasoning.encrypted", "data": "d", "index": 1},
        ],
    },
    {
        "role": "assistant",
        "content": "a",
        "thinking_blocks": [
            {"type": "thinking", "thinking": "r", "signature": "s"},
            {"type": "redacted_thinking", "data": "d"},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "x" * 50,
                "type": "function",
                "function": {"name": "f", "arguments": '{"x": 1}'},
            },
            {"id": "c2", "type": "custom", "custom": {"name": "sh", "input": "ls"}},
        ],
    },
    {"role": "tool", "tool_call_id": "x" * 50, "content": "4"},
    {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "4"}], "name": "f"},
    {"role": "tool", "tool_call_id": "c", "content": ""},
]


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_go_back_as_they_came(message: dict[str, object]) -> None:
    turn, reader = read(message)
    messages, losses = write(turn, dialect="openai_chat", names=reader.names, takes=Takes())
    assert (messages, losses, reader.extra) == ([message], {}, {})


def test_the_deprecated_function_call_and_its_result() -> None:
    reader = MessageReader("openai_chat", {}, VAULT)
    first = {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": "{}"},
    }
    second = {"role": "function", "name": "f", "content": "4"}
    turns = [
        reader.turn(Fields.of(json.dumps(one).encode(), f"messages[{at}]"))
        for at, one in enumerate((first, second))
    ]
    assert turns[0].parts == (ToolCall("call_0", "f", "{}", "messages[0].function_call"),)
    assert turns[1] == Turn(
        "user",
        (ToolResult("call_0", (Text("4", "messages[1].content"),), "messages[1]", "f"),),
        "messages[1]",
    )


def test_what_a_client_put_together_from_a_stream() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": None}}
    pieces = [
        {"type": "reasoning.text", "index": 0, "text": "a"},
        {"type": "reasoning.text", "index": 0, "text": "b"},
    ]
    message = {"role": "assistant", "content": None, "tool_calls": [call],
               "reasoning_content": "ab", "reasoning_details": pieces}  # fmt: skip
    assert parts_of(message) == [
        Thinking("ab", "m[0].reasoning_details[0]"),
        ToolCall("c", "f", "", "m[0].tool_calls[0]"),
    ]


def test_text_beside_details_that_have_none() -> None:
    details = [{"type": "reasoning.encrypted", "data": "d"}]
    found = parts_of({"role": "assistant", "reasoning_content": "ab", "reasoning_details": details})
    assert [part.text for part in found if isinstance(part, Thinking)] == ["ab", ""]


@pytest.mark.parametrize("carrier", ["signature", "data"])
def test_our_envelopes_are_opened(carrier: str) -> None:
    sealed = seal(Origin("anthropic"), "thinking", "{}", ["ab"])
    item = {"type": "reasoning.text", "index": 0, "text": "ab", carrier: VAULT.pack(sealed)}
    assert parts_of({"role": "assistant", "reasoning_details": [item]}) == [
        Thinking("ab", "m[0].reasoning_details[0]", sealed)
    ]


def test_envelopes_of_another_caller_stay_shut() -> None:
    sealed = seal(Origin("anthropic"), "thinking", "{}", ["ab"])
    item = {"type": "reasoning.text", "text": "ab", "signature": Vault(b"key", "you").pack(sealed)}
    turn, reader = read({"role": "assistant", "content": "c", "reasoning_details": [item]})
    assert turn.parts[0] == Thinking("ab", "m[0].reasoning_details[0]")
    assert reader.unopened == ["m[0].reasoning_details[0]"]
    messages, losses = write(turn, unopened=tuple(reader.unopened))
    assert messages == [{"role": "assistant", "content": "c"}]
    assert losses == {"m[0].reasoning_details[0]": "owned elsewhere"}


def test_unknown_fields_are_kept_with_their_paths() -> None:
    part = {"type": "text", "text": "a", "x": 1, "cache_control": {"type": "ephemeral", "y": 2}}
    _, reader = read({"role": "user", "content": [part], "z": None, "w": [3]})
    assert reader.extra == {
        "m[0].content[0].x": b"1", "m[0].content[0].cache_control.y": b"2", "m[0].w": b"[3]",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({}, "m[0].role"),
        ({"role": "robot"}, "m[0].role"),
        ({"role": "user", "content": 5}, "m[0].content"),
        ({"role": "user", "content": [{}]}, "m[0].content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "m[0].content[0].text"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "m[0].content[0].image_url"),
        (
            {"role": "user", "content": [{"type": "file", "file": {}}]},
            "m[0].content[0].file.file_data",
        ),
        ({"role": "tool", "content": "4"}, "m[0].tool_call_id"),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]}, "m[0].tool_calls[0].function"),
        ({"role": "assistant", "reasoning_details": "x"}, "m[0].reasoning_details"),
    ],
)
def test_errors_name_the_path(message: object, path: str) -> None:
    with pytest.raises(ClientError) as caught:
        read(message)
    assert caught.value.param == path


def test_the_leading_system_turns_become_one_message() -> None:
    turns = [
        Turn("system", (Text("x-anthropic-billing-header: v=1"), Text("a"), Text("b")), "system"),
        Turn("developer", (Text("c"),), "m[0]"),
        user(Text("hi")),
        Turn("system", (Text("d"),), "m[2]"),
    ]
    for takes, role in ((COMPATIBLE, "system"), (OPENAI, "developer")):
        messages, losses = write(*turns, takes=takes)
        assert messages == [
            {"role": role, "content": "a\n\nb\n\nc"},
            {"role": "user", "content": "hi"},
            {"role": role, "content": "d"},
        ]
        assert losses == {}


def test_a_system_turn_without_text_is_no_message() -> None:
    assert write(Turn("system", (Text("x-anthropic-billing-header: v=1"),))) == ([], {})


@pytest.mark.parametrize(
    ("ttl", "written"),
    [("5m", {"ttl": "30m"}), ("1h", {"ttl": "12h"}), ("30m", {"ttl": "30m"}), (None, {})],
)
def test_breakpoints_where_they_are_taken(ttl: str | None, written: dict[str, str]) -> None:
    mark = {"prompt_cache_breakpoint": {"mode": "explicit"} | written}
    text = {"type": "text", "text": "a"}
    turns = [
        Turn("system", (Text("a", "s[0]", Cache(ttl)), Text("a", "s[1]"))),
        user(Text("a", "p", Cache(ttl))),
    ]
    messages, losses = write(*turns, takes=OPENAI)
    assert messages == [
        {"role": "developer", "content": [text | mark, text]},
        {"role": "user", "content": [text | mark]},
    ]
    assert losses == {}


def test_breakpoints_elsewhere_are_losses() -> None:
    mark = Cache("5m")
    turns = [
        user(Text("a", "p1", mark)),
        assistant(Text("b", "p2", mark), ToolCall("c", "f", "{}", "p3", cache=mark)),
        user(ToolResult("c", (Text("d", "p4", mark),), "p5")),
    ]
    messages, losses = write(*turns)
    assert [message["content"] for message in messages] == ["a", "b", "d"]
    assert set(losses) == {
        "p1.cache_control",
        "p2.cache_control",
        "p3.cache_control",
        "p5.cache_control",
    }
    messages, losses = write(*turns, takes=OPENAI)
    assert set(losses) == {"p2.cache_control", "p3.cache_control"}
    assert messages[2]["content"] == [
        {"type": "text", "text": "d", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}
    ]


def test_adjacent_turns_of_a_role_are_one() -> None:
    turns = [
        user(Text("a")),
        assistant(ToolCall("c1", "f", "", "p1")),
        assistant(ToolCall("c 2", "g", '{"x":1}', "p2")),
        user(ToolResult("c1", (Text("1"), Text("2")), "p3")),
        user(Text("and"), ToolResult("c 2", (), "p4")),
    ]
    messages, losses = write(*turns)
    known = messages[1]["tool_calls"][1]["id"]
    assert known != "c 2"
    assert messages == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": known, "type": "function", "function": {"name": "g", "arguments": '{"x":1}'}},
        ]},
        {"role": "tool", "tool_call_id": "c1", "content": "1\n2"},
        {"role": "tool", "tool_call_id": known, "content": ""},
        {"role": "user", "content": "and"},
    ]  # fmt: skip
    assert losses == {}


def test_what_a_tool_result_cannot_hold_is_shown_behind_it() -> None:
    image = Image(Base64("AA=="), "p2", "image/png")
    result = ToolResult(
        "c", (Text("see"), image, SearchResult("s", "T", ("x",), "p3")), "p1", is_error=True
    )
    messages, losses = write(user(result, ToolResult("d", (Text("4"),), "p4"), Text("go on")))
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    assert messages == [
        {
            "role": "tool",
            "tool_call_id": "c",
            "content": "Error: see\n[image_url: shown in the next message]\nT (s)\n\nx",
        },
        {"role": "tool", "tool_call_id": "d", "content": "4"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "From the result of tool call c:"}, shown],
        },
        {"role": "user", "content": "go on"},
    ]
    assert losses == {"p1.is_error": "narrower there", "p2": "narrower there"}


def test_parts_of_a_result_that_nobody_can_show() -> None:
    opaque = Opaque("anthropic_messages", Raw(b"{}"), "tool_reference", "p2")
    messages, losses = write(user(ToolResult("c", (opaque,), "p1")))
    assert messages == [{"role": "tool", "tool_call_id": "c", "content": ""}]
    assert losses == {"p2": "no such thing there"}


PDF = {
    "type": "file",
    "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,AA=="},
}
NOTHING, OWNED = "no such thing there", "owned elsewhere"
FOREIGN: list[tuple[Part, list[object], dict[str, str]]] = [
    (
        Image(Base64("AA=="), "p"),
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
        {},
    ),
    (Image(File("f", "anthropic"), "p"), [], {"p": NOTHING}),
    (Video(Base64("AA=="), "p"), [], {"p": NOTHING}),
    (
        Audio("AA==", "mp3", "p"),
        [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}}],
        {},
    ),
    (Document(Base64("AA=="), "p", citations=True), [PDF], {"p.citations": NOTHING}),
    (
        Document(Base64("AA=="), "p", "application/pdf", title="T.pdf", context="C"),
        [PDF | {"file": {"filename": "T.pdf", "file_data": "data:application/pdf;base64,AA=="}}],
        {"p.context": NOTHING},
    ),
    (Document(Url("https://example.com/a.pdf"), "p"), [], {"p": NOTHING}),
    (Document(File("f", "anthropic"), "p"), [], {"p": OWNED}),
    (Document(File("f", "here"), "p"), [{"type": "file", "file": {"file_id": "f"}}], {}),
    (Document(Inline(), "p"), [], {}),
    (
        Document(Inline("x", (Text("y"),)), "p", title="T", cache=Cache()),
        [{"type": "text", "text": "T\n\nx"}, {"type": "text", "text": "y"}],
        {"p.cache_control": NOTHING},
    ),
    (
        SearchResult("s", "T", ("x",), "p", citations=True),
        [{"type": "text", "text": "T (s)\n\nx"}],
        {"p.citations": NOTHING},
    ),
    (
        Text("a", "p", citations=Raw(b"[]")),
        [{"type": "text", "text": "a"}],
        {"p.citations": NOTHING},
    ),
    (Text("a", "p", seal=Seal(UNKNOWN, "x", "{}")), [{"type": "text", "text": "a"}], {"p": OWNED}),
    (Opaque("gemini", Raw(b"{}"), "x", "p"), [], {"p": NOTHING}),
    (Thinking("a", "p"), [], {"p": NOTHING}),
]


@pytest.mark.parametrize(("part", "items", "losses"), FOREIGN)
def test_parts_of_other_dialects(part: Part, items: list[object], losses: dict[str, str]) -> None:
    mark = Text("end", "q")
    messages, found = write(user(part, mark))
    content = messages[0]["content"]
    said = content if isinstance(content, list) else [{"type": "text", "text": content}]
    assert said == [*items, {"type": "text", "text": "end"}]
    assert found == losses


def test_a_user_turn_of_which_nothing_is_left_is_no_message() -> None:
    assert write(user(Opaque("gemini", Raw(b"{}"), "x", "p")))[0] == []


def test_names_of_speakers_are_told() -> None:
    messages, losses = write(Turn("user", (Text("a"),), "m[0]", "ann"))
    assert (messages, losses) == ([{"role": "user", "content": "a"}], {"m[0].name": NOTHING})


def test_assistant_turns_of_other_dialects() -> None:
    sealed = Seal(UNKNOWN, "x", "{}")
    turn = assistant(
        Text("a", phase="commentary"), Text("b", phase="final_answer"), Refusal("No", "p1"),
        Refusal("!", "p2"), Image(Url("https://example.com"), "p3"),
        ToolCall("c", "sh", "ls", "p4", kind="freeform", namespace="ns", seal=sealed),
    )  # fmt: skip
    messages, losses = write(turn)
    assert messages[0]["content"] == "a\n\nb"
    assert messages[0]["refusal"] == "No!"
    assert messages[0]["tool_calls"][0]["function"] == {
        "name": "ns__sh",
        "arguments": '{"input":"ls"}',
    }
    assert losses == {"p3": NOTHING, "p4": OWNED}
    messages, _ = write(turn, takes=OPENAI)
    assert messages[0]["tool_calls"][0]["custom"] == {"name": "ns__sh", "input": "ls"}


def test_an_assistant_turn_of_which_nothing_is_left() -> None:
    messages, _ = write(assistant(Image(Url("https://example.com"), "p")))
    assert messages == [{"role": "assistant", "content": ""}]


HERE = Origin("here")
SEALED: list[tuple[Thinking, Takes, dict[str, object], dict[str, str]]] = [
    (Thinking("ab", "p"), COMPATIBLE, {"reasoning_content": "ab"}, {}),
    (Thinking("ab", "p"), OPENAI, {}, {"p": NOTHING}),
    (Thinking("", "p"), OPENAI, {}, {}),
    (
        Thinking("ab", "p", seal(HERE, "reasoning_content", "{}", ["ab"])),
        OPENAI,
        {"reasoning_content": "ab"},
        {},
    ),
    (
        Thinking(
            "ab",
            "p",
            seal(HERE, "reasoning_details", '{"type":"reasoning.text","signature":"s"}', ["ab"]),
        ),
        OPENAI,
        {"reasoning_details": [{"type": "reasoning.text", "signature": "s", "text": "ab"}]},
        {},
    ),
    (
        Thinking("ab", "p", seal(HERE, "thinking", '{"type":"thinking","signature":"s"}', ["ab"])),
        OPENAI,
        {"thinking_blocks": [{"type": "thinking", "signature": "s", "thinking": "ab"}]},
        {},
    ),
    # of a Messages client, read raw: this upstream did not make it
    (Thinking("ab", "p", seal(UNKNOWN, "thinking", "{}", ["ab"])), COMPATIBLE, {}, {"p": OWNED}),
    (
        Thinking("ab", "p", seal(Origin("anthropic"), "thinking", "{}", ["ab"])),
        COMPATIBLE,
        {},
        {"p": OWNED},
    ),
    (
        Thinking("xx", "p", seal(HERE, "reasoning_content", "{}", ["ab"])),
        COMPATIBLE,
        {},
        {"p": OWNED},
    ),
    (Thinking("ab", "p", seal(HERE, "reasoning", "{}", ["ab"])), COMPATIBLE, {}, {"p": OWNED}),
]


@pytest.mark.parametrize(("part", "takes", "members", "losses"), SEALED)
def test_thinking_goes_home_or_is_lost(
    part: Thinking, takes: Takes, members: dict[str, object], losses: dict[str, str]
) -> None:
    messages, found = write(assistant(part, Text("c")), takes=takes)
    assert messages == [{"role": "assistant", "content": "c"} | members]
    assert found == losses


def test_several_thoughts_are_one_text_and_several_entries() -> None:
    plain = Thinking("a", "p", seal(HERE, "reasoning_content", "{}", ["a"]))
    detail = Thinking("b", "p", seal(HERE, "reasoning_details", "{}", ["b"]))
    messages, _ = write(assistant(plain, detail, Thinking("c", "q"), detail, Text("d")))
    assert messages[0]["reasoning_content"] == "ac"
    assert messages[0]["reasoning_details"] == [{"text": "b"}] * 2


def test_empty_thinking_of_our_own_client_stays_away() -> None:
    turn = assistant(replace(Thinking("", "m[0].reasoning"), text=""), Text("a"))
    assert write(turn, dialect="openai_chat")[0] == [{"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], ""),
        ([(None, "a"), (None, "b")], "ab"),
        ([("x", "a"), ("y", "b"), ("y", "c")], "a\n\nbc"),
        ([("x", ""), ("y", "b")], "b"),
        ([("x", "a"), ("y", "")], "a"),
    ],
)
def test_texts_join(texts: list[tuple[str | None, str]], said: str) -> None:
    assert joined(texts) == said
