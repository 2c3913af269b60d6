"""rawproxy.dialects.anthropic_messages.turn_writer: turns of other dialects, put in order."""

import base64
import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.anthropic_messages.turn_writer import OPENING, TurnWriter, json_object
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
from rawproxy.dialects.envelope import UNKNOWN, Origin, seal
from rawproxy.dialects.models import Takes
from rawproxy.dialects.narrowing import Naming
from rawproxy.dialects.reading import encode
from rawproxy.errors import Untranslatable

ALL = Takes(middle_system=True, breakpoints=True)
CLAUDE = Origin("anthropic")
Written = tuple[list[Any], list[Any], dict[str, str]]


def write(*turns: Turn, taken: Takes = ALL, automatic: bool = False, **call: Any) -> Written:
    """Return `system`, `messages` and the losses."""
    asked = Call("openai_chat", "m", turns, **call)
    naming = Naming(exact=False, longest_id=64, longest_name=128)
    writer = TurnWriter(asked, Target("to", taken, CLAUDE), own=False, naming=naming)
    system, messages = writer.system(), writer.messages()
    writer.close(automatic=automatic)
    read = json.loads(encode([system, messages]))
    return read[0], read[1], dict(writer.losses)


def user(*parts: Part | str) -> Turn:
    return turn("user", *parts)


def turn(role: Any, *parts: Part | str, path: str = "m", name: str | None = None) -> Turn:
    return Turn(role, tuple(Text(p) if isinstance(p, str) else p for p in parts), path, name)


def blocks(*parts: Part, role: str = "user", **options: Any) -> tuple[list[Any], dict[str, str]]:
    before = [] if role == "user" else [user("Hi")]
    _, messages, losses = write(*before, turn(role, *parts), **options)
    said = [one["content"] for one in messages if one["role"] == role]
    return said[-1] if said else [], losses


