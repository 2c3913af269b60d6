"""rawproxy.dialects.bedrock_converse.blocks: parts of other dialects, and of this one, as blocks."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.base import Target
from rawproxy.dialects.bedrock_converse.blocks import BlockWriter, is_claude, json_object
from rawproxy.dialects.bedrock_converse.turn_reader import TurnReader
from rawproxy.dialects.call import (
    Audio,
    Base64,
    Cache,
    CacheUse,
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
from rawproxy.dialects.envelope import UNKNOWN, Origin, Vault, seal
from rawproxy.dialects.models import Takes
from rawproxy.dialects.narrowing import Naming
from rawproxy.dialects.reading import Fields, encode

VAULT = Vault(b"key", "me")
CLAUDE = Target("claude", Takes(breakpoints=True), Origin("anthropic"))
NOVA = Target("amazon.nova-pro-v1:0", Takes(), Origin("amazon"))


def write(
    *parts: Part, target: Target = CLAUDE, **call: Any
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    asked = Call("openai_chat", "m", (Turn("user", parts),), **call)
    naming = Naming(exact=False, longest_id=64, longest_name=64)
    writer = BlockWriter(asked, target, own=False, naming=naming)
    found = writer.content(parts)
    writer.close()
    return json.loads(encode(found)), dict(writer.losses)


def again(*content: object, target: Target = CLAUDE) -> tuple[object, dict[str, str]]:
    """Blocks of this dialect, read and written back."""
    names: dict[str, str] = {}
    reader = TurnReader(names, VAULT)
    message = {"role": "user", "content": list(content)}
    turn = reader.turn(Fields.of(json.dumps(message).encode(), "m"))
    call = Call("bedrock_converse", "m", (turn,), extra=reader.extra, names=names)
    call.unopened = tuple(reader.unopened)
    naming = Naming(exact=True, longest_id=64, longest_name=64)
    writer = BlockWriter(call, target, own=True, naming=naming)
    found = writer.content(turn.parts)
    writer.close()
    return json.loads(encode(found)), dict(writer.losses)


NOTHING, NARROWER, OWNED = "no such thing there", "narrower there", "owned elsewhere"
BYTES = {"bytes": "aGk="}
DATA = Base64("aGk=")
S3 = {"s3Location": {"uri": "s3://a/b"}}
SIGNED = seal(Origin("anthropic"), "thinking", '{"type":"thinking","signature":"s"}', ["Hm"])
REDACTED = seal(UNKNOWN, "redactedContent", '{"redactedContent":"YQ=="}')
MESSAGES = seal(UNKNOWN, "redacted_thinking", '{"type":"redacted_thinking","data":"d"}')
FOREIGN = seal(Origin("openai"), "reasoning", '{"id":"rs_1"}', ["Hm"])
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "s"}}}

PARTS: list[tuple[Part, list[dict[str, Any]], dict[str, str]]] = [
    (Text("a", "p"), [{"text": "a"}], {}),
    (Text(" \n", "p"), [], {}),
    (Text("a", "p", citations=Raw(b"[{}]")), [{"text": "a"}], {"p.citations": NOTHING}),
    (Text("a", "p", seal=SIGNED), [{"text": "a"}], {"p": OWNED}),
    (Refusal("No.", "p"), [{"text": "No."}], {"p": NARROWER}),
    (Refusal("", "p"), [], {"p": NARROWER}),
    (Image(DATA, "p", "image/jpg", "high"), [{"image": {"format": "jpeg", "source": BYTES}}], {}),
    (Image(DATA, "p"), [{"image": {"format": "png", "source": BYTES}}], {}),
    (Image(DATA, "p", "image/tiff"), [], {"p": NOTHING}),
    (Image(Url("https://a"), "p"), [], {"p": NOTHING}),
    (Image(Url("s3://a/b"), "p", "image/gif"), [{"image": {"format": "gif", "source": S3}}], {}),
    (Image(File("f", "anthropic"), "p"), [], {"p": OWNED}),
    (Video(DATA, "p", "video/3gpp"), [{"video": {"format": "three_gp", "source": BYTES}}], {}),
    (Audio("aGk=", "wav", "p"), [{"audio": {"format": "wav", "source": BYTES}}], {}),
    (Audio("aGk=", "midi", "p"), [], {"p.input_audio": NOTHING}),
    (
        Document(DATA, "p", None, "a.pdf", None, "C", citations=True),
        [{"document": {"format": "pdf", "name": "a", "source": BYTES, "context": "C", "citations": {"enabled": True}}}],
        {},
    ),
    (Document(DATA, "p", "application/zip"), [], {"p": NOTHING}),
    (Document(Inline("x"), "p"), [{"document": {"format": "txt", "name": "document", "source": {"text": "x"}}}], {}),
    (
        Document(Inline(parts=(Text("x", "q"), Image(DATA, "r"))), "p"),
        [{"document": {"format": "txt", "name": "document", "source": {"content": [{"text": "x"}]}}}],
        {"r": NOTHING},
    ),
    (
        SearchResult("s", "t", ("x",), "p", citations=False),
        [{"searchResult": {"source": "s", "title": "t", "content": [{"text": "x"}], "citations": {"enabled": False}}}],
        {},
    ),
    (Thinking("Hm", "p"), [], {"p": OWNED}),
    (Thinking("Hm", "p", SIGNED), [THOUGHT], {}),
    (Thinking("Hm.", "p", SIGNED), [], {"p": OWNED}),
    (Thinking("Hm", "p", FOREIGN), [], {"p": OWNED}),
    (Thinking("", "p", REDACTED), [{"reasoningContent": {"redactedContent": "YQ=="}}], {}),
    (Thinking("", "p", MESSAGES), [], {"p": OWNED}),
    (ToolCall("t", "f", '{"a":1}', "p"), [{"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}], {}),
    (ToolCall("t", "f", " ", "p"), [{"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}], {}),
    (ToolCall("t", "f", "[1]", "p"), [{"toolUse": {"toolUseId": "t", "name": "f", "input": {"_raw": "[1]"}}}], {"p": NARROWER}),
    (ToolCall("t", "f", "ls", "p", "freeform"), [{"toolUse": {"toolUseId": "t", "name": "f", "input": {"input": "ls"}}}], {}),
    (ToolCall("t", "f", "", "p", namespace="ns", seal=FOREIGN), [{"toolUse": {"toolUseId": "t", "name": "ns__f", "input": {}}}], {"p": OWNED}),
    (ToolResult("t", (), "p"), [{"toolResult": {"toolUseId": "t", "content": []}}], {}),
    (ToolResult("t", (), "p", is_error=False), [{"toolResult": {"toolUseId": "t", "content": []}}], {}),
    (
        ToolResult("t", (Text("a", "q"), Image(DATA, "r"), Thinking("x", "u")), "p", is_error=True),
        [{"toolResult": {"toolUseId": "t", "content": [{"text": "a"}, {"image": {"format": "png", "source": BYTES}}], "status": "error"}}],
        {"u": NOTHING},
    ),
    (
        ToolResult("t", (Text("a", "q", Cache()),), "p"),
        [{"toolResult": {"toolUseId": "t", "content": [{"text": "a"}]}}],
        {"q.cachePoint": NARROWER},
    ),
    (Opaque("gemini", Raw(b"{}"), "x", "p"), [], {"p": NOTHING}),
]  # fmt: skip


@pytest.mark.parametrize(("part", "blocks", "losses"), PARTS)
def test_parts(part: Part, blocks: object, losses: object) -> None:
    assert write(part) == (blocks, losses)


@pytest.mark.parametrize(
    ("part", "blocks", "losses"),
    [
        (SearchResult("s", "t", ("x",), "p"), [{"text": "t (s)\n\nx"}], {"p": NARROWER}),
        (Thinking("Hm", "p", SIGNED), [], {"p": OWNED}),
    ],
)
def test_parts_that_only_claude_takes(part: Part, blocks: object, losses: object) -> None:
    assert write(part, target=NOVA) == (blocks, losses)


@pytest.mark.parametrize(
    ("names", "written"),
    [
        (["report.pdf", "report.md"], ["report", "report 2"]),
        (["a_b/c?.txt", "  "], ["a b c", "document"]),
        (["x" * 300, "x" * 300], ["x" * 195, "x" * 195 + " 2"]),
        ([None, None, None], ["document", "document 2", "document 3"]),
        (["v1.2 (final) [new]"], ["v1 2 (final) [new]"]),
    ],
)
def test_names_of_documents(names: list[str | None], written: list[str]) -> None:
    blocks, _ = write(*(Document(DATA, "p", filename=name) for name in names))
    assert [block["document"]["name"] for block in blocks] == written


def test_a_title_goes_before_a_filename() -> None:
    (block,), _ = write(Document(DATA, "p", filename="a.pdf", title="T"))
    assert block["document"]["name"] == "T"


POINT = {"cachePoint": {"type": "default"}}


def test_cache_points_follow_what_they_mark() -> None:
    marked: list[Part] = [Text("a", "p", Cache("1h")), ToolResult("t", (), "q", cache=Cache("5m"))]
    blocks, losses = write(*marked)
    assert blocks == [
        {"text": "a"}, {"cachePoint": {"type": "default", "ttl": "1h"}},
        {"toolResult": {"toolUseId": "t", "content": []}}, POINT,
    ]  # fmt: skip
    assert losses == {}


@pytest.mark.parametrize(("automatic", "lost"), [(None, 2), (Cache(), 3)])
def test_of_too_many_cache_points_the_last_stay(automatic: Cache | None, lost: int) -> None:
    marked = [Text("a", f"p{at}", Cache()) for at in range(6)]
    blocks, losses = write(*marked, cache=CacheUse(automatic=automatic), names={"cache": "mark"})
    assert losses == {f"p{at}.mark": NARROWER for at in range(lost)}
    assert blocks.count(POINT) == 6 - lost
    assert blocks[-1] == POINT


def test_cache_points_that_the_model_does_not_take() -> None:
    assert write(Text("a", "p", Cache()), target=NOVA) == (
        [{"text": "a"}],
        {"p.cachePoint": NOTHING},
    )


def test_what_only_another_dialect_says_is_lost() -> None:
    _, losses = write(extra={"a": b"1", "b.c": b"2"}, unopened=("d",))
    assert losses == {"d": OWNED, "a": NOTHING, "b.c": NOTHING}


@pytest.mark.parametrize(
    "content",
    [
        [{"text": " ", "new": 1}, {"cachePoint": {"type": "default", "ttl": "5m", "new": 1}}],
        [POINT, {"text": "a"}, POINT, POINT],
        [{"image": {"format": "png", "source": BYTES | {"new": 1}, "error": {"message": "m"}}}],
        [{"image": {"source": {"s3Location": {"uri": "odd", "bucketOwner": "1"}}}}, POINT],
        [{"video": {"format": "avi", "source": S3}}],
        [{"audio": {"format": "new", "source": BYTES | {"new": 1}, "new": 1}}],
        [{"document": {"format": "pages", "name": "a_b", "source": {"content": [{"text": "x"}]}}}],
        [{"document": {"source": {"text": "x"}, "citations": {"enabled": True, "new": 1}}}],
        [{"searchResult": {"source": "s", "title": "t", "content": [{"text": "x", "new": 1}]}}],
        [{"toolUse": {"toolUseId": "a b", "name": "f g", "input": [1]}}, POINT],
        [{"toolResult": {"toolUseId": "t", "content": [{"json": [1]}, {"text": ""}], "status": "odd"}}],
        [{"toolResult": {"toolUseId": "t", "content": [{"json": {}, "new": 1}], "status": "success"}}],
        [{"reasoningContent": {"reasoningText": {"text": "a", "signature": "s", "new": 1}, "more": 2}}],
        [{"reasoningContent": {"reasoningText": {"text": "a"}}, "new": 1}],
        [{"reasoningContent": {"redactedContent": "YQ==", "new": 1}, "more": 1}],
        [{"guardContent": {"text": {"text": "a", "qualifiers": ["query"]}, "new": 1}, "more": 2}, POINT],
        [{"guardContent": {"image": {"format": "png", "source": BYTES}}}, POINT],
        [{"citationsContent": {"content": [{"text": "a"}, {"text": "b"}], "citations": [{"title": "T"}], "new": 1}}],
        [{"toolAddition": {"tool": {"name": "f"}}}],
    ],
)  # fmt: skip
@pytest.mark.parametrize("target", [CLAUDE, NOVA])
def test_blocks_go_back_as_they_came(content: list[object], target: Target) -> None:
    assert again(*content, target=target) == (content, {})


def test_envelopes_go_back_only_as_what_they_hold() -> None:
    def thought(signature: str) -> dict[str, Any]:
        return {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": signature}}}

    content = [thought(VAULT.pack(SIGNED)), thought(VAULT.pack(FOREIGN)), thought("rp1.x.y")]
    assert again(*content) == (
        [THOUGHT],
        {"m.content[1]": OWNED, "m.content[2]": OWNED},
    )


@pytest.mark.parametrize(
    ("model", "issuer", "claude"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "", True),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/x", "anthropic", True),
        ("anthropic.x", "", True),
        ("amazon.nova-pro-v1:0", "amazon", False),
    ],
)
def test_whose_model_it_is(model: str, issuer: str, *, claude: bool) -> None:
    assert is_claude(Target(model, Takes(), Origin(issuer))) is claude


def test_arguments_that_are_an_object_keep_their_spelling() -> None:
    assert bytes(json_object('{"a": 1.50}') or b"") == b'{"a": 1.50}'
    assert json_object("x") is None
