"""rawproxy.dialects.anthropic_complete.transcript: prompts taken apart and put together."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.anthropic_complete.transcript import read_prompt, write_prompt
from rawproxy.dialects.call import Call, Image, Text, Turn, Url
from rawproxy.dialects.losses import Loss

Role = Literal["system", "developer", "user", "assistant"]
Said = list[tuple[Role, str]]


def said(prompt: str) -> tuple[Said, bool]:
    turns, prefill = read_prompt(prompt, "prompt")
    found: Said = []
    for turn in turns:
        (part,) = turn.parts
        assert isinstance(part, Text)
        assert part.path == turn.path == "prompt"
        found.append((turn.role, part.text))
    return found, prefill


def call(*turns: tuple[Role, str], prefill: bool = False) -> Call:
    made = [Turn(role, (Text(text),), f"messages[{at}]") for at, (role, text) in enumerate(turns)]
    return Call("openai_chat", "m", tuple(made), prefill=prefill)


@pytest.mark.parametrize(
    ("prompt", "turns"),
    [
        ("\n\nHuman: Hi\n\nAssistant:", [("user", "Hi")]),
        ("\n\nHuman: Hi\n\nAssistant: ", [("user", "Hi")]),
        ("Human: Hi\n\nAssistant:", [("user", "Hi")]),
        (" \nHuman: Hi\n\nAssistant:", [("user", "Hi")]),
        ("\n\nHuman:Hi\n\nAssistant:\n", [("user", "Hi")]),
        ("\n\nHuman:  a\n  b\n\n\n\nAssistant:", [("user", " a\n  b\n\n")]),
        (
            "Be brief. \n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Go\n\nAssistant:",
            [("system", "Be brief."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "Go")],
        ),
        ("\n\nHuman: a\n\nHuman: b\n\nAssistant:", [("user", "a"), ("user", "b")]),
        ("\n\nHuman: \n\nAssistant:", []),
        ("\n\nHuman: Hi", [("user", "Hi")]),
        ("Hi\n\nAssistant:", [("user", "Hi")]),
        ("Once upon a time", [("user", "Once upon a time")]),
        ("Say \n\nhuman: no", [("user", "Say \n\nhuman: no")]),
        (" ", []),
        ("", []),
    ],
)
def test_prompts_are_taken_apart(prompt: str, turns: Said) -> None:
    assert said(prompt) == (turns, False)


@pytest.mark.parametrize(
    ("prompt", "begun"),
    [
        ("\n\nHuman: Hi\n\nAssistant: He", "He"),
        ('\n\nHuman: Hi\n\nAssistant:{"a":', '{"a":'),
        ("\n\nHuman: Hi\n\nAssistant: a\n b \n", "a\n b"),
    ],
)
def test_the_beginning_of_the_answer(prompt: str, begun: str) -> None:
    assert said(prompt) == ([("user", "Hi"), ("assistant", begun)], True)


@pytest.mark.parametrize(
    ("turns", "prompt"),
    [
        ([("user", "Hi")], "\n\nHuman: Hi\n\nAssistant:"),
        (
            [("system", "S."), ("developer", "D."), ("user", "a"), ("assistant", "b"), ("user", "c")],
            "S.\n\nD.\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:",
        ),
        ([("user", "a"), ("user", "b")], "\n\nHuman: a\n\nb\n\nAssistant:"),
        ([("assistant", "a")], "\n\nHuman:\n\nAssistant: a\n\nAssistant:"),
        ([("system", "S.")], "S.\n\nHuman:\n\nAssistant:"),
        ([], "\n\nHuman:\n\nAssistant:"),
    ],
)  # fmt: skip
def test_prompts_are_put_together(turns: Said, prompt: str) -> None:
    assert write_prompt(call(*turns)) == (prompt, [])


def test_an_answer_that_was_begun_is_left_open() -> None:
    prompt, losses = write_prompt(call(("user", "Hi"), ("assistant", "He \n"), prefill=True))
    assert (prompt, losses) == ("\n\nHuman: Hi\n\nAssistant: He", [])


def test_instructions_in_the_middle_are_marked() -> None:
    prompt, losses = write_prompt(call(("user", "Hi"), ("system", "S."), ("user", "Go")))
    assert prompt == (
        "\n\nHuman: Hi\n\nHuman: <system-reminder>\nS.\n</system-reminder>\n\nHuman: Go"
        "\n\nAssistant:"
    )
    assert losses == [Loss("messages[1]", "narrower there")]


def test_what_is_no_text_is_lost() -> None:
    turn = Turn("user", (Text("See:"), Image(Url("u"), "messages[0].content[1]")))
    prompt, losses = write_prompt(Call("openai_chat", "m", (turn,)))
    assert prompt == "\n\nHuman: See:\n\nAssistant:"
    assert losses == [Loss("messages[0].content[1]", "no such thing there")]


WORDS = st.text("ab \n:", min_size=1, max_size=9).map(str.strip).filter(bool)


@given(st.none() | WORDS, st.lists(WORDS, min_size=1, max_size=5), st.booleans())
def test_what_is_put_together_comes_apart_again(
    opening: str | None, texts: list[str], prefill: bool
) -> None:
    turns: Said = [("system", opening)] if opening else []
    turns += [("assistant" if at % 2 else "user", text) for at, text in enumerate(texts)]
    prefill = prefill and turns[-1][0] == "assistant"
    prompt, _ = write_prompt(call(*turns, prefill=prefill))
    assert said(prompt) == (turns, prefill)
