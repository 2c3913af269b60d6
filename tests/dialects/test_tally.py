"""What the gateway learns of a reply from its events."""

import msgspec
import pytest

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
from rawproxy.dialects.tally import Tally


@pytest.mark.parametrize(
    ("event", "bears"),
    [
        (Start("id", "m"), False),
        (Open(0, "text"), False),
        (Open(0, "thinking"), False),
        (Open(0, "tool", id="a", name="b"), True),
        (Delta(0, "x"), True),
        (Sealed(0, seal(UNKNOWN, "thinking", "{}")), True),
        (Whole("anthropic_messages", msgspec.Raw(b"{}"), "web_search"), True),
        (Note(0, "https://example.com"), False),
        (Close(0), False),
        (Usage(input=1), False),
        (Stop("end"), False),
        (End(), False),
        (Fail("server", "x"), False),
    ],
)
def test_output_is_what_cannot_be_taken_back(event: Event, *, bears: bool) -> None:
    tally = Tally()
    tally.note([event])
    assert tally.bearing is bears
    tally.note([Delta(0, "more")])
    assert tally.bearing


def test_counts_and_the_last_words_are_kept() -> None:
    tally = Tally()
    tally.note([Start("a", "claude-x"), Start(), Usage(input=3, output=1)])
    assert tally.model == "claude-x"
    tally.note([Open(0, "text"), Delta(0, "a"), Delta(0, "b"), Close(0)])
    tally.note([Stop("length"), Usage(output=2)])
    assert tally.deltas == 2
    assert tally.usage == Usage(input=3, output=2)
    assert tally.stop == Stop("length")
    assert (tally.whole, tally.ended, tally.failure) == (True, False, None)
    tally.note([End()])
    assert (tally.whole, tally.ended, tally.failure) == (True, True, None)


def test_a_failure_is_kept() -> None:
    tally = Tally()
    tally.note([Fail("overloaded", "later")])
    assert tally.failure == Fail("overloaded", "later")
    assert not tally.whole


@pytest.mark.parametrize(
    ("choices", "events", "whole"),
    [
        (1, [], False),
        (1, [Stop("end")], True),
        (1, [Open(0, "text", choice=1), Stop("end")], False),  # one more than was asked for
        (1, [Open(0, "text", choice=1), Stop("end"), Stop("end", choice=1)], True),
        (2, [Stop("end")], False),
        (2, [Stop("end"), Stop("end")], False),
        (2, [Stop("end", choice=1), Stop("end")], True),
        (2, [End()], True),  # the dialect's own terminator ends all
    ],
)
def test_a_reply_is_whole_when_every_choice_has_stopped(
    choices: int, events: list[Event], *, whole: bool
) -> None:
    tally = Tally(choices)
    tally.note(events)
    assert tally.whole is whole
