"""rawproxy.dialects.anthropic_messages.turn_reader: `system` and `messages` as turns."""

import json

import pytest
from msgspec import Raw

from rawproxy.dialects.anthropic_messages.turn_reader import TurnReader
from rawproxy.dialects.call import (
    Base64,
    Cache,
    Document,
    File,
    Image,
    Inline,
    Opaque,
    Part,
    SearchResult,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    Url,
)
from rawproxy.dialects.envelope import UNKNOWN, Origin, Vault, seal
from rawproxy.dialects.reading import Fields
from rawproxy.errors import ClientError

VAULT = Vault(b"key", "me")
AT = "messages[0].content[0]"
MINE = seal(Origin("openai"), "reasoning", '{"id":"rs_1"}', ["Hm"])


def fields(members: dict[str, object], path: str = "messages[0]") -> Fields:
    return Fields.of(json.dumps(members).encode(), path)


def reader() -> TurnReader:
    return TurnReader({}, VAULT)


def part(block: object, extra: dict[str, bytes] | None = None) -> Part:
    turns = reader()
    found = turns.turn(fields({"role": "user", "content": [block]})).parts[0]
    assert turns.extra == (extra or {})
    return found


SOURCE: dict[str, object] = {"type": "base64", "media_type": "image/png", "data": "aGk="}
CACHE: dict[str, object] = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
BLOCKS: list[tuple[dict[str, object], Part]] = [
    ({"type": "text", "text": "a"}, Text("a", AT)),
    (CACHE | {"type": "text", "text": "a"}, Text("a", AT, Cache("1h"))),
    ({"type": "text", "text": "a", "citations": []}, Text("a", AT)),
    ({"type": "text", "text": "a", "citations": [{}]}, Text("a", AT, citations=Raw(b"[{}]"))),
    ({"type": "image", "source": SOURCE}, Image(Base64("aGk="), AT, "image/png")),
    ({"type": "image", "source": {"type": "url", "url": "https://a"}}, Image(Url("https://a"), AT)),
    ({"type": "image", "source": {"type": "file", "file_id": "f"}}, Image(File("f", "anthropic"), AT)),
    (
        {"type": "document", "source": SOURCE | {"media_type": "application/pdf"}, "title": "T", "context": "C", "citations": {"enabled": True}},
        Document(Base64("aGk="), AT, "application/pdf", title="T", context="C", citations=True),
    ),
    (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
        Document(Inline("x"), AT, "text/plain"),
    ),
    ({"type": "document", "source": {"type": "text", "data": "x"}}, Document(Inline("x"), AT, "text/plain")),
    ({"type": "document", "source": {"type": "content", "content": "x"}}, Document(Inline("x"), AT)),
    (
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}} | CACHE,
        Document(Inline(parts=(Text("x", f"{AT}.source.content[0]"),)), AT, cache=Cache("1h")),
    ),
    (
        {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}], "citations": {"enabled": False}},
        SearchResult("s", "t", ("x",), AT, citations=False),
    ),
    ({"type": "thinking", "thinking": "Hm", "signature": ""}, Thinking("Hm", AT)),
    ({"type": "thinking", "thinking": "Hm"}, Thinking("Hm", AT)),
    (
        {"type": "thinking", "thinking": "Hm", "signature": "s"},
        Thinking("Hm", AT, seal(UNKNOWN, "thinking", '{"type":"thinking","signature":"s"}', ["Hm"])),
    ),
    ({"type": "thinking", "thinking": "Hm", "signature": VAULT.pack(MINE)}, Thinking("Hm", AT, MINE)),
    (
        {"type": "redacted_thinking", "data": "d"},
        Thinking("", AT, seal(UNKNOWN, "redacted_thinking", '{"type":"redacted_thinking","data":"d"}')),
    ),
    ({"type": "redacted_thinking", "data": VAULT.pack(MINE)}, Thinking("", AT, MINE)),
    ({"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1.0}}, ToolCall("t", "f", '{"x": 1.0}', AT)),
    ({"type": "tool_use", "id": "t", "name": "f"}, ToolCall("t", "f", "", AT)),
    (
        {"type": "tool_result", "tool_use_id": "t", "content": "ok", "is_error": False} | CACHE,
        ToolResult("t", (Text("ok", f"{AT}.content"),), AT, is_error=False, cache=Cache("1h")),
    ),
    ({"type": "tool_result", "tool_use_id": "t"}, ToolResult("t", (), AT)),
]  # fmt: skip


@pytest.mark.parametrize(("block", "expected"), BLOCKS)
def test_blocks(block: dict[str, object], expected: Part) -> None:
    assert part(block) == expected


@pytest.mark.parametrize(
    "block",
    [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []} | CACHE,
        {"type": "container_upload", "file_id": "f"},
        {"type": "compaction", "content": "x"},
        {"type": "tool_reference", "tool_name": "f"},
        {"type": "image", "source": {"type": "hologram"}} | CACHE,
        {"type": "document", "source": {"type": "hologram"}},
    ],
)
def test_blocks_that_only_this_dialect_has(block: dict[str, object]) -> None:
    assert part(block) == Opaque(
        "anthropic_messages", Raw(json.dumps(block).encode()), str(block["type"]), AT
    )


