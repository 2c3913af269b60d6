"""rawproxy.dialects.estimate: a number for every call, growing with what it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.call import (
    Audio,
    Base64,
    Call,
    Document,
    Format,
    Image,
    Inline,
    Opaque,
    Part,
    Refusal,
    SearchResult,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Url,
    Video,
)
from rawproxy.dialects.estimate import (
    IMAGE_TOKENS,
    PDF_PAGE_TOKENS,
    TURN_TOKENS,
    UNSEEN_TOKENS,
    estimate_text,
    estimate_tokens,
)


def tokens(*parts: Part, **call: object) -> int:
    turns = (Turn("user", parts),) if parts else ()
    return estimate_tokens(Call("d", "m", turns, **call))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("a", 1, 1),
        ("The quick brown fox jumps over the lazy dog. " * 10, 90, 130),
        ("敏捷的棕色狐狸跳过懒狗" * 10, 90, 130),
        ("3.14159265358979" * 10, 50, 90),
        ('{"type":"object","properties":{"city":{"type":"string"}}}' * 10, 150, 250),
        ("Съешь же ещё этих мягких французских булок" * 10, 150, 300),
        ("👋" * 10, 10, 30),
    ],
)
def test_text_by_its_kinds_of_characters(text: str, least: int, most: int) -> None:
    assert least <= estimate_text(text) <= most


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(one: str, two: str) -> None:
    whole = estimate_text(one + two)
    assert max(estimate_text(one), estimate_text(two)) <= whole
    assert whole <= estimate_text(one) + estimate_text(two)
    assert bool(whole) is bool(one + two)


TEXT = "one two three four"
COUNT = estimate_text(TEXT)
LONG = "QUJD" * 1000
PARTS: list[tuple[Part, int, int]] = [
    (Text(TEXT), COUNT, COUNT),
    (Refusal(TEXT), COUNT, COUNT),
    (Thinking(TEXT), COUNT, COUNT),
    (ToolCall("t", "f", TEXT), COUNT, COUNT + 20),
    (ToolResult("t", (Text(TEXT), Image(Url("u")))), COUNT + IMAGE_TOKENS, COUNT + IMAGE_TOKENS + 20),
    (Image(Base64("aGk=")), IMAGE_TOKENS, IMAGE_TOKENS),
    (Document(Inline(TEXT), title="a", context="b"), COUNT + 2, COUNT + 2),
    (Document(Inline(parts=(Text(TEXT),))), COUNT, COUNT),
    (Document(Base64(LONG), mime="text/plain"), 750, 751),
    (Document(Base64(LONG), mime="application/pdf"), PDF_PAGE_TOKENS, PDF_PAGE_TOKENS),
    (Document(Base64("QUJD" * 50_000)), 4 * PDF_PAGE_TOKENS, 4 * PDF_PAGE_TOKENS),
    (Document(Url("u")), UNSEEN_TOKENS, UNSEEN_TOKENS),
    (SearchResult("s", "t", (TEXT,)), COUNT, COUNT + 10),
    (Audio(LONG, "wav"), 4, 4),
    (Video(Url("u")), UNSEEN_TOKENS, UNSEEN_TOKENS),
    (Opaque("d", Raw(TEXT.encode()), "x"), COUNT, COUNT),
]  # fmt: skip


@pytest.mark.parametrize(("part", "least", "most"), PARTS)
def test_parts(part: Part, least: int, most: int) -> None:
    assert least <= tokens(part) - TURN_TOKENS <= most
    assert tokens(part) == tokens(part)


def test_tools_and_schemas_count() -> None:
    schema = Raw(b'{"type":"object","properties":{"city":{"type":"string"}}}')
    tool = Tool("get_weather", description="The weather in a city.", schema=schema)
    one = tokens(Text(TEXT), tools=(tool,))
    assert one > tokens(Text(TEXT)) + estimate_text(bytes(schema).decode())
    assert tokens(Text(TEXT), tools=(tool, tool)) > one
    native = Tool("search", kind="native:x", raw=schema)
    assert tokens(Text(TEXT), tools=(native,)) > tokens(Text(TEXT))
    assert tokens(Text(TEXT), format=Format("schema", schema=schema)) > tokens(Text(TEXT))


def test_it_is_never_nothing() -> None:
    assert tokens() == 1