def said(*messages: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [
        (one["role"], [block.get("text", block["type"]) for block in one["content"]])
        for one in messages
    ]


PDF = Base64("JVBERi0=")
IMAGE = {"type": "base64", "media_type": "image/png", "data": "aGk="}
NOTHING, NARROWER, OWNED = "no such thing there", "narrower there", "owned elsewhere"
PARTS: list[tuple[Part, list[dict[str, Any]], dict[str, str]]] = [
    (Text("a", "p"), [{"type": "text", "text": "a"}], {}),
    (Text(" \n", "p"), [], {}),
    (Text("a", "p", citations=Raw(b"[{}]")), [{"type": "text", "text": "a"}], {"p.citations": NOTHING}),
    (Text("a", "p", seal=seal(CLAUDE, "x", "{}")), [{"type": "text", "text": "a"}], {"p": OWNED}),
    (Refusal("No.", "p"), [{"type": "text", "text": "No."}], {"p": NARROWER}),
    (Refusal("", "p"), [], {"p": NARROWER}),
    (Image(Base64("aGk="), "p", "image/png", "high"), [{"type": "image", "source": IMAGE}], {}),
    (Image(Base64("aGk="), "p"), [{"type": "image", "source": IMAGE}], {}),
    (Image(Url("https://a"), "p"), [{"type": "image", "source": {"type": "url", "url": "https://a"}}], {}),
    (Image(File("f", "anthropic"), "p"), [{"type": "image", "source": {"type": "file", "file_id": "f"}}], {}),
    (Image(File("f", "openai"), "p"), [], {"p": OWNED}),
    (
        Document(PDF, "p", "application/pdf", "a.pdf"),
        [{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}, "title": "a.pdf"}],
        {},
    ),
    (
        Document(PDF, "p", None, "a.pdf", "T", "C", citations=True),
        [{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}, "title": "T", "context": "C", "citations": {"enabled": True}}],
        {},
    ),
    (
        Document(Base64(base64.b64encode("äh".encode()).decode()), "p", "text/csv"),
        [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "äh"}}],
        {},
    ),
    (Document(Base64("/w=="), "p", "text/plain"), [], {"p": NOTHING}),
    (Document(Base64("!"), "p", "text/plain"), [], {"p": NOTHING}),
    (Document(Base64("aGk="), "p", "application/zip"), [], {"p": NOTHING}),
    (Document(File("f", "openai"), "p"), [], {"p": OWNED}),
    (Document(Url("https://a"), "p"), [{"type": "document", "source": {"type": "url", "url": "https://a"}}], {}),
    (Document(Inline("x"), "p"), [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}], {}),
    (
        Document(Inline(parts=(Text("x", "q"),)), "p"),
        [{"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}}],
        {},
    ),
    (
        SearchResult("s", "t", ("x",), "p", citations=False),
        [{"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}], "citations": {"enabled": False}}],
        {},
    ),
    (Audio("aGk=", "wav", "p"), [], {"p.input_audio": NOTHING}),
    (Video(Url("https://a"), "p"), [], {"p": NOTHING}),
    (Opaque("openai_chat", Raw(b"{}"), "x", "p"), [], {"p": NOTHING}),
]  # fmt: skip


@pytest.mark.parametrize(("part", "written", "lost"), PARTS)
def test_parts(part: Part, written: list[dict[str, Any]], lost: dict[str, str]) -> None:
    assert blocks(Text("b"), part) == ([{"type": "text", "text": "b"}, *written], lost)


def signed(text: str, origin: Origin = UNKNOWN, form: str = "thinking") -> Thinking:
    raw = json.dumps({"type": form, "signature": "s", "data": "d", "index": 0})
    return Thinking(text, "p", seal(origin, form, raw, [text]))


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (signed("Hm"), {"type": "thinking", "thinking": "Hm", "signature": "s"}),
        (signed("Hm", CLAUDE), {"type": "thinking", "thinking": "Hm", "signature": "s"}),
        (signed(""), {"type": "thinking", "thinking": "", "signature": "s"}),
        (signed("", form="redacted_thinking"), {"type": "redacted_thinking", "data": "d"}),
        (signed("Hm", Origin("openai")), None),
        (signed("Hm", CLAUDE, "reasoning"), None),
        (Thinking("Hm", "p"), None),
        (Thinking("changed", "p", signed("Hm").seal), None),
    ],
)
def test_thinking_goes_back_to_whoever_sealed_it(part: Thinking, written: object) -> None:
    found, lost = blocks(part, Text("a"), role="assistant")
    text = {"type": "text", "text": "a"}
    assert found == ([written, text] if written else [text])
    assert lost == ({} if written else {"p": OWNED})


@pytest.mark.parametrize(
    ("call", "arguments", "lost"),
    [
        (ToolCall("t", "f", '{"x": 1.0}', "p"), {"x": 1.0}, {}),
        (ToolCall("t", "f", " ", "p"), {}, {}),
        (ToolCall("t", "f", "[1]", "p"), {"_raw": "[1]"}, {"p": NARROWER}),
        (ToolCall("t", "f", '{"x"', "p"), {"_raw": '{"x"'}, {"p": NARROWER}),
        (ToolCall("t", "f", "ls", "p", kind="freeform"), {"input": "ls"}, {}),
        (ToolCall("t", "f", "{}", "p", seal=seal(CLAUDE, "x", "{}")), {}, {"p": OWNED}),
    ],
)
def test_tool_calls(call: ToolCall, arguments: object, lost: dict[str, str]) -> None:
    expected = {"type": "tool_use", "id": "t", "name": "f", "input": arguments}
    assert blocks(call, role="assistant") == ([expected], lost)


def test_arguments_keep_their_spelling() -> None:
    assert json_object('{"x": 1.0 }') == Raw(b'{"x": 1.0 }')


def test_ids_and_names_become_what_the_api_takes() -> None:
    call = ToolCall("a b", "f", "{}", namespace="n.s")
    _, messages, _ = write(user("Hi"), turn("assistant", call), user(ToolResult("a b", ())))
    use, result = messages[1]["content"][0], messages[2]["content"][0]
    assert use["name"].startswith("n_s__f")
    assert use["id"] == result["tool_use_id"] != "a b"


def test_tool_results() -> None:
    results = (
        ToolResult("a", (Text("ok", "r.content"),), "r"),
        ToolResult("b", (Text("x"), Image(Base64("aGk="))), is_error=True),
        ToolResult("c", (Text("", "r.content"),), "r"),
        ToolResult("d", ()),
        ToolResult("e", (Text(" \n", "r.content"),), "r"),
    )
    found, losses = blocks(*results)
    assert losses == {}
    image = {"type": "image", "source": IMAGE}
    assert found == [
        {"type": "tool_result", "tool_use_id": "a", "content": "ok"},
        {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "x"}, image], "is_error": True},
        {"type": "tool_result", "tool_use_id": "c"},
        {"type": "tool_result", "tool_use_id": "d"},
        {"type": "tool_result", "tool_use_id": "e"},
    ]  # fmt: skip