def test_fields_that_nobody_knows_are_kept() -> None:
    block = {
        "type": "document",
        "source": {"type": "text", "data": "x", "a": 1},
        "citations": {"enabled": True, "b": 2},
        "cache_control": {"type": "ephemeral", "c": 3},
        "d": 4,
        "e": None,
    }
    part(
        block,
        {
            f"{AT}.source.a": b"1",
            f"{AT}.citations.b": b"2",
            f"{AT}.cache_control.c": b"3",
            f"{AT}.d": b"4",
        },
    )


def test_envelopes_that_do_not_open_are_told() -> None:
    other = Vault(b"key", "you").pack(MINE)
    turns = reader()
    found = turns.turn(
        fields(
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": "Hm", "signature": other}],
            }
        )
    )
    assert found == Turn("assistant", (Thinking("Hm", AT),), "messages[0]")
    assert turns.unopened == [AT]


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_a_message_is_a_turn(role: str) -> None:
    turns = reader()
    found = turns.turn(fields({"role": role, "content": "Hi", "x": 1}))
    assert found == Turn(found.role, (Text("Hi", "messages[0].content"),), "messages[0]")
    assert found.role == role
    assert turns.extra == {"messages[0].x": b"1"}


@pytest.mark.parametrize(
    ("system", "parts"),
    [
        ("Be brief.", (Text("Be brief.", "system"),)),
        (
            [{"type": "text", "text": "a"} | CACHE, {"type": "text", "text": "b"}],
            (Text("a", "system[0]", Cache("1h")), Text("b", "system[1]")),
        ),
    ],
)
def test_system(system: object, parts: tuple[Text, ...]) -> None:
    names: dict[str, str] = {}
    assert TurnReader(names, VAULT).system(fields({"system": system}, "")) == (
        Turn("system", parts, "system"),
    )
    assert names == ({"cache": "cache_control"} if parts[0].cache else {})
    assert reader().system(fields({"x": 1}, "")) == ()


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"content": "Hi"}, "messages[0].role"),
        ({"role": "tool", "content": "Hi"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": [5]}, AT),
        ({"role": "user", "content": [{}]}, f"{AT}.type"),
        ({"role": "user", "content": [{"type": "text"}]}, f"{AT}.text"),
        ({"role": "user", "content": [{"type": "image"}]}, f"{AT}.source"),
        ({"role": "user", "content": [{"type": "image", "source": {}}]}, f"{AT}.source.type"),
        ({"role": "user", "content": [{"type": "thinking"}]}, f"{AT}.thinking"),
        ({"role": "user", "content": [{"type": "tool_result"}]}, f"{AT}.tool_use_id"),
    ],
)
def test_errors_name_the_path(message: dict[str, object], path: str) -> None:
    with pytest.raises(ClientError) as caught:
        reader().turn(fields(message))
    assert caught.value.param == path
    assert path in str(caught.value)
