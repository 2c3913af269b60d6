"""rawproxy.dialects.bedrock_converse.turn_writer: turns of other dialects, put in order."""

import json
from typing import Any

import pytest

from rawproxy.dialects.base import Target
from rawproxy.dialects.bedrock_converse.blocks import BlockWriter
from rawproxy.dialects.bedrock_converse.turn_writer import ATTACHED, OPENING, TurnWriter
from rawproxy.dialects.call import (
    Base64,
    Cache,
    Call,
    Document,
    Image,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from rawproxy.dialects.envelope import UNKNOWN, Origin, seal
from rawproxy.dialects.models import Takes
from rawproxy.dialects.narrowing import Naming
from rawproxy.dialects.reading import encode
from rawproxy.errors import Untranslatable

ALL = Takes(middle_system=True, breakpoints=True)
NOTHING, NARROWER = "no such thing there", "narrower there"
Written = tuple[list[Any], list[tuple[str, list[Any]]], dict[str, str]]


def write(*turns: Turn, taken: Takes = ALL, prefill: bool = False) -> Written:
    """Return `system`, role and blocks of the messages (a text for its block), and the losses."""
    asked = Call("openai_chat", "m", turns, prefill=prefill)
    target = Target("claude", taken, Origin("anthropic"))
    naming = Naming(exact=False, longest_id=64, longest_name=64)
    blocks = BlockWriter(asked, target, own=False, naming=naming)
    writer = TurnWriter(asked, target, blocks)
    system, messages = json.loads(encode([writer.system(), writer.messages()]))
    said = [(one["role"], [short(block) for block in one["content"]]) for one in messages]
    return [short(block) for block in system], said, dict(blocks.losses)


def short(block: dict[str, Any]) -> str:
    return str(block["text"]) if "text" in block else next(iter(block))


def turn(role: Any, *parts: Part | str, path: str = "p", name: str | None = None) -> Turn:
    return Turn(role, tuple(Text(p, "t") if isinstance(p, str) else p for p in parts), path, name)


def user(*parts: Part | str) -> Turn:
    return turn("user", *parts)


def model(*parts: Part | str) -> Turn:
    return turn("assistant", *parts)


CALL = ToolCall("c", "f", "{}", "call")
RESULT = ToolResult("c", (), "result")
REMINDER = "<system-reminder>\nS\n</system-reminder>"


@pytest.mark.parametrize(
    ("turns", "messages"),
    [
        ([user("a"), user("b"), model("c"), user("d")], [("user", ["a", "b"]), ("assistant", ["c"]), ("user", ["d"])]),
        ([model("a"), user("b")], [("user", [OPENING]), ("assistant", ["a"]), ("user", ["b"])]),
        ([], [("user", [OPENING])]),
        ([user(" "), user("a")], [("user", ["a"])]),
        ([user("a"), model(" "), user("b")], [("user", ["a", "b"])]),
        ([user("a"), model(CALL), user("b", RESULT)], [("user", ["a"]), ("assistant", ["toolUse"]), ("user", ["toolResult", "b"])]),
        ([user("a"), turn("system", "S"), model("b"), user("c")], [("user", ["a"]), ("system", ["S"]), ("assistant", ["b"]), ("user", ["c"])]),
        ([user("a"), turn("developer", "S")], [("user", ["a"]), ("system", ["S"])]),
    ],
)  # fmt: skip
def test_order(turns: list[Turn], messages: object) -> None:
    assert write(*turns) == ([], messages, {})


@pytest.mark.parametrize(
    ("turns", "messages"),
    [
        ([user("a"), turn("system", "S"), user("b")], [("user", ["a", REMINDER, "b"])]),
        ([user("a"), model("b"), turn("system", "S"), user("c")], [("user", ["a"]), ("assistant", ["b"]), ("user", [REMINDER, "c"])]),
        ([user("a"), model(CALL), turn("system", "S"), user(RESULT)], [("user", ["a"]), ("assistant", ["toolUse"]), ("user", ["toolResult", REMINDER])]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("taken", [ALL, Takes()])
def test_system_turns_that_have_no_place(turns: list[Turn], messages: object, taken: Takes) -> None:
    assert write(*turns, taken=taken) == ([], messages, {"p": NARROWER})


def test_a_model_that_takes_system_turns_nowhere() -> None:
    found = write(
        user("a"),
        turn("system", Text("S", "t", Cache())),
        model("b"),
        taken=Takes(breakpoints=True),
    )
    assert found[1] == [("user", ["a", REMINDER, "cachePoint"]), ("assistant", ["b"])]


def test_leading_system_turns_are_the_system_field() -> None:
    marked = Text("b", "t", Cache())
    image = Image(Base64("aGk="), "i")
    billing = "x-anthropic-billing-header: cc_version=1"
    turns = [
        turn("system", "a", billing, " "),
        turn("developer", marked, image, path="q", name="n"),
    ]
    assert write(*turns, user("c")) == (
        ["a", "b", "cachePoint"],
        [("user", ["c"])],
        {"q.name": NOTHING, "i": NOTHING},
    )


def test_cache_points_stay_behind_their_blocks() -> None:
    text, result = Text("a", "t", Cache()), ToolResult("c", (), "r", cache=Cache())
    found = write(user("x"), model(CALL), user(text), turn("system", "S"), user(result, "b"))
    assert found[1][-1] == ("user", ["toolResult", "cachePoint", "a", "cachePoint", REMINDER, "b"])


def test_one_result_for_each_call() -> None:
    again = ToolResult("c", (), "again")
    assert write(user("a"), model(CALL), user(RESULT, again))[2] == {"again": NARROWER}


def test_names_of_speakers_are_lost() -> None:
    assert write(turn("user", "a", name="Ann"))[2] == {"p.name": NOTHING}


def test_what_an_assistant_cannot_say() -> None:
    native = '{"type":"thinking","signature":"s"}'
    thought = Thinking("Hm", "th", seal(UNKNOWN, "thinking", native, ["Hm"]))
    found = write(user("a"), model(thought, Image(Base64("aGk="), "i"), "b"), user("c"))
    assert found[1][1] == ("assistant", ["reasoningContent", "b"])
    assert found[2] == {"i": NOTHING}


def test_a_document_needs_a_text_beside_it() -> None:
    document = Document(Base64("aGk="), "d")
    assert write(user(document))[1] == [("user", ["document", ATTACHED])]
    assert write(user(document, "a"))[1] == [("user", ["document", "a"])]


def test_a_turn_to_be_continued() -> None:
    turns = [user("a"), model("b \n")]
    assert write(*turns, prefill=True)[1][-1] == ("assistant", ["b"])
    assert write(user("a"), model(CALL))[1][-1] == ("assistant", ["toolUse"])
    with pytest.raises(Untranslatable):
        write(*turns, prefill=True, taken=Takes(prefill=False))