def test_results_come_first_and_one_for_each_call() -> None:
    result = ToolResult("t", (Text("1"),), "r1")
    again = ToolResult("t", (Text("2"),), "r2")
    found, losses = blocks(Text("a"), result, again)
    assert [block["type"] for block in found] == ["tool_result", "text"]
    assert losses == {"r2": NARROWER}
    _, messages, _ = write(
        user("Hi"), turn("assistant", ToolCall("t", "f", "")), turn("system", "S"), user(result)
    )
    assert [block["type"] for block in messages[2]["content"]] == ["tool_result", "text"]


def test_a_result_in_a_result_is_written_as_one() -> None:
    inner = ToolResult("b", (), "q")
    found, _ = blocks(ToolResult("a", (inner,), "p"))
    assert found[0]["content"] == [{"type": "tool_result", "tool_use_id": "b"}]


def test_leading_system_turns_are_the_system_field() -> None:
    system, messages, losses = write(
        turn("system", "a", "b"), turn("developer", "c", Image(Url("u"), "p")), user("Hi")
    )
    assert [block["text"] for block in system] == ["a", "b", "c"]
    assert said(*messages) == [("user", ["Hi"])]
    assert losses == {"p": NOTHING}


@pytest.mark.parametrize(
    ("roles", "written"),
    [
        ("us", [("user", ["0"]), ("system", ["1"])]),
        ("usa", [("user", ["0"]), ("system", ["1"]), ("assistant", ["2"])]),
        ("ussda", [("user", ["0"]), ("system", ["1", "2", "3"]), ("assistant", ["4"])]),
        ("usu", [("user", ["0", "<1>", "2"])]),
        ("uasu", [("user", ["0"]), ("assistant", ["1"]), ("user", ["<2>", "3"])]),
        ("uas", [("user", ["0"]), ("assistant", ["1"]), ("user", ["<2>"])]),
        ("uuaau", [("user", ["0", "1"]), ("assistant", ["2", "3"]), ("user", ["4"])]),
        ("au", [("user", [OPENING]), ("assistant", ["0"]), ("user", ["1"])]),
        ("", [("user", [OPENING])]),
    ],
)
def test_turns_come_in_the_order_that_the_api_demands(
    roles: str, written: list[tuple[str, list[str]]]
) -> None:
    names = {"u": "user", "a": "assistant", "s": "system", "d": "developer"}
    turns = [turn(names[role], str(at), path=str(at)) for at, role in enumerate(roles)]
    _, messages, losses = write(*turns)
    found = said(*messages)
    expected = [
        (role, [reminder(text[1:-1]) if text.startswith("<") else text for text in texts])
        for role, texts in written
    ]
    assert found == expected
    wrapped = [text[1:-1] for _, texts in written for text in texts if text.startswith("<")]
    assert losses == dict.fromkeys(wrapped, NARROWER)


def reminder(text: str) -> str:
    return f"<system-reminder>\n{text}\n</system-reminder>"


def test_models_that_take_no_system_turns_between_the_others_get_reminders() -> None:
    _, messages, losses = write(user("Hi"), turn("system", "S", path="m[1]"), taken=Takes())
    assert said(*messages) == [("user", ["Hi", reminder("S")])]
    assert losses == {"m[1]": NARROWER}


