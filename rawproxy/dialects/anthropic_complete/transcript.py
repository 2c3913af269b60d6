r"""The prompt of a text completion: a transcript, taken apart into turns and put together again.

Layer: dialects, part of `anthropic_complete`.

    You are brief.\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: And in French?\n\nAssistant:

What stands before the first `Human:` are instructions, what stands behind the last `Assistant:` is
the beginning of the answer. A text that holds such a mark itself cannot be told from a turn.
Source: https://platform.claude.com/docs/en/api/prompt-validation
"""

import re
from typing import Literal

from rawproxy.dialects.call import Call, Text, Turn
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.prompt import render_turns

__all__ = ["ASSISTANT", "HUMAN", "read_prompt", "write_prompt"]

HUMAN = "\n\nHuman:"
"""What opens a user's turn, and what every model stops at unasked."""

ASSISTANT = "\n\nAssistant:"
"""What opens an assistant's turn; the last one is the model's to fill."""

_MARK = re.compile(r"\n\n(Human|Assistant):")
_FIRST_MARK = re.compile(r"\s*+(?=(?:Human|Assistant):)")


def read_prompt(prompt: str, path: str) -> tuple[tuple[Turn, ...], bool]:
    """Return the turns of a prompt, and whether the last one is the beginning of the answer.

    A prompt without marks is one user turn. Turns that say nothing are left out.
    """

    def turn(role: Literal["system", "user", "assistant"], text: str) -> Turn:
        return Turn(role, (Text(text, path),), path)

    if first := _FIRST_MARK.match(prompt):
        prompt = "\n\n" + prompt[first.end() :]
    marks = list(_MARK.finditer(prompt))
    lead = (prompt[: marks[0].start()] if marks else prompt).strip()
    has_human = any(mark[1] == "Human" for mark in marks)
    turns = [turn("system" if has_human else "user", lead)] if lead else []
    if not marks:
        return (turn("user", prompt),) if lead else (), False
    ends = [mark.start() for mark in marks[1:]]
    for mark, end in zip(marks, [*ends, len(prompt)], strict=True):
        text = prompt[mark.end() : end].removeprefix(" ")
        if text and not text.isspace():
            turns.append(turn("user" if mark[1] == "Human" else "assistant", text))
    last = prompt[marks[-1].end() :].removeprefix(" ").rstrip()
    prefill = marks[-1][1] == "Assistant" and bool(last)
    if prefill:
        turns[-1] = turn("assistant", last)
    return tuple(turns), prefill


def write_prompt(call: Call) -> tuple[str, list[Loss]]:
    """Return the conversation as a transcript, and what of it is lost.

    The API wants a `Human:` first, behind the instructions, and an `Assistant:` last, no space at
    the end. Instructions between the turns go into the user's, marked as what they are.
    """
    opening, said, losses = render_turns(call)
    behind = call.turns[len(call.leading_system()) :]
    middle = [turn for turn in behind if turn.role in ("system", "developer")]
    losses += [Loss(turn.path, "narrower there") for turn in middle]
    prompt = [opening]
    if not said or said[0][0] == "assistant":
        prompt.append(HUMAN)
    for role, text in said:
        shown = f"<system-reminder>\n{text}\n</system-reminder>" if role == "system" else text
        prompt += [ASSISTANT if role == "assistant" else HUMAN, " ", shown]
    if not (call.prefill and said and said[-1][0] == "assistant"):
        prompt.append(ASSISTANT)
    return "".join(prompt).rstrip(), losses
