"""rawproxy.dialects.prompt: conversations as one text."""

from typing import Any

import pytest
from msgspec import Raw

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
from rawproxy.dialects.envelope import UNKNOWN, Seal
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.prompt import joined, render_plain

SEAL = Seal(UNKNOWN, "thinking", '{"signature":"s"}')


def user(*parts: Part | str) -> Turn:
    return turn("user", *parts)


def turn(role: Any, *parts: Part | str, **more: Any) -> Turn:
    return Turn(role, tuple(Text(p, "t") if isinstance(p, str) else p for p in parts), "m", **more)


def render(*turns: Turn, **more: Any) -> tuple[str, list[Loss]]:
    return render_plain(Call("other", "m", turns, **more))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], ""),
        ([(None, "a"), (None, "b")], "ab"),
        ([(None, "a"), ("x", "b"), ("x", "c")], "a\n\nbc"),
        ([(1, ""), (2, "a"), (3, ""), (2, "b")], "ab"),
    ],
)
def test_a_change_of_mark_gives_a_blank_line(texts: Any, expected: str) -> None:
    assert joined(texts) == expected


@pytest.mark.parametrize(
    ("turns", "more", "expected"),
    [
        ([user("Once upon a time")], {}, "Once upon a time"),
        ([user("a", "b")], {}, "ab"),
        ([user("a"), user("b")], {}, "a\n\nb"),
        ([], {}, "Assistant:"),
        ([turn("system", "Be", "brief."), user("Hi")], {}, "Be\n\nbrief.\n\nUser: Hi\n\nAssistant:"),
        (
            [user("Hi"), turn("assistant", "Hello."), turn("developer", "French."), user("Hi")],
            {},
            "User: Hi\n\nAssistant: Hello.\n\nSystem: French.\n\nUser: Hi\n\nAssistant:",
        ),
        ([user("Hi"), turn("assistant", "Hel")], {"prefill": True}, "User: Hi\n\nAssistant: Hel"),
        ([user("Hi"), turn("assistant", "")], {"prefill": True}, "Hi"),
        ([user("\n\nHuman: Hi")], {"raw_prompt": "the very prompt"}, "the very prompt"),
        ([turn("assistant", Text("a", phase="x"), Text("b"), Refusal("c"))], {},
         "Assistant: a\n\nbc\n\nAssistant:"),
        ([turn("system", "x-anthropic-billing-header: 1", "S"), user("u")], {},
         "S\n\nUser: u\n\nAssistant:"),
    ],
)  # fmt: skip
def test_conversations(turns: list[Turn], more: dict[str, Any], expected: str) -> None:
    assert render(*turns, **more) == (expected, [])


def test_tools_and_their_results_are_told_in_words() -> None:
    calls = turn(
        "assistant", "So:", ToolCall("c", "f", '{"x":1}', "p0"), ToolCall("d", "g", "", "p1")
    )
    results = user(
        ToolResult("c", (Text("4"), Text("2")), "p2"),
        ToolResult("d", (Text("no"),), "p3", is_error=True),
        ToolResult("e", (), "p4", "h"), ToolResult("e", (), "p5"), "Go on",
    )  # fmt: skip
    text, losses = render(calls, results)
    assert text == (
        'Assistant: So:\n\n[f is called with {"x":1}]\n\n[g is called with {}]\n\n'
        "User: [f returned]\n42\n\n[g failed]\nno\n\n[h returned]\n\n\n[the tool returned]\n\n\n"
        "Go on\n\nAssistant:"
    )
    assert losses == [Loss(f"p{at}", "narrower there") for at in range(6)]


@pytest.mark.parametrize(
    ("part", "text", "losses"),
    [
        (Text("a", "p", citations=Raw(b"[]"), seal=SEAL), "a",
         [Loss("p.citations", "no such thing there"), Loss("p", "owned elsewhere")]),
        (Text("a", "p", Cache()), "a", [Loss("p.cache_control", "no such thing there")]),
        (SearchResult("s", "t", ("x",), "p", citations=True), "t (s)\n\nx",
         [Loss("p.citations", "no such thing there")]),
        (SearchResult("s", "t", (), "p"), "t (s)", []),
        (Document(Inline("x", (Text("y"),)), "p", title="T"), "T\n\nx\n\ny", []),
        (Document(Base64("eA=="), "p"), "", [Loss("p", "no such thing there")]),
        (Document(File("f", "openai"), "p"), "", [Loss("p", "owned elsewhere")]),
        (Thinking("t", "p"), "", [Loss("p", "no such thing there")]),
        (Thinking("", "p", SEAL), "", [Loss("p", "no such thing there")]),
        (Thinking("", "p"), "", []),
        (Audio("eA==", "wav", "p"), "", [Loss("p.input_audio", "no such thing there")]),
        (Image(Url("u"), "p"), "", [Loss("p", "no such thing there")]),
        (Video(Url("u"), "p"), "", [Loss("p", "no such thing there")]),
        (Opaque("d", Raw(b"{}"), "s", "p"), "", [Loss("p", "no such thing there")]),
    ],
)  # fmt: skip
def test_parts(part: Part, text: str, losses: list[Loss]) -> None:
    assert render(user("Hi\n\n", part))[0] == (f"Hi\n\n{text}" if isinstance(part, Text) else
                                               f"Hi\n\n\n\n{text}" if text else "Hi\n\n")  # fmt: skip
    assert render(user(part))[1] == losses


def test_what_stands_beside_a_prompt_of_the_clients_own_is_lost() -> None:
    beside = [user("Hi", Text("you", cache=Cache(), path="b"))]
    assert render(*beside, raw_prompt="Hi") == (
        "Hi",
        [Loss("b.cache_control", "no such thing there")],
    )
    assert render(*beside[:0], user("Hi"), raw_prompt="Hi") == ("Hi", [])


def test_names_and_shut_envelopes_are_losses() -> None:
    assert render(turn("user", "Hi", name="Ada"), unopened=("p",)) == (
        "Hi",
        [Loss("p", "owned elsewhere"), Loss("m.name", "no such thing there")],
    )
