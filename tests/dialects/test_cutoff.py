"""A reply that ends here, at the first stop sequence."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.cutoff import Cutoff
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
from rawproxy.dialects.fold import fold
from tests.dialects.order import Order

SEAL = seal(UNKNOWN, "thinking", "{}")


def cut(events: list[Event], *stops: str) -> list[Event]:
    cutoff = Cutoff(stops or ("STOP",))
    found = cutoff.feed(events)
    order = Order()
    for event in found:
        order.check(event)
    return found


def said(*pieces: str) -> list[Event]:
    return [Start(), Open(0, "text"), *(Delta(0, piece) for piece in pieces)]


def test_the_text_before_it_goes_out_and_the_reply_ends() -> None:
    rest: list[Event] = [Close(0), Stop("end"), Usage(output=7), End()]
    found = cut([*said("one ST", "OP two"), *rest])
    ending = [Close(0), Stop("stop_sequence", sequence="STOP"), End()]
    assert found == [*said("one "), *ending]


def test_nothing_more_is_said_after_that() -> None:
    cutoff = Cutoff(("X",))
    assert cutoff.feed(said("aX"))[-1] == End()
    assert cutoff.over
    assert cutoff.feed([Delta(0, "more"), Close(0), Fail("server", "late")]) == []


def test_a_text_without_it_goes_through_whole() -> None:
    events = [*said("one ST", "x"), Close(0), Stop("end"), End()]
    found = cut(events)
    assert fold(found).choice(0).text("text") == "one STx"
    assert found[-2:] == [Stop("end"), End()]


def test_what_is_held_back_comes_before_the_close() -> None:
    found = cut([*said("one ST"), Close(0), Stop("end"), End()])
    assert found[2:5] == [Delta(0, "one "), Delta(0, "ST"), Close(0)]


def test_a_sequence_does_not_go_on_in_the_next_block() -> None:
    events: list[Event] = [
        *said("a ST"), Close(0), Open(1, "text"), Delta(1, "OP b"), Close(1), Stop("end"), End(),
    ]  # fmt: skip
    assert fold(cut(events)).choice(0).text("text") == "a STOP b"


def test_only_text_counts() -> None:
    events: list[Event] = [
        Start(), Open(0, "thinking"), Delta(0, "STOP"), Sealed(0, SEAL), Close(0),
        Open(1, "tool", id="t", name="f"), Delta(1, '"STOP"'), Close(1), Stop("tools"), End(),
    ]  # fmt: skip
    assert cut(events) == events


def test_a_tool_under_way_is_finished_first() -> None:
    events: list[Event] = [
        Start(), Open(0, "tool", id="t", name="f"), Delta(0, "{"), Open(1, "text"), Delta(1, "aSTOPb"),
        Delta(1, "c"), Note(1, url="u"), Open(2, "text"), Delta(2, "d"), Delta(0, "}"), Close(1),
        Close(0), Close(2), Stop("tools"), End(),
    ]  # fmt: skip
    assert cut(events) == [
        Start(), Open(0, "tool", id="t", name="f"), Delta(0, "{"), Open(1, "text"), Delta(1, "a"),
        Close(1), Delta(0, "}"), Close(0), Stop("stop_sequence", sequence="STOP"), End(),
    ]  # fmt: skip


def test_each_choice_stops_for_itself() -> None:
    events: list[Event] = [
        Start(), Open(0, "text", choice=0), Open(1, "text", choice=1), Delta(0, "aSTOP"),
        Whole("d", raw=b"{}", shows="w", choice=0),  # type: ignore[arg-type]
        Delta(1, "b"), Close(0), Stop("end", 0), Close(1), Stop("end", 1), Usage(output=2), End(),
    ]  # fmt: skip
    found = cut(events)
    assert Stop("stop_sequence", 0, "STOP") in found
    assert found[-3:] == [Stop("end", 1), Usage(output=2), End()]
    assert not any(isinstance(event, Whole) for event in found)


def test_log_probabilities_of_what_is_cut_away_are_not_told() -> None:
    logprobs = b'{"content":[]}'
    events: list[Event] = [
        *said(), Delta(0, "S", logprobs), Delta(0, "TOP", logprobs), Close(0), Stop("end"), End(),  # type: ignore[arg-type]
    ]  # fmt: skip
    assert cut(events)[2:4] == [Delta(0, "", logprobs), Close(0)]  # type: ignore[arg-type]


@pytest.mark.parametrize("event", [Fail("server", "x"), Usage(input=1)])
def test_what_belongs_to_no_block_passes(event: Event) -> None:
    assert Cutoff(("s",)).feed([event]) == [event]


@given(
    st.text("abS", max_size=30),
    st.lists(st.integers(0, 30)),
    st.text("abS", min_size=1, max_size=3),
)
def test_cuts_never_change_the_meaning(text: str, cuts: list[int], stop: str) -> None:
    bounds = sorted({0, len(text), *(at for at in cuts if at < len(text))})
    pieces = [text[a:b] for a, b in itertools.pairwise(bounds)]
    found = cut([*said(*pieces), Close(0), Stop("end"), End()], stop)
    at = text.find(stop)
    folded = fold(found).choice(0)
    assert folded.text("text") == (text if at < 0 else text[:at])
    assert folded.stop == (Stop("end") if at < 0 else Stop("stop_sequence", sequence=stop))
