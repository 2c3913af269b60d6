"""rawproxy.dialects.ollama_chat.turn_writer: turns to messages, and what of them is lost."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.base import Target, ToolName
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
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Url,
    Video,
)
from rawproxy.dialects.envelope import UNKNOWN, Seal
from rawproxy.dialects.losses import Why
from rawproxy.dialects.models import Takes
from rawproxy.dialects.narrowing import Naming
from rawproxy.dialects.ollama_chat.turn_writer import TurnWriter
from rawproxy.dialects.reading import encode
from rawproxy.errors import Untranslatable

NO: Why = "no such thing there"
NARROWER: Why = "narrower there"
OWNED: Why = "owned elsewhere"
SEAL = Seal(UNKNOWN, "thinking", '{"signature":"s"}')
PNG = Image(Base64("iVBO"), "i")


def turn(role: Any, *parts: Part | str, **more: Any) -> Turn:
    return Turn(role, tuple(Text(p, "t") if isinstance(p, str) else p for p in parts), "m", **more)


def write(*turns: Turn, takes: Takes = Takes(), **more: Any) -> tuple[Any, dict[str, Why], Naming]:  # noqa: B008 - a frozen value
    naming = Naming(exact=False, longest_id=64, longest_name=64)
    call = Call("other", "m", turns, **more)
    writer = TurnWriter(call, Target("m", takes), own=False, naming=naming)
    messages = json.loads(encode(writer.messages()))
    writer.close()
    return messages, writer.losses, naming


def test_turns_stay_where_they_were() -> None:
    messages, losses, _ = write(
        turn("system", "Be", "brief.", "x-anthropic-billing-header: 1"), turn("developer", "Now."),
        turn("user", "a", "b"), turn("user", "c"), turn("user"),
        turn("assistant", Text("d", phase="x"), Text("e")), turn("assistant", Refusal("f")),
        turn("system", "Later."), turn("user", "g"),
    )  # fmt: skip
    assert [(one["role"], one["content"]) for one in messages] == [
        ("system", "Be\n\nbrief."), ("system", "Now."), ("user", "ab"), ("user", "c"),
        ("assistant", "d\n\nef"), ("system", "Later."), ("user", "g"),
    ]  # fmt: skip
    assert losses == {}


def test_a_tool_s_results_are_messages_named_after_it() -> None:
    messages, losses, naming = write(
        turn("assistant", "So:", Thinking("Hm."), ToolCall("c", "f", '{"x": 1}', "p"),
             ToolCall("d", "g", "a", kind="freeform"), ToolCall("e", "h", "", namespace="ns")),
        turn("user", ToolResult("c", (Text("1"), PNG), "r0"), "go"),
        turn("user", ToolResult("d", (Text("2"),), "r1", is_error=True), PNG),
        turn("user", ToolResult("e", ()), ToolResult("x", (Text("3"),), name="k"), ToolResult("y", ())),
        turn("user", ToolResult("z", (PNG, PNG))),
    )  # fmt: skip
    assert messages == [
        {"role": "assistant", "content": "So:", "thinking": "Hm.", "tool_calls": [
            {"function": {"name": "f", "arguments": {"x": 1}}},
            {"function": {"name": "g", "arguments": {"input": "a"}}},
            {"function": {"name": "ns__h", "arguments": {}}},
        ]},
        {"role": "tool", "content": "1\n\n[image: shown in the next message]", "tool_name": "f"},
        {"role": "tool", "content": "Error: 2", "tool_name": "g"},
        {"role": "tool", "content": "", "tool_name": "ns__h"},
        {"role": "tool", "content": "3", "tool_name": "k"},
        {"role": "tool", "content": ""},
        {"role": "tool", "content": "[image: shown in the next message]\n\n"
         "[image: shown in the next message]"},
        {"role": "user", "content": "From the result of f:\n\nFrom the result of the tool:",
         "images": ["iVBO", "iVBO", "iVBO"]},
        {"role": "user", "content": "go"},
        {"role": "user", "content": "", "images": ["iVBO"]},
    ]  # fmt: skip
    assert losses == {"i": NARROWER, "r1.is_error": NARROWER}
    assert naming.tools == {"g": ToolName("g", kind="freeform"), "ns__h": ToolName("h", "ns")}


@pytest.mark.parametrize(
    ("part", "content", "losses"),
    [
        (Text("a", "p", citations=Raw(b"[]"), seal=SEAL), "a", {"p.citations": NO, "p": OWNED}),
        (Text("a", "p", Cache()), "a", {"p.cache_control": NO}),
        (SearchResult("s", "t", ("x",), "p", citations=True), "t (s)\n\nx", {"p.citations": NO}),
        (SearchResult("s", "t", (), "p"), "t (s)", {}),
        (
            Document(Inline("x", (Text("y"), PNG)), "p", citations=True),
            "x\n\ny",
            {"p.citations": NO},
        ),
        (Document(Base64("eA=="), "p"), "", {"p": NO}),
        (Document(File("f", "openai"), "p"), "", {"p": OWNED}),
        (Video(Url("u"), "p"), "", {"p": NO}),
        (Image(Url("u"), "p"), "", {"p": NO}),
        (Image(Inline("x"), "p"), "", {"p": NO}),
        (Image(File("f", "openai"), "p"), "", {"p": OWNED}),
        (Audio("eA==", "wav", "p"), "", {"p.input_audio": NO}),
        (Opaque("d", Raw(b"{}"), "s", "p"), "", {"p": NO}),
        (Thinking("t", "p"), "", {"p": NO}),
    ],
)
def test_parts(part: Part, content: str, losses: dict[str, Why]) -> None:
    messages, lost, _ = write(turn("user", part))
    assert [one["content"] for one in messages] == ([content] if content else [])
    assert lost == losses
    lost = write(turn("user", ToolResult("c", (part,))))[1]
    shown = {"p": NARROWER} if "y" in content else {}  # it holds a picture
    assert lost == losses | shown


@pytest.mark.parametrize(
    ("part", "message", "losses"),
    [
        (Thinking("t", "p", SEAL), {"thinking": "t"}, {"p": OWNED}),
        (Thinking("", "p", SEAL), {}, {"p": OWNED}),
        (Thinking("t", "p", Seal(UNKNOWN, "f", "{}")), {"thinking": "t"}, {}),
        (ToolCall("c", "f", "", "p", seal=SEAL, cache=Cache()),
         {"tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
         {"p.cache_control": NO, "p": OWNED}),
        (ToolCall("c", "f", "words", "p"),
         {"tool_calls": [{"function": {"name": "f", "arguments": {"_raw": "words"}}}]},
         {"p": NARROWER}),
    ],
)  # fmt: skip
def test_parts_of_an_assistant(part: Part, message: Any, losses: dict[str, Why]) -> None:
    messages, lost, _ = write(turn("assistant", part))
    assert messages == [{"role": "assistant", "content": ""} | message]
    assert lost == losses


def test_other_losses() -> None:
    cached = ToolResult("c", (), "r", cache=Cache())
    _, losses, _ = write(
        turn("user", "a", cached, name="Ada"), unopened=("u",), extra={"x": b"1", "y[0].z": b"2"},
        names={"cache": "prompt_cache_breakpoint"},
    )  # fmt: skip
    assert losses == {
        "u": OWNED, "m.name": NO, "r.prompt_cache_breakpoint": NO, "x": NO, "y[0].z": NO,
    }  # fmt: skip


def test_a_tool_s_cache_breakpoint_is_lost() -> None:
    naming = Naming(exact=False, longest_id=64, longest_name=64)
    writer = TurnWriter(Call("other", "m"), Target("m", Takes()), own=False, naming=naming)
    writer.lose_cache(Tool("f", "tools[0]", cache=Cache()))
    assert writer.losses == {"tools[0].cache_control": NO}


def test_a_turn_to_be_continued() -> None:
    assert write(turn("assistant", "a"), prefill=True)[0][-1]["content"] == "a"
    with pytest.raises(Untranslatable):
        write(turn("assistant", "a"), prefill=True, takes=Takes(prefill=False))