def test_turns_that_say_nothing_are_left_out() -> None:
    _, messages, _ = write(
        user("Hi"), turn("system", "S"), turn("assistant", Thinking("Hm", "p")), user("Ho")
    )
    assert said(*messages) == [("user", ["Hi", reminder("S"), "Ho"])]
    _, messages, _ = write(user("Hi"), turn("assistant", ""), user("Ho"))
    assert said(*messages) == [("user", ["Hi", "Ho"])]


def test_a_turn_that_is_to_be_continued() -> None:
    _, messages, losses = write(user("Hi"), turn("assistant", "I am \n"), prefill=True)
    assert said(*messages) == [("user", ["Hi"]), ("assistant", ["I am"])]
    assert losses == {}
    with pytest.raises(Untranslatable) as caught:
        write(
            user("Hi"),
            turn("assistant", "I", path="m[1]"),
            prefill=True,
            taken=Takes(prefill=False),
        )
    assert caught.value.param == "m[1]"
    call = ToolCall("t", "f", "{}")
    assert write(user("Hi"), turn("assistant", call))[1][-1]["content"][0]["type"] == "tool_use"


def test_names_of_speakers_are_lost() -> None:
    _, _, losses = write(
        turn("system", "S", path="m[0]", name="a"), turn("user", "Hi", path="m[1]", name="b")
    )
    assert losses == {"m[0].name": NOTHING, "m[1].name": NOTHING}


@pytest.mark.parametrize(
    ("ttl", "written"),
    [
        (None, {"type": "ephemeral"}),
        ("5m", {"type": "ephemeral"}),
        ("30m", {"type": "ephemeral"}),
        ("1h", {"type": "ephemeral", "ttl": "1h"}),
        ("12h", {"type": "ephemeral", "ttl": "1h"}),
    ],
)
def test_cache_breakpoints(ttl: str | None, written: dict[str, str]) -> None:
    found, losses = blocks(Text("a", "p", Cache(ttl)))
    assert found == [{"type": "text", "text": "a", "cache_control": written}]
    assert losses == {}


def test_breakpoints_on_other_parts() -> None:
    mark = Cache()
    found, _ = blocks(
        ToolResult("t", (), cache=mark), Image(Url("u"), cache=mark),
        Document(Inline("x"), cache=mark), SearchResult("s", "t", (), cache=mark),
    )  # fmt: skip
    assert all(block["cache_control"] == {"type": "ephemeral"} for block in found)
    found, _ = blocks(ToolCall("t", "f", "", cache=mark), role="assistant")
    assert found[0]["cache_control"] == {"type": "ephemeral"}


@pytest.mark.parametrize(("automatic", "kept"), [(False, "2345"), (True, "345")])
def test_the_last_breakpoints_are_kept(automatic: bool, kept: str) -> None:
    parts = [Text(str(at), f"p{at}", Cache()) for at in range(6)]
    found, losses = blocks(*parts, automatic=automatic)
    assert "".join(block["text"] for block in found if "cache_control" in block) == kept
    lost = [f"p{at}.cache_control" for at in range(6) if str(at) not in kept]
    assert losses == dict.fromkeys(lost, NARROWER)


def test_models_without_breakpoints() -> None:
    found, losses = blocks(
        Text("a", "p", Cache()), taken=Takes(), names={"cache": "prompt_cache_breakpoint"}
    )
    assert found == [{"type": "text", "text": "a"}]
    assert losses == {"p.prompt_cache_breakpoint": NOTHING}


def test_what_nobody_knows_and_what_did_not_open_is_lost() -> None:
    extra = {"x": b"1", "m[0].y": b"2", "m[0].content[0].z": b"3"}
    part = Thinking("Hm", "q")
    _, losses = blocks(Text("a", "m[0].content[0]"), part, extra=extra, unopened=("q",))
    assert losses == {"q": OWNED} | dict.fromkeys(extra, NOTHING)
