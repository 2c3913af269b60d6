"""rawproxy.dialects.bedrock_converse.turn_reader: blocks of a request, one kind after another."""

import json
from typing import Any

import pytest

from rawproxy.dialects.bedrock_converse.turn_reader import TurnReader
from rawproxy.dialects.call import (
    Audio,
    Base64,
    Cache,
    Document,
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
    Video,
)
from rawproxy.dialects.envelope import UNKNOWN, Origin, Vault, seal
from rawproxy.dialects.reading import Fields
from rawproxy.errors import ClientError

VAULT = Vault(b"key", "me")
FOREIGN = seal(Origin("openai"), "reasoning", '{"id":"rs_1"}', ["Hm"])


def read(*content: object, **message: object) -> tuple[Turn, TurnReader]:
    reader = TurnReader({}, VAULT)
    said = {"role": "user", "content": list(content)} | message
    return reader.turn(Fields.of(json.dumps(said).encode(), "m")), reader


def parts(*content: object, extra: tuple[str, ...] = ()) -> tuple[Part, ...]:
    turn, reader = read(*content)
    assert tuple(reader.extra) == extra
    return turn.parts


AT = "m.content[0]"
POINT = {"cachePoint": {"type": "default"}}
BYTES = {"bytes": "YQ=="}
S3 = {"s3Location": {"uri": "s3://a/b"}}
SIGNED = seal(UNKNOWN, "thinking", '{"type":"thinking","signature":"s"}', ["Hm"])
REDACTED = seal(UNKNOWN, "redactedContent", '{"redactedContent":"YQ=="}')


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"text": "a"}, Text("a", AT)),
        ({"text": "a", "image": None}, Text("a", AT)),
        ({"image": {"format": "png", "source": BYTES}}, Image(Base64("YQ=="), AT, "image/png")),
        ({"image": {"source": S3}}, Image(Url("s3://a/b"), AT)),
        ({"video": {"format": "mov", "source": S3}}, Video(Url("s3://a/b"), AT, "video/quicktime")),
        ({"audio": {"format": "wav", "source": BYTES}}, Audio("YQ==", "wav", AT)),
        (
            {"document": {"format": "pdf", "name": "N", "source": BYTES, "context": "C", "citations": {"enabled": True}}},
            Document(Base64("YQ=="), AT, "application/pdf", "N", None, "C", True),
        ),
        ({"document": {"source": {"text": "x"}}}, Document(Inline("x"), AT)),
        (
            {"document": {"format": "txt", "source": {"content": [{"text": "x"}]}}},
            Document(Inline(parts=(Text("x", f"{AT}.document.source.content[0]"),)), AT, "text/plain"),
        ),
        (
            {"searchResult": {"source": "s", "title": "t", "content": [{"text": "x"}], "citations": {"enabled": False}}},
            SearchResult("s", "t", ("x",), AT, False),
        ),
        ({"searchResult": {"source": "s", "title": "t"}}, SearchResult("s", "t", (), AT)),
        ({"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}, ToolCall("t", "f", '{"a": 1}', AT)),
        ({"toolUse": {"toolUseId": "t", "name": "f"}}, ToolCall("t", "f", "", AT)),
        (
            {"toolResult": {"toolUseId": "t", "content": [{"json": {"a": 1}}, {"text": "x"}], "status": "error"}},
            ToolResult("t", (Text('{"a": 1}', f"{AT}.toolResult.content[0].json"), Text("x", f"{AT}.toolResult.content[1]")), AT, is_error=True),
        ),
        ({"toolResult": {"toolUseId": "t", "status": "success"}}, ToolResult("t", (), AT, is_error=False)),
        ({"reasoningContent": {"reasoningText": {"text": "Hm"}}}, Thinking("Hm", AT)),
        ({"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "s"}}}, Thinking("Hm", AT, SIGNED)),
        ({"reasoningContent": {"reasoningText": {"signature": VAULT.pack(FOREIGN)}}}, Thinking("", AT, FOREIGN)),
        ({"reasoningContent": {"redactedContent": "YQ=="}}, Thinking("", AT, REDACTED)),
        ({"guardContent": {"text": {"text": "a"}}}, Text("a", f"{AT}.guardContent.text")),
        ({"guardContent": {"image": {"format": "png", "source": BYTES}}}, Image(Base64("YQ=="), f"{AT}.guardContent.image", "image/png")),
        ({"citationsContent": {"content": [{"text": "a"}], "citations": []}}, Text("a", f"{AT}.citationsContent")),
    ],
)  # fmt: skip
def test_blocks(block: object, part: Part) -> None:
    assert parts(block) == (part,)


def test_citations_are_kept_as_they_stand() -> None:
    (part,) = parts(
        {"citationsContent": {"content": [{"text": "a"}], "citations": [{"title": 1.50}]}}
    )
    assert isinstance(part, Text)
    assert json.loads(bytes(part.citations)) == [{"title": 1.5}]


def test_several_cited_texts_are_one_and_their_limits_are_kept() -> None:
    content = [{"text": "a"}, {"text": "b"}]
    (part,) = parts(
        {"citationsContent": {"content": content}}, extra=(f"{AT}.citationsContent.content",)
    )
    assert part == Text("ab", f"{AT}.citationsContent")


@pytest.mark.parametrize(
    ("block", "shows"),
    [
        ({"toolAddition": {"tool": {"name": "f"}}}, "toolAddition"),
        ({"image": {"source": {"web": 1}}}, "image"),
        ({"document": {"source": {}}}, "document"),
        ({"audio": {"format": "wav", "source": S3}}, "audio"),
        ({"toolUse": {"toolUseId": "t", "name": "f", "type": "server_tool_use"}}, "toolUse"),
        ({"toolResult": {"toolUseId": "t", "type": "x"}}, "toolResult"),
        ({"reasoningContent": {"other": {}}}, "reasoningContent"),
        ({"citationsContent": {"content": [{"other": "a"}]}}, "citationsContent"),
        ({"citationsContent": {}}, "citationsContent"),
        ({"guardContent": {"other": 1}}, "guardContent"),
        (POINT, "cachePoint"),
    ],
)
def test_blocks_that_only_this_dialect_has(block: object, shows: str) -> None:
    (found,) = parts(block)
    assert isinstance(found, Opaque)
    at = f"{AT}.input_audio" if shows == "audio" else AT
    assert (found.dialect, found.shows, found.path) == ("bedrock_converse", shows, at)
    assert json.loads(bytes(found.raw)) == block


def test_a_cache_point_belongs_to_the_part_before_it() -> None:
    names: dict[str, str] = {}
    reader = TurnReader(names, VAULT)
    content = [{"text": "a"}, {"cachePoint": {"type": "default", "ttl": "1h", "new": 1}}, POINT]
    turn = reader.turn(Fields.of(json.dumps({"role": "user", "content": content}).encode(), "m"))
    text, second = turn.parts
    assert text == Text("a", AT, Cache("1h"))
    assert isinstance(second, Opaque)
    assert second.path == "m.content[2]"
    assert reader.extra == {"m.content[1].cachePoint.new": b"1"}
    assert names == {"cache": "cachePoint"}


@pytest.mark.parametrize(
    ("before", "point"),
    [
        ({"reasoningContent": {"reasoningText": {"text": "a"}}}, POINT),
        ({"toolRemoval": {}}, POINT),
        ({"text": "a"}, {"cachePoint": {"type": "new"}}),
        ({"text": "a"}, {"cachePoint": {}}),
    ],
)
def test_cache_points_that_mark_no_part(before: object, point: object) -> None:
    assert isinstance(parts(before, point)[1], Opaque)


@pytest.mark.parametrize(
    ("block", "extra"),
    [
        ({"text": "a", "new": 1}, "new"),
        ({"image": {"format": "png", "source": BYTES, "new": 1}}, "image.new"),
        ({"image": {"source": BYTES | {"new": 1}}}, "image.source.new"),
        ({"image": {"source": {"s3Location": {"uri": "s3://a/b", "bucketOwner": "1"}}}}, "image.source.s3Location.bucketOwner"),
        ({"document": {"source": BYTES, "new": 1}}, "document.new"),
        ({"document": {"source": BYTES, "citations": {"new": 1}}}, "document.citations.new"),
        ({"toolResult": {"toolUseId": "t", "status": "odd"}}, "toolResult.status"),
        ({"searchResult": {"source": "s", "title": "t", "content": [{"text": "x", "new": 1}]}}, "searchResult.content[0].new"),
        ({"reasoningContent": {"reasoningText": {"text": "a", "new": 1}}}, "reasoningContent.reasoningText.new"),
        ({"reasoningContent": {"redactedContent": "YQ==", "new": 1}}, "reasoningContent.new"),
        ({"guardContent": {"text": {"text": "a", "qualifiers": ["query"]}}}, "guardContent.text.qualifiers"),
        ({"guardContent": {"text": {"text": "a"}, "new": 1}}, "guardContent.new"),
    ],
)  # fmt: skip
def test_what_no_part_holds_is_kept(block: dict[str, Any], extra: str) -> None:
    parts(block, extra=(f"{AT}.{extra}",))


def test_envelopes_of_others_stay_shut() -> None:
    packed = Vault(b"key", "you").pack(FOREIGN)
    turn, reader = read({"reasoningContent": {"reasoningText": {"text": "a", "signature": packed}}})
    assert turn.parts == (Thinking("a", AT),)
    assert reader.unopened == [AT]


def test_the_system_field_is_a_turn() -> None:
    reader = TurnReader({}, VAULT)
    body = Fields.of(b'{"system":[{"text":"a"},{"cachePoint":{"type":"default"}}]}')
    assert reader.system(body) == (Turn("system", (Text("a", "system[0]", Cache()),), "system"),)
    assert reader.system(Fields.of(b"{}")) == ()


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool"}, "m.role"),
        ({"role": None}, "m.role"),
        ({"content": None}, "m.content"),
        ({"content": "text"}, "m.content"),
        ({"content": [5]}, "m.content[0]"),
        ({"content": [{}]}, "m.content[0]"),
        ({"content": [{"text": 5}]}, "m.content[0].text"),
        ({"content": [{"image": {"format": "png"}}]}, "m.content[0].image.source"),
        ({"content": [{"toolUse": {"name": "f"}}]}, "m.content[0].toolUse.toolUseId"),
        ({"content": [{"toolResult": {}}]}, "m.content[0].toolResult.toolUseId"),
    ],
)
def test_what_is_wrong_is_named(message: dict[str, object], param: str) -> None:
    with pytest.raises(ClientError) as error:
        read(**message)
    assert error.value.param == param
