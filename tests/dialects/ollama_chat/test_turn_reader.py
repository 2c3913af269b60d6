"""rawproxy.dialects.ollama_chat.turn_reader: messages to turns, and results to their calls."""

from typing import Any

import pytest

from rawproxy.dialects.call import (
    Base64,
    Image,
    Part,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    Url,
)
from rawproxy.dialects.ollama_chat.turn_reader import TurnReader
from rawproxy.dialects.reading import Fields, encode
from rawproxy.errors import ClientError


def read(*messages: Any) -> tuple[list[Turn], dict[str, bytes]]:
    reader = TurnReader()
    fields = [Fields.of(encode(one), f"m[{at}]") for at, one in enumerate(messages)]
    return [reader.turn(one) for one in fields], reader.extra


def parts(message: Any) -> tuple[Part, ...]:
    return read(message)[0][0].parts


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": {}}} | more


def result(content: str = "r", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content} | more


@pytest.mark.parametrize(
    ("word", "role"),
    [
        ("system", "system"),
        ("developer", "developer"),
        ("user", "user"),
        ("assistant", "assistant"),
    ],
)
def test_roles(word: str, role: str) -> None:
    turns, extra = read({"role": word, "content": "a"})
    assert turns == [Turn(role, (Text("a", "m[0].content"),), "m[0]")]  # type: ignore[arg-type]
    assert extra == {}


@pytest.mark.parametrize(
    ("data", "source", "mime"),
    [
        ("iVBORw0KGgo=", Base64("iVBORw0KGgo="), "image/png"),
        ("/9j/4AAQ", Base64("/9j/4AAQ"), "image/jpeg"),
        ("R0lGODlh", Base64("R0lGODlh"), "image/gif"),
        ("UklGRg==", Base64("UklGRg=="), "image/webp"),
        ("Qk0=", Base64("Qk0="), None),
        ("data:image/gif;base64,R0lG", Base64("R0lG"), "image/gif"),
        ("https://x/y.png", Url("https://x/y.png"), None),
    ],
)
def test_pictures_stand_before_the_text(data: str, source: Source, mime: str | None) -> None:
    assert parts({"role": "user", "content": "a", "images": [data]}) == (
        Image(source, "m[0].images[0]", mime),
        Text("a", "m[0].content"),
    )


def test_an_assistant_thinks_speaks_and_calls() -> None:
    message = {
        "role": "assistant", "content": "a", "thinking": "Hm.",
        "tool_calls": [
            {"function": {"name": "f", "arguments": {"x": 1.0}}},
            {"id": "c", "type": "function", "function": {"index": 1, "name": "g", "arguments": "{ }"}},
            {"function": {"name": "h"}},
        ],
    }  # fmt: skip
    assert parts(message) == (
        Thinking("Hm.", "m[0].thinking"),
        Text("a", "m[0].content"),
        ToolCall("call_0", "f", '{"x":1.0}', "m[0].tool_calls[0]"),
        ToolCall("c", "g", "{ }", "m[0].tool_calls[1]"),
        ToolCall("call_1", "h", "{}", "m[0].tool_calls[2]"),
    )


@pytest.mark.parametrize("message", [{}, {"content": None}, {"content": "", "tool_calls": []}])
def test_nothing_said_is_no_part(message: Any) -> None:
    assert parts({"role": "assistant", **message}) == ()


@pytest.mark.parametrize(
    ("calls", "results", "ids"),
    [
        (["f", "g"], [{"tool_name": "g"}, {"tool_name": "f"}], ["call_1", "call_0"]),
        (["f", "f"], [{"tool_name": "f"}, {"tool_name": "f"}], ["call_0", "call_1"]),
        (["f", "g"], [{}, {}], ["call_0", "call_1"]),
        (["f", "g"], [{"name": "g"}, {}], ["call_1", "call_0"]),
        (["f", "g"], [{"tool_name": "?"}, {"tool_name": "?"}], ["call_0", "call_1"]),
        (["f"], [{}, {}], ["call_0", "call_1"]),
        (["f"], [{"tool_call_id": "c"}, {}], ["c", "call_0"]),
        (
            ["f", "g"],
            [{"tool_call_id": "call_1"}, {"tool_call_id": "call_0"}],
            ["call_1", "call_0"],
        ),
    ],
)
def test_results_find_their_calls(calls: list[str], results: list[Any], ids: list[str]) -> None:
    asking = {"role": "assistant", "tool_calls": [call(name) for name in calls]}
    turns, extra = read(asking, *(result(**one) for one in results))
    found = [turn.parts[0] for turn in turns[1:]]
    assert [part.id for part in found if isinstance(part, ToolResult)] == ids
    assert extra == {}


def test_a_result_is_a_part_of_a_user_s_turn() -> None:
    turns, _ = read(result("4", tool_name="f", images=["Qk0="]))
    inner = (Image(Base64("Qk0="), "m[0].images[0]"), Text("4", "m[0].content"))
    assert turns == [Turn("user", (ToolResult("call_0", inner, "m[0]", "f"),), "m[0]")]


def test_calls_of_an_earlier_turn_are_over() -> None:
    turns, _ = read(
        {"role": "assistant", "tool_calls": [call("f"), call("g")]}, result(),
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "tool_calls": [call("h")]}, result(),
    )  # fmt: skip
    assert isinstance(turns[-1].parts[0], ToolResult)
    assert turns[-1].parts[0].id == "call_2"


def test_unknown_fields_are_kept() -> None:
    _, extra = read({
        "role": "user", "content": "a", "thinking": "?", "x": 1,
        "tool_calls": [{"function": {"name": "f", "y": 2}, "z": 3}],
    } | {"role": "assistant"})  # fmt: skip
    assert extra == {
        "m[0].x": b"1",
        "m[0].tool_calls[0].function.y": b"2",
        "m[0].tool_calls[0].z": b"3",
    }


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({}, "m[0].role"),
        ({"role": "wizard"}, "m[0].role"),
        ({"role": "user", "content": 1}, "m[0].content"),
        ({"role": "user", "images": "x"}, "m[0].images"),
        ({"role": "assistant", "tool_calls": [{}]}, "m[0].tool_calls[0].function"),
        (
            {"role": "assistant", "tool_calls": [{"function": {}}]},
            "m[0].tool_calls[0].function.name",
        ),
    ],
)
def test_what_is_wrong_is_named(message: Any, param: str) -> None:
    with pytest.raises(ClientError) as caught:
        read(message)
    assert caught.value.param == param
