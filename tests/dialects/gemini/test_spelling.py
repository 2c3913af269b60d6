"""rawproxy.dialects.gemini.spelling: one field, two names."""

import pytest

from rawproxy.dialects.gemini.spelling import Object, camel, missing, said
from rawproxy.errors import ClientError


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("thinking_config", "thinkingConfig"),
        ("generation_config.thinking_config", "generationConfig.thinkingConfig"),
        ("contents[0].parts[1].function_call", "contents[0].parts[1].functionCall"),
        ("topK", "topK"),
        ("_x", "_x"),
        ("a__b_", "a__b_"),
    ],
)
def test_a_name_in_camel_case(name: str, known: str) -> None:
    assert camel(name) == known


def test_fields_are_found_in_both_spellings_and_told_in_the_client_s() -> None:
    found = Object.of(b'{"tool_config":{"some_mode":"any"},"topK":1,"x_y":2,"z":null}')
    assert found.has("toolConfig")
    assert found.at("toolConfig") == "tool_config"
    inner = found.object("toolConfig")
    assert inner is not None
    assert inner.word("someMode") == "ANY"
    assert inner.word("someMode") is None
    assert found.whole("topK") == 1
    assert found.rest() == {"x_y": b"2"}
    assert found.left() == {"xY": b"2"}
    assert found.object("toolConfig") is None


def test_of_both_spellings_one_is_unknown() -> None:
    found = Object.of(b'{"top_k":1,"topK":2}')
    assert found.whole("topK") == 2
    assert found.rest() == {"top_k": b"1"}


def test_one_object_stands_for_a_list_of_one() -> None:
    found = Object.of(b'{"parts":{"text":"a"},"contents":[{"b":1},{"b":2}],"c":5}')
    assert [one.path for one in found.several("parts")] == ["parts"]
    assert [one.path for one in found.several("contents")] == ["contents[0]", "contents[1]"]
    assert found.several("none") == []
    with pytest.raises(ClientError, match="c: expected a list of objects"):
        found.several("c")


def test_what_is_no_object_is_named() -> None:
    with pytest.raises(ClientError, match="x is not a JSON object"):
        Object.of(b"[]", "x")


def test_small_helpers() -> None:
    assert said(a=1, b=None) == {"a": 1}
    assert str(missing("a.b")) == "a.b: field required"
