"""However blocks are interleaved, they come out one after another, and nothing of them is lost."""

from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.envelope import UNKNOWN, seal
from rawproxy.dialects.events import (
    BlockKind,
    Close,
    Delta,
    Event,
    Fail,
    Note,
    Open,
    Sealed,
    Start,
    Stop,
    Usage,
)
from rawproxy.dialects.sequence import Sequencer

SEAL = seal(UNKNOWN, "thinking", "{}")
KINDS: list[BlockKind] = ["text", "thinking", "tool", "refusal"]


def sequenced(events: list[Event]) -> list[Event]:
    sequencer = Sequencer()
    return [said for event in events for said in sequencer.feed(event)]


@st.composite
def interleavings(draw: st.DrawFn) -> list[Event]:
    """Any legal order of the events of a few blocks."""
    waiting: list[list[Event]] = []
    for number in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(KINDS))
        said = draw(st.lists(st.sampled_from("abc"), max_size=3))
        inner: list[Event] = [Delta(number, text) for text in said]
        if kind == "text" and draw(st.booleans()):
            inner.append(Note(number, "https://example.com"))
        if kind == "thinking" and draw(st.booleans()):
            inner.append(Sealed(number, SEAL))
        waiting.append([Open(number, kind), *inner, Close(number)])
    events: list[Event] = []
    opened = 0  # blocks open in the order of their numbers
    while any(waiting):
        ready = [at for at, left in enumerate(waiting) if left and at <= opened]
        at = draw(st.sampled_from(ready))
        events.append(waiting[at].pop(0))
        opened = max(opened, at + 1)
        if draw(st.integers(0, 9)) == 0:
            events.append(Usage(output=len(events)))
    return events


def content(events: list[Event]) -> list[tuple[str, list[object]]]:
    """Each block's kind and what is in it, in order of opening; only blocks that say something."""
    blocks: dict[int, tuple[str, list[object]]] = {}
    for event in events:
        match event:
            case Open(block=block, kind=kind):
                blocks[block] = kind, []
            case Delta(block=block, text=text):
                blocks[block][1].append(text)
            case Note(block=block, url=url):
                blocks[block][1].append(url)
            case Sealed(block=block, seal=sealed):
                blocks[block][1].append(sealed)
            case _:
                pass
    return [(kind, said) for kind, said in blocks.values() if said or kind == "tool"]


@given(events=interleavings())
def test_blocks_come_one_after_another_and_whole(events: list[Event]) -> None:
    out = sequenced(events)
    assert content(out) == content(events)
    live: int | None = None
    numbers = []
    for event in out:
        match event:
            case Open(block=block):
                assert live is None
                live = block
                numbers.append(block)
            case Delta(block=block) | Note(block=block) | Sealed(block=block):
                assert block == live
            case Close(block=block):
                assert block == live
                live = None
            case _:
                assert isinstance(event, Usage)
    assert live is None
    assert numbers == list(range(len(content(events))))
    usages = [event for event in events if isinstance(event, Usage)]
    assert [event for event in out if isinstance(event, Usage)] == usages


def test_the_first_block_streams_live_and_the_others_wait() -> None:
    sequencer = Sequencer()
    one, two = Open(0, "tool", id="a", name="x"), Open(1, "tool", id="b", name="y")
    assert sequencer.feed(one) == [one]
    assert sequencer.feed(two) == []
    assert sequencer.feed(Delta(1, "2")) == []
    assert sequencer.feed(Delta(0, "1")) == [Delta(0, "1")]
    assert sequencer.feed(Close(1)) == []
    assert sequencer.feed(Close(0)) == [Close(0), two, Delta(1, "2"), Close(1)]


def test_blocks_without_content_are_never_opened() -> None:
    tool = Open(2, "tool", id="a", name="x")
    events: list[Event] = [
        Open(0, "text"), Close(0), Open(1, "thinking"), tool, Close(1), Close(2),
        Open(3, "text"), Delta(3, "x"), Close(3),
    ]  # fmt: skip
    assert sequenced(events) == [
        Open(0, "tool", id="a", name="x"), Close(0), Open(1, "text"), Delta(1, "x"), Close(1),
    ]  # fmt: skip


def test_a_note_that_comes_after_its_block_closed_is_dropped() -> None:
    events: list[Event] = [
        Open(0, "text"), Delta(0, "x"), Close(0), Note(0, "late"),
    ]  # fmt: skip
    assert sequenced(events) == [Open(0, "text"), Delta(0, "x"), Close(0)]


def test_a_note_after_the_close_of_a_block_that_waits_is_kept_inside_it() -> None:
    events: list[Event] = [
        Open(0, "tool"), Open(1, "text"), Delta(1, "x"), Close(1), Note(1, "late"), Close(0),
    ]  # fmt: skip
    assert sequenced(events)[-3:] == [Delta(1, "x"), Note(1, "late"), Close(1)]


def test_what_belongs_to_no_block_passes_at_once() -> None:
    events: list[Event] = [Start("id"), Open(0, "text"), Usage(input=1), Stop("length")]
    assert sequenced(events) == [Start("id"), Usage(input=1), Stop("length")]


def test_a_failure_drops_what_waits_and_closes_nothing() -> None:
    sequencer = Sequencer()
    sequencer.feed(Open(0, "tool", id="a", name="x"))
    sequencer.feed(Open(1, "text"))
    sequencer.feed(Delta(1, "x"))
    fail = Fail("server", "it broke")
    assert sequencer.feed(fail) == [fail]
    assert sequencer.feed(Close(0)) == []
    assert sequencer.feed(Close(1)) == []
