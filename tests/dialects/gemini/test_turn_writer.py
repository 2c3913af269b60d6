"""rawproxy.dialects.gemini.turn_writer: turns to contents."""

import json
from typing import Any

import pytest

from rawproxy.dialects.base import Target
from rawproxy.dialects.call import (
    Base64,
    Cache,
    Call,
    Image,
    Opaque,
    Part,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from rawproxy.dialects.envelope import Origin
from rawproxy.dialects.gemini.call_writer import write_call
from rawproxy.dialects.gemini.signatures import native
from rawproxy.dialects.models import Takes
from rawproxy.dialects.unseal import UNSIGNED
from rawproxy.errors import Untranslatable

ORIGIN = Origin("gemini")
TARGET = Target("gemini-3-pro", Takes(prefill=False, reasoning="effort"), ORIGIN)
OLD = Target("gemini-2.5-flash", Takes(reasoning="budget"), ORIGIN)


def turn(role: Role, *parts: Part, at: int = 0) -> Turn:
    return Turn(role, parts, f"messages[{at}]")


def write(
    *turns: Turn, target: Target = TARGET, prefill: bool = False
) -> tuple[Any, dict[str, str]]:
    written = write_call(Call("x", "m", turns, prefill=prefill), target)
    return json.loads(written.body), {loss.path: loss.why for loss in written.losses}


def sealed(signature: str, about: str | None = None, issuer: str = "gemini") -> Thinking:
    path = f"t.{signature}"
    return Thinking("", path, native(Origin(issuer), signature, about=about))


def test_leading_system_turns_are_the_instruction() -> None:
    body, losses = write(
        turn("system", Text("A"), Image(Base64("QQ=="), "i")), turn("developer", Text("B")),
        Turn("user", (Text("hi"),), "messages[2]", name="jo"),
    )  # fmt: skip
    assert body["systemInstruction"] == {"parts": [{"text": "A"}, {"text": "B"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    assert losses == {"i": "no such thing there", "messages[2].name": "no such thing there"}


def test_roles_alternate_and_later_system_turns_are_told_by_the_user() -> None:
    body, losses = write(
        turn("user", Text("a")), turn("user", Text("b")), turn("assistant", Text("c")),
        turn("assistant", Text("d")),
        Turn("system", (Text("S"), Opaque("x", Text("").citations, "y", "o")), "messages[4]", name="n"),
        turn("user", Text("e")),
    )  # fmt: skip
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "c"}, {"text": "d"}]},
        {"role": "user", "parts": [
            {"text": "<system-reminder>\nS\n</system-reminder>"}, {"text": "e"},
        ]},
    ]  # fmt: skip
    assert losses["messages[4]"] == "narrower there"
    assert losses.keys() == {"messages[4]", "messages[4].name", "o"}


@pytest.mark.parametrize("turns", [(), (turn("assistant", Text("a")), turn("user", Text("b")))])
def test_the_user_begins(turns: tuple[Turn, ...]) -> None:
    body, _ = write(*turns)
    assert body["contents"][0] == {"role": "user", "parts": [{"text": "(continue)"}]}


def test_turns_that_say_nothing_are_left_out() -> None:
    body, _ = write(turn("user", Text("a")), turn("assistant", Text("")), turn("user", Text("b")))
    assert body["contents"] == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


def test_results_come_first() -> None:
    call, result = ToolCall("i", "f", "{}", "c"), ToolResult("i", (Text("r"),), "r", cache=Cache())
    body, losses = write(
        turn("user", Text("a")), turn("assistant", call), turn("user", Text("b")),
        turn("user", result),
    )  # fmt: skip
    parts = body["contents"][2]["parts"]
    assert [list(one) for one in parts] == [["functionResponse"], ["text"]]
    assert parts[0]["functionResponse"]["name"] == "f"
    assert losses == {"r.cache_control": "no such thing there"}


def test_older_models_see_pictures_behind_the_results() -> None:
    result = ToolResult("i", (Image(Base64("QQ=="), "v"),), "r", name="f")
    body, _ = write(turn("user", result, Text("go on")), target=OLD)
    kinds = [next(iter(one)) for one in body["contents"][0]["parts"]]
    assert kinds == ["functionResponse", "text", "inlineData", "text"]


def test_newer_models_want_a_mark_on_a_call_that_another_one_made() -> None:
    calls = turn("assistant", ToolCall("i", "f", "{}"), ToolCall("j", "g", "{}"))
    body, _ = write(turn("user", Text("a")), calls)
    first, second = body["contents"][1]["parts"]
    assert first["thoughtSignature"] == UNSIGNED
    assert "thoughtSignature" not in second
    body, _ = write(turn("user", Text("a")), calls, target=OLD)
    assert "thoughtSignature" not in body["contents"][1]["parts"][0]


def test_seals_that_travelled_on_their_own_go_back_to_their_parts() -> None:
    body, losses = write(
        turn("user", Text("a")),
        turn(
            "assistant", sealed("Ca", "j"), sealed("Cb", "i"), sealed("Cn", "next"),
            Text(""), Text("text"), Text("more"), ToolCall("i", "f", "{}"), ToolCall("j", "g", "{}"),
            sealed("Cd", "gone"), sealed("Ce"),
        ),
    )  # fmt: skip
    parts = body["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["Cn", None, "Cb", "Ca", "Ce"]
    assert losses == {"t.Cd": "no such thing there"}


def test_seals_without_a_part_or_of_somebody_else_are_lost() -> None:
    body, losses = write(
        turn("user", Text("a")),
        turn(
            "assistant", sealed("Cx", "i", "other"), ToolCall("i", "f", "{}"), sealed("Cn", "next")
        ),
    )
    assert body["contents"][1]["parts"][0]["thoughtSignature"] == UNSIGNED
    assert losses == {"t.Cx": "owned elsewhere", "t.Cn": "no such thing there"}


def test_a_turn_to_be_continued() -> None:
    last = turn("assistant", Text("Once"))
    with pytest.raises(Untranslatable, match="cannot continue"):
        write(turn("user", Text("a")), last, prefill=True)
    body, _ = write(turn("user", Text("a")), last, prefill=True, target=OLD)
    assert body["contents"][-1] == {"role": "model", "parts": [{"text": "Once"}]}
