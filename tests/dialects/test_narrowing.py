"""rawproxy.dialects.narrowing: names, and renderings in a poorer dialect."""

import pytest

from rawproxy.dialects.base import ToolName
from rawproxy.dialects.call import Document, Effort, Inline, Reasoning, SearchResult, Url
from rawproxy.dialects.narrowing import (
    Naming,
    document_text,
    effort_of,
    search_text,
    short_user,
)


def naming(*, exact: bool = False) -> Naming:
    return Naming(exact=exact, longest_id=40, longest_name=64)


def test_good_names_and_ids_stay_and_need_no_undoing() -> None:
    names = naming()
    assert (names.tool_id("toolu_1"), names.tool_name("read")) == ("toolu_1", "read")
    assert (names.ids, names.tools) == ({}, {})


@pytest.mark.parametrize("wanted", ["x" * 41, "a b", ""])
def test_bad_ids_are_replaced_alike_and_remembered(wanted: str) -> None:
    names = naming()
    known = names.tool_id(wanted)
    assert known == names.tool_id(wanted)
    assert 0 < len(known) <= 40
    assert names.ids == {known: wanted}


def test_a_namespace_goes_into_the_name() -> None:
    names = naming()
    assert names.tool_name("read", "files") == "files__read"
    assert names.tools == {"files__read": ToolName("read", "files")}


def test_a_tool_of_another_kind_is_remembered() -> None:
    names = naming()
    assert names.tool_name("patch", None, "freeform", unlike=True) == "patch"
    assert names.tools == {"patch": ToolName("patch", None, "freeform")}


def test_exact_names_are_never_changed() -> None:
    names = naming(exact=True)
    assert names.tool_id("a b") == "a b"
    assert names.tool_name("x" * 99, "ns", "freeform", unlike=True) == "x" * 99
    assert (names.ids, names.tools) == ({}, {})


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [
        (Reasoning(), None),
        (Reasoning(effort="max", budget=10), "max"),
        (Reasoning(mode="off", budget=10), None),
        (Reasoning(budget=2048), "low"),
        (Reasoning(budget=8192), "medium"),
        (Reasoning(budget=8193), "high"),
    ],
)
def test_a_budget_comes_to_an_effort(reasoning: Reasoning, effort: Effort | None) -> None:
    assert effort_of(reasoning) == effort


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (Document(Inline("body"), title="T", context="C"), "T\n\nC\n\nbody"),
        (Document(Inline("body")), "body"),
        (Document(Inline()), ""),
        (Document(Url("https://example.com"), title="T"), "T"),
    ],
)
def test_a_document_as_text(document: Document, text: str) -> None:
    assert document_text(document) == text


def test_a_search_result_as_text() -> None:
    result = SearchResult("https://example.com", "Title", ("one", "two"))
    assert search_text(result) == "Title (https://example.com)\n\none\n\ntwo"


def test_long_user_ids_become_a_hash() -> None:
    assert short_user("u" * 128, 128) == "u" * 128
    assert len(short_user("u" * 129, 128)) == 64
