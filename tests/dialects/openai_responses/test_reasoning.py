"""rawproxy.dialects.openai_responses.reasoning: texts in the open, the rest sealed, and back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.envelope import Origin, Seal
from rawproxy.dialects.openai_responses.reasoning import (
    plain_summary,
    read_reasoning,
    write_reasoning,
)
from rawproxy.dialects.reading import decode, encode

HERE = Origin("openai", "org")


def members(item: object) -> dict[str, Raw]:
    return decode(encode(item), dict[str, Raw])


def summary(*texts: str) -> list[dict[str, str]]:
    return [{"type": "summary_text", "text": text} for text in texts]


def sealed(**item: object) -> dict[str, Any]:
    return {"id": "rs_1", "type": "reasoning", "encrypted_content": "gAAA"} | item


def there_and_back(item: object) -> tuple[str, Seal, object]:
    text, made = read_reasoning(members(item), HERE)
    assert made is not None
    assert made.covers(text)
    return text, made, json.loads(encode(write_reasoning(made, text)))


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (sealed(summary=[]), ""),
        (sealed(summary=summary("One.")), "One."),
        (sealed(summary=summary("One.", "Two.\n\n", "Drei: ü")), "One.\n\nTwo.\n\n\n\nDrei: ü"),
        (sealed(summary=summary("")), ""),
        (sealed(summary=summary("a", ""), content=None, status="completed"), "a\n\n"),
        (
            sealed(summary=summary("a"), content=[{"type": "reasoning_text", "text": "b", "x": 1}]),
            "a\n\nb",
        ),
    ],
)
def test_an_item_comes_back_exactly(item: object, text: str) -> None:
    shown, made, again = there_and_back(item)
    assert shown == text
    assert again == item
    assert (made.form, made.origin) == ("reasoning", HERE)
    assert not text or text not in made.raw


@given(st.lists(st.text()), st.lists(st.text()))
def test_every_cut_leads_back_to_its_part(one: list[str], other: list[str]) -> None:
    content = [{"type": "reasoning_text", "text": text} for text in other]
    item = sealed(summary=summary(*one), content=content)
    assert there_and_back(item)[2] == item


@pytest.mark.parametrize(
    "item",
    [
        sealed(),
        sealed(summary="no list", content=7),
        sealed(summary=[1, "two"]),
        sealed(summary=[{"type": "summary_text"}, {"text": 3}, {"text": None}]),
    ],
)
def test_odd_items_are_kept_whole(item: object) -> None:
    assert there_and_back(item)[::2] == ("", item)


@pytest.mark.parametrize("carrier", [{}, {"encrypted_content": None}, {"encrypted_content": ""}, {"encrypted_content": 1}])  # fmt: skip
def test_what_is_not_encrypted_has_no_seal(carrier: dict[str, object]) -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": summary("a", "b")} | carrier
    assert read_reasoning(members(item), HERE) == ("a\n\nb", None)


def test_a_seal_of_fewer_texts_leaves_the_others_empty() -> None:
    """A seal from an envelope of another version of ours: odd, but never an exception."""
    _, made = read_reasoning(members(sealed(summary=summary("a", "b"))), HERE)
    assert made is not None
    short = Seal(HERE, made.form, made.raw, cuts=(1,), sum=made.sum)
    assert json.loads(encode(write_reasoning(short, "a")))["summary"] == summary("a", "")


def test_plain_text_is_one_part_or_none() -> None:
    assert plain_summary("a\n\nb") == summary("a\n\nb")
    assert plain_summary("") == []
