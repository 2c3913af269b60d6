"""Events become one whole reply."""

import pytest
from msgspec import Raw

from rawproxy.dialects.envelope import UNKNOWN, seal
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.fold import Block, Choice, Reply, fold
from rawproxy.errors import UpstreamNonsense

SEAL = seal(UNKNOWN, "thinking", "{}")
TOOL = Open(1, "tool", id="a", name="x")
NOTE = Note(0, "https://example.com")
SEARCH = Whole("anthropic_messages", Raw(b'{"type":"x"}'), "x")


def test_nothing_folds_to_an_empty_reply() -> None:
    assert fold([]) == Reply(Start(), {}, None, None)


@pytest.mark.parametrize(
    ("events", "items"),
    [
        # what one choice says, what it holds
        ([Open(0, "text"), Delta(0, "a"), Delta(0, "b"), Close(0)],
         [Block(Open(0, "text"), "ab", closed=True)]),
        ([Open(0, "text"), Close(0)], [Block(Open(0, "text"), closed=True)]),
        ([Open(0, "text"), Delta(0, "a")], [Block(Open(0, "text"), "a")]),
        ([Open(0, "text"), TOOL, Delta(1, "{"), Delta(0, "a"), Delta(1, "}"), Close(1), Close(0)],
         [Block(Open(0, "text"), "a", closed=True), Block(TOOL, "{}", closed=True)]),
        ([Open(0, "thinking"), Sealed(0, SEAL), Close(0)],
         [Block(Open(0, "thinking"), seal=SEAL, closed=True)]),
        ([Open(0, "text"), Delta(0, "a"), Close(0), NOTE],
         [Block(Open(0, "text"), "a", notes=[NOTE], closed=True)]),
        ([Open(0, "text"), Delta(0, "a", Raw(b"[1]")), Delta(0, "", Raw(b"[2]")), Delta(0, "b")],
         [Block(Open(0, "text"), "ab", logprobs=[b"[1]", b"[2]"])]),
        ([SEARCH, Open(0, "text"), Close(0), SEARCH],
         [SEARCH, Block(Open(0, "text"), closed=True), SEARCH]),
    ],
)  # fmt: skip
def test_what_a_choice_says_is_joined(events: list[Event], items: list[Block | Whole]) -> None:
    reply = fold([Start("id"), *events, Stop("end"), End()])
    assert reply.choices == {0: Choice(items, Stop("end"))}


def test_the_frame_around_the_choices() -> None:
    reply = fold([
        Start("id", "model", 7), Usage(input=3, output=1), Open(0, "text", 1), Delta(0, "b"),
        Open(1, "text"), Close(1), Usage(output=5), Stop("length", 1), Stop("end"), End("priority"),
    ])  # fmt: skip
    assert reply.start == Start("id", "model", 7)
    assert reply.usage == Usage(input=3, output=5)
    assert reply.tier == "priority"
    assert list(reply.choices) == [1, 0]
    assert reply.choices[1] == Choice([Block(Open(0, "text", 1), "b")], Stop("length", 1))
    assert reply.choices[0].stop == Stop("end")


def test_a_choice_gives_its_blocks_by_kind() -> None:
    one, two = Block(Open(0, "text"), "a"), Block(Open(2, "text"), "b")
    choice = Choice([one, Block(TOOL, "{}"), SEARCH, two])
    assert choice.blocks("text") == [one, two]
    assert choice.text("text") == "ab"
    assert choice.blocks("thinking") == []
    assert choice.text("thinking") == ""


def test_a_reply_that_failed_is_not_folded() -> None:
    with pytest.raises(UpstreamNonsense):
        fold([Start("id"), Open(0, "text"), Delta(0, "a"), Fail("server", "it broke")])
